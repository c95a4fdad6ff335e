"""Hash leaves and trees as RFC 6962 does; many leaf hashes travel as one flat buffer of 32 bytes each."""

import struct
from hashlib import sha256
from typing import Final

from scelle.errors import ProofError
from scelle.formats.flat import Flat

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
_PAIR_BYTES: Final = 2 * HASH_BYTES
_PAIRS_AT_ONCE: Final = 1024
_BLOCK_LEVEL: Final = 12
_pairs_at: Final = struct.Struct(f"{_PAIR_BYTES}s" * _PAIRS_AT_ONCE).unpack_from
"""Cuts 1,024 pairs of hashes out of a buffer at once: what is hashed most is cut most."""


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf's data (RFC 6962 §2.1)."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children to their node (RFC 6962 §2.1)."""
    if len(left) != HASH_BYTES or len(right) != HASH_BYTES:
        raise ProofError(f"width: children of {len(left)} and {len(right)} bytes; must be 32")
    return sha256(b"\1" + left + right).digest()


def leaf_count(flat: Flat) -> int:
    """Count the hashes in a flat buffer."""
    count, rest = divmod(len(flat), HASH_BYTES)
    if rest:
        raise ProofError(f"width: a flat buffer of {len(flat)} bytes is not made of 32-byte hashes")
    return count


def next_level(flat: Flat) -> bytes:
    """Hash pairs of one level to the level above; an odd last hash rises as it is."""
    hash_of, paired = sha256, len(flat) // _PAIR_BYTES * _PAIR_BYTES
    step = _PAIR_BYTES * _PAIRS_AT_ONCE
    whole = paired // step * step
    above = [
        hash_of(b"\1" + pair).digest() for start in range(0, whole, step) for pair in _pairs_at(flat, start)
    ]
    above += [
        hash_of(b"\1" + flat[at : at + _PAIR_BYTES]).digest() for at in range(whole, paired, _PAIR_BYTES)
    ]
    if paired < len(flat):
        above.append(bytes(flat[paired:]))
    return b"".join(above)


def tree_root(flat: Flat) -> bytes:
    """Compute the RFC 6962 root of the leaf hashes in `flat`."""
    if leaf_count(flat) == 0:
        return EMPTY_ROOT
    while len(flat) > HASH_BYTES:
        flat = next_level(flat)
    return bytes(flat)


class TreeHasher:
    """Compute a root while leaf hashes arrive, keeping one hash for each bit of the size.

    With `kept_level` it also keeps the roots of all perfect subtrees of 2^kept_level leaves, in order, in `kept`.
    """

    def __init__(self, kept_level: int | None = None) -> None:
        self.size = 0
        self.kept = bytearray()
        self._kept_level = kept_level
        self._largest = _BLOCK_LEVEL if kept_level is None else min(_BLOCK_LEVEL, kept_level)
        self._frontier: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        if len(leaf) != HASH_BYTES:
            raise ProofError(f"width: leaf hash of {len(leaf)} bytes; must be 32")
        self._push(leaf, 0)

    def extend(self, flat: Flat) -> None:
        """Take the leaf hashes of a flat buffer, in order: in the largest perfect subtrees that its place allows."""
        count, at = leaf_count(flat), 0
        while at < count:
            level = min((count - at).bit_length() - 1, self._largest)
            if self.size:
                level = min(level, (self.size & -self.size).bit_length() - 1)
            stop = at + (1 << level)
            self._push(tree_root(flat[at * HASH_BYTES : stop * HASH_BYTES]), level)
            at = stop

    def _push(self, node: bytes, level: int) -> None:
        """Take the root of a perfect subtree of 2^level leaves; the leaves before it are a multiple of that."""
        rest, frontier, height = self.size >> level, self._frontier, level
        if height == self._kept_level:
            self.kept += node
        while rest & 1:
            node = sha256(b"\1" + frontier.pop() + node).digest()
            rest >>= 1
            height += 1
            if height == self._kept_level:
                self.kept += node
        frontier.append(node)
        self.size += 1 << level

    def root(self) -> bytes:
        """Give the root over all leaf hashes taken so far; more may follow."""
        if not self._frontier:
            return EMPTY_ROOT
        root = self._frontier[-1]
        for left in reversed(self._frontier[:-1]):
            root = sha256(b"\1" + left + root).digest()
        return root
