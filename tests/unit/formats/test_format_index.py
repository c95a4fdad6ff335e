import hmac
from hashlib import sha256

import pytest

from scelle.errors import FormatError
from scelle.formats import index
from scelle.formats.flat import Part
from scelle.formats.index import (
    TagColumn,
    Tagger,
    entry_leaf,
    index_leaf,
    index_leaves,
    inner,
    sort_key,
    tag,
    u2,
    u3,
)
from scelle.formats.values import NULL, text_value

KEY = bytes(range(32))
SALT = bytes(range(16))
RC = bytes(range(100, 132))


@pytest.mark.parametrize(
    ("dimension", "identifier"), [("source", "s0001"), ("model", "modèle-2"), ("account", "")]
)
def test_tag_is_hmac_sha256(dimension: str, identifier: str) -> None:
    message = dimension.encode() + b"\0" + identifier.encode()
    assert tag(KEY, dimension, identifier) == hmac.digest(KEY, message, "sha256")[:16]


def test_null_and_empty_share_a_tag() -> None:
    assert tag(KEY, "account", None) == tag(KEY, "account", "")
    assert tag(KEY, "account", None) != tag(KEY, "source", None)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_tag_key_of_another_width_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="tag key"):
        Tagger(bytes(size))
    with pytest.raises(FormatError, match="tag key"):
        tag(bytes(size), "account", "a")


def test_leaf_is_the_page_written_out() -> None:
    own = tag(KEY, "account", "account:7")
    below = sha256(b"I" + SALT + (-5).to_bytes(8, "big", signed=True) + bytes(7) + b"\x09" + RC).digest()
    third = sha256(b"T" + own[2:16] + below).digest()
    second = sha256(b"T" + own[1:2] + third).digest()
    leaf = sha256(b"\0" + b"X" + b"\2" + own[:1] + second).digest()
    assert inner(SALT, -5, 9, RC) == below
    assert u3(own, below) == third
    assert u2(own, third) == second
    assert entry_leaf(2, own[:1], second) == entry_leaf(2, own, second) == leaf
    assert index_leaf(2, own, SALT, -5, 9, RC) == leaf
    assert index_leaves([bytes(16), own], SALT, -5, 9, RC) == [
        index_leaf(1, bytes(16), SALT, -5, 9, RC),
        leaf,
    ]


def test_every_part_counts() -> None:
    own = bytes(range(16))
    leaves = {index_leaf(dimension, own, SALT, 1, 2, RC) for dimension in (1, 2, 3)}
    leaves |= {index_leaf(1, own[:at] + b"\xff" + own[at + 1 :], SALT, 1, 2, RC) for at in range(16)}
    leaves |= {index_leaf(1, own, RC[:16], 1, 2, RC), index_leaf(1, own, SALT, 2, 2, RC)}
    leaves |= {index_leaf(1, own, SALT, 1, 3, RC), index_leaf(1, own, SALT, 1, 2, RC[::-1])}
    assert len(leaves) == 3 + 16 + 4


@pytest.mark.parametrize("size", [0, 15, 17])
def test_tag_of_another_width_is_refused(size: int) -> None:
    for refused in (
        lambda: index_leaf(1, bytes(size), SALT, 1, 2, RC),
        lambda: u3(bytes(size), RC),
        lambda: u2(bytes(size), RC),
        lambda: index.index_leaf_of(1, bytes(size), RC),
        lambda: index_leaves([bytes(size)], SALT, 1, 2, RC),
    ):
        with pytest.raises(FormatError, match="width"):
            refused()


@pytest.mark.parametrize(("salt", "rc"), [(15, 32), (17, 32), (24, 32), (16, 31), (16, 33), (16, 0)])
def test_salt_or_commitment_of_another_width_is_refused(salt: int, rc: int) -> None:
    with pytest.raises(FormatError, match="width"):
        index_leaf(1, bytes(16), bytes(salt), 1, 2, bytes(rc))


def test_inner_of_another_width_is_refused() -> None:
    for size in (31, 33):
        with pytest.raises(FormatError, match="width"):
            index.index_leaf_of(1, bytes(16), bytes(size))
        with pytest.raises(FormatError, match="width"):
            entry_leaf(1, b"a", bytes(size))
        with pytest.raises(FormatError, match="width"):
            u2(bytes(16), bytes(size))
        with pytest.raises(FormatError, match="width"):
            u3(bytes(16), bytes(size))
    with pytest.raises(FormatError, match="width"):
        entry_leaf(1, b"", bytes(32))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_time_over_64_bits_is_refused(number: int) -> None:
    with pytest.raises(FormatError, match="64 bits"):
        inner(SALT, number, 0, RC)
    with pytest.raises(FormatError, match="64 bits"):
        sort_key(0, number)


@pytest.mark.parametrize("number", [0, -1, 33, 256])
def test_dimension_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(FormatError, match="dimension"):
        index_leaf(number, bytes(16), SALT, 1, 2, RC)
    with pytest.raises(FormatError, match="dimension"):
        entry_leaf(number, b"a", RC)


def test_sort_key_orders_signed_numbers() -> None:
    pairs = [
        (-(2**63), 0),
        (-86_400_000_000, 1),
        (-1, 2),
        (0, 3),
        (0, 4),
        (1, 5),
        (2**63 - 1, 7),
        (2**63 - 1, 8),
    ]
    backwards = pairs[::-1]
    assert sorted(backwards, key=lambda pair: sort_key(*pair)) == pairs


def test_columns_are_those_of_each_record() -> None:
    keys = [sha256(bytes([number])).digest() for number in range(5)]
    rcs = [sha256(key).digest() for key in keys]
    tags = [tag(KEY, "account", f"account:{number % 3}") for number in range(5)]
    times = [-(2**63), -1, 0, 5, 2**63 - 1]
    numbers = b"".join(
        time.to_bytes(8, "big", signed=True) + seq.to_bytes(8, "big") for seq, time in enumerate(times)
    )
    shared = [
        inner(key[16:], time, seq, rc)
        for seq, (key, time, rc) in enumerate(zip(keys, times, rcs, strict=True))
    ]
    flat = index.inner_column(Part(b"".join(keys), 32, 16, 32), numbers, b"".join(rcs))
    assert flat == b"".join(shared)
    for dimension in (1, 2, 32):
        expected = [index.index_leaf_of(dimension, own, each) for own, each in zip(tags, shared, strict=True)]
        assert index.leaf_column(dimension, b"".join(tags), flat) == b"".join(expected)
    assert index.leaf_column(1, b"", b"") == b""


@pytest.mark.parametrize(("tags", "inners"), [(16, 31), (16, 64), (15, 32), (32, 32), (0, 32)])
def test_columns_of_another_width_are_refused(tags: int, inners: int) -> None:
    with pytest.raises(FormatError, match="width"):
        index.leaf_column(1, bytes(tags), bytes(inners))
    with pytest.raises(FormatError, match="dimension"):
        index.leaf_column(33, bytes(16), bytes(32))


def test_tags_of_a_column_are_those_of_each_identifier_and_few_are_kept() -> None:
    tags = TagColumn(Tagger(KEY), "modèle", 3)
    for _ in range(2):
        for name in ("a", "é", "b" * 100, "", "c", "d"):
            assert tags[text_value(name)] == tag(KEY, "modèle", name)
            assert len(tags) <= 3
    assert tags[NULL] == tag(KEY, "modèle", None)
