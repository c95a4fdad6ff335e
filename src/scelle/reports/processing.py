"""Make the sheet for the record of processing activities (Article 30(1) GDPR), from what the order and its log say."""

from collections.abc import Iterator

from scelle.formats.entries import Count
from scelle.orders.types import ErasureBasis
from scelle.release.erasure import IN_ORDER
from scelle.reports.case import Case, Register, entries_of, made
from scelle.reports.model import (
    Blank,
    Claim,
    Code,
    Fact,
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
    text_or_absent,
)
from scelle.reports.terms import (
    CLAUSE_COLUMNS,
    clause_cells,
    current_clock,
    header,
    restricted_sources,
    source_name,
)
from scelle.sources.model import spec_from_json

NAME = "processing"


def processing(case: Case) -> Report:
    """Return the sheet of an order's processing."""
    register = Register(case.log)
    facts = header(case, register)
    received = register.event(case.sealed.received)
    terms = register.event(case.log.last("extended") or case.sealed.received)
    sections = [
        Section("controller", tuple(_controller(case, received))),
        Section("purposes", tuple(purpose_parts(case, received))),
        Section("data", tuple(data_parts(case, register))),
        Section("recipients", tuple(_recipients(case, register, received))),
        Section("time-limits", (*current_clock(case, terms), Claim(Said("say.erased-at-release")))),
        Section("measures", tuple(measure_parts(case, register))),
    ]
    return made(case, register, NAME, facts, sections, notices=("internal", "blanks"))


def _controller(case: Case, received: int) -> Iterator[Part]:
    yield Fact("controller", lines([text_or_absent(case.order.addressee), Blank("controller")]), (received,))
    yield Fact("representative", Blank("representative"))
    yield Fact("dpo", Blank("dpo"))


def purpose_parts(case: Case, received: int) -> Iterator[Part]:
    """Return for what data are kept, and on which legal basis."""
    order = case.order
    params: dict[str, Value] = {
        "authority": Text(order.authority),
        "reference": Text(order.reference),
        "basis": Text(order.legal_basis),
    }
    yield Claim(Said("say.purpose", params), (received,))
    yield Fact("law", term("law", order.type))
    yield Fact("lawfulness", term("lawfulness", _lawfulness(order.rule.erasure)))
    yield Fact("lawfulness-confirmed", Blank("lawfulness"))


def _lawfulness(basis: ErasureBasis) -> str:
    match basis:
        case ErasureBasis.UNION_LAW | ErasureBasis.UK_LAW:
            return "legal-obligation"
        case ErasureBasis.CLAIMS:
            return "claims"
        case ErasureBasis.ASSESS | ErasureBasis.NONE:
            return "assess"


def data_parts(case: Case, register: Register) -> Iterator[Part]:
    """Return whose data and which: the clauses, the sources with what was sealed of them, and blanks."""
    found = {str(event.body["id"]): event for event in case.log.of_kind("clause")}
    rows = [
        Row(clause_cells(case, clause), (register.event(found[clause.id]),)) for clause in case.sealed.clauses
    ]
    yield table("clauses", CLAUSE_COLUMNS, rows)
    systems = {str(event.body["alias"]): event for event in case.log.of_kind("source")}
    newest = {entry.source: (at, entry) for at, entry in entries_of(case.ledger, Count)}
    rows = []
    for name, alias in sorted(case.sealed.aliases.items(), key=lambda pair: pair[1]):
        count = newest.get(alias)
        event = systems[alias]
        evidence = (register.event(event), *(() if count is None else (register.entry(*count),)))
        sealed = Term("sealed.no-pass") if count is None else Share(count[1].sealed, count[1].offered)
        system = Code(spec_from_json(event.body).system)
        rows.append(Row((source_name(case, name), system, sealed), evidence))
    yield table("systems", ("source", "system", "sealed"), rows)
    yield Fact("persons", Blank("persons"))
    yield Fact("categories", Blank("categories"))
    yield Fact("special-categories", Blank("special-categories"))


def _recipients(case: Case, register: Register, received: int) -> Iterator[Part]:
    made_already = case.log.of_kind("production")
    yield Fact("recipient", Text(case.order.authority), (received,))
    yield Claim(Said("say.productions-made", {"n": Number(len(made_already))}), register.events(made_already))
    yield Fact("other-recipients", Blank("other-recipients"))
    yield Fact("third-countries", Blank("third-countries"))


def measure_parts(case: Case, register: Register) -> Iterator[Part]:
    """Return the measures that Scellé takes by itself, with what the log shows of them, and a blank for the others."""
    for measure in ("encrypted", "append-only", "least-data", "never-by-clock"):
        yield Claim(Said(f"say.measure-{measure}"))
    yield Claim(Said("say.measure-solo" if case.is_solo else "say.measure-two-people"))
    shut = restricted_sources(case)
    restricted = sum(1 for each in case.sealed.clauses if each.may_restrict or shut & set(each.sources))
    clauses = Share(restricted, len(case.sealed.clauses))
    yield Claim(Said("say.measure-restricted", {"n": clauses}))
    held_back = case.log.of_kind("quarantined")
    items = sum(len(event.body["items"]) for event in held_back)
    yield Claim(Said("say.measure-quarantine", {"n": Number(items)}), register.events(held_back))
    told = case.log.of_kind(IN_ORDER)
    yield Claim(Said("say.measure-erasure", {"n": Number(len(told))}), register.events(told))
    yield Fact("other-measures", Blank("other-measures"))
