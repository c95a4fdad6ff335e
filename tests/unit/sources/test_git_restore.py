"""Write a repository back: what is refused, and what a bare repository has no place for."""

import subprocess
from hashlib import sha1
from pathlib import Path

import pytest

from scelle.errors import InputError, IntegrityError
from scelle.formats.values import NULL
from scelle.sources.git.restore import GitObject, RefPosition, restorable, restore
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


def test_content_that_is_not_its_ids_is_refused(tmp_path: Path) -> None:
    good = blob(b"one")
    with pytest.raises(IntegrityError, match=good.oid):
        restore([good._replace(pieces=[b"two"])], tmp_path / "to")


def test_a_size_that_is_not_the_contents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        restore([blob(b"one")._replace(size_bytes=4)], tmp_path / "to")


def test_a_kind_that_git_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no such objects"):
        restore([blob(b"one")._replace(kind="leaf")], tmp_path / "to")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for place in (tmp_path, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(InputError, match="in use"):
            restore([], place)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "link"]


def test_nothing_at_all_is_an_empty_repository(tmp_path: Path) -> None:
    assert restore([], tmp_path / "to") == (0, 0, ())
    assert git(tmp_path / "to", "count-objects") == "0 objects, 0 kilobytes"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 2047, 2048, 262143, 262144])
def test_contents_of_every_width_of_size(tmp_path: Path, size: int) -> None:
    each = blob(b"x" * size)
    assert restore([each, each], tmp_path / "to").objects == 1
    assert git(tmp_path / "to", "cat-file", "-s", each.oid) == str(size)


def test_a_ref_that_stands_on_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="refs cannot be written"):
        restore([RefPosition(b"refs/tags/a", "1" * 40)], tmp_path / "to")
    with pytest.raises(IntegrityError, match="stands on nothing"):
        restore([RefPosition(b"refs/tags/a", None)], tmp_path / "other")


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


def test_positions_of_other_worktrees_are_left_out_and_their_commits_kept(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    linked = tmp_path / "linked"
    work.git("worktree", "add", "-q", "--detach", str(linked))
    work.git("-C", str(linked), "commit", "-q", "--allow-empty", "-m", "detached")
    oid = work.git("-C", str(linked), "rev-parse", "HEAD")
    result = restore(all_of(work), tmp_path / "to")
    assert b"worktrees/linked/HEAD" in result.left_out
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
