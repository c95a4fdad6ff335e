"""Ask for what loosens or destroys, and have another person approve exactly that (pure).

A request is canonical JSON. Its requester signs it, another operator signs its digest: two Ed25519 signatures over the
exact request. In a vault without operators (solo mode) nobody signs, and a second confirmation after the cooling-off
time takes the place of the second person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.errors import RequestRefused
from scelle.formats.canonical_json import canonical_json
from scelle.formats.notes import VerifierKey
from scelle.ledger.events import Event
from scelle.operators.model import Operator, Power, Role, may

REQUEST_FORMAT: Final = "scelle/request/v1"
APPROVAL_FORMAT: Final = "scelle/approval/v1"
MADE, APPROVED, WITHDRAWN, EXECUTED = (
    "request.made",
    "request.approved",
    "request.withdrawn",
    "request.executed",
)
SLACK_US: Final = 60_000_000
"""So far a clock may be set back between what belongs together."""
LATE_US: Final = 86_400_000_000
"""So long an act may take that began before its request expired."""


class Act(StrEnum):
    """What only two people can do."""

    RELEASE = "release"
    NARROW = "narrow"
    CARVE_OUT = "carve-out"
    QUARANTINE = "quarantine"
    LIFT_QUARANTINE = "lift-quarantine"
    DISPOSE_EARLY = "dispose-early"
    OPEN_RESTRICTED = "open-restricted"
    EXPORT_RESTRICTED = "export-restricted"
    WALL_ADMIT = "wall-admit"
    OPERATOR_ADD = "operator-add"
    SETTING = "setting"
    GUARD_REMOVE = "guard-remove"
    GUARD_MIGRATION = "guard-migration"
    WATCH_REMOVE = "watch-remove"


RESTRICTED_ACTS: Final = frozenset({Act.OPEN_RESTRICTED, Act.EXPORT_RESTRICTED})
"""What two restricted reviewers do, and nobody else."""


class RequestState(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    APPROVED = "approved"
    EXECUTED = "executed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Approval:
    """Another person's signature over the digest of a request, or (solo) a second confirmation."""

    operator: str | None
    time_us: int
    signature: bytes


class Stood(NamedTuple):
    """From when until when (microseconds) a request was approved and not yet carried out; None: it still is."""

    since_us: int
    until_us: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, by whom, why, and until when. Times in microseconds.

    ``ready_us`` ends the cooling-off time: before it nothing is executed. ``reason`` is a code; free text goes to the
    counsel compartment. ``stood`` are the times in which it was approved, as the vault's log tells it,
    ``seq`` the number of the event that made it.
    """

    id: str
    act: Act
    order: str | None
    body: Mapping[str, Any]
    requester: str | None
    reason: str
    made_us: int
    ready_us: int
    expires_us: int
    signature: bytes = b""
    approvals: tuple[Approval, ...] = ()
    withdrawn_us: int | None = None
    executed_us: int | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    stood: tuple[Stood, ...] = ()
    seq: int = 0

    @property
    def orders(self) -> tuple[str, ...]:
        """Return the orders that it names: who asks and who approves must be cleared for every one."""
        named = self.body.get("orders") if self.act is Act.OPERATOR_ADD else None
        return (*(() if self.order is None else (self.order,)), *map(str, named or ()))

    def to_json(self) -> dict[str, Any]:
        """Return what is signed, as it is sealed."""
        return {
            "format": REQUEST_FORMAT,
            "id": self.id,
            "act": self.act.value,
            "order": self.order,
            "body": dict(self.body),
            "requester": self.requester,
            "reason": self.reason,
            "made_us": str(self.made_us),
            "ready_us": str(self.ready_us),
            "expires_us": str(self.expires_us),
        }

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of the canonical request, which an approval signs."""
        return sha256(canonical_json(self.to_json())).digest()

    def signed_text(self, origin: str) -> bytes:
        """Return the bytes that the requester signs: the format, the vault's origin, the request."""
        return f"{REQUEST_FORMAT}\n{origin}\n".encode() + canonical_json(self.to_json())

    def approval_text(self, origin: str, approver: VerifierKey) -> bytes:
        """Return the bytes that an approver signs: they are of this request and of this approver's key alone."""
        return f"{APPROVAL_FORMAT}\n{origin}\n{self.digest.hex()}\n{approver.text()}\n".encode()

    def state(self, origin: str, operators: Mapping[str, Operator], now_us: int) -> RequestState:
        """Return where the request stands; signatures of people who are no operators any more do not count."""
        if self.executed_us is not None:
            return RequestState.EXECUTED
        if self.withdrawn_us is not None:
            return RequestState.WITHDRAWN
        if now_us >= self.expires_us:
            return RequestState.EXPIRED
        return RequestState.APPROVED if self.is_approved(origin, operators) else RequestState.WAITING

    def is_approved(self, origin: str, operators: Mapping[str, Operator]) -> bool:
        """Tell whether two different people who are operators now signed it; in solo mode: it was confirmed again."""
        return self.why_not_asked(origin, operators) is None and any(
            self.counts(origin, operators, each) for each in self.approvals
        )

    def why_not_asked(self, origin: str, operators: Mapping[str, Operator]) -> str | None:
        """Say why the requester's part of it does not count now; None where it does."""
        if self.requester is None:
            return "it was made in solo mode" if operators else None
        requester = operators.get(self.requester)
        if requester is None:
            return f"{self.requester} is no operator any more"
        refused = why_not_requester(self.act, self.orders, requester)
        if refused is not None:
            return refused
        is_signed = _verifies(requester, self.signature, self.signed_text(origin))
        return None if is_signed else f"the signature is not {self.requester}'s"

    def counts(self, origin: str, operators: Mapping[str, Operator], approval: Approval) -> bool:
        """Tell whether an approval of the request counts now."""
        if self.requester is None:
            return not operators and approval.operator is None and approval.time_us >= self.ready_us
        requester, approver = operators.get(self.requester), operators.get(approval.operator or "")
        return (
            requester is not None
            and approver is not None
            and why_not_approver(self, requester, approver) is None
            and _verifies(approver, approval.signature, self.approval_text(origin, approver.vkey))
        )

    def stood_at(self, time_us: int) -> bool:
        """Tell whether an act of that time was one that two people stood behind, cooled off and not expired.

        A minute is left for clocks that are set back a little, a day for an act that began before the request expired.
        """
        if not self.ready_us - SLACK_US <= time_us <= self.expires_us + LATE_US:
            return False
        return any(
            since_us - SLACK_US <= time_us and (until_us is None or time_us <= until_us + SLACK_US)
            for since_us, until_us in self.stood
        )


def why_not_requester(act: Act, orders: Iterable[str], operator: Operator) -> str | None:
    """Say why an operator may not ask for an act that names these orders; None where he may."""
    return _why_not(act, orders, operator, Power.REQUEST)


def why_not_approver(request: Request, requester: Operator, approver: Operator) -> str | None:
    """Say why an operator's approval does not count; None where it does."""
    refused = why_not_second(requester, approver)
    return refused or _why_not(request.act, request.orders, approver, Power.APPROVE)


def why_not_second(first: Operator, second: Operator) -> str | None:
    """Say why an operator's word is not another person's beside that of the first; None where it is."""
    if second.name == first.name or second.vkey.public == first.vkey.public:
        return "who asked cannot approve: another person must, with a key of their own"
    for new, old in ((second, first), (first, second)):
        if new.added_by == old.name:
            return f"{new.name} was brought in by {old.name} alone: a third person must approve"
    return None


def _why_not(act: Act, orders: Iterable[str], operator: Operator, power: Power) -> str | None:
    is_restricted = act in RESTRICTED_ACTS
    if is_restricted != (operator.role is Role.RESTRICTED_REVIEWER) or not may(operator.role, power):
        whose = "restricted reviewers" if is_restricted else "counsel"
        return f"{operator.name} is {operator.role.value}: {act.value} is for {whose}"
    if not all(map(operator.is_cleared_for, orders)):
        return f"{operator.name} is not cleared for what this is about"
    return None


def _verifies(operator: Operator, signature: bytes, message: bytes) -> bool:
    return _is_signed(operator.vkey.public, signature, message)


@lru_cache(maxsize=1 << 12)
def _is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether an Ed25519 signature is right; a command reads the same log more than once."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def check_still_open(request: Request, state: RequestState) -> None:
    """Raise RequestRefused for a request that was executed, withdrawn, or has expired."""
    if state in (RequestState.EXECUTED, RequestState.WITHDRAWN, RequestState.EXPIRED):
        raise RequestRefused(f"request {request.id} is {state.value}: ask again where it is still wanted")


def with_approval(request: Request, event: Event) -> Request:
    """Return the request with the approval that an event holds; raises where it cannot be read."""
    body = event.body
    operator = None if body["operator"] is None else str(body["operator"])
    approval = Approval(operator, event.time_us, bytes.fromhex(str(body["signature"])))
    return replace(request, approvals=(*request.approvals, approval))


def request_of(event: Event) -> Request:
    """Read a request from the event that made it; raises where it cannot be read."""
    body = event.body
    asked = body["asked"]
    return Request(
        id=str(asked["id"]),
        act=Act(str(asked["act"])),
        order=None if asked["order"] is None else str(asked["order"]),
        body=dict(asked["body"]),
        requester=None if asked["requester"] is None else str(asked["requester"]),
        reason=str(asked["reason"]),
        made_us=int(asked["made_us"]),
        ready_us=int(asked["ready_us"]),
        expires_us=int(asked["expires_us"]),
        signature=bytes.fromhex(str(body["signature"])),
        seq=event.seq,
    )
