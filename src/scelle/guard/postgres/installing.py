"""Plan, install and remove the guard: one short transaction per table, tried again while others hold the table.

A crash between two transactions leaves a guard over some tables and none over the others; the next call goes on there.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import Connection

from scelle.errors import GuardWrong
from scelle.formats.tokens import shown
from scelle.guard.postgres import relations as catalogs
from scelle.guard.postgres.inspecting import faults_of
from scelle.guard.postgres.model import Beyond, Caps, Guarded, Mode, Plan, Progress, Relation, Step, Wish
from scelle.guard.postgres.objects import (
    EVENT_TRIGGERS,
    PROBE_SCHEMA,
    QUERIES,
    SCHEMA,
    event_trigger_statements,
    function_name,
    functions_of,
    owner_function,
    register_statement,
    shape_of,
    shared_functions,
    triggers_of,
)
from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.names import literal

SHARE_ROW_EXCLUSIVE: Final = "SHARE ROW EXCLUSIVE"
ACCESS_EXCLUSIVE: Final = "ACCESS EXCLUSIVE"
NO_LOCK: Final = "none on any table of yours"
TWINS: Final = ("twin", "leaf")
_BUSY: Final = ("55P03", "40P01")
_MAXIMUM_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Part:
    relation: Relation
    wish: Wish
    step: Step


@dataclass(frozen=True, slots=True)
class Tries:
    """Say how patiently a busy table is tried: how long a lock is waited for, how often, and how to pass the time."""

    lock_timeout_ms: int = 200
    rounds: int = 20
    pause_s: float = 0.1
    sleep: Callable[[float], None] = time.sleep


def plan(
    connection: "Connection[Any]",
    wishes: Sequence[Wish],
    caps: Caps | None = None,
    *,
    owner: str | None = None,
) -> Plan:
    """Say what `install` would do with these wishes; changes nothing. Raises GuardWrong."""
    _check_server(connection)
    role, is_super, may_create, database, provider, publications, keeper = _role(connection, owner)
    is_there = keeper is not None or catalogs.is_installed(connection)
    parts, notes = _parts(connection, wishes, (caps or Caps()).beyond)
    has_events = is_super or bool(provider)
    first = () if is_there else (_schema_step(connection, caps or Caps(), has_events=has_events),)
    undo = [_undo_step(function_name(part.relation), part.relation.sql, part) for part in reversed(parts)]
    undo.append(Step(SCHEMA, tuple(_drop_statements(has_events=has_events)), NO_LOCK))
    needs = []
    if not (may_create or is_there):
        needs.append(f"GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(role)};")
    if keeper is not None:
        needs.append(f"-- the guard that stands here belongs to {shown(keeper)}: run it as that role")
    elif not is_super:
        needs += _table_needs(connection, _to_change(connection, parts, is_there=is_there), role)
    notes += _notes(role, has_events=has_events, publications=publications)
    return Plan(
        role, (*first, *(part.step for part in parts)), tuple(undo), tuple(needs), tuple(notes), has_events
    )


def install(
    connection: "Connection[Any]",
    wishes: Sequence[Wish],
    caps: Caps | None = None,
    *,
    owner: str | None = None,
    tries: Tries | None = None,
) -> Progress:
    """Guard tables, or guard them otherwise, with their partitions; `owner` is a role to make everything as.

    Give an autocommit connection. What stands as wished is left alone, so that a call after a crash goes on. Raises
    GuardWrong before anything was changed.
    """
    _check_server(connection)
    _parts(connection, wishes, (caps or Caps()).beyond)
    has_events = _prepare(connection, caps or Caps(), owner)
    parts, _ = _parts(connection, wishes, (caps or Caps()).beyond)
    work = {part.relation.text: part for part in parts}
    wait = tries or Tries()

    def act(name: str) -> None:
        with _transaction(connection, wait, owner):
            catalogs.registry_lock(connection)
            _guard(connection, work[name])

    return replace(_in_rounds(list(work), act, wait), has_event_triggers=has_events)


def remove(
    connection: "Connection[Any]",
    tables: Iterable[str] | None = None,
    *,
    owner: str | None = None,
    leave_outbox: bool = False,
    tries: Tries | None = None,
) -> Progress:
    """Take the guard from tables (`schema.table`, with their partitions), or from all; with the last, everything goes.

    While rows wait in the outbox the schema stays, and the progress says so; `leave_outbox` drops them with it. Raises
    GuardWrong for a table that is not guarded.
    """
    if not catalogs.is_installed(connection):
        return Progress((), {})
    wait = tries or Tries()
    chosen = {each.text: each for each in _chosen(connection, tables)}

    def act(name: str) -> None:
        with _transaction(connection, wait, owner):
            catalogs.registry_lock(connection)
            for statement in _removal(connection, chosen[name]):
                connection.execute(statement.encode())

    progress = _in_rounds(list(chosen), act, wait)
    if progress.left or any(each.schema != PROBE_SCHEMA for each in catalogs.registered(connection)):
        return progress
    return _drop_all(connection, progress, owner, wait, leave_outbox=leave_outbox)


# --- steps


def _guard(connection: "Connection[Any]", part: _Part) -> None:
    """Guard one table inside a transaction, unless it is as wished already."""
    known = {each.oid: each for each in catalogs.registered(connection)}.get(part.relation.oid)
    if known is not None:
        if _is_as_wished(connection, known, part):
            return
        for statement in _removal(connection, known):
            connection.execute(statement.encode())
    for name in _our_triggers(connection, part.relation.oid):
        connection.execute(f"DROP TRIGGER {quoted(name)} ON {part.relation.sql}".encode())
    for statement in part.step.statements:
        connection.execute(statement.encode())


def _to_change(connection: "Connection[Any]", parts: Sequence[_Part], *, is_there: bool) -> list[Relation]:
    """Return the tables that do not stand as wished yet: only for those must the role own anything."""
    known = {each.oid: each for each in catalogs.registered(connection)} if is_there else {}
    return [
        part.relation
        for part in parts
        if part.relation.oid not in known or not _is_as_wished(connection, known[part.relation.oid], part)
    ]


def _our_triggers(connection: "Connection[Any]", oid: int) -> list[str]:
    return [row[0] for row in connection.execute(QUERIES["triggers"].encode(), (oid,)).fetchall()]


def _is_as_wished(connection: "Connection[Any]", known: Guarded, part: _Part) -> bool:
    wish, relation = part.wish, part.relation
    alike = (known.mode, known.account, known.updates, known.is_restricted, known.shape, known.root) == (
        wish.mode, wish.account, wish.updates, wish.is_restricted, shape_of(relation), relation.root,
    )  # fmt: skip
    if not alike:
        return False
    return not faults_of(connection, known)


def _parts(
    connection: "Connection[Any]", wishes: Sequence[Wish], beyond: Beyond
) -> tuple[list[_Part], list[str]]:
    """Expand wishes, later ones winning. Raises GuardWrong."""
    parts: dict[int, _Part] = {}
    notes = []
    for wish in wishes:
        for relation in catalogs.expand(connection, wish):
            if relation.kind == "f":
                notes.append(f"{relation.text} is on another server: its rows cannot be guarded from here")
                continue
            if relation.persistence != "p":
                raise GuardWrong(
                    f"{relation.text} is not logged, so that a crash empties it: ALTER TABLE .. SET LOGGED first"
                )
            fits = wish
            if not wish.updates and catalogs.moves_with_account(connection, relation, wish.account):
                fits = replace(wish, updates=True)
                notes.append(f"{relation.text} is partitioned by its account: updates are guarded, too")
            parts[relation.oid] = _Part(relation, fits, _table_step(connection, relation, fits, beyond))
    return list(parts.values()), notes


def _table_step(connection: "Connection[Any]", relation: Relation, wish: Wish, beyond: Beyond) -> Step:
    kind, shape, name = relation.kind, shape_of(relation), function_name(relation)
    type_name = catalogs.account_type(connection, relation, wish.account)
    functions = functions_of(name, wish.account, type_name, shape, beyond, updates=wish.updates)
    triggers = triggers_of(relation.sql, kind, shape, wish.account, name, updates=wish.updates)
    statements = [*(each.sql for each in functions), *(each.sql for each in triggers)]
    # last, for from then on the event triggers watch the table
    statements.append(register_statement(relation, wish, len(triggers)))
    return Step(relation.text, tuple(statements), SHARE_ROW_EXCLUSIVE)


def _undo_step(name: str, sql: str, part: _Part) -> Step:
    wish, relation = part.wish, part.relation
    triggers = triggers_of(sql, relation.kind, shape_of(relation), wish.account, name, updates=wish.updates)
    statements = [f"DELETE FROM {SCHEMA}.tables WHERE relation = {literal(sql)}::regclass"]  # noqa: S608  quoted
    statements += [f"DROP TRIGGER IF EXISTS {each.name} ON {sql}" for each in triggers]
    statements += _function_drops(name)
    return Step(relation.text, tuple(statements), ACCESS_EXCLUSIVE)


def _removal(connection: "Connection[Any]", known: Guarded) -> list[str]:
    """Take the guard from one table; functions that a partition took over from its root go with the last of them."""
    statements = [f"DELETE FROM {SCHEMA}.tables WHERE id = {known.id}"]  # noqa: S608  a number
    if known.schema is not None:
        statements += [
            f"DROP TRIGGER IF EXISTS scelle_guard_{each} ON {known.sql}"
            for each in ("truncate", "delete", "update", "owner")
        ]
    others = (each for each in catalogs.registered(connection) if each.id != known.id)
    return statements + (
        [] if known.function in {each.function for each in others} else _function_drops(known.function)
    )


def _function_drops(name: str) -> list[str]:
    # with what still calls them: a trigger that somebody renamed
    return [f"DROP FUNCTION IF EXISTS {SCHEMA}.{each}() CASCADE" for each in (name, owner_function(name))]


def _drop_statements(*, has_events: bool) -> list[str]:
    statements = [f"DROP EVENT TRIGGER IF EXISTS {name}" for name in EVENT_TRIGGERS] if has_events else []
    return [*statements, f"DROP SCHEMA IF EXISTS {PROBE_SCHEMA} CASCADE", f"DROP SCHEMA {SCHEMA} CASCADE"]


def _schema_step(connection: "Connection[Any]", caps: Caps, *, has_events: bool) -> Step:
    statements = [
        QUERIES["make_schema"],
        QUERIES["make_tally"],
        *(each.sql for each in shared_functions(caps.beyond)),
        _settings_statement(caps),
    ]
    if has_events:
        statements += event_trigger_statements()
    statements.append(QUERIES["twin"])
    return Step(SCHEMA, tuple(statements), NO_LOCK)


def _settings_statement(caps: Caps) -> str:
    return (
        f"INSERT INTO {SCHEMA}.settings (system, hash_check, cap_rows, cap_bytes, beyond) "  # noqa: S608  numbers
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), "
        f"hashtextextended('scellé' COLLATE \"C\", s.seed), {caps.rows}, {caps.size_bytes}, {literal(caps.beyond)} "
        f"FROM {SCHEMA}.secret s"
    )


# --- doing


def _prepare(connection: "Connection[Any]", caps: Caps, owner: str | None) -> bool:
    """Make the schema and the twins where they are missing, and everything shared as it must be."""
    with connection.transaction():
        catalogs.registry_lock(connection)
        _become(connection, owner)
        if not catalogs.is_installed(connection):
            connection.execute(QUERIES["make_schema"].encode())
            connection.execute(_settings_statement(caps).encode())
            connection.execute(QUERIES["twin"].encode())
        connection.execute(QUERIES["make_tally"].encode())  # a guard that an earlier version made has none
        connection.execute(
            "UPDATE scelle_guard.settings SET cap_rows = %s, cap_bytes = %s, beyond = %s",
            (caps.rows, caps.size_bytes, str(caps.beyond)),
        )
        for function in shared_functions(caps.beyond):
            connection.execute(function.sql.encode())
        known = {each.oid for each in catalogs.registered(connection)}
        for name in TWINS:
            part = _parts(
                connection, [Wish(PROBE_SCHEMA, name, Mode.DIVERT, "account", updates=True)], caps.beyond
            )[0][0]
            if part.relation.oid not in known or not _is_as_wished_twin(connection, part):
                _guard(connection, part)
        return _make_event_triggers(connection)


def _is_as_wished_twin(connection: "Connection[Any]", part: _Part) -> bool:
    known = next(each for each in catalogs.registered(connection) if each.oid == part.relation.oid)
    return _is_as_wished(connection, known, part)


def _make_event_triggers(connection: "Connection[Any]") -> bool:
    """Make event triggers where the role may; where it may not, status says so."""
    connection.execute("RESET ROLE")
    try:
        with connection.transaction():
            for name in EVENT_TRIGGERS:
                connection.execute(f"DROP EVENT TRIGGER IF EXISTS {name}".encode())
            for statement in event_trigger_statements():
                connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _drop_all(
    connection: "Connection[Any]", progress: Progress, owner: str | None, wait: Tries, *, leave_outbox: bool
) -> Progress:
    with _transaction(connection, wait, None):
        catalogs.registry_lock(connection)
        # nothing may be put there between the look and the end: no function is left that could
        row = connection.execute(
            "SELECT (SELECT count(*) FROM scelle_guard.outbox), (SELECT count(*) FROM scelle_guard.missed)"
        ).fetchone()
        waiting, missed = row or (0, 0)
        if (waiting or missed) and not leave_outbox:
            cause = f"{waiting} rows wait to be sealed and {missed} counts of lost ones: remove it after them"
            return replace(progress, left={SCHEMA: cause})
        connection.execute("DELETE FROM scelle_guard.tables")
        has_events = connection.execute(
            "SELECT count(*) FROM pg_event_trigger WHERE evtname = ANY(%s)", (list(EVENT_TRIGGERS),)
        ).fetchone()
        for statement in _drop_statements(has_events=bool(has_events and has_events[0])):
            if owner is not None and statement.startswith("DROP SCHEMA"):
                _become(connection, owner)
            connection.execute(statement.encode())
    return progress


def _in_rounds(names: list[str], act: Callable[[str], None], wait: Tries) -> Progress:
    """Do one table after the other; come back to those that were busy, each time after a longer pause."""
    done: list[str] = []
    left = dict.fromkeys(names, "not tried")
    for turn in range(wait.rounds):
        for name in list(left):
            try:
                act(name)
            except psycopg.Error as error:
                left[name] = _cause(error)
                if error.sqlstate not in _BUSY:
                    left[name] = f"{left[name]}; {_advice(error)}"
                    continue
            else:
                done.append(name)
                del left[name]
        if not any(_is_busy(cause) for cause in left.values()):
            break
        wait.sleep(min(wait.pause_s * 2**turn, _MAXIMUM_WAIT_S))
    return Progress(tuple(done), left)


def _is_busy(cause: str) -> bool:
    return cause == "not tried" or cause.startswith("busy")


def _cause(error: psycopg.Error) -> str:
    if error.sqlstate in _BUSY:
        return "busy: other sessions hold locks on it; run again"
    return shown(error.diag.message_primary or type(error).__name__)


def _advice(error: psycopg.Error) -> str:
    if error.sqlstate == "42501":
        return "see guard plan for the GRANT to ask for"
    return "see the server's log"


class _transaction:  # noqa: N801  it reads as what it is
    """Open a transaction that waits for locks only shortly, as a role."""

    def __init__(self, connection: "Connection[Any]", wait: Tries, owner: str | None) -> None:
        self._connection, self._wait, self._owner = connection, wait, owner
        self._block = connection.transaction()

    def __enter__(self) -> None:
        self._block.__enter__()
        self._connection.execute(f"SET LOCAL lock_timeout = {int(self._wait.lock_timeout_ms)}".encode())
        _become(self._connection, self._owner)

    def __exit__(self, *problem: Any) -> None:
        self._block.__exit__(*problem)


def _become(connection: "Connection[Any]", owner: str | None) -> None:
    if owner is not None:
        connection.execute(f"SET LOCAL ROLE {quoted(owner)}".encode())


def _chosen(connection: "Connection[Any]", tables: Iterable[str] | None) -> list[Guarded]:
    known = [each for each in catalogs.registered(connection) if each.schema != PROBE_SCHEMA]
    if tables is None:
        return known
    texts = set(tables)
    missing = texts - {each.text for each in known}
    if missing:
        raise GuardWrong(f"{shown(min(missing))} is not guarded: name a table that is")
    oids = {each.oid for each in known if each.text in texts}
    return [each for each in known if each.oid in oids or each.root in oids]


# --- rights


def _check_server(connection: "Connection[Any]") -> None:
    if connection.info.server_version < catalogs.OLDEST_VERSION:
        raise GuardWrong(
            "the guard needs PostgreSQL 13 or newer: upgrade the server, or capture without a guard"
        )
    if not connection.autocommit:
        raise GuardWrong("the guard needs an autocommit connection: each table is a transaction of its own")
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is not None and row[0]:
        raise GuardWrong(
            "this server is a standby: install the guard on its primary, from which it comes here"
        )


def _role(connection: "Connection[Any]", owner: str | None) -> tuple[Any, ...]:
    with connection.transaction():
        _become(connection, owner)
        row = connection.execute(QUERIES["role"].encode()).fetchone()
    if row is None:
        raise GuardWrong("the server does not say who asks: connect again")
    return tuple(row)


def _table_needs(connection: "Connection[Any]", relations: Sequence[Relation], role: str) -> list[str]:
    """Say how the role comes to own each table; never by a GRANT that would make it a superuser."""
    by_owner: dict[str, list[Relation]] = {}
    for relation in relations:
        if not relation.is_ours:
            by_owner.setdefault(relation.owner, []).append(relation)
    found = connection.execute("SELECT r.rolname FROM pg_roles r WHERE r.rolsuper").fetchall()
    supers, needs = {name for (name,) in found}, []
    for owner, owned in by_owner.items():
        if owner in supers:
            needs += [
                f"ALTER TABLE {each.sql} OWNER TO {quoted(role)};  -- its owner {shown(owner)} is a superuser; or run "
                "it as that one"
                for each in owned
            ]
        else:
            more = f" and {len(owned) - 1} more" if len(owned) > 1 else ""
            needs.append(
                f"GRANT {quoted(owner)} TO {quoted(role)};  -- or run it as the owner of {shown(owned[0].text)}{more}"
            )
    return needs


def _notes(role: str, *, has_events: bool, publications: int) -> list[str]:
    notes = []
    if not has_events:
        notes.append(
            "DROP, DROP COLUMN, DETACH and DISABLE TRIGGER cannot be refused by this role, only seen: event "
            f"triggers need a superuser on an own server, GRANT rds_superuser TO {quoted(role)} on RDS, GRANT "
            f"cloudsqlsuperuser TO {quoted(role)} on Cloud SQL, where the provider allows them"
        )
    if publications:
        notes.append(
            f"{publications} publications are FOR ALL TABLES: they would send the schema {SCHEMA} to subscribers, "
            "which do not have it and would stop; name their tables, or schemas, instead"
        )
    return notes
