"""Destroy the rows of an order's committed segments, and say whether anything of them is left.

What stays is opaque: the hashes in `tree` and `nodes`, the manifests in the log. Keys go first, so that a crash leaves
rows that nothing opens.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from scelle.formats.entries import Release, Segment
from scelle.ledger.segments import folder_name
from scelle.ledger.service import OrderLedger
from scelle.vault import durable

KEPT_FILES: Final = ("tree", "nodes")
"""They hold nothing but hashes; every other file of a destroyed segment goes."""
ACTS: Final = "scelle."
"""Log sources of the order's own papers and acts begin so: they stay with the log."""
BEGUN, DISPOSED = "disposal.begun", "disposed"
"""The acts between which the rows of a released order go."""


def is_released(ledger: OrderLedger) -> bool:
    """Tell whether the log says that the order was let go of: then its rows may be gone."""
    return any(isinstance(entry, Release) for entry in ledger.entries)


def is_destroyed(ledger: OrderLedger, manifest: Segment) -> bool:
    """Tell whether the rows of a segment were destroyed, or begun to be, under a release."""
    keys = segment_folder(ledger, manifest) / "keys"
    return is_doomed(manifest) and not keys.exists() and is_released(ledger)


def is_doomed(manifest: Segment) -> bool:
    """Tell whether a segment holds what was captured: that goes with the order, its papers and acts stay."""
    return manifest.records > 0 and not manifest.source.startswith(ACTS)


def doomed_segments(ledger: OrderLedger) -> list[Segment]:
    """List the segments that hold what was captured: all but the order's papers and acts."""
    return [each for _, each in ledger.manifests() if is_doomed(each)]


def segment_folder(ledger: OrderLedger, manifest: Segment) -> Path:
    """Return where a committed segment lies."""
    return ledger.folder / "seg" / folder_name(manifest.source) / str(manifest.number)


def destroy_segments(ledger: OrderLedger, manifests: Iterable[Segment]) -> int:
    """Destroy the rows of these segments; return how many had some. Durable when it returns; idempotent."""
    destroyed = 0
    for manifest in manifests:
        there = sorted(left_in(segment_folder(ledger, manifest)), key=lambda path: path.name != "keys")
        for path in there:
            durable.remove(path)
        destroyed += bool(there)
    return destroyed


def left_of_segments(ledger: OrderLedger, manifests: Iterable[Segment]) -> list[Path]:
    """List the files that should be gone and are not."""
    return [path for manifest in manifests for path in left_in(segment_folder(ledger, manifest))]


def left_in(folder: Path) -> Iterator[Path]:
    """Yield what lies in the folder of a segment beside what stays of a destroyed one."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in KEPT_FILES:
            yield path
