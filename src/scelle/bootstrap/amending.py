"""Record what happens to an order after it was taken in: each step with its document, author and time.

What tightens (extend, add clauses, add accounts, end a carve-out) is sealed at once; what loosens (narrow, carve out)
becomes a request that holds the exact clauses, and is sealed when two people stand behind it.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from scelle.bootstrap.lapses import affected, seal_lapses
from scelle.bootstrap.requests import ask, check_may_ask, open_twin, without_places
from scelle.bootstrap.restricted import refuse_hashes_over_records
from scelle.bootstrap.sealed_scope import count_stopped
from scelle.bootstrap.session import Session
from scelle.bootstrap.store_guards import tell_guards
from scelle.capture.amending import ScopeDiff, compare_scopes
from scelle.capture.sealed import FINISHED
from scelle.errors import AmendmentWrong, TransitionRefused
from scelle.formats.tokens import shown
from scelle.ledger.events import events, has_left_events, record_event
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter
from scelle.operators.model import Power
from scelle.operators.requests import Act, Request
from scelle.orders.alarms import extension_warnings, lapse_alarm
from scelle.orders.amendments import (
    Amendment,
    ClausesFile,
    addition,
    end_carve_out,
    more_accounts,
    narrowing,
    new_end,
    read_clauses_file,
    refuse_wider,
)
from scelle.orders.clocks import hold_end
from scelle.orders.days import utc_text
from scelle.orders.intake import check_sources
from scelle.orders.lifecycle import Life, Mark, Step
from scelle.orders.model import Moment
from scelle.orders.papers import read_accounts_file, read_letter
from scelle.orders.service import SealedOrder, seal_accounts, seal_paper, sealed_order, with_accounts
from scelle.orders.types import Kind
from scelle.scope.sealed import clause_from_json, clause_to_json

LOOSENING: Final[Mapping[str, Act]] = {"narrow": Act.NARROW, "carve-out": Act.CARVE_OUT}
"""The amendments that take two people."""
_STEPS: Final[Mapping[str, Step]] = {
    "narrow": Step.NARROW,
    "carve-out": Step.NARROW,
    "add-clause": Step.ADD,
    "add-accounts": Step.ADD,
    "end-carve-out": Step.ADD,
}


# --- the steps of an order's life --------------------------------------------------------------------------


def record_step(
    session: Session, order: str, step: Step, kind: str, body: Mapping[str, Any], letter: Path | None = None
) -> Life:
    """Seal one step of an order's life with its document; raise `TransitionRefused` where it is not valid.

    A crash before the one commit leaves nothing of it, or the event without its commit, which the next step seals.
    """
    session.require(Power.AMEND)
    paper = None if letter is None else read_letter(letter)
    ledger = _writer(session, order)
    sealed_order(ledger).life.check(step, session.now_us())
    document = _seal_letter(session, ledger, paper)
    session.packs.sync()
    record_event(ledger, session.now_us(), session.actor, kind, {**body, "document": document})
    ledger.seal(session.now_us())
    return sealed_order(ledger).life


def authenticate(session: Session, order: str, how: str, letter: Path | None = None) -> Life:
    """Seal that an order was found to be the authority's own, and how, as a code."""
    return record_step(session, order, Step.AUTHENTICATE, "authenticated", {"how": how}, letter)


def lift(session: Session, order: str, letter: Path | None = None) -> Life:
    """Seal that the authority ended an order, or counsel one that has no authority; everything stays held."""
    return record_step(session, order, Step.LIFT, "lifted", {}, letter)


def annul(session: Session, order: str, letter: Path | None = None) -> Life:
    """Seal that a court annulled an order; everything stays held."""
    return record_step(session, order, Step.ANNUL, "annulled", {}, letter)


def review(session: Session, order: str, ground: str, letter: Path | None = None) -> Life:
    """Seal that the necessity of a hold was reviewed, and why it is still necessary, as a code."""
    return record_step(session, order, Step.REVIEW, "reviewed", {"ground": ground}, letter)


def set_mark(session: Session, order: str, mark: Mark, *, is_set: bool, letter: Path | None = None) -> Life:
    """Set or clear a mark beside the order's state."""
    return record_step(session, order, Step.MARK, "mark", {"mark": mark.value, "set": is_set}, letter)


def replace_order(session: Session, order: str, by: str, letter: Path | None = None) -> Life:
    """Seal that another order, mostly the platform's own hold with its own ground, takes this one's place."""
    other = sealed_order(session.order_ledger(by)).life
    if by == order or not other.holds or other.order.rule.kind is Kind.DEADLINE_ONLY:
        raise AmendmentWrong(
            f"--by {shown(by)}: is no other order that holds; take in an internal hold with its own ground first"
        )
    return record_step(session, order, Step.REPLACE, "replaced", {"by": by}, letter)


class Extension(NamedTuple):
    """A new end of an order, and what is odd about it."""

    until: Moment
    warnings: tuple[str, ...]


def plan_extension(session: Session, order: str, until: str) -> Extension:
    """Read the end that an extension gives; raise `TransitionRefused`, and OrderValueWrong where it extends nothing."""
    session.require(Power.AMEND)
    life = sealed_order(session.order_ledger(order)).life
    life.check(Step.EXTEND, session.now_us())
    moment = new_end(life.order, hold_end(life.order).keep_until_us, until)
    return Extension(moment, extension_warnings(life, moment, session.now_us()))


def extend(
    session: Session, order: str, until: str, letter: Path | None = None, reference: str | None = None
) -> Life:
    """Seal a new end of an order; one that comes after the end begins a new interval in force."""
    moment, warnings = plan_extension(session, order, until)
    lapsed_us = sealed_order(session.order_ledger(order)).life.lapsed_us(session.now_us())
    body = {
        "until": [moment.text, moment.at_us],
        "reference": reference,
        "without": None if lapsed_us is None else [str(lapsed_us), str(session.now_us())],
        "warnings": list(warnings),
    }
    return record_step(session, order, Step.EXTEND, "extended", body, letter)


def sealed_so_far(session: Session, order: str) -> tuple[dict[str, int], list[str]]:
    """Return what the order's newest pass counted as sealed, and the clauses whose period has no end."""
    ledger = session.order_ledger(order)
    counts = {"items": 0, "bytes": 0}
    for event in events(ledger, FINISHED):
        sources = event.body["sources"].values()
        counts = {
            "items": sum(int(each["sealed"]) for each in sources),
            "bytes": sum(int(each["bytes"]) for each in sources),
        }
    clauses = sealed_order(ledger).clauses
    return counts, [each.id for each in clauses if each.period_to_us is None and not each.carve_out]


def note_lapses(session: Session) -> list[dict[str, Any]]:
    """Seal the lapses that are due; return all that this session sealed, of those that who acts may see.

    Each has `order, at, affected`: the erasure requests for which the order was the only ground and is none any more,
    None for who may not know of requests. An order behind a wall is noted whoever acts, and not named.
    """
    seal_lapses(session)
    return [
        {"order": order, "at": utc_text(lapsed_us), "affected": affected(session, order)}
        for order in filter(session.sees, session.noted_lapses)
        if (lapsed_us := sealed_order(session.ledger(order)).life.lapsed_us(session.now_us())) is not None
    ]


def lapse_alarms(session: Session) -> dict[str, str]:
    """Return what is to be decided over lapsed orders, by order; the same every day until somebody decides."""
    lives = {order: sealed_order(session.ledger(order)).life for order in session.orders()}
    within_us, now_us = session.setting_us("decide-within"), session.now_us()
    alarms = {order: lapse_alarm(life, now_us, within_us) for order, life in lives.items()}
    return {order: alarm for order, alarm in alarms.items() if alarm is not None}


# --- amendments of what an order covers ----------------------------------------------------------------------


def read_narrowing(session: Session, order: str, file: Path) -> Amendment:
    """Read an amendment that narrows: clauses that stop, or that narrower ones take the place of."""
    sealed, found = _read(session, order, file, "narrow", may_stop=True)
    amendment = narrowing(order, sealed.clauses, found)
    refuse_wider(with_accounts(sealed, session.packs).clauses, amendment)
    return amendment


def read_new_clauses(session: Session, order: str, file: Path) -> Amendment:
    """Read clauses that are new to an order."""
    sealed, found = _read(session, order, file, "add-clause")
    return addition("add-clause", order, _used(sealed), found)


def read_carve_outs(session: Session, order: str, file: Path) -> Amendment:
    """Read carve-outs: clauses that take out of the others what they cover beyond doubt."""
    sealed, found = _read(session, order, file, "carve-out")
    return addition("carve-out", order, _used(sealed), found)


def read_end_of_carve_out(
    session: Session, order: str, clause_id: str, letter: Path | None = None
) -> Amendment:
    """Read which carve-out ends, and the letter; what it took out joins the order's other clauses again."""
    session.require(Power.AMEND)
    sealed = sealed_order(session.order_ledger(order))
    sealed.life.check(Step.ADD, session.now_us())
    amendment = end_carve_out(order, sealed.clauses, clause_id)
    return amendment if letter is None else replace(amendment, letter=read_letter(letter))


def read_more_accounts(session: Session, order: str, clause_id: str, file: Path) -> Amendment:
    """Read accounts that join those of a clause, blanks and repetitions passed over and counted."""
    session.require(Power.AMEND)
    sealed = sealed_order(session.order_ledger(order))
    sealed.life.check(Step.ADD, session.now_us())
    growing = with_accounts(sealed, session.packs).clauses
    return more_accounts(order, growing, clause_id, read_accounts_file(file), session.packs.read)


def difference(session: Session, order: str, amendment: Amendment) -> ScopeDiff:
    """Say what an amendment changes, by looking at the order's sources, and at what is sealed, now. Keeps nothing.

    Raises AmendmentWrong where items would join by an amendment that narrows, naming the clause.
    """
    ledger = session.order_ledger(order)
    sealed = with_accounts(sealed_order(ledger), session.packs)
    after = amendment.applied(sealed.clauses)
    names = {name for clause in (*sealed.clauses, *after) for name in clause.sources}
    diff = compare_scopes(sealed.clauses, after, session.named_by(sealed, names))
    if amendment.act in LOOSENING:
        for clause_id, items in sorted(diff.joined_by.items()):
            raise AmendmentWrong(
                f"clause {shown(clause_id)}: {items} items would join order {order}, which does not narrow it: use "
                "`scelle order add-clause`"
            )
        diff.sealed = count_stopped(session, ledger, sealed, sealed.clauses, after)
    return diff


def seal_amendment(session: Session, order: str, amendment: Amendment, diff: Mapping[str, Any]) -> None:
    """Seal an amendment that tightens, by one commit: papers, clauses, what was shown before."""
    session.require(Power.AMEND)
    if amendment.act in LOOSENING:
        raise AssertionError(f"{amendment.act} takes two people")
    ledger = _writer(session, order)
    sealed_order(ledger).life.check(_STEPS[amendment.act], session.now_us())
    document = _seal_letter(session, ledger, amendment.letter)
    seal_accounts(ledger, session.packs, amendment.accounts, session.now_us())
    _seal(session, ledger, amendment, {"diff": dict(diff), "document": document, "request": None})


def ask_amendment(
    session: Session, order: str, amendment: Amendment, diff: Mapping[str, Any], reason: str
) -> Request:
    """Ask for an amendment that loosens. Its papers are sealed at once, so that the request is over exactly them."""
    session.require(Power.AMEND)
    act = LOOSENING[amendment.act]
    check_may_ask(session, act, None)
    ledger = _writer(session, order)
    sealed = sealed_order(ledger)
    sealed.life.check(Step.NARROW, session.now_us())
    growing = {clause.id: clause_to_json(clause) for clause in sealed.clauses}
    body = {
        "before": {name: growing[name] for name in amendment.touched() if name in growing},
        "clauses": [clause_to_json(clause) for clause in amendment.clauses],
        "stop": list(amendment.stop),
        "diff": dict(diff),
        "document": _as_named(amendment.letter),
        "reference": amendment.reference,
    }
    twin = open_twin(session, act, order, body, without_places)
    if twin is not None:
        return twin
    document = _seal_letter(session, ledger, amendment.letter)
    seal_accounts(ledger, session.packs, amendment.accounts, session.now_us())
    session.packs.sync()
    ledger.seal(session.now_us())
    return ask(session, act, order, {**body, "document": document}, reason)


def _as_named(letter: tuple[str, bytes] | None) -> dict[str, Any] | None:
    """Return how an event names a letter, before it is sealed anywhere."""
    return None if letter is None else {"name": letter[0], "sha256": sha256(letter[1]).hexdigest()}


def execute_narrow(session: Session, request: Request) -> dict[str, Any]:
    """Seal an amendment that two people stand behind; a second time changes nothing.

    Where the order changed since, so that the exact clauses which were signed would not narrow it any more, nothing is
    changed, and the outcome says why: ask again.
    """
    order = request.order or ""
    ledger = _writer(session, order)
    outcome = {"order": order, "sealed": True, "diff": dict(request.body["diff"])}
    if any(event.body["request"] == request.id for event in events(ledger, "amended")):
        return outcome
    why_not = _overtaken(sealed_order(ledger), request, session.now_us())
    if why_not is not None:
        return {"order": order, "sealed": False, "why": why_not}
    amendment = Amendment(
        request.act.value,
        tuple(map(clause_from_json, request.body["clauses"])),
        tuple(map(str, request.body["stop"])),
        reference=request.body["reference"],
    )
    said = {"diff": dict(request.body["diff"]), "document": request.body["document"], "request": request.id}
    _seal(session, ledger, amendment, said)
    return outcome


def execute_carve_out(session: Session, request: Request) -> dict[str, Any]:
    """Seal carve-outs that two people stand behind; a second time changes nothing."""
    return execute_narrow(session, request)


# --- inside --------------------------------------------------------------------------------------------------


def _read(
    session: Session, order: str, file: Path, act: str, *, may_stop: bool = False
) -> tuple[SealedOrder, ClausesFile]:
    session.require(Power.AMEND)
    sealed = sealed_order(session.order_ledger(order))
    sealed.life.check(_STEPS[act], session.now_us())
    found = read_clauses_file(file, sealed.order, may_stop=may_stop)
    check_sources(found.clauses, session.sources())
    refuse_hashes_over_records(found.clauses, session.sources())
    return sealed, found


def _used(sealed: SealedOrder) -> set[str]:
    return {each.clause.id for each in sealed.life.clauses}


def _overtaken(sealed: SealedOrder, request: Request, now_us: int) -> str | None:
    """Say what happened since an amendment was asked for that it does not fit any more; None where nothing did.

    A clause must be as it was then, or as it is to be: after a crash half-way.
    """
    try:
        sealed.life.check(Step.NARROW, now_us)
    except TransitionRefused as error:
        return str(error)
    growing = {clause.id: clause_to_json(clause) for clause in sealed.clauses}
    wanted = {str(clause["id"]): clause for clause in request.body["clauses"]}
    before: Mapping[str, Any] = request.body["before"]
    for name in (*map(str, request.body["stop"]), *wanted):
        if growing.get(name) not in (before.get(name), wanted.get(name)):
            return f"clause {name} changed since it was asked: ask again"
    claims = {clause.id for clause in sealed.clauses if not clause.carve_out}
    stops = set(map(str, request.body["stop"]))
    if stops & claims and claims <= stops:
        return "no clause of the order would grow any more: others stopped since it was asked; lift the order instead"
    return None


def _seal(session: Session, ledger: OrderLedgerWriter, amendment: Amendment, said: Mapping[str, Any]) -> None:
    """Seal what an amendment makes of the order's clauses, and `amended` behind it, which says that it is whole.

    A crash before the commit leaves some of the events: those that `_writer` seals are the same when it is done again.
    """
    now_us, actor, sealed = session.now_us(), session.actor, sealed_order(ledger)
    session.packs.sync()  # a crash that leaves a clause leaves the file of accounts that it names
    named = {name for clause in amendment.clauses for name in clause.sources}
    for number, name in enumerate(sorted(named - set(sealed.aliases)), len(sealed.aliases) + 1):
        spec = session.sources()[name].to_json()
        record_event(ledger, now_us, actor, "source", {"alias": f"s{number:04d}", **spec})
    growing = {clause.id: clause for clause in sealed.clauses}
    for clause_id in amendment.stop:
        if clause_id in growing:
            record_event(ledger, now_us, actor, "clause.stopped", {"id": clause_id})
    for clause in amendment.clauses:
        if growing.get(clause.id) != clause:
            record_event(ledger, now_us, actor, "clause", clause_to_json(clause))
    body = {
        "act": amendment.act,
        "clauses": [clause.id for clause in amendment.clauses],
        "stopped": list(amendment.stop),
        "reference": amendment.reference,
        **said,
    }
    record_event(ledger, now_us, actor, "amended", body)
    ledger.seal(now_us)
    tell_guards(session, ledger.order)


def _writer(session: Session, order: str) -> OrderLedgerWriter:
    return _recovered(session, session.order_writer(order))


def _recovered(session: Session, ledger: OrderLedgerWriter) -> OrderLedgerWriter:
    """Return the order's log; events that a crash left durable are sealed first, so that they are seen."""
    if has_left_events(session.path, ledger.order):
        ledger.seal(session.now_us(), only=(EVENTS_SOURCE,))
    return ledger


def _seal_letter(
    session: Session, ledger: OrderLedgerWriter, letter: tuple[str, bytes] | None
) -> dict[str, Any] | None:
    if letter is None:
        return None
    name, data = letter
    return seal_paper(ledger, session.packs, name, data, session.now_us())
