"""Find and read contents in packs, beside a writer or alone."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from scelle.errors import BlobMissing, ContentMissing, PackDamaged
from scelle.vault.frames import LARGE, FrameCoder, FrameDamage, pack_id_of
from scelle.vault.interfaces import Backend, ContentIndex, ContentPlace
from scelle.vault.keys import VaultKey
from scelle.vault.reading import FrameView, LargeObject, PackFile
from scelle.vault.repair import PACKS_PREFIX
from scelle.vault.scanning import OnObject, PackFault, ScannedObject, scan_pack

_CACHED_FRAME_BYTES: Final = 2 << 20
_CACHED_FRAMES: Final = 16
_OPEN_PACKS: Final = 16


class PackReader:
    """Read contents by their SHA-256. Not thread-safe; any number of readers may run beside the one writer.

    The index only says where to look first: where it is wrong, the packs' own tables are searched.
    """

    def __init__(self, backend: Backend, key: VaultKey, index: ContentIndex) -> None:
        self._backend, self._key, self._index = backend, key, index
        self._coder = FrameCoder(key)
        self._files: OrderedDict[str, PackFile] = OrderedDict()
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def close(self) -> None:
        """Close the packs that are open for reading."""
        while self._files:
            self._files.popitem()[1].close()
        self._frames.clear()

    def let_go(self, pack_id: str) -> None:
        """Close a pack and forget what was read of it; the next reader opens it, and its keys, anew."""
        for place in [place for place in self._frames if place[0] == pack_id]:
            del self._frames[place]
        file = self._files.pop(pack_id, None)
        if file is not None:
            file.close()

    def read_bytes(self, digest: bytes) -> bytes:
        """Return a content; raise `ContentMissing`, or `PackDamaged` where every copy of it is damaged."""
        return b"".join(self.read(digest))

    def read(self, digest: bytes) -> Iterator[bytes]:
        """Give a content in pieces of up to 8 MiB.

        Raises `ContentMissing`, or `PackDamaged` where every copy of it is damaged. The pieces of a content
        over 8 MiB are each authenticated, but its SHA-256 is known only at the end: they are void when it
        raises.
        """
        first: tuple[ContentPlace, FrameDamage] | None = None
        for place in self._places(digest):
            try:
                pieces = self._pieces(place, digest)
            except FrameDamage as damage:
                first = first or (place, damage)
                continue
            yield from self._naming_damage(place, pieces)
            return
        if first is not None:
            raise _pack_damaged(*first)
        raise ContentMissing(f"content {digest.hex()} is in no pack of the vault: restore it from a copy")

    def pack_ids(self) -> list[str]:
        """List the ids of all packs there are, from their own names and those of their keys; sorted."""
        names = self._backend.list(PACKS_PREFIX) + self._backend.unfinished(PACKS_PREFIX)
        return sorted({pack_id for name in names if (pack_id := pack_id_of(name)) is not None})

    def stray_names(self) -> list[str]:
        """List what lies among the packs and is none: no crash leaves it, and nothing reads it."""
        return [name for name in self._backend.list(PACKS_PREFIX) if pack_id_of(name) is None]

    def scan(self, pack_id: str, on_object: OnObject | None = None) -> Iterator[ScannedObject | PackFault]:
        """Read a pack from end to end, trusting no catalog; see `scan_pack`."""
        return scan_pack(self._backend, self._key, pack_id, on_object)

    def _places(self, digest: bytes) -> Iterator[ContentPlace]:
        place = self._index.find(digest)
        if place is not None:
            yield place
        for pack_id in self.pack_ids():
            for other in self._places_in(pack_id, digest):
                if other != place:
                    yield other

    def _places_in(self, pack_id: str, digest: bytes) -> Iterator[ContentPlace]:
        try:
            file = PackFile(self._backend, self._key, pack_id)
        except BlobMissing:
            return
        try:
            for offset, table in file.tables():
                start = 0
                for found, size in table:
                    if found == digest:
                        yield ContentPlace(pack_id, offset, start, size)
                        break
                    start += size
        finally:
            file.close()

    def _pieces(self, place: ContentPlace, digest: bytes) -> Iterator[bytes]:
        try:
            return self._pieces_of(self._file(place.pack_id), place, digest)
        except FrameDamage:
            if self._file(place.pack_id).is_sealed:
                raise
        self._files.pop(place.pack_id).close()  # the writer beside us may have gone on since it was opened
        return self._pieces_of(self._file(place.pack_id), place, digest)

    def _pieces_of(self, file: PackFile, place: ContentPlace, digest: bytes) -> Iterator[bytes]:
        cached = self._frames.get((place.pack_id, place.frame_offset))
        if cached is None and file.header_at(place.frame_offset)[0].kind == LARGE:
            large = LargeObject(file)
            if large.digest != digest:
                raise FrameDamage("vault.content_digest", "another content stands here")
            return _verified(large, digest)
        plain = self._frame(file, place.frame_offset) if cached is None else cached
        data = plain[place.start : place.start + place.size]
        if hashlib.sha256(data).digest() != digest:
            raise FrameDamage("vault.content_digest", "another content stands here")
        return iter((data,))

    def _frame(self, file: PackFile, offset: int) -> bytes:
        view = FrameView(file, offset)
        plain = view.body(self._coder, view.table())
        if len(plain) <= _CACHED_FRAME_BYTES:
            self._frames[(file.pack_id, offset)] = plain
            if len(self._frames) > _CACHED_FRAMES:
                self._frames.popitem(last=False)
        return plain

    def _file(self, pack_id: str) -> PackFile:
        file = self._files.get(pack_id)
        if file is None:
            try:
                file = self._files[pack_id] = PackFile(self._backend, self._key, pack_id)
            except BlobMissing as error:
                raise FrameDamage("vault.pack_missing", "the pack is missing") from error
            if len(self._files) > _OPEN_PACKS:
                self._files.popitem(last=False)[1].close()
        return file

    def _naming_damage(self, place: ContentPlace, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except FrameDamage as damage:
            raise _pack_damaged(place, damage) from damage


def _verified(large: LargeObject, digest: bytes) -> Iterator[bytes]:
    hasher = hashlib.sha256()
    for piece in large.pieces():
        hasher.update(piece)
        yield piece
    if hasher.digest() != digest:
        raise FrameDamage("vault.content_digest", "it has another SHA-256")


def _pack_damaged(place: ContentPlace, damage: FrameDamage) -> PackDamaged:
    where = f"pack {place.pack_id}, frame at byte {place.frame_offset}"
    return PackDamaged(
        f"{where}: {damage}: restore the pack from a copy", place.pack_id, None, place.frame_offset
    )
