"""Ask for what loosens or destroys, and have another person approve exactly that (pure).

A request is canonical JSON. Its requester signs it, another operator signs its digest: two Ed25519 signatures over the
exact request. In a vault without operators (solo mode) nobody signs, and a second confirmation after the cooling-off
time takes the place of the second person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

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


class Act(StrEnum):
    """What only two people can do."""

    RELEASE = "release"
    UNDO_RELEASE = "undo-release"
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


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, by whom, why, and until when. Times in microseconds.

    ``ready_us`` ends the cooling-off time: before it nothing is executed. ``reason`` is a code; free text goes to the
    counsel compartment.
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
        if self.requester is None:
            return not operators and any(
                each.operator is None and each.time_us >= self.ready_us for each in self.approvals
            )
        requester = operators.get(self.requester)
        if requester is None or why_not_requester(self.act, self.order, requester) is not None:
            return False
        if not _verifies(requester, self.signature, self.signed_text(origin)):
            return False
        return any(self._counts(origin, requester, operators, each) for each in self.approvals)

    def _counts(
        self, origin: str, requester: Operator, operators: Mapping[str, Operator], approval: Approval
    ) -> bool:
        approver = operators.get(approval.operator or "")
        return (
            approver is not None
            and why_not_approver(self, requester, approver) is None
            and _verifies(approver, approval.signature, self.approval_text(origin, approver.vkey))
        )


def why_not_requester(act: Act, order: str | None, operator: Operator) -> str | None:
    """Say why an operator may not ask for an act; None where he may."""
    return _why_not(act, order, operator, Power.REQUEST)


def why_not_approver(request: Request, requester: Operator, approver: Operator) -> str | None:
    """Say why an operator's approval does not count; None where it does."""
    if approver.name == requester.name or approver.vkey.public == requester.vkey.public:
        return "who asked cannot approve: another person must, with a key of their own"
    if approver.added_by == requester.name:
        return f"{approver.name} was brought in by {requester.name} alone: a third person must approve"
    return _why_not(request.act, request.order, approver, Power.APPROVE)


def _why_not(act: Act, order: str | None, operator: Operator, power: Power) -> str | None:
    is_restricted = act in RESTRICTED_ACTS
    if is_restricted != (operator.role is Role.RESTRICTED_REVIEWER) or not may(operator.role, power):
        whose = "restricted reviewers" if is_restricted else "counsel"
        return f"{operator.name} is {operator.role.value}: {act.value} is for {whose}"
    if order is not None and not operator.is_cleared_for(order):
        return f"{operator.name} is not cleared for what this is about"
    return None


def _verifies(operator: Operator, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(operator.vkey.public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def check_still_open(request: Request, state: RequestState) -> None:
    """Raise RequestRefused for a request that was executed, withdrawn, or has expired."""
    if state in (RequestState.EXECUTED, RequestState.WITHDRAWN, RequestState.EXPIRED):
        raise RequestRefused(f"request {request.id} is {state.value}: ask again where it is still wanted")


def requests_of(events: Iterable[Event]) -> dict[str, Request]:
    """Fold the events of the vault's log into requests by id, in the order in which they were made."""
    found: dict[str, Request] = {}
    for event in events:
        note_request(found, event)
    return found


def note_request(found: dict[str, Request], event: Event) -> None:
    """Take one event into account, in place; the first event of an id is the request, another one changes nothing."""
    body = event.body
    if event.kind == MADE:
        request = _request(body)
        found.setdefault(request.id, request)
        return
    request_id = str(body.get("request"))
    if request_id not in found:
        return
    request = found[request_id]
    match event.kind:
        case "request.approved":
            operator = None if body["operator"] is None else str(body["operator"])
            approval = Approval(operator, event.time_us, bytes.fromhex(str(body["signature"])))
            request = replace(request, approvals=(*request.approvals, approval))
        case "request.withdrawn":
            request = replace(request, withdrawn_us=event.time_us)
        case "request.executed":
            request = replace(request, executed_us=event.time_us, outcome=body["outcome"])
    found[request_id] = request


def _request(body: Mapping[str, Any]) -> Request:
    asked = body["asked"]
    return Request(
        id=str(asked["id"]),
        act=Act(str(asked["act"])),
        order=None if asked["order"] is None else str(asked["order"]),
        body=asked["body"],
        requester=None if asked["requester"] is None else str(asked["requester"]),
        reason=str(asked["reason"]),
        made_us=int(asked["made_us"]),
        ready_us=int(asked["ready_us"]),
        expires_us=int(asked["expires_us"]),
        signature=bytes.fromhex(str(body["signature"])),
    )
