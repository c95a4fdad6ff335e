"""Keep contents in packs: put, read, sync, scan. The one place through which other rooms touch contents.

Content is known by its SHA-256 and stored once, whoever asks. That another order, source or item stored the same
bytes before must not show: `put` tells its caller whether the content was new for the vault only so that bytes on
disk can be counted for the operator; nothing an order, an authority or a custodian sees may be made of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from threading import local
from types import TracebackType
from typing import Final, Self

from scelle.errors import ContentMissing, StorageError, StorageStopped
from scelle.vault.frames import OBJECT_MAX_BYTES, FrameCoder, PackIdentity, SealedFrame
from scelle.vault.interfaces import Backend, ContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.probe import CompressionProbe
from scelle.vault.retrieval import PackReader
from scelle.vault.repair import RepairReport, index_pack, repair_after_crash
from scelle.vault.scanning import OnObject, PackFault, ScannedObject, scan_pack
from scelle.vault.writing import PACK_CLOSE_BYTES, LargePack, OpenPack, split_start

SMALL_OBJECT_BYTES: Final = 128 << 10
GROUP_BYTES: Final = 256 << 10
FRAMES_IN_FLIGHT: Final = 2


@dataclass(slots=True)
class _Group:
    """Collect the objects of the next frame."""

    compress: bool
    table: list[tuple[bytes, int]] = field(default_factory=list)
    objects: list[bytes] = field(default_factory=list)
    size: int = 0
