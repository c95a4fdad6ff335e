"""Sources of records through the command line: real files, a real repository, a real PostgreSQL; then the package."""

import base64
import gzip
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform, preserved
from tests.integration.postgres import PASSWORD, VERSIONS, PostgresServer, serve_postgres
from tests.unit.sources.git_repositories import needs_git

from scelle.capture.families import members_of
from scelle.formats.values import Content, decode_value
from scelle.sources.git.restore import GitObject, RefPosition, restorable, restore
from scelle.sources.git.schemas import MEMBERS
from scelle.verify.scelle_verify import main as scelle_verify

MEMBER_OF = {member.schema.digest: member.name for member in MEMBERS}
SCHEMA = """\
[schema]
name = "posts"
time = "ts"
id = "id"
account = "user"
dimensions = ["model"]
profile = {profile}
[fields]
prompt = "s"
score = "D"
"""


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made("init", made.vault, "--host", "platform.example", "--json")
    return made


def take_in(platform: Platform, *names: str, clauses: str = "") -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    platform.clauses = [clauses or f'[[clause]]\nid = "all"\nsources = [{listed}]\n']
    platform("order", "add", platform.order_file())


def line(number: int, user: str | int | None = None, **more: Any) -> str:
    row = {
        "id": f"p{number}",
        "ts": f"2026-01-{1 + number % 28:02d}T10:00:00.{number % 1000:03d}Z",
        "user": f"u{number % 7}" if user is None else user,
        "model": ["imagine-1", "imagine-2"][number % 2],
        "prompt": f"put the person in a winter coat, take {number}",
        "score": number / 2,
        **more,
    }
    return json.dumps(row) + "\n"


def add_posts(platform: Platform, profile: int = 1) -> Path:
    folder = platform.root / "posts"
    folder.mkdir()
    schema = platform.root / "posts.toml"
    schema.write_text(SCHEMA.format(profile=profile))
    platform("source", "add", "posts", f"records://{folder}", "--schema", schema)
    return folder


def verified(platform: Platform, *arguments: str) -> list[dict[str, Any]]:
    """Produce, let the single file judge it, and return the open fields of every record."""
    assert platform("verify", "--json").json["findings"] == []
    number = len(list(platform.root.glob("*.scelle")))
    trust, package = platform.root / f"trust{number}.json", platform.root / f"p{number}.scelle"
    platform("order", "trust", ORDER, "--to", trust)
    platform("produce", ORDER, *arguments, "--to", package)
    platform.capsys.readouterr()
    assert scelle_verify([str(package), "--trust", str(trust), "--json"]) == 0, platform.capsys.readouterr()
    platform.capsys.readouterr()
    return list(opened_records(package))


def opened_records(package: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(package) as archive:
        schemas = {
            name: [field["name"] for field in json.loads(archive.read(name))["fields"]]
            for name in archive.namelist()
            if name.startswith("schemas/")
        }
        for text in archive.read("records.jsonl").splitlines():
            record = json.loads(text)
            if record["p"] == 1:
                shown = [each for each in record["v"] if isinstance(each, list)]
                values = [decode_value(base64.b64decode(value))[1] for _, value in shown]
            else:
                values, data, at = [], base64.b64decode(record["v"]), 2
                while at < len(data):
                    _, value, at = decode_value(data, at)
                    values.append(value)
            fitting = [names for names in schemas.values() if len(names) == len(values)]
            yield dict(zip(fitting[0], values, strict=True)) if fitting else {"values": values}


@pytest.mark.parametrize("profile", [0, 1])
def test_one_account_in_a_period_is_what_the_files_have(platform: Platform, profile: int) -> None:
    folder = add_posts(platform, profile)
    (folder / "a.jsonl").write_text("".join(line(n) for n in range(200)))
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write("".join(line(n) for n in range(200, 300)))
    take_in(platform, "posts")
    assert preserved(platform)["new"] == 300
    period = ("--from", "2026-01-05T00:00:00Z", "--until", "2026-01-12T00:00:00Z")
    found = verified(platform, "--account", "u3", *period)
    expected = [n for n in range(300) if n % 7 == 3 and 5 <= 1 + n % 28 < 12]
    assert sorted(record["native_id"] for record in found) == sorted(f"p{n}" for n in expected)
    assert {record["account"] for record in found} == {"account:u3"}
    models = verified(platform, "--dimension", "model=imagine-2")
    assert len(models) == 150
    late = platform("order", "trust", ORDER, "--to", platform.root / "late.json").err
    assert "2 packages were made before this trust file" in late


def test_a_redaction_whose_copy_would_stay_open_is_refused(platform: Platform) -> None:
    folder = platform.root / "posts"
    folder.mkdir()
    schema = platform.root / "posts.toml"
    schema.write_text(SCHEMA.format(profile=1).replace("[fields]", '[fields]\n"author.email" = "s"'))
    platform("source", "add", "posts", f"records://{folder}", "--schema", schema)
    rows = [line(n, author={"email": f"staff-{n}@example.org"}, user=4711 + n, ratio=0.1) for n in range(4)]
    (folder / "a.jsonl").write_text("".join(rows))
    take_in(platform, "posts")
    assert preserved(platform)["new"] == 4
    package, proof = platform.root / "x.scelle", platform.root / "x.proof"
    copied = ("author.email:privacy", "account:privacy")
    for redaction in copied:
        produce = ("produce", ORDER, "--source", "posts", "--redact", redaction)
        assert "stands open in more" in platform(*produce, "--to", package, code=1).err
        disclose = ("disclose", ORDER, "s0001/1:2", "--redact", redaction)
        if not redaction.startswith("account"):
            assert "stands open in more" in platform(*disclose, "--to", proof, code=1).err
    assert not package.exists()
    assert not proof.exists()
    both = [option for redaction in (*copied, "more:privacy") for option in ("--redact", redaction)]
    platform("produce", ORDER, "--source", "posts", *both, "--to", package)
    assert b"example.org" not in package.read_bytes()
    (record, *_) = verified(platform, "--source", "posts")
    assert record["more_text"] == '{"ratio":0.1}'


def test_a_listed_copy_of_what_is_redacted_must_be_redacted_too(platform: Platform) -> None:
    folder = platform.root / "posts"
    folder.mkdir()
    schema = platform.root / "posts.toml"
    listed = '[fields]\nid = "s"\nmodel = "s"\nauthor = "j"\n"author.name" = "s"\nuser = "s"\nsame = "s"'
    schema.write_text(SCHEMA.format(profile=1).replace("[fields]", listed))
    platform("source", "add", "posts", f"records://{folder}", "--schema", schema)
    rows = [line(n, author={"name": f"Name {n}"}, same=f"text {n}") for n in range(4)]
    (folder / "a.jsonl").write_text("".join(rows))
    take_in(platform, "posts")
    assert preserved(platform)["new"] == 4
    package = platform.root / "x.scelle"
    for closed, opened in (
        ("native_id", "id"),
        ("id", "native_id"),
        ("model", "source.model"),
        ("source.model", "model"),
        ("author", "author.name"),
        ("author.name", "author"),
        ("account", "user"),
        ("user", "account"),
    ):
        said = platform(
            "produce", ORDER, "--source", "posts", "--redact", f"{closed}:x", "--to", package, code=1
        ).err
        assert f"field {closed} is to be redacted, and the same stands open in {opened}" in said
    assert not package.exists()
    platform("produce", ORDER, "--source", "posts", "--redact", "same:x", "--to", package)


def test_a_folder_that_grows_is_read_on_and_a_cut_line_waits(platform: Platform) -> None:
    folder = add_posts(platform)
    path = folder / "a.jsonl"
    path.write_text("".join(line(n) for n in range(10)) + line(10)[:30])
    os.utime(path, (1_700_000_000, 1_700_000_000))
    take_in(platform, "posts")
    report = preserved(platform)
    assert (report["offered"], report["new"]) == (10, 10)
    (waiting,) = report["sources"]["posts"]["waiting_items"]
    assert waiting["native"] == "a.jsonl"
    with path.open("a") as file:
        file.write(line(10)[30:] + line(11))
    (folder / "b.jsonl").write_text(line(12))
    report = preserved(platform)
    assert (report["offered"], report["new"], report["unchanged"]) == (13, 3, 10)
    assert report["sources"]["posts"]["waiting_items"] == []
    places = [json.loads(record["origin"]) for record in verified(platform, "--source", "posts")]
    for place in places:
        data = (folder / place["file"]).read_bytes()
        assert data[place["byte"] :].startswith(b'{"id"')
        assert data[: place["byte"]].count(b"\n") == place["line"] - 1


def test_rows_that_fit_no_schema_fail_with_their_place_and_the_pass_goes_on(platform: Platform) -> None:
    folder = add_posts(platform)
    bad = [
        '{"id":"x","ts":"2026-01-01T00:00:00Z","user":"u1","prompt":5}',
        '{"id":"y","id":"z"}',
        "no json",
        "",
    ]
    (folder / "a.jsonl").write_text(line(0) + "".join(f"{each}\n" for each in bad) + line(1))
    take_in(platform, "posts")
    report = preserved(platform, code=1)
    assert report["new"] == 2
    assert report["failed"] == report["offered"] - 2 >= 3
    causes = {each["cause"]: each for each in report["sources"]["posts"]["failed_items"]}
    assert {"schema-mismatch", "duplicate-key", "not-json"} <= set(causes)
    assert "line 2" in causes["schema-mismatch"]["native"]


def test_clauses_decide_row_by_row(platform: Platform) -> None:
    folder = add_posts(platform)
    (folder / "a.jsonl").write_text("".join(line(n) for n in range(100)))
    (platform.root / "ids.txt").write_text("u1\nu2\n\nu2\n")
    clause = """\
[[clause]]
id = "some"
sources = ["posts"]
from = 2026-01-03
accounts_file = "ids.txt"
[clause.dimensions]
model = ["imagine-2"]
[clause.match]
prompt = "take [0-9]*[13579]$"
"""
    take_in(platform, "posts", clauses=clause)
    expected = [n for n in range(100) if n % 7 in (1, 2) and n % 2 and 1 + n % 28 >= 3]
    seen = platform("preview", ORDER, "--json").json
    assert seen["covered"] == len(expected)
    report = preserved(platform)
    assert report["new"] == len(expected)
    (platform.root / "ids.txt").write_text("u5\n")  # what was sealed with the order decides, not this file
    assert preserved(platform)["unchanged"] == len(expected)
    found = verified(platform, "--source", "posts")
    assert sorted(record["native_id"] for record in found) == sorted(f"p{n}" for n in expected)


def test_a_preview_warns_of_profile_0(platform: Platform) -> None:
    folder = add_posts(platform, profile=0)
    (folder / "a.jsonl").write_text(line(0))
    take_in(platform, "posts")
    seen = platform("preview", ORDER)
    assert "can ever be redacted" in seen.out + seen.err


def test_a_schema_is_inferred_shown_and_exchanged(platform: Platform) -> None:
    folder = platform.root / "posts"
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(line(n) for n in range(20)))
    said = platform("source", "add", "posts", f"records://{folder}")
    assert "has no schema yet" in said.out
    take_in(platform, "posts")
    refused = platform("preserve", ORDER, code=2)
    assert "need a schema" in refused.err
    file = platform.root / "posts.toml"
    document = platform("source", "schema", "posts", "--infer", "--to", file, "--json").json
    assert document["unsure"] > 0
    platform("source", "schema", "posts", "--infer", "--to", file, code=2)
    platform("source", "schema", "posts", "--use", file)
    (member,) = platform("source", "list", "--json").json["sources"][0]["members"]
    assert member["dimensions"] == ["source", "account", "native"]
    assert preserved(platform)["new"] == 20
    file.write_text(file.read_text() + 'later = "s"\n')
    platform("source", "schema", "posts", "--use", file)
    with (folder / "a.jsonl").open("a") as more:
        more.write(line(20, later="x"))
    assert preserved(platform)["new"] == 1
    assert len(verified(platform, "--source", "posts")) == 21


@needs_git
def test_a_repository_is_sealed_and_restored(platform: Platform) -> None:
    work = platform.root / "work"

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=staff-017", "-c", "user.email=staff-017@example.org"]
        done = subprocess.run(
            ["git", "-C", str(work), *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout

    work.mkdir()
    git("init", "-q", "-b", "main")
    for number in range(3):
        (work / "a.txt").write_text(f"draft {number}\n")
        git("add", ".")
        git("commit", "-q", "-m", f"draft {number}")
    git("tag", "-a", "v1", "-m", "first")
    platform("source", "add", "code", f"git://{work}", "--custodian", "staff-017@example.org")
    take_in(platform, "code")
    first = preserved(platform)
    assert first["new"] == first["offered"] > 10
    again = preserved(platform)
    assert again["new"] <= 1, "an unchanged repository gives nothing new but, perhaps, its own description"
    old = git("rev-parse", "HEAD").strip()
    git("reset", "-q", "--hard", "HEAD~1")
    (work / "a.txt").write_text("another draft\n")
    git("commit", "-q", "-am", "another draft")
    assert preserved(platform)["new"] >= 4
    assert platform("verify", "--json").json["findings"] == []
    objects, refs = sealed_repository(platform)
    assert old in {each.oid for each in objects}, "the commit that the branch left is kept"
    to = platform.root / "restored.git"
    restore([*objects, *refs.values()], to)
    subprocess.run(["git", "-C", str(to), "fsck", "--full", "--strict"], check=True, capture_output=True)
    shown = subprocess.run(
        ["git", "-C", str(to), "for-each-ref"], check=True, capture_output=True, text=True
    ).stdout
    assert shown == git("for-each-ref")


def sealed_repository(platform: Platform) -> tuple[list[GitObject], dict[str, RefPosition]]:
    """Read objects and the newest position of each ref from the vault."""
    from scelle.bootstrap import KeyChoice, opened

    objects, refs = dict[str, GitObject](), dict[str, RefPosition]()
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.ledger(ORDER)
        names = {entry.source: ledger.schema(entry.schema) for _, entry in ledger.manifests()}
        for alias in members_of(ledger, "s0001"):
            schema = names[alias]
            for _, manifest in ledger.manifests():
                if manifest.source != alias or not manifest.records:
                    continue
                with closing(ledger.segment(manifest)) as reader:
                    for row in reader.rows():
                        values = row.split_values()[2:]
                        data = b""
                        for value in values:
                            letter, content, _ = decode_value(value)
                            if letter == "h" and isinstance(content, Content):
                                data = session.packs.read_bytes(content.digest)
                        found = restorable(MEMBER_OF.get(schema.digest, ""), values, [data])
                        if isinstance(found, GitObject):
                            objects[found.oid] = found
                        elif isinstance(found, RefPosition):
                            refs[str(found.name)] = found
    return list(objects.values()), refs


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with serve_postgres(request.param) as running:
        yield running


def test_a_database_is_sealed_row_for_row_and_its_changes_later(
    platform: Platform, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    with server.database("app") as database:
        database.execute(
            "CREATE TABLE posts (id bigint PRIMARY KEY, user_id text, body text, created_at timestamptz)"
        )
        database.execute("CREATE TABLE files (id int PRIMARY KEY, owner_id int, data bytea)")
        database.execute("CREATE VIEW recent AS SELECT * FROM posts")
        database.execute(
            "INSERT INTO posts SELECT n, 'u' || n % 5, 'a red boat ' || n, "
            "timestamptz '2026-01-01' + n * interval '1 hour' FROM generate_series(1, 500) n"
        )
        database.execute(
            "INSERT INTO files SELECT n, n, decode('00ff' || lpad(n::text, 4, '0'), 'hex') FROM generate_series(1, 9) n"
        )
        url = f"postgresql://postgres@{server.host}:{server.port}/app"
        options = ("--tables", "public.*", "--credential", "env:DB_PASSWORD", "--max-connections", "3")
        platform("source", "add", "db", url, *options)
        members = {
            each["name"]: each["notes"]
            for each in platform("source", "list", "--json").json["sources"][0]["members"]
        }
        assert any("user_id" in note for note in members["public.posts"])
        take_in(platform, "db")
        report = preserved(platform, code=1)  # the view is refused, with its reason
        assert report["failed_by"] == {"view": 1}
        columns = report["new"] - 509
        assert columns == 7, "member pg_columns has one record for each column"
        database.execute("UPDATE posts SET body = 'a blue boat' WHERE id = 7")
        database.execute("DELETE FROM posts WHERE id = 8")
        database.execute("INSERT INTO posts VALUES (501, 'u1', 'a green boat', now())")
        later = preserved(platform, code=1)
        assert (later["new"], later["unchanged"]) == (2, 498 + 9 + columns)
        assert later["vanished"] == 1
        assert preserved(platform, code=1)["vanished"] == 0
        found = verified(platform, "--account", "u2")
        assert len(found) == 101, "100 rows, and the first state of the one that was changed"
        assert PASSWORD.encode() not in b"".join(
            path.read_bytes() for path in platform.vault.rglob("*") if path.is_file()
        )
        schema = platform.root / "posts-table.toml"
        schema.write_text('[schema]\nname = "public.posts"\naccount = "body"\n')
        platform(
            "source", "add", "chosen", url, "--tables", "public.posts", "--schema", schema,
            "--credential", "env:DB_PASSWORD",
        )  # fmt: skip
        chosen = next(
            each for each in platform("source", "list", "--json").json["sources"] if each["name"] == "chosen"
        )
        assert "body" in " ".join(chosen["members"][0]["notes"])
        grants = platform("source", "add", "other", url, "--tables", "public.posts", "--print-grants").out
        assert "GRANT" in grants
        assert "other" not in [each["name"] for each in platform("source", "list", "--json").json["sources"]]


def window_from_now(first_hour: int, last_hour: int) -> str:
    now = datetime.now(UTC)
    return "-".join((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (first_hour, last_hour))


def test_outside_its_window_a_database_is_not_read(
    platform: Platform, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    with server.database("app") as database:
        database.execute("CREATE TABLE posts (id int PRIMARY KEY); INSERT INTO posts VALUES (1), (2)")
        url = f"postgresql://postgres@{server.host}:{server.port}/app"
        shut, opened_now = window_from_now(2, 3), window_from_now(-1, 1)
        for name, window in (("shut", shut), ("opened", opened_now)):
            platform("source", "add", name, url, "--credential", "env:DB_PASSWORD", "--window", window)
        take_in(platform, "shut")
        said = platform("preserve", ORDER, code=4).err.splitlines()[-1]
        assert f"outside its window {shut} (UTC): run again when it opens, 20" in said
        assert said.endswith("[sources.closed]")
        assert "sources." not in said.removesuffix("[sources.closed]")
        assert "try again" not in said
        assert shut in platform("preview", ORDER, code=4).err
        tried = platform("source", "test", "shut").out
        assert f"nothing was read outside its window {shut} (UTC), which opens 20" in tried
        assert "2 records" not in tried
        assert "nothing was read" not in platform("source", "test", "opened").out


def test_wrong_options_of_a_database_are_refused(platform: Platform) -> None:
    url = "postgresql://postgres@127.0.0.1:1/app"
    refused = platform("source", "add", "db", url, "--window", "25:00-26:00", code=2)
    assert "window" in refused.err
    platform("source", "add", "db", url, "--credential", "hunter2", code=2)
    platform("source", "add", "docs", f"files://{platform.docs}", "--tables", "public.*", code=2)
    platform("source", "add", "db", url, code=4)
