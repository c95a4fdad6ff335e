"""An attacker's workshop: builds logs and packages from the specification alone, and breaks them on request.

Test code. It shares no line with the library or the verifier, holds every key of the log, and can change
an entry before it is hashed, a line before it is proven, a member before MANIFEST is signed, or the archive.
"""

import base64
import binascii
import functools
import hashlib
import hmac
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

UNDATED = -(2**63)
HOUR = 3_600_000_000
T0 = 1_768_000_000_000_000  # 9 January 2026, 23:06:40 UTC
HOST, ORDER = "platform.example", "o-1"
ORIGIN = f"{HOST}/po/{ORDER}"
TAG_KEY = hashlib.sha256(b"tag key").digest()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def leaf_hash(data: bytes) -> bytes:
    return sha(b"\0" + data)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, by its recursive definition (the verifier goes level by level)."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha(b"\1" + root_of(leaves[:k]) + root_of(leaves[k:]))


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) < 2:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return [*path_of(leaves[:k], index), root_of(leaves[k:])]
    return [*path_of(leaves[k:], index - k), root_of(leaves[:k])]


def range_proof(leaves: Sequence[bytes], lo: int, hi: int, base: int = 0) -> list[bytes]:
    end = base + len(leaves)
    if hi <= base or end <= lo:
        return [root_of(leaves)]
    if lo <= base and end <= hi:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return [*range_proof(leaves[:k], lo, hi, base), *range_proof(leaves[k:], lo, hi, base + k)]


def canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


# -- keys ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A key with a name; type 1 and 4 are Ed25519, type 6 is ML-DSA-44."""

    name: str
    kind: int
    seed: bytes

    @property
    def public(self) -> bytes:
        return public_of(self.kind, self.seed)

    @property
    def key_id(self) -> bytes:
        return sha(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.kind]) + self.public)}"

    def raw_sign(self, message: bytes) -> bytes:
        sign = signature_of if len(message) < 1 << 20 else signature_of.__wrapped__
        return sign(self.kind, self.seed, message)

    def line(self, text: bytes, time: int = T0 // 1_000_000) -> bytes:
        """The signature line of this key under a note; type 6 signs only checkpoints."""
        stamp = struct.pack(">Q", time)
        if self.kind == 1:
            payload = self.raw_sign(text)
        elif self.kind == 4:
            payload = stamp + self.raw_sign(b"cosignature/v1\ntime %d\n" % time + text)
        else:
            origin, size, root = text.decode().split("\n")[:3]
            message = b"subtree/v1\n\0" + bytes([len(self.name)]) + self.name.encode() + stamp
            message += bytes([len(origin)]) + origin.encode() + bytes(8) + struct.pack(">Q", int(size))
            payload = stamp + self.raw_sign(message + base64.b64decode(root))
        return f"— {self.name} {b64(self.key_id + payload)}\n".encode()


@functools.cache
def public_of(kind: int, seed: bytes) -> bytes:
    if kind == 6:
        return MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


@functools.cache  # ML-DSA signatures are hedged: without it, no two runs of a test would make the same package
def signature_of(kind: int, seed: bytes, message: bytes) -> bytes:
    if kind == 6:
        return MLDSA44PrivateKey.from_seed_bytes(seed).sign(message)
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def make_key(name: str, kind: int, label: str) -> Key:
    return Key(name, kind, sha(label.encode()))


LOG1 = make_key(ORIGIN, 1, "log ed25519")
LOG6 = make_key(ORIGIN, 6, "log ml-dsa")
NEXT1 = make_key(ORIGIN, 1, "next ed25519")
NEXT6 = make_key(ORIGIN, 6, "next ml-dsa")
THIRD1 = make_key(ORIGIN, 1, "third ed25519")
AUTHORITY = make_key("authority.example/seal", 4, "authority")
WITNESS = make_key("witness.example/w", 4, "witness")
AUDITOR = make_key("auditor.example/a", 1, "auditor")
STRANGER = make_key("stranger.example/x", 4, "stranger")


def note(text: bytes, keys: Iterable[Key], time: int = T0 // 1_000_000) -> bytes:
    return text + b"\n" + b"".join(key.line(text, time) for key in keys)


def checkpoint_text(size: int, root: bytes, origin: str = ORIGIN) -> bytes:
    return f"{origin}\n{size}\n{b64(root)}\n".encode()


# -- records -------------------------------------------------------------------------------------------


def value(letter: str, content: Any = None) -> bytes:
    """V(type, v) for text, integers, bytes and (digest, size)."""
    if letter in "it":
        body = struct.pack(">q", content)
    elif letter == "d":
        body = struct.pack(">d", content)
    elif letter == "b":
        body = bytes([content])
    elif letter == "h":
        body = content[0] + struct.pack(">q", content[1])
    elif letter == "n":
        body = b""
    else:
        body = content if isinstance(content, bytes) else str(content).encode()
    return letter.encode() + struct.pack(">I", len(body)) + body


def content_of(data: bytes) -> bytes:
    return value("h", (sha(data), len(data)))


@dataclass(frozen=True)
class Schema:
    name: str
    dimensions: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    @property
    def data(self) -> bytes:
        fields = [{"name": name, "type": kind} for name, kind in self.fields]
        return canonical(
            {
                "dimensions": list(self.dimensions),
                "fields": fields,
                "format": "scelle/schema/v1",
                "name": self.name,
                "version": 1,
            }
        )

    @property
    def digest(self) -> bytes:
        return sha(self.data)


CHAT = Schema(
    "chat",
    ("source", "account", "model"),
    (
        ("time", "t"),
        ("seq", "i"),
        ("account", "s"),
        ("model", "s"),
        ("text", "s"),
        ("picture", "h"),
        ("raw", "x"),
    ),
)
LOGIN = Schema(
    "login", ("source", "account"), (("time", "t"), ("seq", "i"), ("account", "s"), ("tries", "i"))
)
DOCUMENT = Schema(
    "scelle.document",
    ("source", "account", "native"),
    (
        ("time", "t"),
        ("seq", "i"),
        ("account", "s"),
        ("native_id", "s"),
        ("media_type", "s"),
        ("content", "h"),
        ("chunks", "h"),
        ("time_basis", "s"),
        ("meta", "j"),
    ),
)


@dataclass(frozen=True)
class Record:
    """A record with its key; `filed` overrides what the index claims (misfiled at sealing)."""

    key: bytes
    time: int
    seq: int
    values: tuple[bytes, ...]
    filed: dict[str, str] = field(default_factory=dict)

    @property
    def index_salt(self) -> bytes:
        return self.key[16:]

    def field_salt(self, j: int) -> bytes:
        return sha(b"S" + self.key[:16] + struct.pack(">H", j))[:16]

    def field_leaf(self, j: int) -> bytes:
        return leaf_hash(b"F" + self.field_salt(j) + self.values[j])

    def commitment(self, profile: int) -> bytes:
        count = struct.pack(">H", len(self.values))
        if profile == 0:
            return leaf_hash(b"R0" + self.key[:16] + count + b"".join(self.values))
        return leaf_hash(b"R1" + count + root_of([self.field_leaf(j) for j in range(len(self.values))]))

    def identifier(self, j: int) -> str:
        return self.values[j][5:].decode()


def record(label: str, time: int, seq: int, *rest: bytes, filed: dict[str, str] | None = None) -> Record:
    values = (value("t", time), value("i", seq), *rest)
    return Record(sha(f"rk {label} {seq}".encode()), time, seq, values, filed or {})


def tag_of(dimension: str, identifier: str, key: bytes = TAG_KEY) -> bytes:
    return hmac.new(key, dimension.encode() + b"\0" + identifier.encode(), "sha256").digest()[:16]


@dataclass
class Slot:
    """One entry of X: dimension ordinal, tag, and the record it speaks of."""

    ordinal: int
    tag: bytes
    record: Record
    rc: bytes

    @property
    def inner(self) -> bytes:
        return sha(
            b"I" + self.record.index_salt + struct.pack(">qq", self.record.time, self.record.seq) + self.rc
        )

    @property
    def u3(self) -> bytes:
        return sha(b"T" + self.tag[2:] + self.inner)

    @property
    def u2(self) -> bytes:
        return sha(b"T" + self.tag[1:2] + self.u3)

    @property
    def leaf(self) -> bytes:
        return leaf_hash(b"X" + bytes([self.ordinal]) + self.tag[:1] + self.u2)


@dataclass
class Segment:
    source: str
    schema: Schema
    profile: int
    records: list[Record]
    low: int
    at: int = -1
    leaf: bytes = b""
    edit_index: Callable[[list[Slot]], list[Slot]] | None = None

    def __post_init__(self) -> None:
        self.rcs = [record.commitment(self.profile) for record in self.records]
        slots = []
        for ordinal, dimension in enumerate(self.schema.dimensions, 1):
            for entry, rc in zip(self.records, self.rcs, strict=True):
                identifier = self.source if ordinal == 1 else entry.identifier(ordinal)
                identifier = entry.filed.get(dimension, identifier)
                slots.append(Slot(ordinal, tag_of(dimension, identifier), entry, rc))
        slots.sort(key=lambda s: (s.ordinal, s.tag, s.record.time, s.record.seq))
        self.slots = self.edit_index(slots) if self.edit_index else slots
        self.leaves = [slot.leaf for slot in self.slots]
        self.erased: set[int] = set()  # positions in X
        self.tombstones: dict[int, bytes] = {}  # position in R -> rc

    @property
    def count(self) -> int:
        return len(self.records)

    def places(self, position: int) -> list[int]:
        """The positions in X of one record."""
        return [i for i, slot in enumerate(self.slots) if slot.record is self.records[position]]

    def path(self, seq: int) -> list[str]:
        return [h.hex() for h in path_of(self.rcs, seq - self.low)]

    def opened(self, i: int) -> list[Any]:
        slot = self.slots[i]
        return [
            slot.record.index_salt.hex(),
            slot.record.time,
            slot.record.seq,
            slot.rc.hex(),
            self.path(slot.record.seq),
        ]

    def hit(self, i: int) -> Any:
        return self.leaves[i].hex() if i in self.erased else self.opened(i)

    def neighbour(self, i: int, tag: bytes) -> list[Any]:
        slot = self.slots[i]
        if slot.tag == tag:
            return [tag.hex(), self.opened(i)]
        if slot.tag[0] != tag[0]:
            return [slot.tag[:1].hex(), slot.u2.hex()]
        if slot.tag[1] != tag[1]:
            return [slot.tag[:2].hex(), slot.u3.hex()]
        return [slot.tag.hex(), slot.inner.hex()]

    def proof(self, lo: int, hi: int) -> list[str]:
        return [h.hex() for h in range_proof(self.leaves, lo, hi)]

    def line(self, name: str, first: int, last: int, tag: bytes, left: bool, right: bool) -> dict[str, Any]:
        """A proof line whose hits are [first, last), with the neighbours just outside where asked."""
        lo, hi = first - left, last + right
        return {
            "at": self.at,
            "hits": [self.hit(i) for i in range(first, last)],
            "left": self.neighbour(lo, tag) if left else None,
            "lo": lo,
            "proof": self.proof(lo, hi),
            "range": name,
            "right": self.neighbour(hi - 1, tag) if right else None,
        }

    def answer(self, name: str, ordinal: int, tag: bytes, window: tuple[int, int]) -> dict[str, Any]:
        """The honest line for one tag and one window of times [low, high)."""
        start, end = (ordinal - 1) * self.count, ordinal * self.count
        low, high = (tag, window[0]), (tag, window[1])
        first = next(
            (i for i in range(start, end) if (self.slots[i].tag, self.slots[i].record.time) >= low), end
        )
        last = next(
            (i for i in range(first, end) if (self.slots[i].tag, self.slots[i].record.time) >= high), end
        )
        while first > start and first - 1 in self.erased:
            first -= 1
        while last < end and last in self.erased:
            last += 1
        return self.line(name, first, last, tag, first > start, last < end)


# -- the log -------------------------------------------------------------------------------------------

Edit = Callable[[str], str]


class Log:
    """An order's log; `edits` change an entry by its label before it is hashed."""

    def __init__(
        self,
        edits: dict[str, Edit] | None = None,
        authority: Key | None = AUTHORITY,
        extra: dict[str, list[str]] | None = None,
    ) -> None:
        self.edits, self.authority, self.extra = edits or {}, authority, extra or {}
        self.entries: list[bytes] = []
        self.labels: dict[str, int] = {}
        self.segments: dict[str, Segment] = {}
        self.last: dict[
            str, tuple[Segment, int, int, str | None]
        ] = {}  # segment, number, watermark, position
        self.items: dict[bytes, bytes] = {}
        authority_text = authority.vkey if authority else "-"
        self.add(
            "genesis",
            f"scelle/genesis/v1\norder {ORDER}\nhost {HOST}\nauthority {authority_text}\n"
            f"tagkey-sha256 {b64(sha(TAG_KEY))}\nhash sha256\nprev-log -\n",
        )

    @property
    def genesis(self) -> bytes:
        return leaf_hash(self.entries[0])

    def add(self, label: str, text: str) -> int:
        if label in self.edits:
            text = self.edits[label](text)
        self.labels[label] = len(self.entries)
        self.entries.append(text.encode("utf-8", "surrogateescape"))
        for number, other in enumerate(self.extra.pop(label, [])):
            self.add(f"{label}+{number}", other.replace("{N}", str(len(self.entries))))
        return self.labels[label]

    def root(self, size: int | None = None) -> bytes:
        return root_of([leaf_hash(e) for e in self.entries[:size]])

    def checkpoint(
        self, size: int | None = None, keys: Sequence[Key] = (LOG1, LOG6), time: int = T0 // 10**6
    ) -> bytes:
        size = len(self.entries) if size is None else size
        return note(checkpoint_text(size, self.root(size)), keys, time)

    def segment(
        self,
        label: str,
        source: str,
        schema: Schema,
        records: Sequence[Record],
        profile: int = 1,
        position: str | None = None,
        until: int | None = None,
        bounds: tuple[int, int] | None = None,
        undated: int | None = None,
        edit_index: Callable[[list[Slot]], list[Slot]] | None = None,
    ) -> Segment:
        previous = self.last.get(source)
        low = previous[0].low + previous[0].count if previous else 0
        segment = Segment(source, schema, profile, list(records), low, edit_index=edit_index)
        start = previous[2] if previous else T0
        end = until if until is not None else start + 2 * HOUR
        dated = [r.time for r in records if r.time != UNDATED]
        if bounds is None and dated:
            bounds = min(dated) // HOUR * HOUR, -(-max(dated) // HOUR) * HOUR
            bounds = max(bounds[0], -(2**63) + 1), min(bounds[1], 2**63 - 1)
        count = segment.count
        token = (
            b64(sha(b"P" + bytes(16) + position.encode()))
            if position
            else (previous[3] if previous else None)
        )
        lines = [
            "scelle/segment/v1",
            f"order {ORDER}",
            f"source {source}",
            f"number {previous[1] + 1 if previous else 0}",
            f"records {count}",
            f"seq {low} {low + count}",
            "time - -" if bounds is None else f"time {bounds[0]} {bounds[1]}",
            f"undated {count - len(dated) if undated is None else undated}",
            f"watermark {start} {end}",
            f"profile {profile}",
            f"schema {b64(schema.digest)}",
            f"record-root {b64(root_of(segment.rcs))}",
            f"index-size {count * len(schema.dimensions)}",
            f"index-root {b64(root_of(segment.leaves))}",
            f"position {(previous[3] if previous else None) or '-'} {token or '-'}",
            "anchor -",
            f"prev {b64(previous[0].leaf) if previous else '-'}",
            "",
        ]
        segment.at = self.add(label, "\n".join(lines))
        segment.leaf = leaf_hash(self.entries[segment.at])
        self.segments[label] = segment
        self.last[source] = segment, previous[1] + 1 if previous else 0, end, token
        return segment

    def consent(self, unsigned: str, key: Key | None = None) -> str:
        key = key or self.authority
        assert key is not None
        message = f"scelle/consent/v1\n{ORIGIN}\n{b64(self.genesis)}\n{unsigned}".encode()
        return b64(key.key_id + key.raw_sign(message))

    def erase(
        self,
        label: str,
        segment: Segment,
        position: int,
        basis: str = "consent",
        document: str = "-",
        signed: bool = True,
        places: Sequence[int] | None = None,
        rc: bytes | None = None,
    ) -> None:
        places = segment.places(position) if places is None else places
        rc = segment.rcs[position] if rc is None else rc
        unsigned = (
            f"scelle/erase/v1\norder {ORDER}\nsegment {segment.at} {b64(segment.leaf)}\n"
            f"record {position} {b64(rc)}\nindex {' '.join(map(str, places))}\nground art-17\n"
            f"time {T0 + HOUR}\nbasis {basis}\ndocument {document}\n"
        )
        if label + ".unsigned" in self.edits:
            unsigned = self.edits[label + ".unsigned"](unsigned)
        sig = self.consent(unsigned) if signed and self.authority else "-"
        self.add(label, unsigned + f"authority-sig {sig}\n")
        segment.erased.update(places)
        segment.tombstones.setdefault(position, rc)

    def release(self, label: str, signed: bool = True, ground: str = "lifted") -> None:
        unsigned = f"scelle/release/v1\norder {ORDER}\nground {ground}\ntime {T0 + HOUR}\ndocument {b64(bytes(32))}\n"
        self.add(
            label,
            unsigned + f"authority-sig {self.consent(unsigned) if signed and self.authority else '-'}\n",
        )

    def keys(
        self,
        label: str,
        role: str,
        add: Key | None,
        retire: Key | None,
        start: int,
        signer: Key | None = None,
    ) -> None:
        unsigned = f"scelle/keys/v1\norder {ORDER}\nrole {role}\nadd {add.vkey if add else '-'}\n"
        unsigned += f"retire {retire.vkey if retire else '-'}\nfrom {start}\n"
        self.add(label, unsigned + f"authority-sig {self.consent(unsigned, signer) if signer else '-'}\n")

    def trust(self, **changes: Any) -> dict[str, Any]:
        base = {
            "authority": [self.authority.vkey] if self.authority else [],
            "cosigners": [],
            "format": "scelle/trust/v1",
            "genesis": b64(self.genesis),
            "held": None,
            "log": [LOG1.vkey, LOG6.vkey],
            "order": ORDER,
            "origin": ORIGIN,
            "quorum": 0,
            "tagkey": TAG_KEY.hex(),
            "verifier_sha256": "0" * 64,
        }
        return base | changes


# -- a package -----------------------------------------------------------------------------------------


def query_of(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "dimension": "source",
        "format": "scelle/query/v1",
        "from": None,
        "order": ORDER,
        "redact": {},
        "strength": "C",
        "until": None,
        "value": "s0001",
    }
    return base | changes


def bundles(entries: Sequence[bytes]) -> dict[str, bytes]:
    out = {}
    for number in range(0, len(entries), 256):
        part = entries[number : number + 256]
        name = f"{number // 256:03d}"
        name += "" if len(part) == 256 else f".p/{len(part)}"
        out["entries/" + name] = b"".join(struct.pack(">H", len(e)) + e for e in part)
    return out


class Draft:
    """A package before it is closed: change anything, then `close()` binds and signs it again."""

    def __init__(
        self,
        log: Log,
        query: dict[str, Any],
        withhold: dict[tuple[str, int], str] | None = None,
        size: int | None = None,
    ) -> None:
        self.log, self.query = log, query
        self.withhold_request = withhold or {}  # (segment label, position in R) -> code
        self.size = len(log.entries) if size is None else size
        self.trust = log.trust()
        self.checkpoint = log.checkpoint(self.size)
        self.manifest_keys: list[Key] = [LOG1]
        self.manifest_edit: Callable[[bytes], bytes] = lambda text: text
        self.items: dict[str, bytes] = {}
        self.numbers: dict[bytes, str] = {}
        self.proofs: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.withheld: list[dict[str, Any]] = []
        self.edit_lines: dict[str, Callable[[bytes], bytes]] = {}
        self.members: dict[str, bytes] = {"README.txt": b"Check it.\n", "scelle_verify.py": b"# stand-in\n"}
        self.removed: set[str] = set()
        self.raw_edit: Callable[[bytes], bytes] = lambda data: data
        self.answer()

    # the honest producer

    def matches(self, source: str) -> bool:
        if self.query["dimension"] != "source":
            return True
        head, _, number = source.partition("/")
        return source == self.query["value"] or (head == self.query["value"] and number != "")

    def answer(self) -> None:
        for label, segment in self.log.segments.items():
            if segment.count and segment.at < self.size and self.matches(segment.source):
                self.answer_segment(label, segment)

    def answer_segment(self, label: str, segment: Segment) -> None:
        query, dimension = self.query, self.query["dimension"]
        if dimension not in segment.schema.dimensions:
            return
        ordinal = segment.schema.dimensions.index(dimension) + 1
        tag = tag_of(dimension, segment.source if ordinal == 1 else query["value"])
        start, until = query["from"], query["until"]
        if query["strength"] == "A":
            self.proofs.append({"at": segment.at, "whole": True})
            for position in range(segment.count):
                if position not in segment.tombstones:
                    self.deliver(label, segment, segment.records[position], position, ordinal)
            return
        ranges = []
        dated = [r.time for r in segment.records if r.time != UNDATED]
        if start is None and until is None:
            ranges.append(("dated", (UNDATED, 2**63)))
        else:
            low, high = (min(dated) // HOUR * HOUR, -(-max(dated) // HOUR) * HOUR) if dated else (0, 0)
            if dated and (until is None or low < until) and (start is None or high >= start):
                ranges.append(
                    ("dated", (-(2**63) + 1 if start is None else start, 2**63 if until is None else until))
                )
            if len(dated) < segment.count:
                ranges.append(("undated", (UNDATED, UNDATED + 1)))
        done = set()
        for name, window in ranges:
            line = segment.answer(name, ordinal, tag, window)
            self.proofs.append(line)
            first = line["lo"] + (line["left"] is not None)
            done |= {first + i for i, hit in enumerate(line["hits"]) if not isinstance(hit, str)}
        for place in sorted(done):
            self.deliver(label, segment, segment.slots[place].record, place, ordinal)

    def deliver(self, label: str, segment: Segment, entry: Record, place: int, ordinal: int) -> None:
        code = self.withhold_request.get((label, entry.seq - segment.low))
        redact = {f: c for f, c in self.query["redact"].items() if f in [n for n, _ in segment.schema.fields]}
        whole = self.query["strength"] == "A"
        rc = entry.commitment(segment.profile).hex()
        extra = {"rc": rc} if whole else {}
        if redact and segment.profile == 0:
            code = next(iter(redact.values()))
        if code is not None:
            self.withheld.append({"at": segment.at, "code": code, "field": None, "pos": place} | extra)
            return
        line: dict[str, Any] = {"at": segment.at, "item": {}, "p": segment.profile, "pos": place}
        if segment.profile == 0:
            line["k"] = entry.key[:16].hex()
            line["v"] = b64(struct.pack(">H", len(entry.values)) + b"".join(entry.values))
        shown: list[Any] = []
        for j, (name, _) in enumerate(segment.schema.fields):
            closed = name in redact or (name == "raw" and bool(redact))
            if closed:
                reason = "raw" if name == "raw" and name not in redact else redact[name]
                self.withheld.append({"at": segment.at, "code": reason, "field": name, "pos": place} | extra)
            elif entry.values[j][:1] == b"h" and name != "chunks":
                line["item"][name] = self.item(entry.values[j][5:37])
            shown.append(
                entry.field_leaf(j).hex() if closed else [entry.field_salt(j).hex(), b64(entry.values[j])]
            )
        if segment.profile == 1:
            line["v"] = shown
        self.records.append(line)

    def item(self, digest: bytes) -> str:
        if digest not in self.numbers:
            name = f"items/T-{len(self.numbers) + 1:07d}.bin"
            self.numbers[digest] = name
            self.items[name] = self.log.items[digest]
        return self.numbers[digest]

    # closing

    def lines(self, name: str, values: list[dict[str, Any]]) -> bytes:
        data = b"".join(canonical(value) + b"\n" for value in values)
        edit = self.edit_lines.get(name)
        return data if edit is None else edit(data)

    def all_members(self) -> dict[str, bytes]:
        policy = {key: value for key, value in self.trust.items() if key not in ("tagkey", "held")}
        segments = [s for s in self.log.segments.values() if s.at < self.size and s.count]
        self.withheld.sort(key=lambda w: (w["at"], w["pos"], w["field"] is not None, w["field"] or ""))
        members = {
            "checkpoint": self.checkpoint,
            "policy.json": canonical(policy) + b"\n",
            "query.json": canonical(self.query) + b"\n",
            "proofs.jsonl": self.lines("proofs", self.proofs),
            "records.jsonl": self.lines("records", self.records),
            "withheld.jsonl": self.lines("withheld", self.withheld),
        }
        members |= bundles(self.log.entries[: self.size])
        members |= {f"schemas/{s.schema.digest.hex()}.json": s.schema.data for s in segments}
        members |= self.items | self.members
        return {name: data for name, data in members.items() if name not in self.removed}

    def close(self) -> bytes:
        members = self.all_members()
        head = f"scelle/package/v1\norigin {ORIGIN}\nsize {self.size}\n"
        listed = [f"file {sha(members[n]).hex()} {len(members[n])} {n}\n" for n in sorted(members)]
        text = self.manifest_edit((head + "".join(listed)).encode())
        manifest = note(text, self.manifest_keys)
        return self.raw_edit(zip_of([("MANIFEST", manifest), *((n, members[n]) for n in sorted(members))]))


def zip_of(members: Sequence[tuple[str, bytes]]) -> bytes:
    """The canonical zip, for archives that need no zip64."""
    out, directory = bytearray(), bytearray()
    for name, data in members:
        raw, crc = name.encode(), binascii.crc32(data)
        tail = struct.pack("<IIIHH", crc, len(data), len(data), len(raw), 0)
        directory += struct.pack("<IHHHHHH", 0x02014B50, 0x0314, 20, 0, 0, 0, 0x21) + tail
        directory += struct.pack("<HHHII", 0, 0, 0, 0x81A40000, len(out)) + raw
        out += struct.pack("<IHHHHH", 0x04034B50, 20, 0, 0, 0, 0x21) + tail + raw + data
    count = min(len(members), 65_535)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(out), 0)
    return bytes(out + directory + end)


# -- the default world ---------------------------------------------------------------------------------

DOCUMENT_BYTES = b"the order's document\n"
PICTURE = b"a small picture"


def chat(
    seq: int,
    time: int,
    account: str | None,
    text: str,
    model: str = "m-1",
    picture: bytes | None = None,
    filed: dict[str, str] | None = None,
) -> Record:
    identifier = value("n") if account is None else value("s", account)
    return record(
        "chat",
        time,
        seq,
        identifier,
        value("s", model),
        value("s", text),
        value("n") if picture is None else content_of(picture),
        value("x", b"\xe1raw " + text.encode()),
        filed=filed,
    )


def login(seq: int, time: int, account: str, tries: int, label: str = "login") -> Record:
    return record(label, time, seq, value("s", account), value("i", tries))


def document(seq: int, time: int, native: str, data: bytes) -> Record:
    chunks = value("h", (sha(b"chunks" + data), len(data)))
    meta = value("j", '{"mode":420,"name":{"b64":"4XRl"},"ratio":0.5}')
    return record(
        "document",
        time,
        seq,
        value("s", "custodian:a@example.org"),
        value("s", native),
        value("s", "text/plain"),
        content_of(data),
        chunks,
        value("s", "mtime"),
        meta,
    )


def chat_records() -> list[Record]:
    return [
        chat(0, T0 - 5 * HOUR, "account:1", "one"),
        chat(1, T0 - 4 * HOUR, "account:2", "two", picture=PICTURE),
        chat(2, UNDATED, "account:1", "three"),
        chat(3, T0 - 3 * HOUR - 7, "account:1", "four", model="m-2"),
        chat(4, T0 - 2 * HOUR, "account:3", "five"),
        chat(5, T0 - 1 * HOUR, "account:1", "six", picture=PICTURE),
        chat(6, T0 - 1 * HOUR, None, "seven"),
    ]


def world(
    edits: dict[str, Edit] | None = None,
    extra: dict[str, list[str]] | None = None,
    authority: Key | None = AUTHORITY,
    more: Callable[[Log], None] | None = None,
    **first: Any,
) -> Log:
    """A small honest log; `first` goes to the first chat segment, `more` adds entries at the end."""
    log = Log(edits, authority, extra)
    log.items = {sha(DOCUMENT_BYTES): DOCUMENT_BYTES, sha(PICTURE): PICTURE}
    log.segment("order", "scelle.order", DOCUMENT, [document(0, T0 - HOUR, "order.pdf", DOCUMENT_BYTES)])
    request = b64(sha(canonical(query_of()) + b"\n"))
    log.add("request", f"scelle/request/v1\norder {ORDER}\nrequest {request}\n")
    log.segment("chat0", "s0001", CHAT, first.pop("records", chat_records()), position="lsn 1", **first)
    log.segment("chat1", "s0001", CHAT, [])
    log.segment(
        "login0",
        "s0002",
        LOGIN,
        [login(i, T0 - i * HOUR, f"account:{i % 2}", i) for i in range(5)],
        profile=0,
    )
    log.add(
        "gap",
        f"scelle/gap/v1\norder {ORDER}\nsource s0001\ninterval {T0} -\ncause restart\n"
        "lost-at-most 3\ncloses -\n",
    )
    n = log.segments["chat0"].count
    log.segment(
        "chat2",
        "s0001",
        CHAT,
        [chat(n, T0 + 5, "account:1", "eight"), chat(n + 1, T0 + 6, "account:4", "nine")],
        position="lsn 2",
    )
    log.segment("family1", "s0004/1", LOGIN, [login(0, T0, "account:1", 1, "f1")])
    log.segment(
        "family2", "s0004/2", LOGIN, [login(0, T0, "account:2", 2, "f2"), login(1, T0, "account:1", 3, "f2")]
    )
    log.add(
        "count",
        f"scelle/count/v1\norder {ORDER}\nsource s0001\ninterval {T0} {T0 + HOUR}\noffered 9\nsealed 9\n"
        "failed 0\nexcluded 0\nlost 0\nsystem chat-db\n",
    )
    log.add("end", f"scelle/end/v1\norder {ORDER}\nsource s0004/1\nafter 0\n")
    if more is not None:
        more(log)
    return log
