"""Hold what was read of one event before it becomes a record: its members under Scellé's names, and its bytes."""

from typing import Final, NamedTuple

from scelle.formats.canonical_json import canonical_json
from scelle.formats.tokens import shown
from scelle.sources.interfaces import BadRecord, native_text
from scelle.sources.json_values import SourceRow
from scelle.sources.unfit import Unfit

OWN: Final = "scelle"
OTLP: Final = "otlp"
CAP: Final = "cap-srp"


class FileName(NamedTuple):
    """Name a file in ids, in origins and to people."""

    native: bytes
    shown: str
    json: bytes


def file_name(native: bytes) -> FileName:
    """Prepare the names of a file."""
    text = native_text(native)
    return FileName(native, text, canonical_json(text))


class Spot(NamedTuple):
    """Say where an event stands: byte, line (0 in a document of many lines), number in its line (0: alone in it)."""

    file: FileName
    offset: int
    line: int
    number: int = 0

    @property
    def native(self) -> bytes:
        """Give the id of an event that has none of its own."""
        return b"%b#%d" % (self.file.native, self.offset)

    @property
    def origin(self) -> bytes:
        """Write the place as RFC 8785."""
        line = b',"line":%d' % self.line if self.line else b""
        number = b',"record":%d' % self.number if self.number else b""
        return b'{"byte":%d,"file":%b%b%b}' % (self.offset, self.file.json, line, number)

    @property
    def text(self) -> str:
        """Say the place to people."""
        line = f" line {self.line}" if self.line else ""
        number = f", record {self.number}" if self.number else ""
        return f"{self.file.shown}{line} (byte {self.offset}){number}"


class Entry(NamedTuple):
    """Carry one event: `row` has Scellé's names, `said` is the event as its format has it, `raw` its bytes.

    `time_us` is None where it is read from the row's `ts`. `is_outcome` and `is_attempt` say how it counts.
    `key` is the public key (base64) that a CAP-SRP export names.
    """

    row: SourceRow
    form: str
    raw: bytes
    spot: Spot
    time_us: int | None = None
    schema_url: str | None = None
    sampling: str = ""
    said: SourceRow | None = None
    key: str | None = None
    is_attempt: bool = False
    is_outcome: bool = False


def bad_entry(spot: Spot, fault: Unfit) -> BadRecord:
    """Name an event that cannot be read by the place where it stands."""
    detail = fault.detail
    if fault.cause == "duplicate-key":
        detail = "a key stands twice in one object: write it once"
    field = f"field {shown(fault.field)}: " if fault.field else ""
    return BadRecord(spot.text, fault.cause, field + detail)


def identifier(value: object) -> str | None:
    """Give the text of an identifier: numbers as the source prints them; None where it is no such value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) and value else None
