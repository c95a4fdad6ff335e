"""Release an order, and dispose of what nobody else claims: asked for by one person, approved by another.

A release lets go at once: nothing is held under the order any more. Until the grace period ends it can be undone, and
nothing is destroyed. The disposal goes by stages, each durable; a crash anywhere leaves an order that is released and
not disposed of, and the same command goes on:

1. what other living orders claim and have not sealed themselves is sealed in their logs (`carrying`); then the log
   says that the order was released (`scelle/release/v1`), with the paper that says so;
2. contents that no other order names are destroyed and read back, and that is sealed (`disposal.contents`);
3. the rows of the order's segments are destroyed, keys first; its papers, acts and log stay;
4. erasures that waited for it are executed;
5. what the catalog knew of it is forgotten, and its pages are written anew;
6. what is left is read back, and the certificate is sealed in the order's log and in the vault's own.

Rows name contents: so they go only once the event of stage 2 is sealed. Everything that is sealed, printed or signed
here counts as if the order were alone: whether another order, which nobody here may know of, has the same contents does
not show. What who asks may know of others is printed, and sealed nowhere.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scelle.bootstrap.carrying import carry_over, needed_by_none
from scelle.bootstrap.erasing import run_deferred
from scelle.bootstrap.requests import ask, check_may_ask, is_open, visible_requests, waits_for
from scelle.bootstrap.session import Session
from scelle.bootstrap.store_guards import tell_guards
from scelle.capture.sealed import FINISHED
from scelle.capture.store import forget_order
from scelle.errors import DisposalUnfinished, RequestRefused, TransitionRefused
from scelle.formats.entries import Release
from scelle.ledger.destroying import (
    BEGUN,
    DISPOSED,
    destroy_segments,
    doomed_segments,
    is_destroyed,
    is_released,
    left_of_segments,
)
from scelle.ledger.erasing import finish_erasure, unfinished_contents
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, ORDER_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.days import utc_text
from scelle.orders.lifecycle import Life, State, Step
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import keep_paper, paper_commitment, sealed_order
from scelle.release.certificate import Check, certificate
from scelle.release.contents import named_contents
from scelle.release.erasure import IN_ORDER
from scelle.release.reading_back import contents_checks, remaining_checks
from scelle.vault.catalog import holds_forgotten, write_anew
from scelle.vault.destroying import destroy_contents

RELEASED, UNDONE, CONTENTS = "released", "release.undone", "disposal.contents"
CERTIFICATE: Final = "disposal.certificate"
_CHANGES: Final = (
    "extended",
    "amended",
    "clause",
    "clause.stopped",
    "mark",
    "lifted",
    "annulled",
    "replaced",
    RELEASED,
    UNDONE,
)
"""Events after which an order is another one than the one whose release was asked for."""
_GROUNDS: Final[Mapping[State, str]] = {
    State.LAPSED: "expired",
    State.LIFTED: "lifted",
    State.ANNULLED: "court",
}
_ENDINGS: Final[Mapping[str, str]] = {"lifted": "lifted", "court": "annulled"}
"""The event whose letter is the paper of a release on this ground."""


# --- asking --------------------------------------------------------------------------------------------------


def ask_release(session: Session, order: str, reason: str) -> tuple[Request, dict[str, Any]]:
    """Ask for a release; return the request, and what it leads to as far as who asks may know of it."""
    session.require(Power.REQUEST)
    ledger, ground = _releasable(session, order)
    asked = _asked_release(session, order)
    if asked is not None:
        raise RequestRefused(f"order {order} has a request for its release already: {asked.id}")
    named = _named(session, ledger)
    shown = {"ground": ground, **outlook(session, ledger, named)}
    request = ask(session, Act.RELEASE, order, {"acts": _acts(ledger), **shown}, reason)
    return request, shown | overlap(session, ledger, named)


def _asked_release(session: Session, order: str) -> Request | None:
    """Return the request for an order's release that may still be carried out, where there is one."""
    for request in visible_requests(session):
        if request.act is Act.RELEASE and request.order == order and is_open(session, request):
            return request
    return None


def preview_release(session: Session, order: str) -> dict[str, Any]:
    """Return what a release of the order leads to, without asking for it: for who asks, and for who approves."""
    check_may_ask(session, Act.RELEASE, None)
    ledger, ground = _releasable(session, order)
    named = _named(session, ledger)
    return {"ground": ground, **outlook(session, ledger, named), **overlap(session, ledger, named)}


def _releasable(session: Session, order: str) -> tuple[OrderLedger, str]:
    """Return an order's ledger and the ground of its release; raise where it cannot be released now."""
    ledger, now_us = session.order_ledger(order), session.now_us()
    life = sealed_order(ledger).life
    life.check(Step.RELEASE, now_us)
    return ledger, _GROUNDS[life.state(now_us)]


def _acts(ledger: OrderLedger) -> int:
    """Count what happened to an order's life and clauses: two people release it as it was when one of them asked."""
    return sum(1 for _ in events(ledger, *_CHANGES))


def outlook(session: Session, ledger: OrderLedger, named: set[bytes]) -> dict[str, Any]:
    """Say what a release of the order leads to, as if it were alone: what goes, what the sources may delete again."""
    passes = deque(events(ledger, FINISHED), maxlen=1)  # the newest one counts everything that is sealed
    sources = dict(passes[0].body["sources"]) if passes else {}
    deferred = list(events(ledger, IN_ORDER))
    return {
        "destroys": {
            "items": sum(each.records for each in doomed_segments(ledger)),
            "contents": len(named),
            "bytes": sum(int(counts["bytes"]) for counts in sources.values()),
        },
        "sources": {name: int(counts["sealed"]) for name, counts in sources.items()},
        "erasures": {
            "requests": len({event.body["request"] for event in deferred}),
            "items": sum(int(event.body["items"]) for event in deferred),
        },
        "productions": sum(1 for _ in events(ledger, "production")),
        "grace_us": str(session.setting_us("grace")),
    }


def overlap(session: Session, ledger: OrderLedger, named: set[bytes]) -> dict[str, Any]:
    """Say which other orders that who asks may know of hold sources or contents of this one, and how much stays so."""
    mine, found, shared = set(sealed_order(ledger).aliases), [], set[bytes]()
    for order in session.orders():
        if order == ledger.order:
            continue
        other = session.ledger(order)
        sealed = sealed_order(other)
        if sealed.life.disposed_us is None:
            both = {digest for digest in named_contents(other) if digest in named} if named else set()
            sources = sorted(mine & set(sealed.aliases))
            if both or sources:
                found.append({"order": order, "sources": sources, "contents": len(both)})
            shared |= both
    return {"overlap": found, "stays_for_others": {"contents": len(shared)}}


# --- letting go ----------------------------------------------------------------------------------------------


def execute_release(session: Session, request: Request) -> dict[str, Any]:
    """Let go of an order that two people stand behind; a second time, or a second request, changes nothing.

    That holds also where the release was undone since: what brought it back counts, and not a request that a crash kept
    from being noted as carried out.
    """
    order = request.order or ""
    ledger = _writer(session, order)
    done = next((each for each in events(ledger, RELEASED) if each.body["request"] == request.id), None)
    if done is None:
        life, now_us = sealed_order(ledger).life, session.now_us()
        if not life.holds:
            return {"order": order, "released": False, "why": "it was released before"}
        life.check(Step.RELEASE, now_us)
        ground = _GROUNDS[life.state(now_us)]
        if (ground, _acts(ledger)) != (request.body["ground"], request.body["acts"]):
            return {
                "order": order,
                "released": False,
                "why": "the order changed since it was asked: ask again",
            }
        body = {"request": request.id, "ground": ground}
        record_event(ledger, now_us, session.actor, RELEASED, body)
        ledger.seal(now_us)
        tell_guards(session, order)
        released_us = now_us
    elif sealed_order(ledger).life.holds:
        return {"order": order, "released": False, "why": "its release was undone since: ask again"}
    else:
        released_us = done.time_us
    return {
        "order": order,
        "released": True,
        "undo_until": utc_text(released_us + session.setting_us("grace")),
    }


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
    tell_guards(session, order)
    return sealed_order(ledger).life


# --- disposing -----------------------------------------------------------------------------------------------


def dispose_due(session: Session, order: str | None = None) -> list[dict[str, Any]]:
    """Dispose of every released order whose grace period is over, or of the one that is named; return certificates.

    Two people stand behind the release: carrying it out is nobody's decision, so that an engineer's job may do it.
    """
    session.require(Power.AMEND, Power.CAPTURE)
    done = []
    for each in session.orders() if order is None else [session.check_order(order)]:
        ledger = session.ledger(each)
        life = sealed_order(ledger).life
        if life.disposed_us is not None:
            if not _is_certified(session, each) or left_of_segments(ledger, doomed_segments(ledger)):
                done.append(
                    dispose(session, each)
                )  # a crash came between its last steps, or a copy was put back
            elif order is not None:
                life.check(Step.DISPOSE, session.now_us())
            continue
        if order is not None:
            _refuse_waiting(session, order, life)
            life.check(Step.DISPOSE, session.now_us())
        if life.released_us is None:
            continue
        ends_us = life.released_us + session.setting_us("grace")
        if session.now_us() >= ends_us or (is_released(ledger) and _has(ledger, BEGUN)):
            done.append(dispose(session, each))
        elif order is not None:
            raise RequestRefused(
                f"order {order} can be brought back until {utc_text(ends_us)}: dispose of it then"
            )
    return done


def _refuse_waiting(session: Session, order: str, life: Life) -> None:
    """Raise RequestRefused where the release is asked for and not carried out; say what it waits for."""
    asked = _asked_release(session, order) if life.holds else None
    if asked is not None:
        raise RequestRefused(
            f"order {order} is not released yet: request {asked.id} {waits_for(session, asked)}"
        )


def dispose(session: Session, order: str) -> dict[str, Any]:
    """Destroy what only this order needs, and seal the certificate; goes on where a crash ended it.

    Raises `PackDamaged` where what must stay cannot be read, `DisposalUnfinished` where another process keeps the
    catalog from being cleaned.
    """
    ledger = _writer(session, order)
    _refuse_unreleased(ledger)
    ledger.seal(session.now_us())  # what a crash left open is part of what goes
    segments = doomed_segments(ledger)
    if not _has(ledger, CONTENTS):
        carry_over(session, ledger, has_begun=_has(ledger, BEGUN))
    if not _has(ledger, CONTENTS) or left_of_segments(ledger, segments):
        named = _named(session, ledger)
        _begin(session, ledger, len(named))
        _destroy_contents(session, ledger, named)
    finish_erasure(ledger)
    destroy_segments(ledger, segments)
    erasures = run_deferred(session, order)
    session.packs.end_pack()  # so that nothing among the packs is unfinished but what a crash left
    forget_order(session.catalog, session.key, order)
    write_anew(session.catalog)
    if holds_forgotten(session.catalog):
        raise DisposalUnfinished(
            f"order {order}: its contents and rows are destroyed, and another process reads the catalog, which may "
            "hold what was forgotten: run `scelle dispose` again when it has ended"
        )
    return _certify(session, ledger, erasures)


def _refuse_unreleased(ledger: OrderLedger) -> None:
    """Raise RequestRefused where no release is in the order's log that two people stand behind, cooled off by then."""
    if sealed_order(ledger).life.holds:
        raise RequestRefused(
            f"order {ledger.order}: its log has no release that two people stand behind: nothing is destroyed; run "
            "`scelle verify`"
        )


def _named(session: Session, ledger: OrderLedger) -> set[bytes]:
    """Return the contents that go with the order as if it were alone; those of its own papers and acts stay."""
    named = set(named_contents(ledger, acts=False)) | unfinished_contents(ledger, session.key)
    if named:
        named.difference_update(named_contents(ledger, captured=False))
    return named


def _begin(session: Session, ledger: OrderLedgerWriter, contents: int) -> None:
    """Seal that the disposal begins, with the paper of its ground, and then the release itself in the log."""
    begun = next(events(ledger, BEGUN), None)
    if begun is None:
        released = list(events(ledger, RELEASED))[-1]
        request = session.people.requests[str(released.body["request"])]
        paper = json.dumps(request.to_json(), sort_keys=True, indent=1).encode()
        named = keep_paper(ledger, session.packs, f"release-{request.id}.json", paper, session.now_us())
        segments = doomed_segments(ledger)
        body = {
            "request": request.id,
            "ground": released.body["ground"],
            "paper": named,
            "letter": _letter(ledger, str(released.body["ground"])),
            "records": sum(each.records for each in segments),
            "segments": len(segments),
            "contents": contents,
        }
        record_event(ledger, session.now_us(), session.actor, BEGUN, body)
        session.packs.sync()
        ledger.seal(session.now_us())
        begun = next(events(ledger, BEGUN))
    if not is_released(ledger):
        paper = begun.body["letter"] or begun.body["paper"]
        entry = Release(
            order=ledger.order,
            ground=str(begun.body["ground"]),
            time=begun.time_us,
            document=paper_commitment(ledger, int(paper["seq"])),
            authority_sig=None,
        )
        ledger.seal(session.now_us(), entries=[entry])


def _letter(ledger: OrderLedger, ground: str) -> dict[str, Any] | None:
    """Return how the letter is named by which the order ended, if there was one."""
    ended = list(events(ledger, _ENDINGS[ground])) if ground in _ENDINGS else []
    letter = ended[-1].body.get("document") if ended else None
    return None if letter is None else dict(letter)


def _destroy_contents(session: Session, ledger: OrderLedgerWriter, named: set[bytes]) -> None:
    """Destroy what no other order needs, read it back, and seal that: only then may the rows go that name it."""
    looked, doomed = len(named), needed_by_none(session, ledger.order, named)
    if doomed:
        destroy_contents(session.packs, session.key, doomed)
    if not _has(ledger, CONTENTS):
        checks = contents_checks(session.packs, session.catalog, session.key, doomed, looked)
        body = {"checks": [check.to_json() for check in checks]}
        record_event(ledger, session.now_us(), session.actor, CONTENTS, body)
        ledger.seal(session.now_us())


def _certify(session: Session, ledger: OrderLedgerWriter, erasures: Mapping[str, Any]) -> dict[str, Any]:
    """Seal the certificate in the order's log, and then in the vault's; a crash between them is made good later."""
    sealed = next(events(ledger, DISPOSED), None)
    if sealed is None:
        read = [Check.from_json(each) for each in next(events(ledger, CONTENTS)).body["checks"]]
        checks = [*read, *remaining_checks(ledger, session.path, session.catalog, session.key)]
        body = _certificate(session, ledger, checks, erasures)
        record_event(ledger, session.now_us(), session.actor, DISPOSED, body)
        ledger.seal(session.now_us())
        sealed = next(events(ledger, DISPOSED))
    if not _is_certified(session, ledger.order):
        session.record(CERTIFICATE, dict(sealed.body))
    return dict(sealed.body)


def _certificate(
    session: Session, ledger: OrderLedger, checks: Sequence[Check], erasures: Mapping[str, Any]
) -> dict[str, Any]:
    begun, now_us = next(events(ledger, BEGUN)), session.now_us()
    gone = [each for each in doomed_segments(ledger) if is_destroyed(ledger, each)]
    found = next(check.found for check in checks if check.what == "contents")
    return certificate(
        order=ledger.order,
        request=str(begun.body["request"]),
        ground=str(begun.body["ground"]),
        begun_us=begun.time_us,
        finished_us=now_us,
        plan={name: int(begun.body[name]) for name in ("records", "segments", "contents")},
        destroyed={
            "records": sum(each.records for each in gone),
            "segments": len(gone),
            "contents": int(begun.body["contents"]) - found,
        },
        kept={
            "log_until_us": str(now_us + session.setting_us("log-retention")),
            "log_size": ledger.log.size,
        },
        productions=sum(1 for _ in events(ledger, "production")),
        checks=checks,
        erasures={name: int(erasures[name]) for name in ("requests", "items")},
    )


def _has(ledger: OrderLedger, kind: str) -> bool:
    return any(True for _ in events(ledger, kind))


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
