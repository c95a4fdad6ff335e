"""Say what a verification found: findings, remarks, and how much was read (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

FINDINGS: Final = MappingProxyType({
    "vault.config": "vault.json, or recovery.age that it names, is not as the holder of the vault's key wrote it",
    "vault.stray": "a file or folder stands in the vault that no part of Scellé puts there",
    "file.missing": "a file of evidence is not there",
    "file.unreadable": "a file or folder is there and cannot be read: no right to, another kind of thing, a bad disk",
    "order.secrets": "an order's keys do not open, or are not those that its log began with",
    "log.gone": "a log that was there once, as the vault's own log or the signer's memory tells, is gone as a whole",
    "log.checkpoint": "the published checkpoint cannot be read, or is that of another log",
    "log.signature": "one of the two signatures that a checkpoint must have is missing or wrong",
    "log.behind": "the log is shorter than, or another than, what was shown to others or signed before",
    "log.root": "the entries of the log do not lead to the checkpoint's root",
    "log.entries": "a bundle of log entries is cut, or its length bytes are not as they were written",
    "log.entry": "one entry of the log is not the one that its leaf hash commits to",
    "log.format": "an entry is not written as the format wants it, or says what cannot be true",
    "log.chain": "an entry does not continue what stands before it: number, seq, prev, watermark, position",
    "log.consent": "the signature of an authority under an entry is missing or wrong",
    "log.tile": "a tile of tree hashes is not what the entries give",
    "log.lock": "the lock does not say what the published checkpoint says",
    "log.schema": "a schema that manifests name is missing, or another",
    "log.escrow": "a note of what was deposited, or stamped, speaks of another log",
    "log.token": "a time-stamp token is unreadable, or over another text",
    "log.anchor": "a manifest names a token that is not there, or is no longer as it was",
    "promise.broken": "a promise to seal records was not kept, or is not one of this log",
    "promise.unread": "the promises that were given under an order cannot be read",
    "segment.manifest": "a segment's manifest cannot be believed: its records were compared with themselves only",
    "segment.frame": "a sealed frame of rows or index entries is not as it was written",
    "segment.keys": "a frame key is not as it was written, or there are more or fewer keys than frames",
    "segment.disposal": "the disposal of a released order is unfinished: rows are left, or it has no certificate",
    "segment.row": "a row cannot be taken apart",
    "segment.records": "records are missing, doubled, or not those between the manifest's bounds of seq",
    "segment.record_root": "the records do not lead to the manifest's record root",
    "segment.index": "the sorted index is not what the records give",
    "segment.index_root": "the index entries do not lead to the manifest's index root",
    "segment.tree": "the kept leaf hashes are not what the records give",
    "segment.bounds": "the manifest's time bounds, or its count of undated records, are not those of its records",
    "segment.position": "what is kept of where a source's own log stood is not what the manifest commits to",
    "segment.head": "the head of a segment does not say what its manifest says",
    "record.readable": "a record has a tombstone, and its row can be read all the same",
    "record.erased": "a record was erased, and no tombstone in the log says so",
    "record.tombstone": "a tombstone names another commitment than the one under the manifest's record root",
    "segment.erased": "the file `erased` is not what the tombstones and the manifest's roots say",
    "record.value": "a value is not in its canonical form, or not of the type that the schema has for its field",
    "record.seq": "a record carries another sequence number than its place",
    "record.commitment": "a record is not the one that was committed to",
    "content.missing": "a record's content is in no pack, or what holds it is damaged",
    "content.size": "a record's content has another size than the record says",
    "content.chunks": "a record's content does not lead to the chunk root of the record",
    "pack.damaged": "a pack, or its keys, is not as it was written",
    "event.unasked": "an event loosens or destroys, and no request that two people signed stands behind it: it counts "
    "for nothing",
    "event.unread": "an event of the vault's own log cannot be read, or says what nobody could do: it counts for "
    "nothing",
    "catalog.stale": "the derived catalog does not say what the packs say; no evidence depends on it",
    "fault": "a check could not be made because of a fault of Scellé itself",
})  # fmt: skip
"""What each code of a finding means (docs/verify.md says what to do)."""

REMARKS: Final = MappingProxyType({
    "vault.writer": "another process writes to the vault: what it has not committed was not judged",
    "vault.leftover": "a write was interrupted and left a temporary file that nothing reads",
    "vault.recovery": "recovery.age is the file that vault.json names; only a drill shows that its holders can open it",
    "order.unfinished": "an order was begun and its first entry was never committed",
    "order.erasing": "an erasure was begun and is not done: contents of erased records may still be there",
    "event.unfinished": "an amendment was interrupted: clauses that it would change stay as they were",
    "log.staging": "entries were staged for a commit that did not happen; the next command drops them",
    "log.token": "the digest under a token was compared, not its signature: openssl ts -verify does that",
    "segment.disposed": "a segment's rows were destroyed under the order's release and the act of its disposal",
    "segment.open": "records are kept that no manifest commits to yet: the next command that writes seals them",
    "content.unsealed": "a record that is not sealed yet names content that is in no pack yet",
    "content.digest_only": "records whose content stayed where it was: only their digest is sealed",
    "content.restricted": "restricted records: their ciphertext was compared with what was sealed, and not opened",
    "content.unnamed": "contents that no record names: a pass was interrupted after they were kept",
    "pack.damaged": "a pack is damaged where nothing of the order that was asked for stands",
    "pack.destroyed": "keys of frames were destroyed; no record names what they held",
    "catalog.missing": "there is no catalog; scelle rebuild-catalog remakes it",
    "catalog.unread": "the catalog was not compared: it, or a part of the vault, was not read",
})  # fmt: skip
"""What each code of a remark means; remarks do not make a vault invalid."""

SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong (or, among the remarks, worth knowing): what kind, where, what exactly."""

    code: str
    subject: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Return the object of `verify --json`."""
        return {"code": self.code, "subject": self.subject, "detail": self.detail}


@dataclass(slots=True)
class Notebook:
    """Collect findings and remarks, every one of them, each once."""

    findings: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)

    def find(self, code: str, subject: str, detail: str) -> None:
        """Note something that is wrong."""
        self.findings.append(Finding(code, subject, detail))

    def remark(self, code: str, subject: str, detail: str) -> None:
        """Note something that is not wrong."""
        self.remarks.append(Finding(code, subject, detail))

    def add(self, other: "Notebook") -> None:
        """Take over what another notebook has."""
        self.findings += other.findings
        self.remarks += other.remarks


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification.

    Established where `valid` and not sampled: every record under every checkpoint is there and is the one
    that was committed to, with its content, and every byte of evidence is as it was written. Not
    established: that the log was not rewritten as a whole by who has its keys, as far as nobody else holds
    a checkpoint (ledger.md §13).
    """

    valid: bool
    findings: tuple[Finding, ...]
    remarks: tuple[Finding, ...]
    orders: int
    segments: int
    records: int
    contents: int
    bytes: int
    packs: int
    sampled: int | None
    records_of: int
    seconds: float

    @property
    def sampling(self) -> str | None:
        """Say, where only a sample was read, that it was one."""
        if self.sampled is None:
            return None
        return f"sampled {self.records} of {self.records_of} records: not a verification of the rest"

    def to_json(self) -> dict[str, Any]:
        """Return the document of `verify --json`."""
        return {
            "valid": self.valid,
            "findings": [finding.to_json() for finding in self.findings],
            "remarks": [remark.to_json() for remark in self.remarks],
            "orders": self.orders,
            "segments": self.segments,
            "records": self.records,
            "records_of": self.records_of,
            "contents": self.contents,
            "bytes": self.bytes,
            "packs": self.packs,
            "sampled": self.sampled,
            "sampling": self.sampling,
            "seconds": round(self.seconds, 3),
        }


def shown_name(name: str) -> str:
    """Give a native id as it may stand on a terminal: no character that could steer it, and not too long."""
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    return safe if len(safe) <= SHOWN_CHARACTERS else safe[:SHOWN_CHARACTERS] + ".."


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Join ascending numbers to half-open runs, so that 8,192 lost records are one finding."""
    start = previous = None
    for number in numbers:
        if previous is None or start is None:
            start = number
        elif number != previous + 1:
            yield start, previous + 1
            start = number
        previous = number
    if start is not None and previous is not None:
        yield start, previous + 1


def record_range(lo: int, hi: int) -> str:
    """Name the records [lo, hi) in words."""
    return f"record {lo}" if hi == lo + 1 else f"records {lo} to {hi - 1}"
