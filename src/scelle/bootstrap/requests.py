"""Ask for what takes two people, have it approved, and carry it out once it may be.

Every step is an event of the vault's own log. What is asked for is carried out by the module that owns it, found by
name (`EXECUTORS`); each of them looks first whether it has sealed the request's id already, so that a crash between its
act and the event `request.executed` does it once.
"""

import secrets
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.session import Session
from scelle.errors import (
    AuthorityError,
    HeldError,
    InputError,
    NotAllowed,
    RequestRefused,
    RequestUnknown,
    ScelleError,
)
from scelle.formats.tokens import shown
from scelle.operators.keys import OperatorKey
from scelle.operators.model import Operator, Power, Role
from scelle.operators.requests import (
    APPROVED,
    EXECUTED,
    MADE,
    RESTRICTED_ACTS,
    WITHDRAWN,
    Act,
    Request,
    RequestState,
    check_still_open,
    why_not_approver,
    why_not_requester,
)
from scelle.orders.days import utc_text
from scelle.orders.model import RESERVED_ORDER_ID

if TYPE_CHECKING:
    from collections.abc import Callable

EXECUTORS: Final[Mapping[Act, str]] = {
    Act.RELEASE: "scelle.bootstrap.releasing:execute_release",
    Act.NARROW: "scelle.bootstrap.amending:execute_narrow",
    Act.CARVE_OUT: "scelle.bootstrap.amending:execute_carve_out",
    Act.QUARANTINE: "scelle.bootstrap.quarantining:execute_quarantine",
    Act.LIFT_QUARANTINE: "scelle.bootstrap.quarantining:execute_lift_quarantine",
    Act.DISPOSE_EARLY: "scelle.bootstrap.erasing_records:execute_dispose_early",
    Act.OPEN_RESTRICTED: "scelle.bootstrap.restricted:execute_open",
    Act.EXPORT_RESTRICTED: "scelle.bootstrap.restricted:execute_export",
    Act.WALL_ADMIT: "scelle.bootstrap.operators:execute_wall_admit",
    Act.OPERATOR_ADD: "scelle.bootstrap.operators:execute_operator_add",
    Act.SETTING: "scelle.bootstrap.operators:execute_setting",
}
"""Who carries out an act: module and function, found when it is needed."""


def ask(session: Session, act: Act, order: str | None, body: Mapping[str, Any], reason: str) -> Request:
    """Seal a request and return it; nothing is done yet. Where exactly that is asked for already, it is that request.

    Raises NotAllowed.
    """
    requester = _requester(session, act, order)
    there = _open_twin(session, act, order, body)
    if there is not None:
        return there
    now_us = session.now_us()
    request = Request(
        id=f"r{secrets.token_hex(8)}",
        act=act,
        order=order,
        body=body,
        requester=None if requester is None else requester.name,
        reason=reason,
        made_us=now_us,
        ready_us=now_us + session.setting_us("cooling-off"),
        expires_us=now_us + session.setting_us("cooling-off") + session.setting_us("request-expiry"),
    )
    signature = b"" if requester is None else _key(session).sign(request.signed_text(_origin(session)))
    session.record(MADE, {"asked": request.to_json(), "signature": signature.hex()})
    return session.people.requests[request.id]


def _open_twin(session: Session, act: Act, order: str | None, body: Mapping[str, Any]) -> Request | None:
    """Return the request that asks for exactly this and may still be carried out, where there is one."""
    for request in visible_requests(session):
        is_open = _state(session, request) in (RequestState.WAITING, RequestState.APPROVED)
        if is_open and (request.act, request.order, dict(request.body)) == (act, order, dict(body)):
            return request
    return None


def _requester(session: Session, act: Act, order: str | None) -> Operator | None:
    if session.is_solo:
        return None
    if session.operator is None:
        raise NotAllowed(f"{act.value} takes two people: give --as NAME")
    refused = why_not_requester(act, order, session.operator)
    if refused is not None:
        session.note_refusal(act.value, refused)
        raise NotAllowed(refused)
    return session.operator


def approve(session: Session, request_id: str) -> Request:
    """Seal the second person's approval, or (solo) the second confirmation; carry it out if it may be by now."""
    request = find_request(session, request_id)
    state = _state(session, request)
    check_still_open(request, state)
    if state is RequestState.APPROVED:
        raise RequestRefused(f"request {request.id} is approved already: it waits for `scelle request run`")
    _refuse_approval(session, request)
    key = session.operator_key
    name = None if key is None else key.name
    signature = b"" if key is None else key.sign(request.approval_text(_origin(session), key.vkey))
    session.record(APPROVED, {"request": request.id, "operator": name, "signature": signature.hex()})
    request = session.people.requests[request.id]
    return carry_out(session, request) if session.now_us() >= request.ready_us else request


def _refuse_approval(session: Session, request: Request) -> None:
    if request.requester is None:
        if not session.is_solo:
            raise RequestRefused(f"request {request.id} was made in solo mode: ask again with --as NAME")
        if session.now_us() < request.ready_us:
            raise RequestRefused(
                f"request {request.id}: solo mode asks for a second confirmation after the cooling-off time, from "
                f"{utc_text(request.ready_us)}"
            )
        return
    if session.operator is None:
        raise NotAllowed(f"request {request.id} takes another person's key: give --as NAME")
    requester = session.people.operators.get(request.requester)
    if requester is None:
        raise RequestRefused(f"request {request.id}: {request.requester} is no operator any more: ask again")
    refused = why_not_approver(request, requester, session.operator)
    if refused is not None:
        session.note_refusal(f"approve {request.id}", refused)
        raise NotAllowed(refused)


def withdraw(session: Session, request_id: str) -> Request:
    """Seal that a request is not wanted any more; any counsel may, and who asked."""
    request = find_request(session, request_id)
    check_still_open(request, _state(session, request))
    if not session.is_solo:
        if session.operator is None:
            raise NotAllowed("to withdraw a request takes an operator: give --as NAME")
        if session.operator.name != request.requester:
            refused = why_not_requester(request.act, request.order, session.operator)
            if refused is not None:
                raise NotAllowed(refused)
    session.record(WITHDRAWN, {"request": request.id, "by": session.actor})
    return session.people.requests[request.id]


def run_due(session: Session) -> list[Request]:
    """Carry out every request that is approved and has cooled off, of those that who acts may see.

    Two people stand behind each: carrying it out is nobody's decision, so that an engineer's job may do it. Restricted
    reviewers carry out what they alone ask for, and nothing else.
    One that cannot be carried out stays as it is, is named in `session.warnings`, and keeps no other from its turn.
    """
    if not session.is_solo:
        session.require(Power.APPROVE, Power.CAPTURE)
    due = [
        request
        for request in visible_requests(session)
        if _state(session, request) is RequestState.APPROVED
        and session.now_us() >= request.ready_us
        and _is_theirs(session, request)
    ]
    done = []
    for request in due:
        try:
            done.append(carry_out(session, request))
        except (InputError, AuthorityError, HeldError) as error:
            session.warnings.append(f"request {request.id} cannot be carried out: {error}")
    return done


def _is_theirs(session: Session, request: Request) -> bool:
    """Tell whether who acts may carry out a request that others, too, stand behind."""
    is_restricted_reviewer = (
        session.operator is not None and session.operator.role is Role.RESTRICTED_REVIEWER
    )
    return not is_restricted_reviewer or request.act in RESTRICTED_ACTS


def carry_out(session: Session, request: Request) -> Request:
    """Carry out an approved request, and seal what came of it.

    A crash before the event leaves a request that is approved still: it is carried out again, which changes nothing.
    """
    if request.act not in EXECUTORS:
        raise RequestRefused(
            f"request {request.id}: this version of Scellé does not carry out {request.act.value}"
        )
    module, _, name = EXECUTORS[request.act].partition(":")
    execute: Callable[[Session, Request], dict[str, Any]] = getattr(import_module(module), name)
    outcome = execute(session, request)
    session.record(EXECUTED, {"request": request.id, "outcome": outcome})
    return session.people.requests[request.id]


def visible_requests(session: Session) -> list[Request]:
    """List the requests that who acts may know of, the oldest first."""
    return [
        request
        for request in session.people.requests.values()
        if (session.is_solo or session.operator is not None) and all(map(session.sees, _orders_of(request)))
    ]


def _orders_of(request: Request) -> list[str]:
    """Return the orders that a request names."""
    named = request.body.get("orders") if request.act is Act.OPERATOR_ADD else None
    return [*([] if request.order is None else [request.order]), *(named or [])]


def find_request(session: Session, request_id: str) -> Request:
    """Return a request by its id; raise RequestUnknown, also for one behind a wall."""
    for request in visible_requests(session):
        if request.id == request_id:
            return request
    raise RequestUnknown(f"no request has the id {shown(request_id)}: see `scelle request list`")


def request_state(session: Session, request: Request) -> RequestState:
    """Return where a request stands now."""
    return _state(session, request)


def describe(session: Session, request: Request) -> dict[str, Any]:
    """Return a request as commands print it."""
    return {
        "request": request.id,
        "act": request.act.value,
        "order": request.order,
        "state": _state(session, request).value,
        "reason": request.reason,
        "requester": request.requester,
        "approvals": [
            {"operator": each.operator, "time": utc_text(each.time_us)} for each in request.approvals
        ],
        "made": utc_text(request.made_us),
        "ready": utc_text(request.ready_us),
        "expires": utc_text(request.expires_us),
        "solo": session.is_solo,
        "asked": dict(request.body),
        "outcome": dict(request.outcome),
    }


def _state(session: Session, request: Request) -> RequestState:
    return request.state(_origin(session), session.people.operators, session.now_us())


def _origin(session: Session) -> str:
    return f"{session.host}/po/{RESERVED_ORDER_ID}"


def _key(session: Session) -> OperatorKey:
    if session.operator_key is None:
        raise ScelleError("an operator without a key: a fault of Scellé")
    return session.operator_key
