"""Write and read the lines of proofs.jsonl, records.jsonl and withheld.jsonl (ledger.md §7 and §11).

Writers check widths, since a wrong one would shift bytes between hash inputs; readers accept canonical lines
only.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, TypeAlias

from scelle.errors import FormatError
from scelle.formats.canonical_json import JsonObject, canonical_json_int, parse_json_strict
from scelle.formats.records import FIELDS_MAX, SALT_BYTES, commitment_of_leaves, field_leaf, record_commitment
from scelle.formats.tokens import (
    DIGEST_BYTES,
    INT64_MIN,
    base64_text,
    checked_width,
    is_code,
    parse_base64,
    parse_hex,
    shown,
)
from scelle.formats.trust import integer_of, list_of, text_of, with_keys
from scelle.formats.values import decode_value

LINE_MAX_BYTES: Final = 64 * 1024 * 1024
VALUE_MAX_BYTES: Final = 16 * 1024 * 1024
TAG_BYTES: Final = 16
PREFIX_BYTES: Final = (1, 2, 16)
_RANGE_KEYS: Final = ["at", "hits", "left", "lo", "proof", "range", "right"]
_RECORD_KEYS: Final = ["at", "item", "p", "pos", "v"]
_WHOLE_RECORD_KEYS: Final = ["at", "item", "k", "p", "pos", "v"]
_WITHHELD_KEYS: Final = ["at", "code", "field", "pos"]


@dataclass(frozen=True, slots=True)
class Hit:
    """Open an index entry: index salt, time, sequence number, commitment, and its path in R, leaf to root."""

    salt: bytes
    time: int
    seq: int
    rc: bytes
    path: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES or set(map(len, (self.rc, *self.path))) != {DIGEST_BYTES}:
            raise FormatError("width: a hit has a salt of 16 bytes, an rc and path hashes of 32")
        integer_of(self.time, INT64_MIN)
        integer_of(self.seq)

    def json(self) -> str:
        """Write the hit as it stands in a line."""
        path = '","'.join([digest.hex() for digest in self.path])
        quoted = f'"{path}"' if path else ""
        return f'["{self.salt.hex()}",{self.time},{self.seq},"{self.rc.hex()}",[{quoted}]]'


@dataclass(frozen=True, slots=True)
class FarNeighbour:
    """Show a neighbour of another tag: 1, 2 or all 16 tag bytes, and u2, u3 or inner below them."""

    tag: bytes
    below: bytes

    def __post_init__(self) -> None:
        if len(self.tag) not in PREFIX_BYTES:
            raise FormatError(f"tag prefix of {len(self.tag)} bytes, must be 1, 2 or 16 bytes")
        checked_width(self.below, DIGEST_BYTES, "hash of a neighbour")

    def json(self) -> str:
        """Write the neighbour as it stands in a line."""
        return f'["{self.tag.hex()}","{self.below.hex()}"]'


@dataclass(frozen=True, slots=True)
class NearNeighbour:
    """Show a neighbour of the same tag, opened like a hit."""

    tag: bytes
    hit: Hit

    def __post_init__(self) -> None:
        checked_width(self.tag, TAG_BYTES, "tag")

    def json(self) -> str:
        """Write the neighbour as it stands in a line."""
        return f'["{self.tag.hex()}",{self.hit.json()}]'


Neighbour: TypeAlias = FarNeighbour | NearNeighbour


@dataclass(frozen=True, slots=True)
class RangeLine:
    """Prove one range of a segment's index; `hits` has leaf hashes (bytes) for erased entries."""

    at: int
    lo: int
    hits: tuple[Hit | bytes, ...]
    left: Neighbour | None
    right: Neighbour | None
    proof: tuple[bytes, ...]
    range: str = "dated"

    def __post_init__(self) -> None:
        _check_places(self.at, self.lo)
        if self.range not in ("dated", "undated"):
            raise FormatError(f"range {shown(self.range)} is neither dated nor undated")
        for digest in (*self.proof, *[hit for hit in self.hits if isinstance(hit, bytes)]):
            checked_width(digest, DIGEST_BYTES, "hash")

    def encode(self) -> bytes:
        """Write the line, with its end."""
        hits = ",".join([f'"{hit.hex()}"' if isinstance(hit, bytes) else hit.json() for hit in self.hits])
        proof = ",".join([f'"{digest.hex()}"' for digest in self.proof])
        left = self.left.json() if self.left else "null"
        right = self.right.json() if self.right else "null"
        return _line(
            f'{{"at":{self.at},"hits":[{hits}],"left":{left},"lo":{self.lo},"proof":[{proof}],'
            f'"range":"{self.range}","right":{right}}}'.encode()
        )


@dataclass(frozen=True, slots=True)
class WholeLine:
    """Say that all records of a segment are answered, so that no index is relied on."""

    at: int

    def __post_init__(self) -> None:
        _check_places(self.at)

    def encode(self) -> bytes:
        """Write the line, with its end."""
        return f'{{"at":{self.at},"whole":true}}\n'.encode()


ProofLine: TypeAlias = RangeLine | WholeLine


@dataclass(frozen=True, slots=True)
class OpenField:
    """Show a field of a profile 1 record: its salt and its encoded value."""

    salt: bytes
    value: bytes

    def __post_init__(self) -> None:
        checked_width(self.salt, SALT_BYTES, "field salt")
        _check_value(self.value)


@dataclass(frozen=True, slots=True)
class FieldsRecord:
    """Open a record of profile 1 field by field; a redacted field is its leaf hash (bytes)."""

    at: int
    pos: int
    fields: tuple[OpenField | bytes, ...]
    item: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_places(self.at, self.pos)
        if not 1 <= len(self.fields) <= FIELDS_MAX:
            raise FormatError(f"record of {len(self.fields)} fields, must have 1 to {FIELDS_MAX}")
        for leaf in self.fields:
            if isinstance(leaf, bytes):
                checked_width(leaf, DIGEST_BYTES, "field leaf hash")

    def rc(self) -> bytes:
        """Compute the commitment that the shown and the redacted fields lead to."""
        return commitment_of_leaves([
            part if isinstance(part, bytes) else field_leaf(part.salt, part.value) for part in self.fields
        ])  # fmt: skip

    def encode(self) -> bytes:
        """Write the line, with its end."""
        return _line(canonical_json_int(record_document(self)))


@dataclass(frozen=True, slots=True)
class WholeRecord:
    """Open a record of profile 0: its salt and all encoded values."""

    at: int
    pos: int
    salt: bytes
    values: tuple[bytes, ...]
    item: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_places(self.at, self.pos)
        checked_width(self.salt, SALT_BYTES, "record salt")
        if not 1 <= len(self.values) <= FIELDS_MAX:
            raise FormatError(f"record of {len(self.values)} values, must have 1 to {FIELDS_MAX}")
        for value in self.values:
            _check_value(value)

    def rc(self) -> bytes:
        """Compute the commitment that salt and values lead to."""
        return record_commitment(0, self.salt, self.values)

    def encode(self) -> bytes:
        """Write the line, with its end."""
        return _line(canonical_json_int(record_document(self)))


RecordLine: TypeAlias = FieldsRecord | WholeRecord


@dataclass(frozen=True, slots=True)
class WithheldLine:
    """Declare a record withheld (`field` None), or one field of it redacted or its content left out."""

    at: int
    pos: int
    code: str
    field: str | None = None
    rc: bytes | None = None

    def __post_init__(self) -> None:
        _check_places(self.at, self.pos)
        if not is_code(self.code) or self.field == "":
            raise FormatError(f"withheld: {shown(self.code)} is no code, or the field has no name")
        if self.rc is not None:
            checked_width(self.rc, DIGEST_BYTES, "rc")

    def encode(self) -> bytes:
        """Write the line, with its end; `rc` stands in it where the segment is answered whole."""
        document: JsonObject = {"at": self.at, "code": self.code, "field": self.field, "pos": self.pos}
        if self.rc is not None:
            document["rc"] = self.rc.hex()
        return _line(canonical_json_int(document))


def parse_proof_line(line: bytes) -> ProofLine:
    """Read one line of proofs.jsonl, with its end."""
    document = _read_line(line)
    if "whole" in document:
        whole = with_keys(document, ["at", "whole"])
        if whole["whole"] is not True:
            raise FormatError("whole must be true")
        return WholeLine(integer_of(whole["at"]))
    with_keys(document, _RANGE_KEYS)
    return RangeLine(
        at=integer_of(document["at"]),
        lo=integer_of(document["lo"]),
        hits=list_of(document["hits"], _parse_hit_or_erased),
        left=_parse_neighbour(document["left"]),
        right=_parse_neighbour(document["right"]),
        proof=list_of(document["proof"], _parse_digest),
        range=text_of(document["range"]),
    )


def parse_record_line(line: bytes) -> RecordLine:
    """Read one line of records.jsonl, with its end; values are checked to be canonical."""
    return parse_record_document(_read_line(line))


def parse_record_document(document: Any) -> RecordLine:
    """Read the JSON object of one produced record."""
    profile = document.get("p") if isinstance(document, dict) else None
    if profile == 0 and profile is not False:
        return _parse_whole_record(with_keys(document, _WHOLE_RECORD_KEYS))
    with_keys(document, _RECORD_KEYS)
    if type(profile) is not int or profile != 1:
        raise FormatError(f"profile {shown(profile)} is neither 0 nor 1")
    return FieldsRecord(
        at=integer_of(document["at"]),
        pos=integer_of(document["pos"]),
        fields=list_of(document["v"], _parse_field),
        item=_parse_item(document["item"]),
    )


def parse_withheld_line(line: bytes) -> WithheldLine:
    """Read one line of withheld.jsonl, with its end."""
    document = _read_line(line)
    with_keys(document, [*_WITHHELD_KEYS, "rc"] if "rc" in document else _WITHHELD_KEYS)
    return WithheldLine(
        at=integer_of(document["at"]),
        pos=integer_of(document["pos"]),
        code=text_of(document["code"]),
        field=None if document["field"] is None else text_of(document["field"]),
        rc=_parse_digest(document["rc"]) if "rc" in document else None,
    )


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Walk the lines of a jsonl member, each with its end; a line over 64 MiB or without end is refused."""
    while line := file.readline(LINE_MAX_BYTES + 1):
        yield _checked_line(line)


def record_document(record: RecordLine) -> JsonObject:
    """Give the JSON object of one produced record."""
    document: JsonObject = {"at": record.at, "item": dict(record.item), "pos": record.pos}
    if isinstance(record, WholeRecord):
        joined = len(record.values).to_bytes(2, "big") + b"".join(record.values)
        return document | {"k": record.salt.hex(), "p": 0, "v": base64_text(joined)}
    return document | {"p": 1, "v": [_field_document(part) for part in record.fields]}


def _field_document(part: OpenField | bytes) -> str | list[str]:
    return part.hex() if isinstance(part, bytes) else [part.salt.hex(), b64encode(part.value).decode()]


def _line(data: bytes) -> bytes:
    return _checked_line(data + b"\n")


def _checked_line(line: bytes) -> bytes:
    if len(line) > LINE_MAX_BYTES or line[-1:] != b"\n":
        raise FormatError(f"line {shown(line[:40])} is over 64 MiB, or has no line end")
    return line


def _read_line(line: bytes) -> JsonObject:
    document = parse_json_strict(_checked_line(line)[:-1])
    if not isinstance(document, dict):
        raise FormatError(f"line {shown(line[:40])} is no JSON object")
    return document


def _check_places(*places: int) -> None:
    for place in places:
        integer_of(place)


def _check_value(value: bytes) -> None:
    if len(value) > VALUE_MAX_BYTES + 5:
        raise FormatError(f"value of {len(value)} bytes is over 16 MiB: it must be content (h)")
    if decode_value(value)[2] != len(value):
        raise FormatError("value not canonical: bytes follow it")


def _parse_digest(value: Any) -> bytes:
    return parse_hex(text_of(value), DIGEST_BYTES)


def _parse_hit_or_erased(value: Any) -> Hit | bytes:
    return _parse_digest(value) if isinstance(value, str) else _parse_hit(value)


def _parse_hit(value: Any) -> Hit:
    salt, time, seq, rc, path = _of_length(value, 5)
    return Hit(
        salt=parse_hex(text_of(salt), SALT_BYTES),
        time=integer_of(time, INT64_MIN),
        seq=integer_of(seq),
        rc=_parse_digest(rc),
        path=list_of(path, _parse_digest),
    )


def _parse_neighbour(value: Any) -> Neighbour | None:
    if value is None:
        return None
    tag, below = _of_length(value, 2)
    if isinstance(below, str):
        return FarNeighbour(parse_hex(text_of(tag)), _parse_digest(below))
    return NearNeighbour(parse_hex(text_of(tag), TAG_BYTES), _parse_hit(below))


def _of_length(value: Any, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise FormatError(f"{shown(value)} stands where a list of {length} must")
    return value


def _parse_item(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(path, str) for path in value.values()):
        raise FormatError("item must map fields to member paths")
    return value


def _parse_field(value: Any) -> OpenField | bytes:
    if isinstance(value, str):
        return _parse_digest(value)
    salt, encoded = _of_length(value, 2)
    return OpenField(parse_hex(text_of(salt), SALT_BYTES), parse_base64(text_of(encoded)))


def _parse_whole_record(document: JsonObject) -> WholeRecord:
    joined = parse_base64(text_of(document["v"]))
    values, offset = [], 2
    while offset < len(joined):
        end = decode_value(joined, offset)[2]
        values.append(joined[offset:end])
        offset = end
    if joined[:2] != len(values).to_bytes(2, "big"):
        raise FormatError("record: the number of values is not the one stated")
    return WholeRecord(
        at=integer_of(document["at"]),
        pos=integer_of(document["pos"]),
        salt=parse_hex(text_of(document["k"]), SALT_BYTES),
        values=tuple(values),
        item=_parse_item(document["item"]),
    )
