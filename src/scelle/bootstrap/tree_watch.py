"""Learn at once when something below the root of a source changes, so that a pass over it need not wait its turn.

What is heard is a hint alone: nothing is captured by it, events may be lost (a queue that overflows, a network file
system that sends none), and the pass that comes every so often finds what no hint told of.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

DEBOUNCE_MS: Final = 500
"""Changes are waited for so long, for others that come with them."""
LEAST_S: Final = 1.0
"""So long at least it is waited between two passes over a source; at least as long as the last one took."""
_LOOK_MS: Final = 500
_READY_S: Final = 5.0
"""So long it is waited until all trees are listened to; what is later is taken for changed then."""
MISSING: Final = "watchfiles is not installed: pip install 'scelle[inotify]'"


class TreeWatch:
    """Listen to the trees of sources, each in a thread of its own, from `start` to `close`."""

    def __init__(self, roots: Mapping[str, bytes], clock_s: Callable[[], float]) -> None:
        self._roots, self._clock_s = dict(roots), clock_s
        self._ending = threading.Event()
        self._changed = {name: threading.Event() for name in roots}
        self._ready = {name: threading.Event() for name in roots}
        self._has_begun = False
        self._not_before_s: dict[str, float] = {}
        self._deaf: dict[str, str] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> Self:
        """Begin to listen, so that a pass from now on misses nothing; where that cannot be, `take_deaf` says so."""
        try:
            import watchfiles  # noqa: F401  an extra
        except ImportError:
            self._deaf = dict.fromkeys(self._roots, MISSING)
            return self
        for name in self._roots:
            thread = threading.Thread(target=self._listen, args=(name,), name=f"tree-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        until_s = self._clock_s() + _READY_S
        for ready in self._ready.values():
            ready.wait(max(0.0, until_s - self._clock_s()))
        self._has_begun = True
        return self

    def close(self) -> None:
        """End the threads."""
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.close()

    def take_changed(self) -> set[str]:
        """Return the sources that changed since they were taken, and of which a pass may be run again."""
        now_s = self._clock_s()
        found = {
            name
            for name, changed in self._changed.items()
            if changed.is_set() and now_s >= self._not_before_s.get(name, now_s)
        }
        for name in found:  # before the pass: what changes while it runs is for the next one
            self._changed[name].clear()
        return found

    def passed(self, name: str, took_s: float) -> None:
        """Note that a pass over a source has ended, and how long it took."""
        self._not_before_s[name] = self._clock_s() + max(LEAST_S, took_s)

    def take_deaf(self) -> dict[str, str]:
        """Return once, by source, why nothing is heard of it."""
        found, self._deaf = self._deaf, {}
        return found

    def _listen(self, name: str) -> None:
        root = os.fsdecode(self._roots[name])
        try:
            while not self._ending.is_set():
                standing = _identity(root)
                if standing is not None:
                    self._listen_while(name, root, standing)
                self._ready[name].set()  # it is away, which the pass says
                self._ending.wait(_LOOK_MS / 1000)
        except (OSError, RuntimeError, ValueError) as error:
            # there are more folders than the kernel listens to, as a rule: fs.inotify.max_user_watches
            self._deaf = {**self._deaf, name: str(error) or type(error).__name__}
            self._ready[name].set()

    def _listen_while(self, name: str, root: str, standing: tuple[int, int]) -> None:
        """Listen as long as the root is what it was: nothing is heard of one that was made anew, or mounted over."""
        import watchfiles  # an extra

        changes = watchfiles.watch(
            root,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            stop_event=self._ending,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        is_first = True
        for found in changes:
            is_same = _identity(root) == standing
            if found or not is_same or (is_first and self._has_begun):
                self._changed[name].set()
            is_first = False
            self._ready[name].set()
            if not is_same:
                return


def _identity(root: str) -> tuple[int, int] | None:
    try:
        status = Path(root).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
