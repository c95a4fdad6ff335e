"""What a dry run of an amendment counts, and what it says of what it could not read."""

from pathlib import Path

import pytest

from scelle.capture.amending import ScopeDiff, compare_scopes
from scelle.capture.interfaces import NamedSource
from scelle.errors import InputError, ItemUnreadable, SourceUnreadable
from scelle.scope.model import Clause
from scelle.sources.interfaces import RecordSource, Source, Trouble

from .record_world import BAD, ScriptedRecords, Table
from .world import ALIAS, World

RECORDS = Clause("posts", ("posts",))


def compared(name: str, source: Source | RecordSource, *after: Clause) -> ScopeDiff:
    return compare_scopes((), after, [NamedSource(name, ALIAS, "scripted", None, None, source)])


def test_documents_that_cannot_be_listed_are_counted_by_cause(world: World) -> None:
    world.put(b"a", b"12345")
    for name in (b"secret-name-1", b"secret-name-2"):
        world.put(name, trouble="io-error")
    world.put(b"link", trouble="directory-loop")
    found = compared("docs", world.source, Clause("all", ("docs",))).to_json()
    assert found["unread"] == ["docs: 1 not read (directory-loop)", "docs: 2 not read (io-error)"]
    assert (found["join"], world.source.reads) == ({"items": 1, "bytes": 5}, [])


@pytest.fixture
def posts() -> ScriptedRecords:
    source = ScriptedRecords()
    source.tables["posts"] = Table([(f"p{number}", "u1", "text") for number in range(7)])
    return source


def test_units_and_records_that_cannot_be_read_are_counted_by_cause(posts: ScriptedRecords) -> None:
    posts.troubles = [Trouble(b"secret-name", b"secret-name", "symbolic-link")]
    posts.tables["posts"].rows[5] = ("p5", "u1", BAD)
    posts.tables["torn"] = Table(
        [("q1", "u1", "text")], raises=[(0, ItemUnreadable("secret-name", "io-error"))]
    )
    posts.tables["odd"] = Table([("q2", "u1", "text")], raises=[(0, InputError("secret-name"))])
    found = compared("posts", posts, RECORDS)
    assert found.join.items == 6
    assert found.unread == [
        "posts: 1 not read (io-error)",
        "posts: 1 not read (no-reader)",
        "posts: 1 not read (schema-mismatch)",
        "posts: 1 not read (symbolic-link)",
    ]


def test_what_could_be_read_of_a_unit_counts(posts: ScriptedRecords) -> None:
    posts.tables["posts"].raises = [(6, ItemUnreadable("it is damaged", "io-error"))]
    found = compared("posts", posts, RECORDS)
    assert (found.join.items, found.unread) == (6, ["posts: 1 not read (io-error)"])


def test_a_source_that_cannot_be_read_is_named(world: World, tmp_path: Path) -> None:
    world.put(b"x", trouble="io-error")
    world.put(b"y")
    world.source.fails_after = (1, SourceUnreadable("the disk is gone"))
    found = compared("docs", world.source, Clause("all", ("docs",)))
    assert found.unread == ["docs: 1 not read (io-error)", "docs: the disk is gone"]
