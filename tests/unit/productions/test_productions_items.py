import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.errors import ContentNotAsSealed, PackDamaged
from scelle.productions.extensions import extension_of
from scelle.productions.items import IN_VAULT, SMALL_BYTES, Shelf
from scelle.productions.scratch import Scratch
from scelle.productions.testing import MemoryContents


@pytest.fixture
def contents() -> MemoryContents:
    return MemoryContents()


@pytest.fixture
def shelf(tmp_path: Path, contents: MemoryContents) -> Iterator[Shelf]:
    scratch = Scratch(tmp_path / "items", hashed=False)
    yield Shelf(contents, scratch)
    scratch.close()


def unused() -> str:
    raise AssertionError("nothing is wrong, so nothing is named")


@pytest.mark.parametrize("size", [0, 1, 5000, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES + 7])
def test_a_content_comes_out_as_it_was_put(shelf: Shelf, contents: MemoryContents, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    digest = contents.put(data)
    shelf.put(contents.put(b"before"), 6, unused)
    crc32, offset = shelf.put(digest, size, unused)
    shelf._scratch.drain()
    member = shelf.member("items/A-0000001.bin", digest, size, crc32, offset)

    assert crc32 == zlib.crc32(data)
    assert (offset == IN_VAULT) == (size > SMALL_BYTES)
    with member.open() as opened:
        got = b"".join(iter(lambda: opened.read(100_000), b""))
    assert got == data


@pytest.mark.parametrize("size", [5, SMALL_BYTES + 5])
def test_what_is_not_what_was_sealed_is_named(shelf: Shelf, contents: MemoryContents, size: int) -> None:
    data = b"x" * size
    digest = sha256(data).digest()
    for wrong in (None, b"y" * size, data[:-1], data + b"x", b""):
        if wrong is not None:
            contents.by_digest[digest] = wrong
        with pytest.raises(ContentNotAsSealed, match=r"^content of record 3: .*nothing was produced"):
            shelf.put(digest, size, lambda: "content of record 3")
    contents.by_digest[digest] = data
    with pytest.raises(ContentNotAsSealed, match="another content than was sealed"):
        shelf.put(digest, size - 1, lambda: "content of record 3")


def test_a_damaged_pack_is_named_with_the_record(
    shelf: Shelf, contents: MemoryContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(digest: bytes) -> bytes:
        raise PackDamaged("pack 3f, frame 2")

    monkeypatch.setattr(contents, "read_bytes", damaged)
    with pytest.raises(ContentNotAsSealed, match="record 9: pack 3f, frame 2"):
        shelf.put(sha256(b"x").digest(), 1, lambda: "record 9")


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [
        ("text/plain", "txt"),
        ("Text/Plain; charset=utf-8", "txt"),
        ("text/x-unheard-of", "txt"),
        ("message/rfc822", "eml"),
        ("application/pdf", "pdf"),
        ("image/jpeg", "jpg"),
        ("inode/symlink", "txt"),
        ("application/octet-stream", "bin"),
        ("application/x-unheard-of", "bin"),
        ("", "bin"),
        ("../../etc/passwd", "bin"),
    ],
)
def test_extensions_come_from_the_media_type(media_type: str, extension: str) -> None:
    assert extension_of(media_type) == extension
