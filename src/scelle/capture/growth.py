"""Estimate how much a vault would grow by what a preview covers, and what that costs.

For records the estimate is made of a sample: their values are compressed as frames of rows are, and what stands beside
them is counted from the formats (docs/formats). For documents only an upper bound is known before they are read:
their size, as if nothing could be compressed and nothing were there twice.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zstandard

from scelle.errors import InputError
from scelle.formats.schema import Schema
from scelle.ledger.segments import ROW_FRAME_ROWS
from scelle.sources.interfaces import Record

SAMPLE_RECORDS: Final = 2 * ROW_FRAME_ROWS
SAMPLE_MAX_BYTES: Final = 64 << 20
_RANDOM_BYTES: Final = 32 + 16
"""Beside a row's values, what does not compress: its key and the keyed hashes."""
_LEAF_BYTES: Final = 32
_SORT_KEY_BYTES: Final = 22
"""What zstd leaves of a sort key of 32 bytes: the tag, and a little of time and sequence number; measured."""
_SOURCE_KEY_BYTES: Final = 4
"""The same in dimension source, where every tag is one."""
_GIB: Final = 1 << 30


class GrowthSample:
    """Count the records of one shape, sample the first of them, and say what all take."""

    def __init__(self, schema: Schema) -> None:
        self._dimensions = len(schema.dimensions)
        self._rows = bytearray()
        self._sampled = 0
        self._records = 0
        self._contents_bytes = 0

    def add(self, record: Record) -> None:
        """Count a record, and take it into the sample while that is not full."""
        self._records += 1
        self._contents_bytes += sum(content.document.size_bytes for content in record.contents)
        if self._sampled < SAMPLE_RECORDS and len(self._rows) < SAMPLE_MAX_BYTES:
            self._sampled += 1
            self._rows += b"".join(record.values)

    @property
    def growth_bytes(self) -> int:
        """Estimate what all records take in the vault; contents count as if they could not be compressed."""
        if not self._sampled:
            return 0
        packed = len(zstandard.ZstdCompressor(level=1).compress(bytes(self._rows))) / self._sampled
        index = self._dimensions * (_LEAF_BYTES + _SORT_KEY_BYTES) - _SORT_KEY_BYTES + _SOURCE_KEY_BYTES
        return int(self._records * (packed + _RANDOM_BYTES + _LEAF_BYTES + index)) + self._contents_bytes


@dataclass(frozen=True, slots=True)
class Prices:
    """What storage costs: a price for a GiB kept for a month, in a currency, for so many months."""

    currency: str
    gib_month: float
    months: float

    def of(self, size_bytes: int) -> float:
        """Return the price of keeping so many bytes."""
        return size_bytes / _GIB * self.gib_month * self.months

    def to_json(self, size_bytes: int) -> dict[str, Any]:
        """Return the price as it is printed: two digits, and what it was made of."""
        return {
            "currency": self.currency,
            "gib_month": self.gib_month,
            "months": self.months,
            "amount": round(self.of(size_bytes), 2),
        }


def read_prices(path: Path) -> Prices:
    """Read `[prices]` with `currency`, `gib_month` and `months` from a TOML file; raise InputError."""
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise InputError(f"prices {path}: no regular file: name one")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"prices {path}: cannot be read ({error}): write TOML with [prices]") from error
    table = document.get("prices")
    if set(document) != {"prices"} or not isinstance(table, dict):
        raise InputError(f"prices {path}: write one table, [prices], with currency, gib_month and months")
    if set(table) != {"currency", "gib_month", "months"}:
        raise InputError(f"prices {path}: [prices] has exactly currency, gib_month and months")
    currency, numbers = table["currency"], [table["gib_month"], table["months"]]
    if not isinstance(currency, str) or not currency.isprintable():
        raise InputError(f'prices {path}: currency is text, as in "EUR"')
    if any(isinstance(each, bool) or not isinstance(each, int | float) or not each >= 0 for each in numbers):
        raise InputError(f"prices {path}: gib_month and months are numbers from 0")
    return Prices(currency, float(numbers[0]), float(numbers[1]))
