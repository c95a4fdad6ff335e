"""Say what was not captured: gaps, losses, failures; a draft until counsel releases it.

What a draft says cannot be edited: it is what the log says. Released is one state of it, by the digest of what it says;
when the log says more, the next report is a draft again.
"""

from collections.abc import Container, Iterator

from scelle.capture.problems import listed_items
from scelle.formats.canonical_json import canonical_json
from scelle.formats.entries import Count, Gap
from scelle.ledger.events import Event
from scelle.reports.case import Case, Register, digest_of, entries_of, made
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
    Span,
    Term,
    Text,
    Value,
    table,
    term,
)
from scelle.reports.terms import header, source_name

NAME = "gaps"
RELEASED = "report.released"


def gaps(case: Case) -> Report:
    """Return what was not captured, or may not have been."""
    register = Register(case.log)
    facts = header(case, register)
    sections = list(_sections(case, register))
    release = _release_of(case, facts_digest(case))
    state = [Fact("draft", Term("draft.yes" if release is None else "draft.no"))]
    if release is not None:
        said: dict[str, Value] = {"actor": Code(release.actor), "time": Instant(release.time_us)}
        claim = Claim(Said("say.released-by-counsel", said), (register.event(release),))
        sections.insert(0, Section("release-of-report", (claim,)))
    notices = ("facts-not-editable",) if release is not None else ("draft", "facts-not-editable")
    return made(case, register, NAME, [*facts, *state], sections, notices=notices, is_draft=release is None)


def facts_digest(case: Case) -> str:
    """Return the digest of what the report says: of its sections and their evidence, whoever reads it and whenever."""
    everything = Case(
        case.log,
        case.sealed,
        case.witnessed,
        at_us=0,
        is_solo=case.is_solo,
        may_name=True,
        vault_key=case.vault_key,
    )
    register = Register(case.log)
    sections = [section.to_json() for section in _sections(everything, register)]
    evidence = [each.to_json() for each in register.evidence]
    return digest_of(canonical_json({"sections": sections, "evidence": evidence}))


def is_released(case: Case) -> bool:
    """Tell whether counsel has released the report for what it says now."""
    return _release_of(case, facts_digest(case)) is not None


def _release_of(case: Case, facts: str) -> Event | None:
    found = case.log.of_kind(RELEASED)
    return next((event for event in reversed(found) if event.body == {"name": NAME, "facts": facts}), None)


def _sections(case: Case, register: Register) -> Iterator[Section]:
    yield Section("gaps", tuple(_gaps(case, register)))
    yield Section("losses", tuple(_losses(case, register)))
    yield Section("items-lost", tuple(_items(case, register, "lost")))
    yield Section("items-failed", tuple(_items(case, register, "failed")))
    yield Section("limits-of-proof", (Claim(Said("say.nothing-proves-absence")),))


def _gaps(case: Case, register: Register) -> Iterator[Part]:
    found = list(entries_of(case.ledger, Gap))
    closing = {gap.closes: (at, gap) for at, gap in found if gap.closes is not None}
    rows = [_gap_row(case, register, at, gap, closing.get(at)) for at, gap in found if gap.closes is None]
    still_open = sum(1 for at, gap in found if _is_open(at, gap, closing))
    yield Claim(Said("say.gaps-open", {"open": Number(still_open), "n": Number(len(rows))}))
    yield table("gaps", ("source", "span", "cause", "lost-at-most", "closed"), rows)


def _is_open(at: int, gap: Gap, closing: Container[int]) -> bool:
    return gap.closes is None and gap.interval[1] is None and at not in closing


def _gap_row(case: Case, register: Register, at: int, gap: Gap, closed: tuple[int, Gap] | None) -> Row:
    evidence = [register.entry(at, gap)]
    until_us, state = gap.interval[1], Term("gap.open" if gap.interval[1] is None else "gap.bounded")
    if closed is not None:
        evidence.append(register.entry(*closed))
        until_us, state = closed[1].interval[1], Term("gap.closed")
    lost: Value = Term("lost.unknown") if gap.lost_at_most is None else Number(gap.lost_at_most)
    cells = (
        _alias_name(case, gap.source),
        Span(gap.interval[0], until_us),
        term("cause", gap.cause),
        lost,
        state,
    )
    return Row(cells, tuple(evidence))


def _losses(case: Case, register: Register) -> Iterator[Part]:
    """Return every count of every pass in which not all that was offered was sealed or excluded."""
    counts = list(entries_of(case.ledger, Count))
    rows = [
        Row(
            (
                _alias_name(case, count.source),
                Span(*count.interval),
                Number(count.offered),
                Share(count.failed, count.offered),
                Share(count.lost, count.offered),
            ),
            (register.entry(at, count),),
        )
        for at, count in counts
        if count.failed or count.lost
    ]
    yield Claim(Said("say.counts-with-losses", {"n": Share(len(rows), len(counts))}))
    yield table("losses", ("source", "span", "offered", "failed", "lost"), rows)


def _items(case: Case, register: Register, bucket: str) -> Iterator[Part]:
    names = {alias: alias for alias in case.sealed.source_names}
    found = listed_items(case.ledger, names, bucket)
    passes = {str(event.body["pass"]): event for event in case.log.of_kind("pass")}
    rows = [
        Row(
            (
                _alias_name(case, item["source"]),
                Text(str(item["native"])) if case.may_name else Term("names.hidden"),
                term("cause", str(item["cause"])),
                Text(str(item["detail"])) if item["detail"] and case.may_name else ABSENT,
                Instant(passes[item["pass"]].time_us),
            ),
            (register.event(passes[item["pass"]]),),
        )
        for item in found
    ]
    offered = sum(int(event.body["offered"]) for event in passes.values())
    params = {"n": Number(len(rows)), "of": Number(offered), "passes": Number(len(passes))}
    yield Claim(Said(f"say.items-{bucket}", params), register.events(passes.values()))
    yield table(f"items-{bucket}", ("source", "item", "cause", "detail", "pass"), rows)


def _alias_name(case: Case, alias: str) -> Value:
    names = case.sealed.source_names
    return source_name(case, names[alias]) if alias in names else Code(alias)
