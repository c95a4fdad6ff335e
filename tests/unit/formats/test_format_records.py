from hashlib import sha256

import pytest

from scelle.errors import FormatError
from scelle.formats import records
from scelle.formats.records import (
    CHUNK_BYTES,
    ChunkRoot,
    chunk_leaf,
    chunk_root,
    chunk_salt,
    record_commitment,
)
from scelle.formats.values import integer_value, text_value

SALT = bytes(range(16))


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def test_record_key_has_two_halves() -> None:
    key = bytes(range(32))
    assert records.record_salt(key) == key[:16]
    assert records.index_salt(key) == key[16:]


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_record_key_of_another_width_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="width"):
        records.record_salt(bytes(size))
    with pytest.raises(FormatError, match="width"):
        records.index_salt(bytes(size))


def test_profile_0_is_the_page_written_out() -> None:
    values = [text_value("a"), integer_value(2)]
    expected = sha256(b"\0R0" + SALT + b"\0\2" + values[0] + values[1]).digest()
    assert record_commitment(0, SALT, values) == expected


def test_profile_1_is_the_page_written_out() -> None:
    values = [text_value("a"), integer_value(2), text_value("c")]
    leaves = []
    for number, value in enumerate(values):
        salt = sha256(b"S" + SALT + number.to_bytes(2, "big")).digest()[:16]
        leaves.append(sha256(b"\0" + b"F" + salt + value).digest())
    root = _node(_node(leaves[0], leaves[1]), leaves[2])
    assert record_commitment(1, SALT, values) == sha256(b"\0" + b"R1" + b"\0\3" + root).digest()


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 300])
def test_profile_1_agrees_with_its_parts(count: int) -> None:
    values = [integer_value(number) for number in range(count)]
    leaves = [
        records.field_leaf(records.field_salt(SALT, number), value) for number, value in enumerate(values)
    ]
    assert record_commitment(1, SALT, values) == records.commitment_of_leaves(leaves)


def test_every_part_counts() -> None:
    values = [text_value("a"), text_value("b")]
    known = {record_commitment(profile, SALT, values) for profile in (0, 1)}
    known |= {record_commitment(profile, SALT, values[::-1]) for profile in (0, 1)}
    known |= {record_commitment(profile, SALT, values[:1]) for profile in (0, 1)}
    known |= {record_commitment(profile, bytes(16), values) for profile in (0, 1)}
    assert len(known) == 8


@pytest.mark.parametrize(
    ("profile", "salt", "values"),
    [
        (0, bytes(15), [text_value("a")]),
        (1, bytes(15), [text_value("a")]),
        (1, bytes(17), [text_value("a")]),
        (1, bytes(32), [text_value("a")]),
        (0, SALT, []),
        (1, SALT, []),
        (1, SALT, [text_value("a")] * 65_536),
        (2, SALT, [text_value("a")]),
        (-1, SALT, [text_value("a")]),
    ],
    ids=["0-15", "1-15", "1-17", "1-32", "0-none", "1-none", "1-many", "2", "-1"],
)
def test_record_of_another_shape_is_refused(profile: int, salt: bytes, values: list[bytes]) -> None:
    with pytest.raises(FormatError):
        record_commitment(profile, salt, values)


@pytest.mark.parametrize("size", [0, 15, 17, 21])
def test_salt_of_another_width_is_refused(size: int) -> None:
    salt = bytes(size)
    for refused in (
        lambda: records.field_salt(salt, 0),
        lambda: records.field_leaf(salt, b"n\0\0\0\0"),
        lambda: chunk_salt(salt, 0),
        lambda: chunk_leaf(salt, b""),
        lambda: chunk_root(salt, b""),
        lambda: ChunkRoot(salt),
    ):
        with pytest.raises(FormatError, match="width"):
            refused()


def test_bytes_cannot_move_between_salt_and_value() -> None:
    leaf = records.field_leaf(SALT, b"s\0\0\0\1a")
    with pytest.raises(FormatError, match="width"):
        records.field_leaf(SALT + b"s\0\0\0\1", b"a")
    assert leaf != records.field_leaf(SALT, b"a")


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("piece", [CHUNK_BYTES + 7, 65_537])
def test_streamed_chunk_root_is_that_of_the_whole(size: int, piece: int) -> None:
    data = bytes(size)
    root = ChunkRoot(SALT)
    for at in range(0, size, piece):
        root.update(data[at : at + piece])
    assert root.digest() == chunk_root(SALT, data)
    assert root.digest() == root.digest()


def test_chunk_root_of_two_chunks_is_the_page_written_out() -> None:
    data = b"a" * CHUNK_BYTES + b"b"
    first = chunk_leaf(chunk_salt(SALT, 0), data[:CHUNK_BYTES])
    second = chunk_leaf(chunk_salt(SALT, 1), b"b")
    assert (
        first == sha256(b"\0C" + sha256(b"K" + SALT + bytes(8)).digest()[:16] + b"a" * CHUNK_BYTES).digest()
    )
    assert chunk_root(SALT, data) == _node(first, second)


def test_chunk_root_may_be_asked_for_on_the_way() -> None:
    root = ChunkRoot(SALT)
    assert root.digest() == chunk_root(SALT, b"")
    root.update(b"a")
    assert root.digest() == chunk_root(SALT, b"a")
    root.update(b"b" * CHUNK_BYTES)
    assert root.digest() == chunk_root(SALT, b"a" + b"b" * CHUNK_BYTES)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 256, 300])
@pytest.mark.parametrize("many", [1, 3])
def test_commitments_of_many_records_are_those_of_each(count: int, many: int) -> None:
    keys = [bytes([number]) * 16 + bytes(16) for number in range(many)]
    rows = [[integer_value(number * count + field) for field in range(count)] for number in range(many)]
    for profile, made in (
        (0, records_of_whole(keys, rows, count)),
        (1, records.field_commitments(keys, list(zip(*rows, strict=True)))),
    ):
        assert made == [
            record_commitment(profile, key[:16], row) for key, row in zip(keys, rows, strict=True)
        ]


def records_of_whole(keys: list[bytes], rows: list[list[bytes]], count: int) -> list[bytes]:
    return records.whole_commitments(keys, [b"".join(row) for row in rows], count)
