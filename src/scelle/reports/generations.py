"""Say what recorders kept of a generation service: how each surface stands, and what its counts were held against.

Nothing is counted here without that: a surface that nobody compared says so.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from scelle.errors import OrderOver
from scelle.reports.case import Case, Register
from scelle.reports.model import (
    ABSENT,
    Claim,
    Code,
    Instant,
    Number,
    Part,
    Row,
    Said,
    Span,
    Term,
    Value,
    lines,
    table,
    term,
)
from scelle.reports.terms import source_name
from scelle.safeguards.recorder.model import (
    CHANGED,
    COMPLETED,
    GAP,
    RECONCILED,
    RECONCILIATION,
    REQUESTED,
    TAKEDOWNS,
)
from scelle.safeguards.recorder.sealed import SealedEvent, event_segments, sealed_count, sealed_events
from scelle.safeguards.recorder.surfaces import KINDS, State, Surface, surfaces_of
from scelle.sources.registry import named_sources

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS: Final = ("surface", "surface-state", "reconciliation", "gaps-counted")


@dataclass(slots=True)
class _Recorded:
    """What is sealed of one surface beside its requests."""

    reconciled: SealedEvent | None = None
    gaps: list[SealedEvent] = field(default_factory=list)


def generation_parts(case: Case, register: Register) -> Iterator[Part]:
    """Return per surface how it stands, its last reconciliation, and its gaps; then the surfaces that left nothing."""
    shown: set[str] = set()
    is_destroyed = False
    for name, alias in sorted(case.sealed.aliases.items(), key=lambda pair: pair[1]):
        if next(event_segments(case.ledger, alias), None) is None:
            continue
        try:
            recorded = _recorded(case, alias)
            params: dict[str, Value] = {
                "source": source_name(case, name),
                "requested": Number(sealed_count(case.ledger, alias, "kind", REQUESTED)),
                "completed": Number(sealed_count(case.ledger, alias, "kind", COMPLETED)),
            }
        except OrderOver:
            is_destroyed = True
            yield Claim(Said("say.generations-destroyed", {"source": source_name(case, name)}))
            continue
        yield Claim(Said("say.generations-sealed", params))
        rows = [_row(case, register, surface, each) for surface, each in sorted(recorded.items())]
        shown |= set(recorded)
        yield table("generations", _COLUMNS, rows)
        never = sum(each.reconciled is None for each in recorded.values())
        if never or not recorded:
            yield Claim(
                Said("say.generations-not-compared", {"n": Number(never), "of": Number(len(recorded))})
            )
    absent = [] if is_destroyed else _unrecorded(case, shown)
    if absent:
        standings = [(each, *_standing(case, register, each)) for each in absent]
        rows = [Row((Code(each), state), tuple(evidence)) for each, state, evidence in standings]
        yield table("generations-unrecorded", ("surface", "surface-state"), rows)


def _unrecorded(case: Case, shown: set[str]) -> list[str]:
    """Name the registered surfaces, retired ones too, of which an order of a generation service has nothing."""
    if case.vault is None:
        return []
    specs = named_sources(case.vault.ledger)
    if not any(name in specs and specs[name].scheme == "generation" for name in case.sealed.aliases):
        return []
    found = surfaces_of(case.vault.of_kind(*KINDS))
    return sorted(name for name, each in found.items() if each.url is not None and name not in shown)


def _recorded(case: Case, alias: str) -> dict[str, _Recorded]:
    """Read what recorders said of themselves, by surface."""
    found: dict[str, _Recorded] = {}
    for kind in (CHANGED, GAP, RECONCILED):
        for event in sealed_events(case.ledger, alias, "kind", kind):
            body = _body(event)
            if event.surface in (None, RECONCILIATION, TAKEDOWNS) or (
                kind == CHANGED and "recorder" not in body
            ):
                continue
            of_surface = found.setdefault(str(event.surface), _Recorded())
            if kind == GAP:
                of_surface.gaps.append(event)
            elif kind == RECONCILED and _is_comparison(body):
                of_surface.reconciled = event
    return found


def _row(case: Case, register: Register, surface: str, recorded: _Recorded) -> Row:
    state, evidence = _standing(case, register, surface)
    shown = [*([] if recorded.reconciled is None else [recorded.reconciled]), *recorded.gaps]
    evidence += [register.record(each.at, each.source, each.seq, None) for each in shown]
    cells = (Code(surface), state, _reconciliation(recorded.reconciled), _gaps(recorded.gaps))
    return Row(cells, tuple(evidence))


def _standing(case: Case, register: Register, name: str) -> tuple[Value, list[int]]:
    """Return how a surface stands, as the vault's own log says it, and the event that says it last."""
    history = [] if case.vault is None else case.vault.of_kind(*KINDS)
    surface = surfaces_of(history).get(name)
    if surface is None or case.vault is None:
        return ABSENT, []
    last = [event for event in history if event.body["name"] == name][-1]
    state, since_us = surface.state(case.at_us), surface.state_since_us(case.at_us)
    said = [_stands("say.surface-state", state, since_us), *_why(surface, case.at_us)]
    if surface.is_retired and surface.stood is not None:  # so that nobody hides a red one by retiring it
        said.append(_stands("say.surface-stood", *surface.stood))
    return lines(said), [register.event_of_vault(last, case.vault, is_placed=case.is_solo)]


def _stands(key: str, state: State, since_us: int) -> Value:
    return Said(key, {"state": term("surface-state", state), "time": Instant(since_us)})


def _why(surface: Surface, at_us: int) -> list[Value]:
    """Return why it is not green: a word for its cause, and what more is known of it."""
    why = surface.reason(at_us)
    if why is None:
        return []
    if surface.is_retired:
        return [Code(why)]
    cause, _, detail = why.partition(": ")
    return [term("surface-why", cause), *([term("surface-why", detail)] if detail else [])]


def _reconciliation(event: SealedEvent | None) -> Value:
    if event is None:
        return Term("reconciliation.never")
    body = _body(event)
    numbers: dict[str, Value] = {
        name: Number(body[name]) for name in ("generated", "recorded", "gap", "unexplained")
    }
    return lines(
        [Said("say.reconciled", numbers), Span(_us(body["from"]), _us(body["until"])), Instant(event.time_us)]
    )


def _gaps(events: list[SealedEvent]) -> Value:
    """Return how much recorders counted as lost; a gap without a number is one whose size nobody knows."""
    lost = [_body(event).get("lost", 0) for event in events]
    numbers = {
        "n": Number(len(events)),
        "lost": Number(sum(each for each in lost if isinstance(each, int))),
        "unknown": Number(sum(each is None for each in lost)),
    }
    return Said("say.gaps-counted", numbers)


def _is_comparison(body: dict[str, Any]) -> bool:
    """Tell whether a comparison is one: whoever owns the folder of a source can write there."""
    has_numbers = all(type(body.get(name)) is int for name in ("generated", "recorded", "gap", "unexplained"))
    return has_numbers and all(_us(body.get(name)) is not None for name in ("from", "until"))


def _body(event: SealedEvent) -> dict[str, Any]:
    found = {} if event.raw is None else json.loads(event.raw)
    return found if isinstance(found, dict) else {}


def _us(text: Any) -> int | None:
    try:
        return (datetime.fromisoformat(str(text)) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        return None
