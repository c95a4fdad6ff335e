"""Keep a database's server from filling its disk for the sake of a capture: the operator's choice, made beforehand.

The cap and the choice are sealed with the source (`scelle source set`). A watch looks after them whatever else it waits
for: a snapshot of hours, a command of somebody else that has the vault.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from scelle.errors import ScelleError
from scelle.sources.model import StreamChoices

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.slots import SlotState
    from scelle.sources.postgres.watched import WatchedDatabase

WAL_CAP: Final = "wal-cap"
"""The cause of the gap of a stream whose slot was dropped, since it kept more WAL than was allowed."""
BEYOND: Final = "watch.wal-beyond-cap"
"""The event of the vault's log that says that a slot keeps more than was allowed, and was left."""
PAUSE_S: Final = 600.0
"""So long no other stream is begun where two were dropped within it: each costs the server a pass over everything."""
_LOOK_S: Final = 2.0


def is_beyond(choices: StreamChoices, slot: "SlotState | None") -> bool:
    """Tell whether a slot keeps more WAL than was allowed."""
    return slot is not None and choices.wal_cap_bytes is not None and slot.kept_bytes > choices.wal_cap_bytes


class CapKeeper:
    """Drop a slot as soon as it keeps more WAL than was allowed, in a thread and over a connection of its own.

    Nothing is written to the vault here: whoever finds the slot gone asks `has_dropped`, and declares the gap.
    """

    def __init__(self, opening: "Callable[[], WatchedDatabase]", *, look_s: float = _LOOK_S) -> None:
        self._opening, self._look_s = opening, look_s
        self._choices = StreamChoices()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._has_dropped = False
        self._trouble: ScelleError | None = None
        self._is_told = False

    def take_trouble(self) -> ScelleError | None:
        """Return why the slot cannot be looked after now, once; it is tried again all the time."""
        if self._trouble is None or self._is_told:
            return None
        self._is_told = True
        return self._trouble

    def has_dropped(self) -> bool:
        """Tell whether a slot was dropped here since this was asked last; waits for one that is being dropped."""
        with self._lock:
            has, self._has_dropped = self._has_dropped, False
        return has

    def keep(self, choices: StreamChoices) -> None:
        """Keep to these choices from now on; the thread begins with the first that asks for it."""
        self._choices = choices
        if choices.drops_slot and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wal-cap", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * self._look_s)

    def _run(self) -> None:
        database = self._opening()
        try:
            while not self._ending.wait(self._look_s):
                cap_bytes = self._choices.wal_cap_bytes
                if cap_bytes is not None and self._choices.drops_slot:
                    self._look(database, cap_bytes)
        finally:
            database.close()

    def _look(self, database: "WatchedDatabase", cap_bytes: int) -> None:
        try:
            with self._lock:
                self._has_dropped |= database.drop_slot_beyond(cap_bytes)
        except (
            ScelleError
        ) as error:  # it does not answer, or a right is missing: it is tried again in a moment
            self._trouble = error
        else:
            self._trouble, self._is_told = None, False
