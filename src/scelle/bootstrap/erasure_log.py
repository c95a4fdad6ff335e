"""Read and continue what the vault's log says of erasure requests."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from scelle.bootstrap.session import Session
from scelle.errors import ErasureUnknown
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.orders.days import local_day, utc_text
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.release.erasure import ITEMS, KINDS, ErasureRequest, Outcome, Requests, meant_by, requests_of
from scelle.vault.request_keys import read_request_key


def vault_writer(session: Session) -> OrderLedgerWriter:
    """Open the vault's log; events that a crash left durable are sealed first, so that each counts once."""
    ledger = session.writer(RESERVED_ORDER_ID)
    if has_left_events(session.path, RESERVED_ORDER_ID):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return ledger


def record(session: Session, ledger: OrderLedgerWriter, kind: str, body: Mapping[str, Any]) -> None:
    """Append an event as the session's operator, now; it is sealed with the next `seal`."""
    record_event(ledger, session.now_us(), session.actor, kind, body)


def read_requests(ledger: OrderLedger, with_lines: Callable[[str], bool] | None = None) -> Requests:
    """Read all requests; `with_lines` tells by id of which the lines are wanted."""
    kinds = KINDS if with_lines is not None else tuple(kind for kind in KINDS if kind != ITEMS)
    return requests_of(events(ledger, *kinds), with_lines=with_lines or (lambda _: False))


def request_with_lines(ledger: OrderLedger, request_id: str) -> ErasureRequest:
    """Read one request that is known to be there, with its lines."""
    return read_requests(ledger, lambda each: each == request_id).by_id[request_id]


def find_request(ledger: OrderLedger, name: str) -> ErasureRequest:
    """Return the request of a reference or id; raise `ErasureUnknown`."""
    found = read_requests(ledger).find(name)
    if found is None:
        raise ErasureUnknown(
            f"no erasure request has the reference or id {name!a}: see `scelle erasure list`"
        )
    return found


def identifiers_of(session: Session, request: ErasureRequest) -> tuple[str, ...] | None:
    """Return whom a request named, as it was given; None once its key is destroyed."""
    key = read_request_key(session.path, session.key, request.id)
    return None if key is None else tuple(json.loads(key.open(request.sealed_identifiers)))


def accounts_of(session: Session, request: ErasureRequest) -> list[str] | None:
    """Return every identifier that a request means; None, and a warning, where its key is gone before its time."""
    given = identifiers_of(session, request)
    if given is None:
        if request.is_open:
            session.warnings.append(
                f"erasure request {request.reference!r}: its key is gone, so its items are known only as recorded"
            )
        return None
    return [each for text in given for each in meant_by(text)]


def summary_of(session: Session, request: ErasureRequest) -> dict[str, Any]:
    """Return a request as lists print it."""
    due, today = request.due, local_day(session.now_us(), UTC)
    return {
        "id": request.id,
        "reference": request.reference,
        "received": request.received.isoformat(),
        "due": due.day.isoformat(),
        "due_at_latest": due.at_latest.isoformat(),
        "days_left": (due.day - today).days,
        "extended": request.extension,
        "answered": utc_text(request.letters[-1]["at_us"]) if request.letters else None,
        "executed": request.counts[Outcome.EXECUTED],
        "deferred": request.counts[Outcome.DEFERRED],
        "pending": request.counts[Outcome.PENDING],
        "state": request.state,
    }
