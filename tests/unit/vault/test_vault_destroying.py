"""Destroy contents in packs: what must go opens under no key any more, what must stay is there after every crash."""

import secrets
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256

import pytest

from scelle.errors import BlobMissing, ContentMissing, PackDamaged
from scelle.vault.destroying import destroy_contents, read_back
from scelle.vault.frames import KEYS_HEADER_BYTES, FrameCoder, keys_name, pack_id_of
from scelle.vault.interfaces import Buffer
from scelle.vault.keys import WRAPPED_BYTES, VaultKey
from scelle.vault.memory import MemoryBackend, MemoryContentIndex
from scelle.vault.packs import PackStore
from scelle.vault.reading import FrameView, PackFile
from scelle.vault.scanning import PackFault

KEY = VaultKey.generate()
SMALL = [f"a small document, number {number}\n".encode() * 20 for number in range(40)]
LARGE = secrets.token_bytes(9 << 20)


def digest(data: bytes) -> bytes:
    return sha256(data).digest()


def digests(contents: Iterable[bytes]) -> set[bytes]:
    return {digest(data) for data in contents}


class Vault:
    """Packs in memory, and what was in them before anything was destroyed."""

    def __init__(self, contents: Iterable[bytes] = (*SMALL, LARGE)) -> None:
        self.backend, self.index = MemoryBackend(), MemoryContentIndex()
        with self.opened() as packs:
            for data in contents:
                packs.put(data, digest(data))

    def opened(self) -> PackStore:
        packs = PackStore(self.backend, KEY, self.index, background=False)
        packs.recover()
        return packs

    def destroy(self, doomed: Iterable[bytes]) -> None:
        with self.opened() as packs:
            destroy_contents(packs, KEY, digests(doomed))

    def check(self, gone: Iterable[bytes], kept: Iterable[bytes]) -> None:
        with self.opened() as packs:
            for data in kept:
                assert packs.contains(digest(data))
                assert packs.read_bytes(digest(data)) == data
            for data in gone:
                assert not packs.contains(digest(data))
                with pytest.raises((ContentMissing, PackDamaged)):
                    packs.read_bytes(digest(data))
            assert read_back(packs, digests(gone)) == (read_back(packs, ()))
            assert read_back(packs, digests(gone)).found == 0
            assert read_back(packs, digests(kept)).found == len(digests(kept))
        plain = b"".join(self.everything_that_opens())
        for data in gone:
            assert data not in plain
        for data in kept:
            assert data[:1000] in plain or data == LARGE

    def everything_that_opens(self) -> Iterable[bytes]:
        """Give the plain bytes of every frame whose key opens; a large content is looked for by its table."""
        ids = {pack_id_of(name) for name in self.backend.list("packs/")} - {None}
        for pack_id in filter(None, ids):
            try:
                file = PackFile(self.backend, KEY, pack_id)
            except BlobMissing:
                continue
            with closing(file):
                for offset, table in file.tables():
                    if len(table) == 1 and table[0][1] == len(LARGE):
                        continue
                    view = FrameView(file, offset)
                    yield view.body(FrameCoder(KEY), table)


def test_only_what_is_doomed_goes() -> None:
    vault = Vault()
    vault.destroy(SMALL[::2])
    vault.check(SMALL[::2], [*SMALL[1::2], LARGE])


def test_a_pack_in_which_nothing_is_left_goes_as_a_whole() -> None:
    vault = Vault()
    before = len(vault.backend.list("packs/"))
    vault.destroy([LARGE])
    vault.check([LARGE], SMALL)
    assert len(vault.backend.list("packs/")) == before - 2
    vault.destroy(SMALL)
    assert vault.backend.list("packs/") == []
    assert vault.index.known_packs() == set()


def test_what_was_put_by_the_same_process_goes_as_well() -> None:
    """Survivors of one disposal that are doomed in the next one stand in the pack that is being written."""
    vault = Vault()
    with vault.opened() as packs:
        destroy_contents(packs, KEY, digests(SMALL[:10]))
        destroy_contents(packs, KEY, digests(SMALL[10:20]))
        assert read_back(packs, digests(SMALL[:20])).found == 0
    vault.check(SMALL[:20], [*SMALL[20:], LARGE])


def test_a_content_that_was_destroyed_can_be_kept_again() -> None:
    vault = Vault()
    with vault.opened() as packs:
        destroy_contents(packs, KEY, digests(SMALL[:3]))
        assert packs.put(SMALL[0], digest(SMALL[0]))
        packs.sync()
        assert packs.read_bytes(digest(SMALL[0])) == SMALL[0]
    vault.check(SMALL[1:3], [SMALL[0], *SMALL[3:], LARGE])


def test_nothing_of_a_frame_that_was_read_before_is_remembered() -> None:
    vault = Vault()
    with vault.opened() as packs:
        assert packs.read_bytes(digest(SMALL[0])) == SMALL[0]
        destroy_contents(packs, KEY, digests(SMALL[:1]))
        with pytest.raises(ContentMissing):
            packs.read_bytes(digest(SMALL[0]))


def test_a_frame_that_holds_what_must_stay_and_is_damaged_loses_no_key() -> None:
    vault = Vault(SMALL)
    (name,) = [name for name in vault.backend.list("packs/") if name.endswith(".pack")]
    data = bytearray(vault.backend.sealed_blobs[name])
    data[-100] ^= 1  # in the body of the only frame
    vault.backend.sealed_blobs[name] = bytes(data)
    keys = vault.backend.sealed_blobs[keys_name(str(pack_id_of(name)))]
    with vault.opened() as packs, pytest.raises(PackDamaged, match="restore the pack"):
        destroy_contents(packs, KEY, digests(SMALL[:1]))
    assert vault.backend.sealed_blobs[keys_name(str(pack_id_of(name)))] == keys


def test_a_frame_that_does_not_tell_what_it_holds_is_counted() -> None:
    vault = Vault(SMALL)
    (name,) = [name for name in vault.backend.list("packs/") if name.endswith(".pack")]
    data = bytearray(vault.backend.sealed_blobs[name])
    data[80] ^= 1  # in its table
    vault.backend.sealed_blobs[name] = bytes(data)
    with vault.opened() as packs:
        destroy_contents(packs, KEY, digests(SMALL))
        found = read_back(packs, digests(SMALL))
    assert (found.found, found.unclear) == (0, 1)


@pytest.mark.parametrize("is_destroyed", [True, False])
def test_keys_without_a_pack_are_no_fault_only_where_the_pack_was_destroyed(is_destroyed: bool) -> None:
    vault = Vault(SMALL)
    (name,) = [name for name in vault.backend.list("packs/") if name.endswith(".pack")]
    pack_id = str(pack_id_of(name))
    del vault.backend.sealed_blobs[name]
    if is_destroyed:
        keys = vault.backend.sealed_blobs[keys_name(pack_id)]
        end = keys[-WRAPPED_BYTES:]
        frames = len(keys) - KEYS_HEADER_BYTES - WRAPPED_BYTES
        vault.backend.sealed_blobs[keys_name(pack_id)] = keys[:KEYS_HEADER_BYTES] + bytes(frames) + end
    with vault.opened() as packs:
        (fault,) = packs.scan(pack_id)
        assert isinstance(fault, PackFault)
        assert fault.code == ("vault.frame_key_destroyed" if is_destroyed else "vault.pack_missing")
        packs.remove_lone_keys()
    assert (keys_name(pack_id) in vault.backend.sealed_blobs) is not is_destroyed


class Crash(Exception):
    """The process ends here."""


class CrashingBackend(MemoryBackend):
    """End the process before, or behind, the n-th change of what is there."""

    def __init__(self, blobs: dict[str, bytes], at: int, *, is_done: bool) -> None:
        super().__init__()
        self.sealed_blobs.update(blobs)
        self._left, self._is_done = at, is_done

    def replace(self, name: str, data: Buffer) -> None:
        with _Step(self):
            super().replace(name, data)

    def remove(self, name: str) -> None:
        with _Step(self):
            super().remove(name)

    def before(self) -> None:
        if self._left == 0 and not self._is_done:
            raise Crash

    def after(self) -> None:
        self._left -= 1
        if self._left == -1 and self._is_done:
            raise Crash


class _Step:
    def __init__(self, backend: CrashingBackend) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        self._backend.before()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self._backend.after()


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("at", range(8))
def test_a_crash_at_every_change_loses_no_survivor_and_the_next_run_finishes(at: int, is_done: bool) -> None:
    made = Vault()
    doomed, kept = [*SMALL[:5], LARGE], SMALL[5:]
    made.backend = CrashingBackend(made.backend.sealed_blobs, at, is_done=is_done)
    packs = made.opened()
    try:
        destroy_contents(packs, KEY, digests(doomed))
    except Crash:
        made.backend.crash()
        made.index.crash()
        left = MemoryBackend()
        left.sealed_blobs.update(made.backend.sealed_blobs)
        left.unfinished_blobs.update(made.backend.unfinished_blobs)
        made.backend = left
        with made.opened() as packs:
            for data in kept:
                assert packs.read_bytes(digest(data)) == data
            for data in doomed:  # whoever needs it from now on keeps it, whatever the index still says
                assert not packs.contains(digest(data))
        made.destroy(doomed)
    else:
        packs.close()
    made.check(doomed, kept)
    names = made.backend.list("packs/")
    assert {pack_id_of(name) for name in names if name.endswith(".keys")} == {
        pack_id_of(name) for name in names if name.endswith(".pack")
    }
