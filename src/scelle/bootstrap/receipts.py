"""Certify the keys that recorders sign receipts with, and check receipts against what an order has sealed."""

import binascii
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.bootstrap.handing_over import SETTING, write_promise
from scelle.bootstrap.recording import RecordingPlace
from scelle.bootstrap.session import Session
from scelle.errors import FormatError, InputError, OrderOver, SegmentDamaged
from scelle.formats.notes import Note, parse_note
from scelle.formats.receipts import RECEIPT, Receipt, ReceiptKey, parse_receipt, parse_receipt_key
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import shown
from scelle.ledger.events import events, record_event
from scelle.ledger.promise_check import Attestations, PromiseState, attested, state_of
from scelle.ledger.search import tombstones
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger
from scelle.ledger.signing import Signer
from scelle.orders.days import utc_text
from scelle.orders.service import sealed_order
from scelle.safeguards.recorder.receipts import ReceiptSigner
from scelle.safeguards.recorder.sealed import ALWAYS, SealedEvent, sealed_events

CERTIFIED: Final = "receipts.key"
KEY_SUFFIX: Final = ".receipt-key"
FILE_MAX_BYTES: Final = 256 << 20
_BEFORE_US: Final = 3600 * 1_000_000
_BEHIND_US: Final = 60 * 1_000_000
"""An event is dated by the same clock shortly before its receipt is; only where it is not there, all are looked at."""
_SEQ: Final = re.compile(r'"seq":([0-9]+),')


@dataclass(frozen=True, slots=True)
class JudgedReceipt:
    """A receipt by where it was found, what became of it, and why; None where it cannot be read."""

    name: str
    receipt: Receipt | None
    state: PromiseState
    detail: str

    @property
    def is_bad(self) -> bool:
        """Tell whether the receipt is broken, or is none of this order."""
        return self.state in (PromiseState.BROKEN, PromiseState.INVALID)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed."""
        said: dict[str, Any] = {"name": self.name, "state": self.state.value, "detail": self.detail}
        if self.receipt is not None:
            said |= {
                name: getattr(self.receipt, name) for name in ("surface", "file", "byte", "seq", "sha256")
            }
            said |= {name: utc_text(getattr(self.receipt, name), "auto") for name in ("received", "deadline")}
        return said

    def line(self) -> str:
        """Return it for people."""
        place = "no receipt" if self.receipt is None else f"{self.receipt.surface} {self.receipt.seq}"
        return f"{self.state.value}: {place} ({self.name}): {self.detail}"


@dataclass(frozen=True, slots=True)
class ReceiptReport:
    """What became of the receipts that were given."""

    judged: tuple[JudgedReceipt, ...]

    @property
    def is_broken(self) -> bool:
        """Tell whether one is broken, or is none at all."""
        return any(each.is_bad for each in self.judged)

    def to_json(self) -> list[dict[str, Any]]:
        """Return each as it is printed."""
        return [each.to_json() for each in self.judged]

    def lines(self) -> list[str]:
        """Return those that were not simply kept, and the sums."""
        counts = Counter(each.state for each in self.judged)
        sums = ", ".join(f"{counts[state]} {state}" for state in PromiseState if counts[state])
        lines = [each.line() for each in self.judged if each.state is not PromiseState.KEPT]
        return [*lines, f"{len(self.judged)} receipts: {sums}"] if self.judged else []


def receipt_signer(session: Session, place: RecordingPlace, surface: str) -> tuple[ReceiptSigner, bytes]:
    """Draw a key for one run of a recorder and seal in the order's log that it is one; return it and its certificate.

    The certificate is a note of the log's own key, and names the order. A crash here leaves a key that nobody has.
    """
    ledger = session.order_writer(place.order)
    signer = ReceiptSigner.drawn(f"{session.host}/recorder/{surface}", session.setting_us(SETTING))
    certified = ReceiptKey(
        origin=ledger.origin,
        genesis=ledger.state.genesis_leaf,
        source=sealed_order(ledger).aliases[place.source],
        surface=surface,
        key=signer.key,
        since=session.now_us(),
    )
    note = ledger.signer.sign_text(certified.text())
    record_event(ledger, session.now_us(), session.actor, CERTIFIED, {"certificate": note.decode()})
    ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return signer, note


def write_certificate(folder: Path, certificate: bytes) -> Path:
    """Give a certificate to whoever holds the folder; raises InputError where it takes nothing."""
    key = parse_receipt_key(parse_note(certificate).text).key
    path = folder / f"{key.name.replace('/', '_').replace(':', '_')}-{key.key_id:08x}{KEY_SUFFIX}"
    try:
        write_promise(path, certificate)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): name a folder that is there"
        ) from error
    return path


def check_receipts(
    session: Session, order: str, given: Sequence[Path], certificates: Sequence[Path] = ()
) -> ReceiptReport:
    """Judge the receipts in these files by an order's log: signed notes, or a line in base64 for each.

    Their keys are those that the log certifies, and those of `certificates`. Raises InputError.
    """
    judge = _Judge(session.order_ledger(order), session.now_us())
    for path in certificates:
        judge.know(path)
    named = [each for path in given for each in _receipts_in(path)]
    if given and not named:  # what was not looked at must not look kept
        raise InputError("there is no receipt in the files that are named: give those that have some")
    return ReceiptReport(tuple(judge.judge_all(named)))


class _Judge:
    """Judge receipts of one order as its published log stands, by the clock `now_us` (microseconds)."""

    def __init__(self, ledger: OrderLedger, now_us: int) -> None:
        self._ledger, self._now_us = ledger, now_us
        self._signer = Signer(ledger.secrets)
        self._attested = Attestations(attested(ledger))
        self._keys: dict[tuple[str, int], ReceiptKey] = {}
        self._hidden: dict[str, bool] = {}
        for event in events(ledger, CERTIFIED):
            self._take(str(event.body["certificate"]).encode())

    def know(self, path: Path) -> None:
        """Take a certificate that somebody holds; raises InputError."""
        try:
            self._take(_read(path))
        except FormatError as error:
            raise InputError(
                f"{path} certifies no key of order {self._ledger.order}: {error}: leave it out"
            ) from error

    def _take(self, data: bytes) -> None:
        note = parse_note(data)
        found = parse_receipt_key(note.text)
        if (found.origin, found.genesis) != (self._ledger.origin, self._ledger.state.genesis_leaf):
            raise FormatError("it is of another log")
        if not self._signer.has_signed(note):
            raise FormatError("this log's key did not sign it")
        self._keys[found.key.name, found.key.key_id] = found

    def judge_all(self, given: Iterable[tuple[str, bytes]]) -> Iterator[JudgedReceipt]:
        """Judge receipts by the names that they were given under; what is wrong with one is never raised."""
        genuine: list[tuple[str, Receipt, str]] = []
        for name, data in given:
            try:
                note = parse_note(data)
                receipt = parse_receipt(note.text)
                genuine.append((name, receipt, self._key_of(note, receipt).source))
            except FormatError as error:
                yield JudgedReceipt(name, None, PromiseState.INVALID, str(error))
        by_surface: dict[tuple[str, str], list[tuple[str, Receipt]]] = {}
        for name, receipt, alias in genuine:
            by_surface.setdefault((alias, receipt.surface), []).append((name, receipt))
        for (alias, surface), named in by_surface.items():
            try:
                found = self._find(alias, surface, [receipt for _, receipt in named])
            except (SegmentDamaged, OrderOver) as error:
                yield from (
                    JudgedReceipt(name, receipt, PromiseState.UNDECIDED, str(error))
                    for name, receipt in named
                )
                continue
            for name, receipt in named:
                yield JudgedReceipt(name, receipt, *self._state(receipt, alias, found))

    def _key_of(self, note: Note, receipt: Receipt) -> ReceiptKey:
        for line in note.signatures:
            known = self._keys.get((line.name, line.key_id))
            if known is not None and known.surface == receipt.surface:
                try:
                    Ed25519PublicKey.from_public_bytes(known.key.public).verify(line.payload, note.text)
                except InvalidSignature:
                    continue
                return known
        raise FormatError("no key that this log certifies for the surface signed it")

    def _find(self, alias: str, surface: str, receipts: Sequence[Receipt]) -> "_Found":
        """Look for the events: where they should be by their times, then, for those that are not there, everywhere."""
        found = _Found(receipts)
        times = [each.received for each in receipts]
        near = (min(times) - _BEFORE_US, max(times) + _BEHIND_US)
        for window in (near, ALWAYS):
            if found.is_complete:
                break
            for event in sealed_events(self._ledger, alias, "surface", surface, window):
                found.take(event)
        return found

    def _state(self, receipt: Receipt, alias: str, found: "_Found") -> tuple[PromiseState, str]:
        at, other_at = found.places.get(receipt.sha256), found.others.get(receipt.seq)
        if at is None and other_at is not None:
            return PromiseState.BROKEN, f"another event is sealed under its number, under entry {other_at}"
        if at is None and self._is_partly_hidden(alias):
            return (
                PromiseState.UNDECIDED,
                "records of its source were erased or are restricted: it may be one",
            )
        return state_of(at, receipt.deadline, self._now_us, self._attested)

    def _is_partly_hidden(self, alias: str) -> bool:
        if alias not in self._hidden:
            erased = tombstones(self._ledger.entries)
            self._hidden[alias] = any(
                at in erased or manifest.schema == DOCUMENT_V1.digest
                for at, manifest in self._ledger.manifests()
                if manifest.records and manifest.source.partition("/")[0] == alias
            )
        return self._hidden[alias]


class _Found:
    """Which events of receipts are sealed, and under which entry: by their hash, and others by their number."""

    def __init__(self, receipts: Iterable[Receipt]) -> None:
        self._hashes = {each.sha256 for each in receipts}
        self._seqs = {str(each.seq) for each in receipts}
        self.places: dict[str, int] = {}
        self.others: dict[int, int] = {}

    @property
    def is_complete(self) -> bool:
        """Tell whether each event was found."""
        return len(self.places) == len(self._hashes)

    def take(self, event: SealedEvent) -> None:
        """Note an event where it is one of them, or has the number of one."""
        if event.sha256 in self._hashes:
            self.places.setdefault(event.sha256, event.at)
        elif event.raw is not None and self._seqs.intersection(_SEQ.findall(event.raw)):
            seq = json.loads(event.raw).get("seq")  # the pattern may have met a member deeper inside
            if str(seq) in self._seqs:
                self.others.setdefault(seq, event.at)


def _receipts_in(path: Path) -> Iterator[tuple[str, bytes]]:
    data = _read(path)
    if data.startswith(RECEIPT.encode() + b"\n"):
        yield str(path), data
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield f"{path}:{number}", b64decode(line.strip(), validate=True)
            except binascii.Error:
                yield f"{path}:{number}", line


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would make us wait
            raise InputError(f"{shown(str(path))} is no regular file: name one with receipts")
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error
    if len(data) > FILE_MAX_BYTES:
        raise InputError(f"{path} has more than 256 MiB: give its receipts in several files")
    return data
