"""Whatever a world does over several passes, crashes and lost catalogs: what must be sealed is, once."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scelle.capture import sealing
from scelle.capture.interfaces import NamedSource
from scelle.capture.preview import preview
from scelle.errors import ItemChanged, ItemUnreadable, ItemVanished, SourceUnreadable
from scelle.scope.model import Clause, Keep
from scelle.sources.interfaces import Kind, native_text
from scelle.vault.durable import Step, observed

from .world import ALIAS, OLD_NS, Crash, Thing, World

NAMES = [b"a.txt", b"b.txt", b"c\xff.txt", b"d.bin", b"e.bin", b"f.log", b"g.txt"]
CLAUSES = (
    Clause("text", ("docs",), paths=("*.txt",)),
    Clause("in-place", ("docs",), paths=("*.bin",), keep=Keep.DIGEST),
)
names = st.sampled_from(NAMES)
data = st.sampled_from([b"", b"one", b"two", b"three"])


def is_covered(native: bytes) -> bool:
    return native.endswith((b".txt", b".bin"))


@contextmanager
def a_crash_at(number: int) -> Iterator[None]:
    count = 0

    def observe(step: Step, when: Literal["before", "after"]) -> None:
        nonlocal count
        if when == "before":
            count += 1
            if count > number:
                raise Crash

    with observed(observe):
        yield


class Passes(RuleBasedStateMachine):
    """A naive model: per item, the versions that a pass could have seen, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="scelle-property-"))
        self.patches: list[Any] = [
            patch("scelle.vault.durable.os.fsync", lambda descriptor: None),
            patch.object(sealing, "GROUP_BYTES", 2048),
        ]
        for each in self.patches:
            each.start()
        self.world = World(self.folder / "vault", CLAUSES)
        self.edits = 0
        self.noted_gone: dict[str, int] = {}

    def teardown(self) -> None:
        self.world.end()
        for each in self.patches:
            each.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize()
    def begin(self) -> None:
        self.world.put(b"a.txt", b"one")

    # --- the world

    @rule(native=names, data=data)
    def write(self, native: bytes, data: bytes) -> None:
        """Appear, change, or be written with the same bytes again: a new stamp each time."""
        self.edits += 1
        self.world.put(native, data, edits=self.edits)

    @rule(native=names, data=data)
    def change_behind_the_stamp(self, native: bytes, data: bytes) -> None:
        thing = self.world.things.get(native)
        assume(thing is not None and native.endswith(b".bin") and not thing.trouble)
        assert thing is not None
        thing.stamp, thing.data = thing.current_stamp, data

    @rule(native=names)
    def remove(self, native: bytes) -> None:
        self.world.things.pop(native, None)

    @rule(
        native=names,
        what=st.sampled_from(["trouble", "special", "unreadable", "changing", "vanishing", "ok"]),
    )
    def trouble(self, native: bytes, what: str) -> None:
        thing = self.world.things.get(native)
        assume(thing is not None)
        assert thing is not None
        thing.trouble = "io-error" if what == "trouble" else ""
        thing.kind, thing.reason = (Kind.SPECIAL, "fifo") if what == "special" else (Kind.DOCUMENT, "")
        raises: dict[str, list[BaseException | None]] = {
            "unreadable": [ItemUnreadable("no", "permission-denied")],
            "changing": [ItemChanged("x"), ItemChanged("x")],
            "vanishing": [ItemVanished("gone")],
        }
        thing.raises = raises.get(what, [])

    @rule(years=st.integers(-1, 1))
    def clock_jumps(self, years: int) -> None:
        self.world.clock.us += years * 365 * 86_400 * 1_000_000

    @rule()
    def lose_the_catalog(self) -> None:
        self.world.lose_catalog()

    # --- passes

    @rule(steps=st.integers(0, 120))
    def crash(self, steps: int) -> None:
        before = len(self.pass_events())
        self.world.begin()
        try:
            with a_crash_at(steps):
                self.world.run()
        except Crash:
            pass
        if len(self.pass_events()) > before:
            self.after_a_pass(self.pass_events()[-1])

    @rule(after=st.integers(0, 6))
    def source_goes_away(self, after: int) -> None:
        assume(after < len(self.world.things))
        self.world.source.fails_after = (after, SourceUnreadable("went away"))
        report = self.world.run()
        self.world.source.fails_after = None
        report.total.reconcile("docs")
        assert report.total.offered == after
        assert report.total.vanished == 0
        self.seen_again(sorted(self.world.things)[:after])

    @rule()
    def run_a_pass(self) -> None:
        self.world.run()
        self.after_a_pass(self.pass_events()[-1])

    @precondition(lambda self: bool(self.world.things))
    @rule()
    def look_before(self) -> None:
        """A preview and the pass after it agree, item by item."""
        named = NamedSource("docs", ALIAS, "files", None, None, self.world.source)
        (seen,) = preview(self.world.clauses, [named])
        self.run_a_pass()
        counts = self.pass_events()[-1]["sources"]["docs"]
        troubles = sum(1 for thing in self.world.things.values() if thing.trouble)
        assert (seen.offered, seen.troubles) == (counts["offered"], troubles)
        assert dict(seen.excluded_by) == counts["excluded_by"]
        assert seen.covered == counts["sealed"] + counts["failed"] + counts["lost"] - troubles

    # --- what must be

    def pass_events(self) -> list[dict[str, Any]]:
        return [dict(event.body) for event in self.world.events("pass")]

    def seen_again(self, offered: list[bytes]) -> None:
        for native in offered:
            self.noted_gone.pop(native_text(native), None)

    def after_a_pass(self, said: dict[str, Any]) -> None:
        things = self.world.things
        newest = {record.native: record for record in self.world.records()}
        offered = len(things)
        troubled = sum(1 for thing in things.values() if thing.trouble)
        assert said["offered"] == offered
        assert said["sealed"] + said["failed"] + said["excluded"] + said["lost"] == offered
        sealed = [
            native
            for native, thing in things.items()
            if is_covered(native) and not thing.trouble and thing.kind is Kind.DOCUMENT
        ]
        missing = said["failed"] + said["lost"] - troubled
        current = [
            native
            for native in sealed
            if native_text(native) in newest and self.is_current(things[native], newest[native_text(native)])
        ]
        note(f"{said} {sealed} {current}")
        assert said["sealed"] == len(sealed) - missing
        assert said["sealed"] <= len(current)
        made = {native for native in current if newest[native_text(native)].pass_id == int(said["pass"], 16)}
        assert said["new"] <= len(made)
        assert missing or said["new"] == len(made)
        self.check_vanished(said, {native: record.seq for native, record in newest.items()})

    def check_vanished(self, said: dict[str, Any], newest: dict[str, int]) -> None:
        """What a pass said to be gone is not said again, until it was offered, or sealed, again."""
        offered = {native_text(native) for native in self.world.things}
        unknown = {native_text(n) for n, t in self.world.things.items() if t.trouble} - set(newest)
        self.seen_again(list(self.world.things))
        if unknown:
            assert said["vanished"] == 0
            return
        gone = {n: seq for n, seq in newest.items() if n not in offered and self.noted_gone.get(n) != seq}
        assert said["vanished"] == len(gone)
        self.noted_gone |= gone

    def is_current(self, thing: Thing, record: Any) -> bool:
        return bool(record.digest == hashlib.sha256(thing.data).digest())

    @invariant()
    def no_version_is_sealed_twice(self) -> None:
        before: dict[str, tuple[bytes, object]] = {}
        for record in self.world.records():
            version = record.digest, record.meta["edits"]
            assert before.get(record.native) != version
            before[record.native] = version

    @invariant()
    def every_content_that_is_kept_can_be_read(self) -> None:
        records = self.world.records()
        _, packs, _ = self.world.begin()
        for record in records:
            if "keep" not in record.meta:
                assert hashlib.sha256(packs.read_bytes(record.digest)).digest() == record.digest
        self.world.end()


TestPasses = Passes.TestCase
TestPasses.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class ManyPasses(Passes):
    """The same, for longer."""


TestManyPasses = pytest.mark.long(ManyPasses.TestCase)
TestManyPasses.settings = settings(TestPasses.settings, max_examples=400, stateful_step_count=40)

things = st.builds(
    Thing,
    data=data,
    kind=st.sampled_from(list(Kind)),
    reason=st.just("fifo"),
    trouble=st.sampled_from(["", "", "", "io-error"]),
    media_type=st.sampled_from(["text/plain", "image/png"]),
    time_us=st.sampled_from([OLD_NS // 1000, 0, -1, 2**60]),
    mtime_ns=st.just(OLD_NS),
)
clauses = st.lists(
    st.builds(
        Clause,
        id=st.just("c"),
        sources=st.just(("docs",)),
        period_from_us=st.sampled_from([None, 0]),
        period_to_us=st.sampled_from([None, OLD_NS // 1000 + 1]),
        paths=st.sampled_from([(), ("*.txt",), ("*.bin", "*.log")]),
        media_types=st.sampled_from([(), (), ("image/*",)]),
        keep=st.sampled_from(list(Keep)),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, things, max_size=7), clauses)
def test_preview_and_preserve_agree_on_an_unchanged_world(
    found: dict[bytes, Thing], clauses: list[Clause]
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch("scelle.vault.durable.os.fsync"):
        world = World(Path(folder) / "vault", clauses)
        world.things.update(found)
        named = NamedSource("docs", ALIAS, "files", None, None, world.source)
        (seen,) = preview(clauses, [named])
        total = world.run().total
        world.end()
    by_type = total.excluded_by.pop("media-type", 0)
    assert (seen.offered, seen.troubles) == (total.offered, total.failed)
    assert seen.covered == total.sealed + by_type
    assert seen.excluded_by == total.excluded_by
    if not by_type:
        assert seen.bytes == total.bytes
