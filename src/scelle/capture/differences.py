"""Tell what differs between what a preview counted of one source and what a pass did, and why (pure)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from scelle.capture.model import Counts, Problem, SourceReport
from scelle.capture.tallies import Tally
from scelle.scope.model import Reason

_NAMES: Final = 3
_IN_DOUBT: Final = Reason.MEDIA_TYPE_UNKNOWN.value


@dataclass(frozen=True, slots=True)
class Why:
    """One reason for a difference: a code that never changes its meaning, and what it counts or names.

    The edges write it as a sentence (`cli/reconciliation.py`).
    """

    code: str
    count: int | None = None
    names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sealed; what it lacks is left out."""
        body: dict[str, Any] = {"code": self.code}
        if self.count is not None:
            body["count"] = self.count
        if self.names:
            body["names"] = list(self.names)
        return body


NOT_COMPARABLE: Final = Why("not-comparable")

Side: TypeAlias = int | str | list[str] | dict[str, int | str] | None
"""What one of the two counted: a number, a name or cause, names, or all counts of a unit."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the preview had it; `kind` is the cause or rule of what is counted, or empty.

    Without a `unit` it is about the source as a whole. Of a unit, both sides are all its counts, or None where it was
    not there.
    """

    source: str
    what: str
    preview: Side
    measured: Side
    why: tuple[Why, ...] = ()
    kind: str = ""
    unit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed and sealed."""
        return {
            "source": self.source,
            "unit": self.unit,
            "what": self.what,
            "kind": self.kind,
            "preview": self.preview,
            "pass": self.measured,
            "why": [each.to_json() for each in self.why],
        }


def incomparable_by(
    name: str, seen: Mapping[str, Any], clauses: Mapping[str, str], shapes: Collection[str]
) -> Iterator[Difference]:
    """Say which clauses and schemas are not those of the preview: then numbers say nothing."""
    if seen["clauses"] != clauses:
        why = tuple(_changes(seen["clauses"], clauses))
        yield Difference(name, "clauses", sorted(seen["clauses"]), sorted(clauses), (NOT_COMPARABLE, *why))
    if shapes and set(seen["members"].values()) != set(shapes):
        changed = sorted(member for member, shape in seen["members"].items() if shape not in shapes)
        came = len(set(shapes) - set(seen["members"].values()))
        why = tuple(Why("schema-changed-or-gone", names=(member,)) for member in changed)
        why += (Why("schemas-new", came),) if came else ()
        yield Difference(name, "schemas", len(seen["members"]), len(shapes), (NOT_COMPARABLE, *why))


def _changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Why]:
    for each in sorted({*then, *now}):
        if each not in now:
            yield Why("clause-gone", names=(each,))
        elif each not in then:
            yield Why("clause-new", names=(each,))
        elif then[each] != now[each]:
            yield Why("clause-changed", names=(each,))


def why_unit(old: Tally | None, new: Tally | None, *, was_cut: bool) -> Iterator[Why]:
    """Say what happened to one unit, as far as the two tallies tell."""
    if new is None:
        yield Why("unit-not-reached" if was_cut else "unit-gone")
        return
    if old is None:
        yield Why("unit-new")
    if new.cause:
        yield Why("unit-unreadable-now", names=(new.cause,))
    if old is None:
        return
    if old.cause and old.cause != new.cause:
        yield Why("unit-unreadable-then", names=(old.cause,))
    if new.cause or old.cause:
        return
    if new.offered > old.offered:
        yield Why("records-more", new.offered - old.offered)
    elif new.offered < old.offered:
        yield Why("records-fewer", old.offered - new.offered)
    else:
        yield Why("records-others")


class Comparison:
    """Compare the counts of one source; nothing of it is named where `may_name` is false."""

    def __init__(
        self,
        source: SourceReport,
        seen: Mapping[str, Any],
        units: Sequence[Difference],
        *,
        is_records: bool,
        may_name: bool,
    ) -> None:
        self._may_name = may_name
        self._name, self._source, self._seen, self._units = source.name, source, seen, units
        self._counts: Counts = source.counts
        self._is_records = is_records

    def differences(self) -> Iterator[Difference]:
        """Yield what differs: whether it could be read, offered, covered, failed, excluded, lost, bytes."""
        seen, counts = self._seen, self._counts
        then, now = seen["unreachable"], self._source.unreachable
        if then or now:
            yield Difference(self._name, "unreachable", then, now, (Why("source-not-read-whole"),))
        yield from self._number("offered", int(seen["offered"]), counts.offered, self._why_offered())
        yield from self._number("covered", int(seen["covered"]), counts.sealed, self._why_covered())
        yield from self._by("failed", seen["failed_by"], counts.failed_by)
        yield from self._by("excluded", seen["excluded_by"], counts.excluded_by)
        yield from self._number("lost", 0, counts.lost, self._named("lost-now", self._source.lost))
        yield from self._number("bytes", int(seen["bytes"]), counts.bytes, ())

    def _number(self, what: str, then: int, now: int, why: Sequence[Why]) -> Iterator[Difference]:
        if then != now:
            yield Difference(self._name, what, then, now, tuple(why))

    def _by(self, what: str, then: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Difference]:
        for kind in sorted({*then, *now}):
            old, new = int(then.get(kind, 0)), now.get(kind, 0)
            if old != new:
                why = self._why_failed(kind, old, new) if what == "failed" else self._why_excluded(kind)
                yield Difference(self._name, what, old, new, tuple(why), kind=kind)

    def _why_offered(self) -> list[Why]:
        """Say by how many units, where units are known; of documents, what was sealed before and is gone."""
        came = [each for each in self._units if each.unit is not None and each.preview is None]
        went = [each for each in self._units if each.unit is not None and each.measured is None]
        both = len([each for each in self._units if each.unit is not None]) - len(came) - len(went)
        vanished = 0 if self._is_records else self._counts.vanished
        said = (
            ("units-new", len(came)),
            ("units-gone", len(went)),
            ("units-differ", both),
            ("vanished", vanished),
        )
        return [Why(code, count) for code, count in said if count]

    def _why_covered(self) -> list[Why]:
        """Say what a preview, which reads no document, could not know."""
        decided = self._counts.excluded_by.get(Reason.MEDIA_TYPE.value, 0)
        in_doubt = int(self._seen["doubts"].get(_IN_DOUBT, 0))
        why = [Why("in-doubt-then", in_doubt), Why("media-type-excluded-now", decided)] if in_doubt else []
        more = self._counts.failed - int(self._seen["failed"])
        if more:
            why.append(Why("failed-more", more) if more > 0 else Why("failed-fewer", -more))
        return why

    def _why_failed(self, cause: str, then: int, now: int) -> list[Why]:
        if now > then:
            return self._named("failed-now", [each for each in self._source.failed if each.cause == cause])
        failed = [each["native"] for each in self._seen["failed_items"] if each["cause"] == cause]
        return [Why("failed-then", names=tuple(failed[:_NAMES]))] if failed and self._may_name else []

    def _why_excluded(self, rule: str) -> list[Why]:
        in_doubt = int(self._seen["doubts"].get(_IN_DOUBT, 0))
        if rule == Reason.MEDIA_TYPE.value and in_doubt:
            return [Why("in-doubt-then", in_doubt)]
        return []

    def _named(self, code: str, problems: Sequence[Problem]) -> list[Why]:
        names = tuple(each.native for each in problems[:_NAMES])
        return [Why(code, names=names)] if names and self._may_name else []
