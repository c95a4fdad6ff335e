"""Acknowledge an order: what was received when, under which digest it is sealed, what its clock says."""

from scelle.orders.clocks import hold_end
from scelle.orders.model import Order
from scelle.reports.case import Case, Register, made
from scelle.reports.model import (
    Claim,
    Fact,
    Instant,
    Part,
    Report,
    Row,
    Said,
    Section,
    Value,
    table,
    term,
    text_or_absent,
)
from scelle.reports.terms import (
    CLAUSE_COLUMNS,
    clause_cells,
    clock_parts,
    end,
    header,
    moment,
    papers,
    witness_parts,
)

NAME = "acknowledgement"


def acknowledgement(case: Case) -> Report:
    """Return the acknowledgement of an order, by the terms under which it was received."""
    register = Register(case.log)
    facts = header(case, register)
    order, received = case.sealed.life.terms[0].order, case.sealed.received
    sealed = register.event(received)
    sections = [
        Section(
            "receipt",
            (
                Claim(Said("say.received", {"time": Instant(received.time_us)}), (sealed,)),
                Fact("issued", moment(order.issued), (sealed,)),
                Fact("received", moment(order.received), (sealed,)),
                Fact("effective", _effective(order), (sealed,)),
                Fact("validating-authority", text_or_absent(order.validating_authority), (sealed,)),
                Fact("acknowledge-by", end(order.acknowledge_by), (sealed,)),
                Fact("kind", term("kind", order.rule.kind)),
                Fact("temporal", term("temporal", order.temporal), (sealed,)),
            ),
        ),
        Section("item-zero", (Claim(Said("say.item-zero")), papers(case, register))),
        Section("clock", tuple(clock_parts(order, hold_end(order), sealed, is_open_ended=False))),
        Section("secrecy", tuple(secrecy_parts(order, sealed))),
        Section("clauses", (_first_clauses(case, register),)),
        Section("custody-of-log", tuple(witness_parts(case, register))),
    ]
    return made(case, register, NAME, facts, sections)


def _effective(order: Order) -> Value:
    """Return from when the order binds: its own day, else its receipt."""
    return term("effective", "on-receipt") if order.effective is None else moment(order.effective)


def secrecy_parts(order: Order, evidence: int) -> list[Part]:
    """Return who may be told of an order."""
    parts: list[Part] = [
        Fact("notify", term("notify", order.notify), (evidence,)),
        Fact("secrecy-until", end(order.secrecy_until), (evidence,)),
    ]
    return [*parts, Claim(Said(f"say.secrecy-{order.notify}"), (evidence,))]


def _first_clauses(case: Case, register: Register) -> Part:
    """Return the clauses that were sealed with the order, in the same commit."""
    first = case.log.index_of(case.sealed.received)
    with_order = {
        str(event.body["id"]): event
        for event in case.log.of_kind("clause")
        if case.log.index_of(event) == first
    }
    rows = [
        Row(clause_cells(case, each.clause), (register.event(with_order[each.clause.id]),))
        for each in case.sealed.life.clauses
        if each.clause.id in with_order and each.since_us == with_order[each.clause.id].time_us
    ]
    return table("clauses", CLAUSE_COLUMNS, rows)
