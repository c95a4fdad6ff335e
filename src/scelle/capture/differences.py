"""Tell what differs between what a preview counted of one source and what a pass did, and why (pure)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scelle.capture.model import Counts, Problem, SourceReport
from scelle.capture.tallies import Tally
from scelle.scope.model import Reason

_NAMES: Final = 3
_IN_DOUBT: Final = Reason.MEDIA_TYPE_UNKNOWN.value


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the preview had it; `kind` is the cause or rule of what is counted, or empty.

    Without a `unit` it is about the source as a whole. Of a unit, both sides are all its counts, or None where it was
    not there.
    """

    source: str
    what: str
    preview: Any
    measured: Any
    why: tuple[str, ...] = ()
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
            "why": list(self.why),
        }


def incomparable_by(
    name: str, seen: Mapping[str, Any], clauses: Mapping[str, str], shapes: Collection[str]
) -> Iterator[Difference]:
    """Say which clauses and schemas are not those of the preview: then numbers say nothing."""
    if seen["clauses"] != clauses:
        why = tuple(_changes("clause", seen["clauses"], clauses))
        yield Difference(name, "clauses", sorted(seen["clauses"]), sorted(clauses), ("not comparable", *why))
    if shapes and set(seen["members"].values()) != set(shapes):
        changed = sorted(member for member, shape in seen["members"].items() if shape not in shapes)
        came = len(set(shapes) - set(seen["members"].values()))
        why = (*(f"schema or profile of {member} changed, or it went" for member in changed),)
        why += (f"{many(came, 'schema')} came",) if came else ()
        yield Difference(name, "schemas", len(seen["members"]), len(shapes), ("not comparable", *why))


def _changes(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for each in sorted({*then, *now}):
        if each not in now:
            yield f"{what} {each} went"
        elif each not in then:
            yield f"{what} {each} came"
        elif then[each] != now[each]:
            yield f"{what} {each} changed"


def why_unit(old: Tally | None, new: Tally | None, *, was_cut: bool) -> Iterator[str]:
    """Say what happened to one unit, as far as the two tallies tell."""
    if new is None:
        yield "the pass did not come so far" if was_cut else "it is no longer there"
        return
    if old is None:
        yield "it is new since the preview"
    if new.cause:
        yield f"it could not be read on now: {new.cause}"
    if old is None:
        return
    if old.cause and old.cause != new.cause:
        yield f"it could not be read on then: {old.cause}"
    if new.cause or old.cause:
        return
    if new.offered > old.offered:
        yield f"{many(new.offered - old.offered, 'record')} came since the preview"
    elif new.offered < old.offered:
        yield f"{many(old.offered - new.offered, 'record')} fewer in it"
    else:
        yield "as many records, and not the same ones or not read alike: it was written anew, or contents failed"


class Comparison:
    """Compare the counts of one source."""

    def __init__(
        self,
        source: SourceReport,
        seen: Mapping[str, Any],
        units: Sequence[Difference],
        *,
        is_records: bool,
    ) -> None:
        self._name, self._source, self._seen, self._units = source.name, source, seen, units
        self._counts: Counts = source.counts
        self._is_records = is_records

    def differences(self) -> Iterator[Difference]:
        """Yield what differs: whether it could be read, offered, covered, failed, excluded, lost, bytes."""
        seen, counts = self._seen, self._counts
        then, now = seen["unreachable"], self._source.unreachable
        if then or now:
            yield Difference(self._name, "unreachable", then, now, ("it could not be read to its end",))
        yield from self._number("offered", int(seen["offered"]), counts.offered, self._why_offered())
        yield from self._number("covered", int(seen["covered"]), counts.sealed, self._why_covered())
        yield from self._by("failed", seen["failed_by"], counts.failed_by)
        yield from self._by("excluded", seen["excluded_by"], counts.excluded_by)
        yield from self._number("lost", 0, counts.lost, _named_first(self._source.lost))
        yield from self._number("bytes", int(seen["bytes"]), counts.bytes, ())

    def _number(self, what: str, then: int, now: int, why: Sequence[str]) -> Iterator[Difference]:
        if then != now:
            yield Difference(self._name, what, then, now, tuple(why))

    def _by(self, what: str, then: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Difference]:
        for kind in sorted({*then, *now}):
            old, new = int(then.get(kind, 0)), now.get(kind, 0)
            if old != new:
                why = self._why_failed(kind, old, new) if what == "failed" else self._why_excluded(kind)
                yield Difference(self._name, what, old, new, tuple(why), kind=kind)

    def _why_offered(self) -> list[str]:
        """Say by how many units, where units are known; of documents, what was sealed before and is gone."""
        came = [each for each in self._units if each.unit is not None and each.preview is None]
        went = [each for each in self._units if each.unit is not None and each.measured is None]
        both = len([each for each in self._units if each.unit is not None]) - len(came) - len(went)
        why = [f"{many(len(came), 'unit')} new"] if came else []
        why += [f"{many(len(went), 'unit')} not there any more"] if went else []
        why += [f"{many(both, 'unit')} with other counts"] if both else []
        if self._counts.vanished and not self._is_records:
            why.append(f"{self._counts.vanished} sealed before are no longer there")
        return why

    def _why_covered(self) -> list[str]:
        """Say what a preview, which reads no document, could not know."""
        why = []
        decided = self._counts.excluded_by.get(Reason.MEDIA_TYPE.value, 0)
        in_doubt = int(self._seen["doubts"].get(_IN_DOUBT, 0))
        if in_doubt:
            why.append(
                f"{in_doubt} were in doubt until they were read; {decided} are excluded by media-type now"
            )
        more = self._counts.failed - int(self._seen["failed"])
        if more > 0:
            why.append(f"{more} more failed")
        elif more < 0:
            why.append(f"{-more} fewer failed")
        return why

    def _why_failed(self, cause: str, then: int, now: int) -> list[str]:
        if now > then:
            return _named_first([each for each in self._source.failed if each.cause == cause], "failed now: ")
        failed = [each["native"] for each in self._seen["failed_items"] if each["cause"] == cause]
        return [f"failed then: {', '.join(failed[:_NAMES])}"] if failed else []

    def _why_excluded(self, rule: str) -> list[str]:
        in_doubt = int(self._seen["doubts"].get(_IN_DOUBT, 0))
        if rule == Reason.MEDIA_TYPE.value and in_doubt:
            return [f"decided since: {in_doubt} were in doubt until they were read"]
        return []


def many(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _named_first(problems: Sequence[Problem], intro: str = "") -> list[str]:
    names = [each.native for each in problems[:_NAMES]]
    return [intro + ", ".join(names)] if names else []
