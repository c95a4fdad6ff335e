"""State what an order says: its parties, dates and terms, as frozen values.

An order's clauses are not part of it: they grow and shrink by amendments of their own, each sealed.
"""

from base64 import b32encode
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Final

from scelle.orders.days import load_zone
from scelle.orders.types import TYPES, Notify, OrderType, Temporal, TypeRule

RESERVED_ORDER_ID: Final = "vault"
"""The order id of the vault's own acts (ledger.md §1)."""
ENTROPY_BYTES: Final = 10
_DAY_CHARACTERS: Final = len("2026-01-08")


@dataclass(frozen=True, slots=True)
class Moment:
    """A day or a time that an order names, and the instant for which it stands.

    ``text`` is a date, or RFC 3339 with the offset of the order's zone. ``at_us``: of a time, the time; of a
    day, its first instant where the key starts something, the first instant after it where the key ends
    something (`until`, `acknowledge_by`, `secrecy_until`). Both are sealed, so that a later change of the
    zone files changes no order.
    """

    text: str
    at_us: int

    @property
    def is_day(self) -> bool:
        """Tell whether the order names a day and no time."""
        return len(self.text) == _DAY_CHARACTERS

    @property
    def day(self) -> date:
        """Return the day in the order's zone."""
        return date.fromisoformat(self.text[:_DAY_CHARACTERS])


@dataclass(frozen=True, slots=True)
class Order:
    """An authority's demand to preserve, as taken in; every key of ``[order]`` in its file.

    The last two are not taken in: an order that was extended ends when its extension says, whatever its law's first
    period was; one that is open-ended has no end by its clock as long as a mark says so.
    """

    id: str
    matter: str
    type: OrderType
    authority: str
    legal_basis: str
    reference: str
    issued: Moment
    received: Moment
    zone: str
    temporal: Temporal
    notify: Notify
    addressee: str | None = None
    effective: Moment | None = None
    until: Moment | None = None
    secrecy_until: Moment | None = None
    acknowledge_by: Moment | None = None
    validating_authority: str | None = None
    authority_key: str | None = None
    document: str | None = None
    is_extended: bool = False
    extended_by: str | None = None
    is_open_ended: bool = False

    @property
    def rule(self) -> TypeRule:
        """Return the row of the table of types."""
        return TYPES[self.type]

    @property
    def starts_us(self) -> int:
        """Return the instant from which the order binds: `effective`, else its receipt."""
        return (self.effective or self.received).at_us

    def tz(self) -> tzinfo:
        """Return the order's zone; raise ZoneUnknown where this machine does not have it."""
        return load_zone(self.zone)


def random_order_id(entropy: bytes) -> str:
    """Return an order id of 16 characters made from ten random bytes, and from nothing of the order."""
    if len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"an order id needs {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    return b32encode(entropy[:ENTROPY_BYTES]).decode("ascii").lower()
