"""Read no faster than an operator allows."""

import threading
from collections.abc import Callable
from typing import Final

_LOOK_UP_S: Final = 1.0


class Throttle:
    """Keep the mean of what is spent under a number of bytes a second; unused time is forgotten after one.

    Safe to use from several threads, whose sum is kept under it.
    """

    def __init__(
        self, bytes_per_second: int | None, clock_s: Callable[[], float], wait_s: Callable[[float], None]
    ) -> None:
        self._rate, self._clock_s, self._wait_s = bytes_per_second, clock_s, wait_s
        self._lock = threading.Lock()
        self._free_s = clock_s()
        """When what was spent so far will have taken its time."""

    def spend(
        self, size_bytes: int, look: Callable[[], object], wait_s: Callable[[float], None] | None = None
    ) -> None:
        """Wait, by `wait_s` where it is given, until `size_bytes` more may be read.

        `look` is called before each second of waiting, and may raise: a slow rate must not outlast the snapshot.
        """
        wait = self.owe(size_bytes)
        while wait > 0:
            look()
            (wait_s or self._wait_s)(min(wait, _LOOK_UP_S))
            wait -= _LOOK_UP_S

    def owe(self, size_bytes: int) -> float:
        """Note that `size_bytes` were read, and return for how many seconds nothing more may be."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now_s = self._clock_s()
            self._free_s = max(self._free_s, now_s - 1) + size_bytes / self._rate
            return max(0.0, self._free_s - now_s)

    def owed_s(self) -> float:
        """Return for how many seconds nothing may be read, after what was read so far."""
        return 0.0 if self._rate is None else max(0.0, self._free_s - self._clock_s())
