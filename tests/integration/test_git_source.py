"""A repository with all that git can lose, read through the source and written back."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.sources.git_repositories import (
    Work,
    bad,
    content,
    needs_git,
    pieces,
    records,
    state_of,
    units,
    values,
)

from scelle.sources.git.restore import GitObject, RefPosition, restorable, restore
from scelle.sources.git.source import GitSource
from scelle.sources.interfaces import Record

pytestmark = needs_git
UNITS = [b"repository", b"refs", b"reflogs", b"objects"]


@pytest.fixture(params=["sha1", "sha256"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    """Merges, tags, a branch that was forced, one that was deleted, a link, binary and empty contents."""
    work = Work(tmp_path / "work", f"--object-format={request.param}")
    work.commit("readme", b"one\n")
    work.commit("empty", b"")
    work.commit("picture", bytes(range(256)) * 300)
    (work.path / "link").symlink_to("readme")
    work.git("add", "link")
    work.git("commit", "-q", "-m", "a link")
    work.git("checkout", "-q", "-b", "side", "HEAD~2")
    work.commit("side", b"side\n")
    work.git("checkout", "-q", "main")
    work.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
    work.git("tag", "-a", "-m", "first", "v1")
    work.git("tag", "-a", "-m", "of a tag", "v1-again", "v1")
    work.git("tag", "light", "HEAD~1")
    work.git("tag", "of-a-blob", work.git("rev-parse", "HEAD:empty"))
    work.git("gc", "-q")  # from here on loose, before this packed
    work.git("checkout", "-q", "-b", "forced")
    work.commit("readme", b"to be lost\n", "lost by force")
    work.git("reset", "-q", "--hard", "main")
    work.commit("readme", b"instead\n")
    work.git("checkout", "-q", "-b", "deleted")
    work.commit("gone", b"on a branch that is gone\n", "lost with its branch")
    work.git("checkout", "-q", "main")
    work.git("branch", "-q", "-D", "deleted")
    work.git("symbolic-ref", "refs/heads/alias", "refs/heads/side")
    return work


def whole_pass(source: GitSource) -> dict[bytes, dict[bytes, Record]]:
    assert list(units(source)) == UNITS
    assert not [bad(source, unit) for unit in UNITS if bad(source, unit)]
    return {unit: records(source, unit) for unit in UNITS}


def sealed(found: dict[bytes, dict[bytes, Record]]) -> Iterator[GitObject | RefPosition]:
    for unit in UNITS:
        for record in found[unit].values():
            thing = restorable(record.member, record.values, pieces(record) if record.contents else ())
            if thing is not None:
                yield thing


def refs_of(path: Path) -> bytes:
    form = "--format=%(refname) %(objectname) %(objecttype) %(*objectname) %(symref)"
    head = (path / "HEAD") if (path / "HEAD").exists() else path / ".git" / "HEAD"
    listed = subprocess.run(["git", "for-each-ref", form], cwd=path, capture_output=True, check=True).stdout
    return head.read_bytes() + listed


def all_oids(path: Path) -> set[str]:
    form = ("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
    return set(
        subprocess.run(["git", *form], cwd=path, capture_output=True, check=True).stdout.decode().splitlines()
    )


def test_everything_is_read_and_a_restored_clone_is_equal(work: Work, tmp_path: Path) -> None:
    before = state_of(work.path)
    found = whole_pass(work.source)
    to = tmp_path / "restored"
    object_format = values(found[b"repository"][b"repository"])["object_format"]
    result = restore(sealed(found), to, object_format)
    assert state_of(work.path) == before
    fsck = subprocess.run(["git", "fsck", "--full", "--strict"], cwd=to, capture_output=True, check=False)
    assert fsck.returncode == 0, fsck.stderr
    assert refs_of(to) == refs_of(work.path)
    assert all_oids(to) == all_oids(work.path)
    assert result.objects == len(found[b"objects"]) == len(all_oids(work.path))
    assert result.without_place == (b"ORIG_HEAD",)
    assert b"dangling commit" in fsck.stdout  # lost by force, and with its branch: still there


def test_what_a_force_push_left_behind_is_kept_on_the_next_pass(work: Work, tmp_path: Path) -> None:
    server = tmp_path / "server.git"
    work.git("clone", "-q", "--bare", str(work.path), str(server))
    source = GitSource(os.fsencode(server), "server")
    first = whole_pass(source)
    old = work.git("rev-parse", "forced").encode()
    work.git("checkout", "-q", "forced")
    work.git("commit", "-q", "--amend", "-m", "rewritten")
    work.git("push", "-q", "--force", str(server), "forced")
    second = whole_pass(source)
    name = b"refs/heads/forced"
    new = work.git("rev-parse", "forced").encode()
    assert old in second[b"objects"]
    assert new not in first[b"objects"]
    assert new in second[b"objects"]
    assert first[b"refs"][name].version != second[b"refs"][name].version
    assert values(second[b"refs"][name])["target"] == new.decode()
    unchanged = [
        each for each in first[b"refs"] if first[b"refs"][each].version == second[b"refs"][each].version
    ]
    assert sorted(unchanged) == sorted(set(first[b"refs"]) - {name})
    assert {oid: record.version for oid, record in first[b"objects"].items()}.items() <= {
        oid: record.version for oid, record in second[b"objects"].items()
    }.items()


def test_a_pass_over_the_same_state_gives_the_same(work: Work) -> None:
    first, second = whole_pass(work.source), whole_pass(work.source)
    for unit in UNITS:
        assert list(first[unit]) == list(second[unit])
        assert [each.version for each in first[unit].values()] == [
            each.version for each in second[unit].values()
        ]
        assert [each.values for each in first[unit].values()] == [
            each.values for each in second[unit].values()
        ]


def test_contents_are_those_that_git_gives(work: Work) -> None:
    for oid, record in records(work.source, b"objects").items():
        kind = values(record)["type"]
        done = subprocess.run(["git", "cat-file", kind, oid], cwd=work.path, capture_output=True, check=True)
        assert content(record) == done.stdout
    assert bad(work.source, b"objects") == []


def test_the_record_of_the_repository_says_what_nobody_can_see(work: Work) -> None:
    (record,) = records(work.source, b"repository").values()
    assert b"deleted on a server before this pass" in values(record)["unseen"]
