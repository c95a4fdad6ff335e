"""Say what an order defers of erasure requests, on which ground, and what became of them: this order as if alone.

What other orders hold changes nothing of what is said here.
"""

from collections.abc import Iterator

from scelle.ledger.events import Event
from scelle.orders.days import local_day
from scelle.release.erasure import (
    IN_ORDER,
    KINDS,
    REQUESTED,
    ErasureRequest,
    ground_of,
    is_ground,
    requests_of,
)
from scelle.reports.case import Case, Log, Register, made
from scelle.reports.model import (
    ABSENT,
    Claim,
    Code,
    Day,
    Fact,
    Instant,
    Number,
    Part,
    Report,
    Row,
    Said,
    Section,
    Share,
    Term,
    Text,
    Value,
    lines,
    table,
    term,
)
from scelle.reports.terms import header

NAME = "erasures"


def erasures(case: Case) -> Report:
    """Return the erasure requests that an order has deferred."""
    register = Register(case.log)
    facts = header(case, register)
    told = case.log.of_kind(IN_ORDER)
    sections = [
        Section("ground", tuple(_ground(case, register, told))),
        Section("erasure-requests", tuple(_requests(case, register, told))),
        Section("erasure-answers", tuple(_answers(case, register, told))),
    ]
    return made(case, register, NAME, facts, sections, notices=("internal",))


def _ground(case: Case, register: Register, told: list[Event]) -> Iterator[Part]:
    life = case.sealed.life
    ground, state = ground_of(life, case.at_us), life.state(case.at_us)
    evidence = (register.event(case.log.last("extended") or case.sealed.received),)
    yield Fact("state", term("state", state), evidence)
    yield Fact("ground-now", term("ground", ground), evidence)
    if life.holds and not is_ground(ground):
        params = {"n": Share(sum(1 for each in told if is_ground(str(each.body["ground"]))), len(told))}
        yield Claim(Said("say.ground-is-gone", params), evidence)


def _requests(case: Case, register: Register, told: list[Event]) -> Iterator[Part]:
    known = _known(case, told)
    disposed = case.log.last("disposed")
    rows = []
    for event in told:
        request = known.get(str(event.body["request"]))
        evidence = [register.event(event)]
        state: Value = Term("deferred.yes")
        if disposed is not None:
            state = Said("say.no-longer-deferred", {"time": Instant(disposed.time_us)})
            evidence.append(register.event(disposed))
        cells = (
            Code(str(event.body["request"])) if request is None else _named(request),
            Day(str(event.body["received"])),
            term("ground", str(event.body["ground"])),
            Number(int(event.body["items"])),
            Number(int(event.body["sources"])),
            state,
        )
        rows.append(Row(cells, tuple(evidence)))
    items = sum(int(event.body["items"]) for event in told)
    deferred = 0 if disposed is not None else items
    yield Claim(
        Said("say.erasures", {"n": Number(len(told)), "items": Share(deferred, items)}), register.events(told)
    )
    yield table(
        "erasure-requests", ("request", "received-on", "ground", "items", "whole-sources", "state"), rows
    )


def _answers(case: Case, register: Register, told: list[Event]) -> Iterator[Part]:
    """Return by when each person had to be answered, and whether that was done (Article 12 GDPR)."""
    vault = case.vault
    if vault is None:
        return
    known = _known(case, told)
    made_by = {str(event.body["id"]): event for event in vault.of_kind(REQUESTED)}
    rows = [_answer_row(case, register, vault, request, made_by[request.id]) for request in known.values()]
    late = sum(1 for request in known.values() if _is_late(case, request))
    yield Claim(Said("say.answers", {"late": Share(late, len(rows))}))
    yield table("erasure-answers", ("request", "due", "due-at-latest", "extension", "answered"), rows)


def _answer_row(case: Case, register: Register, vault: Log, request: ErasureRequest, asked: Event) -> Row:
    answered: Value = Instant(int(request.letters[0]["at_us"])) if request.letters else ABSENT
    if not request.letters and _is_late(case, request):
        answered = Term("answer.late")
    cells = (
        _named(request),
        Day(request.due.day.isoformat()),
        Day(request.due.at_latest.isoformat()),
        ABSENT if request.extension is None else Text(request.extension),
        answered,
    )
    return Row(cells, (register.event_of_vault(asked, vault, is_placed=case.is_solo),))


def _is_late(case: Case, request: ErasureRequest) -> bool:
    return not request.letters and local_day(case.at_us, case.order.tz()) > request.due.day


def _named(request: ErasureRequest) -> Value:
    return lines([Text(request.reference), Code(request.id)])


def _known(case: Case, told: list[Event]) -> dict[str, ErasureRequest]:
    """Return the requests that this order's own log names, as the vault's log tells them."""
    if case.vault is None:
        return {}
    mine = {str(event.body["request"]) for event in told}
    found = requests_of(case.vault.of_kind(*KINDS)).by_id
    return {name: request for name, request in found.items() if name in mine}
