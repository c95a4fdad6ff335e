"""Release an order, and dispose of what nobody else claims: asked for by one person, approved by another.

A release lets go at once: nothing is held under the order any more. Until the grace period ends it can be undone, and
nothing is destroyed. The disposal goes by stages, each durable; a crash anywhere leaves an order that is released and
not disposed of, and the same command goes on:

1. the log says that the order was released (`scelle/release/v1`), with the paper that says so;
2. contents that no other order names are destroyed;
3. the rows of the order's segments are destroyed, keys first; its papers, acts and log stay;
4. what the catalog knew of it is forgotten, and its pages are written anew;
5. erasures that waited for it are executed;
6. everything is read back, and the certificate is sealed in the order's log and in the vault's own.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from scelle.bootstrap.erasing import run_deferred
from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session
from scelle.capture.sealed import FINISHED
from scelle.capture.store import forget_order
from scelle.errors import ContentMissing, PackDamaged, RequestRefused, TransitionRefused
from scelle.formats.entries import Release
from scelle.ledger.destroying import (
    destroy_segments,
    doomed_segments,
    is_destroyed,
    is_released,
    left_of_segments,
)
from scelle.ledger.events import Event, events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, ORDER_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request, RequestState
from scelle.orders.days import utc_text
from scelle.orders.lifecycle import Life, State, Step
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import keep_paper, sealed_order
from scelle.release.certificate import Check, certificate
from scelle.release.contents import named_contents
from scelle.vault.catalog import write_anew
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.destroying import destroy_contents
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend

RELEASED, UNDONE, BEGUN, DISPOSED = "released", "release.undone", "disposal.begun", "disposed"
CERTIFICATE: Final = "disposal.certificate"
_GROUNDS: Final[Mapping[State, str]] = {
    State.LAPSED: "expired",
    State.LIFTED: "lifted",
    State.ANNULLED: "court",
}


def ask_release(session: Session, order: str, reason: str) -> tuple[Request, dict[str, Any]]:
    """Ask for a release; it shows what will go and what stays, as far as who asks may know of it."""
    session.require(Power.REQUEST)
    ledger = session.order_ledger(order)
    life = sealed_order(ledger).life
    now_us = session.now_us()
    life.check(Step.RELEASE, now_us)
    for other in session.people.requests.values():
        is_open = request_is_open(session, other)
        if other.act is Act.RELEASE and other.order == order and is_open:
            raise RequestRefused(f"order {order} has a request for its release already: {other.id}")
    shown = {"ground": _GROUNDS[life.state(now_us)], **outlook(session, ledger)}
    return ask(session, Act.RELEASE, order, shown, reason), shown


def request_is_open(session: Session, request: Request) -> bool:
    """Tell whether a request may still be carried out."""
    origin = f"{session.host}/po/{RESERVED_ORDER_ID}"
    state = request.state(origin, session.people.operators, session.now_us())
    return state in (RequestState.WAITING, RequestState.APPROVED)


def outlook(session: Session, ledger: OrderLedger) -> dict[str, Any]:
    """Say what a release of the order leads to: its records, what the sources may delete again, who else holds it.

    Counts and bytes are those of the order alone: whether another order, which nobody here may know of, has the same
    contents does not show.
    """
    records = {each.source: 0 for each in doomed_segments(ledger)}
    for each in doomed_segments(ledger):
        records[each.source] += each.records
    last: Event | None = None
    for event in events(ledger, FINISHED):
        last = event
    sources = {} if last is None else dict(last.body["sources"])
    overlaps = [
        other
        for other in session.orders()
        if other != ledger.order
        and sealed_order(session.ledger(other)).life.holds
        and _share(session, ledger, other)
    ]
    return {
        "records": sum(records.values()),
        "sources": {name: int(counts["sealed"]) for name, counts in sources.items()},
        "bytes": sum(int(counts["bytes"]) for counts in sources.values()),
        "productions": sum(1 for _ in events(ledger, "production")),
        "overlaps": overlaps,
        "grace_us": str(session.setting_us("grace")),
    }


def _share(session: Session, ledger: OrderLedger, other: str) -> bool:
    """Tell whether another order names a source of this one."""
    mine = set(sealed_order(ledger).aliases)
    return bool(mine & set(sealed_order(session.ledger(other)).aliases))


def execute_release(session: Session, request: Request) -> dict[str, Any]:
    """Let go of an order that two people stand behind; a second time, or a second request, changes nothing."""
    order = request.order or ""
    ledger = _writer(session, order)
    life = sealed_order(ledger).life
    if not life.holds:
        return {"order": order, "released": False, "why": "it was released before"}
    now_us = session.now_us()
    life.check(Step.RELEASE, now_us)
    body = {"request": request.id, "ground": _GROUNDS[life.state(now_us)]}
    record_event(ledger, now_us, session.actor, RELEASED, body)
    ledger.seal(now_us)
    until_us = now_us + session.setting_us("grace")
    return {"order": order, "released": True, "undo_until": utc_text(until_us)}


def undo_release(session: Session, order: str) -> Life:
    """Take a release back while nothing was destroyed: tightening, which one counsel may."""
    session.require(Power.AMEND)
    ledger = _writer(session, order)
    life = sealed_order(ledger).life
    life.check(Step.UNDO_RELEASE, session.now_us())
    if is_released(ledger) or any(True for _ in events(ledger, BEGUN)):
        raise TransitionRefused(f"order {order}: its disposal has begun; nothing of it can be brought back")
    record_event(ledger, session.now_us(), session.actor, UNDONE, {"request": None})
    ledger.seal(session.now_us())
    return sealed_order(ledger).life


def dispose_due(session: Session, order: str | None = None) -> list[dict[str, Any]]:
    """Dispose of every released order whose grace period is over, or of the one that is named; return certificates."""
    session.require(Power.AMEND)
    done = []
    for each in session.orders() if order is None else [session.check_order(order)]:
        life = sealed_order(session.ledger(each)).life
        if life.disposed_us is not None and not _is_certified(session, each):
            done.append(dispose(session, each))  # a crash came between the two certificates
            continue
        if order is None and life.state(session.now_us()) is not State.RELEASED:
            continue
        if life.released_us is None or life.disposed_us is not None:
            life.check(Step.DISPOSE, session.now_us())
        ends_us = (life.released_us or 0) + session.setting_us("grace")
        if session.now_us() >= ends_us:
            done.append(dispose(session, each))
        elif order is not None:
            raise RequestRefused(
                f"order {order} can be brought back until {utc_text(ends_us)}: dispose of it then"
            )
    return done


def dispose(session: Session, order: str) -> dict[str, Any]:
    """Destroy what only this order needs, and seal the certificate; goes on where a crash ended it."""
    ledger = _writer(session, order)
    ledger.seal(session.now_us())  # what a crash left open is part of what goes
    doomed = _doomed_contents(session, ledger)
    begun = _begin(session, ledger, len(doomed))
    index = CatalogContentIndex(session.catalog, session.key)
    backend = PosixBackend(session.path)
    destroy_contents(session.packs, backend, session.key, index, doomed)
    segments = doomed_segments(ledger)
    destroy_segments(ledger, segments)
    forget_order(session.catalog, order)
    write_anew(session.catalog)
    erasures = run_deferred(session, order)
    checks = [
        _read_back(session, doomed),
        Check("files of segments", len(segments), len(left_of_segments(ledger, segments))),
    ]
    return _certify(session, ledger, begun, checks, erasures)


# --- the stages ----------------------------------------------------------------------------------------------


def _begin(session: Session, ledger: OrderLedgerWriter, contents: int) -> Event:
    """Seal that the disposal begins, with the paper of its ground, and then the release itself in the log."""
    begun = next(events(ledger, BEGUN), None)
    if begun is None:
        released = next(event for event in reversed(list(events(ledger, RELEASED))))
        request = session.people.requests[str(released.body["request"])]
        paper = json.dumps(request.to_json(), sort_keys=True, indent=1).encode()
        named = keep_paper(ledger, session.packs, f"release-{request.id}.json", paper, session.now_us())
        records = sum(each.records for each in doomed_segments(ledger))
        body = {
            "request": request.id,
            "ground": released.body["ground"],
            "paper": named,
            "records": records,
            "segments": len(doomed_segments(ledger)),
            "contents": contents,
        }
        record_event(ledger, session.now_us(), session.actor, BEGUN, body)
        session.packs.sync()
        ledger.seal(session.now_us())
        begun = next(events(ledger, BEGUN))
    if not is_released(ledger):
        entry = Release(
            order=ledger.order,
            ground=str(begun.body["ground"]),
            time=begun.time_us,
            document=_commitment(ledger, int(begun.body["paper"]["seq"])),
            authority_sig=None,
        )
        ledger.seal(session.now_us(), entries=[entry])
    return begun


def _commitment(ledger: OrderLedger, seq: int) -> bytes:
    """Return the commitment of a paper of the order by its sequence number."""
    for _, manifest in ledger.manifests():
        if manifest.source == ORDER_SOURCE and manifest.seq[0] <= seq < manifest.seq[1]:
            reader = ledger.segment(manifest)
            try:
                return reader.hashes(seq - manifest.seq[0], seq - manifest.seq[0] + 1)
            finally:
                reader.close()
    raise TransitionRefused(
        f"order {ledger.order}: the paper of its release is not sealed; run `scelle verify`"
    )


def _doomed_contents(session: Session, ledger: OrderLedger) -> set[bytes]:
    """Return the contents that only this order's records name; the papers of the order itself stay."""
    doomed = set(named_contents(ledger, acts=False))
    if doomed:
        doomed.difference_update(named_contents(ledger, captured=False))
        for other in [RESERVED_ORDER_ID, *session.all_orders()]:
            if other != ledger.order:
                doomed.difference_update(named_contents(session.writer(other)))
    return doomed


def _read_back(session: Session, doomed: set[bytes]) -> Check:
    """Ask a reader that knows nothing yet for every content that was destroyed."""
    index = CatalogContentIndex(session.catalog, session.key)
    found = 0
    with PackStore(PosixBackend(session.path), session.key, index, background=False) as packs:
        for digest in doomed:
            try:
                packs.read_bytes(digest)
            except (ContentMissing, PackDamaged):
                continue
            found += 1
    return Check("contents", len(doomed), found)


def _certify(
    session: Session,
    ledger: OrderLedgerWriter,
    begun: Event,
    checks: list[Check],
    erasures: Mapping[str, Any],
) -> dict[str, Any]:
    """Seal the certificate in the order's log, and then in the vault's; a crash between them is made good later."""
    sealed = next(events(ledger, DISPOSED), None)
    if sealed is None:
        now_us = session.now_us()
        gone = [each for each in doomed_segments(ledger) if is_destroyed(ledger, each)]
        body = certificate(
            order=ledger.order,
            request=str(begun.body["request"]),
            ground=str(begun.body["ground"]),
            begun_us=begun.time_us,
            finished_us=now_us,
            plan={name: int(begun.body[name]) for name in ("records", "segments", "contents")},
            destroyed={
                "records": sum(each.records for each in gone),
                "segments": len(gone),
                "contents": int(begun.body["contents"]) - checks[0].found,
            },
            kept={
                "log_until_us": str(now_us + session.setting_us("log-retention")),
                "log_size": ledger.log.size,
            },
            productions=sum(1 for _ in events(ledger, "production")),
            checks=checks,
            erasures={name: int(erasures[name]) for name in ("requests", "items")},
        )
        record_event(ledger, now_us, session.actor, DISPOSED, body)
        ledger.seal(now_us)
        sealed = next(events(ledger, DISPOSED))
    vault = session.writer(RESERVED_ORDER_ID)
    if not _is_certified(session, ledger.order):
        record_event(vault, session.now_us(), session.actor, CERTIFICATE, dict(sealed.body))
        vault.seal(session.now_us())
    return dict(sealed.body)


def _is_certified(session: Session, order: str) -> bool:
    """Tell whether the vault's own log has the certificate of an order's disposal."""
    found = events(session.ledger(RESERVED_ORDER_ID), CERTIFICATE)
    return any(event.body["order"] == order for event in found)


def _writer(session: Session, order: str) -> OrderLedgerWriter:
    """Open the order's log; events that a crash left durable are sealed first, so that they are seen."""
    ledger = session.order_writer(order)
    if has_left_events(session.path, order):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE, ORDER_SOURCE))
    return ledger
