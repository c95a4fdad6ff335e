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
_RANDOM_BYTES: Final = 32 + 16
"""Beside a row's values, what does not compress: its key and the keyed hashes."""
_LEAF_BYTES: Final = 32
_SORT_KEY_BYTES: Final = 32
_GIB: Final = 1 << 30


class GrowthSample:
    """Collect the first records of one shape and say what a record takes."""

    def __init__(self, schema: Schema) -> None:
        self._dimensions = len(schema.dimensions)
        self._rows = bytearray()
        self._count = 0

    def add(self, record: Record) -> None:
        """Take a record into the sample while it is not full."""
        if self._count < SAMPLE_RECORDS:
            self._count += 1
            self._rows += b"".join(record.values)

    def bytes_of(self, records: int) -> int:
        """Estimate what so many records take in the vault."""
        if not self._count:
            return 0
        packed = len(zstandard.ZstdCompressor(level=1).compress(bytes(self._rows))) / self._count
        index = self._dimensions * (_LEAF_BYTES + _SORT_KEY_BYTES)
        return int(records * (packed + _RANDOM_BYTES + _LEAF_BYTES + index))


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
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
