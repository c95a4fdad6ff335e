"""Say how the delete paths of guarded databases stand: by their catalogs now, and as the sealed probes found them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.guard_breaks import suspensions
from scelle.bootstrap.guard_claims import asked_since, guarded_sources, wisher
from scelle.bootstrap.guard_databases import asked, open_database
from scelle.bootstrap.session import Session
from scelle.errors import SourceError
from scelle.ledger.events import events
from scelle.operators.model import Power
from scelle.orders.days import utc_text
from scelle.orders.model import RESERVED_ORDER_ID

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from scelle.guard.postgres import PathState

PROBED: Final = "guard.probed"
"""The event of the vault's log that says what probes found in a source."""
EFFECTIVE: Final = "effective"
KNOWN_US: Final = 15 * 60 * 1_000_000


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


def probe_guard(session: Session, name: str, *, unless_known: bool = False) -> list[GuardedPath]:
    """Try every path of a source's guard, seal what was found, and return it.

    With `unless_known` it is not sealed where probes found the same before, less than a quarter of an hour ago.
    """
    from scelle.guard.postgres import probe  # the driver is an extra

    source = open_database(session, name)
    found = [*asked(source, probe), *unmet_wishes(session, name)]
    paths = [
        [each.table, each.path, str(each.mode), each.state.value, each.how.value, each.detail]
        for each in found
    ]
    now_us = session.now_us()
    if not (unless_known and _is_known(session, name, paths, now_us)):
        session.record(PROBED, {"source": name, "at_us": str(now_us), "paths": paths})
    return guard_paths(session, name, _explained(session, name, found))


def unmet_wishes(session: Session, name: str) -> list["PathState"]:
    """Say of which tables of a source no guard stands as the orders ask for it."""
    from scelle.guard.postgres import unmet  # the driver is an extra

    source = open_database(session, name)
    wishes_of = wisher(session, name, source)
    return asked(source, lambda connection: unmet(connection, wishes_of(connection)))


def guard_status(session: Session) -> list[GuardedPath]:
    """Say how every path stands now, by the catalogs of each database; a database that does not answer is red."""
    from scelle.guard.postgres import How, PathState, State, inspect  # the driver is an extra

    session.require(Power.SEE_COUNTS)
    found: list[GuardedPath] = []
    for name in guarded_sources(session):
        try:
            states = asked(open_database(session, name), inspect)
            states = _explained(session, name, [*states, *unmet_wishes(session, name)])
        except SourceError as error:
            states = [PathState("", "guard", "", State.RED, How.INSPECTED, str(error))]
        found += guard_paths(session, name, states)
    return found


def unfinished(order: str, name: str) -> str:
    """Say how an installation that the log asks for, and the database does not have, is finished or taken back."""
    return (
        f"The log of {order} asks for the guard by now: `scelle guard install {order} --source {name}` finishes it, "
        f"`scelle guard remove {order} --source {name}` takes it back"
    )


def _explained(session: Session, name: str, states: Sequence["PathState"]) -> list["PathState"]:
    """Add what the logs know: that a guard which is not there never stood, or that nobody sealed a suspension.

    It is said, and not sealed with the probes: who may know of an order alone sees its name.
    """
    from scelle.guard.postgres.inspecting import GUARD_GONE, suspended_detail  # the driver is an extra

    known = {
        suspended_detail(datetime.fromtimestamp(each.until_us / 1e6, UTC))
        for each in suspensions(session)
        if each.source == name
    }
    found = []
    for state in states:
        detail = state.detail
        if detail == GUARD_GONE and not _has_stood(session, name):
            order = next((each for each in asked_since(session, name) if session.sees(each)), "ORDER")
            detail = f"not installed: the installation did not come to its end. {unfinished(order, name)}"
        elif state.path == "suspension" and detail not in known:
            detail += (
                "; no `scelle guard suspend` sealed it: somebody set it in the database; `scelle guard rearm`"
            )
        found.append(replace(state, detail=detail))
    return found


def _has_stood(session: Session, name: str) -> bool:
    """Tell whether probes found a guarded table since the source's guard was asked for."""
    since_us = min(asked_since(session, name).values(), default=0)
    return any(
        event.body["source"] == name
        and event.time_us >= since_us
        and any(path[0] for path in event.body["paths"])
        for event in events(session.ledger(RESERVED_ORDER_ID), PROBED)
    )


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


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else utc_text(time_us, "auto")
