"""Let a session that widened what is held end only when no deletion goes on that was permitted before.

So whoever has seen `scelle order add` return knows that nothing is deleted any more because it was asked for before.
Every writing session comes here at its end: whatever it did, its logs say whether the guard may hold more than before.
"""

import time
from collections.abc import Callable
from typing import Final

from scelle.bootstrap.session import Session
from scelle.errors import ScelleError
from scelle.guard.deletions import NOW, deletions_under_way, set_deletions_aside
from scelle.guard.leases import LIFE_MAX_S, leases_left_us
from scelle.ledger.events import kind_of
from scelle.ledger.service import EVENTS_SOURCE, OrderLedger
from scelle.sources.registry import KINDS as SOURCE_KINDS

WIDENING: Final = frozenset(
    {"received", "clause", "clause.stopped", "release.undone", "order.opened", *SOURCE_KINDS}
)
"""Events after which the guard may hold an item that it did not hold before; no clock makes it hold one."""
PATIENCE_S: Final = float(LIFE_MAX_S)
"""So long is waited for a deletion that does not end; for a lease until it is over, which is no longer."""
_QUIET_S: Final = 1.0
_PAUSE_S: Final = 0.02
_SECOND_US: Final = 1_000_000


def await_deletions(session: Session, tell: Callable[[str], None]) -> None:
    """Wait until every deletion has ended that was permitted before `session` sealed that more is held.

    Call it after the last commit; it needs no writer lock. `tell` hears of it after a second. What cannot be waited for
    goes to `session.warnings`, which names no order.
    """
    try:
        wait = _Wait(session, tell)
        if wait.is_needed and _has_widened(session):
            wait.until_over()
    except (ScelleError, OSError):  # whose text may name an order
        session.warnings.append(
            "whether deletions that were permitted before have ended cannot be told: what is sealed holds from now on; "
            f"see that {session.path / 'spool'} can be written to"
        )


class _Wait:
    """What is waited for: the deletions that go on now, and the leases that are there now."""

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self._session, self._vault, self._tell = session, session.path, tell
        self._started = time.monotonic()
        self._leases_s = leases_left_us(self._vault, session.key, session.now_us()) / _SECOND_US
        self.is_needed = self._leases_s > 0 or bool(deletions_under_way(self._vault))

    def until_over(self) -> None:
        """Wait, and say so after a second."""
        set_deletions_aside(self._vault)
        is_told = False
        while (files := self._set_aside()) or self._waited_s < self._leases_s:
            if self._waited_s >= PATIENCE_S and files:
                self._session.warnings.append(
                    f"a deletion that was permitted before still goes on after {PATIENCE_S:.0f} s, and may "
                    f"delete what is held now: end its process, which `fuser {' '.join(files)}` names"
                )
                return
            if self._waited_s >= _QUIET_S and not is_told:
                self._tell(
                    f"waiting for deletions that were permitted before, {PATIENCE_S:.0f} s at the most; what was "
                    "sealed holds already"
                )
                is_told = True
            time.sleep(_PAUSE_S)

    @property
    def _waited_s(self) -> float:
        return time.monotonic() - self._started

    def _set_aside(self) -> list[str]:
        """Return the files under which deletions go on that were there before; the others began since."""
        return [str(path) for path in deletions_under_way(self._vault) if path.name != NOW]


def _has_widened(session: Session) -> bool:
    try:
        return any(_widens(session.ledger(order), size) for order, size in session.sizes_before.items())
    except (ScelleError, OSError):  # what cannot be read may be a new claim
        return True


def _widens(ledger: OrderLedger, size_before: int) -> bool:
    """Tell whether a log says behind its first `size_before` entries that more is held."""
    for index, manifest in ledger.manifests():
        if index >= size_before and manifest.source == EVENTS_SOURCE:
            reader = ledger.segment(manifest)
            found = any(kind_of(row) in WIDENING for row in reader.rows())
            reader.close()
            if found:
                return True
    return False
