"""Describe a token that is still to be had: one small file for each, kept by the ledger.

Format `scelle/pending-token/v1`: RFC 8785 JSON with integers of 64 bits, ended by one LF.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.formats.checkpoints import parse_checkpoint_text
from scelle.formats.tokens import base64_text, is_code, parse_base64
from scelle.timestamps.interfaces import TimestampAuthority
from scelle.timestamps.tokens import check_over

FORMAT: Final = "scelle/pending-token/v1"
_KEYS: Final = {"format", "reason", "since", "text", "text-sha256"}
_DEPTH: Final = 1


@dataclass(frozen=True, slots=True)
class Pending:
    """Hold the text of a checkpoint that waits for a token.

    `reason` is a code that says why the token is wanted (`item-zero`, `production`, `daily`); `since_us` is
    when it was first wanted, in microseconds since 1970.
    """

    text: bytes
    reason: str
    since_us: int

    def __post_init__(self) -> None:
        parse_checkpoint_text(self.text)
        if not is_code(self.reason):
            raise FormatError("the reason of a pending token must be a code of a-z, 0-9 and -: correct it")

    @property
    def text_digest(self) -> bytes:
        """Give the SHA-256 of the text: what is sent."""
        return sha256(self.text).digest()

    @property
    def file_name(self) -> str:
        """Give a name that is the same for the same text, so that nothing is queued twice."""
        return f"{self.text_digest.hex()}.json"

    def encode(self) -> bytes:
        """Write the file."""
        fields = {
            "format": FORMAT,
            "reason": self.reason,
            "since": self.since_us,
            "text": self.text.decode("ascii"),
            "text-sha256": base64_text(self.text_digest),
        }
        return canonical_json_int(fields, _DEPTH) + b"\n"


def parse_pending(data: bytes) -> Pending:
    """Read the file; accepts exactly what `encode` writes. Raises FormatError."""
    if not data.endswith(b"\n"):
        raise FormatError("a pending token's file must end in a line feed: it is cut short")
    fields = parse_json_strict(data[:-1], _DEPTH)
    if not isinstance(fields, dict) or set(fields) != _KEYS or fields["format"] != FORMAT:
        raise FormatError(f"not a file of format {FORMAT}")
    if [type(fields[key]) for key in ("reason", "since", "text", "text-sha256")] != [str, int, str, str]:
        raise FormatError("a pending token's file has a value of another type")
    pending = Pending(_ascii(fields["text"]), fields["reason"], fields["since"])
    if parse_base64(fields["text-sha256"], 32) != pending.text_digest:
        raise FormatError("a pending token's digest is not that of its text")
    return pending


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise FormatError("a pending token's text is not ASCII") from None


def submit(pending: Pending, authority: TimestampAuthority) -> bytes:
    """Have the text stamped and return the answer as it was received.

    What comes back is checked once more to be over this text, whoever the authority is. Raises
    TimestampUnavailable, or one of its kinds; then the text stays queued.
    """
    raw = authority.request(pending.text_digest)
    check_over(raw, pending.text_digest)
    return raw
