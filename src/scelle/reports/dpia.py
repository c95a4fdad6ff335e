"""Make the sheet for an impact assessment (Article 35(7) GDPR): what the log can say, and blanks for the rest."""

from collections.abc import Iterator

from scelle.formats.entries import Count, Gap
from scelle.reports.case import Case, Register, entries_of, made
from scelle.reports.model import (
    Blank,
    Claim,
    End,
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
    Value,
    table,
)
from scelle.reports.processing import data_parts, measure_parts, purpose_parts
from scelle.reports.terms import current_clock, header

NAME = "dpia"
_RISKS = ("too-much", "access", "disclosure", "too-long", "rewritten", "lost")


def dpia(case: Case) -> Report:
    """Return the sheet of an order's impact assessment."""
    register = Register(case.log)
    facts = header(case, register)
    received = register.event(case.sealed.received)
    terms = register.event(case.log.last("extended") or case.sealed.received)
    sections = [
        Section("purposes", tuple(purpose_parts(case, received))),
        Section("necessity", tuple(_necessity(case, register))),
        Section("data", tuple(data_parts(case, register))),
        Section("time-limits", tuple(current_clock(case, terms))),
        Section("measures", tuple(measure_parts(case, register))),
        Section("residual-risks", tuple(_risks(case, register))),
        Section(
            "decision", tuple(Fact(key, Blank(key)) for key in ("persons-heard", "dpo-advice", "decision"))
        ),
    ]
    return made(case, register, NAME, facts, sections, notices=("internal", "blanks"))


def _necessity(case: Case, register: Register) -> Iterator[Part]:
    """Return how far the clauses limit what is kept, by what they left out."""
    newest = {entry.source: (at, entry) for at, entry in entries_of(case.ledger, Count)}
    offered = sum(entry.offered for _, entry in newest.values())
    excluded = sum(entry.excluded for _, entry in newest.values())
    evidence = tuple(register.entry(at, entry) for at, entry in newest.values())
    yield Claim(Said("say.left-out", {"n": Share(excluded, offered)}), evidence)
    carved = sum(1 for clause in case.sealed.clauses if clause.carve_out)
    limited = sum(1 for clause in case.sealed.clauses if clause.period_from_us or clause.period_to_us)
    total = len(case.sealed.clauses)
    params: dict[str, Value] = {"limited": Share(limited, total), "carved": Number(carved)}
    yield Claim(Said("say.clauses-limit", params))
    reviewed = case.log.last("reviewed")
    if reviewed is None:
        yield Claim(Said("say.never-reviewed"))
    else:
        yield Claim(Said("say.reviewed", {"time": Instant(reviewed.time_us)}), (register.event(reviewed),))
    yield Fact("necessity", Blank("necessity"))


def _risks(case: Case, register: Register) -> Iterator[Part]:
    rows = [
        Row((Term(f"risk.{risk}"), _known(case, risk), Blank("likelihood"), Blank("severity")))
        for risk in _RISKS
    ]
    yield table("risks", ("risk", "what-is-known", "likelihood", "severity"), rows)
    yield Claim(Said("say.nothing-proves-absence"))


def _known(case: Case, risk: str) -> Value:
    """Return what the log says of a risk."""
    match risk:
        case "too-much":
            return Said("say.risk-too-much", {"n": Number(len(case.sealed.clauses))})
        case "access":
            return Said("say.risk-access-solo" if case.is_solo else "say.risk-access")
        case "disclosure":
            return Said("say.productions-made", {"n": Number(len(case.log.of_kind("production")))})
        case "too-long":
            until_us = case.sealed.life.keep_until_us
            if until_us is None:
                return Said("say.risk-no-end")
            return Said("say.risk-ends", {"time": End(until_us)})
        case "rewritten":
            since_us = case.witnessed.rewritable_since_us
            if since_us is None:
                return Said("say.all-was-shown", {"size": Number(case.ledger.log.size)})
            return Said("say.unseen-since", {"since": Instant(since_us)})
    lost = sum(entry.lost for _, entry in entries_of(case.ledger, Count))
    gaps = sum(1 for _, entry in entries_of(case.ledger, Gap) if entry.closes is None)
    return Said("say.risk-lost", {"lost": Number(lost), "gaps": Number(gaps)})
