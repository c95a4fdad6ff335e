"""Where a repository is, what may not be done with it, and what must not be read from it."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from scelle.errors import ItemVanished, SourceMissing, SourceUnreadable, UnitRewritten
from scelle.sources.git.place import open_repository
from scelle.sources.git.settings import settings, without_secret
from scelle.sources.git.source import GitSource
from scelle.sources.interfaces import Unit
from tests.unit.sources.git_repositories import (
    Work,
    bad,
    everything,
    needs_git,
    records,
    state_of,
    units,
    values,
)

pytestmark = needs_git
UNITS = [b"repository", b"refs", b"reflogs", b"objects"]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    return work


def source(path: Path) -> GitSource:
    return GitSource(os.fsencode(path), "code")


def oids(path: Path) -> set[bytes]:
    return set(records(source(path), b"objects"))


def test_nothing_at_the_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        source(tmp_path / "none").test()


def test_a_folder_or_a_file_is_no_repository(tmp_path: Path, work: Work) -> None:
    with pytest.raises(SourceUnreadable, match="no git repository"):
        source(tmp_path).test()
    with pytest.raises(SourceUnreadable, match="no git repository"):
        source(work.path / "a").test()


def test_a_folder_inside_a_repository_is_not_the_repository(work: Work) -> None:
    (work.path / "below").mkdir()
    with pytest.raises(SourceUnreadable):
        list(source(work.path / "below").units())


def test_a_repository_that_is_gone_is_an_error_and_not_an_empty_one(work: Work) -> None:
    known = units(work.source)[b"objects"]
    shutil.rmtree(work.path)
    with pytest.raises(SourceMissing):
        list(work.source.read(known, b""))


def test_git_does_not_read_what_it_does_not_know(work: Work) -> None:
    work.git("config", "core.repositoryformatversion", "1")
    work.git("config", "extensions.fromTheFuture", "true")
    with pytest.raises(SourceUnreadable, match="git cannot read it"):
        work.source.test()


def test_without_git_the_message_says_so(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work.path))
    with pytest.raises(SourceUnreadable, match="not installed"):
        work.source.test()


def test_bare_or_not_or_a_git_directory_it_is_the_same(work: Work, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    work.git("clone", "-q", "--bare", str(work.path), str(bare))
    assert oids(bare) == oids(work.path) == oids(work.path / ".git")
    assert values(records(source(bare), b"repository")[b"repository"])["bare"] is True
    assert values(records(work.source, b"repository")[b"repository"])["bare"] is False


def test_a_linked_worktree_stands_for_the_whole_repository(work: Work, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    work.git("worktree", "add", "-q", "--detach", str(linked))
    only_there = work.git("-C", str(linked), "commit", "-q", "--allow-empty", "-m", "detached") or work.git(
        "-C", str(linked), "rev-parse", "HEAD"
    )
    assert only_there.encode() in oids(linked)
    assert oids(linked) == oids(work.path)
    for path in (linked, work.path):
        refs = records(source(path), b"refs")
        assert values(refs[b"worktrees/linked/HEAD"])["target"] == only_there
        assert values(refs[b"HEAD"])["symref"] == "refs/heads/main"
        logged = [values(each) for each in records(source(path), b"reflogs").values()]
        assert "commit: detached" in [
            each["message"] for each in logged if each["ref"] == "worktrees/linked/HEAD"
        ]
    state = values(records(work.source, b"repository")[b"repository"])["state"]
    assert b'"worktrees":{"count":1,"listed":["linked"]}' in state


def test_a_submodule_is_left_to_itself_and_named(work: Work, tmp_path: Path) -> None:
    inner = Work(tmp_path / "inner")
    lone = inner.commit("b", b"inner\n")
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "lib/inner")
    found = values(records(work.source, b"repository")[b"repository"])
    assert b'"submodules":{"count":1,"listed":["lib/inner"]}' in found["state"]
    assert b"Submodules are repositories of their own" in found["unseen"]
    assert lone.encode() not in oids(work.path)
    assert lone.encode() in oids(work.path / "lib" / "inner")


def test_a_submodule_without_its_worktree_is_read_where_its_repository_lies(
    work: Work, tmp_path: Path
) -> None:
    inner = Work(tmp_path / "inner")
    lone = inner.commit("b", b"inner\n")
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "inner")
    shutil.rmtree(work.path / "inner")
    assert lone.encode() in oids(work.path / ".git" / "modules" / "inner")


def test_a_repository_without_a_configuration_is_read(work: Work) -> None:
    (work.path / ".git" / "config").unlink()
    assert values(records(work.source, b"repository")[b"repository"])["config"] == b"{}"


def test_a_pointer_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".git").write_bytes(b"gitdir: ../none\n")
    with pytest.raises(SourceMissing):
        source(tmp_path).test()
    (tmp_path / ".git").write_bytes(b"not a pointer")
    with pytest.raises(SourceUnreadable):
        source(tmp_path).test()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_repository_of_somebody_else_is_read(work: Work) -> None:
    for folder, _, files in os.walk(work.path):
        for name in ["", *files]:
            os.chown(Path(folder) / name, 65534, 65534)
    assert oids(work.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become somebody else")
def test_a_repository_without_permission_is_unreadable(
    open_path: Path, somebody_else: Callable[[], AbstractContextManager[None]]
) -> None:
    work = Work(open_path / "work")
    work.commit("a", b"one\n")
    work.path.chmod(0o700)
    with somebody_else(), pytest.raises(SourceUnreadable):
        work.source.test()


def test_no_program_of_the_repository_runs_and_nothing_changes(work: Work, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n", encoding="ascii")
    script.chmod(0o755)
    for name in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.askPass",
        "credential.helper",
        "diff.external",
    ):
        work.git("config", name, str(script))
    work.git("config", "alias.cat-file", f"!{script}")
    hooks = work.path / ".git" / "hooks"
    shutil.rmtree(hooks, ignore_errors=True)
    hooks.mkdir()
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc"):
        shutil.copy(script, hooks / hook)
    work.git("rev-parse", "HEAD")
    ran.unlink(missing_ok=True)
    before = state_of(work.path)
    for unit in UNITS:
        assert everything(work.source, unit)
    assert state_of(work.path) == before
    assert not ran.exists()


def test_a_partial_clone_fetches_nothing(work: Work, tmp_path: Path) -> None:
    work.git("config", "uploadpack.allowFilter", "true")
    blob = work.git("rev-parse", "HEAD:a")
    work.git("tag", "on-a-blob", blob)
    part = tmp_path / "part"
    work.git(
        "clone",
        "-q",
        "--no-local",
        "--no-checkout",
        "--no-tags",
        "--filter=blob:none",
        f"file://{work.path}",
        str(part),
    )
    with (part / ".git" / "packed-refs").open("ab") as file:
        file.write(blob.encode() + b" refs/tags/on-a-blob\n")
    before = state_of(part)
    found = values(records(source(part), b"repository")[b"repository"])
    assert found["partial"] is True
    assert b"never fetched" in found["unseen"]
    assert blob.encode() not in oids(part)
    assert bad(source(part), b"refs") == [("refs/tags/on-a-blob", "object-missing")]
    assert state_of(part) == before


def test_a_shallow_clone_says_so(work: Work, tmp_path: Path) -> None:
    work.commit("a", b"two\n")
    shallow = tmp_path / "shallow"
    work.git("clone", "-q", "--depth", "1", f"file://{work.path}", str(shallow))
    found = values(records(source(shallow), b"repository")[b"repository"])
    assert found["shallow"] is True
    assert b"This clone is shallow" in found["unseen"]
    assert work.git("rev-parse", "HEAD") in found["state"].decode()


def test_borrowed_objects_are_read_and_noted(work: Work, tmp_path: Path) -> None:
    borrower = tmp_path / "borrower"
    work.git("clone", "-q", "--shared", str(work.path), str(borrower))
    assert oids(borrower) == oids(work.path)
    found = values(records(source(borrower), b"repository")[b"repository"])
    assert b"borrowed" in found["unseen"]
    assert str(work.path).encode() in found["state"]


def test_units_members_and_marks(work: Work) -> None:
    found = units(work.source)
    assert list(found) == UNITS
    names = {member.name for member in work.source.members()}
    assert all(set(unit.members) <= names and unit.stamp == b"" for unit in found.values())
    assert found[b"objects"].size_bytes > 0
    with pytest.raises(ItemVanished):
        list(work.source.read(Unit(b"other", (), b"", 0), b""))
    with pytest.raises(UnitRewritten):
        list(work.source.read(found[b"refs"], b"x"))


def test_the_report_says_that_deleted_branches_of_a_server_are_in_no_clone(work: Work) -> None:
    (record,) = records(work.source, b"repository").values()
    sentence = "deleted on a server before this pass are in no clone"
    assert sentence in values(record)["unseen"].decode()
    assert any(sentence in note for member in work.source.members() for note in member.notes)


def test_the_holder_is_the_account_of_every_record(work: Work) -> None:
    for unit in UNITS:
        assert {each.account for each in records(work.source, unit).values()} == {"custodian:ada@example.org"}
        assert {values(each)["account"] for each in records(work.source, unit).values()} == {
            "custodian:ada@example.org"
        }
        assert {values(each)["account"] for each in records(source(work.path), unit).values()} == {None}


def test_no_secret_of_the_configuration_is_kept(work: Work) -> None:
    secret = "hunter2"
    work.git("config", "remote.a.url", f"https://ada:{secret}@example.org/x.git?token={secret}")
    work.git("config", "remote.a.fetch", "+refs/heads/*:refs/remotes/a/*")
    work.git("config", f"remote.https://u:{secret}@example.org/y.url", "https://example.org/y")
    work.git("config", "http.extraHeader", f"Authorization: {secret}")
    work.git("config", "core.sshCommand", f"sshpass -p {secret} ssh")
    work.git("config", "url.https://u:hunter2@example.org/.insteadOf", "x:")
    work.git("config", "remote.b.proxy", f"http://u:{secret}@example.org")
    kept = settings(open_repository(os.fsencode(work.path), "code"))
    assert kept["remote.a.url"] == ["https://example.org/x.git"]
    assert kept["remote.a.fetch"] == ["+refs/heads/*:refs/remotes/a/*"]
    assert kept["core.bare"] == ["false"]
    for unit in UNITS:
        for record in everything(work.source, unit):
            assert secret not in str(record)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("https://u:p@example.org:8443/a.git#frag", "https://example.org:8443/a.git"),
        ("ssh://git@example.org/~ada/a", "ssh://example.org/~ada/a"),
        ("git@example.org:team/a.git", "git@example.org:team/a.git"),
        ("example.org:a", "example.org:a"),
        ("/srv/a.git", "/srv/a.git"),
        ("../a", "../a"),
        ("file:///srv/a", "file:///srv/a"),
    ],
)
def test_the_url_of_a_remote_without_its_secret(url: str, shown: str) -> None:
    assert without_secret(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "https://u:p/q@example.org/a",
        "https://u:p@q@example.org/a",
        "ext::sh -c 'x p'",
        "u:p@example.org:a",
        "a?token=p",
    ],
)
def test_a_url_of_an_unknown_form_is_left_out(url: str) -> None:
    assert without_secret(url) == "(left out: it may carry a secret)"
