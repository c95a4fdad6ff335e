"""Write and read the opening of one record alone, inside a C2SP tlog-proof of its manifest (ledger.md §11).

It proves that the record is in this order's log; it proves nothing about a query, tombstones or later
rotation.
"""

from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json_int
from scelle.formats.lines import RecordLine, parse_record_document, record_document
from scelle.formats.tokens import (
    DIGEST_BYTES,
    base64_text,
    checked_width,
    parse_base64,
    parse_decimal,
    parse_hex,
    shown,
)
from scelle.formats.trust import integer_of, list_of, read_document, text_of

OPENING_FORMAT: Final = "scelle/opening/v1"
TLOG_PROOF_FORMAT: Final = "c2sp.org/tlog-proof@v1"
_OPENING_KEYS: Final = ["entry", "format", "index", "of", "proof", "record", "schema"]


@dataclass(frozen=True, slots=True)
class Opening:
    """Hold a manifest, the record at position `index` of its `of` records, its path in R, its schema."""

    entry: bytes
    index: int
    of: int
    proof: tuple[bytes, ...]
    record: RecordLine
    schema: bytes

    def encode(self) -> bytes:
        """Write the JSON document, without a line end: it is carried as base64."""
        proof = [checked_width(digest, DIGEST_BYTES, "proof hash").hex() for digest in self.proof]
        document = {
            "entry": base64_text(self.entry),
            "format": OPENING_FORMAT,
            "index": integer_of(self.index),
            "of": integer_of(self.of),
            "proof": proof,
            "record": record_document(self.record),
            "schema": base64_text(self.schema),
        }
        return canonical_json_int(document)


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Hold a C2SP tlog-proof: an entry's index and path, the checkpoint's note, and extra bytes or None."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Write the proof's text."""
        lines = [TLOG_PROOF_FORMAT]
        if self.extra is not None:
            lines.append(f"extra {base64_text(self.extra)}")
        lines.append(f"index {integer_of(self.index)}")
        lines += [base64_text(checked_width(digest, DIGEST_BYTES, "path hash")) for digest in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint


def parse_opening(data: bytes) -> Opening:
    """Read the JSON document of an opening strictly; nothing in it is checked against another part."""
    document = read_document(data + b"\n", _OPENING_KEYS, OPENING_FORMAT)
    return Opening(
        entry=parse_base64(text_of(document["entry"])),
        index=integer_of(document["index"]),
        of=integer_of(document["of"]),
        proof=list_of(document["proof"], lambda digest: parse_hex(text_of(digest), DIGEST_BYTES)),
        record=parse_record_document(document["record"]),
        schema=parse_base64(text_of(document["schema"])),
    )


def parse_tlog_proof(data: bytes) -> TlogProof:
    """Read a C2SP tlog-proof strictly; the checkpoint is given as it stands, unchecked."""
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("tlog-proof is not ASCII before its checkpoint") from None
    if lines[0] != TLOG_PROOF_FORMAT or not separator:
        raise FormatError(f"tlog-proof must start with {TLOG_PROOF_FORMAT} and carry a checkpoint")
    rest = lines[1:]
    extra = (
        parse_base64(rest.pop(0).removeprefix("extra ")) if rest and rest[0].startswith("extra ") else None
    )
    if not rest or not rest[0].startswith("index "):
        raise FormatError(f"tlog-proof: line {shown(rest[:1])} where `index <n>` must stand")
    index = parse_decimal(rest[0].removeprefix("index "))
    path = tuple(parse_base64(line, DIGEST_BYTES) for line in rest[1:])
    return TlogProof(index, path, checkpoint, extra)
