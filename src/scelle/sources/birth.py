"""Ask the kernel when a file was made; Python's own `stat` does not say it on Linux."""

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Final

_AT_EMPTY_PATH: Final = 0x1000
_STATX_TYPE_AND_BTIME: Final = 0x801
_STATX_BTIME: Final = 0x800
_ANSWER: Final = struct.Struct("=I24xH50xqI")  # stx_mask, stx_mode at 28, stx_btime at 80 (linux/stat.h)

_statx: Callable[..., int] | None
try:
    _call = ctypes.CDLL(None).statx
    _call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    _call.restype = ctypes.c_int
    _statx = _call
except (OSError, AttributeError):  # pragma: no cover  (a C library without statx)
    _statx = None


class BirthClock:
    """Read birth times into a buffer of its own; one for each thread, since the call leaves the lock of
    Python.
    """

    __slots__ = ("_address", "_buffer")

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(256)
        self._address = ctypes.addressof(self._buffer)

    def mode_and_birth_ns(self, descriptor: int) -> tuple[int, int | None]:
        """Give the mode of an open file, and its birth in nanoseconds since 1970 where the file system knows
        it.
        """
        if _statx is None or _statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_TYPE_AND_BTIME, self._address):
            return os.fstat(descriptor).st_mode, None
        mask, mode, seconds, nanoseconds = _ANSWER.unpack_from(self._buffer)
        return mode, seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else None
