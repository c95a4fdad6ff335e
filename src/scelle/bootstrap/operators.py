"""Add and remove operators, build walls around orders, change settings, keep the counsel compartment.

What tightens is done at once, by one counsel; what loosens becomes a request (`bootstrap.requests`), whose executor
stands here, too.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyrage

from scelle.bootstrap.requests import ask, visible_requests
from scelle.bootstrap.session import Session, names_any
from scelle.errors import InputError, NotAllowed, NoteWrong, OperatorNameWrong, OperatorUnknown
from scelle.formats.notes import VerifierKey, parse_vkey
from scelle.formats.tokens import shown
from scelle.ledger.events import Event, events
from scelle.operators.keys import OperatorKey, write_operator_key
from scelle.operators.model import Operator, Power, Role
from scelle.operators.notes import NOTE, Note, check_note, note_body, read_note
from scelle.operators.reads import ACCESS, REFUSED
from scelle.operators.registry import ADDED, ADMITTED, COUNSEL_MIN, KINDS, REMOVED, WALL, public_body
from scelle.operators.requests import MADE, Act, Request
from scelle.operators.settings import CHANGED, check_setting, check_value, is_looser, setting_us
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.vault.keys import refuse_inside

Confirm: TypeAlias = Callable[[str], None]
"""Told before an act what nobody could do any more after it; raises where that is not meant."""

# --- operators -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublicHalf:
    """What a vault needs of an operator who made a key file himself: the key that checks, the key to encrypt to."""

    vkey: VerifierKey
    recipient: str

    def text(self) -> str:
        """Write both, parted by a blank."""
        return f"{self.vkey.text()} {self.recipient}"


def parse_public_half(text: str) -> PublicHalf:
    """Read what `operator key` printed; raise InputError."""
    vkey, _, recipient = text.strip().partition(" ")
    try:
        pyrage.x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError:
        raise InputError("--public: give both keys as `operator key` printed them: VKEY age1..") from None
    return PublicHalf(parse_vkey(vkey), recipient)


def make_key(name: str, to: Path, passphrase: str | None) -> PublicHalf:
    """Write a key file of one's own, outside every vault; return what a vault needs of it."""
    key = OperatorKey.generate(name)
    write_operator_key(to, key, passphrase)
    return PublicHalf(key.vkey, key.recipient)


def add_operator(
    session: Session,
    name: str,
    role: Role,
    orders: Collection[str] | None,
    passphrase: str | None,
    public: PublicHalf | None = None,
) -> tuple[Path | None, Request | None]:
    """Make somebody an operator; after the setup this becomes a request of two people.

    Without `public` a key file is written, and its path returned. It comes first: a crash leaves a key that means
    nothing, and the same command again says so.
    """
    people = session.people
    _may_add(session)
    people.check_name(name)
    for order in orders or ():
        session.check_order(order)
    path = None
    if public is None:
        path = session.operator_key_file(name)
        refuse_inside(session.path, path)
        if path.exists():
            raise OperatorNameWrong(
                f"{path} is there already: of an earlier attempt, or another's; remove it if unused"
            )
        public = make_key(name, path, passphrase)
    if public.vkey.name != name:
        raise OperatorNameWrong(f"--public is the key of {public.vkey.name}, not of {name}: name that one")
    people.check_key(public.vkey)
    if people.is_in_setup:
        by = session.actor if people.has_acted and session.operator is not None else None
        body = public_body(public.vkey, public.recipient, role, orders, by)
        session.record(ADDED, {**body, "request": None})
        _warn_of_setup(session, name)
        return path, None
    body = public_body(public.vkey, public.recipient, role, orders, None)
    return path, ask(session, Act.OPERATOR_ADD, None, body, "operator")


def _warn_of_setup(session: Session, name: str) -> None:
    """Say that whom one counsel brought in alone is no second person for that counsel."""
    operator = session.people.operators[name]
    if operator.role is Role.COUNSEL and operator.added_by is not None and session.people.is_in_setup:
        session.warnings.append(
            f"{name} was brought in by {operator.added_by} alone: neither approves what the other asks for; add a "
            "third counsel"
        )


def _may_add(session: Session) -> None:
    """Raise NotAllowed where who acts may not bring people in: in the setup everybody may."""
    people = session.people
    has_counsel = any(each.role is Role.COUNSEL for each in people.operators.values())
    if people.has_acted and has_counsel:
        session.require(Power.OPERATORS)


def execute_operator_add(session: Session, request: Request) -> dict[str, Any]:
    """Make somebody an operator whom two people brought in; a second time changes nothing."""
    name = str(request.body["name"])
    if name not in session.people.operators and name not in session.people.gone:
        session.record(ADDED, {**request.body, "request": request.id})
    if name in session.people.operators:
        return {"added": name}
    return {"added": False, "why": f"{name} was removed since, and a name means one person, for ever"}


def remove_operator(session: Session, name: str, confirm: Confirm | None = None) -> Operator:
    """Remove an operator: from now on none of his signatures counts. One counsel may; nobody removes the last one.

    `confirm` is told first where too few counsel would be left, in the vault or inside the wall of an order; by default
    that becomes a warning.
    """
    session.require(Power.OPERATORS)
    operator = _known(session, name)
    counsel = [each.name for each in session.people.operators.values() if each.role is Role.COUNSEL]
    if counsel == [name]:
        raise NotAllowed(
            f"{name} is the only counsel: nobody could ask for anything any more; add another one first"
        )
    for left_alone in _left_alone(session, operator, len(counsel) - 1):
        (confirm or session.warnings.append)(left_alone)
    session.record(REMOVED, {"name": name, "by": session.actor})
    return operator


def _left_alone(session: Session, operator: Operator, counsel_left: int) -> Iterator[str]:
    """Yield what nobody could do any more without an operator, of the orders that who acts may know of."""
    if operator.role is not Role.COUNSEL:
        return
    if counsel_left < COUNSEL_MIN:
        yield "one counsel would be left: nothing that takes two could be done any more, not even adding a counsel"
        return
    others = [each for each in session.people.operators.values() if each.name != operator.name]
    for order in session.orders():
        inside = [each for each in others if session.people.sees(each, order)]
        if session.people.sees(operator, order) and _counsel_among(inside) < COUNSEL_MIN:
            yield _alone_inside(order, _counsel_among(inside))


def _counsel_among(operators: Collection[Operator]) -> int:
    return sum(each.role is Role.COUNSEL for each in operators)


def _alone_inside(order: str, counsel: int) -> str:
    who = "one counsel alone" if counsel else "no counsel"
    return (
        f"{who} would stand inside the wall: nothing of order {order} that takes two could be done any more, not even "
        "letting another one in"
    )


def _known(session: Session, name: str) -> Operator:
    operator = session.people.operators.get(name)
    if operator is None:
        raise OperatorUnknown(f"no operator {shown(name)}: see `scelle operator list`")
    return operator


def history(session: Session) -> list[dict[str, Any]]:
    """Return what operators did, were refused, and read, the oldest first, as far as who acts may know of it."""
    session.require(Power.SEE_COUNTS)
    hidden = frozenset(order for order in session.every_order_named() if not session.sees(order))
    unseen = session.people.requests.keys() - {each.id for each in visible_requests(session)}
    readable = {event.seq for event, _ in _notes(session)}
    found = []
    for event in events(session.ledger(RESERVED_ORDER_ID), *KINDS, NOTE, REFUSED, ACCESS):
        if event.seq in readable if event.kind == NOTE else not _tells_of(event, hidden, unseen):
            body = {} if event.kind == NOTE else dict(event.body)
            found.append({"time_us": event.time_us, "by": event.actor, "kind": event.kind, "body": body})
    return found


def _tells_of(event: Event, hidden: Collection[str], unseen: Collection[str]) -> bool:
    """Tell whether an event is about one of these orders or requests: by its fields, since an id may be any word."""
    body = event.body
    if event.kind == REFUSED:  # what was refused names requests, and no orders
        return names_any(json.dumps(dict(body)), unseen)
    if event.kind == MADE:
        body = body["asked"] if isinstance(body.get("asked"), Mapping) else {}
        named = body.get("body")
        orders = named.get("orders") if isinstance(named, Mapping) else None
    else:
        orders = body.get("orders")
    about = {str(body.get(key)) for key in ("order", "request", "id")}
    about |= set(map(str, orders)) if isinstance(orders, list) else set()
    return any(each in about for each in hidden) or any(each in about for each in unseen)


# --- walls -----------------------------------------------------------------------------------------------


def build_wall(
    session: Session, order: str, only: Sequence[str], confirm: Confirm | None = None
) -> frozenset[str]:
    """Let only these operators know of an order: tightening, which one counsel may; admitting more takes two.

    `confirm` is told first where fewer than two counsel would stand inside; by default that becomes a warning.
    """
    session.require(Power.OPERATORS)
    session.check_order(order)
    inside = _inside(session, only)
    new = [each.name for each in inside if not session.people.sees(each, order)]
    if new:
        raise NotAllowed(
            f"{', '.join(new)} may not see it now: a wall only shuts out; ask `scelle order admit`"
        )
    if session.operator is not None and session.operator.name not in only:
        raise InputError(
            "who builds a wall stands inside: name yourself, too, or have somebody else build it"
        )
    if _counsel_among(inside) < COUNSEL_MIN:
        (confirm or session.warnings.append)(_alone_inside(order, _counsel_among(inside)))
    return _build(session, order, inside)


def wall_new_order(session: Session, order: str, only: Sequence[str]) -> frozenset[str]:
    """Build the wall of an order that is about to be taken in, so that nobody else ever knows of it.

    Who takes it in stands inside, named or not. A crash afterwards leaves a wall around nothing, and whoever stands
    inside may take the order in again. Raises InputError in solo mode, OperatorUnknown, and NotAllowed for who is
    cleared for other orders only, or stood outside before.
    """
    session.require(Power.OPERATORS)
    taker = session.operator
    inside = _inside(session, [*only, *([] if taker is None else [taker.name])])
    is_walled = order in session.people.walls
    new = [
        each.name for each in inside if not session.people.sees(each, order) and (is_walled or each != taker)
    ]
    if new:
        raise NotAllowed(
            f"{', '.join(new)} could not see it: take it in without them, then ask `scelle order admit`"
        )
    if _counsel_among(inside) < COUNSEL_MIN:
        session.warnings.append(_alone_inside(order, _counsel_among(inside)))
    return _build(session, order, inside)


def _inside(session: Session, only: Sequence[str]) -> list[Operator]:
    """Return who is to stand inside a wall, by name."""
    if session.is_solo:
        raise InputError("the vault has no operators: a wall needs people on both sides; scelle operator add")
    return [_known(session, name) for name in sorted(set(only))]


def _build(session: Session, order: str, inside: Sequence[Operator]) -> frozenset[str]:
    """Seal a wall, where it does not stand already."""
    only = frozenset(each.name for each in inside)
    if session.people.walls.get(order) != only:
        session.record(WALL, {"order": order, "only": sorted(only), "by": session.actor})
    return only


def ask_admission(session: Session, order: str, name: str) -> Request:
    """Ask that an operator be let through the wall of an order, or be cleared for it: it takes two people."""
    session.require(Power.REQUEST)
    session.check_order(order)
    if session.people.sees(_known(session, name), order):
        raise InputError(f"{name} may see order {order} already")
    return ask(session, Act.WALL_ADMIT, order, {"name": name}, "admit")


def execute_wall_admit(session: Session, request: Request) -> dict[str, Any]:
    """Let an operator through a wall; a second time changes nothing."""
    name, order = str(request.body["name"]), str(request.order)
    operator = session.people.operators.get(name)
    if operator is not None and not session.people.sees(operator, order):
        session.record(ADMITTED, {"order": order, "name": name, "request": request.id})
    if operator is None:
        return {"admitted": False, "why": f"{name} is no operator any more"}
    return {"admitted": name}


# --- settings --------------------------------------------------------------------------------------------


def change_setting(session: Session, name: str, value_us: int) -> Request | None:
    """Change a setting at once where that tightens, or no order was taken in yet; otherwise ask for it."""
    name = check_setting(name)
    check_value(name, value_us)
    session.require(Power.SETTINGS)
    settings = session.people.settings
    has_orders = bool(session.people.orders_opened or session.all_orders())
    if has_orders and is_looser(settings, name, value_us):
        return ask(session, Act.SETTING, None, {"name": name, "value_us": str(value_us)}, "setting")
    if value_us != setting_us(settings, name):
        session.record(CHANGED, {"name": name, "value_us": str(value_us), "request": None})
    return None


def execute_setting(session: Session, request: Request) -> dict[str, Any]:
    """Loosen a setting; a second time changes nothing."""
    name, value_us = str(request.body["name"]), int(str(request.body["value_us"]))
    if setting_us(session.people.settings, name) != value_us:
        session.record(CHANGED, {"name": name, "value_us": str(value_us), "request": request.id})
    return {"name": name, "value_us": str(value_us)}


# --- the counsel compartment -----------------------------------------------------------------------------


def add_note(session: Session, text: str, about: str | None = None) -> int:
    """Keep a text that only those of today's counsel can read who may know of what it is about; return its number.

    In solo mode there is nobody to encrypt to, so that it is sealed as every other row is. Raises NoteWrong.
    """
    _require_note(session, about)
    order = None if about is None else _order_of(session, about)
    people = session.people.operators.values()
    readers = [each for each in people if order is None or session.people.sees(each, order)]
    if people and not any(each.role is Role.COUNSEL for each in readers):
        raise NoteWrong("there is no counsel who may read it: nothing was kept")
    session.record(NOTE, note_body(Note(check_note(text), about), readers))
    return len(_notes(session))


def _require_note(session: Session, about: str | None) -> None:
    """Raise NotAllowed for who may neither amend orders nor asked for what the note is about."""
    asked = None if about is None else session.people.requests.get(about)
    if asked is None or session.operator is None or asked.requester != session.operator.name:
        session.require(Power.AMEND)


def read_notes(session: Session) -> list[dict[str, Any]]:
    """Return the notes that who acts can read, numbered: that there are others does not show. For counsel."""
    session.require(Power.AMEND)
    return [
        {
            "number": number,
            "time_us": event.time_us,
            "by": event.actor,
            "about": note.about,
            "text": note.text,
        }
        for number, (event, note) in enumerate(_notes(session), 1)
    ]


def read_one_note(session: Session, number: int) -> dict[str, Any]:
    """Return one note; raise NoteWrong where who acts can read none of that number."""
    for found in read_notes(session):
        if found["number"] == number:
            return found
    raise NoteWrong(f"there is no note {number} that you can read: see `scelle note list`")


def _notes(session: Session) -> list[tuple[Event, Note]]:
    """Return the notes that who acts can read, the oldest first."""
    found = []
    for event in events(session.ledger(RESERVED_ORDER_ID), NOTE):
        note = read_note(event.body, session.operator_key)
        if note is not None and (note.about is None or not _is_hidden(session, note.about)):
            found.append((event, note))
    return found


def _order_of(session: Session, about: str) -> str | None:
    """Return the order that a note is about, by its id or by that of a request."""
    request = session.people.requests.get(about)
    order = about if request is None else request.order
    return order if order in session.every_order_named() else None


def _is_hidden(session: Session, about: str) -> bool:
    """Tell whether what a note is about lies behind a wall."""
    order = _order_of(session, about)
    return order is not None and not session.sees(order)
