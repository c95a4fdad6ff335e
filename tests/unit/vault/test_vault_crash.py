"""Stop the writer everywhere, keep or lose what was not durable, and look at what the next start makes of
it."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import integers, sampled_from

from scelle.errors import StorageError, StorageFailed, StorageFull, StorageStopped
from scelle.vault import durable, packs
from scelle.vault.frames import KEYS_HEADER_BYTES, MARKER, keys_name, pack_name
from scelle.vault.interfaces import Backend
from scelle.vault.memory import MemoryBackend, MemoryContentIndex
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.reading import PackFile
from scelle.vault.testing import FailingBackend

from .support import KEY, Rig, digests_of, noise, open_store, scan_all, sha256, text

CONFIRMED = [text(300, seed) for seed in range(3)] + [noise(200, 9)]
LATER = [text(350, seed) for seed in range(10, 14)]
LARGE = noise(5000, 5)


def put_all(store: PackStore, contents: list[bytes]) -> None:
    for content in contents:
        store.put(content, sha256(content))


def interrupted() -> tuple[Rig, int]:
    """Sync some contents, write more without syncing, and stop; return the pack's size at the sync."""
    rig = Rig()
    store = rig.store()
    put_all(store, CONFIRMED)
    store.sync()
    synced = len(rig.backend.unfinished_blobs[rig.pack])
    put_all(store, LATER)
    store._flush()
    return rig, synced


def recovered(rig: Rig) -> PackStore:
    rig.index = MemoryContentIndex()
    return rig.store()


def check_confirmed(rig: Rig, store: PackStore) -> None:
    assert [store.read_bytes(sha256(content)) for content in CONFIRMED] == CONFIRMED
    objects, faults = scan_all(rig.backend)
    assert faults == []
    assert digests_of(objects) >= {sha256(content) for content in CONFIRMED}
    assert rig.backend.unfinished_blobs == {}


def test_a_tail_cut_at_every_byte_is_dropped() -> None:
    rig, synced = interrupted()
    full = len(rig.backend.unfinished_blobs[rig.pack])
    assert full > synced + 500
    for size in range(synced, full + 1):
        cut = rig.copy()
        del cut.backend.unfinished_blobs[cut.pack][size:]
        check_confirmed(cut, recovered(cut))


@pytest.mark.parametrize("fill", [bytes, lambda size: noise(size, 1), lambda size: MARKER * size])
def test_a_torn_tail_is_dropped(fill: Callable[[int], bytes]) -> None:
    rig, synced = interrupted()
    full = len(rig.backend.unfinished_blobs[rig.pack])
    for start in range(synced, full, 41):
        torn = rig.copy()
        torn.backend.unfinished_blobs[torn.pack][start:] = fill(full - start + 7)
        check_confirmed(torn, recovered(torn))


def test_torn_keys_are_dropped_with_their_frames() -> None:
    rig = Rig()
    store = rig.store()
    put_all(store, CONFIRMED)
    store.sync()
    synced = len(rig.backend.unfinished_blobs[rig.keys])
    put_all(store, LATER)
    store.sync()
    full = len(rig.backend.unfinished_blobs[rig.keys])
    assert full > synced
    for size in range(synced, full):
        cut = rig.copy()
        del cut.backend.unfinished_blobs[cut.keys][size:]
        assert scan_all(cut.backend)[1] == [], "also before it is recovered"
        check_confirmed(cut, recovered(cut))
        zeroed = rig.copy()
        zeroed.backend.unfinished_blobs[zeroed.keys][size:] = bytes(full - size)
        assert scan_all(zeroed.backend)[1] == []
        check_confirmed(zeroed, recovered(zeroed))


def test_what_was_recovered_is_not_stored_again() -> None:
    rig, _ = interrupted()
    with recovered(rig) as store:
        assert not any(store.put(content, sha256(content)) for content in CONFIRMED)
        assert all(store.put(content, sha256(content)) for content in LATER)
    objects, faults = scan_all(rig.backend)
    assert faults == []
    assert digests_of(objects) == {sha256(content) for content in CONFIRMED + LATER}


def test_recovery_counts_what_it_did_and_does_it_once() -> None:
    rig, synced = interrupted()
    full = len(rig.backend.unfinished_blobs[rig.pack])
    store = PackStore(rig.backend, KEY, MemoryContentIndex(), background=False)
    report = store.recover()
    assert (report.ended_packs, report.cut_bytes, report.indexed_packs) == (1, full - synced, 1)
    again = store.recover()
    assert (again.ended_packs, again.dropped_packs, again.cut_bytes, again.indexed_packs) == (0, 0, 0, 0)


def test_a_start_after_an_orderly_end_reads_no_pack_again() -> None:
    rig = Rig()
    with rig.store() as store:
        put_all(store, CONFIRMED)
        store.put_stream(iter((LARGE,)))
    report = PackStore(rig.backend, KEY, rig.index, background=False).recover()
    assert (report.indexed_packs, report.ended_packs, report.forgotten_packs) == (0, 0, 0)
    assert len(rig.index.complete_packs()) == 2


def test_a_pack_of_which_nothing_was_confirmed_is_dropped() -> None:
    rig = Rig()
    store = rig.store()
    put_all(store, CONFIRMED)
    store._flush()
    assert rig.backend.unfinished_blobs
    assert not recovered(rig).contains(sha256(CONFIRMED[0]))
    assert rig.backend.unfinished_blobs == {} == rig.backend.sealed_blobs


def test_keys_published_before_their_pack() -> None:
    rig = Rig().filled(*CONFIRMED)
    pack, keys = rig.pack, rig.keys
    rig.backend.unfinished_blobs[pack] = bytearray(rig.backend.sealed_blobs.pop(pack))
    check_confirmed(rig, recovered(rig))
    both = Rig()
    both.backend.unfinished_blobs[pack] = bytearray(rig.backend.sealed_blobs[pack])
    both.backend.unfinished_blobs[keys] = bytearray(rig.backend.sealed_blobs[keys])
    check_confirmed(both, recovered(both))


@pytest.mark.parametrize("kept_keys", [0, 1, 2])
def test_a_large_object_stopped_before_it_was_published(kept_keys: int) -> None:
    rig = Rig()
    with rig.store() as store:
        store.put_stream(iter((LARGE,)))
    pack, keys = rig.pack, rig.keys
    for name in (pack, keys):
        rig.backend.unfinished_blobs[name] = bytearray(rig.backend.sealed_blobs.pop(name))
    del rig.backend.unfinished_blobs[keys][KEYS_HEADER_BYTES + 60 * kept_keys :]
    store = recovered(rig)
    assert store.contains(sha256(LARGE)) == bool(kept_keys)
    assert rig.backend.unfinished_blobs == {}
    objects, faults = scan_all(rig.backend)
    assert (len(objects), faults) == (bool(kept_keys), [])


def test_published_keys_that_do_not_open_never_drop_a_pack() -> None:
    rig = Rig().filled(*CONFIRMED)
    pack, keys = rig.pack, rig.keys
    rig.backend.unfinished_blobs[pack] = bytearray(rig.backend.sealed_blobs.pop(pack))
    rig.backend.sealed_blobs[keys] = bytes(len(rig.backend.sealed_blobs[keys]))
    before = bytes(rig.backend.unfinished_blobs[pack])
    recovered(rig)
    assert rig.backend.sealed_blobs[pack] == before
    assert scan_all(rig.backend)[1] != []


def test_a_sealed_pack_that_the_index_does_not_know_is_indexed() -> None:
    rig = Rig().filled(*CONFIRMED)
    store = recovered(rig)
    assert all(store.contains(sha256(content)) for content in CONFIRMED)


def test_a_pack_sealed_after_the_last_commit_is_indexed_as_a_whole() -> None:
    rig = Rig()
    store = rig.store()
    put_all(store, CONFIRMED)
    store.sync()
    put_all(store, LATER)
    store._flush()
    store._seal_pack()
    rig.index.crash()
    again = rig.store()
    assert all(again.contains(sha256(content)) for content in CONFIRMED + LATER)


def test_damage_to_what_was_confirmed_is_kept_and_named() -> None:
    rig = Rig()
    store = rig.store()
    for content in CONFIRMED:
        store.put(content, sha256(content))
        store.sync()
    size = len(rig.backend.unfinished_blobs[rig.pack])
    file = PackFile(rig.backend, KEY, rig.pack_id)
    offsets = [offset for offset, _ in file.tables()]
    for frame, offset in enumerate(offsets):
        for at in (offset, offset + 20, offset + 30, offset + 70):
            damaged = rig.copy()
            damaged.backend.unfinished_blobs[damaged.pack][at] ^= 1
            again = recovered(damaged)
            assert len(damaged.backend.sealed_blobs[damaged.pack]) >= size, "nothing confirmed was cut"
            objects, faults = scan_all(damaged.backend)
            assert offset in {fault.offset for fault in faults}
            expected = {sha256(content) for number, content in enumerate(CONFIRMED) if number != frame}
            assert digests_of(objects) == expected
            for content in CONFIRMED:
                if sha256(content) in expected:
                    assert again.read_bytes(sha256(content)) == content


def test_keys_of_a_vanished_pack_stay_for_verify_to_name() -> None:
    rig, _ = interrupted()
    del rig.backend.unfinished_blobs[rig.pack]
    store = recovered(rig)
    (pack_id,) = store.pack_ids()
    assert [getattr(fault, "code", None) for fault in store.scan(pack_id)] == ["vault.pack_missing"]


def test_what_a_broken_replacement_left_is_removed() -> None:
    rig = Rig().filled(*CONFIRMED)
    rig.backend.sealed_blobs[rig.keys + ".tmp"] = b"half"
    assert recovered(rig).stray_names() == []


# --- stop at every step of a run


def run(backend: Backend, index: MemoryContentIndex, confirmed: list[bytes]) -> None:
    """Put, sync and close; note in `confirmed` what a sync confirmed."""
    store = PackStore(backend, KEY, index, background=False)
    try:
        store.recover()
        for contents in (CONFIRMED[:2], CONFIRMED[2:]):
            put_all(store, contents)
            store.sync()
            confirmed += contents
        store.put_stream(iter((LARGE,)))
        store.put_stream(iter((LARGE,)))
        put_all(store, LATER)
        with store._writing():  # as if the pack were full
            store._flush()
            store._seal_pack()
        put_all(store, [b"last"])
        store.sync()
        confirmed += [LARGE, *LATER, b"last"]
    finally:
        store.close()


class StepThenFail(FailingBackend):
    """Fail after the step was done: the crash comes when it is persisted."""

    def step(self, write: Callable[..., object] | None = None, data: object = b"") -> None:
        self.steps += 1
        if self.steps > self.fail_at:
            raise self.error


class FailOnce(FailingBackend):
    """Fail at one step and work again at the next: the disk was full for a moment."""

    def step(self, write: Callable[..., object] | None = None, data: object = b"") -> None:
        self.steps += 1
        if self.steps == self.fail_at:
            raise self.error


@pytest.fixture(scope="module", autouse=True)
def small_large_objects() -> Iterator[None]:
    """Let everything over 4,000 bytes be a large object, so that a run is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "OBJECT_MAX_BYTES", 4000)
        yield


@pytest.fixture(scope="module")
def steps() -> int:
    counting = FailingBackend(MemoryBackend(), 10**9, StorageFull("never"))
    confirmed: list[bytes] = []
    run(counting, MemoryContentIndex(), confirmed)
    assert len(confirmed) == len(CONFIRMED) + len(LATER) + 2
    return counting.steps


@pytest.mark.parametrize("loses_power", [False, True], ids=["killed", "power lost"])
@pytest.mark.parametrize(
    ("kind", "torn_bytes"),
    [(FailingBackend, 0), (FailingBackend, 1), (FailingBackend, 30), (StepThenFail, 0), (FailOnce, 0)],
)
def test_a_stop_at_every_step_loses_nothing_confirmed(
    steps: int, loses_power: bool, kind: type[FailingBackend], torn_bytes: int
) -> None:
    for fail_at in range(1, steps + 1):
        inner, index = MemoryBackend(), MemoryContentIndex()
        confirmed: list[bytes] = []
        try:
            run(kind(inner, fail_at, StorageFailed("stopped"), torn_bytes), index, confirmed)
        except StorageError:
            pass
        else:
            assert kind is StepThenFail
            assert fail_at == steps
        if loses_power:
            inner.crash()
        index.crash()
        again: list[bytes] = []
        with open_store(inner, index) as store:
            for content in confirmed:
                assert store.read_bytes(sha256(content)) == content, f"lost after a stop at step {fail_at}"
        assert scan_all(inner)[1] == [], f"fault after a stop at step {fail_at}"
        run(inner, index, again)
        objects, faults = scan_all(inner)
        assert faults == []
        assert digests_of(objects) == {sha256(content) for content in again}
        assert len(objects) == len(again), f"stored twice after a stop at step {fail_at}"
        assert inner.unfinished_blobs == {}


@pytest.mark.parametrize("kind", [FailingBackend, StepThenFail])
def test_a_stop_at_every_step_of_a_recovery_loses_nothing(kind: type[FailingBackend]) -> None:
    rig, _ = interrupted()
    extra = Rig().filled(*LATER)
    for name in list(extra.backend.sealed_blobs):
        rig.backend.unfinished_blobs[name] = bytearray(extra.backend.sealed_blobs[name])
    dropped = "dd" * 16
    rig.backend.unfinished_blobs[pack_name(dropped)] = bytearray(b"nothing of it was confirmed")
    rig.backend.unfinished_blobs[keys_name(dropped)] = bytearray(b"torn")
    for fail_at in range(1, 60):
        broken = MemoryBackend()
        for name, data in rig.backend.unfinished_blobs.items():
            broken.unfinished_blobs[name] = bytearray(data)
            broken.note_synced(name)
        failing = kind(broken, fail_at, StorageFailed("stopped"), torn_bytes=10)
        store = PackStore(failing, KEY, MemoryContentIndex(), background=False)
        try:
            store.recover()
        except StorageError:
            broken.crash()
            with open_store(broken, MemoryContentIndex()) as again:
                for content in CONFIRMED + LATER:
                    assert again.read_bytes(sha256(content)) == content
            assert scan_all(broken)[1] == []
        else:
            assert fail_at > 8
            return
    pytest.fail("recovery never ended")


# --- the real disk


@pytest.fixture
def forgetful_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tests of this process write again after a failed fsync."""
    monkeypatch.setattr(durable, "_fsync_failure", [])


@pytest.mark.usefixtures("forgetful_durable")
def test_a_failed_fsync_stops_the_store_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(PosixBackend(tmp_path), MemoryContentIndex())
    put_all(store, CONFIRMED)
    store.sync()
    put_all(store, LATER)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StorageStopped, match="fsync"):
            store.sync()
    for _ in range(2):
        with pytest.raises(StorageStopped):
            store.sync()
    with pytest.raises(StorageStopped):
        store.put(b"x", sha256(b"x"))
    store.close()
    durable._fsync_failure.clear()  # a new process
    with open_store(PosixBackend(tmp_path), MemoryContentIndex()) as again:
        assert [again.read_bytes(sha256(content)) for content in CONFIRMED] == CONFIRMED
    assert scan_all(PosixBackend(tmp_path))[1] == []


@pytest.mark.parametrize("room", range(0, 30_000, 1777))
def test_a_full_disk_is_said_so_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Write short, as a disk does that fills up, then fail with ENOSPC."""
    left = [room]
    write = os.write

    def filling(descriptor: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(descriptor, data[: max(1, min(left[0], len(data) // 2))])
        left[0] -= taken
        return taken

    confirmed: list[bytes] = []
    contents = [noise(9000 if seed else 3000, seed) for seed in range(4)]
    store = open_store(PosixBackend(tmp_path), MemoryContentIndex(), background=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", filling)
        with pytest.raises(StorageFull, match="no room"):  # noqa: PT012
            for content in contents:
                store.put(content, sha256(content))
                store.sync()
                confirmed.append(content)
        with pytest.raises(StorageStopped):
            store.sync()
    store.close()
    with open_store(PosixBackend(tmp_path), MemoryContentIndex()) as again:
        assert [again.read_bytes(sha256(content)) for content in confirmed] == confirmed
        put_all(again, contents)
    objects, faults = scan_all(PosixBackend(tmp_path))
    assert faults == []
    assert digests_of(objects) == {sha256(content) for content in contents}


# --- any life of a vault


class LifeOfAVault(RuleBasedStateMachine):
    """Put, sync, crash, damage the index: what was confirmed is there, what is there is right."""

    contents = Bundle("contents")

    @initialize()
    def begin(self) -> None:
        self.backend, self.index = MemoryBackend(), MemoryContentIndex()
        self.confirmed: dict[bytes, bytes] = {}
        self.pending: dict[bytes, bytes] = {}
        self.store = open_store(self.backend, self.index)

    @rule(target=contents, seed=integers(0, 40), make=sampled_from([text, noise]), size=integers(0, 3000))
    def content(self, seed: int, make: Callable[[int, int], bytes], size: int) -> bytes:
        return make(size, seed)

    @rule(content=contents)
    def put(self, content: bytes) -> None:
        digest = sha256(content)
        known = digest in self.confirmed or digest in self.pending
        is_new = self.store.put(content, digest)
        assert not (is_new and known)
        self.pending[digest] = content

    @rule(content=contents, pieces=integers(1, 5))
    def stream(self, content: bytes, pieces: int) -> None:
        step = len(content) // pieces + 1
        digest, size, _ = self.store.put_stream(
            content[at : at + step] for at in range(0, len(content), step)
        )
        assert (digest, size) == (sha256(content), len(content))
        self.pending[digest] = content

    @rule()
    def sync(self) -> None:
        self.store.sync()
        self.confirmed |= self.pending
        self.pending = {}

    @rule()
    def close(self) -> None:
        self.store.close()
        self.confirmed |= self.pending
        self.pending = {}
        self.store = open_store(self.backend, self.index)

    @rule(loses_power=sampled_from([True, False]), loses_index=sampled_from([True, False]))
    def crash(self, loses_power: bool, loses_index: bool) -> None:
        if loses_power:
            self.backend.crash()
        if loses_index:
            self.index = MemoryContentIndex()
        self.index.crash()
        self.pending = {}
        self.store = open_store(self.backend, self.index)

    @rule(seed=integers(0, 1000))
    def forget_some_of_the_index(self, seed: int) -> None:
        generator = random.Random(seed)
        for digest in list(self.index.places):
            if digest in self.confirmed and generator.random() < 0.3:
                self.index.places[digest] = generator.choice(list(self.index.places.values()))

    @rule()
    def rebuild(self) -> None:
        self.store.sync()
        self.confirmed |= self.pending
        self.pending = {}
        self.store.rebuild_index()

    @invariant()
    def confirmed_contents_read_back(self) -> None:
        for digest, content in getattr(self, "confirmed", {}).items():
            assert self.store.read_bytes(digest) == content

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            assert scan_all(self.backend)[1] == []


class LifeOfASmallVault(LifeOfAVault):
    """The same, where everything over 1,000 bytes is large and a pack is full at 6,000."""

    @initialize()
    def begin(self) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(packs, "OBJECT_MAX_BYTES", 1000)
        patch.setattr(packs, "SMALL_OBJECT_BYTES", 400)
        patch.setattr(packs, "GROUP_BYTES", 900)
        patch.setattr(packs, "PACK_CLOSE_BYTES", 6000)
        self.patch = patch
        super().begin()

    def teardown(self) -> None:
        super().teardown()
        self.patch.undo()


COMMON = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLifeOfAVault = LifeOfAVault.TestCase
TestLifeOfAVault.settings = COMMON
TestLifeOfASmallVault = LifeOfASmallVault.TestCase
TestLifeOfASmallVault.settings = COMMON


def test_keys_header_length_is_what_the_format_says() -> None:
    rig = Rig().filled(b"x")
    assert len(rig.backend.sealed_blobs[rig.keys]) == KEYS_HEADER_BYTES + 2 * 60
