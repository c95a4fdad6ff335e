"""Remember which erasure is under way in an order, until the last of it is done (`po/<order>/erasing`).

Once a row is gone, nothing else tells which contents it named: they stand here, sealed, until they are destroyed.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.errors import LogDamaged, WrongKey
from scelle.vault import durable
from scelle.vault.keys import VaultKey

JOURNAL_NAME: Final = "erasing"


@dataclass(frozen=True, slots=True)
class ErasureJournal:
    """Name the records that are being erased, as positions in R by log index, and the contents that they named."""

    records: Mapping[int, frozenset[int]]
    contents: frozenset[bytes]

    def with_more(self, other: "ErasureJournal | None") -> "ErasureJournal":
        """Join what an earlier erasure left to do."""
        if other is None:
            return self
        none: frozenset[int] = frozenset()
        records = {
            at: self.records.get(at, none) | other.records.get(at, none)
            for at in {*self.records, *other.records}
        }
        return ErasureJournal(records, self.contents | other.contents)

    def is_begun(self, tombstoned: Mapping[int, Collection[int]]) -> bool:
        """Tell whether the log has a tombstone of any of these records."""
        return any(not positions.isdisjoint(tombstoned.get(at, ())) for at, positions in self.records.items())


def write_journal(order_folder: Path, origin: str, key: VaultKey, journal: ErasureJournal) -> None:
    """Write the journal, durable. A crash leaves the old one or the new one."""
    document = {
        "contents": sorted(each.hex() for each in journal.contents),
        "records": [[at, sorted(positions)] for at, positions in sorted(journal.records.items())],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    durable.write_file(order_folder / JOURNAL_NAME, key.seal(data, _context(origin)))


def read_journal(order_folder: Path, origin: str, key: VaultKey) -> ErasureJournal | None:
    """Read the journal, None where there is none; raise `LogDamaged` where it is not as it was written."""
    path = order_folder / JOURNAL_NAME
    try:
        document = json.loads(key.open(path.read_bytes(), _context(origin)))
    except FileNotFoundError:
        return None
    except WrongKey as error:
        raise LogDamaged(f"{path} is not as it was written: restore it from a copy of the vault") from error
    return ErasureJournal(
        {int(at): frozenset(map(int, positions)) for at, positions in document["records"]},
        frozenset(map(bytes.fromhex, document["contents"])),
    )


def remove_journal(order_folder: Path) -> None:
    """Say that nothing is left to do. A crash leaves the journal: doing it again changes nothing."""
    if (order_folder / JOURNAL_NAME).exists():
        durable.remove(order_folder / JOURNAL_NAME)


def _context(origin: str) -> bytes:
    return f"scelle/erasing/v1\n{origin}\n".encode()
