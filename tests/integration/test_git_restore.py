"""`scelle git restore` on a real vault: a repository that lived on between passes, equal refs, and what is refused."""

import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform, preserved
from tests.unit.sources.git_repositories import Work, needs_git

from scelle import bootstrap
from scelle.ledger.events import events

pytestmark = needs_git


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--json")
    return made


def take_in(platform: Platform, name: str) -> None:
    platform.clauses = [f'[[clause]]\nid = "all"\nsources = ["{name}"]\n']
    platform("order", "add", platform.order_file())


def sealed_work(platform: Platform) -> Work:
    """A repository of two branches and a tag, sealed; then force-pushed over and shorn of a branch, sealed again."""
    work = Work(platform.root / "work")
    work.commit("a", b"draft 1\n")
    work.commit("a", b"draft 2\n")
    work.git("tag", "-a", "v1", "-m", "first")
    work.git("branch", "side")
    platform("source", "add", "code", f"git://{work.path}", "--custodian", "staff-017@example.org")
    take_in(platform, "code")
    preserved(platform)
    work.git("reset", "-q", "--hard", "HEAD~1")
    work.commit("a", b"another draft\n")
    work.git("branch", "-D", "side")
    work.git("branch", "side/below")
    preserved(platform)
    return work


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", path, *arguments], check=True, capture_output=True, text=True).stdout


def test_a_repository_is_restored_with_equal_refs_and_what_a_push_left_behind(platform: Platform) -> None:
    work = sealed_work(platform)
    old = work.git("rev-parse", "v1^{commit}")
    work.git("tag", "-d", "v1")
    work.git("update-ref", "-d", "ORIG_HEAD")
    work.git("reflog", "expire", "--expire=now", "--all")
    work.git("gc", "-q", "--prune=now")
    preserved(platform)
    to = platform.root / "restored.git"
    found = platform("git", "restore", ORDER, "code", "--to", to, "--json").json
    assert git(to, "for-each-ref") == work.git("for-each-ref") + "\n"
    assert git(to, "rev-parse", "HEAD") == work.git("rev-parse", "HEAD") + "\n"
    git(to, "fsck", "--full", "--strict")
    assert git(to, "cat-file", "-t", old) == "commit\n", "no ref leads there, and the source has it no more"
    assert [each["ref"] for each in found["deleted"]] == [
        "ORIG_HEAD",
        "refs/heads/side",
        "refs/tags/v1",
    ]
    assert (found["failed"], found["broken"], found["fsck"]) == ([], [], [])
    assert any("deleted on a server" in each for each in found["unseen"])


def test_refs_that_were_deleted_since_come_back_where_there_is_room(platform: Platform) -> None:
    work = sealed_work(platform)
    to = platform.root / "restored.git"
    answer = platform("git", "restore", ORDER, "code", "--to", to, "--deleted", code=1)
    assert "ref refs/heads/side has nothing to stand on, or no place" in answer.out
    assert "git fsck --full accepts it" in answer.out
    assert git(to, "for-each-ref") == work.git("for-each-ref") + "\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_that_went_back_is_restored_where_it_went(platform: Platform, packed: bool) -> None:
    work = Work(platform.root / "work")
    first = work.commit("a", b"draft 1\n")
    second = work.commit("a", b"draft 2\n")
    server = Work(platform.root / "server.git", "--bare")
    server.git("fetch", "-q", str(work.path), f"{second}:refs/heads/main")
    platform("source", "add", "code", f"git://{server.path}")
    take_in(platform, "code")
    for oid in (first, second, first):
        server.git("update-ref", "refs/heads/main", oid)
        if packed:
            server.git("pack-refs", "--all")
        preserved(platform)
    to = platform.root / "restored.git"
    platform("git", "restore", ORDER, "code", "--to", to)
    assert git(to, "rev-parse", "main") == first + "\n", "a server keeps no reflog that would tell"


def test_that_it_was_restored_is_sealed(platform: Platform) -> None:
    sealed_work(platform)
    platform("git", "restore", ORDER, "code", "--to", platform.root / "restored.git")
    with bootstrap.opened(
        platform.vault, bootstrap.KeyChoice(platform.root / "keys"), writing=False
    ) as session:
        said = [event.body for event in events(session.ledger(ORDER), "git.restored")]
    assert said == [{"source": "s0001", "folder": "restored.git"}]
    assert platform("verify", "--json").json["findings"] == []


def test_places_in_use_and_sources_without_a_repository_are_refused_and_nothing_sealed(
    platform: Platform,
) -> None:
    platform.document("a.txt", b"a red boat\n")
    platform("source", "add", "docs", f"files://{platform.docs}")
    take_in(platform, "docs")
    preserved(platform)
    before = platform("status", "--json").json
    new = platform.root / "new.git"
    assert "in use" in platform("git", "restore", ORDER, "docs", "--to", platform.docs, code=2).err
    assert "git repository" in platform("git", "restore", ORDER, "docs", "--to", new, code=2).err
    assert "no source" in platform("git", "restore", ORDER, "code", "--to", new, code=2).err
    assert "vault" in platform("git", "restore", ORDER, "docs", "--to", platform.vault / "x", code=2).err
    assert not new.exists()
    assert platform("status", "--json").json == before


def test_a_content_that_the_vault_lost_is_named_and_the_rest_restored(platform: Platform) -> None:
    work = Work(platform.root / "work")
    work.commit("a", bytes(range(256)) * 40_000)  # 10 MB: a pack of its own
    work.commit("b", b"small\n")
    platform("source", "add", "code", f"git://{work.path}")
    take_in(platform, "code")
    preserved(platform)
    packs = sorted(platform.vault.rglob("*.pack"), key=lambda path: path.stat().st_size)
    assert packs, sorted(platform.vault.rglob("*"))
    largest = packs[-1]
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(data)
    to = platform.root / "restored.git"
    found = platform("git", "restore", ORDER, "code", "--to", to, "--json", code=1).json
    assert found["failed"]
    assert found["fsck"]
