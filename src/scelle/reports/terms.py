"""Say what several reports say: whose order it is, its clock in all readings, its clauses, its papers."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from scelle.formats.entries import Segment
from scelle.formats.values import Content, decode_value
from scelle.ledger.events import Event
from scelle.ledger.service import ORDER_SOURCE
from scelle.orders.calendars import CalendarRule
from scelle.orders.clocks import OWN_DATE, ClockReading, Reading, hold_end
from scelle.orders.model import Moment, Order
from scelle.reports.case import Case, Register
from scelle.reports.model import (
    ABSENT,
    Claim,
    Code,
    Day,
    End,
    Fact,
    Instant,
    Number,
    Part,
    Row,
    Said,
    Share,
    Size,
    Span,
    Table,
    Term,
    Text,
    Value,
    lines,
    table,
    term,
    text_or_absent,
)
from scelle.scope.model import Clause
from scelle.sources.registry import sources_of

_LAW_READING: Final = re.compile(
    r"(?P<count>\d+) (?P<unit>day|month|year)s? from (?P<start>\w+), "
    r"first day (?P<counted>not counted|counted)(?:, moved to a working day \((?P<moved>.+)\))?"
)
_NATIVE, _MEDIA_TYPE, _CONTENT = 3, 4, 5


def moment(value: Moment | None) -> Value:
    """Return a day or a time that starts something, as the order names it."""
    if value is None:
        return ABSENT
    return Day(value.text) if value.is_day else Instant(value.at_us)


def end(value: Moment | None) -> Value:
    """Return a day or a time that ends something."""
    return ABSENT if value is None else End(value.at_us)


def header(case: Case, register: Register) -> list[Fact]:
    """Return whose order it is and on what law."""
    order = case.order
    received = register.event(case.sealed.received)
    return [
        Fact("order", Code(order.id), (received,)),
        Fact("matter", Code(order.matter)),
        Fact("type", term("type", order.type)),
        Fact("authority", Text(order.authority)),
        Fact("reference", Text(order.reference)),
        Fact("legal-basis", Text(order.legal_basis)),
        Fact("addressee", text_or_absent(order.addressee)),
        Fact("made", Instant(case.at_us)),
        Fact("zone", Code(order.zone)),
        Fact("log", Code(case.ledger.origin)),
        Fact("log-size", Number(case.ledger.log.size)),
        Fact("log-root", Code(case.ledger.log.root.hex())),
    ]


def clock_parts(order: Order, reading: ClockReading, evidence: int, *, is_open_ended: bool) -> list[Part]:
    """Return all readings of an order's end, and what follows: keep until the later, act by the earlier."""
    rows = [
        Row((_label(each), End(each.at_us), _basis(order, each)), (evidence,)) for each in reading.readings
    ]
    parts: list[Part] = [
        Fact("keep-until", _keep_until(reading, is_open_ended=is_open_ended), (evidence,)),
        Fact("act-by", ABSENT if reading.act_by_us is None else End(reading.act_by_us), (evidence,)),
        table("readings", ("reading", "ends", "basis"), rows),
    ]
    if is_open_ended:
        parts.append(Claim(Said("say.open-ended-by-mark"), (evidence,)))
    if len({each.at_us for each in reading.readings}) > 1:
        parts.append(Claim(Said("say.readings-differ"), (evidence,)))
    return [*parts, Claim(Said("say.clock-never-releases"))]


def current_clock(case: Case, evidence: int) -> list[Part]:
    """Return the clock of the order's terms as they stand now."""
    life, reading = case.sealed.life, hold_end(case.order)
    is_open_ended = life.keep_until_us is None and reading.keep_until_us is not None
    return clock_parts(case.order, reading, evidence, is_open_ended=is_open_ended)


def _keep_until(reading: ClockReading, *, is_open_ended: bool) -> Value:
    if reading.keep_until_us is not None and not is_open_ended:
        return End(reading.keep_until_us)
    return Term("keep.no-end") if reading.open_ended or is_open_ended else Term("keep.no-hold")


def _label(reading: Reading) -> Value:
    found = _LAW_READING.fullmatch(reading.label)
    if found is None:
        return term("reading", reading.label)
    params: dict[str, Value] = {
        "n": Number(int(found["count"])),
        "start": term("start", found["start"]),
        "counted": term("counted", found["counted"]),
    }
    unit = found["unit"]
    if found["moved"] is None:
        return Said(f"say.period-{unit}", params)
    return Said(f"say.period-{unit}-moved", {**params, "place": term("holidays", found["moved"])})


def _basis(order: Order, reading: Reading) -> Value:
    """Return the ground of a reading: the order itself, or the row of the type, whose law is named once."""
    if _LAW_READING.fullmatch(reading.label) is None:
        if reading.label == OWN_DATE and order.extended_by is not None:
            return Said("say.by-the-extension", {"reference": Text(order.extended_by)})
        return Said("say.by-the-order", {"reference": Text(order.reference)})
    rule = order.rule
    return Said(
        "say.by-the-law",
        {
            "law": term("law", order.type),
            "mark": term("certainty", rule.mark),
            "calendar": term("calendar", calendar_key(rule.calendar)),
        },
    )


def calendar_key(rule: CalendarRule) -> str:
    """Return the key of a rule of counting: the text of its source without marks and punctuation."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\[[VSMD]\]", "", rule.source).lower()).strip("-")


# --- clauses ---------------------------------------------------------------------------------------------

CLAUSE_COLUMNS: Final = ("clause", "sources", "period", "limits", "keep")


def clause_cells(case: Case, clause: Clause) -> tuple[Value, ...]:
    """Return what a clause covers; whom it names only as numbers, except to those who may see names."""
    return (
        Code(clause.id),
        lines([source_name(case, name) for name in clause.sources]),
        period(clause),
        lines([*_limits(case, clause)]),
        _kept(case, clause),
    )


def restricted_sources(case: Case) -> set[str]:
    """Return the names of the sources of which everything that is covered is restricted, as they are now."""
    history = () if case.vault is None else case.vault.history
    return {name for name, spec in sources_of(history, with_removed=True).items() if spec.restricted}


def _kept(case: Case, clause: Clause) -> Value:
    shut = restricted_sources(case) & set(clause.sources)
    if clause.restricted or len(shut) == len(set(clause.sources)):
        return Term("kept.restricted")
    plainly = Term(f"kept.{clause.keep.value}")
    return lines([plainly, Term("kept.restricted-in-part")]) if shut or clause.may_restrict else plainly


def source_name(case: Case, name: str) -> Value:
    """Return what a source is called: its alias in the log, and its name to those who may see names."""
    alias = case.sealed.aliases.get(name)
    if alias is None:
        return Code(name) if case.may_name else Term("names.hidden")
    return Code(f"{alias} {name}" if case.may_name else alias)


def period(clause: Clause) -> Value:
    """Return a clause's period."""
    if clause.period_from_us is None and clause.period_to_us is None:
        return Term("period.all")
    return Span(clause.period_from_us, clause.period_to_us)


def _limits(case: Case, clause: Clause) -> Iterator[Value]:
    if clause.carve_out:
        yield Term("limits.carve-out")
    accounts = len(clause.accounts) + (0 if clause.accounts_file is None else clause.accounts_file.accounts)
    for key, count in (
        ("paths", len(clause.paths)),
        ("custodians", len(clause.custodians)),
        ("accounts", accounts),
        ("media-types", len(clause.media_types)),
        ("dimensions", len(clause.dimensions)),
        ("match", len(clause.match)),
        ("where", int(clause.where is not None)),
    ):
        if count:
            yield Said(f"say.limits-{key}", {"n": Number(count)})
    if case.may_name:
        yield from map(Code, clause.paths)


# --- papers ----------------------------------------------------------------------------------------------


def papers(case: Case, register: Register) -> Table:
    """Return the files that are sealed with the order: item zero is the first."""
    rows = []
    for at, manifest in case.ledger.manifests():
        if manifest.source == ORDER_SOURCE and manifest.records:
            rows += list(_papers_in(case, register, at, manifest))
    return table("papers", ("number", "name", "media-type", "size", "sha256"), rows)


def _papers_in(case: Case, register: Register, at: int, manifest: Segment) -> Iterator[Row]:
    with closing(case.ledger.segment(manifest)) as reader:
        for row in reader.rows():
            values = [decode_value(value)[1] for value in row.split_values()]
            content = values[_CONTENT]
            digest, size = (content.digest, content.size_bytes) if isinstance(content, Content) else (b"", 0)
            evidence = register.record(at, ORDER_SOURCE, row.seq, digest.hex())
            cells = (
                Number(row.seq),
                Text(str(values[_NATIVE])),
                Code(str(values[_MEDIA_TYPE])),
                Size(size),
                Code(digest.hex()),
            )
            yield Row(cells, (evidence,))


# --- who saw the log -------------------------------------------------------------------------------------


def witness_parts(case: Case, register: Register) -> list[Part]:
    """Return who else holds a checkpoint of the log, and since when nobody has seen what came after."""
    seen, size = case.witnessed, case.ledger.log.size
    rows = [
        Row(
            (
                Term("witness.time-stamp" if each.is_token else "witness.escrow"),
                Share(each.size, size),
                Instant(each.at_us),
                Code(each.root.hex()),
            ),
            (register.shown(each),),
        )
        for each in seen.shown
    ]
    parts: list[Part] = [table("witnesses", ("witness", "entries-seen", "time", "root"), rows)]
    if seen.rewritable_since_us is None:
        parts.append(Claim(Said("say.all-was-shown", {"size": Number(size)})))
    else:
        parts.append(Claim(Said("say.unseen-since", {"since": Instant(seen.rewritable_since_us)})))
    if seen.pending:
        parts.append(Claim(Said("say.tokens-pending", {"n": Number(seen.pending)})))
    return parts


def timeline(register: Register, found: list[Event]) -> Table:
    """Return events as a table: what, when, by whom."""
    rows = [
        Row((Instant(each.time_us), term("event", each.kind), Code(each.actor)), (register.event(each),))
        for each in found
    ]
    return table("timeline", ("time", "event", "actor"), rows)
