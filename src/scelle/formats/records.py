"""Commit to records, field by field or whole, and to the chunks of documents (ledger.md §2).

These functions run for every sealed record: they take and give bytes, and check widths before they hash.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from scelle.errors import FormatError
from scelle.formats.tokens import checked_width

CHUNK_BYTES: Final = 1024 * 1024
RECORD_KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
FIELDS_MAX: Final = 65_535
_COUNTS: Final = tuple(number.to_bytes(2, "big") for number in range(256))


def record_salt(record_key: bytes) -> bytes:
    """Give the first half of a 32-byte record key: the salt of the record's commitment."""
    return checked_width(record_key, RECORD_KEY_BYTES, "record key")[:16]


def index_salt(record_key: bytes) -> bytes:
    """Give the second half of a 32-byte record key: the salt of the record's index entries."""
    return checked_width(record_key, RECORD_KEY_BYTES, "record key")[16:]


def record_commitment(profile: int, record_salt: bytes, values: Sequence[bytes]) -> bytes:
    """Compute `rc`, the 32-byte leaf hash of a record in R, from its encoded values.

    Profile 0 commits to the record whole, profile 1 field by field.
    """
    if len(record_salt) != SALT_BYTES or not values or len(values) > FIELDS_MAX:
        raise FormatError(
            f"width: record salt of {len(record_salt)} bytes, {len(values)} values; must be 16, >= 1"
        )
    if profile == 1:
        return commitment_of_leaves(_field_leaves(record_salt, values))
    if profile == 0:
        count = len(values).to_bytes(2, "big")
        return sha256(b"\0R0" + record_salt + count + b"".join(values)).digest()
    raise FormatError(f"profile {profile} is unknown: 0 (whole) or 1 (field by field)")


def _field_leaves(record_salt: bytes, values: Sequence[bytes]) -> list[bytes]:
    prefix, hash_of = b"S" + record_salt, sha256
    if len(values) <= len(_COUNTS):
        return [
            hash_of(b"\0F" + hash_of(prefix + number).digest()[:16] + value).digest()
            for number, value in zip(_COUNTS, values, strict=False)
        ]
    return [field_leaf(field_salt(record_salt, number), value) for number, value in enumerate(values)]


def whole_commitments(record_keys: Sequence[bytes], values: Sequence[bytes], value_count: int) -> list[bytes]:
    """Compute the profile 0 `rc` of many records of `value_count` values each, which come joined.

    Keys are of 32 bytes; the same as `record_commitment` of each, at half the cost.
    """
    head, count, hash_of = b"\0R0", value_count.to_bytes(2, "big"), sha256
    return [
        hash_of(head + key[:SALT_BYTES] + count + joined).digest()
        for key, joined in zip(record_keys, values, strict=True)
    ]


def field_commitments(record_keys: Sequence[bytes], columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Compute the profile 1 `rc` of many records, whose values come field by field, level by level for all at once.

    Keys are of 32 bytes; the same as `record_commitment` of each, at two thirds of the cost.
    """
    hash_of, prefixes = sha256, [b"S" + key[:SALT_BYTES] for key in record_keys]
    level: list[list[bytes]] = []
    for number, column in enumerate(columns):
        place = number.to_bytes(2, "big")
        level.append([
            hash_of(b"\0F" + hash_of(prefix + place).digest()[:SALT_BYTES] + value).digest()
            for prefix, value in zip(prefixes, column, strict=True)
        ])  # fmt: skip
    while len(level) > 1:
        above = [
            [hash_of(b"\1" + left + right).digest() for left, right in zip(lefts, rights, strict=True)]
            for lefts, rights in zip(level[::2], level[1::2], strict=False)
        ]
        level = above + level[2 * len(above) :]
    head = b"\0R1" + len(columns).to_bytes(2, "big")
    return [hash_of(head + root).digest() for root in level[0]]


def commitment_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """Compute the profile 1 `rc` from the leaf hashes of all fields, shown or redacted."""
    return sha256(b"\0R1" + len(leaves).to_bytes(2, "big") + _tree_root(leaves)).digest()


def field_salt(record_salt: bytes, number: int) -> bytes:
    """Derive the 16-byte salt of field `number`."""
    checked_width(record_salt, SALT_BYTES, "record salt")
    return sha256(b"S" + record_salt + number.to_bytes(2, "big")).digest()[:16]


def field_leaf(salt: bytes, value: bytes) -> bytes:
    """Compute the leaf hash of one encoded field value under its own salt."""
    return sha256(b"\0F" + checked_width(salt, SALT_BYTES, "field salt") + value).digest()


def chunk_salt(record_salt: bytes, number: int) -> bytes:
    """Derive the 16-byte salt of chunk `number`."""
    checked_width(record_salt, SALT_BYTES, "record salt")
    return sha256(b"K" + record_salt + number.to_bytes(8, "big")).digest()[:16]


def chunk_leaf(salt: bytes, chunk: bytes) -> bytes:
    """Compute the leaf hash of one chunk of at most 1 MiB under its own salt."""
    hasher = sha256(b"\0C" + checked_width(salt, SALT_BYTES, "chunk salt"))
    hasher.update(chunk)
    return hasher.digest()


def chunk_root(record_salt: bytes, data: bytes) -> bytes:
    """Compute the chunk root of a document that is wholly in memory; an empty one has one empty chunk."""
    if len(data) <= CHUNK_BYTES:
        return chunk_leaf(chunk_salt(record_salt, 0), data)
    root = ChunkRoot(record_salt)
    root.update(data)
    return root.digest()


class ChunkRoot:
    """Compute the chunk root of a document as it streams by, in 32 bytes of memory for each MiB."""

    def __init__(self, record_salt: bytes) -> None:
        self._record_salt = checked_width(record_salt, SALT_BYTES, "record salt")
        self._leaves: list[bytes] = []
        self._open_chunk()

    def _open_chunk(self) -> None:
        self._hasher = sha256(b"\0C" + chunk_salt(self._record_salt, len(self._leaves)))
        self._room_bytes = CHUNK_BYTES

    def update(self, data: bytes) -> None:
        """Take the next bytes of the document, any number of them."""
        view = memoryview(data)
        while view:
            if self._room_bytes == 0:
                self._leaves.append(self._hasher.digest())
                self._open_chunk()
            part = view[: self._room_bytes]
            self._hasher.update(part)
            self._room_bytes -= len(part)
            view = view[len(part) :]

    def digest(self) -> bytes:
        """Give the root over all bytes taken so far; more may follow."""
        return _tree_root([*self._leaves, self._hasher.digest()])


def _tree_root(leaves: Sequence[bytes]) -> bytes:
    """Hash leaf hashes, at least one, up to their RFC 6962 root; merkle has the same for flat buffers."""
    hash_of, level = sha256, leaves
    while len(level) > 1:
        pairs = iter(level)
        above = [hash_of(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]
