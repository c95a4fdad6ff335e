"""A preview counts what a pass would seal, and keeps nothing."""

import pytest

from scelle.capture.interfaces import NamedSource
from scelle.capture.preview import SAMPLE, Preview, preview
from scelle.errors import SourceMissing, SourceUnreadable
from scelle.formats.values import UNDATED
from scelle.scope.model import Clause
from scelle.sources.interfaces import Kind

from .world import ALIAS, NOW_US, OLD_NS, World


def look(world: World) -> Preview:
    named = NamedSource("docs", ALIAS, "files", world.custodian, None, world.source)
    (found,) = preview(world.clauses, [named])
    return found


def test_a_preview_reads_nothing(world: World) -> None:
    world.put(b"a", b"12345")
    world.put(b"pipe", kind=Kind.SPECIAL, reason="fifo")
    world.put(b"x", trouble="io-error")
    found = look(world).to_json()
    assert (found["offered"], found["covered"], found["failed"], found["excluded"]) == (3, 1, 1, 1)
    assert (found["bytes"], found["by_clause"], found["excluded_by"]) == (5, {"all": 1}, {"fifo": 1})
    assert world.source.reads == []


def test_a_preview_says_the_period_and_what_has_none(world: World) -> None:
    world.put(b"a", time_us=-5)
    world.put(b"b", time_us=2**62)
    world.put(b"c", time_us=UNDATED)
    found = look(world).to_json()
    assert (found["earliest_us"], found["latest_us"], found["undated"]) == ("-5", str(2**62), 1)


def test_a_preview_of_nothing_has_no_period(world: World) -> None:
    found = look(world).to_json()
    assert (found["offered"], found["earliest_us"], found["latest_us"]) == (0, None, None)


def test_a_preview_says_what_it_does_not_know(world: World) -> None:
    world.clauses = (Clause("text", ("docs",), media_types=("text/*",)),)
    world.put(b"a", media_type="image/png")
    found = look(world).to_json()
    assert (found["covered"], found["doubts"]) == (1, {"media-type-unknown": 1})


def test_a_sample_is_short_and_never_of_what_is_restricted(world: World) -> None:
    world.clauses = (
        Clause("all", ("docs",), paths=("*.txt",)),
        Clause("images", ("docs",), paths=("*.png",), restricted=True),
    )
    for number in range(30):
        world.put(b"%02d.txt" % number)
        world.put(b"%02d.png" % number)
    found = look(world)
    assert found.covered == 60
    assert found.sample == [f"{number:02d}.txt" for number in range(SAMPLE)]


@pytest.mark.parametrize("when", ["at once", "in the middle"])
def test_a_source_that_cannot_be_read_is_said_so(world: World, when: str) -> None:
    world.put(b"a")
    world.put(b"b")
    if when == "at once":
        world.source.unreachable = SourceMissing("nothing there")
    else:
        world.source.fails_after = (1, SourceUnreadable("went away"))
    found = look(world)
    assert found.unreachable is not None
    assert found.offered == (0 if when == "at once" else 1)


def test_what_no_clause_names_is_excluded(world: World) -> None:
    world.clauses = (Clause("other", ("mail",)),)
    world.put(b"a")
    assert look(world).to_json()["excluded_by"] == {"source": 1}
    assert dict(world.run().total.excluded_by) == {"source": 1}


def test_a_custodian_is_never_an_account(world: World) -> None:
    world.clauses = (Clause("staff", ("docs",), custodians=("staff-017@example.org",)),)
    world.put(b"a", time_us=OLD_NS // 1000)
    world.custodian = "staff-018@example.org"
    assert look(world).to_json()["excluded_by"] == {"custodian": 1}
    assert dict(world.run().total.excluded_by) == {"custodian": 1}
    world.custodian = "staff-017@example.org"
    world.clock.us = NOW_US
    assert look(world).covered == 1
    assert world.run().total.new == 1
