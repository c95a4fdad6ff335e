"""Show what a watch seals to those who keep copies of an order's checkpoints: escrow, time-stamp authorities."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from scelle.bootstrap.custody import show_to_witnesses, witness_settings
from scelle.bootstrap.session import Session
from scelle.bootstrap.watch_log import Level, Teller
from scelle.errors import ScelleError

SHOW_S: Final = 60.0
"""So often at most an order's newest checkpoint is shown; at the end it always is."""


class Witnessing:
    """Remember what was shown of each order, and what could not be."""

    def __init__(self, say: Teller, clock_s: Callable[[], float]) -> None:
        self._say, self._clock_s = say, clock_s
        self._shown: dict[str, tuple[float, int]] = {}
        self._troubles: dict[str, list[str]] = {}

    def show(self, session: Session, orders: Iterable[str], *, is_end: bool) -> None:
        """Deposit and time-stamp what was sealed of some orders since, as the settings of each say.

        Nothing waits for that: what cannot be shown now is said once, and shown with the next checkpoint.
        """
        for order in orders:
            ledger, now_s = session.writer(order), self._clock_s()
            shown_s, size = self._shown.get(order, (-math.inf, -1))
            if ledger.log.size != size and (is_end or now_s - shown_s >= SHOW_S):
                self._shown[order] = (now_s, ledger.log.size)
                try:
                    troubles = show_to_witnesses(session, ledger, None, witness_settings(ledger))
                except (ScelleError, OSError) as error:
                    troubles = [str(error)]
                for trouble in troubles:
                    if trouble not in self._troubles.get(order, []):
                        text = f"what was sealed could not be shown to others: {trouble}"
                        self._say(text, "not-shown", level=Level.ERROR)
                self._troubles[order] = troubles
