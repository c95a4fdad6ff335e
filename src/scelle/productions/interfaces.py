"""Say what productions need of the vault, and what they tell while they work."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the stage (`records`, `package`), how much of it is done, and how much there is."""


class Contents(Protocol):
    """Give sealed contents by their SHA-256; `vault.packs.PackStore` does.

    Reading is idempotent and changes nothing. Both methods raise `ContentMissing` where there is no such
    content and another `IntegrityError` where it is damaged. What they give is hashed again before it is
    produced.
    """

    def read(self, digest: bytes) -> Iterator[bytes]:
        """Yield a content in pieces, so that memory stays flat."""
        ...

    def read_bytes(self, digest: bytes) -> bytes:
        """Return a small content whole."""
        ...
