"""Note that orders have lapsed, once each, and say which erasure requests have no ground any more since then.

Every session that writes notes what is due when it is opened: the day on which an order lapses must not hang on a job
that somebody forgot. When each order's clock ends is kept in `<vault>/spool/clocks`, sealed under the vault's key and
bound to the order's checkpoint, so that a log is read only where it has grown or its clock has run out. That file is
derived: one that is missing, torn or of another version of Scellé is made anew.
"""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scelle import __version__
from scelle.bootstrap.session import Session
from scelle.errors import IntegrityError, ScelleError, WrongKey
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, order_folder
from scelle.operators.model import Power
from scelle.orders.lifecycle import CLOCK_KINDS, State, life_of
from scelle.orders.service import sealed_order

NOTICED: Final = "lapse.noticed"
CLOCKS: Final = "spool/clocks"
_CONTEXT: Final = f"scelle/clocks/v1 {__version__}".encode()
"""How an end is reckoned may change with a version: holidays that were proclaimed since."""
_DEPTH: Final = 4


def note_due_lapses(session: Session) -> None:
    """Seal the lapses that are due, and tell whoever may know of them; raises nothing: no command fails for it.

    What goes wrong is a warning, which a session passes on only where it names no order behind a wall. A log that is
    damaged is left to whatever needs it, and to `verify`.
    """
    try:
        seal_lapses(session)
    except IntegrityError:
        pass
    except (ScelleError, OSError) as error:
        session.warnings.append(f"whether an order has lapsed could not be noted: {error}")
    for order in filter(session.sees, session.noted_lapses):
        session.warnings.append(
            f"order {order} has lapsed; it stays held until counsel decides, and is no ground for refusing an erasure "
            "any more: scelle order lapses"
        )
        try:
            session.warnings += [affected_line(order, each) for each in affected(session, order) or ()]
        except (ScelleError, OSError) as error:
            session.warnings.append(f"order {order}: the erasure requests could not be looked at: {error}")


def seal_lapses(session: Session) -> None:
    """Seal once, in each order that has lapsed, that it did, and add these orders to `session.noted_lapses`.

    Whoever acts, all orders are looked at. One whose log cannot be read or written keeps no other from it; the first
    such failure is raised at the end.
    """
    failure: ScelleError | OSError | None = None
    known, clocks = _read_clocks(session), {}
    for order in session.all_orders():
        try:
            clocks[order] = _looked_at(session, order, known.get(order))
        except (ScelleError, OSError) as error:
            failure = failure or error
    if clocks != known:
        _write_clocks(session, clocks)
    if failure is not None:
        raise failure


class _Clock(NamedTuple):
    """When the lapse of an order is to be noted (microseconds; None: never), as long as its checkpoint is this one."""

    checkpoint: str
    due_us: int | None


def _looked_at(session: Session, order: str, known: _Clock | None) -> _Clock:
    """Return an order's clock, after its lapse was sealed where that is due."""
    checkpoint = _checkpoint(session, order)
    if known is None or known.checkpoint != checkpoint:
        known = _Clock(checkpoint, _due_us(session, order))
    if not _is_due(session, known):
        return known
    if has_left_events(session.path, order):  # of a crash: one of them may be an extension
        session.writer(order).seal(session.now_us(), only=(EVENTS_SOURCE,))
        known = _Clock(_checkpoint(session, order), _due_us(session, order))
        if not _is_due(session, known):
            return known
    _note(session, order, known.due_us or 0)
    session.noted_lapses.append(order)
    return _Clock(_checkpoint(session, order), None)


def _is_due(session: Session, clock: _Clock) -> bool:
    return clock.due_us is not None and session.now_us() >= clock.due_us


def _checkpoint(session: Session, order: str) -> str:
    return sha256((order_folder(session.path, order) / "log" / "checkpoint").read_bytes()).hexdigest()


def _due_us(session: Session, order: str) -> int | None:
    """Return when an order lapses, or has lapsed without its being sealed; None where it does not, or it was."""
    found = list(events(session.ledger(order), *CLOCK_KINDS, NOTICED))
    life = life_of(found)
    end_us = None if life is None else life.keep_until_us
    if life is None or end_us is None or life.state(end_us) is not State.LAPSED:
        return None
    lapsed_us = life.lapsed_us(end_us)
    return None if any(each.body.get("at_us") == str(lapsed_us) for each in found) else lapsed_us


def _note(session: Session, order: str, lapsed_us: int) -> None:
    """Seal that an order has lapsed."""
    writer = session.writer(order)
    try:
        record_event(writer, session.now_us(), session.actor, NOTICED, {"at_us": str(lapsed_us)})
        writer.seal(session.now_us())
    except (ScelleError, OSError):
        writer.close()  # whoever needs it next opens it anew, which recovers it
        raise


def _read_clocks(session: Session) -> dict[str, _Clock]:
    """Return the clocks as they were last looked at; none where the file is not whole, or another version's."""
    try:
        said = parse_json_strict(session.key.open((session.path / CLOCKS).read_bytes(), _CONTEXT), _DEPTH)
    except (WrongKey, OSError):
        return {}
    return {
        str(order): _Clock(str(at), None if due is None else int(due)) for order, (at, due) in said.items()
    }


def _write_clocks(session: Session, clocks: Mapping[str, _Clock]) -> None:
    """Keep the clocks. A crash, or a disk that is full, leaves a file that nothing opens, and nothing is lost."""
    said = {
        order: [each.checkpoint, None if each.due_us is None else str(each.due_us)]
        for order, each in clocks.items()
    }
    path = session.path / CLOCKS
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(session.key.seal(canonical_json(said), _CONTEXT))
        path.chmod(0o600)


def affected_by_lapses(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Return, by lapsed order, the erasure requests for which it was the only ground, as long as they wait.

    Nothing for who may not know of requests.
    """
    found = {}
    for order in session.orders():
        if sealed_order(session.ledger(order)).life.state(session.now_us()) is State.LAPSED:
            found[order] = affected(session, order) or []
    return {order: requests for order, requests in found.items() if requests}


def affected(session: Session, order: str) -> list[dict[str, Any]] | None:
    """List the erasure requests for which a lapsed order was the only ground; None for who may not know of them."""
    from scelle.bootstrap.erasure_list import affected_by_lapse  # every command starts with this module

    return affected_by_lapse(session, order) if session.may(Power.ERASURE) else None


def affected_line(order: str, request: dict[str, Any]) -> str:
    """Say of one erasure request that a lapsed order is no ground for it any more."""
    found = request["affected"]
    return f"order {order}: erasure request {request['reference']} has no ground any more: {found} items"
