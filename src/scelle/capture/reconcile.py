"""Compare a pass with the newest sealed preview of the same clauses, difference by difference, and seal the answer.

A difference is no fault: live systems move on between the two. Each is said with both numbers and, where it can be
known, with its reason. Where clauses or schemas are not those of the preview, numbers of a source are not compared.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scelle.capture.differences import Comparison, Difference, Why, incomparable_by, why_unit
from scelle.capture.families import members_of
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.model import PassReport, Problem, SourceReport
from scelle.capture.tallies import SealedTallies, Tallies, Tally, clause_digests
from scelle.capture.units import UnitIndex
from scelle.formats.entries import HOUR_US
from scelle.formats.tokens import TIME_MAX, TIME_MIN, is_reserved_alias
from scelle.ledger.events import Event, events, record_event
from scelle.ledger.segments import alias_of
from scelle.ledger.service import EVENTS_SOURCE, OrderLedgerWriter
from scelle.scope.model import Clause
from scelle.sources.interfaces import RecordSource, native_text

RECONCILED: Final = "pass.reconciled"
SAID_DIFFERENCES: Final = 1000
"""How many differences are said and sealed; the others are counted."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What the vault was estimated to take for all that is covered, and what this run added to it (bytes).

    `covered` records or documents were covered then; `added` are those that this run sealed.
    """

    estimated_bytes: int
    measured_bytes: int
    covered: int
    added: int

    @property
    def is_comparable(self) -> bool:
        """Tell whether this run added all that the estimate is for."""
        return self.added == self.covered

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed and sealed."""
        return {
            "estimated_bytes": self.estimated_bytes,
            "measured_bytes": self.measured_bytes,
            "covered": self.covered,
            "added": self.added,
        }


@dataclass(slots=True)
class Reconciliation:
    """What differs between a pass and a preview; `preview_us` is when the preview was sealed."""

    pass_id: str
    preview_us: int
    preview_seq: int
    growth: Growth
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    """All differences, also those that are not listed."""

    def add(self, difference: Difference) -> None:
        """Count a difference, and list it while there is room."""
        self.count += 1
        if len(self.differences) < SAID_DIFFERENCES:
            self.differences.append(difference)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed and sealed."""
        return {
            "pass": self.pass_id,
            "preview": {"time_us": str(self.preview_us), "seq": self.preview_seq},
            "count": self.count,
            "differences": [each.to_json() for each in self.differences],
            "growth": self.growth.to_json(),
        }


class Reconciler:
    """Find the preview and measure the vault before a pass; compare, and seal, after it."""

    def __init__(self, tools: PassTools, clauses: Sequence[Clause], sources: Sequence[NamedSource]) -> None:
        self._tools, self._sources = tools, sources
        self._restricted = {name for clause in clauses if clause.may_restrict for name in clause.sources}
        """Sources of which nothing is named: two people open what is restricted."""
        self._clauses = {named.name: clause_digests(clauses, named.name) for named in sources}
        self._preview = newest_preview(tools.ledger, self._clauses)
        self._from_event = tools.ledger.state.chain(EVENTS_SOURCE).next_seq
        self._before = (0, 0) if self._preview is None else self._size()

    def finish(self, report: PassReport) -> Reconciliation | None:
        """Compare the sealed pass with the preview, if there is one; the answer is sealed when this returns."""
        if self._preview is None:
            return None
        tools, seen = self._tools, self._preview.body["sources"]
        size_bytes, records = self._size()
        growth = Growth(
            estimated_bytes=sum(int(each["growth_bytes"]) for each in seen.values()),
            measured_bytes=size_bytes - self._before[0],
            covered=sum(int(each["covered"]) for each in seen.values()),
            added=records - self._before[1],
        )
        found = Reconciliation(report.pass_id, self._preview.time_us, self._preview.seq, growth)
        for named, source in zip(self._sources, report.sources, strict=True):
            for difference in self._differences(named, source, report, self._preview.body):
                found.add(difference)
        now_us = tools.now_us()
        record_event(tools.ledger, now_us, tools.actor, RECONCILED, found.to_json())
        tools.ledger.seal(now_us)
        return found

    # --- inside

    def _size(self) -> tuple[int, int]:
        """Return what the vault's packs and the order's rows take (bytes), and how many records the order has.

        Packs are shared by all orders: while a pass runs nothing else writes to them.
        """
        ledger = self._tools.ledger
        vault = self._tools.catalog.path.parent
        rows = [
            path for path in (ledger.folder / "seg").glob("*") if not is_reserved_alias(alias_of(path.name))
        ]
        size_bytes = sum(_tree_bytes(path) for path in (vault / "packs", *rows))
        names = {*ledger.state.chains, *ledger.open_sources()}
        return size_bytes, sum(_next_seq(ledger, name) for name in names if not is_reserved_alias(name))

    def _differences(
        self, named: NamedSource, source: SourceReport, report: PassReport, before: Mapping[str, Any]
    ) -> Iterator[Difference]:
        seen = before["sources"].get(named.name)
        if seen is None:
            yield Difference(named.name, "source", None, source.counts.offered, (Why("not-previewed"),))
            return
        changed = list(incomparable_by(named.name, seen, self._clauses[named.name], source.shapes))
        if changed:
            yield from changed
            return
        units = None
        if isinstance(named.source, RecordSource):
            units = list(self._unit_differences(named, source, report, SealedTallies(seen["units"])))
        may_name = named.name not in self._restricted
        comparison = Comparison(source, seen, units or [], is_records=units is not None, may_name=may_name)
        yield from comparison.differences()
        yield from self._period_differences(named, source, seen)
        yield from units or ()

    def _period_differences(
        self, named: NamedSource, source: SourceReport, seen: Mapping[str, Any]
    ) -> Iterator[Difference]:
        """Compare the earliest and the latest time, to the hour, with the bounds that the manifests name.

        Where the vault holds more than what was offered now, its period may only be wider.
        """
        ledger = self._tools.ledger
        names = members_of(ledger, named.alias) if isinstance(named.source, RecordSource) else [named.alias]
        times: list[int] = []
        records = 0
        for _, manifest in ledger.manifests():
            if manifest.source in names:
                records += manifest.records
                times += manifest.time or ()
        holds_more = records > source.counts.sealed
        earliest, latest = _time(seen, "earliest"), _time(seen, "latest")
        floor = None if earliest is None else earliest // HOUR_US * HOUR_US
        ceiling = None if latest is None else -(-latest // HOUR_US) * HOUR_US
        for what, then, now, sign in (
            ("earliest", floor, min(times, default=None), 1),
            ("latest", ceiling, max(times, default=None), -1),
        ):
            is_wider = then is None or (now is not None and sign * now < sign * then)
            if then == now or (holds_more and is_wider):
                continue
            why = [Why("log-names-hours")]
            if then is not None and not TIME_MIN <= then <= TIME_MAX:
                why.append(Why("time-sealed-as-undated"))
            yield Difference(
                named.name, what, seen[f"{what}_us"], None if now is None else str(now), tuple(why)
            )

    # --- units

    def _unit_differences(
        self, named: NamedSource, source: SourceReport, report: PassReport, then: SealedTallies
    ) -> Iterator[Difference]:
        now, unsure = self._units_now(named, source, report, then)
        if then.named is None or now.named is None or named.name in self._restricted:
            if (then.count, then.digest) != (now.count, now.digest):
                yield Difference(named.name, "units", then.count, now.count, (Why("units-not-named"),))
            return
        was_cut = bool(source.unreachable)
        for unit in sorted({*then.named, *now.named}):
            old, new = then.named.get(unit), now.named.get(unit)
            if old == new or (new is None and unit in unsure):
                continue
            yield Difference(
                named.name,
                "unit",
                None if old is None else old.counts(),
                None if new is None else new.counts(),
                tuple(why_unit(old, new, was_cut=was_cut)),
                unit=unit,
            )

    def _units_now(
        self, named: NamedSource, source: SourceReport, report: PassReport, then: SealedTallies
    ) -> tuple[Tallies, set[str]]:
        """Return what the pass counted in each unit, and the units of which it is not known whether it saw them.

        A unit that is counted from memory is told from one that could not be listed by the sum of all: it is there
        where, with all such units, exactly what was offered is accounted for.
        """
        pass_id, failing = int(report.pass_id, 16), self._failing_units(named, source, then)
        sure: list[Tally] = []
        unsure: list[Tally] = []
        for _, known in UnitIndex(
            self._tools.catalog, self._tools.vault_key, self._tools.ledger.order, named.alias
        ).all():
            text, counts = native_text(known.native), known.counts
            cause, is_fresh = failing.pop(text, ""), known.pass_id == pass_id
            if known.gone and not cause:
                continue
            tally = Tally(
                text,
                counts.offered,
                counts.new + counts.unchanged,
                counts.failed,
                sum(counts.excluded_by.values()),
                counts.bytes,
                cause,
            )
            if cause:
                sure.append(tally if is_fresh else Tally(text, cause=cause))
            else:
                (sure if is_fresh or not source.vanished_unknown else unsure).append(tally)
        sure += [Tally(text, cause=cause) for text, cause in failing.items()]
        accounted = sum(each.offered + bool(each.cause) for each in (*sure, *unsure))
        if accounted == source.counts.offered:
            sure, unsure = sure + unsure, []
        now = Tallies()
        for tally in sure:
            now.add(tally)
        return now, {each.unit for each in unsure}

    def _failing_units(self, named: NamedSource, source: SourceReport, then: SealedTallies) -> dict[str, str]:
        """Return the causes of units that could not be read; those that are no records, by the names that are known."""
        index = UnitIndex(self._tools.catalog, self._tools.vault_key, self._tools.ledger.order, named.alias)
        names = {native_text(known.native) for _, known in index.all()} | set(then.named or ())
        counts = source.counts
        if len(source.failed) == counts.failed and len(source.lost) == counts.lost:
            said: Iterator[Problem] = iter([*source.failed, *source.lost])
        else:
            said = self._all_problems(named.alias)
        return {each.native: each.cause for each in said if each.native in names}

    def _all_problems(self, alias: str) -> Iterator[Problem]:
        """Read back from the events what this pass said: the report has only the first of them."""
        kinds = ("items.failed", "items.lost")
        for event in events(self._tools.ledger, *kinds, from_seq=self._from_event):
            if event.body["source"] == alias:
                for item in event.body["items"]:
                    yield Problem(item["native"], item["cause"], item["detail"])


def newest_preview(ledger: OrderLedgerWriter, clauses: Mapping[str, Mapping[str, str]]) -> Event | None:
    """Return the newest preview over these clauses, by source; where there is none the newest over others.

    Previews sealed before they said over which clauses they were made are passed over.
    """
    newest = alike = None
    for event in events(ledger, "preview"):
        sources = event.body["sources"]
        if not all("clauses" in each for each in sources.values()):
            continue
        newest = event
        if {name: each["clauses"] for name, each in sources.items()} == clauses:
            alike = event
    return alike or newest


def _time(seen: Mapping[str, Any], what: str) -> int | None:
    text = seen[f"{what}_us"]
    return None if text is None else int(text)


def _next_seq(ledger: OrderLedgerWriter, alias: str) -> int:
    writer = ledger.open_rows(alias)
    return ledger.state.chain(alias).next_seq if writer is None else writer.next_seq


def _tree_bytes(folder: Path) -> int:
    """Add up the sizes of all files below a folder; what goes away meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
