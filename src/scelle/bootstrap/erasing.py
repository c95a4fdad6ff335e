"""Take erasure requests in, remember them while orders hold, execute them when the last order lets go.

Everything about a request is sealed in the vault's own log. The accounts stand there encrypted under the request's own
key, which is destroyed when the request is completed. The log of an order says of a request its id, the counts that are
this order's own, and nothing of others.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date
from typing import Any, Final, TypeAlias

from scelle.bootstrap.erasure_list import document_of, lines_now
from scelle.bootstrap.erasure_log import (
    accounts_of,
    identifiers_of,
    read_requests,
    record,
    request_with_lines,
    vault_writer,
)
from scelle.bootstrap.erasure_orders import ErasureOrders
from scelle.bootstrap.session import Session
from scelle.errors import ErasureTooMany, ErasureWrong, HeldError
from scelle.ledger.events import events, has_left_events
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.orders.days import local_day
from scelle.release.erasure import (
    ACCOUNTS_MAX,
    COMPLETED,
    EXECUTED,
    IN_ORDER,
    ITEMS,
    ITEMS_MAX,
    REQUESTED,
    ErasureItem,
    ErasureRequest,
    Outcome,
    Requests,
    Scope,
    Where,
    chunks_of,
    meant_by,
    read_identifiers,
    read_reference,
)
from scelle.release.letters import templates
from scelle.vault.request_keys import RequestKey, forget_request_keys, make_request_key

_FIRST_DAY: Final = date(2016, 1, 1)
"""Regulation (EU) 2016/679 is of 27 April 2016: what is said to have come before is a slip."""
Confirm: TypeAlias = Callable[[str], bool]
"""Asked whether somebody means what a request would do, in words; False refuses."""


def _no(question: str) -> bool:
    return False


# --- taking a request in ---------------------------------------------------------------------------------


def request_erasure(
    session: Session,
    *,
    accounts: Sequence[str],
    aliases: Sequence[str] = (),
    reference: str,
    received: date | None = None,
    scope: Scope | None = None,
    confirm: Confirm = _no,
) -> dict[str, Any]:
    """Match a request against every order, seal what becomes of each item, and return what people are shown.

    The identity of who asks was checked before. `received` is the day of receipt, today in UTC unless given; `confirm`
    is asked where more than 1,000 accounts or 100,000 items would be meant. The same reference with the same accounts
    gives what was recorded. Raises `ErasureWrong`, `ErasureTooMany`, SourceError. A crash leaves nothing, or the
    request without the events of some orders' own logs, which the same command seals.
    """
    session.require(Power.ERASURE)
    given, name = read_identifiers((*accounts, *aliases)), read_reference(reference)
    today = local_day(session.now_us(), UTC)
    if received is not None and received > today:
        raise ErasureWrong(f"received {received} is in the future: give the day on which the request came")
    if received is not None and received < _FIRST_DAY:
        raise ErasureWrong(
            f"received {received} is before {_FIRST_DAY}: give the day on which the request came"
        )
    ledger = vault_writer(session)
    known = read_requests(ledger).find(name)
    if known is not None and known.reference == name:
        return _recorded(session, ledger, known, given, received, scope)
    _sweep_keys(session, ledger)
    return _new_request(session, ledger, given, name, received or today, scope or Scope.SEALED, confirm)


def _new_request(
    session: Session,
    ledger: OrderLedgerWriter,
    given: Sequence[str],
    reference: str,
    received: date,
    scope: Scope,
    confirm: Confirm,
) -> dict[str, Any]:
    orders, meant = ErasureOrders(session), [each for text in given for each in meant_by(text)]
    _refuse_many(*orders.count(meant), confirm)
    matches = orders.matches(meant)
    lines = {item: match.line(item, orders.lives) for item, match in matches.items()}
    natives: dict[str, bytes] = {}
    if scope is Scope.ALL:
        for line, native in orders.live_lines(meant, matches):
            lines[line.item], natives[line.item] = line, native
        _refuse_many(0, len(lines), confirm)
    else:
        lines |= {line.item: line for line in orders.source_lines(meant)}
    request_id = "e" + secrets.token_hex(8)
    key = make_request_key(session.path, session.key, request_id)
    _seal_request(session, ledger, request_id, reference, received, scope, key, given, lines, orders)
    request = request_with_lines(ledger, request_id)
    _tell_orders(session, request, orders)
    _complete_done(session, ledger, [request])
    return document_of(
        session, request_with_lines(ledger, request_id), orders, request.lines.values(), natives
    )


def _refuse_many(accounts: int, items: int, confirm: Confirm) -> None:
    if accounts <= ACCOUNTS_MAX and items <= ITEMS_MAX:
        return
    what = f"{accounts} accounts and {items} items" if accounts else f"{items} items"
    if not confirm(f"the request means {what}: go on?"):
        raise ErasureTooMany(
            f"the request means {what}, more than {ACCOUNTS_MAX} accounts or {ITEMS_MAX} items: compare its "
            "accounts and aliases, and give --yes if all are meant; nothing was changed"
        )


def _seal_request(
    session: Session,
    ledger: OrderLedgerWriter,
    request_id: str,
    reference: str,
    received: date,
    scope: Scope,
    key: RequestKey,
    given: Sequence[str],
    lines: Mapping[str, ErasureItem],
    orders: ErasureOrders,
) -> None:
    """Seal the lines, then what completes their recording; a crash in between leaves lines that count for nothing."""
    counts = dict.fromkeys((each.value for each in Outcome), 0)
    for line in lines.values():
        if line.where is not Where.SOURCE:
            counts[line.outcome] += 1
    for chunk in chunks_of(lines.values()):
        record(session, ledger, ITEMS, {"id": request_id, "items": [line.to_json() for line in chunk]})
    sources = [line for line in lines.values() if line.where is Where.SOURCE]
    used = {order for line in lines.values() for order in line.holders}
    body = {
        "id": request_id,
        "reference": reference,
        "received": received.isoformat(),
        "scope": scope.value,
        "identifiers": key.seal(json.dumps(list(given)).encode()).hex(),
        "counts": counts,
        "open_sources": sum(line.outcome is not Outcome.EXECUTED for line in sources),
        "grounds": {order: orders.grounds[order] for order in sorted(used)},
        "templates": templates(),
    }
    record(session, ledger, REQUESTED, body)
    ledger.seal(session.now_us())


def _recorded(
    session: Session,
    ledger: OrderLedgerWriter,
    known: ErasureRequest,
    given: Sequence[str],
    received: date | None,
    scope: Scope | None,
) -> dict[str, Any]:
    """Return what was recorded under a reference; raise `ErasureWrong` where it was for something else."""
    before = identifiers_of(session, known)
    if before is not None and list(before) != list(given):
        raise ErasureWrong(
            f"reference {known.reference!r} stands for a request with other accounts: use another reference"
        )
    if received not in (None, known.received) or scope not in (None, known.scope):
        raise ErasureWrong(
            f"reference {known.reference!r} was recorded as received on {known.received} with scope {known.scope}: a "
            f"request keeps both; see `scelle erasure show {known.id}`"
        )
    orders, request = ErasureOrders(session), request_with_lines(ledger, known.id)
    _tell_orders(session, request, orders)
    _complete_done(session, ledger, [request])
    return document_of(
        session, request_with_lines(ledger, known.id), orders, lines_now(session, request, orders)
    )


def _tell_orders(session: Session, request: ErasureRequest, orders: ErasureOrders) -> None:
    """Seal in the log of each order that defers something what it defers, as if it were alone. Idempotent."""
    told: dict[str, list[int]] = {}
    for line in request.lines.values():
        for order in line.holders if line.outcome is Outcome.DEFERRED else ():
            counts = told.setdefault(order, [0, 0])
            counts[line.where is Where.SOURCE] += 1
    for order, (items, sources) in told.items():
        if orders.holds(order) and not _was_told(session.ledger(order), request.id):
            writer = session.writer(order)
            if has_left_events(session.path, order):
                writer.seal(session.now_us(), only=(EVENTS_SOURCE,))
            if not _was_told(writer, request.id):
                body = {
                    "request": request.id,
                    "received": request.received.isoformat(),
                    "ground": orders.grounds[order],
                    "items": items,
                    "sources": sources,
                }
                record(session, writer, IN_ORDER, body)
                writer.seal(session.now_us())


def _was_told(ledger: OrderLedger, request_id: str) -> bool:
    return any(event.body["request"] == request_id for event in events(ledger, IN_ORDER))


# --- when an order lets go -------------------------------------------------------------------------------


def run_deferred(session: Session, order: str) -> dict[str, Any]:
    """Execute what no order claims any more, once the contents of a released order are destroyed.

    Every open request is looked at anew, against all orders as they are now. Return `requests` and `items`: what this
    order had deferred, as if it were alone, for its certificate. Beside them, and in no certificate of the order:
    `executed`, what its disposal ended, and `completed`, the ids of requests of which nothing is deferred any more. The
    numbers are those of the log, so a second call gives the same and executes nothing twice. Raises `HeldError` where
    the order still holds. A crash leaves each item executed or not, and the next call goes on.
    """
    ledger, orders = vault_writer(session), ErasureOrders(session, gone=order)
    if order in orders.lives and orders.lives[order].holds:
        raise HeldError(f"order {order} still holds: release it first; nothing was erased")
    requests = read_requests(ledger, lambda _: True)
    sealed = False
    for request in requests.still_open():
        for chunk in chunks_of(_let_go(session, request, orders)):
            record(session, ledger, EXECUTED, _executed_body(request, order, chunk))
            sealed = True
    if sealed:
        ledger.seal(session.now_us())
    requests = read_requests(ledger, lambda _: True)
    _complete_done(session, ledger, requests.still_open())
    _sweep_keys(session, ledger)
    return _disposal_counts(read_requests(ledger, lambda _: True), order)


def _let_go(session: Session, request: ErasureRequest, orders: ErasureOrders) -> list[ErasureItem]:
    """List the open lines that nothing holds any more, and that lie in no order that still waits for its disposal."""
    current = orders.current(request, accounts_of(session, request))
    return [line for line in current if line.outcome is Outcome.EXECUTED]


def _executed_body(request: ErasureRequest, order: str, lines: Sequence[ErasureItem]) -> dict[str, Any]:
    was = request.lines
    return {
        "id": request.id,
        "order": order,
        "items": [
            [line.item, was[line.item].outcome.value] for line in lines if line.where is not Where.SOURCE
        ],
        "sources": [line.item for line in lines if line.where is Where.SOURCE],
    }


def _disposal_counts(requests: Requests, order: str) -> dict[str, Any]:
    concerned, items, executed, completed = 0, 0, 0, []
    for request in requests.by_id.values():
        own = sum(
            order in line.holders and line.outcome is Outcome.DEFERRED and line.where is not Where.SOURCE
            for line in request.lines.values()
        )
        ended = [item for item, by in request.executed_later.items() if by == order]
        concerned += bool(own)
        items += own
        executed += sum(request.lines[item].where is not Where.SOURCE for item in ended)
        if ended and not request.is_open:
            completed.append(request.id)
    return {"requests": concerned, "items": items, "executed": executed, "completed": completed}


def _complete_done(session: Session, ledger: OrderLedgerWriter, requests: Sequence[ErasureRequest]) -> None:
    """Complete the requests of which nothing is open any more, and destroy their keys: nobody reads whom they named."""
    done = [each for each in requests if each.is_open and not each.open_items and not each.open_sources]
    if not done:
        return
    for request in done:
        record(session, ledger, COMPLETED, {"id": request.id, "counts": dict(request.counts)})
    ledger.seal(session.now_us())
    _sweep_keys(session, ledger)


def _sweep_keys(session: Session, ledger: OrderLedger) -> None:
    """Destroy the keys of completed requests, and of those that a crash kept from being sealed. Idempotent."""
    keep = frozenset(request.id for request in read_requests(ledger).still_open())
    forget_request_keys(session.path, keep)
