"""Find the tables that are to be guarded, with their partitions and children, and read the guard's registry."""

from typing import Any

from psycopg import Connection

from scelle.errors import GuardWrong
from scelle.formats.tokens import shown
from scelle.guard.postgres.model import Beyond, Guarded, Mode, Relation, Wish
from scelle.guard.postgres.objects import QUERIES, SCHEMA
from scelle.sources.postgres.names import is_selected, parse_patterns, table_text

OLDEST_VERSION = 130_000


def is_installed(connection: "Connection[Any]") -> bool:
    """Say whether the guard's schema is there."""
    return bool(_rows(connection, "SELECT to_regclass('scelle_guard.tables') IS NOT NULL")[0][0])


def registered(connection: "Connection[Any]") -> list[Guarded]:
    """Read the registry, in the order in which tables were installed."""
    rows = _rows(connection, QUERIES["registered"])
    return [
        Guarded(number, oid, schema, name, kind, root, Mode(mode), *rest)
        for number, oid, schema, name, kind, root, mode, *rest in rows
    ]


def chosen_beyond(connection: "Connection[Any]") -> Beyond:
    """Read what was chosen for a full outbox; where nothing is said any more, nothing may go."""
    found = _rows(connection, "SELECT to_regclass('scelle_guard.settings') IS NOT NULL")
    rows = _rows(connection, "SELECT s.beyond FROM scelle_guard.settings s") if found[0][0] else []
    return Beyond(rows[0][0]) if rows else Beyond.REFUSE


def expand(connection: "Connection[Any]", wish: Wish) -> list[Relation]:
    """Find a table with its partitions and children, itself first. Raises GuardWrong."""
    found = _rows(
        connection,
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (wish.schema, wish.name),
    )
    if not found:
        raise GuardWrong(f"there is no table {wish.text} in this database: name one that is")
    relations = [Relation(*row) for row in _rows(connection, QUERIES["relations"], ([found[0][0]],))]
    relations.sort(key=lambda each: each.oid != found[0][0])
    return relations


def wishes_for(
    connection: "Connection[Any]", patterns: tuple[str, ...], mode: Mode, *, updates: bool = False,
    accounts: tuple[str, ...] = (), restricted: bool = False,
) -> list[Wish]:  # fmt: skip
    """Make wishes of table patterns such as `public.*`: partitions come with their roots.

    The account is the first of the columns `accounts` that a table has; without one every row is held.
    """
    parsed = parse_patterns(patterns)
    chosen = [row for row in _rows(connection, QUERIES["candidates"]) if is_selected(parsed, row[1], row[2])]
    parts = {
        row[0]
        for row in _rows(
            connection,
            "SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = ANY(%s)",
            ([oid for oid, *_ in chosen],),
        )
    }
    made = []
    for oid, schema, name in chosen:
        if oid not in parts:
            columns = {row[0] for row in _rows(connection, QUERIES["columns"], (oid,))}
            account = next((each for each in accounts if each in columns), None)
            made.append(Wish(schema, name, mode, account, updates, restricted))
    return made


def account_type(
    connection: "Connection[Any]", relation: Relation | Guarded, account: str | None
) -> str | None:
    """Name the account column's type where it is built in. Raises GuardWrong where it cannot say whose a row is."""
    if account is None:
        return None
    if account not in columns_of(connection, relation.oid):
        raise GuardWrong(
            f"{relation.text} has no column {shown(account)} that is stored: name one that says whose a row is"
        )
    found = _rows(connection, QUERIES["account_type"], (relation.oid, account))
    name = found[0][0] if found else None
    if name == "bytea":
        raise GuardWrong(f"column {shown(account)} of {relation.text} is bytea: no identifier")
    return name


def columns_of(connection: "Connection[Any]", oid: int) -> list[str]:
    """List the columns that a row stores."""
    return [row[0] for row in _rows(connection, QUERIES["columns"], (oid,))]


def moves_with_account(connection: "Connection[Any]", relation: Relation, account: str | None) -> bool:
    """Say whether a change of the account moves a row to another partition, which is no UPDATE to row triggers."""
    key = _rows(connection, QUERIES["partition_key"], (relation.oid, relation.oid))
    return account is not None and (account,) in key


def unguarded_parts(connection: "Connection[Any]") -> list[str]:
    """Name partitions and children of guarded tables that have no guard yet."""
    return [table_text(schema, name) for _, schema, name in _rows(connection, QUERIES["unguarded"])]


def registry_lock(connection: "Connection[Any]") -> None:
    """Let one installation, removal or synchronisation of this database run at a time, until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (SCHEMA,))


def _rows(
    connection: "Connection[Any]", query: str, parameters: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters or None).fetchall()
