"""Write and read log entries: small ASCII manifests whose exact bytes are the log's leaves (ledger.md §4).

Each kind is one frozen record whose fields are the keys of the entry, in their order, with underscores.
Hashes are bytes, keys are VerifierKey, absent is None. Reading and writing check the grammar of every line;
`entry_faults` tells what one entry says that cannot be true whatever the rest of the log says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any, ClassVar, Final, TypeAlias

from scelle.errors import FormatError
from scelle.formats.notes import COSIGNATURE_V1, VerifierKey, parse_vkey
from scelle.formats.tiles import ENTRY_MAX_BYTES
from scelle.formats.tokens import (
    DIGEST_BYTES,
    INT64_MAX,
    TIME_MAX,
    TIME_MIN,
    base64_text,
    checked_width,
    is_alias,
    is_code,
    is_host,
    is_order_id,
    parse_base64,
    parse_decimal,
    parse_origin,
    parse_time,
    shown,
)

__all__ = [
    "AUTHORITY_SIG_BYTES", "ENTRY_MAX_BYTES", "KINDS", "RECORDS_MAX", "Count", "End", "Entry", "Erase", "Gap",
    "Genesis", "Keys", "Release", "Request", "Segment", "authority_sig", "consent_message", "entry_faults",
    "parse_entry", "round_time_bounds", "split_authority_sig",
]  # fmt: skip

RECORDS_MAX: Final = 2**20
AUTHORITY_SIG_BYTES: Final = 4 + 64
HOUR_US: Final = 3_600_000_000
_CONSENT: Final = "scelle/consent/v1"
_EMPTY_ROOT: Final = sha256(b"").digest()

Token: TypeAlias = tuple[Callable[[Any], str], Callable[[str], Any]]
"""How one token of a line is written and read."""


def _words(accepts: Callable[[str], bool], what: str) -> Token:
    def check(text: str) -> str:
        if not isinstance(text, str) or not accepts(text):
            raise FormatError(f"{shown(text)} is no {what} (ledger.md §4)")
        return text

    return check, check


def _write_digest(digest: bytes) -> str:
    return base64_text(checked_width(digest, DIGEST_BYTES, "hash"))


def _write_signature(signature: bytes) -> str:
    return base64_text(checked_width(signature, AUTHORITY_SIG_BYTES, "authority-sig"))


def _profile(text: str) -> str:
    if text not in ("0", "1"):
        raise FormatError(f"profile {shown(text)} is neither 0 nor 1")
    return text


def _ascii(text: str) -> str:
    if not text.isascii():
        raise FormatError(f"{shown(text)} is not ASCII: entries are")
    return text


def _write_number(number: int) -> str:
    return str(parse_decimal(str(number)))


def _write_time(time_us: int) -> str:
    return str(parse_time(str(time_us)))


_ORDER: Final = _words(is_order_id, "order id")
_ALIAS: Final = _words(is_alias, "log source")
_CODE: Final = _words(is_code, "code")
_HOST: Final = _words(is_host, "host")
_DIGEST: Final[Token] = (_write_digest, lambda text: parse_base64(text, DIGEST_BYTES))
_SIGNATURE: Final[Token] = (_write_signature, lambda text: parse_base64(text, AUTHORITY_SIG_BYTES))
_NUMBER: Final[Token] = (_write_number, parse_decimal)
_TIME: Final[Token] = (_write_time, parse_time)
_PROFILE: Final[Token] = (lambda profile: _profile(str(profile)), lambda text: int(_profile(text)))
_VKEY: Final[Token] = (lambda key: _ascii(parse_vkey(key.text()).text()), parse_vkey)


def _choice(*words: str) -> Token:
    return _words(lambda text: text in words, " or ".join(words))


def _optional(token: Token) -> Token:
    write, read = token
    return (
        lambda value: "-" if value is None else write(value),
        lambda text: None if text == "-" else read(text),
    )


def _tokens(*parts: Token) -> Token:
    """Make a line of several tokens, held as a tuple."""

    def write(values: tuple[Any, ...]) -> str:
        if len(values) != len(parts):
            raise FormatError(f"{shown(values)} must be {len(parts)} tokens")
        return " ".join(part[0](value) for part, value in zip(parts, values, strict=True))

    def read(text: str) -> tuple[Any, ...]:
        words = text.split(" ")
        if len(words) != len(parts):
            raise FormatError(f"{shown(text)} must be {len(parts)} tokens parted by one space")
        return tuple(part[1](word) for part, word in zip(parts, words, strict=True))

    return write, read


def _many(part: Token) -> Token:
    """Make a line of one token or more, held as a tuple."""

    def write(values: tuple[Any, ...]) -> str:
        if not values:
            raise FormatError("a line has no token: at least one must stand there")
        return " ".join(part[0](value) for value in values)

    return write, lambda text: tuple(part[1](word) for word in text.split(" "))


def _both_or_none(line: Token) -> Token:
    """Make a line of two tokens, held as a pair, or `- -`, held as None."""
    write, read = line
    return (
        lambda value: "- -" if value is None else write(value),
        lambda text: None if text == "- -" else read(text),
    )


def _read_prev_log(text: str) -> tuple[str, int, bytes]:
    origin, size, root = _tokens(_words(_is_origin, "origin"), _NUMBER, _DIGEST)[1](text)
    return origin, size, root


def _is_origin(text: str) -> bool:
    parse_origin(text)
    return True


@dataclass(frozen=True, slots=True)
class _Lines:
    """Give every kind of entry the same way to its bytes."""

    KIND: ClassVar[str]
    LINES: ClassVar[tuple[tuple[str, Token], ...]]

    def encode(self) -> bytes:
        """Write the exact bytes of the leaf; raises FormatError for a value that has no form here."""
        lines = [self.KIND]
        for (key, (write, _)), field in zip(self.LINES, fields(self), strict=True):
            lines.append(f"{key} {write(getattr(self, field.name))}")
        data = "\n".join([*lines, ""]).encode("ascii")
        if len(data) > ENTRY_MAX_BYTES:
            raise FormatError(f"entry of {len(data)} bytes, must be at most {ENTRY_MAX_BYTES}")
        return data


@dataclass(frozen=True, slots=True)
class Genesis(_Lines):
    """Open an order's log; entry 0, and the only one of its kind."""

    order: str
    host: str
    authority: VerifierKey | None
    tagkey_sha256: bytes
    hash: str = "sha256"
    prev_log: tuple[str, int, bytes] | None = None

    KIND = "scelle/genesis/v1"
    LINES = (
        ("order", _ORDER),
        ("host", _HOST),
        ("authority", _optional(_VKEY)),
        ("tagkey-sha256", _DIGEST),
        ("hash", _choice("sha256")),
        ("prev-log", _optional((_tokens(_words(_is_origin, "origin"), _NUMBER, _DIGEST)[0], _read_prev_log))),
    )


@dataclass(frozen=True, slots=True)
class Segment(_Lines):
    """Seal up to 2^20 records of one log source, or say that a pass found none."""

    order: str
    source: str
    number: int
    records: int
    seq: tuple[int, int]
    time: tuple[int, int] | None
    undated: int
    watermark: tuple[int, int]
    profile: int
    schema: bytes
    record_root: bytes
    index_size: int
    index_root: bytes
    position: tuple[bytes | None, bytes | None]
    anchor: bytes | None
    prev: bytes | None

    KIND = "scelle/segment/v1"
    LINES = (
        ("order", _ORDER),
        ("source", _ALIAS),
        ("number", _NUMBER),
        ("records", _NUMBER),
        ("seq", _tokens(_NUMBER, _NUMBER)),
        ("time", _both_or_none(_tokens(_TIME, _TIME))),
        ("undated", _NUMBER),
        ("watermark", _tokens(_TIME, _TIME)),
        ("profile", _PROFILE),
        ("schema", _DIGEST),
        ("record-root", _DIGEST),
        ("index-size", _NUMBER),
        ("index-root", _DIGEST),
        ("position", _tokens(_optional(_DIGEST), _optional(_DIGEST))),
        ("anchor", _optional(_DIGEST)),
        ("prev", _optional(_DIGEST)),
    )


@dataclass(frozen=True, slots=True)
class Gap(_Lines):
    """Declare an interval in which a source was not, or may not have been, captured."""

    order: str
    source: str
    interval: tuple[int, int | None]
    cause: str
    lost_at_most: int | None
    closes: int | None

    KIND = "scelle/gap/v1"
    LINES = (
        ("order", _ORDER),
        ("source", _ALIAS),
        ("interval", _tokens(_TIME, _optional(_TIME))),
        ("cause", _CODE),
        ("lost-at-most", _optional(_NUMBER)),
        ("closes", _optional(_NUMBER)),
    )


@dataclass(frozen=True, slots=True)
class Count(_Lines):
    """State what an independent count of a source gave for an interval."""

    order: str
    source: str
    interval: tuple[int, int]
    offered: int
    sealed: int
    failed: int
    excluded: int
    lost: int
    system: str

    KIND = "scelle/count/v1"
    LINES = (
        ("order", _ORDER),
        ("source", _ALIAS),
        ("interval", _tokens(_TIME, _TIME)),
        ("offered", _NUMBER),
        ("sealed", _NUMBER),
        ("failed", _NUMBER),
        ("excluded", _NUMBER),
        ("lost", _NUMBER),
        ("system", _CODE),
    )


@dataclass(frozen=True, slots=True)
class End(_Lines):
    """Say that a log source has no more segments or gaps."""

    order: str
    source: str
    after: int | None

    KIND = "scelle/end/v1"
    LINES = (("order", _ORDER), ("source", _ALIAS), ("after", _optional(_NUMBER)))


@dataclass(frozen=True, slots=True)
class Request(_Lines):
    """Remember the query that a production answers, by the SHA-256 of query.json."""

    order: str
    request: bytes

    KIND = "scelle/request/v1"
    LINES = (("order", _ORDER), ("request", _DIGEST))


@dataclass(frozen=True, slots=True)
class Erase(_Lines):
    """Be the tombstone of one record: name it, its positions, and on what ground it was destroyed."""

    order: str
    segment: tuple[int, bytes]
    record: tuple[int, bytes]
    index: tuple[int, ...]
    ground: str
    time: int
    basis: str
    document: bytes | None
    authority_sig: bytes | None

    KIND = "scelle/erase/v1"
    LINES = (
        ("order", _ORDER),
        ("segment", _tokens(_NUMBER, _DIGEST)),
        ("record", _tokens(_NUMBER, _DIGEST)),
        ("index", _many(_NUMBER)),
        ("ground", _CODE),
        ("time", _TIME),
        ("basis", _choice("consent", "letter", "order", "release")),
        ("document", _optional(_DIGEST)),
        ("authority-sig", _optional(_SIGNATURE)),
    )


@dataclass(frozen=True, slots=True)
class Release(_Lines):
    """Let go of the order, with the commitment of the sealed paper that says so."""

    order: str
    ground: str
    time: int
    document: bytes
    authority_sig: bytes | None

    KIND = "scelle/release/v1"
    LINES = (
        ("order", _ORDER),
        ("ground", _choice("lifted", "expired", "court")),
        ("time", _TIME),
        ("document", _DIGEST),
        ("authority-sig", _optional(_SIGNATURE)),
    )


@dataclass(frozen=True, slots=True)
class Keys(_Lines):
    """Rotate a key of the log or of the authority from a size on (`from` is a Python word: `from_size`)."""

    order: str
    role: str
    add: VerifierKey | None
    retire: VerifierKey | None
    from_size: int
    authority_sig: bytes | None

    KIND = "scelle/keys/v1"
    LINES = (
        ("order", _ORDER),
        ("role", _choice("log", "authority")),
        ("add", _optional(_VKEY)),
        ("retire", _optional(_VKEY)),
        ("from", _NUMBER),
        ("authority-sig", _optional(_SIGNATURE)),
    )


Entry: TypeAlias = Genesis | Segment | Gap | Count | End | Request | Erase | Release | Keys
KINDS: Final[dict[str, type[Entry]]] = {
    kind.KIND: kind for kind in (Genesis, Segment, Gap, Count, End, Request, Erase, Release, Keys)
}


def parse_entry(data: bytes) -> Entry:
    """Read one log entry; unknown kinds and keys, and every other spelling of a line, are refused."""
    if len(data) > ENTRY_MAX_BYTES:
        raise FormatError(f"entry of {len(data)} bytes, must be at most {ENTRY_MAX_BYTES}")
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("entry is not ASCII") from None
    kind = KINDS.get(lines[0])
    if kind is None:
        raise FormatError(f"entry kind {shown(lines[0])} is unknown")
    if lines.pop() != "" or len(lines) != len(kind.LINES) + 1:
        raise FormatError(f"{kind.KIND} must have {len(kind.LINES)} lines after its first, each with its end")
    return kind(*[_read_line(kind, *pair) for pair in zip(kind.LINES, lines[1:], strict=True)])


def _read_line(kind: type[Entry], line: tuple[str, Token], text: str) -> Any:
    key, (_, read) = line
    found, separator, value = text.partition(" ")
    if found != key or not separator:
        raise FormatError(f"{kind.KIND}: line {shown(text)} where `{key} <value>` must stand")
    try:
        return read(value)
    except FormatError as error:
        raise FormatError(f"{kind.KIND}, line {key}: {error}") from None


def consent_message(origin: str, genesis_leaf: bytes, entry: bytes) -> bytes:
    """Build the message that an authority signs to consent to an entry: all its lines but `authority-sig`."""
    checked_width(genesis_leaf, DIGEST_BYTES, "genesis leaf hash")
    lines = entry.split(b"\n")
    kept = [line for line in lines if not line.startswith(b"authority-sig ")]
    if len(kept) != len(lines) - 1:
        raise FormatError("entry has no authority-sig line: nobody consents to it")
    return f"{_CONSENT}\n{origin}\n{base64_text(genesis_leaf)}\n".encode() + b"\n".join(kept)


def authority_sig(key: VerifierKey, signature: bytes) -> bytes:
    """Join key id and Ed25519 signature to the 68 bytes of an `authority-sig` line."""
    if key.type != COSIGNATURE_V1:
        raise FormatError(f"authority key {shown(key.name)} is of type {key.type}, must be 4")
    return key.key_id.to_bytes(4, "big") + checked_width(signature, 64, "signature")


def split_authority_sig(data: bytes) -> tuple[int, bytes]:
    """Split the 68 bytes of an `authority-sig` line into key id and signature."""
    checked_width(data, AUTHORITY_SIG_BYTES, "authority-sig")
    return int.from_bytes(data[:4], "big"), data[4:]


def round_time_bounds(min_us: int, max_us: int) -> tuple[int, int]:
    """Round the bounds of dated records outward to whole hours, clamped to the range of times."""
    if not TIME_MIN <= min_us <= max_us <= INT64_MAX:
        raise FormatError(f"times {min_us} to {max_us} are no bounds of dated records")
    return max(min_us // HOUR_US * HOUR_US, TIME_MIN), min(-(-max_us // HOUR_US) * HOUR_US, TIME_MAX)


def entry_faults(entry: Entry) -> tuple[str, ...]:
    """List what `entry` says that cannot be true, whatever the rest of the log says; empty if nothing."""
    match entry:
        case Segment():
            return tuple(_segment_faults(entry))
        case Erase():
            return tuple(_erase_faults(entry))
        case Gap(interval=(start, int(end))) | Count(interval=(start, end)) if start >= end:
            return ("interval is empty",)
        case Count() if entry.offered != entry.sealed + entry.failed + entry.excluded + entry.lost:
            return ("offered is not sealed + failed + excluded + lost",)
        case Genesis(authority=VerifierKey(type=type_)) if type_ != COSIGNATURE_V1:
            return ("authority key is not of type 4",)
        case Keys():
            return tuple(_keys_faults(entry))
    return ()


def _segment_faults(entry: Segment) -> Iterator[str]:
    lo, hi = entry.seq
    if hi - lo != entry.records:
        yield "seq does not hold the number of records"
    if (entry.number == 0) != (entry.prev is None):
        yield "prev does not fit the number"
    if entry.number == 0 and (lo != 0 or entry.position[0] is not None):
        yield "seq does not start at 0, or position has a past, in the first segment"
    if entry.records > RECORDS_MAX:
        yield "more than 2^20 records"
    if entry.watermark[0] >= entry.watermark[1]:
        yield "watermark is empty"
    if entry.undated > entry.records:
        yield "more undated than records"
    if (entry.time is None) != (entry.undated == entry.records):
        yield "time bounds do not fit the number of dated records"
    if entry.time is not None and not _are_whole_hours(*entry.time):
        yield "time bounds are not whole hours"
    if entry.records == 0 and (entry.index_size or {entry.record_root, entry.index_root} != {_EMPTY_ROOT}):
        yield "no records, and yet roots or index-size"
    if entry.records and (
        entry.index_size % entry.records or not 2 <= entry.index_size // entry.records <= 32
    ):
        yield "index-size is not N x D"


def _are_whole_hours(low: int, high: int) -> bool:
    return low <= high and round_time_bounds(low, high) == (low, high)


def _erase_faults(entry: Erase) -> Iterator[str]:
    if list(entry.index) != sorted(set(entry.index)):
        yield "index positions do not ascend"
    if entry.basis == "consent" and entry.authority_sig is None:
        yield "basis is consent, and yet no authority-sig"
    if entry.basis != "consent" and entry.document is None:
        yield "basis is a paper, and yet no document"


def _keys_faults(entry: Keys) -> Iterator[str]:
    if entry.add is None or entry.retire is None or entry.add.type != entry.retire.type:
        yield "add and retire are not two keys of one type"
    if entry.role == "authority" and entry.authority_sig is None:
        yield "role authority without authority-sig"
