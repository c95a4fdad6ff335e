import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.errors import ContentMissing, PackDamaged, StorageFull, StorageStopped
from scelle.vault import packs
from scelle.vault.frames import GROUP, OBJECT_MAX_BYTES, STORED, ZSTD
from scelle.vault.interfaces import ContentPlace
from scelle.vault.memory import MemoryBackend, MemoryContentIndex
from scelle.vault.packs import GROUP_BYTES, SMALL_OBJECT_BYTES, PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.reading import PackFile
from scelle.vault.retrieval import PackReader
from scelle.vault.scanning import ScannedObject
from scelle.vault.testing import FailingBackend

from .support import KEY, Rig, digests_of, noise, open_store, scan_all, sha256, text

SIZES = [0, 1, 100, SMALL_OBJECT_BYTES, SMALL_OBJECT_BYTES + 1, GROUP_BYTES, GROUP_BYTES + 1, 2 << 20]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("make", [text, noise])
def test_contents_of_every_size_read_back(make: object, background: bool) -> None:
    assert callable(make)
    contents = [make(size, size) for size in SIZES]
    rig = Rig()
    with rig.store(background=background) as store:
        assert all(store.put(content, sha256(content)) for content in contents)
        store.sync()
        assert [store.read_bytes(sha256(content)) for content in contents] == contents
    with rig.store() as store:
        assert [store.read_bytes(sha256(content)) for content in contents] == contents
    objects, faults = scan_all(rig.backend)
    assert faults == []
    assert digests_of(objects) == {sha256(content) for content in contents}


def test_contents_on_a_real_disk(tmp_path: Path) -> None:
    contents = [text(5000, seed) for seed in range(200)] + [noise(3000, seed) for seed in range(50)]
    index = MemoryContentIndex()
    with open_store(PosixBackend(tmp_path), index, background=True) as store:
        for content in contents:
            store.put(content, sha256(content))
    objects, faults = scan_all(PosixBackend(tmp_path))
    assert faults == []
    assert len(objects) == 250
    for name in PosixBackend(tmp_path).list("packs/"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o400
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert stored < sum(map(len, contents)) * 0.6


@pytest.mark.parametrize("size", [OBJECT_MAX_BYTES, OBJECT_MAX_BYTES + 1, OBJECT_MAX_BYTES + (3 << 20) + 17])
@pytest.mark.parametrize("make", [text, noise])
def test_streams_read_back(make: object, size: int) -> None:
    assert callable(make)
    content = make(size, 1)
    rig = Rig()
    with rig.store() as store:
        pieces = (content[at : at + 700_001] for at in range(0, size, 700_001))
        assert store.put_stream(pieces) == (sha256(content), size, True)
        store.sync()
        assert b"".join(store.read(sha256(content))) == content
    objects, faults = scan_all(rig.backend)
    assert (len(objects), faults) == (1, [])
    assert objects[0].size == size
    stored = sum(map(len, rig.backend.sealed_blobs.values()))
    assert stored < (size + 2000 if make is noise else size // 2)


@pytest.mark.parametrize("piece", [1 << 20, (1 << 20) - 1, (1 << 20) + 1, 3 << 20, 1000])
def test_streams_do_not_depend_on_their_pieces(piece: int) -> None:
    content = noise(OBJECT_MAX_BYTES + (2 << 20), 7)
    rig = Rig()
    with rig.store() as store:
        store.put_stream(content[at : at + piece] for at in range(0, len(content), piece))
    objects, faults = scan_all(rig.backend)
    assert (digests_of(objects), faults) == ({sha256(content)}, [])


def test_empty_pieces_and_an_empty_stream() -> None:
    rig = Rig()
    with rig.store() as store:
        assert store.put_stream(iter(())) == (sha256(b""), 0, True)
        assert store.put_stream(iter((b"", b"ab", b"", b"c"))) == (sha256(b"abc"), 3, True)
        assert store.read_bytes(sha256(b"abc")) == b"abc"


def test_the_same_bytes_are_kept_once() -> None:
    small, large = text(3000), noise(OBJECT_MAX_BYTES + 5)
    rig = Rig()
    with rig.store() as store:
        assert store.put(small, sha256(small))
        assert not store.put(small, sha256(small))
        assert store.put_stream(iter((small,)))[2] is False
        assert store.put_stream(iter((large,)))[2]
        assert store.put_stream(iter((large,)))[2] is False
        assert not store.put(large, sha256(large))
    before = dict(rig.backend.sealed_blobs)
    with rig.store() as store:
        assert not store.put(small, sha256(small))
        assert store.put_stream(iter((large,)))[2] is False
    assert rig.backend.sealed_blobs == before
    assert rig.backend.unfinished_blobs == {}


def test_only_the_full_digest_decides() -> None:
    content = text(100)
    near = sha256(content)[:31] + bytes([sha256(content)[31] ^ 1])
    rig = Rig()
    with rig.store() as store:
        store.put(content, sha256(content))
        store.sync()
        assert store.contains(sha256(content))
        assert not store.contains(near)
        with pytest.raises(ContentMissing):
            store.read_bytes(near)


def test_small_contents_share_frames_by_kind() -> None:
    contents = [text(2000, seed) for seed in range(500)] + [noise(2000, seed) for seed in range(300)]
    mixed = [content for pair in zip(contents[:300], contents[500:], strict=True) for content in pair]
    rig = Rig().filled(*mixed, *contents[300:500])
    file = PackFile(rig.backend, KEY, rig.pack_id)
    codings = set()
    for offset, table in file.tables():
        header, _ = file.header_at(offset)
        assert header.kind == GROUP
        assert sum(size for _, size in table) <= GROUP_BYTES
        kinds = {digest in {sha256(content) for content in contents[:500]} for digest, _ in table}
        assert len(kinds) == 1, "text and noise in one frame"
        codings.add((kinds.pop(), header.coding))
    assert codings == {(True, ZSTD), (False, STORED)}
    assert len(list(file.tables())) <= 4 + 3


def test_packs_end_at_64_mib() -> None:
    rig = Rig()
    contents = [noise(7 << 20, seed) for seed in range(19)]
    with rig.store(background=True) as store:
        for content in contents:
            store.put(content, sha256(content))
    sizes = [len(data) for name, data in rig.backend.sealed_blobs.items() if name.endswith(".pack")]
    assert len(sizes) == 3
    assert max(sizes) <= 64 << 20
    assert scan_all(rig.backend)[1] == []


def test_unsynced_contents_can_be_read() -> None:
    content = text(500)
    rig = Rig()
    with rig.store() as store:
        store.put(content, sha256(content))
        assert store.contains(sha256(content))
        assert b"".join(store.read(sha256(content))) == content


def test_a_reader_beside_the_writer_sees_what_was_synced() -> None:
    first, second, third = text(500, 1), text(500, 2), text(500, 3)
    rig = Rig()
    with rig.store() as store:
        reader = PackReader(rig.backend, KEY, rig.index)
        store.put(first, sha256(first))
        store.sync()
        assert reader.read_bytes(sha256(first)) == first
        store.put(second, sha256(second))
        with pytest.raises(ContentMissing):
            reader.read_bytes(sha256(second))
        store.sync()
        assert reader.read_bytes(sha256(second)) == second
        results = list(reader.scan(rig.pack_id))
        assert [type(result) for result in results] == [ScannedObject] * 2
        store.put(third, sha256(third))
    assert reader.read_bytes(sha256(first)) == first
    assert reader.read_bytes(sha256(third)) == third
    reader.close()


def test_a_missing_content_is_said_so() -> None:
    rig = Rig().filled(text(10))
    with rig.store() as store, pytest.raises(ContentMissing, match="in no pack"):
        store.read_bytes(sha256(b"never put"))


def test_a_wrong_index_changes_no_answer() -> None:
    contents = [text(900, seed) for seed in range(4)]
    rig = Rig().filled(*contents)
    store = rig.store()
    for content in contents:
        digest = sha256(content)
        right = rig.index.places[digest]
        for wrong in (
            right._replace(start=right.start + 1),
            right._replace(size=right.size - 1),
            right._replace(frame_offset=right.frame_offset + 1),
            right._replace(frame_offset=1 << 40),
            right._replace(pack_id="ab" * 16),
        ):
            rig.index.places[digest] = wrong
            assert store.read_bytes(digest) == content
        del rig.index.places[digest]
        assert store.read_bytes(digest) == content


def test_a_wrong_index_changes_no_answer_about_a_large_content() -> None:
    large, other = noise(OBJECT_MAX_BYTES + 1, 1), noise(OBJECT_MAX_BYTES + 1, 2)
    rig = Rig()
    with rig.store() as store:
        store.put_stream(iter((large,)))
        store.put_stream(iter((other,)))
    store = rig.store()
    rig.index.places[sha256(large)] = rig.index.places[sha256(other)]
    assert store.read_bytes(sha256(large)) == large
    rig.index.places[sha256(large)] = ContentPlace(rig.index.places[sha256(other)].pack_id, 48, 0, 5)
    assert store.read_bytes(sha256(large)) == large


def test_damage_is_raised_with_its_place_and_another_copy_is_used() -> None:
    content, beside = text(900, 1), text(900, 2)
    rig = Rig().filled(content)
    damaged = bytearray(rig.backend.sealed_blobs[rig.pack])
    damaged[200] ^= 1
    rig.backend.sealed_blobs[rig.pack] = bytes(damaged)
    first_pack = rig.pack_id
    with pytest.raises(PackDamaged, match=first_pack) as caught:
        rig.store().read_bytes(sha256(content))
    assert (caught.value.pack, caught.value.offset) == (first_pack, 47)
    with rig.store() as store:
        store.forget([sha256(content)])
        assert store.put(content, sha256(content)), "kept again after it was found lost"
        assert store.put(beside, sha256(beside))
    assert rig.store().read_bytes(sha256(content)) == content


def test_a_missing_pack_is_raised_and_its_contents_can_be_put_again() -> None:
    content = text(900)
    rig = Rig().filled(content)
    store = rig.store()
    del rig.backend.sealed_blobs[rig.pack]
    with pytest.raises(PackDamaged, match="missing"):
        store.read_bytes(sha256(content))
    with rig.store() as store:
        assert store.put(content, sha256(content))
    assert rig.store().read_bytes(sha256(content)) == content


def test_an_index_is_rebuilt_with_equal_answers() -> None:
    contents = [text(700, seed) for seed in range(30)] + [noise(OBJECT_MAX_BYTES + 1)]
    rig = Rig()
    with rig.store() as store:
        for content in contents[:10]:
            store.put(content, sha256(content))
    with rig.store() as store:
        for content in contents[10:]:
            store.put(content, sha256(content))
    before = dict(rig.index.places)
    rig.index.clear()
    rig.index.commit()
    store = rig.store()
    store.rebuild_index()
    assert rig.index.places == before
    assert not store.put(contents[0], sha256(contents[0]))


def test_a_broken_source_leaves_the_store_usable() -> None:
    def breaking() -> Iterator[bytes]:
        yield noise(OBJECT_MAX_BYTES + 100)
        raise OSError("the file vanished")

    rig = Rig()
    with rig.store() as store:
        with pytest.raises(OSError, match="vanished"):
            store.put_stream(breaking())
        assert rig.backend.unfinished_blobs == {}
        store.put(b"afterwards", sha256(b"afterwards"))
    assert rig.store().read_bytes(sha256(b"afterwards")) == b"afterwards"


@pytest.mark.parametrize("background", [False, True])
def test_after_a_failed_write_the_store_refuses_more(background: bool) -> None:
    inner = MemoryBackend()
    backend = FailingBackend(inner, 3, StorageFull("no room left"), torn_bytes=100)
    store = PackStore(backend, KEY, MemoryContentIndex(), background=background)
    content = text(5000)
    store.put(content, sha256(content))
    with pytest.raises(StorageFull):
        store.sync()
    for act in (
        lambda: store.put(b"x", sha256(b"x")),
        lambda: store.put_stream(iter((b"x",))),
        store.sync,
        lambda: store.read_bytes(sha256(content)),
    ):
        with pytest.raises(StorageStopped, match="no room left"):
            act()
    store.close()
    store.close()
    assert inner.sealed_blobs == {}
    index = MemoryContentIndex()
    with open_store(inner, index) as again:
        assert again.put(content, sha256(content))
    assert scan_all(inner)[1] == []


def test_what_fails_in_the_background_is_raised_later(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    store = rig.store(background=True)

    def failing(*_: object, **__: object) -> None:
        raise MemoryError("in the thread")

    monkeypatch.setattr(store._coder, "seal_group", failing)
    store.put(b"x", sha256(b"x"))
    with pytest.raises(MemoryError):
        store.sync()
    with pytest.raises(StorageStopped):
        store.put(b"y", sha256(b"y"))
    store.close()


def test_an_error_in_the_caller_confirms_nothing() -> None:
    rig = Rig()
    with pytest.raises(KeyError), rig.store() as store:  # noqa: PT012
        store.put(b"x", sha256(b"x"))
        raise KeyError
    assert not rig.store().contains(sha256(b"x"))
    assert rig.backend.unfinished_blobs == {}


def test_at_most_two_frames_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    store = rig.store(background=True)
    gate = threading.Event()
    seal = store._coder.seal_group
    monkeypatch.setattr(store._coder, "seal_group", lambda *a, **k: (gate.wait(20), seal(*a, **k))[1])
    for seed in range(2):
        store.put(noise(SMALL_OBJECT_BYTES + 1, seed), sha256(noise(SMALL_OBJECT_BYTES + 1, seed)))
    assert len(store._flights) == packs.FRAMES_IN_FLIGHT
    threading.Timer(0.05, gate.set).start()
    third = noise(SMALL_OBJECT_BYTES + 1, 3)
    store.put(third, sha256(third))
    assert len(store._flights) == packs.FRAMES_IN_FLIGHT
    store.close()
    assert len(digests_of(scan_all(rig.backend)[0])) == 3


def test_stray_names_are_listed() -> None:
    rig = Rig().filled(b"x")
    rig.backend.sealed_blobs["packs/ab/readme.txt"] = b"?"
    assert rig.store().stray_names() == ["packs/ab/readme.txt"]


def test_closing_an_idle_store_writes_nothing() -> None:
    rig = Rig()
    committed: list[bool] = []
    rig.index.commit = lambda: committed.append(True)  # type: ignore[method-assign]
    store = PackStore(rig.backend, KEY, rig.index, background=False)
    store.close()
    assert committed == []
    assert rig.backend.unfinished_blobs == {} == rig.backend.sealed_blobs
