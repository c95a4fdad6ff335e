"""Single records erased from sources of records and from a repository: passes, queries and restores afterwards."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.e2e.test_erase_records import AUTHORITY_KEY, count, erase
from tests.integration.platforms import make_platform
from tests.unit.sources.git_repositories import Work, needs_git

from scelle.bootstrap import KeyChoice, opened
from scelle.ledger.rows import Row

SCHEMA = '[schema]\nname = "posts"\ntime = "ts"\nid = "id"\naccount = "user"\n[fields]\nprompt = "s"\n'


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--cooling-off", "0s", "--json")
    return made


def take_in(platform: Platform, name: str) -> None:
    platform.clauses = [f'[[clause]]\nid = "all"\nsources = ["{name}"]\n']
    platform("order", "add", platform.order_file(authority_key=f'"{AUTHORITY_KEY.text()}"'))
    platform("preserve", ORDER)


def rows(platform: Platform) -> Iterator[tuple[str, Row]]:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.ledger(ORDER)
        for _, manifest in ledger.manifests():
            if manifest.records and not manifest.source.startswith("scelle."):
                with closing(ledger.segment(manifest)) as reader:
                    yield from ((manifest.source, row) for row in reader.rows())


def test_posts_are_erased_and_found_no_more(platform: Platform) -> None:
    folder = platform.root / "posts"
    folder.mkdir()
    lines = [
        {"id": f"p{n}", "ts": f"2026-01-0{1 + n % 9}T10:00:00Z", "user": f"u{n % 2}", "prompt": f"take {n}"}
        for n in range(40)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (platform.root / "posts.toml").write_text(SCHEMA)
    platform("source", "add", "posts", f"records://{folder}", "--schema", platform.root / "posts.toml")
    take_in(platform, "posts")
    doomed = [
        f"{alias}:{row.seq}" for alias, row in rows(platform) if b"take 1" in row.values
    ]  # 1, and 10 to 19
    assert len(doomed) == 11
    erase(platform, *doomed)
    for query, left in (
        ('prompt contains "take"', 29),  # every row is looked at, behind erased ones, too
        ('account = "u1"', 14),
        ('account = "u1" and prompt contains "take"', 14),
        ('source = "posts"', 29),
    ):
        assert count(platform, query) == left, query
    found = platform("find", ORDER, 'prompt = "take 39"', "--json").json["items"]
    assert len(found) == 1
    assert sum(b"take 39" in row.values for _, row in rows(platform)) == 1
    platform("preserve", ORDER)  # nothing of the file changed: it is not read again
    assert count(platform, 'source = "posts"') == 29
    with (folder / "a.jsonl").open("a") as file:
        file.write(
            json.dumps({"id": "p99", "ts": "2026-01-09T11:00:00Z", "user": "u1", "prompt": "new"}) + "\n"
        )
    platform("preserve", ORDER)
    assert count(platform, 'prompt = "new"') == 1
    answer = platform(
        "produce", ORDER, "--account", "u1", "--from", "2026-01-02", "--until", "2026-01-08",
        "--to", platform.root / "p.scelle", "--json",
    ).json  # fmt: skip
    assert answer["hits"] == answer["produced"] + answer["erased"]
    assert platform("verify", "--json").json["findings"] == []


@needs_git
def test_a_repository_is_restored_without_an_erased_object(platform: Platform) -> None:
    work = Work(platform.root / "work")
    work.commit("a", b"draft 1\n")
    work.commit("a", b"draft 2\n")
    blob = work.git("rev-parse", "HEAD~1:a")
    platform("source", "add", "code", f"git://{work.path}", "--custodian", "staff-017@example.org")
    take_in(platform, "code")
    (doomed,) = [
        f"{alias}:{row.seq}"
        for alias, row in rows(platform)
        if row.split_values()[3][5:].decode() == blob or blob.encode() in row.split_values()[3]
    ]
    erase(platform, doomed)
    to = platform.root / "restored.git"
    found = platform("git", "restore", ORDER, "code", "--to", to, "--json", code=1).json
    assert any(
        blob in line for line in [*found["fsck"], *map(str, found["broken"]), *map(str, found["failed"])]
    )
    assert not any(b"draft 1" in path.read_bytes() for path in to.rglob("*") if path.is_file())
    assert platform("verify", "--json").json["findings"] == []
