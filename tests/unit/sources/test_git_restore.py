"""Write a repository back: what is refused, and what a bare repository has no place for."""

import subprocess
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import ContentMissing, InputError
from scelle.formats.values import NULL
from scelle.sources.git.restore import (
    GitObject,
    RefPosition,
    Restored,
    complaints,
    restorable,
    restore,
)
from tests.unit.sources.git_repositories import Work, needs_git, pieces, records

pytestmark = needs_git


def blob(data: bytes) -> GitObject:
    return GitObject("blob", sha1(b"blob %d\0" % len(data) + data).hexdigest(), len(data), [data])


def all_of(work: Work) -> list[GitObject | RefPosition]:
    found = []
    for unit in (b"refs", b"objects"):
        for record in records(work.source, unit).values():
            thing = restorable(record.member, record.values, pieces(record) if record.contents else ())
            assert thing is not None
            found.append(thing)
    return found


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=path, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def test_content_that_is_not_its_ids_is_without_place_and_named(tmp_path: Path) -> None:
    good, other = blob(b"one"), blob(b"two")
    result = restore(
        [good._replace(pieces=[b"two", b"three"]), other, RefPosition(b"refs/tags/a", good.oid)],
        tmp_path / "to",
    )
    assert (result.objects, result.refs, result.broken) == (1, 0, (b"refs/tags/a",))
    assert [oid for oid, _ in result.failed] == [good.oid]
    assert git(tmp_path / "to", "cat-file", "-p", other.oid) == "two"
    assert complaints(tmp_path / "to") == []


@pytest.mark.parametrize("change", [{"size_bytes": 4}, {"kind": "leaf"}])
def test_a_size_or_kind_that_is_not_the_contents_is_without_place(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    result = restore([blob(b"one")._replace(**change)], tmp_path / "to")
    assert (result.objects, len(result.failed)) == (0, 1)


def test_content_that_cannot_be_had_is_without_place_and_the_rest_written(tmp_path: Path) -> None:
    def missing() -> Iterator[bytes]:
        yield b"o"
        raise ContentMissing("in no pack")

    result = restore([blob(b"one")._replace(pieces=missing()), blob(b"two")], tmp_path / "to")
    assert result.failed == ((blob(b"one").oid, "in no pack"),)
    assert result.objects == 1


def test_what_git_says_of_a_damaged_repository_is_told(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    whole = all_of(work)
    tree = next(each for each in whole if isinstance(each, GitObject) and each.kind == "tree")
    restore([each for each in whole if each != tree], tmp_path / "to")
    assert any(tree.oid in each for each in complaints(tmp_path / "to"))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for place in (tmp_path, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(InputError, match="in use"):
            restore([], place)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "link"]


def test_nothing_at_all_is_an_empty_repository(tmp_path: Path) -> None:
    assert restore([], tmp_path / "to") == Restored(0, 0)
    assert git(tmp_path / "to", "count-objects") == "0 objects, 0 kilobytes"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 2047, 2048, 262143, 262144])
def test_contents_of_every_width_of_size(tmp_path: Path, size: int) -> None:
    each = blob(b"x" * size)
    assert restore([each, each], tmp_path / "to").objects == 1
    assert git(tmp_path / "to", "cat-file", "-s", each.oid) == str(size)


@pytest.mark.parametrize(
    "ref",
    [
        RefPosition(b"refs/tags/b", "1" * 40),
        RefPosition(b"refs/tags/b", None),
        RefPosition(b"refs/../../b", blob(b"one").oid),
        RefPosition(b"refs/tags/b", None, b"refs/../../b"),
        RefPosition(b"refs/tags/b\ndelete", blob(b"one").oid),
        RefPosition(b"refs/heads/b.lock", blob(b"one").oid),
        RefPosition(b"refs", blob(b"one").oid),
    ],
)
def test_a_ref_that_cannot_stand_is_without_place_and_the_others_written(
    tmp_path: Path, ref: RefPosition
) -> None:
    each = blob(b"one")
    result = restore([each, ref, RefPosition(b"refs/tags/a", each.oid)], tmp_path / "to")
    assert result.refs == 1
    assert ref.name in (*result.broken, *result.without_place)
    assert git(tmp_path / "to", "for-each-ref", "--format=%(refname)") == "refs/tags/a"
    assert sorted(place.name for place in tmp_path.iterdir()) == ["to"]


def test_of_two_refs_that_cannot_be_beside_each_other_the_later_counts(tmp_path: Path) -> None:
    each = blob(b"one")
    names = [b"refs/tags/a", b"refs/tags/a/b", b"refs/tags/a/c"]
    result = restore([each, *(RefPosition(name, each.oid) for name in names)], tmp_path / "to")
    assert (result.refs, result.broken) == (2, (b"refs/tags/a",))
    result = restore([each, *(RefPosition(name, each.oid) for name in names[::-1])], tmp_path / "other")
    assert (result.refs, result.broken) == (1, (b"refs/tags/a/b", b"refs/tags/a/c"))


def test_two_positions_of_one_ref_are_refused(tmp_path: Path) -> None:
    each = blob(b"one")
    with pytest.raises(InputError, match="several positions"):
        restore(
            [each, RefPosition(b"refs/tags/a", each.oid), RefPosition(b"refs/tags/a", each.oid)],
            tmp_path / "to",
        )


def test_a_detached_head_stays_detached_beside_the_branch_it_would_start_on(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    work.git("branch", "master")
    work.commit("a", b"two\n")
    work.git("checkout", "-q", "--detach")
    restore(all_of(work), tmp_path / "to")
    assert (tmp_path / "to" / "HEAD").read_text(encoding="ascii").strip() == work.git("rev-parse", "HEAD")
    assert git(tmp_path / "to", "for-each-ref") == work.git("for-each-ref")


def test_names_outside_utf8_come_back_as_they_were(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    work.git("update-ref", b"refs/heads/caf\xe9", "HEAD")
    work.git("symbolic-ref", b"refs/heads/to-caf\xe9", b"refs/heads/caf\xe9")
    restore(all_of(work), tmp_path / "to")
    listed = ("for-each-ref", "--format=%(refname) %(objectname) %(symref)")
    assert git(tmp_path / "to", *listed) == work.git(*listed)


def test_positions_of_other_worktrees_are_without_place_and_their_commits_kept(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    linked = tmp_path / "linked"
    work.git("worktree", "add", "-q", "--detach", str(linked))
    work.git("-C", str(linked), "commit", "-q", "--allow-empty", "-m", "detached")
    oid = work.git("-C", str(linked), "rev-parse", "HEAD")
    result = restore(all_of(work), tmp_path / "to")
    assert b"worktrees/linked/HEAD" in result.without_place
    assert git(tmp_path / "to", "cat-file", "-t", oid) == "commit"
    assert git(tmp_path / "to", "config", "gc.pruneExpire") == "never"
    git(tmp_path / "to", "gc", "-q")
    assert git(tmp_path / "to", "cat-file", "-t", oid) == "commit"


def test_a_shallow_clone_is_restored_as_one(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    tip = work.commit("a", b"two\n")
    shallow = Work(tmp_path / "shallow")
    shallow.git("fetch", "-q", "--depth", "1", f"file://{work.path}", "main:copy")
    restore(all_of(shallow), tmp_path / "to", shallow=[tip])
    git(tmp_path / "to", "fsck", "--full")
    assert git(tmp_path / "to", "rev-list", "--all") == tip


def test_records_of_the_other_shapes_are_not_restorable() -> None:
    assert restorable("reflog", [NULL]) is None
    assert restorable("repository", [NULL]) is None


def test_the_environment_of_the_caller_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Work(tmp_path / "elsewhere")
    monkeypatch.setenv("GIT_DIR", str(elsewhere.path / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(elsewhere.path / ".git" / "objects"))
    each = blob(b"one")
    restore([each], tmp_path / "to")
    monkeypatch.undo()
    assert git(tmp_path / "to", "cat-file", "-t", each.oid) == "blob"
    assert list((elsewhere.path / ".git" / "objects" / "pack").iterdir()) == []
