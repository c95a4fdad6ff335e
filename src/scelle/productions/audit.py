"""Recompute indexes and bounds from a contentless stream, and sign what was found right (ledger.md §7, strength B).

Runs on the auditor's side: no vault, no tag key, no content. Every check is made anew from the bytes of the stream.
Established of a segment: its index has each of its records exactly once in each dimension, sorted, and its bounds are
those of its records, **as they are claimed**. Whether a claim is true (that the tag is the account's, that the time is
the event's) only opening a record can show.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from scelle.errors import FormatError, RequestWrong
from scelle.formats.audit_streams import (
    SEGMENT_HEAD_BYTES,
    parse_segment_head,
    parse_stream_entries,
    parse_stream_header,
    refuse_rest,
)
from scelle.formats.audits import AuditVerdict
from scelle.formats.checkpoints import (
    ML_DSA_SIGNATURE_BYTES,
    Checkpoint,
    mldsa_message,
    parse_checkpoint_text,
    parse_timed_payload,
)
from scelle.formats.entries import Entry, Erase, Segment, entry_faults, parse_entry
from scelle.formats.notes import ED25519, Note, VerifierKey, parse_note
from scelle.formats.trust import Policy, parse_policy, parse_trust
from scelle.merkle.hashing import HASH_BYTES, leaf_hash, tree_root
from scelle.productions.audit_model import AuditReport
from scelle.productions.audit_segment import SegmentAudit
from scelle.productions.auditor_key import AuditorKey
from scelle.productions.interfaces import Progress
from scelle.productions.scratch import refuse_taken
from scelle.vault import durable

_SMALL_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Believed:
    """Hold what the auditor believes of the log: its keys, a checkpoint had from elsewhere, or both."""

    policy: Policy | None = None
    checkpoint: Checkpoint | None = None


def read_believed(trust: Path | None, checkpoint: Path | None) -> Believed:
    """Read trust.json or policy.json, and a checkpoint's note; raise `RequestWrong` where one cannot be read.

    An auditor needs no tag key: policy.json, as it lies in a package, says all that is used here.
    """
    if trust is None and checkpoint is None:
        raise RequestWrong(
            "nothing says which log to audit: give --trust FILE, or --checkpoint FILE, had from elsewhere"
        )
    policy = None if trust is None else _policy(trust)
    held = None if checkpoint is None else _checkpoint(checkpoint)
    return Believed(policy, held)


def _policy(path: Path) -> Policy:
    data = _read(path)
    try:
        return parse_trust(data).policy
    except FormatError:
        try:
            return parse_policy(data)
        except FormatError as error:
            raise RequestWrong(f"{path}: neither trust.json nor policy.json ({error})") from error


def _checkpoint(path: Path) -> Checkpoint:
    try:
        return parse_checkpoint_text(parse_note(_read(path)).text)
    except FormatError as error:
        raise RequestWrong(f"{path}: no checkpoint ({error})") from error


def _read(path: Path) -> bytes:
    try:
        if not path.is_file() or path.stat().st_size > _SMALL_BYTES:
            raise RequestWrong(f"{path}: no such file, or larger than 1 MiB: give the file itself")
        return path.read_bytes()
    except OSError as error:
        raise RequestWrong(f"{path}: cannot be read: {error.strerror}") from error


def audit_index(stream: Path, believed: Believed, progress: Progress) -> AuditReport:
    """Recompute every segment of a stream; all faults are in the report.

    Raises `RequestWrong` where the file cannot be read at all. Memory: about 180 bytes for each record of the largest
    segment, whatever the number of dimensions.
    """
    report = AuditReport()
    with _mapped(stream) as data:
        try:
            _Audit(data, believed, report, progress).run()
        except FormatError as error:
            report.add("stream.format", stream.name, str(error))
    return report


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        if not path.is_file() or not path.stat().st_size:
            raise RequestWrong(
                f"{path}: no such file, or an empty one: give the stream that audit-stream wrote"
            )
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except OSError as error:
        raise RequestWrong(f"{path}: cannot be read: {error.strerror}") from error


class _Audit:
    """Walk through a stream: the log first, then segment by segment."""

    def __init__(self, data: mmap.mmap, believed: Believed, report: AuditReport, progress: Progress) -> None:
        self._data, self._believed, self._report, self._progress = data, believed, report, progress
        self._entries: list[Entry] = []
        self._raw: list[bytes] = []
        self._erased: dict[int, list[Erase]] = {}
        self._tags: dict[str, bytes] = {}

    def run(self) -> None:
        """Check everything; raises FormatError where the rest cannot be told apart any more."""
        header, at = parse_stream_header(self._data)
        self._report.origin, self._report.size = header.origin, header.size
        note_bytes = self._data[at : at + header.checkpoint_bytes]
        if len(note_bytes) < header.checkpoint_bytes:
            raise FormatError("audit stream is cut short in its checkpoint")
        self._raw, at = parse_stream_entries(self._data, at + len(note_bytes), header.size)
        note = parse_note(note_bytes)
        self._check_log(header.origin, note, parse_checkpoint_text(note.text))
        self._entries = [parse_entry(data) for data in self._raw]
        for entry in self._entries:
            if isinstance(entry, Erase):
                self._erased.setdefault(entry.segment[0], []).append(entry)
        last = -1
        for _ in range(header.segments):
            index, tag = parse_segment_head(self._data, at)
            at = self._segment(index, last, tag, at + SEGMENT_HEAD_BYTES)
            last = index
        refuse_rest(self._data, at)

    def _check_log(self, origin: str, note: Note, point: Checkpoint) -> None:
        """Establish that the entries are the log that the auditor believes in."""
        report, policy, held = self._report, self._believed.policy, self._believed.checkpoint
        leaves = b"".join(map(leaf_hash, self._raw))
        if point.origin != origin or point.size != len(self._raw):
            report.add("checkpoint.differs", "checkpoint", "origin or size is not that of the stream")
        if tree_root(leaves) != point.root:
            report.add("checkpoint.root", "checkpoint", "the entries do not lead to its root")
        if policy is not None:
            self._check_signatures(note, point, policy, leaves[:HASH_BYTES])
        if held is None:
            return
        if held.origin != origin:
            report.add("checkpoint.held", "checkpoint", "the checkpoint held is another log's")
        elif held.size > len(self._raw) or tree_root(leaves[: HASH_BYTES * held.size]) != held.root:
            report.add(
                "checkpoint.held", "checkpoint", "the checkpoint held is no beginning of the stream's log"
            )
        elif policy is None and held.size != len(self._raw):
            report.add(
                "checkpoint.held",
                "checkpoint",
                f"without --trust it must be of the stream's size, {len(self._raw)}, and is of {held.size}",
            )

    def _check_signatures(self, note: Note, point: Checkpoint, policy: Policy, first: bytes) -> None:
        if policy.origin != point.origin:
            detail = f"the trust file is of another order, {policy.origin}: give that of {point.origin}"
            self._report.add("checkpoint.origin", "checkpoint", detail)
        if first != policy.genesis:
            self._report.add("log.genesis", "entry 0", "the log does not begin as the trust file says")
        for key in policy.log:
            if not is_signed_by(key, note, point):
                detail = (
                    f"no valid line of log key {key.key_id:08x}; where keys rotated, give --checkpoint alone"
                )
                self._report.add("checkpoint.signature", "checkpoint", detail)

    def _segment(self, index: int, last: int, tag: bytes, at: int) -> int:
        """Check one segment, and say where it ends."""
        subject = f"entry {index}"
        manifest = self._entries[index] if index < len(self._entries) else None
        if not isinstance(manifest, Segment) or index <= last or not manifest.records:
            raise FormatError(
                f"audit stream: {subject} is no segment with records, or they do not rise by log index"
            )
        faults = entry_faults(manifest)
        if faults:
            raise FormatError(f"audit stream: {subject}: {'; '.join(faults)}")
        before = len(self._report.faults)
        self._check_source_tag(subject, manifest.source, tag)
        erased, leaf = self._erased.get(index, []), leaf_hash(self._raw[index])
        segment = SegmentAudit(self._data, at, manifest, tag, erased, subject, self._report)
        segment.check(leaf, self._progress)
        self._report.records += manifest.records
        self._report.erased += segment.erased
        if len(self._report.faults) == before:
            self._report.segments.append((index, leaf))
        return segment.end

    def _check_source_tag(self, subject: str, source: str, tag: bytes) -> None:
        """Check that a source has one tag, and that no other source has it: nobody else's records lie under it."""
        for other, known in self._tags.items():
            if (other == source) != (known == tag):
                detail = (
                    f"the tag of {source} is not the one before"
                    if other == source
                    else f"it has the tag of {other}"
                )
                self._report.add("segment.source_tag", subject, detail)
                return
        self._tags[source] = tag


def is_signed_by(key: VerifierKey, note: Note, point: Checkpoint) -> bool:
    """Say whether a log key signed a checkpoint's note: one line that claims to be its, and is right."""
    lines = note.signatures_of(key)
    if not lines:
        return False
    payload = lines[0].payload
    try:
        if key.type == ED25519:
            Ed25519PublicKey.from_public_bytes(key.public).verify(payload, note.text)
        else:
            time_s, signature = parse_timed_payload(payload, ML_DSA_SIGNATURE_BYTES)
            message = mldsa_message(key.name, point.origin, point.size, point.root, time_s)
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, FormatError, ValueError):
        return False
    return True


def is_cosigner(believed: Believed, key: VerifierKey) -> bool:
    """Say whether the trust file counts this key among its cosigners; without a trust file nobody knows."""
    return believed.policy is not None and key in believed.policy.cosigners


def check_verdict_place(out: Path) -> None:
    """Raise `PackageNameRefused` where no verdict can be put at `out`: better said before an hour's work."""
    refuse_taken(out)


def sign_verdict(report: AuditReport, key: AuditorKey, *, out: Path, time_s: int) -> None:
    """Write the verdict `scelle/audit/v1` on the segments of a report without faults, signed at `time_s` seconds.

    Raises `RequestWrong` where there is a fault: a verdict says that nothing was wrong; and `PackageNameRefused`.
    """
    if not report.is_valid:
        raise RequestWrong(
            f"{len(report.faults)} faults were found, or nothing was audited: nothing is signed"
        )
    refuse_taken(out)
    text = AuditVerdict(report.origin, tuple(report.segments)).text()
    durable.write_file(out, key.sign(text, time_s))
