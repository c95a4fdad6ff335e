"""Try the delete paths, each in one transaction that is always rolled back and never waits.

Row paths are tried on the real table with a made-up row of a made-up account, which is held inside the transaction
only. Where the table's own triggers or rules could act on that row, or where no row can be made up, the real table is
only inspected. What takes a whole table away is tried on a twin in the schema `scelle_probe`, under the same functions
and event triggers.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from scelle.guard.postgres import relations as catalogs
from scelle.guard.postgres.inspecting import faults_of, inspect
from scelle.guard.postgres.model import HELD_STATE, Guarded, How, Mode, PathState, State
from scelle.guard.postgres.objects import EVENT_TRIGGERS, PROBE_SCHEMA, QUERIES
from scelle.sources.clause_sql import quoted

LOCK_TIMEOUT_MS: Final = 50
STATEMENT_TIMEOUT_MS: Final = 1000
_WAITED: Final = ("55P03", "57014", "40P01")
_REFUSES_ROW: Final = ("22", "23", "42804", "428C9")
"""SQLSTATEs, or their classes, by which a table says that it takes no such row."""

_TWIN: Final = "scelle_probe.twin"
_ROW: Final = "INSERT INTO scelle_probe.twin (id, account, body) VALUES (1, 'scelle-probe', 'made up')"
_CHILD: Final = (
    "INSERT INTO scelle_probe.parent (id) VALUES (1); "
    "INSERT INTO scelle_probe.twin (id, account, body, parent) VALUES (1, 'scelle-probe', 'made up', 1)"
)

_TAKES_ROWS: Final = {
    "delete": (_ROW, "DELETE FROM scelle_probe.twin"),
    "delete-on-leaf": (_ROW, "DELETE FROM scelle_probe.leaf"),
    "delete-cascade": (_CHILD, "DELETE FROM scelle_probe.parent"),
    "update": (_ROW, "UPDATE scelle_probe.twin SET body = NULL"),
    "truncate": (_ROW, f"TRUNCATE {_TWIN}"),
    "truncate-on-leaf": (_ROW, "TRUNCATE scelle_probe.leaf"),
    "truncate-cascade": (_CHILD, "TRUNCATE scelle_probe.parent CASCADE"),
}
_TAKES_TABLE: Final = {
    "drop-table": f"DROP TABLE {_TWIN}",
    "drop-schema": f"DROP SCHEMA {PROBE_SCHEMA} CASCADE",
    "drop-column": f"ALTER TABLE {_TWIN} DROP COLUMN body",
    "detach": f"ALTER TABLE {_TWIN} DETACH PARTITION scelle_probe.leaf",
    "rewrite": f"ALTER TABLE {_TWIN} ALTER COLUMN body TYPE bytea USING ''::bytea",
    "disable-trigger": "ALTER TABLE scelle_probe.leaf DISABLE TRIGGER ALL",
    "drop-trigger": "DROP TRIGGER scelle_guard_delete ON scelle_probe.leaf",
}

_NUMBERS: Final = {
    "int2": lambda: 32_000 + secrets.randbelow(700),
    "int4": lambda: 2_100_000_000 + secrets.randbelow(40_000_000),
    "int8": lambda: 9_000_000_000_000_000_000 + secrets.randbelow(200_000_000_000_000_000),
    "numeric": lambda: 1 + secrets.randbelow(9),
    "float4": lambda: 1,
    "float8": lambda: secrets.randbelow(1 << 50),
    "oid": lambda: 4_200_000_000,
}
_TEXTS: Final = {
    "uuid": lambda: secrets.token_hex(16),
    "bool": lambda: "false",
    "timestamptz": lambda: "now",
    "timestamp": lambda: "now",
    "date": lambda: "today",
    "time": lambda: "00:00",
    "timetz": lambda: "00:00",
    "interval": lambda: "1 day",
    "json": lambda: "{}",
    "jsonb": lambda: "{}",
    "bytea": lambda: "\\x" + secrets.token_hex(8),
    "inet": lambda: "192.0.2.1",
    "cidr": lambda: "192.0.2.0/24",
    "xml": lambda: "<a/>",
    "tsvector": lambda: "a",
    "point": lambda: "(0,0)",
}
_CHARACTERS: Final = frozenset({"text", "varchar", "bpchar", "citext", "name"})


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type_name: str
    modifier: int
    is_not_null: bool
    is_generated: bool
    is_identity: bool
    is_unique: bool
    label: str | None
    is_array: bool

    def sample(self) -> str | None:
        """Make up a value as text, or None where no type of this name is known."""
        if self.label is not None:
            return self.label
        if self.is_array:
            return "{}"
        if self.type_name in _CHARACTERS:
            text = (
                f"scelle-{secrets.token_hex(8)}"
                if self.modifier < 0 or self.modifier > 26
                else secrets.token_hex(8)
            )
            return text if self.modifier < 0 else text[: self.modifier - 4]
        made = _NUMBERS.get(self.type_name) or _TEXTS.get(self.type_name)
        return None if made is None else str(made())


class _Unfit(Exception):
    """No row can be made up for a table, and why."""


def probe(connection: "Connection[Any]") -> list[PathState]:
    """Try every path that can be tried and inspect the rest; give one state per table and path, the twin's among them.

    Needs an autocommit connection of the guard's role. Commits nothing, and nothing that it does is seen by a
    consumer of logical decoding. A table that is busy is *not probed*, and never green.
    """
    states = inspect(connection)
    if not catalogs.is_installed(connection):
        return states
    tried = [state for guarded in catalogs.registered(connection) for state in _of_table(connection, guarded)]
    tried += _of_twin(connection)
    known = {(state.table, state.path): state for state in states}
    for state in tried:
        known[state.table, state.path] = _worse(known.get((state.table, state.path)), state)
    return list(known.values())


def _worse(inspected: PathState | None, tried: PathState) -> PathState:
    """Let what the catalogs say stand against a probe that passed or was not made, never the other way about."""
    if inspected is None or tried.state is State.RED:
        return tried
    return inspected if inspected.state is State.RED else tried


# --- the real table


def _of_table(connection: "Connection[Any]", guarded: Guarded) -> Iterator[PathState]:
    if guarded.schema == PROBE_SCHEMA or guarded.kind is None:
        return
    paths = ["delete", "update"] if guarded.updates else ["delete"]
    for path in paths:
        for role in ("origin", "replica"):
            name = "replication-role" if role == "replica" else path
            if role == "replica" and path == "update":
                continue
            yield from _row_path(connection, guarded, path, name, role)


def _row_path(
    connection: "Connection[Any]", guarded: Guarded, path: str, name: str, role: str
) -> Iterator[PathState]:
    """Try one row path; say nothing where the table can only be inspected, for that was done already."""

    def act() -> PathState:
        if role == "replica":
            _as_replica(connection)
        _check_quiet(connection, guarded, role)
        place = _make_row(connection, guarded)
        statement = "DELETE FROM" if path == "delete" else "UPDATE"
        rest = "" if path == "delete" else f" SET {_same(connection, guarded)}"
        sql = f"{statement} {_plain(guarded.sql)}{rest} WHERE tableoid = %s AND ctid = %s"
        return _attempt(
            connection, guarded.text, name, guarded.mode, lambda: _execute(connection, sql, place)
        )

    try:
        yield _rolled_back(connection, guarded.text, name, guarded.mode, act)
    except _Unfit as reason:
        if name == "delete":
            # what `inspect` found stands, with the reason why nothing was tried
            yield from _only_inspected(connection, guarded, name, str(reason))


def _only_inspected(
    connection: "Connection[Any]", guarded: Guarded, name: str, reason: str
) -> Iterator[PathState]:
    faults = faults_of(connection, guarded)
    detail = faults.get("scelle_guard_delete", "") or reason
    state = State.RED if "scelle_guard_delete" in faults else State.EFFECTIVE
    yield PathState(guarded.text, name, guarded.mode, state, How.INSPECTED, detail)


def _as_replica(connection: "Connection[Any]") -> None:
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        raise _Unfit("the role may not set session_replication_role") from None


def _check_quiet(connection: "Connection[Any]", guarded: Guarded, role: str) -> None:
    """Refuse to touch a table whose own triggers or rules would act on a made-up row."""
    firing = ["A", "R"] if role == "replica" else ["A", "O"]
    found = connection.execute(
        QUERIES["foreign_triggers"].encode(), (guarded.oid, firing, guarded.oid)
    ).fetchall()
    if found:
        raise _Unfit(
            f"it has a trigger or rule of its own ({found[0][0]}), which a made-up row would set off"
        )


def _make_row(connection: "Connection[Any]", guarded: Guarded) -> tuple[Any, ...]:
    """Put a made-up row into the table and hold its account, both inside the transaction; give where the row lies."""
    rows = connection.execute(QUERIES["needs"].encode(), (guarded.oid,)).fetchall()
    columns = [_Column(*row) for row in rows]
    fixed = {
        row[0]
        for row in connection.execute(
            QUERIES["partition_key"].encode(), (guarded.oid, guarded.oid)
        ).fetchall()
    }
    makers: Sequence[Callable[[], tuple[str, list[str | None]]]] = (
        lambda: _made_up(guarded, columns),
        lambda: _made_alike(guarded, columns, fixed),
    )
    reason = "it takes no made-up row"
    for maker in makers:
        try:
            with connection.transaction():
                sql, values = maker()
                account = (
                    "NULL" if guarded.account is None else f"format('%%s', {_plain(quoted(guarded.account))})"
                )
                row = connection.execute(
                    f"{sql} RETURNING tableoid, ctid, {account}".encode(), values
                ).fetchone()
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(_REFUSES_ROW):
                raise
            reason = f"it takes no made-up row ({error.sqlstate})"
            continue
        if row is not None:
            _hold_within(connection, row[2])
            return tuple(row[:2])
        reason = "it takes no made-up row, and has none to make one like"
    raise _Unfit(reason)


def _made_up(guarded: Guarded, columns: Sequence[_Column]) -> tuple[str, list[str | None]]:
    """Fill what must be filled, so that no default is computed: a sequence would not go back."""
    chosen = [each for each in columns if not each.is_generated]
    names, values = [], []
    for each in chosen:
        needed = each.is_not_null or each.name == guarded.account
        names.append(_plain(quoted(each.name)))
        values.append(each.sample() if needed else None)
    marks = ", ".join(["%s"] * len(values))
    return (
        f"INSERT INTO {_plain(guarded.sql)} ({', '.join(names)}) OVERRIDING SYSTEM VALUE VALUES ({marks})",  # noqa: S608  quoted
        values,
    )


def _made_alike(
    guarded: Guarded, columns: Sequence[_Column], fixed: set[str]
) -> tuple[str, list[str | None]]:
    """Take a row that is there with other keys, for tables whose checks no made-up values pass."""
    names, cells, values = [], [], []
    for each in columns:
        if each.is_generated:
            continue
        names.append(_plain(quoted(each.name)))
        value = each.sample() if each.is_unique and each.name not in fixed else None
        cells.append("%s" if value is not None else _plain(quoted(each.name)))
        if value is not None:
            values.append(value)
    return (
        f"INSERT INTO {_plain(guarded.sql)} ({', '.join(names)}) OVERRIDING SYSTEM VALUE "  # noqa: S608  quoted
        f"SELECT {', '.join(cells)} FROM {_plain(guarded.sql)} LIMIT 1",
        list(values),
    )


def _same(connection: "Connection[Any]", guarded: Guarded) -> str:
    rows = connection.execute(QUERIES["needs"].encode(), (guarded.oid,)).fetchall()
    name = next(_plain(quoted(row[0])) for row in rows if not row[4] and not row[5])
    return f"{name} = {name}"


def _plain(sql: str) -> str:
    """Take its meaning from a percent sign in a name, where a query has parameters."""
    return sql.replace("%", "%%")


def _hold_within(connection: "Connection[Any]", account: str | None) -> None:
    if account is not None:
        connection.execute(
            'INSERT INTO scelle_guard.held (hash, tag) SELECT hashtextextended(%s::text COLLATE "C", s.seed), '
            "sha256(s.key || convert_to(%s::text, getdatabaseencoding())) FROM scelle_guard.secret s "
            "ON CONFLICT DO NOTHING",
            (account, account),
        )


# --- the twin


def _of_twin(connection: "Connection[Any]") -> Iterator[PathState]:
    for mode in Mode:
        for path, (before, statement) in _TAKES_ROWS.items():
            yield _twin_path(connection, path, mode, before, statement)
    has_events = connection.execute(
        "SELECT count(*) FROM pg_event_trigger WHERE evtname = ANY(%s)", (list(EVENT_TRIGGERS),)
    ).fetchone()
    if has_events and has_events[0]:
        for path, statement in _TAKES_TABLE.items():
            yield _twin_path(connection, path, Mode.REFUSE, _ROW, statement)


def _twin_path(
    connection: "Connection[Any]", path: str, mode: Mode, before: str, statement: str
) -> PathState:
    name = f"{path}, {mode}"

    def act() -> PathState:
        connection.execute(
            "UPDATE scelle_guard.tables SET mode = %s WHERE relation IN "
            "('scelle_probe.twin'::regclass, 'scelle_probe.leaf'::regclass)",
            (str(mode),),
        )
        connection.execute(before.encode())
        _hold_within(connection, "scelle-probe")
        return _attempt(connection, _TWIN, name, mode, lambda: connection.execute(statement.encode()))

    return _rolled_back(connection, _TWIN, name, mode, act)


# --- attempts


def _execute(connection: "Connection[Any]", sql: str, values: tuple[Any, ...]) -> None:
    connection.execute(sql.encode(), values)


def _attempt(
    connection: "Connection[Any]", table: str, path: str, mode: str, act: Callable[[], object]
) -> PathState:
    """Run what should be diverted or refused, and say whether it was."""

    def said(state: State, detail: str = "") -> PathState:
        return PathState(table, path, mode, state, How.PROBED, detail)

    before = _last_kept(connection)
    try:
        act()
    except psycopg.Error as error:
        if error.sqlstate in _WAITED:
            raise
        if error.sqlstate == HELD_STATE:
            return said(
                State.EFFECTIVE if mode == Mode.REFUSE else State.RED,
                "" if mode == Mode.REFUSE else "refused",
            )
        return said(State.RED, f"failed with SQLSTATE {error.sqlstate}")
    row = connection.execute(
        "SELECT count(*) FROM scelle_guard.outbox WHERE id > %s AND txid = pg_current_xact_id()", (before,)
    ).fetchone()
    if mode == Mode.DIVERT and row is not None and row[0] == 1:
        return said(State.EFFECTIVE)
    return said(State.RED, f"a held row was let go: {row[0] if row else 0} rows in the outbox, mode {mode}")


def _last_kept(connection: "Connection[Any]") -> int:
    row = connection.execute("SELECT coalesce(max(id), 0) FROM scelle_guard.outbox").fetchone()
    return 0 if row is None else int(row[0])


def _rolled_back(
    connection: "Connection[Any]", table: str, path: str, mode: str, act: Callable[[], PathState]
) -> PathState:
    """Run a probe in a transaction that ends in ROLLBACK, whatever happens."""
    found: PathState | None = None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}; "
                "SET LOCAL application_name = 'scelle-probe'".encode()
            )
            found = act()
    except psycopg.Error as error:
        if found is not None:
            return found
        busy = error.sqlstate in _WAITED
        detail = "the table was busy" if busy else f"failed with SQLSTATE {error.sqlstate}"
        return PathState(table, path, mode, State.NOT_PROBED, How.INSPECTED, detail)
    return found
