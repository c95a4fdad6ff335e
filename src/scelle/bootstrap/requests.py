"""Ask for what takes two people, have it approved, and carry it out once it may be.

Every step is an event of the vault's own log. What is asked for is carried out by the module that owns it, found by
name (`EXECUTORS`); each of them looks first whether it has sealed the request's id already, so that a crash between its
act and the event `request.executed` does it once.
"""

import secrets
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

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
from scelle.formats.tokens import is_code, shown
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
    Act.GUARD_REMOVE: "scelle.bootstrap.store_guards:execute_removal",
    Act.GUARD_MIGRATION: "scelle.bootstrap.guard_breaks:execute_migration",
    Act.WATCH_REMOVE: "scelle.bootstrap.watch_removal:execute_watch_removal",
}
"""Who carries out an act: module and function, found when it is needed."""


def ask(session: Session, act: Act, order: str | None, body: Mapping[str, Any], reason: str) -> Request:
    """Seal a request and return it; nothing is done yet. Where exactly that is asked for already, it is that request.

    Raises NotAllowed, and InputError for a reason that is no code: it is sealed, and free text goes to a note.
    """
    if not is_code(reason):
        raise InputError(f"reason {shown(reason)} is no code of a-z 0-9 -: free text goes to `scelle note`")
    requester = check_may_ask(session, act, order)
    there = open_twin(session, act, order, body)
    if there is not None:
        return there
    now_us = session.now_us()
    ready_us = now_us + session.setting_us("cooling-off")
    request = Request(
        id=f"r{secrets.token_hex(8)}",
        act=act,
        order=order,
        body=body,
        requester=None if requester is None else requester.name,
        reason=reason,
        made_us=now_us,
        ready_us=ready_us,
        expires_us=ready_us + session.setting_us("request-expiry"),
    )
    signature = b"" if requester is None else _key(session).sign(request.signed_text(_origin(session)))
    session.record(MADE, {"asked": request.to_json(), "signature": signature.hex()})
    return session.people.requests[request.id]


def open_twin(
    session: Session,
    act: Act,
    order: str | None,
    body: Mapping[str, Any],
    same: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Request | None:
    """Return the request that asks for exactly this and may still be carried out, where there is one.

    `same` gives of a body what is compared.
    """
    for request in visible_requests(session):
        is_same = (request.act, request.order, same(request.body)) == (act, order, same(body))
        if is_same and is_open(session, request):
            return request
    return None


def without_places(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked for without where its paper was sealed: the same paper is the same, sealed twice."""
    paper = body.get("document")
    named = None if paper is None else {key: paper[key] for key in ("name", "sha256")}
    return {**body, "document": named}


def is_open(session: Session, request: Request) -> bool:
    """Tell whether a request may still be carried out: nothing ended it, and who asked may ask for it still."""
    state = request_state(session, request)
    is_asked = request.why_not_asked(_origin(session), session.people.operators) is None
    return is_asked and state in (RequestState.WAITING, RequestState.APPROVED)


def check_may_ask(session: Session, act: Act, order: str | None) -> Operator | None:
    """Return who asks, None in solo mode; raise NotAllowed, before anything is sealed for it, where he may not."""
    if session.is_solo:
        return None
    if session.operator is None:
        raise NotAllowed(f"{act.value} takes two people: give --as NAME")
    refused = why_not_requester(act, () if order is None else (order,), session.operator)
    if refused is not None:
        session.note_refusal(act.value, refused)
        raise NotAllowed(refused)
    return session.operator


def approve(session: Session, request_id: str) -> Request:
    """Seal the second person's approval, or (solo) the second confirmation; carry it out if it may be by now."""
    request = find_request(session, request_id)
    state = request_state(session, request)
    check_still_open(request, state)
    if state is RequestState.APPROVED:
        raise RequestRefused(f"request {request.id} is approved already: it waits for `scelle request run`")
    _refuse_approval(session, request)
    key = session.operator_key
    name = None if key is None else key.name
    signature = b"" if key is None else key.sign(request.approval_text(_origin(session), key.vkey))
    session.record(APPROVED, {"request": request.id, "operator": name, "signature": signature.hex()})
    request = session.people.requests[request.id]
    return carry_out(session, request) if _is_ready(session, request) else request


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
    why_not = request.why_not_asked(_origin(session), session.people.operators)
    if why_not is not None:
        raise RequestRefused(f"request {request.id}: {why_not}: ask again")
    requester = session.people.operators[request.requester]
    refused = why_not_approver(request, requester, session.operator)
    if refused is not None:
        session.note_refusal(f"approve {request.id}", refused)
        raise NotAllowed(refused)


def waits_for(session: Session, request: Request) -> str:
    """Say what an open request waits for, and which command does that."""
    now_us, run = session.now_us(), f"scelle request approve {request.id}"
    ready_us = request.ready_us
    if request_state(session, request) is RequestState.APPROVED:
        waits, run, ready_us = "to be carried out", "scelle request run", _ready_us(request)
    elif request.requester is not None:
        return f"waits for another person's approval: {run}"
    else:
        waits = "for the second confirmation"
    return f"waits {waits}{f', from {utc_text(ready_us)} on' if now_us < ready_us else ''}: {run}"


def withdraw(session: Session, request_id: str) -> Request:
    """Seal that a request is not wanted any more; any counsel may, and who asked."""
    request = find_request(session, request_id)
    check_still_open(request, request_state(session, request))
    if not session.is_solo:
        if session.operator is None:
            raise NotAllowed("to withdraw a request takes an operator: give --as NAME")
        if session.operator.name != request.requester:
            refused = why_not_requester(request.act, request.orders, session.operator)
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
        if (_is_ready(session, request) or has_begun(session, request)) and _is_theirs(session, request)
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
    """Carry out an approved request, and seal what came of it; raise RequestRefused for one that is not, or waits.

    A crash before the event leaves a request that is approved still: it is carried out again, which changes nothing.
    What has begun to destroy is finished, also where it expired since, or a signature counts no more.
    """
    if not has_begun(session, request):
        _refuse_unready(session, request)
    if request.act not in EXECUTORS:
        raise RequestRefused(
            f"request {request.id}: this version of Scellé does not carry out {request.act.value}"
        )
    module, _, name = EXECUTORS[request.act].partition(":")
    execute: Callable[[Session, Request], dict[str, Any]] = getattr(import_module(module), name)
    outcome = execute(session, request)
    session.record(EXECUTED, {"request": request.id, "outcome": outcome})
    return session.people.requests[request.id]


def _is_ready(session: Session, request: Request) -> bool:
    """Tell whether a request is approved and has cooled off."""
    is_approved = request_state(session, request) is RequestState.APPROVED
    return is_approved and session.now_us() >= _ready_us(request)


def _ready_us(request: Request) -> int:
    """Return from when a request may be carried out: after its cooling-off time, and not before it was approved."""
    return max([request.ready_us, *(stood.since_us for stood in request.stood[-1:])])


def _refuse_unready(session: Session, request: Request) -> None:
    state = request_state(session, request)
    check_still_open(request, state)
    if state is not RequestState.APPROVED:
        raise RequestRefused(f"request {request.id} is {state.value}: two people must stand behind it")
    if session.now_us() < _ready_us(request):
        raise RequestRefused(
            f"request {request.id} may be carried out from {utc_text(_ready_us(request))} on"
        )


def has_begun(session: Session, request: Request) -> bool:
    """Tell whether a crash ended the execution of a request half-way: it is finished, whatever the clock says."""
    if request.act is not Act.DISPOSE_EARLY or request.executed_us is not None or not request.stood:
        return False
    from scelle.bootstrap.erasing_records import is_begun  # it stands on requests itself

    return is_begun(session, request)


def visible_requests(session: Session) -> list[Request]:
    """List the requests that who acts may know of, the oldest first."""
    return [
        request
        for request in session.people.requests.values()
        if (session.is_solo or session.operator is not None) and all(map(session.sees, request.orders))
    ]


def find_request(session: Session, request_id: str) -> Request:
    """Return a request by its id; raise RequestUnknown, also for one behind a wall."""
    for request in visible_requests(session):
        if request.id == request_id:
            return request
    raise RequestUnknown(f"no request has the id {shown(request_id)}: see `scelle request list`")


def request_state(session: Session, request: Request) -> RequestState:
    """Return where a request stands now; one that expired once stays so, whatever the clock says."""
    return request.state(_origin(session), session.people.operators, session.latest_us(request.seq))


def describe(session: Session, request: Request) -> dict[str, Any]:
    """Return a request as commands print it."""
    return {
        "request": request.id,
        "act": request.act.value,
        "order": request.order,
        "state": request_state(session, request).value,
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


def _origin(session: Session) -> str:
    return f"{session.host}/po/{RESERVED_ORDER_ID}"


def _key(session: Session) -> OperatorKey:
    if session.operator_key is None:
        raise ScelleError("an operator without a key: a fault of Scellé")
    return session.operator_key
