"""Say where an order stands: its state, its intervals, its clauses, what was sealed under it, who saw its log."""

from collections.abc import Iterator

from scelle.formats.entries import Count
from scelle.ledger.events import Event
from scelle.orders.lifecycle import State
from scelle.reports.case import Case, Register, entries_of, made
from scelle.reports.generations import generation_parts
from scelle.reports.model import (
    ABSENT,
    Claim,
    Code,
    Fact,
    Instant,
    Number,
    Part,
    Report,
    Row,
    Said,
    Section,
    Share,
    Size,
    Span,
    Term,
    Text,
    Value,
    lines,
    table,
    term,
)
from scelle.reports.terms import (
    CLAUSE_COLUMNS,
    clause_cells,
    current_clock,
    header,
    source_name,
    timeline,
    witness_parts,
)

NAME = "order-status"
_LIFE = (
    "received", "authenticated", "extended", "amended", "clause.stopped", "mark", "lifted", "annulled", "reviewed",
    "lapse.noticed", "replaced", "released", "release.undone", "disposal.begun", "disposed", "witnesses",
    "quarantined", "quarantine.lifted", "report.released",
)  # fmt: skip
"""The acts that a status tells; of the others it gives counts, or another report is about them."""


def order_status(case: Case) -> Report:
    """Return how an order stands."""
    register = Register(case.log)
    facts = header(case, register)
    sections = [
        Section("state", tuple(_state(case, register))),
        Section("clock", tuple(current_clock(case, register.event(_last_terms(case))))),
        Section("intervals", tuple(_intervals(case, register))),
        Section("clauses", tuple(_clauses(case, register))),
        Section("counts", tuple(count_parts(case, register))),
        *_generations(case, register),
        Section("productions", tuple(_productions(case, register))),
        Section("custody-of-log", tuple(witness_parts(case, register))),
        Section("acts", (timeline(register, case.log.of_kind(*_LIFE)),)),
    ]
    return made(case, register, NAME, facts, sections)


def _last_terms(case: Case) -> Event:
    return case.log.last("extended") or case.sealed.received


def _state(case: Case, register: Register) -> Iterator[Part]:
    life = case.sealed.life
    state = life.state(case.at_us)
    yield Fact("state", term("state", state), (register.event(_cause_of(case, state)),))
    marks = case.log.of_kind("mark")
    yield Fact(
        "marks", lines([term("mark", mark) for mark in sorted(life.marks)]), register.events(marks[-5:])
    )
    yield Fact("holds", Term("answer.yes" if life.holds else "answer.no"))
    yield Claim(Said(f"say.state-{state.replace(' ', '-')}"))
    reviewed = case.log.last("reviewed")
    if reviewed is not None:
        yield Fact("reviewed", Instant(reviewed.time_us), (register.event(reviewed),))


def _cause_of(case: Case, state: State) -> Event:
    """Return the event that put the order into its state; a lapse is the clock's, by the terms that set it."""
    kind = {
        State.AUTHENTICATED: "authenticated",
        State.LIFTED: "lifted",
        State.ANNULLED: "annulled",
        State.RELEASED: "released",
        State.DISPOSED: "disposed",
    }.get(state)
    found = None if kind is None else case.log.last(kind)
    return found or _last_terms(case)


def _intervals(case: Case, register: Register) -> Iterator[Part]:
    life = case.sealed.life
    terms = register.events([case.sealed.received, *case.log.of_kind("extended")])
    rows: list[tuple[int, Row]] = [
        (start, Row((Term("interval.in-force"), Span(start, until)), terms))
        for start, until in life.intervals_in_force()
    ]
    without = life.intervals_without()
    rows += [(start, Row((Term("interval.without"), Span(start, until)), terms)) for start, until in without]
    yield table("intervals", ("interval", "span"), [row for _, row in sorted(rows, key=lambda pair: pair[0])])
    if without:
        yield Claim(Said("say.intervals-without", {"n": Number(len(without))}), terms)


def _clauses(case: Case, register: Register) -> Iterator[Part]:
    """Return clauses and carve-outs: those that grow, and those that grow no longer and are kept."""
    found = case.log.of_kind("clause", "clause.stopped")
    rows = []
    for each in case.sealed.life.clauses:
        times = {each.since_us, each.stopped_us}
        shown = [event for event in found if event.body["id"] == each.clause.id and event.time_us in times]
        grows: Value = Term("grows.yes")
        if each.stopped_us is not None:
            grows = Said("say.stopped", {"time": Instant(each.stopped_us)})
        rows.append(Row((*clause_cells(case, each.clause), grows), register.events(shown)))
    yield table("clauses", (*CLAUSE_COLUMNS, "grows"), rows)


# --- counts ----------------------------------------------------------------------------------------------


def count_parts(case: Case, register: Register) -> Iterator[Part]:
    """Return per source what its newest pass was offered, and in which bucket each item is."""
    newest: dict[str, tuple[int, Count]] = {}
    for at, entry in entries_of(case.ledger, Count):
        newest[entry.source] = (at, entry)
    aliases = sorted(case.sealed.aliases.items(), key=lambda pair: pair[1])
    passes = case.log.of_kind("pass")
    rows = [
        _count_row(case, register, name, *newest[alias], passes) for name, alias in aliases if alias in newest
    ]
    columns = ("source", "pass", "offered", "sealed", "failed", "excluded", "lost", "bytes")
    yield table("counts", columns, rows)
    total = [entry for _, entry in newest.values()]
    sums = {name: Number(sum(getattr(each, name) for each in total)) for name in columns[2:7]}
    yield Claim(
        Said("say.counts-add-up", {**sums, "sources": Number(len(total)), "of": Number(len(aliases))}),
        tuple(register.entry(at, entry) for at, entry in newest.values()),
    )
    without = [source_name(case, name) for name, alias in aliases if alias not in newest]
    if without:
        params = {"n": Share(len(without), len(aliases)), "sources": lines(without)}
        yield Claim(Said("say.no-pass-yet", params))
    yield _sealed_claim(case)
    yield Claim(Said("say.nothing-proves-absence"))


def _count_row(case: Case, register: Register, name: str, at: int, entry: Count, passes: list[Event]) -> Row:
    by = next((event for event in reversed(passes) if name in event.body["sources"]), None)
    said = {} if by is None else by.body["sources"][name]
    evidence = (register.entry(at, entry), *(() if by is None else (register.event(by),)))
    cells = (
        source_name(case, name),
        ABSENT if by is None else lines([Instant(by.time_us), Code(str(by.body["pass"]))]),
        Number(entry.offered),
        Share(entry.sealed, entry.offered),
        Share(entry.failed, entry.offered),
        Share(entry.excluded, entry.offered),
        Share(entry.lost, entry.offered),
        Size(int(said["bytes"])) if "bytes" in said else ABSENT,
    )
    return Row(cells, evidence)


def _sealed_claim(case: Case) -> Claim:
    """Say how many records of sources the log commits to, whatever a pass counted last."""
    aliases = set(case.sealed.aliases.values())
    found = [each for _, each in case.ledger.manifests() if each.source.partition("/")[0] in aliases]
    records = sum(each.records for each in found)
    return Claim(Said("say.records-committed", {"n": Number(records), "segments": Number(len(found))}))


def _generations(case: Case, register: Register) -> list[Section]:
    """Return the section on what recorders kept, where the order has sealed anything of a generation service."""
    parts = tuple(generation_parts(case, register))
    return [Section("generations", parts)] if parts else []


def _productions(case: Case, register: Register) -> Iterator[Part]:
    rows = [
        Row(
            (
                Instant(event.time_us),
                Text(str(event.body["file"])),
                Number(int(event.body["hits"])),
                Share(int(event.body["produced"]), int(event.body["hits"])),
                Share(int(event.body["withheld"]), int(event.body["hits"])),
                Code(str(event.body["strength"])),
                Code(str(event.body["package_sha256"])),
            ),
            (register.event(event, sha256_hex=str(event.body["package_sha256"])),),
        )
        for event in case.log.of_kind("production")
        if "hits" in event.body
    ]
    columns = ("time", "file", "hits", "produced", "withheld", "strength", "sha256")
    yield table("productions", columns, rows)
