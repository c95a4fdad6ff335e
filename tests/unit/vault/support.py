"""Build small vaults in memory, and contents to put into them."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from scelle.vault.frames import pack_identity
from scelle.vault.interfaces import Backend, ContentIndex
from scelle.vault.keys import VaultKey
from scelle.vault.memory import MemoryBackend, MemoryContentIndex
from scelle.vault.packs import PackStore
from scelle.vault.scanning import PackFault, ScannedObject, scan_pack

KEY = VaultKey(bytes(range(32)))
OTHER_KEY = VaultKey(bytes(range(1, 33)))
WORDS = "the red boat left harbour early and nobody had seen it come back that long winter".split()  # noqa: SIM905


def text(size: int, seed: int = 0) -> bytes:
    generator = random.Random(seed)
    data = " ".join(generator.choices(WORDS, k=size // 3 + 2)).encode()
    return data[:size]


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def open_store(
    backend: Backend, index: ContentIndex, *, background: bool = False, key: VaultKey = KEY
) -> PackStore:
    store = PackStore(backend, key, index, background=background)
    store.recover()
    return store


def scan_all(backend: Backend, key: VaultKey = KEY) -> tuple[list[ScannedObject], list[PackFault]]:
    results = [
        result
        for pack_id in PackStore(backend, key, MemoryContentIndex(), background=False).pack_ids()
        for result in scan_pack(backend, key, pack_id)
    ]
    objects = [result for result in results if isinstance(result, ScannedObject)]
    return objects, [result for result in results if isinstance(result, PackFault)]


def digests_of(objects: list[ScannedObject]) -> set[bytes]:
    return {found.digest for found in objects}


@dataclass
class Rig:
    """A vault in memory whose bytes tests may alter."""

    backend: MemoryBackend = field(default_factory=MemoryBackend)
    index: MemoryContentIndex = field(default_factory=MemoryContentIndex)

    def store(self, *, background: bool = False) -> PackStore:
        return open_store(self.backend, self.index, background=background)

    def filled(self, *contents: bytes) -> "Rig":
        with self.store() as store:
            for content in contents:
                store.put(content, sha256(content))
        return self

    def copy(self) -> "Rig":
        rig = Rig()
        rig.backend.sealed_blobs.update(self.backend.sealed_blobs)
        rig.backend.unfinished_blobs.update(
            {name: bytearray(data) for name, data in self.backend.unfinished_blobs.items()}
        )
        return rig

    @property
    def pack(self) -> str:
        (name,) = [name for name in self._names() if name.endswith(".pack")]
        return name

    @property
    def keys(self) -> str:
        return self.pack.removesuffix(".pack") + ".keys"

    @property
    def pack_id(self) -> str:
        return self.pack[9:41]

    def _names(self) -> Iterator[str]:
        yield from self.backend.sealed_blobs
        yield from self.backend.unfinished_blobs


IDENTITY_LENGTH = len(pack_identity(KEY.vault_id, "00" * 16).header)
