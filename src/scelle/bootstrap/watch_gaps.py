"""Count the gaps of watched sources for whoever measures, without telling of orders that he may not know of."""

from collections import Counter
from collections.abc import Collection, Iterable

from scelle.bootstrap.session import Session
from scelle.bootstrap.watch_meter import Meter
from scelle.capture.entries import open_gaps
from scelle.formats.entries import Gap
from scelle.ledger.service import OrderLedger
from scelle.orders.service import sealed_order

_Counted = dict[str, tuple[Counter[str], Counter[str]]]
"""By source: how many gaps of each cause there ever were, and those causes that are open, once each."""


class GapCounter:
    """Count gaps anew where a log has grown.

    Of each cause the largest count in one order's log stands for all: a sum would tell how many orders there are.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._names: dict[str, dict[str, str]] = {}
        """By order, the names of its sources by alias."""

    def count(self, session: Session, meter: Meter, orders: Collection[str], sources: Iterable[str]) -> None:
        """Tell the meter which gaps `sources` have, by those of these orders that who acts may know of."""
        ledgers = {order: session.writer(order) for order in sorted(orders) if session.sees(order)}
        sizes = {order: len(ledger.entries) for order, ledger in ledgers.items()}
        if sizes == self._sizes:
            return
        counted = [self._counted(ledger) for ledger in ledgers.values()]
        for name in sources:
            found = [each[name] for each in counted if name in each]
            meter.gaps(name, _most(ever for ever, _ in found), _most(still_open for _, still_open in found))
        self._sizes = sizes

    def _counted(self, ledger: OrderLedger) -> _Counted:
        found: _Counted = {}
        for entry in ledger.entries:
            if isinstance(entry, Gap) and entry.closes is None:
                ever, _ = found.setdefault(self._source(ledger, entry.source), (Counter(), Counter()))
                ever[entry.cause] += 1
        for _, gap in open_gaps(ledger):
            found[self._source(ledger, gap.source)][1][gap.cause] = 1
        return found

    def _source(self, ledger: OrderLedger, alias: str) -> str:
        """Return the name of the source that an order's log calls `alias`."""
        if alias not in self._names.get(ledger.order, {}):
            aliases = sealed_order(ledger).aliases
            self._names[ledger.order] = {alias: name for name, alias in aliases.items()}
        return self._names[ledger.order].get(alias, alias)


def _most(counted: Iterable[Counter[str]]) -> Counter[str]:
    """Return the largest count of each cause."""
    most: Counter[str] = Counter()
    for each in counted:
        most |= each
    return most
