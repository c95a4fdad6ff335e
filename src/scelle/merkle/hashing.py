"""Hash leaves and trees as RFC 6962 does; many leaf hashes travel as one flat buffer of 32 bytes each."""

from hashlib import sha256
from typing import Final

from scelle.errors import ProofError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf's data (RFC 6962 §2.1)."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children to their node (RFC 6962 §2.1)."""
    if len(left) != HASH_BYTES or len(right) != HASH_BYTES:
        raise ProofError(f"width: children of {len(left)} and {len(right)} bytes; must be 32")
    return sha256(b"\1" + left + right).digest()


def leaf_count(flat: bytes) -> int:
    """Count the hashes in a flat buffer."""
    count, rest = divmod(len(flat), HASH_BYTES)
    if rest:
        raise ProofError(f"width: a flat buffer of {len(flat)} bytes is not made of 32-byte hashes")
    return count


def next_level(flat: bytes) -> bytes:
    """Hash pairs of one level to the level above; an odd last hash rises as it is."""
    hash_of, paired = sha256, len(flat) & ~63
    above = b"".join([hash_of(b"\1" + flat[at : at + 64]).digest() for at in range(0, paired, 64)])
    return above + flat[paired:] if paired < len(flat) else above


def tree_root(flat: bytes) -> bytes:
    """Compute the RFC 6962 root of the leaf hashes in `flat`."""
    if leaf_count(flat) == 0:
        return EMPTY_ROOT
    while len(flat) > HASH_BYTES:
        flat = next_level(flat)
    return bytes(flat)


class TreeHasher:
    """Compute a root while leaf hashes arrive, keeping one hash for each bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._frontier: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        if len(leaf) != HASH_BYTES:
            raise ProofError(f"width: leaf hash of {len(leaf)} bytes; must be 32")
        size, frontier = self.size, self._frontier
        while size & 1:
            leaf = sha256(b"\1" + frontier.pop() + leaf).digest()
            size >>= 1
        frontier.append(leaf)
        self.size += 1

    def extend(self, flat: bytes) -> None:
        """Take the leaf hashes of a flat buffer, in order."""
        for at in range(0, leaf_count(flat) * HASH_BYTES, HASH_BYTES):
            self.append(flat[at : at + HASH_BYTES])

    def root(self) -> bytes:
        """Give the root over all leaf hashes taken so far; more may follow."""
        if not self._frontier:
            return EMPTY_ROOT
        root = self._frontier[-1]
        for left in reversed(self._frontier[:-1]):
            root = sha256(b"\1" + left + root).digest()
        return root
