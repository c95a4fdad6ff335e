"""Say what recorders kept of a generation service: how each surface stands, and what its counts were held against.

Nothing is counted here without that: a surface that nobody compared says so.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from scelle.errors import OrderOver
from scelle.ledger.events import Event
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
from scelle.safeguards.recorder.model import CHANGED, COMPLETED, GAP, RECONCILED, REQUESTED
from scelle.safeguards.recorder.reconciling import FOLDER
from scelle.safeguards.recorder.sealed import SealedEvent, event_segments, sealed_count, sealed_events
from scelle.safeguards.recorder.surfaces import KINDS, surfaces_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS: Final = ("surface", "surface-state", "reconciliation", "gaps-counted")


@dataclass(slots=True)
class _Recorded:
    """What is sealed of one surface beside its requests."""

    reconciled: SealedEvent | None = None
    gaps: list[SealedEvent] = field(default_factory=list)


def generation_parts(case: Case, register: Register) -> Iterator[Part]:
    """Return per surface how it stands, its last reconciliation, and its gaps; nothing where no event is sealed."""
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
            yield Claim(Said("say.generations-destroyed", {"source": source_name(case, name)}))
            continue
        yield Claim(Said("say.generations-sealed", params))
        rows = [_row(case, register, surface, each) for surface, each in sorted(recorded.items())]
        yield table("generations", _COLUMNS, rows)
        never = sum(each.reconciled is None for each in recorded.values())
        if never or not recorded:
            yield Claim(
                Said("say.generations-not-compared", {"n": Number(never), "of": Number(len(recorded))})
            )


def _recorded(case: Case, alias: str) -> dict[str, _Recorded]:
    """Read what recorders said of themselves, by surface."""
    found: dict[str, _Recorded] = {}
    for kind in (CHANGED, GAP, RECONCILED):
        for event in sealed_events(case.ledger, alias, "kind", kind):
            body = _body(event)
            if event.surface in (None, FOLDER) or (kind == CHANGED and "recorder" not in body):
                continue
            of_surface = found.setdefault(str(event.surface), _Recorded())
            if kind == GAP:
                of_surface.gaps.append(event)
            elif kind == RECONCILED and _is_comparison(body):
                of_surface.reconciled = event
    return found


def _row(case: Case, register: Register, surface: str, recorded: _Recorded) -> Row:
    state, standing = _state(case, surface)
    evidence = []
    if standing is not None and case.vault is not None:
        evidence.append(register.event_of_vault(standing, case.vault, is_placed=case.is_solo))
    shown = [*([] if recorded.reconciled is None else [recorded.reconciled]), *recorded.gaps]
    evidence += [register.record(each.at, each.source, each.seq, None) for each in shown]
    cells = (Code(surface), state, _reconciliation(recorded.reconciled), _gaps(recorded.gaps))
    return Row(cells, tuple(evidence))


def _state(case: Case, surface: str) -> tuple[Value, Event | None]:
    """Return how a surface stands, as the vault's own log says it, and the event that says it last."""
    history = [] if case.vault is None else case.vault.of_kind(*KINDS)
    found = surfaces_of(history).get(surface)
    if found is None:
        return ABSENT, None
    state = term("surface-state", found.state(case.at_us))
    since = Instant(found.state_since_us(case.at_us))
    said: list[Value] = [Said("say.surface-state", {"state": state, "time": since})]
    why = found.reason(case.at_us)
    said += [] if why is None else [term("surface-why", why)]
    return lines(said), [event for event in history if event.body["name"] == surface][-1]


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
