"""Read a vault with a second reader, written from docs/formats/vault.md alone, and known answers."""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scelle.errors import FormatError
from scelle.vault.catalog import create_catalog
from scelle.vault.contents import CONTENTS_TABLES, CatalogContentIndex
from scelle.vault.frames import (
    END,
    GROUP,
    LARGE,
    MARKER,
    OBJECT_MAX_BYTES,
    STORED,
    ZSTD,
    FrameHeader,
    pack_id_of,
    parse_frame_header,
)

from .support import KEY, Rig, noise, sha256, text

SECRET = bytes(range(32))


def derived(purpose: str) -> bytes:
    return HKDF(SHA256(), 32, None, b"scelle/vault/v1 " + purpose.encode()).derive(SECRET)


def second_reader(pack_id: str, pack: bytes, keys: bytes) -> Iterator[bytes]:
    """Give the contents of a pack; any deviation is an exception."""
    ids = derived("vault-id")[:16] + bytes.fromhex(pack_id)
    assert pack[:47] == b"scelle/pack/v1\n" + ids
    assert keys[:47] == b"scelle/keys/v1\n" + ids
    wrapping = AESGCM(derived("wrap"))
    at = number = 0
    at = 47
    while at < len(pack):
        head = pack[at : at + 24]
        marker, n, kind, coding, zero, objects, body_size = struct.unpack(">8sIBBHII", head)
        assert (marker, n, zero) == (b"\xf5sc\xe9ll\xe9\n", number, 0)
        wrapped = keys[47 + 60 * n : 107 + 60 * n]
        secret = wrapping.decrypt(wrapped[:12], wrapped[12:], keys[:47] + struct.pack(">I", n))
        frame, context = AESGCM(secret), pack[:47] + head
        at += 24
        if kind == ord("L"):
            assert (number, objects, body_size) == (0, 1, 0)
            end = len(pack) - 56
            body, count = pack[at : end - 56], 0
            plain = b""
            while body:
                chunk, body = body[: (1 << 20) + 16], body[(1 << 20) + 16 :]
                nonce = count.to_bytes(11, "big") + (b"\x00" if body else b"\x01")
                plain += frame.decrypt(nonce, chunk, context)
                count += 1
            table = frame.decrypt(bytes(11) + b"\x02", pack[end - 56 : end], context)
            at = end
        else:
            table = frame.decrypt(bytes(11) + b"\x02", pack[at : at + 40 * objects + 16], context)
            at += 40 * objects + 16
            plain = frame.decrypt(bytes(11) + b"\x01", pack[at : at + body_size], context)
            at += body_size
        if coding == 1:
            plain = zstandard.ZstdDecompressor().decompressobj().decompress(plain)
        for entry in range(0, len(table), 40):
            digest, size = struct.unpack(">32sQ", table[entry : entry + 40])
            content, plain = plain[:size], plain[size:]
            assert hashlib.sha256(content).digest() == digest
            yield content
        assert plain == b""
        number += 1
        if kind == ord("E"):
            assert (objects, at, len(keys)) == (0, len(pack), 47 + 60 * number)
            return
    raise AssertionError("no end frame")


def second_reading(rig: Rig) -> list[bytes]:
    return [
        content
        for name, data in rig.backend.sealed_blobs.items()
        if name.endswith(".pack")
        for content in second_reader(name[9:41], data, rig.backend.sealed_blobs[name[:-5] + ".keys"])
    ]


def test_a_second_reader_agrees_about_small_contents() -> None:
    contents = [text(700, seed) for seed in range(9)] + [noise(500, seed) for seed in range(9)] + [b""]
    contents.append(text(200_000))
    rig = Rig()
    with rig.store() as store:
        for number, content in enumerate(contents):
            store.put(content, sha256(content))
            if number % 5 == 0:
                store.sync()
    assert sorted(second_reading(rig)) == sorted(contents)


@pytest.mark.parametrize("content", [noise(OBJECT_MAX_BYTES + 5), text(OBJECT_MAX_BYTES + (1 << 20))])
def test_a_second_reader_agrees_about_large_contents(content: bytes) -> None:
    rig = Rig()
    with rig.store() as store:
        store.put_stream(iter((content,)))
    assert second_reading(rig) == [content]


def test_a_second_reader_agrees_about_a_recovered_pack() -> None:
    rig = Rig()
    store = rig.store()
    store.put(text(100), sha256(text(100)))
    store.sync()
    rig.backend.unfinished_blobs[rig.pack] += b"torn"
    rig.store()
    assert second_reading(rig) == [text(100)]


def test_content_is_hidden_in_the_catalog_as_the_format_says(tmp_path: Path) -> None:
    catalog = create_catalog(tmp_path / "catalog.db", [CONTENTS_TABLES])
    index = CatalogContentIndex(catalog, KEY)
    index.add_frame("ab" * 16, 47, [(sha256(b"x"), 1)])
    index.commit()
    (row,) = catalog.connection.execute("SELECT content FROM contents").fetchall()
    assert row[0] == hashlib.blake2b(sha256(b"x"), digest_size=32, key=derived("contents")).digest()
    catalog.close()


GOOD_HEADERS = [
    FrameHeader(0, GROUP, ZSTD, 3, 100),
    FrameHeader(2**32 - 1, GROUP, STORED, 1, 16),
    FrameHeader(0, LARGE, ZSTD, 1, 0),
    FrameHeader(7, END, STORED, 0, 16),
]
BAD_HEADERS = [
    FrameHeader(0, GROUP, 2, 3, 100),
    FrameHeader(0, GROUP, ZSTD, 0, 100),
    FrameHeader(0, GROUP, ZSTD, 1, 15),
    FrameHeader(0, GROUP, ZSTD, 1, (8 << 20) + 17),
    FrameHeader(1, LARGE, STORED, 1, 0),
    FrameHeader(0, LARGE, STORED, 2, 0),
    FrameHeader(0, LARGE, STORED, 1, 16),
    FrameHeader(3, END, STORED, 1, 16),
    FrameHeader(3, END, ZSTD, 0, 16),
    FrameHeader(3, END, STORED, 0, 17),
    FrameHeader(0, ord("X"), STORED, 1, 16),
]


@pytest.mark.parametrize("header", GOOD_HEADERS)
def test_a_frame_header_reads_back(header: FrameHeader) -> None:
    data = header.encode()
    assert len(data) == 24
    assert parse_frame_header(data) == header


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_an_impossible_frame_header_is_refused(header: FrameHeader) -> None:
    with pytest.raises(FormatError):
        parse_frame_header(header.encode())


def test_a_torn_frame_header_is_refused() -> None:
    data = GOOD_HEADERS[0].encode()
    for torn in (b"", data[:-1], data + b"\x00", b"\x00" + data[1:], data[:14] + b"\x00\x01" + data[16:]):
        with pytest.raises(FormatError):
            parse_frame_header(torn)
    assert data.startswith(MARKER)


@pytest.mark.parametrize(
    "name",
    [
        "packs/ab/x.pack",
        "packs/ab/" + "cd" * 16 + ".pack",
        "packs/ab/" + "ab" * 16,
        "packs/AB/" + "AB" * 16 + ".pack",
        "packs/ab/" + "ab" * 16 + ".keys.tmp",
        "packs/ab/" + "ab" * 17 + ".pack",
        "x/ab/" + "ab" * 16 + ".pack",
    ],
)
def test_other_names_are_no_packs(name: str) -> None:
    assert pack_id_of(name) is None
    assert pack_id_of("packs/ab/" + "ab" * 16 + ".keys") == "ab" * 16
