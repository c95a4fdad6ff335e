"""Restricted records: what a restricted clause covers of a source of records lies in the compartment alone."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from .conftest import ORDER, Answer, Platform
from .test_restricted import Clock, granted, holders, peeled, vault_key, verified

SCHEMA = """\
[schema]
name = "posts"
time = "ts"
id = "id"
account = "user"
profile = 1
[fields]
prompt = "s"
steps = "i"
"""
TELLING = "a telling sentence that two people open together"
SHUT = '[[clause]]\nid = "shut"\nsources = ["posts"]\naccounts = ["casey"]\nrestricted = true\n'
ALL = '[[clause]]\nid = "all"\nsources = ["posts"]\n'


def post(name: str, user: str, prompt: str, day: int = 1) -> str:
    body = {
        "id": name,
        "ts": f"2026-01-{day:02d}T10:00:00Z",
        "user": user,
        "prompt": prompt,
        "steps": 30 + day,
    }
    return json.dumps(body) + "\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def posts(platform: Platform, clock: Clock) -> Path:
    """A file of two open posts and one of casey's."""
    folder, schema = platform.root / "posts", platform.root / "posts.toml"
    folder.mkdir()
    schema.write_text(SCHEMA)
    path = folder / "a.jsonl"
    path.write_text(
        post("p1", "alex", "a red boat")
        + post("telling-id", "casey", TELLING, 2)
        + post("p3", "alex", "a pier", 3)
    )
    platform("source", "add", "posts", f"records://{folder}", "--schema", schema)
    return path


def take_in(platform: Platform, *clauses: str) -> None:
    platform.clauses = list(clauses)
    platform("order", "add", platform.order_file())


def restricted_items(platform: Platform) -> list[str]:
    found = platform("find", ORDER, 'native_id starts with "restricted:"', "--json").json["items"]
    return [str(each["id"]) for each in found]


def needles() -> list[bytes]:
    line = post("telling-id", "casey", TELLING, 2)
    digest = hashlib.sha256(line.strip().encode()).hexdigest()
    return [TELLING.encode(), b"telling-id", digest.encode(), bytes.fromhex(digest), TELLING[5:30].encode()]


def test_records_go_into_the_compartment_and_nowhere_else(platform: Platform, posts: Path) -> None:
    said: list[Answer] = []

    def do(*arguments: str | Path, code: int = 0) -> Answer:
        said.append(platform(*arguments, code=code))
        return said[-1]

    take_in(platform, SHUT, ALL)
    assert "the vault has no compartment" in do("preview", ORDER).err
    assert "scelle restricted init" in do("preserve", ORDER, code=2).err
    holders(platform)
    counts = do("preserve", ORDER, "--json").json
    assert (counts["sealed"], counts["restricted"]) == (3, 1)
    counts = do("preserve", ORDER, "--json").json
    assert (counts["unchanged"], counts["new"], counts["restricted"]) == (3, 0, 1)
    with posts.open("a") as file:
        file.write(post("telling-id-2", "casey", TELLING, 5) + '{"id": "telling-id-3", "ts": "no time"}\n')
    counts = do("preserve", ORDER, "--json", code=1).json
    assert (counts["offered"], counts["new"], counts["unchanged"], counts["failed"]) == (5, 1, 3, 1)
    assert counts["restricted"] == 2
    assert "2 of the 4 sealed lie in the compartment" in do("preserve", ORDER, code=1).out
    items = restricted_items(platform)
    assert len(items) == 2
    do("find", ORDER, 'source = "posts"', "--json")
    do("status", "--json")
    do("why", items[0])
    do("rebuild-catalog")
    assert do("verify", "--json").json["valid"]
    do("order", "show", ORDER, "--json")
    do("produce", ORDER, "--source", "posts", "--to", platform.root / "a.scelle", "--json")
    do("disclose", ORDER, items[0], "--to", platform.root / "one.proof")
    for path in [each for each in platform.root.rglob("*") if each.is_file() and each != posts]:
        data = path.read_bytes()
        assert not [each for each in needles() if each in data], path
    plain = list(peeled(platform, vault_key(platform)))
    assert any(b"a red boat" in each for each in plain), "open rows were peeled"
    assert any(b"restricted:r" in each for each in plain), "restricted rows were peeled"
    for each in plain:
        assert not [needle for needle in needles() if needle in each]
    for answer in said:
        assert "telling" not in answer.out + answer.err


def test_an_authority_sees_that_it_is_there_and_the_sums_close(platform: Platform, posts: Path) -> None:
    take_in(platform, SHUT, ALL)
    holders(platform)
    platform("preserve", ORDER)
    trust, package = platform.root / "trust.json", platform.root / "a.scelle"
    platform("order", "trust", ORDER, "--to", trust)
    report = platform("produce", ORDER, "--source", "posts", "--to", package, "--json").json
    assert (report["hits"], report["fields_redacted"]) == (3, 2)
    code, verdict = verified(package, trust)
    assert code == 0, verdict
    mine = platform.root / "casey.scelle"
    report = platform("produce", ORDER, "--account", "casey", "--to", mine, "--json").json
    assert report["hits"] == 1
    code, verdict = verified(mine, trust)
    assert code == 0, verdict


def test_two_people_read_what_the_record_said(platform: Platform, posts: Path, clock: Clock) -> None:
    take_in(platform, SHUT, ALL)
    people, root = holders(platform), platform.root
    platform("preserve", ORDER)
    (item,) = restricted_items(platform)
    request = granted(platform, clock, "open", item, "--reader", str(people["rita"].to_public()))
    platform("restricted", "share", request, "--identity", root / "remy.txt", "--to", root / "remy.share")
    read = ("restricted", "read", item, "--grant", request, "--identity", root / "rita.txt")
    platform(*read, "--share", root / "remy.share", "--to", root / "out")
    found = json.loads((root / "out").read_bytes())
    assert (found["fields"]["prompt"], found["fields"]["steps"]) == (TELLING, "32")
    assert (found["account"], found["member"]) == ("account:casey", "posts")


def test_a_clause_that_becomes_restricted_shuts_what_was_open(platform: Platform, posts: Path) -> None:
    take_in(platform, ALL)
    holders(platform)
    platform("preserve", ORDER)
    assert restricted_items(platform) == []
    clause = platform.root / "shut.toml"
    clause.write_text(SHUT)
    platform("order", "add-clause", ORDER, "--file", clause, "--yes")
    answer = platform("preserve", ORDER, "--json").json
    assert (answer["offered"], answer["new"], answer["unchanged"]) == (3, 1, 2)
    assert "open copies" in json.dumps(answer)
    assert len(restricted_items(platform)) == 1
    assert platform("preserve", ORDER, "--json").json["unchanged"] == 3
    posts.write_text(post("p1", "alex", "a red boat") + post("telling-id", "alex", "now open to all", 2))
    answer = platform("preserve", ORDER, "--json").json
    assert answer["vanished"] == 1, "p3 is gone"
    assert len(restricted_items(platform)) == 2, "what was restricted once stays so, whosever it is now"
    assert platform("verify", "--json").json["valid"]


def test_contents_of_a_record_go_in_with_it(platform: Platform, clock: Clock) -> None:
    folder = platform.root / "ai"
    (folder / "policies").mkdir(parents=True)
    (folder / "events").mkdir()
    policy = b'{"policy": "a telling one"}'
    (folder / "policies/p7.json").write_bytes(policy)
    event = {"event": "requested", "ts": "2026-01-08T09:00:00Z", "attempt_id": "a", "event_id": "a/1"}
    (folder / "events/a.jsonl").write_text(json.dumps(event | {"safeguard_version": "7"}) + "\n")
    platform("source", "add", "ai", f"generation://{folder}")
    take_in(platform, '[[clause]]\nid = "shut"\nsources = ["ai"]\nrestricted = true\n')
    people, root = holders(platform), platform.root
    platform("preserve", ORDER)
    for each in peeled(platform, vault_key(platform)):
        assert b"a telling one" not in each
        assert hashlib.sha256(policy).digest() not in each
    shares = root / "remy.share"
    archives = []
    for number, item in enumerate(restricted_items(platform)):
        request = granted(platform, clock, "open", item, "--reader", str(people["rita"].to_public()))
        platform("restricted", "share", request, "--identity", root / "remy.txt", "--to", shares)
        out = root / f"out{number}"
        read = ("restricted", "read", item, "--grant", request, "--identity", root / "rita.txt")
        platform(*read, "--share", shares, "--to", out)
        shares.unlink()
        data = out.read_bytes()
        if not data.startswith(b"{"):
            archives.append(data)
    (archive,) = archives
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        record, content = tar.getnames()
        assert record == "record.json"
        assert content.startswith("contents/")
        inside = tar.extractfile(content)
        assert inside is not None
        assert inside.read() == policy


def test_what_failed_of_a_restricted_source_is_not_named(platform: Platform, posts: Path) -> None:
    take_in(platform, SHUT, ALL)
    holders(platform)
    bad = posts.parent / "telling-file.jsonl"
    bad.write_text('{"id": "telling-id-4", "ts": "no time at all"}\n')
    for command in ("preview", "preserve"):
        answer = platform(command, ORDER, code=1 if command == "preserve" else 0)
        assert "telling" not in answer.out + answer.err
        assert "failed" in answer.out


@pytest.mark.parametrize("is_shut", [False, True])
def test_records_that_another_order_claims_are_carried_over(
    platform: Platform, posts: Path, is_shut: bool
) -> None:
    """What its clause restricts lies open in the vault: it is kept, and shown to nobody."""
    for name in ("cooling-off", "grace"):
        platform("settings", "set", name, "0s")
    take_in(platform, ALL)
    holders(platform)
    platform("preserve", ORDER)
    posts.write_text("")
    platform.clauses = [SHUT if is_shut else SHUT.replace("restricted = true\n", "")]
    platform("order", "add", platform.order_file("b.toml", id='"other"', matter='"m2"', reference='"R2"'))
    platform("order", "lift", ORDER)
    platform("request", "approve", platform("order", "release", ORDER, "--json").json["request"])
    assert platform("dispose", "--json").json["certificates"][0]["confirmed"]
    found = platform("find", "other", 'account = "casey"', "--json").json["count"]
    assert found == (0 if is_shut else 1)
    assert platform("find", "other", 'account = "alex"', "--json").json["count"] == 0
    quarantined = platform("quarantine", "--list", "other", "--json").out
    assert ('"restricted"' in quarantined) == is_shut
    assert platform("verify", "--json").json["findings"] == []
    report = platform("preserve", "other", "--json").json
    assert (report["offered"], report["new"], report["vanished"]) == (0, 0, 1)
    assert platform("verify", "--json").json["findings"] == []


def test_a_record_is_marked_by_hand(platform: Platform, posts: Path) -> None:
    take_in(platform, ALL)
    holders(platform)
    platform("preserve", ORDER)
    item = platform("find", ORDER, 'account = "casey"', "--json").json["items"][0]["id"]
    marked = platform("restricted", "mark", item, "--json").json["marked"]
    assert platform("restricted", "mark", item, "--json").json["marked"] == marked, "twice is once"
    (new,) = restricted_items(platform)
    assert marked[0]["item"] == new
    assert platform("find", ORDER, 'account = "casey"', "--json").json["count"] == 1
    report = platform("preserve", ORDER, "--json").json
    assert (report["unchanged"], report["new"], report["vanished"]) == (3, 0, 0)
    posts.write_text(post("telling-id", "casey", TELLING + ", and more", 2))
    platform("preserve", ORDER)
    assert len(restricted_items(platform)) == 2, "a later state of it goes in with it"
    assert platform("verify", "--json").json["valid"]
