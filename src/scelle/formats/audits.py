"""Write and read the text of an auditor's verdict on indexes and bounds (ledger.md §7, strength B)."""

from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import (
    DIGEST_BYTES,
    base64_text,
    checked_width,
    parse_base64,
    parse_decimal,
    parse_origin,
    shown,
)

FORMAT: Final = "scelle/audit/v1"


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """Name the segments whose claims an auditor recomputed: log index and leaf hash of each manifest."""

    origin: str
    segments: tuple[tuple[int, bytes], ...]

    def text(self) -> bytes:
        """Write the text of the note `audit/verdict`."""
        lines = [
            f"segment {index} {base64_text(checked_width(leaf, DIGEST_BYTES, 'leaf hash'))}\n"
            for index, leaf in self.segments
        ]
        text = "".join([f"{FORMAT}\norigin {self.origin}\n", *lines]).encode()
        parse_audit_verdict(text)
        return text


def parse_audit_verdict(text: bytes) -> AuditVerdict:
    """Read the text of an audit verdict: each segment once, by rising log index."""
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("audit verdict is not ASCII") from None
    if lines[0] != FORMAT or lines.pop() != "" or len(lines) < 3 or not lines[1].startswith("origin "):
        raise FormatError(f"audit verdict must be {FORMAT}, origin and segments, each line with its end")
    origin = lines[1].removeprefix("origin ")
    parse_origin(origin)
    segments = tuple(map(_parse_segment, lines[2:]))
    indexes = [index for index, _ in segments]
    if indexes != sorted(set(indexes)):
        raise FormatError("audit verdict: segments do not rise by log index")
    return AuditVerdict(origin, segments)


def _parse_segment(line: str) -> tuple[int, bytes]:
    words = line.split(" ")
    if len(words) != 3 or words[0] != "segment":
        raise FormatError(f"audit verdict: line {shown(line)} is not `segment <log index> <leaf hash>`")
    return parse_decimal(words[1]), parse_base64(words[2], DIGEST_BYTES)
