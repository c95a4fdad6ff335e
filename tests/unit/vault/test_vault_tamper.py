"""Alter, cut, swap and forge the bytes of packs: a scan names every fault, and never calls wrong bytes
right."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import ContentMissing, PackDamaged
from scelle.vault.frames import (
    CHUNK_BYTES,
    END_FRAME_BYTES,
    FRAME_HEADER_BYTES,
    GROUP,
    KEYS_HEADER_BYTES,
    LARGE,
    OBJECT_MAX_BYTES,
    PACK_HEADER_BYTES,
    STORED,
    ZSTD,
    FrameCoder,
    FrameHeader,
    SealedFrame,
    Table,
    chunk_nonce,
    encode_table,
    keys_name,
    pack_identity,
    pack_name,
)
from scelle.vault.scanning import PackFault, ScannedObject, scan_pack

from .support import KEY, OTHER_KEY, Rig, digests_of, noise, scan_all, sha256, text

CONTENTS = [text(300, 1), text(200, 2), noise(150, 3), b""]
PACK_ID = "5c" * 16
IDENTITY = pack_identity(KEY.vault_id, PACK_ID)


@pytest.fixture(scope="module")
def small() -> Rig:
    return Rig().filled(*CONTENTS)


@pytest.fixture(scope="module")
def several() -> Rig:
    """A pack of five frames of one content each, and the end frame."""
    rig = Rig()
    with rig.store() as store:
        for seed in range(5):
            store.put(text(400, seed), sha256(text(400, seed)))
            store.sync()
    return rig


@pytest.fixture(scope="module")
def large() -> Rig:
    rig = Rig()
    with rig.store() as store:
        store.put_stream(iter((noise(OBJECT_MAX_BYTES + 12345),)))
    return rig


def frames_of(rig: Rig) -> list[tuple[int, int]]:
    """Give offset and end of every frame of a pack of groups."""
    data = rig.backend.sealed_blobs[rig.pack]
    places, offset = [], PACK_HEADER_BYTES
    while offset < len(data):
        objects = int.from_bytes(data[offset + 16 : offset + 20], "big")
        size = FRAME_HEADER_BYTES + objects * 40 + 16 + int.from_bytes(data[offset + 20 : offset + 24], "big")
        places.append((offset, offset + size))
        offset += size
    return places


def altered(rig: Rig, name: str, data: bytes) -> tuple[list[ScannedObject], list[PackFault]]:
    changed = rig.copy()
    changed.backend.sealed_blobs[name] = data
    return scan_all(changed.backend)


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def test_an_untouched_pack_has_no_fault(small: Rig, several: Rig, large: Rig) -> None:
    for rig in (small, several, large):
        assert scan_all(rig.backend)[1] == []


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_of_a_pack_is_named(small: Rig, mask: int) -> None:
    data = small.backend.sealed_blobs[small.pack]
    right = {sha256(content) for content in CONTENTS}
    starts = [0, *(offset for offset, _ in frames_of(small))]
    for at in range(len(data)):
        objects, faults = altered(small, small.pack, flipped(data, at, mask))
        assert faults, f"byte {at} was flipped and nobody saw it"
        assert all(fault.pack == small.pack_id and fault.file == small.pack for fault in faults)
        assert digests_of(objects) <= right
        place = max(offset for offset in starts if offset <= at)
        assert place in {fault.offset for fault in faults}, f"byte {at} was named elsewhere"


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_of_a_keys_file_is_named(small: Rig, mask: int) -> None:
    data = small.backend.sealed_blobs[small.keys]
    for at in range(len(data)):
        _, faults = altered(small, small.keys, flipped(data, at, mask))
        assert faults, f"byte {at} was flipped and nobody saw it"
        if at < KEYS_HEADER_BYTES:
            assert [(fault.code, fault.file) for fault in faults] == [("vault.keys_damaged", small.keys)]
        else:
            frame = (at - KEYS_HEADER_BYTES) // 60
            assert ("vault.frame_key", frame) in {(fault.code, fault.frame) for fault in faults}


def test_a_flipped_byte_costs_one_frame_only(several: Rig) -> None:
    data = several.backend.sealed_blobs[several.pack]
    for offset, end in frames_of(several)[:5]:
        for at in (offset, offset + 9, offset + 20, offset + 23, offset + 24, offset + 70, end - 1):
            objects, faults = altered(several, several.pack, flipped(data, at))
            assert len(objects) == 4, f"byte {at}"
            assert faults[0].offset == offset


def test_a_damaged_body_names_the_contents_that_it_takes_away(several: Rig) -> None:
    data = several.backend.sealed_blobs[several.pack]
    _, end = frames_of(several)[2]
    _, faults = altered(several, several.pack, flipped(data, end - 20))
    assert [(fault.code, fault.frame, fault.lost) for fault in faults] == [
        ("vault.frame_damaged", 2, (sha256(text(400, 2)),))
    ]


def test_all_faults_are_listed(several: Rig) -> None:
    data = several.backend.sealed_blobs[several.pack]
    for offset, _ in frames_of(several)[:5:2]:
        data = flipped(data, offset + 30)
    changed = several.copy()
    changed.backend.sealed_blobs[several.pack] = flipped(data, 3)
    changed.backend.sealed_blobs[several.keys] += b"x"
    objects, faults = scan_all(changed.backend)
    assert [fault.code for fault in faults] == [
        "vault.pack_header",
        "vault.keys_damaged",
        "vault.frame_damaged",
        "vault.frame_damaged",
        "vault.frame_damaged",
    ]
    assert len(objects) == 2


@pytest.mark.parametrize("which", ["pack", "keys"])
def test_every_cut_is_named(small: Rig, which: str) -> None:
    name = small.pack if which == "pack" else small.keys
    data = small.backend.sealed_blobs[name]
    for size in range(len(data)):
        assert altered(small, name, data[:size])[1], f"cut to {size} bytes, and nobody saw it"


def test_a_cut_of_both_files_at_a_frame_is_named(several: Rig) -> None:
    for kept, (_, end) in enumerate(frames_of(several), start=1):
        if kept == 6:
            break
        changed = several.copy()
        changed.backend.sealed_blobs[several.pack] = several.backend.sealed_blobs[several.pack][:end]
        keys = several.backend.sealed_blobs[several.keys]
        changed.backend.sealed_blobs[several.keys] = keys[: KEYS_HEADER_BYTES + 60 * kept]
        objects, faults = scan_all(changed.backend)
        assert [fault.code for fault in faults] == ["vault.pack_cut"]
        assert len(objects) == kept


@pytest.mark.parametrize("tail", [b"\x00", b"junk" * 30, bytes(5000)])
@pytest.mark.parametrize("which", ["pack", "keys"])
def test_bytes_behind_the_end_are_named(small: Rig, which: str, tail: bytes) -> None:
    name = small.pack if which == "pack" else small.keys
    objects, faults = altered(small, name, small.backend.sealed_blobs[name] + tail)
    assert faults
    assert len(objects) == len(CONTENTS)


def test_frames_in_another_order_are_named(several: Rig) -> None:
    data = several.backend.sealed_blobs[several.pack]
    (a, b), (c, d) = frames_of(several)[1], frames_of(several)[2]
    swapped = data[:a] + data[c:d] + data[a:b] + data[d:]
    objects, faults = altered(several, several.pack, swapped)
    assert {fault.code for fault in faults} == {"vault.frame_order"}
    assert (faults[0].frame, faults[0].offset) == (2, a)
    assert len(objects) == 5


def test_a_frame_left_out_or_twice_is_named(several: Rig) -> None:
    data = several.backend.sealed_blobs[several.pack]
    a, b = frames_of(several)[1]
    assert [f.code for f in altered(several, several.pack, data[:a] + data[b:])[1]] == ["vault.frame_order"]
    assert {f.code for f in altered(several, several.pack, data[:b] + data[a:])[1]} == {"vault.frame_order"}


def test_a_frame_of_another_pack_is_named(several: Rig) -> None:
    other = Rig()
    with other.store() as store:
        for seed in range(5):
            store.put(text(400, seed), sha256(text(400, seed)))
            store.sync()
    mine, theirs = several.backend.sealed_blobs[several.pack], other.backend.sealed_blobs[other.pack]
    (a, b), (c, d) = frames_of(several)[1], frames_of(other)[1]
    changed = several.copy()
    changed.backend.sealed_blobs[several.pack] = mine[:a] + theirs[c:d] + mine[b:]
    keys, other_keys = several.backend.sealed_blobs[several.keys], other.backend.sealed_blobs[other.keys]
    at = KEYS_HEADER_BYTES + 60
    changed.backend.sealed_blobs[several.keys] = keys[:at] + other_keys[at : at + 60] + keys[at + 60 :]
    objects, faults = scan_all(changed.backend)
    assert [(fault.code, fault.frame) for fault in faults] == [("vault.frame_key", 1)]
    assert len(objects) == 4


def test_a_pack_under_another_name_is_named(several: Rig) -> None:
    changed = several.copy()
    other = "77" * 16
    changed.backend.sealed_blobs[pack_name(other)] = changed.backend.sealed_blobs.pop(several.pack)
    changed.backend.sealed_blobs[keys_name(other)] = changed.backend.sealed_blobs.pop(several.keys)
    objects, faults = scan_all(changed.backend)
    assert objects == []
    assert {fault.code for fault in faults} == {
        "vault.pack_header", "vault.keys_damaged", "vault.frame_key", "vault.pack_cut",
    }  # fmt: skip


def test_another_key_opens_nothing(several: Rig) -> None:
    objects, faults = scan_all(several.backend, OTHER_KEY)
    assert objects == []
    assert "vault.frame_key" in {fault.code for fault in faults}


def test_missing_files_are_named(several: Rig) -> None:
    without_keys = several.copy()
    del without_keys.backend.sealed_blobs[several.keys]
    assert [fault.code for fault in scan_all(without_keys.backend)[1]] == ["vault.keys_missing"]
    without_pack = several.copy()
    del without_pack.backend.sealed_blobs[several.pack]
    assert [fault.code for fault in scan_all(without_pack.backend)[1]] == ["vault.pack_missing"]
    assert [f.code for f in altered(several, several.pack, b"")[1]] == ["vault.pack_header", "vault.pack_cut"]


def test_a_destroyed_key_is_named_as_such(several: Rig) -> None:
    keys = several.backend.sealed_blobs[several.keys]
    at = KEYS_HEADER_BYTES + 60 * 3
    objects, faults = altered(several, several.keys, keys[:at] + bytes(60) + keys[at + 60 :])
    assert [(fault.code, fault.frame) for fault in faults] == [("vault.frame_key_destroyed", 3)]
    assert len(objects) == 4


def test_sampled_bytes_of_a_large_object_are_named(large: Rig) -> None:
    data = large.backend.sealed_blobs[large.pack]
    chunk = CHUNK_BYTES + 16
    first = PACK_HEADER_BYTES + FRAME_HEADER_BYTES
    places = [0, 46, 47, 60, 62, 63, first - 1, first, first + chunk - 1, first + chunk, len(data) // 2]
    places += range(len(data) - END_FRAME_BYTES - 60, len(data), 7)
    for at in places:
        objects, faults = altered(large, large.pack, flipped(data, at))
        assert faults, f"byte {at} was flipped and nobody saw it"
        assert objects == [] or at < PACK_HEADER_BYTES or at >= len(data) - END_FRAME_BYTES


def test_every_damaged_chunk_is_listed_with_its_place(large: Rig) -> None:
    data = large.backend.sealed_blobs[large.pack]
    places = [PACK_HEADER_BYTES + FRAME_HEADER_BYTES + n * (CHUNK_BYTES + 16) for n in (0, 3, 8)]
    for at in places:
        data = flipped(data, at + 5)
    _, faults = altered(large, large.pack, data)
    assert [(fault.code, fault.offset) for fault in faults] == [("vault.chunk_damaged", at) for at in places]
    assert all(fault.lost == (sha256(noise(OBJECT_MAX_BYTES + 12345)),) for fault in faults)


def test_chunks_swapped_cut_or_repeated_are_named(large: Rig) -> None:
    data = large.backend.sealed_blobs[large.pack]
    first, size = PACK_HEADER_BYTES + FRAME_HEADER_BYTES, CHUNK_BYTES + 16
    a, b, c = first, first + size, first + 2 * size
    for forged in (data[:a] + data[b:c] + data[a:b] + data[c:], data[:a] + data[b:], data[:b] + data[a:]):
        objects, faults = altered(large, large.pack, forged)
        assert objects == []
        assert faults
    for size_bytes in (
        len(data) - 1,
        len(data) - END_FRAME_BYTES,
        first + size,
        first + 5,
        PACK_HEADER_BYTES + 3,
    ):
        objects, faults = altered(large, large.pack, data[:size_bytes])
        assert "vault.pack_cut" in {fault.code for fault in faults}
        assert objects == []


def test_reading_never_gives_damaged_bytes(small: Rig, several: Rig) -> None:
    for rig, contents in ((small, CONTENTS), (several, [text(400, seed) for seed in range(5)])):
        data = rig.backend.sealed_blobs[rig.pack]
        for at in range(0, len(data), 13):
            changed = rig.copy()
            changed.backend.sealed_blobs[rig.pack] = flipped(data, at)
            with changed.store() as store:
                for content in contents:
                    with suppress(PackDamaged, ContentMissing):
                        assert store.read_bytes(sha256(content)) == content


def test_a_damaged_large_object_is_refused_at_the_latest_at_its_end(large: Rig) -> None:
    changed = large.copy()
    data = large.backend.sealed_blobs[large.pack]
    changed.backend.sealed_blobs[large.pack] = flipped(data, len(data) // 2)
    pieces = changed.store().read(sha256(noise(OBJECT_MAX_BYTES + 12345)))
    with pytest.raises(PackDamaged, match="chunk 4"):
        list(pieces)


# --- forged by the holder of the key: what a pack declares is still a limit


def forged_pack(*frames: Callable[[int], SealedFrame]) -> Rig:
    rig = Rig()
    sealed = [frame(number) for number, frame in enumerate(frames)]
    sealed.append(FrameCoder(KEY).seal_end(IDENTITY, len(frames)))
    rig.backend.sealed_blobs[pack_name(PACK_ID)] = IDENTITY.header + b"".join(frame.data for frame in sealed)
    keys = b"".join(frame.wrapped_key for frame in sealed)
    rig.backend.sealed_blobs[keys_name(PACK_ID)] = IDENTITY.keys_header + keys
    return rig


def forged_frame(table: Table, body: bytes, coding: int) -> Callable[[int], SealedFrame]:
    def sealed(number: int) -> SealedFrame:
        header = FrameHeader(number, GROUP, coding, len(table), len(body) + 16)
        return FrameCoder(KEY)._seal(IDENTITY, header, encode_table(table), body)

    return sealed


def honest(content: bytes) -> Callable[[int], SealedFrame]:
    return forged_frame([(sha256(content), len(content))], content, STORED)


def faults_between_honest_frames(frame: Callable[[int], SealedFrame]) -> list[PackFault]:
    rig = forged_pack(honest(b"before"), frame, honest(b"after"))
    objects, faults = scan_all(rig.backend)
    assert digests_of(objects) >= {sha256(b"before"), sha256(b"after")}
    with pytest.raises(Exception, match="pack"):
        rig.store().read_bytes(sha256(b"bomb"))
    return faults


def zeros(size: int) -> bytes:
    """Compress zeros without holding them; the frame declares its size."""
    compressor = zstandard.ZstdCompressor(level=3).compressobj(size=size)
    block = bytes(1 << 20)
    return b"".join(compressor.compress(block) for _ in range(size >> 20)) + compressor.flush()


def claiming(size: int) -> bytes:
    """Make a zstd frame of nothing that claims a size (RFC 8878 §3.1.1)."""
    return b"\x28\xb5\x2f\xfd\xc0\x58" + size.to_bytes(8, "little") + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        (5, claiming(1 << 44)),
        (1000, zeros(1 << 30)),
        (8 << 20, zeros(1 << 30)),
        (1 << 30, zeros(1 << 30)),
        (1 << 63, zeros(1 << 20)),
        (1 << 20, zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20))),
        (5, b"not zstd at all"),
        (5, b""),
        (1 << 20, zeros(1 << 20)[:-1]),
        (1 << 20, zeros(1 << 20) + b"x"),
        (2 << 20, zeros(1 << 20) + zeros(1 << 20)),
    ],
)
def test_a_bomb_in_a_frame_is_refused(declared: int, body: bytes) -> None:
    faults = faults_between_honest_frames(forged_frame([(sha256(b"bomb"), declared)], body, ZSTD))
    assert [(fault.code, fault.frame) for fault in faults] == [("vault.frame_bomb", 1)]


@pytest.mark.parametrize("sizes", [[4], [6], [2, 2], [5, 1 << 40], [1 << 63, 1 << 63]])
def test_a_table_that_does_not_fit_its_frame_is_refused(sizes: Sequence[int]) -> None:
    table = [(sha256(b"bomb"), size) for size in sizes]
    faults = faults_between_honest_frames(forged_frame(table, b"12345", STORED))
    assert [(fault.code, fault.frame) for fault in faults] == [("vault.frame_bomb", 1)]


def test_a_content_with_another_digest_is_refused() -> None:
    table = [(sha256(b"one"), 3), (sha256(b"bomb"), 3), (sha256(b"six"), 3)]
    faults = faults_between_honest_frames(forged_frame(table, b"onetwosix", STORED))
    assert [(fault.code, fault.lost) for fault in faults] == [("vault.content_digest", (sha256(b"bomb"),))]


def forged_large(content: bytes, body: bytes, coding: int, declared: int) -> Rig:
    header = FrameHeader(0, LARGE, coding, 1, 0).encode()
    secret = bytes(32)
    cipher, context = AESGCM(secret), IDENTITY.header + header
    chunks = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
    sealed = b"".join(
        cipher.encrypt(chunk_nonce(number, is_last=number == len(chunks) - 1), chunk, context)
        for number, chunk in enumerate(chunks)
    )
    table = cipher.encrypt(bytes(11) + b"\x02", encode_table([(sha256(content), declared)]), context)
    end = FrameCoder(KEY).seal_end(IDENTITY, 1)
    rig = Rig()
    rig.backend.sealed_blobs[pack_name(PACK_ID)] = IDENTITY.header + header + sealed + table + end.data
    keys = KEY.wrap(secret, IDENTITY.key_context(0)) + end.wrapped_key
    rig.backend.sealed_blobs[keys_name(PACK_ID)] = IDENTITY.keys_header + keys
    return rig


def test_the_forger_of_large_objects_can_also_make_honest_ones() -> None:
    content = text(1000)
    for body, coding in ((content, STORED), (zstandard.ZstdCompressor().compress(content), ZSTD)):
        rig = forged_large(content, body, coding, len(content))
        assert (digests_of(scan_all(rig.backend)[0]), scan_all(rig.backend)[1]) == ({sha256(content)}, [])


@pytest.mark.parametrize(
    ("body", "coding", "declared", "code"),
    [
        (zeros(1 << 30), ZSTD, 1 << 20, "vault.frame_bomb"),
        (zeros(4 << 20), ZSTD, (4 << 20) + 1, "vault.frame_bomb"),
        (zeros(4 << 20) + b"more", ZSTD, 4 << 20, "vault.frame_bomb"),
        (zeros(4 << 20) + bytes(2 << 20), ZSTD, 4 << 20, "vault.frame_bomb"),
        (b"not zstd", ZSTD, 8, "vault.frame_bomb"),
        (b"longer", STORED, 5, "vault.frame_bomb"),
        (b"short", STORED, 6, "vault.frame_bomb"),
        (b"other", STORED, 5, "vault.content_digest"),
    ],
)
def test_a_bomb_in_a_large_object_is_refused(body: bytes, coding: int, declared: int, code: str) -> None:
    rig = forged_large(b"bomb", body, coding, declared)
    fed: list[int] = []
    for _ in scan_pack(rig.backend, KEY, PACK_ID, lambda *_: lambda piece: fed.append(len(piece))):
        pass
    assert sum(fed) <= declared
    objects, faults = scan_all(rig.backend)
    assert objects == []
    assert [fault.code for fault in faults] == [code]
    with pytest.raises(PackDamaged):
        rig.store().read_bytes(sha256(b"bomb"))


@pytest.mark.parametrize(("window_log", "is_read"), [(20, True), (23, True), (24, False), (27, False)])
def test_a_window_too_large_is_refused(window_log: int, is_read: bool) -> None:
    content = noise(1 << 20) * 9
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(content) + compressor.flush()
    objects, faults = scan_all(forged_large(content, body, ZSTD, len(content)).backend)
    assert len(objects) == is_read
    assert [fault.code for fault in faults] == [] if is_read else ["vault.frame_bomb"]


def test_a_large_object_behind_another_frame_is_refused() -> None:
    rig = forged_pack(honest(b"before"))
    data = rig.backend.sealed_blobs[pack_name(PACK_ID)]
    end = len(data) - END_FRAME_BYTES
    header = FrameHeader(0, LARGE, STORED, 1, 0).encode()
    rig.backend.sealed_blobs[pack_name(PACK_ID)] = data[:end] + header + bytes(200) + data[end:]
    _, faults = scan_all(rig.backend)
    assert "vault.frame_order" in {fault.code for fault in faults}


# --- what a scan hands on


def test_a_scan_feeds_sinks_and_only_those_it_was_given(small: Rig, large: Rig) -> None:
    wanted = {sha256(CONTENTS[0]), sha256(CONTENTS[3]), sha256(noise(OBJECT_MAX_BYTES + 12345))}
    fed: dict[bytes, list[bytes]] = {}

    def on_object(digest: bytes, size: int) -> Callable[[bytes], None] | None:
        return fed.setdefault(digest, []).append if digest in wanted else None

    for rig in (small, large):
        for _ in scan_pack(rig.backend, KEY, rig.pack_id, on_object):
            pass
    assert fed.keys() == wanted
    assert all(sha256(b"".join(pieces)) == digest for digest, pieces in fed.items())
    assert max(len(piece) for pieces in fed.values() for piece in pieces) <= CHUNK_BYTES


def test_an_unreadable_pack_is_a_fault_and_no_exception(small: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from scelle.errors import StorageFailed
    from scelle.vault import memory

    def failing(*_: object) -> bytes:
        raise StorageFailed("input/output error")

    monkeypatch.setattr(memory._MemoryReader, "pread", failing)
    faults = list(scan_pack(small.backend, KEY, small.pack_id))
    assert [fault.code for fault in faults if isinstance(fault, PackFault)] == ["vault.pack_unreadable"]
