"""Say what a pass would seal, without keeping anything: enumerate and match, read nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scelle.capture.interfaces import NamedSource
from scelle.errors import SourceError
from scelle.scope.compiled import compile_clauses
from scelle.scope.model import Clause, ItemView, Match, Reason
from scelle.sources.interfaces import UNDATED, Kind, Offered, Trouble, native_text

SAMPLE = 10


@dataclass(slots=True)
class Preview:
    """What one source offers and what the clauses cover of it; times in microseconds."""

    name: str
    offered: int = 0
    covered: int = 0
    troubles: int = 0
    bytes: int = 0
    undated: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    excluded_by: Counter[str] = field(default_factory=Counter)
    by_clause: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    sample: list[str] = field(default_factory=list)
    unreachable: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the preview as it is printed and sealed; `covered` is what a pass would try to seal."""
        return {
            "offered": self.offered,
            "covered": self.covered,
            "failed": self.troubles,
            "excluded": sum(self.excluded_by.values()),
            "bytes": self.bytes,
            "undated": self.undated,
            "earliest_us": None if self.earliest_us is None else str(self.earliest_us),
            "latest_us": None if self.latest_us is None else str(self.latest_us),
            "excluded_by": dict(sorted(self.excluded_by.items())),
            "by_clause": dict(sorted(self.by_clause.items())),
            "doubts": dict(sorted(self.doubts.items())),
            "sample": list(self.sample),
            "unreachable": self.unreachable,
        }


def preview(clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> list[Preview]:
    """Preview each source. Media types are known only once an item is read: until then they are a doubt."""
    decide = compile_clauses(clauses)
    return [_preview_source(decide, named) for named in sources]


def _preview_source(decide: Callable[[ItemView], Match], named: NamedSource) -> Preview:
    found = Preview(named.name)
    try:
        named.source.test()
        for offered in named.source.offered():
            found.offered += 1
            _take(found, decide, named, offered)
    except SourceError as error:
        found.unreachable = f"{error.code}: {error}"
    return found


def _take(
    found: Preview, decide: Callable[[ItemView], Match], named: NamedSource, offered: Offered | Trouble
) -> None:
    if isinstance(offered, Trouble):
        found.troubles += 1
        return
    if offered.kind is Kind.SPECIAL:
        found.excluded_by[offered.reason] += 1
        return
    view = ItemView(named.name, offered.path, offered.time_us, "", named.custodian, named.account)
    match = decide(view)
    if not match.covered:
        found.excluded_by[(match.excluded_by or Reason.SOURCE).value] += 1
        return
    found.covered += 1
    found.bytes += offered.size_bytes
    found.by_clause.update(match.clause_ids)
    if match.doubt is not None:
        found.doubts[match.doubt.value] += 1
    if len(found.sample) < SAMPLE and not match.restricted:  # two people open what is restricted
        found.sample.append(native_text(offered.native))
    if offered.time_us == UNDATED:
        found.undated += 1
    else:
        earliest, latest = found.earliest_us, found.latest_us
        found.earliest_us = offered.time_us if earliest is None else min(earliest, offered.time_us)
        found.latest_us = offered.time_us if latest is None else max(latest, offered.time_us)
