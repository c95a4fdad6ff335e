"""Compare what stands in the catalogs with what was installed; nothing is attempted and no lock is waited for."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import Connection

from scelle.errors import GuardWrong
from scelle.guard.postgres import relations as catalogs
from scelle.guard.postgres.model import (
    Beyond,
    Caps,
    Function,
    Guarded,
    How,
    PathState,
    Standing,
    State,
    Trigger,
    Wish,
)
from scelle.guard.postgres.objects import (
    EVENT_TRIGGERS,
    PROBE_SCHEMA,
    QUERIES,
    TRUNCATED,
    functions_of,
    shared_functions,
    triggers_of,
)

BY_ROWS: Final = ("delete", "delete-cascade", "merge-delete", "replication-role")
BY_EVENT: Final = {
    "drop-table": "scelle_guard_drop",
    "drop-schema": "scelle_guard_drop",
    "drop-owned": "scelle_guard_drop",
    "drop-column": "scelle_guard_drop",
    "drop-trigger": "scelle_guard_drop",
    "disable-trigger": "scelle_guard_command",
    "detach": "scelle_guard_command",
    "rewrite": "scelle_guard_rewrite",
}
"""The paths that only an event trigger stands before, by its name."""

GUARD_GONE: Final = "the schema scelle_guard is gone"
"""What the path `guard` says where no guard is there; whether there ever was one, only the logs know."""

_TABLES: Final = ("settings", "secret", "held", "filter", "tables", "allowed", "outbox", "missed")


def standing(connection: "Connection[Any]") -> Standing:
    """Read what the guard says of itself. Raises GuardWrong where it is not installed, or has lost its secret."""
    if not catalogs.is_installed(connection):
        raise GuardWrong("no guard is installed in this database: install one")
    gone = connection.execute(
        "SELECT n FROM unnest(%s::text[]) n WHERE to_regclass('scelle_guard.' || n) IS NULL", (list(_TABLES),)
    ).fetchall()
    if gone:
        raise GuardWrong(f"the guard has lost its table {gone[0][0]}: remove and install it again")
    row = connection.execute(QUERIES["standing"].encode()).fetchone()
    if row is None:
        raise GuardWrong("the guard has lost its settings or its secret: remove and install it again")
    (
        installation,
        system,
        here,
        hash_check,
        hash_here,
        until,
        is_suspended,
        rows,
        size,
        beyond,
        held,
        is_whole,
    ) = row
    caps = Caps(rows, size, Beyond(beyond))
    return Standing(
        installation,
        system != here,
        hash_check == hash_here,
        until if is_suspended else None,
        caps,
        held,
        is_whole,
    )


def suspended_detail(until: datetime) -> str:
    """Say until when the guard is suspended, to the second, as the path `suspension` says it."""
    return f"suspended until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def inspect(connection: "Connection[Any]") -> list[PathState]:
    """Say of every delete path of every guarded table what the catalogs say of it."""
    if not catalogs.is_installed(connection):
        return [PathState("", "guard", "", State.RED, How.INSPECTED, GUARD_GONE)]
    states = list(_general(connection))
    general = "; ".join(state.detail for state in states if state.state is State.RED)
    shared = _function_faults(connection, shared_functions(catalogs.chosen_beyond(connection)))
    events = _event_faults(connection)
    for guarded in catalogs.registered(connection):
        if guarded.schema != PROBE_SCHEMA:
            states += _of_table(connection, guarded, general, shared, events)
    states += [
        PathState(
            name,
            "new-partition",
            "",
            State.RED,
            How.INSPECTED,
            "it has no guard of its own yet: install again",
        )
        for name in catalogs.unguarded_parts(connection)
    ]
    return states


def unmet(connection: Connection[Any], wishes: Sequence[Wish]) -> list[PathState]:
    """Say of which tables no guard stands as it is wished: an installation was cut short, a table was made later."""
    if not catalogs.is_installed(connection):
        return []  # `inspect` says so
    stands = {each.text: each for each in catalogs.registered(connection)}
    states = []
    for wish in wishes:
        there = stands.get(wish.text)
        if there is None:
            detail = "it has no guard yet: install again"
        elif (there.mode, there.account, there.updates) != (wish.mode, wish.account, wish.updates):
            detail = "its guard is not the one that the orders ask for: install again"
        else:
            continue
        states.append(PathState(wish.text, "guard", wish.mode.value, State.RED, How.INSPECTED, detail))
    return states


def faults_of(connection: "Connection[Any]", guarded: Guarded) -> dict[str, str]:
    """Say by trigger's name what is wrong with a table's triggers and functions; nothing where all stands."""
    expected = triggers_of(
        guarded.sql,
        guarded.kind or "r",
        guarded.shape,
        guarded.account,
        guarded.function,
        updates=guarded.updates,
    )
    stands = {
        row[0]: row for row in connection.execute(QUERIES["triggers"].encode(), (guarded.oid,)).fetchall()
    }
    try:
        type_name = catalogs.account_type(connection, guarded, guarded.account)
    except GuardWrong as error:
        return {each.name: str(error) for each in expected}
    functions = functions_of(
        guarded.function,
        guarded.account,
        type_name,
        guarded.shape,
        catalogs.chosen_beyond(connection),
        updates=guarded.updates,
    )
    broken = _function_faults(connection, (*functions, *shared_functions(catalogs.chosen_beyond(connection))))
    found = {}
    for trigger in expected:
        fault = (
            _trigger_fault(trigger, stands.get(trigger.name))
            or broken.get(trigger.function)
            or _shared(broken)
        )
        if fault:
            found[trigger.name] = fault
    return found


# --- faults


def _trigger_fault(trigger: Trigger, row: tuple[Any, ...] | None) -> str:
    if row is None:
        return f"trigger {trigger.name} is gone"
    _, kind, enabled, function, has_condition, old_table = row
    if enabled != "A":
        words = {"D": "disabled", "O": "skipped by session_replication_role", "R": "only for replicas"}
        return f"trigger {trigger.name} is {words.get(enabled, enabled)}"
    wished = (trigger.type, trigger.function, trigger.name.endswith("_owner"), trigger.old_table)
    if (kind, function, has_condition, old_table) != wished:
        return f"trigger {trigger.name} is not as it was made"
    return ""


def _function_faults(connection: "Connection[Any]", functions: tuple[Function, ...]) -> dict[str, str]:
    stands = {row[0]: row[1:] for row in connection.execute(QUERIES["functions"].encode()).fetchall()}
    found = {}
    for each in functions:
        if each.name not in stands:
            found[each.name] = f"function {each.name} is gone"
        elif stands[each.name] != (each.body, list(each.config), True, True, "plpgsql"):
            found[each.name] = f"function {each.name} was changed"
    return found


def _shared(broken: Mapping[str, str]) -> str:
    needed = ("ref", "entry", "from_sql", "keep_sql", "miss", "weigh")
    return next((broken[name] for name in needed if name in broken), "")


def _event_faults(connection: "Connection[Any]") -> dict[str, str]:
    """Say what is wrong with each event trigger; one that is not there is a right that the role does not have."""
    stands = {row[0]: row[1:] for row in connection.execute(QUERIES["event_triggers"].encode()).fetchall()}
    broken = _function_faults(connection, shared_functions(catalogs.chosen_beyond(connection)))
    on = connection.execute("SELECT coalesce(current_setting('event_triggers', true), 'on')").fetchone()
    found = {}
    for name, (event, function, tags) in EVENT_TRIGGERS.items():
        if name not in stands:
            found[name] = ""
        elif stands[name] != (event, "A", function, list(tags)):
            found[name] = f"event trigger {name} is disabled, or not as it was made"
        elif on is not None and on[0] != "on":
            found[name] = "the setting event_triggers is off"
        elif any(each in broken for each in (function, "may_change", "is_intact", "ref")):
            found[name] = next(
                broken[each] for each in (function, "may_change", "is_intact", "ref") if each in broken
            )
    return found


# --- states


def _general(connection: "Connection[Any]") -> Iterator[PathState]:
    try:
        found = standing(connection)
    except GuardWrong as error:
        yield PathState("", "guard", "", State.RED, How.INSPECTED, str(error))
        return
    if found.suspended_until is not None:
        detail = suspended_detail(found.suspended_until)
        yield PathState("", "suspension", "", State.RED, How.INSPECTED, detail)
    if not found.hashes_alike:
        detail = "this server hashes text otherwise than the one the set was made on: hold the accounts again"
        yield PathState("", "held-set", "", State.RED, How.INSPECTED, detail)
    if not found.is_whole:
        detail = "the set, or its filter, is not as it was put there: hold the accounts again"
        yield PathState("", "held-set", "", State.RED, How.INSPECTED, detail)
    if found.is_elsewhere:
        detail = f"installation {found.installation} was made on another server: this is a copy, guarded all the same"
        yield PathState("", "restored-copy", "", State.EFFECTIVE, How.INSPECTED, detail)
    detail = "a superuser can drop the database: capture sees its connection end, the backup has the rows"
    yield PathState("", "drop-database", "", State.NOT_COVERABLE, How.INSPECTED, detail)


def _of_table(
    connection: "Connection[Any]",
    guarded: Guarded,
    general: str,
    shared: Mapping[str, str],
    events: Mapping[str, str],
) -> Iterator[PathState]:
    def said(path: str, fault: str) -> PathState:
        state = State.RED if fault else State.EFFECTIVE
        return PathState(guarded.text, path, guarded.mode, state, How.INSPECTED, fault)

    if guarded.kind is None:
        yield said("drop-table", "the table is gone")
        return
    faults = faults_of(connection, guarded)
    fault = faults.get("scelle_guard_delete", "")
    for path in BY_ROWS:
        yield said(path, general or fault)
    yield said("truncate", general or faults.get("scelle_guard_truncate", "") or shared.get(TRUNCATED, ""))
    yield _of_updates(guarded, general, faults)
    yield _of_apply(connection, guarded, general or fault)
    missing = "no event trigger stands: the role may not make one; a change is seen here, not refused"
    for path, name in BY_EVENT.items():
        if path == "detach" and guarded.root is None:
            continue
        detached = _detached(connection, guarded) if path == "detach" else ""
        if detached:
            yield said(path, detached)
        elif name in events and not events[name]:
            yield PathState(guarded.text, path, guarded.mode, State.NOT_COVERABLE, How.INSPECTED, missing)
        else:
            yield said(path, general or events.get(name, ""))


def _detached(connection: "Connection[Any]", guarded: Guarded) -> str:
    row = connection.execute(
        QUERIES["attached"].encode(), (guarded.oid, guarded.root, guarded.oid)
    ).fetchone()
    is_attached, is_pending = row or (False, False)
    if is_pending:
        return "DETACH CONCURRENTLY began and was refused: its root does not show it, its own guard stands"
    return "" if is_attached else "it was detached; its own guard stands"


def _of_updates(guarded: Guarded, general: str, faults: Mapping[str, str]) -> PathState:
    if guarded.updates:
        fault = general or faults.get("scelle_guard_update", "")
        state = State.RED if fault else State.EFFECTIVE
        return PathState(guarded.text, "update", guarded.mode, state, How.INSPECTED, fault)
    fault = general or faults.get("scelle_guard_owner", "")
    if fault:
        return PathState(guarded.text, "update", guarded.mode, State.RED, How.INSPECTED, fault)
    detail = "updates were not chosen" + ("; a change of the account is guarded" if guarded.account else "")
    return PathState(guarded.text, "update", guarded.mode, State.NOT_COVERABLE, How.INSPECTED, detail)


def _of_apply(connection: "Connection[Any]", guarded: Guarded, fault: str) -> PathState:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = %s OR s.srrelid IN "
        "(SELECT relid FROM pg_partition_ancestors(%s)))",
        (guarded.oid, guarded.oid),
    ).fetchone()
    is_subscribed = bool(row and row[0])
    if is_subscribed and guarded.shape != "row":
        fault = "a subscription writes to it since, which fires no statement triggers: install again"
    detail = fault or ("" if is_subscribed else "no subscription writes to it")
    state = State.RED if fault else State.EFFECTIVE
    return PathState(guarded.text, "replication-apply", guarded.mode, state, How.INSPECTED, detail)
