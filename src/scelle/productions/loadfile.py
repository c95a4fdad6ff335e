"""Write the load file: RFC 4180, UTF-8, CR LF, every cell quoted, nothing in it that a program could run.

A convenience for review tools. It is bound by MANIFEST and not by proof; the exact bytes stand in
records.jsonl.
"""

import re
from typing import Final

from scelle.formats.tokens import UNDATED
from scelle.orders.days import utc_text

LOAD_FILE: Final = "loadfile/documents.csv"
REDACTED: Final = "(redacted)"
COLUMNS: Final = (
    "control_no",
    "native_path",
    "native_id",
    "account",
    "media_type",
    "time",
    "time_basis",
    "source",
    "source_name",
    "seq",
    "log_index",
    "position",
    "size_bytes",
    "sha256",
    "withheld",
)

_RISKY: Final = tuple("=+-@'")
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def header() -> bytes:
    """Write the first line."""
    return row(*COLUMNS)


def row(*cells: str) -> bytes:
    """Write one line of cells that are safe already."""
    return ('"' + '","'.join(cells) + '"\r\n').encode()


def safe_cell(text: str) -> str:
    """Return what may stand between quotes.

    Control characters and line ends become their Unicode pictures (a reader that splits lines first would cut
    the row), marks that turn the direction of writing become U+FFFD. A text that a spreadsheet takes for a
    formula gets an apostrophe before it; quotes are doubled.
    """
    if not text.isprintable():
        text = _UNPRINTABLE.sub(_picture, text)
    if text.startswith(_RISKY):
        text = f"'{text}"
    return text.replace('"', '""')


def time_cell(time_us: int) -> str:
    """Write microseconds since 1970 as `utc_text` does; nothing where there is no time."""
    return "" if time_us == UNDATED else safe_cell(utc_text(time_us))


def _picture(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point < 32:
        return chr(0x2400 + point)
    return "\u2421" if point == 0x7F else "\ufffd"
