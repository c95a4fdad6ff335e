"""Read back what a disposal destroyed, in every place of the vault where something of it could be left."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from scelle.capture.store import remembers_order
from scelle.ledger.destroying import ACTS, doomed_segments, left_of_segments
from scelle.ledger.segments import folder_name
from scelle.ledger.service import OrderLedger
from scelle.release.certificate import Check
from scelle.vault.catalog import Catalog, holds_forgotten
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.destroying import read_back
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.repair import PACKS_PREFIX

_TEMPORARY: Final = (".tmp", ".new", ".unfinished", ".open")


def contents_checks(
    packs: PackStore, catalog: Catalog, key: VaultKey, doomed: Collection[bytes], looked: int
) -> list[Check]:
    """Look for destroyed contents in all packs, by their own tables and keys, and in the catalog.

    `looked` is what the order named, as if it were alone: what another order needs is not looked for.
    """
    there = read_back(packs, doomed) if doomed else None
    index = CatalogContentIndex(catalog, key)
    listed = sum(index.find(digest) is not None for digest in doomed)
    unclear = 0 if there is None else there.unclear
    return [
        Check("contents", looked, 0 if there is None else there.found),
        Check("frames", unclear, unclear),
        Check("catalog entries", looked, listed),
    ]


def remaining_checks(ledger: OrderLedger, vault: Path, catalog: Catalog, key: VaultKey) -> list[Check]:
    """Look for what is left of the rows of a disposed order: files, what the catalog remembers, interrupted writes."""
    segments = doomed_segments(ledger)
    names = {each.source for each in segments}
    remembered = remembers_order(catalog, key, ledger.order)
    temporary = list(_temporary_files(ledger, vault))
    return [
        Check("files of segments", len(segments), len(left_of_segments(ledger, segments))),
        Check("catalog sources", len(names), remembered),
        Check("catalog files", 2, len(holds_forgotten(catalog))),
        Check("temporary files", len(temporary), len(temporary)),
    ]


def _temporary_files(ledger: OrderLedger, vault: Path) -> Iterator[Path]:
    """Yield what an interrupted write left among the packs and the order's captured segments."""
    acts = {folder for folder in _folders(ledger) if folder.startswith(folder_name(ACTS))}
    places = [vault / PACKS_PREFIX, *(ledger.folder / "seg" / each for each in _folders(ledger) - acts)]
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.name.endswith(_TEMPORARY):
                yield path


def _folders(ledger: OrderLedger) -> set[str]:
    folder = ledger.folder / "seg"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
