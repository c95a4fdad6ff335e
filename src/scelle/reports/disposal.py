"""Certify the disposal of an order: what was destroyed of what was planned, what was read back, what stays.

The certificate that the disposal sealed says it (`release.certificate`); this is its form for people.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from scelle.errors import InputError
from scelle.formats.entries import Erase, Release
from scelle.ledger.events import Event
from scelle.release.certificate import LIMITS
from scelle.reports.case import Case, Register, entries_of, made
from scelle.reports.model import (
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
from scelle.reports.terms import header, timeline

NAME = "disposal"
_STEPS: Final = ("lifted", "annulled", "released", "release.undone", "disposed")
_LIMITS: Final = dict(zip(LIMITS, ("storage", "handed-over", "shared", "log"), strict=True))


def disposal(case: Case) -> Report:
    """Return the certificate of disposal; raise InputError while the order was not disposed of."""
    disposed = case.log.last("disposed")
    if disposed is None:
        state = case.sealed.life.state(case.at_us)
        raise InputError(
            f"order {case.order.id} is {state}, and nothing was disposed of: the certificate comes after disposal"
        )
    register = Register(case.log)
    facts = header(case, register)
    sections = [
        Section("disposal", tuple(_certified(case, register, disposed))),
        Section("disposal-counts", tuple(_counts(register, disposed))),
        Section("what-stays", tuple(_what_stays(case, register, disposed))),
        Section("limits-of-proof", tuple(_limits(register, disposed))),
        Section("disposal-steps", (timeline(register, _steps(case)),)),
    ]
    return made(case, register, NAME, facts, sections)


def _steps(case: Case) -> list[Event]:
    history = case.log.history
    return [event for event in history if event.kind in _STEPS or event.kind.startswith("disposal.")]


def _certified(case: Case, register: Register, disposed: Event) -> Iterator[Part]:
    body, evidence = disposed.body, (register.event(disposed),)
    params: dict[str, Value] = {"time": Instant(disposed.time_us), "actor": Code(disposed.actor)}
    yield Claim(Said("say.disposed", params), evidence)
    yield Claim(Said("say.read-back" if body["confirmed"] else "say.not-confirmed"), evidence)
    yield Fact("release-ground", term("release", str(body["ground"])), evidence)
    yield Fact("request", Code(str(body["request"])), evidence)
    yield Fact("disposal-time", Span(int(body["begun_us"]), int(body["finished_us"])), evidence)
    released = case.log.last("released")
    if released is not None:
        yield Fact("released", Instant(released.time_us), (register.event(released),))
    for at, entry in entries_of(case.ledger, Release):
        yield Fact("release-document", Code(entry.document.hex()), (register.entry(at, entry),))


def _counts(register: Register, disposed: Event) -> Iterator[Part]:
    body, evidence = disposed.body, (register.event(disposed),)
    destroyed: Mapping[str, Any] = body["destroyed"]
    planned: Mapping[str, Any] = body["planned"]
    rows = [
        Row((term("disposed", name), Share(int(destroyed[name]), int(planned[name]))), evidence)
        for name in sorted(planned)
    ]
    yield table("destroyed", ("what", "destroyed"), rows)
    rows = [
        Row(
            (
                term("check", str(check["what"])),
                Number(int(check["looked"])),
                Share(int(check["found"]), int(check["looked"])),
                Term("answer.yes" if check["confirmed"] else "answer.no"),
            ),
            evidence,
        )
        for check in body["checks"]
    ]
    yield table("read-back", ("what", "looked-for", "found-after-all", "confirmed"), rows)


def _what_stays(case: Case, register: Register, disposed: Event) -> Iterator[Part]:
    body, evidence = disposed.body, (register.event(disposed),)
    kept: Mapping[str, Any] = body["kept"]
    yield Claim(Said("say.log-stays", {"size": Number(int(kept["log_size"]))}), evidence)
    if "log_until_us" in kept:
        yield Fact("log-until", Instant(int(kept["log_until_us"])), evidence)
    packages = case.log.of_kind("production")
    yield Claim(Said("say.packages-stay", {"n": Number(int(body["handed_over"]))}), register.events(packages))
    erased = [entry for _, entry in entries_of(case.ledger, Erase)]
    records = int(body["planned"]["records"])
    yield Claim(Said("say.tombstones", {"n": Share(len(erased), records)}), evidence)
    told = case.log.of_kind("erasure")
    counts = {name: Number(int(body["erasures"][name])) for name in ("requests", "items")}
    yield Claim(Said("say.had-deferred", counts), (*evidence, *register.events(told)))


def _limits(register: Register, disposed: Event) -> Iterator[Part]:
    """Return what the certificate itself says that it does not prove; words that are not ours print as sealed."""
    for text in disposed.body["limits"]:
        known = _LIMITS.get(str(text))
        said = (
            Said("say.as-sealed", {"text": Text(str(text))}) if known is None else Said(f"say.limit-{known}")
        )
        yield Claim(said, (register.event(disposed),))
