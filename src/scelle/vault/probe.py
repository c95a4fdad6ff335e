"""Tell content that compression can shrink from content it cannot, without compressing it.

Text has few different bytes, so a glance at 128 of them settles most cases; the rest are settled by
compressing samples at zstd's fastest level. A wrong answer costs time or space, never content.
"""

from typing import Final

import zstandard

_GLANCE_BYTES: Final = 128
_FEW_DIFFERENT: Final = 72
"""128 random bytes have 101 different ones on average, and next to never fewer than 80; text has about 35."""
_SAMPLE_BYTES: Final = 4096
_WORTH_IT: Final = 0.95


class CompressionProbe:
    """Decide whether content is worth compressing. Not thread-safe."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)

    def is_compressible(self, data: bytes) -> bool:
        """Say whether compressing `data` would save about 5 % or more, by its middle (and quarters if
        large)."""
        middle = len(data) >> 1
        if len(set(data[middle : middle + _GLANCE_BYTES])) < _FEW_DIFFERENT:
            return True
        sample = data[max(0, middle - _SAMPLE_BYTES // 2) : middle + _SAMPLE_BYTES // 2]
        if len(data) > 16 * _SAMPLE_BYTES:
            quarter = middle >> 1
            sample += data[quarter : quarter + _SAMPLE_BYTES] + data[-quarter : _SAMPLE_BYTES - quarter]
        return len(self._compressor.compress(sample)) < len(sample) * _WORTH_IT
