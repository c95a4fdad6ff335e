"""Write the functions, triggers and event triggers of the guard, for installing them and for comparing what stands."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from scelle.guard.postgres.model import PRINTED_AS_CAST, Beyond, Function, Relation, Trigger, Wish
from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.names import literal
from scelle.vault.sql import load_queries

QUERIES: Final = load_queries("scelle.guard.postgres")
SCHEMA: Final = "scelle_guard"
PROBE_SCHEMA: Final = "scelle_probe"
TRUNCATED: Final = "truncated"

CONFIG: Final = (
    "search_path=pg_catalog, pg_temp",
    "DateStyle=ISO, YMD",
    "IntervalStyle=postgres",
    "TimeZone=UTC",
    "extra_float_digits=3",
    "bytea_output=hex",
    "quote_all_identifiers=off",
    "row_security=off",
    "enable_seqscan=off",
    "jit=off",
)
"""What `function_head` sets, as `pg_proc.proconfig` shows it."""

_DELETE, _TRUNCATE, _UPDATE = 8, 32, 16
_ROW, _BEFORE = 1, 2

_SIGNATURES: Final = {
    "ref": "(what text) RETURNS text",
    "refuse": "(why text, state text) RETURNS void",
    "entry": "(which oid) RETURNS scelle_guard.tables",
    "from_sql": "(which oid, source text) RETURNS text",
    "keep_sql": "(which oid, op text, source text) RETURNS text",
    "miss": "(which oid, op text, rows bigint, cause text) RETURNS void",
    "weigh": "(which oid, op text, rows bigint, bytes bigint) RETURNS text",
    TRUNCATED: "() RETURNS trigger",
    "may_change": "(which oid, part text, op text) RETURNS boolean",
    "is_intact": "(which oid) RETURNS boolean",
    "adopt": "(which oid) RETURNS void",
    "on_drop": "() RETURNS event_trigger",
    "on_command": "() RETURNS event_trigger",
    "on_rewrite": "() RETURNS event_trigger",
}

EVENT_TRIGGERS: Final = {
    "scelle_guard_drop": ("sql_drop", "on_drop", ()),
    "scelle_guard_command": ("ddl_command_end", "on_command", ("ALTER TABLE", "CREATE TABLE")),
    "scelle_guard_rewrite": ("table_rewrite", "on_rewrite", ()),
}
"""Event, function and tags of every event trigger, by name."""


def shared_functions(beyond: Beyond) -> tuple[Function, ...]:
    """Write the functions that all tables share; `beyond` decides where the guard's own tables are gone, too."""
    return tuple(
        _function(name, signature, _shared_body(name, beyond)) for name, signature in _SIGNATURES.items()
    )


def table_function(
    name: str, account: str | None, account_type: str | None, shape: str, beyond: Beyond
) -> Function:
    """Write the function of one table's row triggers, with static SQL for whatever every statement runs."""
    by_row = shape == "row"
    column = "" if account is None else quoted(account)
    found = {True: "found_in_row", False: "found_by_account"}[by_row]
    values = {
        "found": ("" if by_row else QUERIES["found_always"]) if account is None else QUERIES[found],
        "tail": _tail("TG_RELID", "($5).*" if by_row else "old_rows", "lower(TG_OP)", by_row=by_row),
        "missing": _missing(beyond),
        "account": column,
        "value": _printed(f"o.{column}", account_type),
        "old_value": _printed(f"OLD.{column}", account_type),
    }
    return _function(name, "() RETURNS trigger", _filled(QUERIES[f"{shape}_function"], values))


def function_name(relation: Relation) -> str:
    """Name the function of a table that is to be guarded; the registry keeps the name."""
    return f"rows_{relation.oid}_{sha256(relation.text.encode()).hexdigest()[:6]}"


def shape_of(relation: Relation) -> str:
    """Say whether a table's triggers look at rows one by one."""
    return "row" if relation.by_row else "statement"


def triggers_of(
    sql: str, kind: str, shape: str, account: str | None, function: str, *, updates: bool
) -> list[Trigger]:
    """Write the triggers of one table; a partitioned one whose parts look at each row needs none for rows."""
    by_row = shape == "row"
    made = [_trigger(sql, "truncate", "BEFORE TRUNCATE", _BEFORE | _TRUNCATE, TRUNCATED)]
    if by_row and kind == "p":
        return made
    made.append(_rows_trigger(sql, "delete", "DELETE", _DELETE, function, by_row=by_row))
    if updates:
        made.append(_rows_trigger(sql, "update", "UPDATE", _UPDATE, function, by_row=by_row))
    elif account is not None and kind == "r":
        made.append(_owner_trigger(sql, account, function))
    return made


def owner_function(name: str) -> str:
    """Name the function that looks at the rows whose account is changed; it takes them one by one."""
    return f"{name}_owner"


def functions_of(
    name: str, account: str | None, account_type: str | None, shape: str, beyond: Beyond, *, updates: bool
) -> list[Function]:
    """Write the functions that a table's triggers call."""
    made = [table_function(name, account, account_type, shape, beyond)]
    if account is not None and not updates:  # a root's, for the partitions that it will have
        made.append(table_function(owner_function(name), account, account_type, "row", beyond))
    return made


def event_trigger_statements() -> list[str]:
    """Write the event triggers, which fire whatever session_replication_role says."""
    made = []
    for name, (event, function, tags) in EVENT_TRIGGERS.items():
        when = f" WHEN TAG IN ({', '.join(map(literal, tags))})" if tags else ""
        made.append(f"CREATE EVENT TRIGGER {name} ON {event}{when} EXECUTE FUNCTION {SCHEMA}.{function}()")
        made.append(f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS")
    return made


def register_statement(relation: Relation, wish: Wish, triggers: int) -> str:
    """Write the registry's row of a table: from then on event triggers stand before it."""
    root = "NULL" if relation.root is None else f"{relation.root}::oid::regclass"
    account = "NULL" if wish.account is None else literal(wish.account)
    values = (
        f"{literal(relation.sql)}::regclass, {root}, {literal(wish.mode)}, {account}, {wish.updates}, "
        f"{wish.is_restricted}, {literal(shape_of(relation))}, {triggers}, {literal(function_name(relation))}"
    )
    return (
        f"INSERT INTO {SCHEMA}.tables (relation, root, mode, account, updates, restricted, shape, triggers, function) "  # noqa: S608  constants are quoted
        f"VALUES ({values})"
    )


# --- parts


def _shared_body(name: str, beyond: Beyond) -> str:
    if name != TRUNCATED:
        return QUERIES[name]
    values = {"tail": _tail("part", "ONLY", "'truncate'", by_row=False), "missing": _missing(beyond)}
    return _filled(QUERIES[name], values)


def _missing(beyond: Beyond) -> str:
    return QUERIES["missing"] if beyond is Beyond.LET_GO else ""


def _tail(relation: str, source: str, op: str, *, by_row: bool) -> str:
    sources = {
        "ONLY": "'ONLY ' || part::regclass::text",
        "($5).*": "'(SELECT ($5).*)'",
        "old_rows": "'old_rows'",
    }
    values = {"relation": relation, "source": sources[source], "op": op, "old": ", OLD" if by_row else ""}
    return _filled(QUERIES["tail"], values)


def _printed(value: str, type_name: str | None) -> str:
    return f"{value}::text" if type_name in PRINTED_AS_CAST else f"format('%s', {value})"


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name in ("found", "tail", *values):
        text = text.replace(f"@{name}@", values.get(name, ""))
    return text


def _function(name: str, signature: str, body: str) -> Function:
    tag = "$scelle$"
    while tag in body:
        tag = tag[:-1] + "_$"
    sql = (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}{signature} {QUERIES['function_head']}\nAS {tag}{body}{tag};\n"
        f"REVOKE ALL ON FUNCTION {SCHEMA}.{name}{signature.partition(' RETURNS')[0]} FROM PUBLIC"
    )
    return Function(name, signature, body, CONFIG, sql)


def _trigger(
    sql: str, name: str, when: str, kind: int, function: str, rest: str = "FOR EACH STATEMENT"
) -> Trigger:
    name = f"scelle_guard_{name}"
    made = f"CREATE TRIGGER {name} {when} ON {sql} {rest} EXECUTE FUNCTION {SCHEMA}.{function}()"
    old_table = "old_rows" if "REFERENCING" in rest else ""
    return Trigger(
        name, kind, function, old_table, f"{made};\nALTER TABLE {sql} ENABLE ALWAYS TRIGGER {name}"
    )


def _rows_trigger(sql: str, name: str, event: str, kind: int, function: str, *, by_row: bool) -> Trigger:
    if by_row:
        return _trigger(sql, name, f"AFTER {event}", kind | _ROW, function, "FOR EACH ROW")
    rest = "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT"
    return _trigger(sql, name, f"AFTER {event}", kind, function, rest)


def _owner_trigger(sql: str, account: str, function: str) -> Trigger:
    column = quoted(account)
    rest = f"FOR EACH ROW WHEN (OLD.{column}::text IS DISTINCT FROM NEW.{column}::text)"
    return _trigger(sql, "owner", f"AFTER UPDATE OF {column}", _UPDATE | _ROW, owner_function(function), rest)
