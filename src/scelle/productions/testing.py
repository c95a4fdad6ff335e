"""Keep contents in memory, for tests and for trying things out."""

from collections.abc import Iterator
from hashlib import sha256

from scelle.errors import ContentMissing


class MemoryContents:
    """Be the `Contents` of a vault that forgets everything."""

    def __init__(self) -> None:
        self.by_digest: dict[bytes, bytes] = {}

    def put(self, data: bytes) -> bytes:
        """Keep a content and return its SHA-256."""
        digest = sha256(data).digest()
        self.by_digest[digest] = data
        return digest

    def read(self, digest: bytes) -> Iterator[bytes]:
        """Yield a content in pieces of 64 KiB."""
        data = self.read_bytes(digest)
        for start in range(0, len(data), 1 << 16):
            yield data[start : start + (1 << 16)]

    def read_bytes(self, digest: bytes) -> bytes:
        """Return a content whole; raise `ContentMissing` where there is none."""
        if digest not in self.by_digest:
            raise ContentMissing(f"no content {digest.hex()}")
        return self.by_digest[digest]
