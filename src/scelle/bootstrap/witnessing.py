"""Show what a watch seals to those who keep copies of an order's checkpoints: escrow, time-stamp authorities."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from scelle.bootstrap.custody import show_to_witnesses, witness_settings
from scelle.bootstrap.session import Session
from scelle.bootstrap.watch_log import Level, Teller
from scelle.errors import ScelleError
from scelle.ledger.service import OrderLedgerWriter

SHOW_S: Final = 60.0
"""So often at most an order's newest checkpoint is shown; at the end it always is."""
RETRY_S: Final = 600.0
"""So long nothing is shown of an order after that failed: an authority that does not answer holds the capture up."""


class Witnessing:
    """Remember what was shown of each order, and what could not be."""

    def __init__(self, say: Teller, clock_s: Callable[[], float]) -> None:
        self._say, self._clock_s = say, clock_s
        self._sizes: dict[str, int] = {}
        """How large each log was when it was shown last."""
        self._due_s: dict[str, float] = {}
        self._troubles: dict[str, list[str]] = {}

    def show(self, session: Session, orders: Iterable[str], *, is_end: bool) -> None:
        """Deposit and time-stamp what was sealed of some orders since, as the settings of each say.

        What cannot be shown now is said once, to whoever may know of the order, and tried again.
        """
        for order in orders:
            ledger = session.writer(order)
            is_due = is_end or self._clock_s() >= self._due_s.get(order, -math.inf)
            if is_due and ledger.log.size != self._sizes.get(order):
                self._tell(session, order, self._show(session, ledger))

    def _show(self, session: Session, ledger: OrderLedgerWriter) -> list[str]:
        try:
            troubles = show_to_witnesses(session, ledger, None, witness_settings(ledger))
        except (ScelleError, OSError) as error:
            troubles = [str(error)]
        if not troubles:
            self._sizes[ledger.order] = ledger.log.size
        self._due_s[ledger.order] = self._clock_s() + (RETRY_S if troubles else SHOW_S)
        return troubles

    def _tell(self, session: Session, order: str, troubles: list[str]) -> None:
        for trouble in troubles:
            if trouble not in self._troubles.get(order, []) and session.sees(order):
                text = f"what was sealed could not be shown to others: {trouble}"
                self._say(text, "not-shown", level=Level.ERROR)
        self._troubles[order] = troubles
