"""Erase single sealed records while their order lives: what another asks for and signs, the log, files, contents.

Only the authority's consent is proof; its letter, or another authority's binding destruction order, are the platform's
word with the paper sealed beside it (ledger.md §8).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.bootstrap.carrying import carry_over, needed_by_none
from scelle.bootstrap.requests import ask, check_may_ask, open_twin, without_places
from scelle.bootstrap.session import Session
from scelle.capture.store import forget_records
from scelle.errors import EraseWrong
from scelle.formats.entries import Segment
from scelle.formats.tokens import shown
from scelle.ledger.erasing import (
    Target,
    check_may_erase,
    erase,
    finish_erasure,
    is_signed,
    prepare_tombstones,
    unfinished_contents,
    with_signature,
)
from scelle.ledger.erasure_journal import read_journal
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.service import EVENTS_SOURCE, ORDER_SOURCE, OrderLedger, OrderLedgerWriter
from scelle.operators.requests import Act, Request
from scelle.orders.papers import read_letter
from scelle.orders.service import keep_paper, paper_commitment, sealed_order
from scelle.productions.scratch import refuse_taken
from scelle.release.consents import consent_request, match_consents, read_consent_answer
from scelle.release.contents import named_contents
from scelle.release.quarantine import places_of
from scelle.vault import durable
from scelle.vault.destroying import destroy_contents

ERASED, ASKED, CONSENT_ASKED = "records.erased", "erasure.paper", "consent.requested"
PAPER_BASES: Final = ("letter", "order")
RECORDS_MAX: Final = 10_000
"""Records in one request: all their tombstones' signatures stand in it."""
REMAINS: Final = ("sequence-number", "index-positions", "leaf-hashes", "copies-handed-over")
"""What stays visible of an erased record (ledger.md §8); the record of the erasure lists it."""
_PLACE: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,62}(?:/[0-9]+)?):([0-9]{1,18})")
_ITEM: Final = re.compile(r"i[a-z2-7]{26}")


def write_consent_request(
    session: Session, order: str, items: Sequence[str], *, ground: str, to: Path
) -> dict[str, Any]:
    """Write to `to` what the authority's tool is shown of these records; nothing else is changed, and it is sealed
    that it was asked. Raises `EraseWrong`, `EraseRefused`, `PackageNameRefused`."""
    check_may_ask(session, Act.DISPOSE_EARLY, None)
    ledger = _writer(session, order)
    targets = _targets(session, ledger, items)
    doomed = prepare_tombstones(
        ledger, targets, ground=ground, basis="consent", document=None, time_us=session.now_us()
    )
    check_may_erase(ledger, "consent", None)
    refuse_taken(to)
    body = {"records": _named(ledger, targets), "ground": ground}
    record_event(ledger, session.now_us(), session.actor, CONSENT_ASKED, body)
    ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    durable.write_file(to, consent_request(ledger, doomed))
    return {"order": order, "records": len(doomed), "file": str(to)}


def ask_erasure(
    session: Session,
    order: str,
    items: Sequence[str],
    *,
    ground: str,
    basis: str,
    document: Path | None = None,
    consent: Path | None = None,
) -> tuple[Request, dict[str, Any]]:
    """Ask that records be erased: checked as it will be done, so that nobody signs what cannot be.

    The paper of basis `letter` or `order` is sealed here. Raises `EraseWrong`, `EraseRefused`, `RecordErased`.
    """
    check_may_ask(session, Act.DISPOSE_EARLY, None)
    if basis not in ("consent", *PAPER_BASES):
        raise EraseWrong(f"basis {shown(basis)}: give consent, letter or order")
    if (basis in PAPER_BASES) != (document is not None) or (basis == "consent") != (consent is not None):
        raise EraseWrong(
            "basis consent goes with --consent FILE, letter and order with --document FILE: give the one that is needed"
        )
    ledger = _writer(session, order)
    targets = _targets(session, ledger, items)
    said: dict[str, Any] = {
        "ground": ground,
        "basis": basis,
        "document": None,
        "time_us": None,
        "signatures": {},
    }
    if consent is not None:
        said |= _consented(ledger, targets, ground, consent)
    else:
        prepare_tombstones(
            ledger, targets, ground=ground, basis=basis, document=None, time_us=session.now_us()
        )
    said["places"] = [list(target) for target in targets]
    said["records"] = [f"{alias}:{seq}" for alias, seq in _named(ledger, targets)]
    said["items"] = sorted({item for item in items if _ITEM.fullmatch(item)})
    said["sealed_again"] = _still_growing(ledger, targets)
    letter = None if document is None else read_letter(document)
    paper = None if letter is None else {"name": letter[0], "sha256": sha256(letter[1]).hexdigest()}
    request = open_twin(session, Act.DISPOSE_EARLY, order, {**said, "document": paper}, without_places)
    if request is None:
        if letter is not None:
            said["document"] = _sealed_paper(session, ledger, letter, ground, basis)
        request = ask(session, Act.DISPOSE_EARLY, order, said, ground)
    return request, {
        "order": order,
        "records": len(targets),
        "basis": basis,
        "ground": ground,
        "sealed_again": _still_growing(ledger, targets),
    }


def _consented(ledger: OrderLedger, targets: Sequence[Target], ground: str, path: Path) -> dict[str, Any]:
    signed = read_consent_answer(path)
    times = {entry.time for entry, _ in signed}
    if len(times) != 1:
        raise EraseWrong(f"{path}: its tombstones are not of one request: give the answer to one")
    (time_us,) = times
    doomed = prepare_tombstones(
        ledger, targets, ground=ground, basis="consent", document=None, time_us=time_us
    )
    check_may_erase(ledger, "consent", None)
    found = match_consents(doomed, signed)
    for each in doomed:
        if not is_signed(ledger, with_signature(each, found)):
            raise EraseWrong(f"{path}: the signature for record {each.target.seq} is not the authority's")
    signatures = {f"{at}:{seq}": signature.hex() for (at, seq), signature in found.items()}
    return {"time_us": str(time_us), "signatures": signatures}


def _sealed_paper(
    session: Session, ledger: OrderLedgerWriter, letter: tuple[str, bytes], ground: str, basis: str
) -> dict[str, Any]:
    """Seal the letter or destruction order as a paper of the order; return how an event names it, and its rc."""
    check_may_erase(ledger, basis, _any_paper(ledger))
    name, data = letter
    named = keep_paper(ledger, session.packs, name, data, session.now_us())
    body = {"document": named, "basis": basis, "ground": ground}
    record_event(ledger, session.now_us(), session.actor, ASKED, body)
    ledger.seal(session.now_us(), only=(EVENTS_SOURCE, ORDER_SOURCE))
    return {**named, "rc": paper_commitment(ledger, int(str(named["seq"]))).hex()}


def _any_paper(ledger: OrderLedger) -> bytes:
    """Return the commitment of item zero: whether the order allows it at all is asked before a paper is sealed."""
    return paper_commitment(ledger, 0)


# --- carrying it out -------------------------------------------------------------------------------------


def execute_dispose_early(session: Session, request: Request) -> dict[str, Any]:
    """Erase the records of an approved request, and what only they named; a second time changes nothing.

    Whatever a crash left of it is finished: the log's tombstones tell which records are gone, the journal which
    contents they named.
    """
    order = request.order or ""
    ledger = _writer(session, order)
    done = _sealed_body(ledger, request.id)
    if done is None:
        targets = [Target(int(at), int(seq)) for at, seq in request.body["places"]]
        _erase(session, ledger, request.body, targets)
        contents = _destroy_contents(session, ledger)
        _forget(session, ledger, targets)
        done = _record(session, ledger, request, targets, contents)
    else:  # a crash may have come between its event and the end of the journal
        _destroy_contents(session, ledger)
    finish_erasure(ledger)
    records = done["records"]
    return {
        "order": order,
        "records": len(records),
        "contents": done["contents"],
        "sealed_again": _still_growing(ledger, _found(ledger, records)),
    }


def is_begun(session: Session, request: Request) -> bool:
    """Tell whether the erasure of a request has begun, or is done, and its request is not noted as carried out."""
    ledger = session.writer(str(request.order))  # which drops a journal of what never reached the log
    if _sealed_body(ledger, request.id) is not None:
        return True
    journal = read_journal(ledger.folder, ledger.origin, session.key)
    if journal is None:
        return False
    targets = [Target(int(at), int(seq)) for at, seq in request.body["places"]]
    return any(
        target.seq - _manifest(ledger, target).seq[0] in journal.records.get(target.log_index, ())
        for target in targets
    )


def _erase(
    session: Session, ledger: OrderLedgerWriter, asked: Mapping[str, Any], targets: Sequence[Target]
) -> None:
    """Erase those that have no tombstone yet: a crash may have come before, or another request have named some."""
    signatures = {_target(name): bytes.fromhex(signature) for name, signature in asked["signatures"].items()}
    living = _living(ledger, targets)
    if living:
        carry_over(session, ledger, {(target.log_index, target.seq) for target in living})
        erase(
            ledger,
            session.key,
            living,
            ground=asked["ground"],
            basis=asked["basis"],
            document=None if asked["document"] is None else bytes.fromhex(asked["document"]["rc"]),
            signatures=signatures,
            now_us=session.now_us(),
            time_us=None if asked["time_us"] is None else int(asked["time_us"]),
        )


def _target(name: str) -> Target:
    at, _, seq = name.partition(":")
    return Target(int(at), int(seq))


def _living(ledger: OrderLedger, targets: Sequence[Target]) -> list[Target]:
    erased = tombstones(ledger.entries)
    return [
        target
        for target in targets
        if target.seq - _manifest(ledger, target).seq[0]
        not in erased.get(target.log_index, Tombstones()).records
    ]


def _manifest(ledger: OrderLedger, target: Target) -> Segment:
    manifest = ledger.entries[target.log_index]
    if not isinstance(manifest, Segment):
        raise EraseWrong(f"entry {target.log_index} of order {ledger.order} is no segment")
    return manifest


def _destroy_contents(session: Session, ledger: OrderLedgerWriter) -> int:
    """Destroy the contents that erased records named and no living record of any order does.

    Return how many no living record of this order names: whether another order needs one must not show.
    """
    left = unfinished_contents(ledger, session.key)
    alone = left.difference(named_contents(ledger)) if left else left
    doomed = needed_by_none(session, ledger.order, alone)
    if doomed:
        destroy_contents(session.packs, session.key, doomed)
    return len(alone)


def _forget(session: Session, ledger: OrderLedger, targets: Sequence[Target]) -> None:
    """Let the catalog forget the sealed state of what was erased, so that no pass takes it for sealed."""
    by_alias: dict[str, list[int]] = {}
    for target in targets:
        by_alias.setdefault(_manifest(ledger, target).source, []).append(target.seq)
    for alias, seqs in by_alias.items():
        forget_records(session.catalog, session.key, ledger.order, alias, seqs)


def _record(
    session: Session,
    ledger: OrderLedgerWriter,
    request: Request,
    targets: Sequence[Target],
    contents: int,
) -> dict[str, Any]:
    """Seal what was erased, by whom and on what ground, and what of it stays visible."""
    body = {
        "request": request.id,
        "ground": request.body["ground"],
        "basis": request.body["basis"],
        "document": request.body["document"],
        "records": _named(ledger, targets),
        "contents": contents,
        "productions": sum(1 for _ in events(ledger, "production")),
        "remains": list(REMAINS),
    }
    record_event(ledger, session.now_us(), session.actor, ERASED, body)
    ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return body


# --- inside ----------------------------------------------------------------------------------------------


def _targets(session: Session, ledger: OrderLedger, items: Sequence[str]) -> list[Target]:
    """Find the records that people mean: by item id, all of it that is sealed; by ALIAS:SEQ, that one."""
    ids = {item for item in items if _ITEM.fullmatch(item)}
    places = {item: match for item in items if (match := _PLACE.fullmatch(item)) is not None}
    wrong = next((item for item in items if item not in ids and item not in places), None)
    if wrong is not None or not items:
        raise EraseWrong(
            f"{shown(wrong or '')} is neither an item's id (i and 26 characters) nor ALIAS:SEQ: `scelle find` prints "
            "ids"
        )
    found = set(_found(ledger, [(match[1], int(match[2])) for match in places.values()]))
    known = places_of(ledger, session.key, sealed_order(ledger).source_names, ids) if ids else {}
    missing = sorted(ids - set(known))
    if missing:
        raise EraseWrong(f"no living record of order {ledger.order} is item {missing[0]}: compare it")
    found |= {Target(at, seq) for each in known.values() for at, seq in each}
    if len(found) > RECORDS_MAX:
        raise EraseWrong(f"{len(found)} records at once: ask for at most {RECORDS_MAX}")
    return sorted(found)


def _found(ledger: OrderLedger, places: Collection[Sequence[Any]]) -> list[Target]:
    """Return the records that stand at (log source, sequence number)."""
    found = []
    for alias, seq in places:
        at = next(
            (
                index
                for index, manifest in ledger.manifests()
                if manifest.source == alias and manifest.seq[0] <= seq < manifest.seq[1]
            ),
            None,
        )
        if at is None:
            raise EraseWrong(f"order {ledger.order} has no sealed record {alias}:{seq}")
        found.append(Target(at, int(seq)))
    return found


def _named(ledger: OrderLedger, targets: Sequence[Target]) -> list[list[Any]]:
    return [[_manifest(ledger, target).source, target.seq] for target in targets]


def _still_growing(ledger: OrderLedger, targets: Sequence[Target]) -> list[str]:
    """Name the sources of erased records that a clause still captures: what they still offer is sealed again."""
    sealed = sealed_order(ledger)
    names, growing = sealed.source_names, {name for clause in sealed.clauses for name in clause.sources}
    of = {names.get(_manifest(ledger, target).source.partition("/")[0], "") for target in targets}
    return sorted(of & growing) if sealed.life.holds else []


def _writer(session: Session, order: str) -> OrderLedgerWriter:
    """Open the order's log; events that a crash left durable are sealed first, so that they are seen."""
    ledger = session.order_writer(order)
    if has_left_events(session.path, order):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE, ORDER_SOURCE))
    return ledger


def _sealed_body(ledger: OrderLedger, request_id: str) -> dict[str, Any] | None:
    found = (event.body for event in events(ledger, ERASED) if event.body["request"] == request_id)
    body = next(found, None)
    return None if body is None else dict(body)
