"""Show erasure requests, extend the time to answer them, answer the person, and certify what is done."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.bootstrap.erasure_log import (
    accounts_of,
    find_request,
    read_requests,
    record,
    request_with_lines,
    summary_of,
    vault_writer,
)
from scelle.bootstrap.erasure_orders import ErasureOrders
from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.errors import ErasureNotDone, ErasureWrong
from scelle.operators.model import Power
from scelle.orders.days import local_day, utc_text
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.release.erasure import (
    CERTAIN,
    EXTENDED,
    LETTER,
    ErasureItem,
    ErasureRequest,
    Outcome,
    Where,
    is_ground,
    read_reason,
    shown_line,
)
from scelle.release.letters import Language, LetterFacts, Variant, letter, template_digest
from scelle.sources.interfaces import native_text

CERTIFICATE_FORMAT: Final = "scelle/erasure-certificate/v1"


def affected_by_lapse(session: Session, order: str) -> list[dict[str, Any]]:
    """List the open requests of which an order that is not in force any more was the only ground, with what is left.

    Each has `id, reference, received, due, days_left, items, ground`; `items` counts what waits without a ground.
    """
    found = []
    orders = ErasureOrders(session)
    for request, lines in _affected(session, orders):
        mine = [line for line in lines if order in line.holders]
        if mine:
            found.append({**summary_of(session, request), **_lapse_counts(session, mine, orders)})
    return found


def list_requests(session: Session, *, only_affected: bool = False) -> list[dict[str, Any]]:
    """List all requests in the order in which they were made, or those with items that wait without any ground."""
    session.require(Power.ERASURE)
    if only_affected:
        orders = ErasureOrders(session)
        return [
            {**summary_of(session, request), **_lapse_counts(session, lines, orders)}
            for request, lines in _affected(session, orders)
        ]
    requests = read_requests(session.ledger(RESERVED_ORDER_ID))
    return [summary_of(session, request) for request in requests.by_id.values()]


def _affected(session: Session, orders: ErasureOrders) -> Iterator[tuple[ErasureRequest, list[ErasureItem]]]:
    for request in read_requests(session.ledger(RESERVED_ORDER_ID), lambda _: True).still_open():
        now = orders.current(request, accounts_of(session, request))
        lines = [line for line in now if _waits_without_ground(session, line, orders)]
        if lines:
            yield request, lines


def _waits_without_ground(session: Session, line: ErasureItem, orders: ErasureOrders) -> bool:
    """Tell whether an item waits and no order gives a ground, as if those that the session sees were all."""
    seen = tuple(filter(session.sees, line.holders))
    return (
        line.outcome is Outcome.DEFERRED
        and bool(seen)
        and not any(is_ground(orders.grounds[order]) for order in seen)
    )


def _lapse_counts(session: Session, lines: Sequence[ErasureItem], orders: ErasureOrders) -> dict[str, Any]:
    grounds = {str(shown_line(line, orders.grounds, session.sees)["ground"]) for line in lines}
    items = sum(line.where is not Where.SOURCE for line in lines)
    return {"affected": items, "sources_affected": len(lines) - items, "ground": "; ".join(sorted(grounds))}


def show_request(session: Session, name: str) -> dict[str, Any]:
    """Show a request, by its reference or id, with the ground of each item as it is now."""
    session.require(Power.ERASURE)
    ledger = session.ledger(RESERVED_ORDER_ID)
    request, orders = request_with_lines(ledger, find_request(ledger, name).id), ErasureOrders(session)
    return document_of(session, request, orders, lines_now(session, request, orders))


def extend_request(session: Session, name: str, reason: str) -> dict[str, Any]:
    """Extend the time for answering by two months, once, within the first (Article 12(3)); raise `ErasureWrong`."""
    session.require(Power.ERASURE)
    ledger, code = vault_writer(session), read_reason(reason)
    request = find_request(ledger, name)
    if request.completed_us is not None:
        raise ErasureWrong(
            f"request {request.reference!r} was completed on {local_day(request.completed_us, UTC)}: there is nothing "
            f"to extend; answer the person with `scelle erasure letter {request.id}`"
        )
    if request.extension == code:
        return summary_of(session, request)
    if request.extension is not None:
        raise ErasureWrong(f"request {request.reference!r} was extended already: it is due {request.due.day}")
    if local_day(session.now_us(), UTC) > request.due.at_latest:
        raise ErasureWrong(
            f"request {request.reference!r} was due {request.due.day}: an extension must be told within the month"
        )
    record(session, ledger, EXTENDED, {"id": request.id, "reason": code})
    ledger.seal(session.now_us())
    return summary_of(session, find_request(ledger, name))


def write_letter(
    session: Session, name: str, language: Language, to: Path, write: Callable[[Path, str], None]
) -> dict[str, Any]:
    """Write the text for the person to a new file by `write`, then seal what it is made of; return what was sealed.

    A crash in between leaves a letter of which the log does not know: the time for answering still runs.
    """
    session.require(Power.ERASURE)
    refuse_in_vault(session, to)
    ledger = vault_writer(session)
    request, orders = request_with_lines(ledger, find_request(ledger, name).id), ErasureOrders(session)
    variant, grounds = _variant(session, request, orders)
    facts = LetterFacts(
        reference=request.reference,
        received=request.received,
        written=local_day(session.now_us(), UTC),
        extended_to=request.due.day if request.extension is not None else None,
        grounds=grounds,
    )
    text = letter(variant, language, facts)
    write(to, text)
    body = {
        "id": request.id,
        "language": language.value,
        "variant": variant.value,
        "template_sha256": template_digest(language),
        "sha256": sha256(text.encode()).hexdigest(),
    }
    record(session, ledger, LETTER, body)
    ledger.seal(session.now_us())
    return {**body, "reference": request.reference, "file": to.name}


def _variant(
    session: Session, request: ErasureRequest, orders: ErasureOrders
) -> tuple[Variant, frozenset[str]]:
    """Choose what a person is told; grounds only where everything waits on settled ones, of orders that may be told.

    An order that the session does not see counts only for what no other one holds: so the choice tells whoever writes
    the letter nothing that the list of items does not.
    """
    lines = list(orders.current(request, accounts_of(session, request))) if request.is_open else []
    if not lines:
        return Variant.EXECUTED, frozenset()
    holders = {order for line in lines for order in _told_holders(session, line)}
    grounds = frozenset(orders.grounds[order] for order in holders)
    is_settled = all(line.holders for line in lines) and grounds <= CERTAIN
    if is_settled and not any(map(orders.is_secret, holders)):
        return Variant.REASONED, grounds
    return Variant.NEUTRAL, frozenset()


def _told_holders(session: Session, line: ErasureItem) -> Sequence[str]:
    """Return the orders by which a line is judged: those that the session sees, all of them where it sees none."""
    return tuple(filter(session.sees, line.holders)) or line.holders


def certificate(session: Session, name: str) -> dict[str, Any]:
    """Return the certificate of a completed request; raise `ErasureNotDone` where something is still deferred.

    It names no order and no account: both are gone, or none of the reader's business.
    """
    session.require(Power.ERASURE)
    ledger = session.ledger(RESERVED_ORDER_ID)
    request = find_request(ledger, name)
    if request.completed_us is None:
        raise ErasureNotDone(
            f"request {request.reference!r}: {request.open_items} items are still kept; there is a certificate once "
            "none is"
        )
    return {
        "format": CERTIFICATE_FORMAT,
        "id": request.id,
        "reference": request.reference,
        "received": request.received.isoformat(),
        "recorded": utc_text(request.made_us),
        "completed": utc_text(request.completed_us),
        "executed": request.counts[Outcome.EXECUTED],
        "executed_at_once": request.counts[Outcome.EXECUTED] - len(_later_items(request)),
        "deferred": 0,
        "identifiers": "destroyed",
        "log": {"origin": ledger.origin, "size": ledger.log.size, "root": ledger.log.root.hex()},
    }


def _later_items(request: ErasureRequest) -> list[str]:
    return [item for item in request.executed_later if not item.startswith("source:")]


# --- inside ---


def lines_now(session: Session, request: ErasureRequest, orders: ErasureOrders) -> Iterator[ErasureItem]:
    """Yield all lines of a request, open ones as they are now."""
    now = {}
    if request.is_open:
        now = {line.item: line for line in orders.current(request, accounts_of(session, request))}
    for item, line in request.lines.items():
        if item in request.executed_later:
            yield line._replace(outcome=Outcome.EXECUTED)
        else:
            fresh = now.get(item, line)
            still = Outcome.PENDING if fresh.outcome is Outcome.EXECUTED else fresh.outcome
            yield fresh if line.outcome is Outcome.EXECUTED else fresh._replace(outcome=still)


def document_of(
    session: Session,
    request: ErasureRequest,
    orders: ErasureOrders,
    lines: Iterable[ErasureItem],
    natives: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Return a request with its lines as people see them; native ids only of what a source may or may not delete."""
    items: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    for line in lines:
        shown = shown_line(line, orders.grounds, session.sees)
        if natives and line.item in natives:
            shown["native"] = native_text(natives[line.item])
        (sources if line.where is Where.SOURCE else items).append(shown)
    return {**summary_of(session, request), "scope": request.scope.value, "items": items, "sources": sources}
