"""Guard what orders hold inside the databases where it lives: install, probe, say how it stands, remove.

An order says in its own log that it is guarded in a source; the database is told one set of held accounts for all such
orders together, and no order. What probes found is sealed in the vault's log, by source.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session
from scelle.errors import GuardWrong, InputError, SourceError, SourceUnreadable
from scelle.formats.canonical_json import canonical_json
from scelle.formats.entries import Gap
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.days import utc_text
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.scope.model import Clause
from scelle.sources.postgres import PostgresSource
from scelle.sources.urls import open_source

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from psycopg import Connection

    from scelle.guard.postgres import Caps, Kept, Mode, PathState, Plan, Progress, Wish
    from scelle.sources.postgres.live import OldRow

INSTALLED: Final = "guard.installed"
REMOVED: Final = "guard.removed"
"""Events of an order: from when to when its claims stand in a database."""
PROBED: Final = "guard.probed"
"""The event of the vault's log that says what probes found in a source."""
EFFECTIVE: Final = "effective"
KNOWN_US: Final = 15 * 60 * 1_000_000
_AT_ONCE: Final = 5000
LET_GO: Final = "guard-let-go"
"""The cause of the gap of held rows that the guard let go: while it was suspended, or beyond the outbox's cap."""

_Answer = TypeVar("_Answer")


class WantedCaps(NamedTuple):
    """The caps of the outbox that are asked for; None keeps what stands, or takes the default."""

    rows: int | None = None
    size_bytes: int | None = None
    beyond: str | None = None

    def over(self, standing: "Caps") -> "Caps":
        """Return the caps that stand, changed as it was asked."""
        from scelle.guard.postgres import Beyond, Caps  # the driver is an extra

        beyond = standing.beyond if self.beyond is None else Beyond(self.beyond)
        return Caps(self.rows or standing.rows, self.size_bytes or standing.size_bytes, beyond)


@dataclass(frozen=True, slots=True)
class GuardedPath:
    """One delete path of one table, as it stands now and as probes found it. Times in microseconds."""

    source: str
    table: str
    path: str
    mode: str
    state: str
    how: str
    detail: str
    effective_since_us: int | None
    last_probe_us: int | None

    @property
    def is_red(self) -> bool:
        """Tell whether held rows may go by this path."""
        return self.state == "red"

    def to_json(self) -> dict[str, Any]:
        """Return the path as `guard status --json` prints it."""
        return {
            "source": self.source,
            "path": f"{self.table}: {self.path}" if self.table else self.path,
            "mode": self.mode,
            "state": self.state,
            "effective_since": _time(self.effective_since_us),
            "last_probe": _time(self.last_probe_us),
            "how": self.how,
            "detail": self.detail,
        }

    def line(self) -> str:
        """Return the path for people."""
        since = (
            "" if self.effective_since_us is None else f", effective since {_time(self.effective_since_us)}"
        )
        detail = f"; {self.detail}" if self.detail else ""
        mode = f" ({self.mode})" if self.mode else ""
        where = f"{self.table}: " if self.table else ""
        return f"{self.source}: {where}{self.path}{mode}: {self.state}, {self.how}{since}{detail}"


def guard_plan(
    session: Session, order: str, mode: "Mode", *, tables: str | None, updates: bool
) -> dict[str, "Plan"]:
    """Say, by source, what installing would run in an order's databases; changes nothing there."""
    from scelle.guard.postgres import plan  # the driver is an extra

    session.require(Power.CAPTURE)
    ledger = session.order_ledger(order)
    found = {}
    for name, source in _databases(session, sealed_order(ledger).aliases):
        wishes_of = _wisher(session, name, source, mode, tables=tables, updates=updates, joining=order)
        found[name] = _asked(source, _with_wishes(plan, wishes_of))
    if not found:
        raise InputError(f"order {order} has no database in which a guard can stand")
    return found


def install_guard(
    session: Session,
    order: str,
    name: str,
    mode: "Mode",
    *,
    tables: str | None,
    updates: bool,
    caps: WantedCaps,
    tell_database: bool = False,
) -> tuple["Progress", list[GuardedPath]]:
    """Guard an order's tables in one source, hold its accounts there, and probe; may be run again at any time.

    Of a secret order the database is told nothing unless `tell_database`: its people could test there whether a given
    account is held. Raises InputError then.

    The order's log says so first: a crash leaves a guard that is partial, and whoever runs it again finishes it.
    """
    from scelle.guard.postgres import install  # the driver is an extra

    session.require(Power.CAPTURE)
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    source = _database(session, sealed.aliases, name, order)
    if session.is_secret(sealed) and not tell_database:
        raise InputError(
            f"order {order} is secret, and whoever runs the database of {name} could test there whose rows are held: "
            "give --tell-database where that may be; `scelle watch` tells nothing"
        )
    body = {
        "source": sealed.aliases[name],
        "mode": mode.value,
        "tables": tables or "",
        "updates": int(updates),
    }
    if body not in _installed(ledger, sealed.aliases[name]):
        record_event(ledger, session.now_us(), session.actor, INSTALLED, body)
        ledger.seal(session.now_us())
    wishes_of = _wisher(session, name, source, mode, tables=tables, updates=updates)
    progress = _asked(
        source,
        lambda connection: install(connection, wishes_of(connection), caps.over(_standing_caps(connection))),
    )
    _asked(source, lambda connection: sync_held(session, connection, name))
    return progress, probe_guard(session, name)


def refresh_guard(session: Session, name: str) -> None:
    """Bring a source's guard to what the orders that are guarded there ask for now; remove it where none asks any more.

    An amendment may have made every row held, a partition may have come; what stands as wished is left alone.
    """
    from scelle.guard.postgres import Mode, remove  # the driver is an extra

    source = _open(session, name)
    claiming = claiming_orders(session, name)
    if not claiming:
        _asked(source, remove)
        return
    for order in claiming:
        ledger = session.ledger(order)
        for body in _installed(ledger, sealed_order(ledger).aliases[name]):
            wishes_of = _wisher(
                session,
                name,
                source,
                Mode(body["mode"]),
                tables=body["tables"] or None,
                updates=bool(body["updates"]),
            )
            _asked(source, partial(_install_as_it_stands, wishes_of=wishes_of))
    _asked(source, lambda connection: sync_held(session, connection, name))


def tell_guards(session: Session, order: str) -> None:
    """Bring the guards of an order's sources to what its release, or the undoing of it, changed; warn where not.

    Nothing waits for a database: whoever watches, or `scelle guard install`, tells it later.
    """
    ledger = session.ledger(order)
    for name, alias in sealed_order(ledger).aliases.items():
        if _is_guarded(ledger, alias):
            try:
                refresh_guard(session, name)
            except (SourceError, InputError) as error:
                session.warnings.append(f"{name}: its guard was not told yet: {error}")


def _install_as_it_stands(
    connection: "Connection[Any]", wishes_of: Callable[["Connection[Any]"], list["Wish"]]
) -> "Progress":
    from scelle.guard.postgres import install  # the driver is an extra

    return install(connection, wishes_of(connection), _standing_caps(connection))


def probe_guard(session: Session, name: str, *, unless_known: bool = False) -> list[GuardedPath]:
    """Try every path of a source's guard, seal what was found, and return it.

    With `unless_known` it is not sealed where probes found the same before, less than a quarter of an hour ago.
    """
    from scelle.guard.postgres import probe  # the driver is an extra

    source = _open(session, name)
    found = _asked(source, probe)
    paths = [
        [each.table, each.path, str(each.mode), each.state.value, each.how.value, each.detail]
        for each in found
    ]
    now_us = session.now_us()
    if not (unless_known and _is_known(session, name, paths, now_us)):
        session.record(PROBED, {"source": name, "at_us": str(now_us), "paths": paths})
    return guard_paths(session, name, found)


def guard_status(session: Session) -> list[GuardedPath]:
    """Say how every path stands now, by the catalogs of each database; a database that does not answer is red."""
    from scelle.guard.postgres import How, PathState, State, inspect  # the driver is an extra

    session.require(Power.SEE_COUNTS)
    found: list[GuardedPath] = []
    for name in guarded_sources(session):
        try:
            states = _asked(_open(session, name), inspect)
        except SourceError as error:
            states = [PathState("", "guard", "", State.RED, How.INSPECTED, str(error))]
        found += guard_paths(session, name, states)
    return found


def guard_paths(session: Session, name: str, states: Sequence["PathState"]) -> list[GuardedPath]:
    """Join what is seen now with what the sealed probes found: the worse of both, and since when probes succeed."""
    history = _probes(session, name)
    found = []
    for each in states:
        since_us, last_us, last = history.get((each.table, each.path), (None, None, None))
        state, how, detail = each.state.value, each.how.value, each.detail
        if state == EFFECTIVE and how == "inspected" and last is not None:
            state, how, detail = last  # what was tried says more than what is written there
        found.append(
            GuardedPath(
                name,
                each.table,
                each.path,
                str(each.mode),
                state,
                how,
                detail,
                since_us if state == EFFECTIVE else None,
                last_us,
            )
        )
    return found


def _is_known(session: Session, name: str, paths: list[list[str]], now_us: int) -> bool:
    probed = [
        event.body
        for event in events(session.ledger(RESERVED_ORDER_ID), PROBED)
        if event.body["source"] == name
    ]
    return bool(probed) and probed[-1]["paths"] == paths and now_us - int(probed[-1]["at_us"]) < KNOWN_US


_History = Mapping[tuple[str, str], tuple[int | None, int | None, tuple[str, str, str] | None]]


def _probes(session: Session, name: str) -> _History:
    """Return, by table and path, since when probes found it effective, when it was probed last, and what was found."""
    found: dict[tuple[str, str], tuple[int | None, int | None, tuple[str, str, str] | None]] = {}
    for event in events(session.ledger(RESERVED_ORDER_ID), PROBED):
        if event.body["source"] != name:
            continue
        at_us = int(event.body["at_us"])
        for table, path, _, state, how, detail in event.body["paths"]:
            if how != "probed":  # what could be probed once and only be read now, is as it is read
                found[table, path] = (None, found.get((table, path), (None, None, None))[1], None)
                continue
            since_us = found.get((table, path), (None, None, None))[0]
            is_effective = state == EFFECTIVE
            found[table, path] = ((since_us or at_us) if is_effective else None, at_us, (state, how, detail))
    return found


# --- removal -------------------------------------------------------------------------------------------------


def ask_removal(session: Session, order: str, name: str, reason: str) -> Request:
    """Ask that an order's claims leave a source's guard: two people must sign it."""
    session.require(Power.REQUEST)
    sealed = sealed_order(session.order_ledger(order))
    _database(session, sealed.aliases, name, order)
    return ask(session, Act.GUARD_REMOVE, order, {"source": name}, reason)


def execute_removal(session: Session, request: Request) -> dict[str, Any]:
    """Take an order's claims out of a source's guard, as a request asks; the last one's take the guard with them."""
    return remove_guard(session, str(request.order), str(request.body["source"]), request.id)


def remove_guard(session: Session, order: str, name: str, request: str | None) -> dict[str, Any]:
    """Take an order's claims out of a source's guard; idempotent. With the last order's the guard itself goes.

    The order's log says so first. A crash leaves claims in the database that nobody makes: the next run removes them.
    """
    from scelle.guard.postgres import remove  # the driver is an extra

    ledger = session.writer(order)
    sealed = sealed_order(ledger)
    source = _database(session, sealed.aliases, name, order)
    alias = sealed.aliases[name]
    if set(claiming_orders(session, name)) <= {order}:
        _refuse_waiting(session, name)
    if _is_guarded(ledger, alias):
        record_event(ledger, session.now_us(), session.actor, REMOVED, {"source": alias, "request": request})
        ledger.seal(session.now_us())
    if any(_claiming(session, name)):
        refresh_guard(session, name)
        return {"source": name, "removed": False}
    progress = _asked(source, remove)
    return {"source": name, "removed": not progress.left, "left": dict(progress.left)}


def _refuse_waiting(session: Session, name: str) -> None:
    """Raise InputError while rows wait in the outbox: with the guard they would go unsealed."""
    from scelle.guard.postgres.relations import is_installed  # the driver is an extra

    waiting = kept_rows(session, name) if asked_of(session, name, is_installed) else []
    if waiting:
        raise InputError(
            f"{len(waiting)} rows or more wait in the outbox of {name} to be sealed: run `scelle watch ORDER "
            "--until-caught-up` first, then remove the guard"
        )


# --- what is held --------------------------------------------------------------------------------------------


def guarded_sources(session: Session) -> list[str]:
    """List the sources in which some order was guarded and not let go, whoever may know of it.

    One whose orders were all released is among them: its guard is to be removed (`refresh_guard`).
    """
    found = set()
    for order in session.all_orders():
        ledger = session.ledger(order)
        aliases = sealed_order(ledger).aliases
        found |= {name for name, alias in aliases.items() if _is_guarded(ledger, alias)}
    return sorted(found)


def sync_held(session: Session, connection: "Connection[Any]", name: str) -> int:
    """Hold in a database exactly the accounts that the orders which are guarded there name; return how many."""
    from scelle.guard.postgres import hold  # the driver is an extra

    return hold(connection, _held(session, name))


def kept_rows(session: Session, name: str) -> list["Kept"]:
    """Return the first rows that wait in a source's outbox."""
    from scelle.guard.postgres.outbox import waiting  # the driver is an extra

    return _asked(_open(session, name), lambda connection: waiting(connection, _AT_ONCE))


def old_row(row: "Kept") -> "OldRow":
    """Return a row of the outbox as the source of its database reads it."""
    from scelle.sources.postgres.live import OldRow  # the driver is an extra

    at_us = int(row.at.timestamp() * 1_000_000)
    return OldRow(row.id, row.table, row.op, at_us, row.columns, row.cells)


def forget_kept(session: Session, name: str, rows: Sequence["Kept"]) -> None:
    """Take rows out of the outbox: they are durable in the vault. Their room there is given back."""
    from scelle.guard.postgres.outbox import remove, tidy  # the driver is an extra

    def forget(connection: "Connection[Any]") -> None:
        remove(connection, [each.id for each in rows])
        tidy(connection)

    _asked(_open(session, name), forget)


def note_let_go(session: Session, name: str) -> int:
    """Declare in the logs of the orders that are guarded what the guard let go; return how many rows.

    A crash between the declaration and its end in the database declares it twice: too much, and never too little.
    """
    from scelle.guard.postgres.outbox import missed, remove_missed  # the driver is an extra

    source = _open(session, name)
    found = _asked(source, lambda connection: missed(connection, _AT_ONCE))
    if not found:
        return 0
    for order, _ in _claiming(session, name):
        ledger = session.writer(order)
        alias = sealed_order(ledger).aliases[name]
        gaps = []
        for each in found:
            at_us = int(each.at.timestamp() * 1_000_000)
            gaps.append(Gap(order, alias, (at_us, at_us + 1), LET_GO, each.rows, None))
        ledger.commit_entries(gaps, session.now_us())
    _asked(source, lambda connection: remove_missed(connection, [each.id for each in found]))
    return sum(each.rows for each in found)


def claims_digest(session: Session, name: str) -> str:
    """Return what tells whether the set of held accounts of a source has to be written again."""
    files = [
        [
            order,
            [[each.id, list(each.accounts), list(each.custodians), _file_digest(each)] for each in clauses],
        ]
        for order, clauses in _claiming(session, name)
    ]
    return sha256(canonical_json(files)).hexdigest()


def _file_digest(clause: Clause) -> str:
    return "" if clause.accounts_file is None else clause.accounts_file.digest.hex()


def _claiming(session: Session, name: str) -> Iterator[tuple[str, list[Clause]]]:
    """Yield the orders that are guarded in a source and hold, each with its clauses over it."""
    for order in session.all_orders():
        ledger = session.ledger(order)
        sealed = sealed_order(ledger)
        alias = sealed.aliases.get(name)
        if alias is not None and sealed.life.holds and _is_guarded(ledger, alias):
            lives = (each.clause for each in sealed.life.clauses)
            yield order, [each for each in lives if name in each.sources and not each.carve_out]


def _held(session: Session, name: str) -> Iterator[str]:
    for _, clauses in _claiming(session, name):
        for clause in clauses:
            yield from clause.accounts
            yield from clause.custodians
            if clause.accounts_file is not None:
                yield from _lines(session, clause.accounts_file.digest)


def _lines(session: Session, digest: bytes) -> Iterator[str]:
    """Yield the accounts of a file as it is kept in the vault."""
    rest = b""
    for piece in session.packs.read(digest):
        *lines, rest = (rest + piece).split(b"\n")
        yield from _names(lines)
    yield from _names([rest])


def _names(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.strip().decode("utf-8-sig") for line in lines if line.strip())


def _installed(ledger: OrderLedger, alias: str) -> list[dict[str, Any]]:
    """Return what was installed for an order in a source, and not removed since."""
    found: list[dict[str, Any]] = []
    for event in events(ledger, INSTALLED, REMOVED):
        if event.body["source"] == alias:
            found = [*found, dict(event.body)] if event.kind == INSTALLED else []
    return found


def _is_guarded(ledger: OrderLedger, alias: str) -> bool:
    return bool(_installed(ledger, alias))


def claiming_orders(session: Session, name: str) -> list[str]:
    """List the orders that are guarded in a source and hold, whoever may know of them."""
    return [order for order, _ in _claiming(session, name)]


def asked_of(session: Session, name: str, ask_: Callable[["Connection[Any]"], _Answer]) -> _Answer:
    """Ask the database of a source; raises a SourceError in Scellé's words."""
    return _asked(_open(session, name), ask_)


# --- databases -----------------------------------------------------------------------------------------------


def _wisher(
    session: Session,
    name: str,
    source: PostgresSource,
    mode: "Mode",
    *,
    tables: str | None,
    updates: bool,
    joining: str | None = None,
) -> Callable[["Connection[Any]"], list["Wish"]]:
    """Return what makes the wishes of a source: by account where every claim names some, else every row is held."""
    from scelle.guard.postgres import wishes_for  # the driver is an extra
    from scelle.sources.postgres.shapes import ACCOUNT_NAMES

    clauses = [clause for _, found in _claiming(session, name) for clause in found]
    if joining is not None:
        lives = sealed_order(session.order_ledger(joining)).life.clauses
        clauses += [each.clause for each in lives if name in each.clause.sources]
    by_account = all(each.accounts or each.custodians or each.accounts_file for each in clauses)
    is_restricted = any(each.may_restrict for each in clauses) or session.sources()[name].restricted
    chosen = [
        each for schema in source.settings.schemas.values() for each in (schema.account, schema.custodian)
    ]
    columns = (*(each for each in chosen if each is not None), *ACCOUNT_NAMES) if by_account else ()
    patterns = (tables,) if tables is not None else source.settings.tables

    def made(connection: "Connection[Any]") -> list["Wish"]:
        wishes = wishes_for(
            connection, patterns, mode, updates=updates, accounts=columns, restricted=is_restricted
        )
        if not wishes:
            raise InputError(
                f"no table of {name} is called {', '.join(patterns)}: compare with `scelle source list`"
            )
        return wishes

    return made


def _standing_caps(connection: "Connection[Any]") -> "Caps":
    """Return the caps of the guard that stands in a database; the defaults where none does."""
    from scelle.guard.postgres import Caps, standing  # the driver is an extra

    try:
        return standing(connection).caps
    except GuardWrong:
        return Caps()


def _with_wishes(
    act: Callable[["Connection[Any]", list["Wish"]], _Answer],
    wishes_of: Callable[["Connection[Any]"], list["Wish"]],
) -> Callable[["Connection[Any]"], _Answer]:
    return lambda connection: act(connection, wishes_of(connection))


def _databases(session: Session, names: Iterable[str]) -> Iterator[tuple[str, PostgresSource]]:
    for name in sorted(names):
        source = open_source(session.sources()[name])
        if isinstance(source, PostgresSource):
            yield name, source


def _database(session: Session, aliases: Mapping[str, str], name: str, order: str) -> PostgresSource:
    found = dict(_databases(session, [name] if name in aliases else []))
    if name not in found:
        others = ", ".join(each for each, _ in _databases(session, aliases)) or "it has none"
        raise InputError(f"{name} is no database of order {order}: name one of its own ({others})")
    return found[name]


def _open(session: Session, name: str) -> PostgresSource:
    source = open_source(session.sources()[name])
    assert isinstance(source, PostgresSource)  # noqa: S101  only these are ever guarded
    return source


def _asked(source: PostgresSource, ask_: Callable[["Connection[Any]"], _Answer]) -> _Answer:
    """Ask a database on a connection of its own; raises a SourceError in Scellé's words."""
    import psycopg  # the driver is an extra

    from scelle.sources.postgres.connecting import source_error_of

    with connected(source) as connection:
        try:
            return ask_(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            said = error.diag.message_primary or "a right is missing"
            raise SourceUnreadable(
                f"{source.settings.place} refuses: {said}: `scelle guard plan ORDER` names the right to ask for"
            ) from error
        except psycopg.Error as error:
            raise source_error_of(error, source.settings.place) from error


@contextmanager
def connected(source: PostgresSource) -> Iterator["Connection[Any]"]:
    """Open a connection to a source's database, and close it."""
    from scelle.sources.postgres.connecting import connect  # the driver is an extra

    connection = connect(source.settings)
    try:
        yield connection
    finally:
        connection.close()


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else utc_text(time_us, "auto")
