"""Say who operators are, and what each role may do (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scelle.formats.notes import VerifierKey


class Role(StrEnum):
    """What an operator is to the vault."""

    COUNSEL = "counsel"
    ENGINEER = "engineer"
    REVIEWER = "reviewer"
    RESTRICTED_REVIEWER = "restricted-reviewer"
    PRIVACY = "privacy"
    AUDITOR = "auditor"


class Power(StrEnum):
    """What may be done; each command asks for one of them."""

    SEE_ORDERS = "see orders and their events"
    SEE_COUNTS = "see counts, gaps and settings"
    READ_CONTENT = "read what is sealed"
    CAPTURE = "run captures and name sources"
    PRODUCE = "make productions"
    TAKE_IN = "take orders in"
    AMEND = "record what happens to an order"
    REQUEST = "ask for what needs two people"
    APPROVE = "approve what another asked for"
    ERASURE = "keep the ledger of erasure requests"
    QUARANTINE = "ask for a quarantine"
    OPERATORS = "add and remove operators, build walls"
    SETTINGS = "change settings"
    REPORT = "make reports"
    OPEN_RESTRICTED = "open restricted items, with another"


_COUNTS: Final = frozenset({Power.SEE_ORDERS, Power.SEE_COUNTS})
_MAY: Final[Mapping[Role, frozenset[Power]]] = {
    Role.COUNSEL: frozenset(Power) - {Power.OPEN_RESTRICTED},
    Role.ENGINEER: _COUNTS | {Power.CAPTURE},
    Role.REVIEWER: _COUNTS | {Power.READ_CONTENT, Power.PRODUCE},
    Role.RESTRICTED_REVIEWER: _COUNTS | {Power.OPEN_RESTRICTED, Power.REQUEST, Power.APPROVE},
    Role.PRIVACY: _COUNTS | {Power.ERASURE, Power.REPORT},
    Role.AUDITOR: _COUNTS | {Power.REPORT},
}
"""An auditor sees events, counts and settings, and no content; only restricted reviewers open what is restricted."""


def may(role: Role, power: Power) -> bool:
    """Tell whether operators of a role may do it."""
    return power in _MAY[role]


@dataclass(frozen=True, slots=True)
class Operator:
    """A person with a key of his own. Times in microseconds.

    ``orders`` are those that he is cleared for, None for all but those behind a wall; ``recipient`` is his age
    recipient; ``added_by`` is the operator who alone brought him in, None in the setup or where two did; ``shut_out``
    are the orders whose walls he stands outside of.
    """

    name: str
    role: Role
    vkey: VerifierKey
    recipient: str
    orders: frozenset[str] | None
    added_us: int
    added_by: str | None = None
    shut_out: frozenset[str] = frozenset()

    def is_cleared_for(self, order: str) -> bool:
        """Tell whether he may know of an order."""
        return order not in self.shut_out and (self.orders is None or order in self.orders)
