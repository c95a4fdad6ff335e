"""Destroy the rows of an order's committed segments, and say whether anything of them is left.

What stays is opaque: the hashes in `tree` and `nodes`, the manifests in the log. Keys go first, so that a crash leaves
rows that nothing opens.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from scelle.formats.entries import Release, Segment
from scelle.ledger.segments import folder_name
from scelle.ledger.service import OrderLedger
from scelle.vault import durable

DESTROYED_FILES: Final = ("keys", "rows", "index", "erased", "head")
"""In this order; `tree` and `nodes` hold nothing but hashes."""
ACTS: Final = "scelle."
"""Log sources of the order's own papers and acts begin so: they stay with the log."""


def is_released(ledger: OrderLedger) -> bool:
    """Tell whether the log says that the order was let go of: then its rows may be gone."""
    return any(isinstance(entry, Release) for entry in ledger.entries)


def is_destroyed(ledger: OrderLedger, manifest: Segment) -> bool:
    """Tell whether the rows of a segment were destroyed, or begun to be, under a release."""
    keys = segment_folder(ledger, manifest) / "keys"
    return not manifest.source.startswith(ACTS) and not keys.exists() and is_released(ledger)


def doomed_segments(ledger: OrderLedger) -> list[Segment]:
    """List the segments that hold what was captured: all but the order's papers and acts."""
    return [each for _, each in ledger.manifests() if each.records and not each.source.startswith(ACTS)]


def segment_folder(ledger: OrderLedger, manifest: Segment) -> Path:
    """Return where a committed segment lies."""
    return ledger.folder / "seg" / folder_name(manifest.source) / str(manifest.number)


def destroy_segments(ledger: OrderLedger, manifests: Iterable[Segment]) -> int:
    """Destroy the rows of these segments; return how many had some. Durable when it returns; idempotent."""
    destroyed = 0
    for manifest in manifests:
        folder = segment_folder(ledger, manifest)
        there = [folder / name for name in DESTROYED_FILES if (folder / name).exists()]
        for path in there:
            durable.remove(path)
        destroyed += bool(there)
    return destroyed


def left_of_segments(ledger: OrderLedger, manifests: Iterable[Segment]) -> list[Path]:
    """List the files that should be gone and are not."""
    return [
        path
        for manifest in manifests
        for name in DESTROYED_FILES
        if (path := segment_folder(ledger, manifest) / name).exists()
    ]
