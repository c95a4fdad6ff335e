"""Give each shape of a source's records its log source: a member of the source's family (ledger.md §1)."""

from collections.abc import Sequence

from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.sources.interfaces import Member


class Family:
    """The log sources `ALIAS/1`, `ALIAS/2` .. of one source.

    Schema and profile never change within a log source, and tell which one is whose: a member whose schema
    changed goes on under the next number.
    """

    def __init__(self, ledger: OrderLedgerWriter, alias: str) -> None:
        self._alias = alias
        self._by_shape: dict[tuple[bytes, int], str] = {}
        self._last = 0
        for name in members_of(ledger, alias):
            chain, writer = ledger.state.chain(name), ledger.open_rows(name)
            schema, profile = chain.schema, chain.profile
            if schema is None and writer is not None:  # begun by a pass that was interrupted
                schema, profile = bytes.fromhex(writer.head.schema), writer.head.profile
            self._last = max(self._last, int(name.rpartition("/")[2]))
            if schema is not None and profile is not None and not chain.ended:
                self._by_shape[schema, profile] = name

    @property
    def aliases(self) -> list[str]:
        """List the members' log sources that are in use."""
        return list(self._by_shape.values())

    def find(self, member: Member) -> str | None:
        """Return the log source of a member; None where it has none yet."""
        return self._by_shape.get((member.schema.digest, member.profile))

    def assign(self, member: Member) -> str:
        """Return the log source of a member, the next of the family where it has none."""
        found = self.find(member)
        if found is None:
            self._last += 1
            found = f"{self._alias}/{self._last}"
            self._by_shape[member.schema.digest, member.profile] = found
        return found


def members_of(ledger: OrderLedger, alias: str) -> Sequence[str]:
    """List the log sources of a family that are in the ledger, by number."""
    names = set(ledger.state.chains)
    if isinstance(ledger, OrderLedgerWriter):
        names |= set(ledger.open_sources())
    found = [name for name in names if is_of_family(name, alias)]
    return sorted(found, key=lambda name: int(name.rpartition("/")[2]))


def is_of_family(name: str, alias: str) -> bool:
    """Tell whether a log source is a numbered member of a source's family."""
    family, _, number = name.rpartition("/")
    return family == alias and number.isdigit()
