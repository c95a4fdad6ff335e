"""Hash entries of the sorted index X, and tags of its dimensions (ledger.md §3).

An entry is hashed in three steps, so that a neighbour can be shown by one, two or all bytes of its tag.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from scelle.errors import FormatError
from scelle.formats.flat import Flat, Part, column_of, interleaved, items_of
from scelle.formats.tokens import DIGEST_BYTES, INT64_MIN, checked_width, shown

if TYPE_CHECKING:
    from _hashlib import HASH

TAG_BYTES: Final = 16
SORT_KEY_BYTES: Final = 32
"""A tag, and time and sequence number as `sort_key` writes them."""
TAG_KEY_BYTES: Final = 32
DIMENSIONS_MAX: Final = 32
_LEAF: Final = {number: b"\0X" + bytes((number,)) for number in range(1, DIMENSIONS_MAX + 1)}
_BYTES: Final = [bytes((number,)) for number in range(256)]
_MIDDLES: Final = [b"T" + byte for byte in _BYTES]
_pack_signed = struct.Struct(">qq").pack
_pack_unsigned = struct.Struct(">QQ").pack


class Tagger:
    """Compute tags under one order's tag key; its HMAC state is prepared once."""

    def __init__(self, tag_key: bytes) -> None:
        padded = checked_width(tag_key, TAG_KEY_BYTES, "tag key").ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def tag(self, dimension: str, identifier: str | None) -> bytes:
        """Compute the 16-byte tag of an identifier; null counts as the empty text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{dimension}\0{identifier or ''}".encode())
        outer.update(inner.digest())
        return outer.digest()[:16]

    def started(self, dimension: str) -> tuple["HASH", "HASH"]:
        """Return copies of both hash states of the HMAC, the inner one fed with the name of `dimension`."""
        inner = self._inner.copy()
        inner.update(f"{dimension}\0".encode())
        return inner, self._outer.copy()


class TagColumn(dict[bytes, bytes]):
    """Give the tag of each encoded identifier of one dimension, type `s` or `n`; at most `kept` are computed once.

    What is hashed are the bytes of the value as they are: whoever encodes a value answers for their form.
    """

    def __init__(self, tagger: Tagger, dimension: str, kept: int) -> None:
        super().__init__()
        self._kept = kept
        self._inner, self._outer = tagger.started(dimension)

    def __missing__(self, value: bytes) -> bytes:
        if len(self) >= self._kept:
            self.clear()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value[5:])
        outer.update(inner.digest())
        self[value] = found = outer.digest()[:TAG_BYTES]
        return found


@lru_cache(maxsize=64)
def _tagger(tag_key: bytes) -> Tagger:
    return Tagger(tag_key)


def tag(tag_key: bytes, dimension: str, identifier: str | None) -> bytes:
    """Compute the 16-byte tag of `identifier` in `dimension` under the order's tag key."""
    return _tagger(tag_key).tag(dimension, identifier)


def inner(index_salt: bytes, time: int, seq: int, rc: bytes) -> bytes:
    """Hash what an index entry says of its record: time, sequence number and commitment."""
    if len(index_salt) != 16 or len(rc) != 32:
        raise FormatError(f"width: index salt of {len(index_salt)} bytes, rc of {len(rc)}; must be 16 and 32")
    try:
        numbers = _pack_signed(time, seq)
    except struct.error:
        raise FormatError(f"time {shown(time)} or sequence number {shown(seq)} is over 64 bits") from None
    return sha256(b"I" + index_salt + numbers + rc).digest()


def u3(tag: bytes, inner: bytes) -> bytes:
    """Hash tag bytes 2 to 15 over `inner`."""
    _check_entry(tag, inner)
    return sha256(b"T" + tag[2:] + inner).digest()


def u2(tag: bytes, u3: bytes) -> bytes:
    """Hash tag byte 1 over `u3`."""
    _check_entry(tag, u3)
    return sha256(b"T" + tag[1:2] + u3).digest()


def entry_leaf(dimension_number: int, tag: bytes, u2: bytes) -> bytes:
    """Compute the leaf hash in X from `u2` and the first byte of `tag`, which may be cut to it."""
    if not tag or len(u2) != DIGEST_BYTES:
        raise FormatError(f"width: tag prefix of {len(tag)} bytes, u2 of {len(u2)}; must be >= 1 and 32")
    return sha256(_head(dimension_number) + tag[:1] + u2).digest()


def index_leaf(  # an entry has these six parts
    dimension_number: int, tag: bytes, index_salt: bytes, time: int, seq: int, rc: bytes
) -> bytes:
    """Compute the 32-byte leaf hash in X of one whole entry."""
    return index_leaf_of(dimension_number, tag, inner(index_salt, time, seq, rc))


def index_leaf_of(dimension_number: int, tag: bytes, inner: bytes) -> bytes:
    """Compute the leaf hash of an entry from its `inner`, which all dimensions of a record share."""
    head = _LEAF.get(
        dimension_number
    )  # asked here and checked below only if wrong: this runs for every entry
    if head is None or len(tag) != TAG_BYTES or len(inner) != DIGEST_BYTES:
        _check_entry(tag, inner)
        head = _head(dimension_number)
    under = sha256(b"T" + tag[2:] + inner).digest()
    middle = sha256(b"T" + tag[1:2] + under).digest()
    return sha256(head + tag[:1] + middle).digest()


def inner_column(index_salts: Part, numbers: Flat, rcs: Flat) -> bytes:
    """Compute `inner` of many records, flat, from salts (16 bytes), be64 time || be64 seq, and commitments."""
    count, hash_of = len(rcs) // DIGEST_BYTES, sha256
    kind, pairs, hashes = column_of(b"I" * count, 1), column_of(numbers, 16), column_of(rcs, DIGEST_BYTES)
    messages = items_of(interleaved(count, kind, index_salts, pairs, hashes), 1 + 16 + 16 + DIGEST_BYTES)
    return b"".join([hash_of(message).digest() for message in messages])


def leaf_column(dimension_number: int, tags: Flat, inners: Flat) -> bytes:
    """Compute the leaf hashes in X of many entries of one dimension, flat, from flat tags and `inner` hashes."""
    head, count = _head(dimension_number), len(inners) // DIGEST_BYTES
    if len(inners) != DIGEST_BYTES * count or len(tags) != TAG_BYTES * count:
        raise FormatError(
            f"width: {len(tags)} bytes of tags, {len(inners)} of hashes; must be 16 and 32 each"
        )
    kind = column_of(b"T" * count, 1)
    messages = interleaved(count, kind, Part(tags, TAG_BYTES, 2, TAG_BYTES), column_of(inners, DIGEST_BYTES))
    firsts = [head + byte for byte in _BYTES]
    hash_of = sha256
    return b"".join([
        hash_of(first + hash_of(middle + hash_of(rest).digest()).digest()).digest()
        for first, middle, rest in zip(
            map(firsts.__getitem__, tags[::TAG_BYTES]),
            map(_MIDDLES.__getitem__, tags[1::TAG_BYTES]),
            items_of(messages, 1 + TAG_BYTES - 2 + DIGEST_BYTES),
            strict=True,
        )
    ])  # fmt: skip


def index_leaves(tags: Sequence[bytes], index_salt: bytes, time: int, seq: int, rc: bytes) -> list[bytes]:
    """Compute a record's leaf hashes in X, one for each dimension in order, from its tags in that order."""
    shared = inner(index_salt, time, seq, rc)
    return [index_leaf_of(number, tag, shared) for number, tag in enumerate(tags, 1)]


def sort_key(time: int, seq: int) -> bytes:
    """Give 16 bytes that sort as (time, seq) do as signed numbers; X is sorted by `tag + sort_key`."""
    try:
        return _pack_unsigned(time - INT64_MIN, seq - INT64_MIN)
    except struct.error:
        raise FormatError(f"time {shown(time)} or sequence number {shown(seq)} is over 64 bits") from None


def _head(dimension_number: int) -> bytes:
    try:
        return _LEAF[dimension_number]
    except KeyError:
        raise FormatError(f"dimension {dimension_number} is outside 1 to {DIMENSIONS_MAX}") from None


def _check_entry(tag: bytes, below: bytes) -> None:
    checked_width(tag, TAG_BYTES, "tag")
    checked_width(below, DIGEST_BYTES, "hash under the tag")
