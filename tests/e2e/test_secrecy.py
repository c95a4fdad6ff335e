"""A second, secret order: an engineer, an outsider and the first authority search for it, and find nothing.

The same commands are run in two vaults that differ in nothing but the secret order; whatever people outside its wall
get to see must be the same bytes, but for ids, keys and times that differ between any two vaults.
"""

import re
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from difflib import ndiff
from pathlib import Path

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.acting import ActingAs
from scelle.reports.service import REPORTS
from tests.e2e.conftest import ORDER, Platform

SECRET = "fr-2026-secret-17"
MATTER = "the-other-affair"
AUTHORITY = "An Invented Prosecutor"
ACCOUNT = "kunde-4711"
_VARIES = re.compile(
    r"age1[a-z0-9]{58}|\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"
    r"|\d{4}-\d\d-\d\dT[0-9:.]+Z?|[0-9a-f]{8,}|i[a-z2-7]{26}|\d+\.\d+ s|seconds.: [0-9.]+|\d+ B\b|\d+\.\d KiB"
)


def masked(text: str, root: Path) -> str:
    return _VARIES.sub("~", text.replace(str(root), "ROOT"))


def build(platform: Platform, *, with_secret: bool) -> None:
    """Make the open order and its people; beside it, or not, the secret one over the same documents."""
    platform("settings", "set", "cooling-off", "0s")
    platform("order", "add", platform.order_file())
    if with_secret:
        terms = {
            "id": f'"{SECRET}"',
            "matter": f'"{MATTER}"',
            "type": '"fr-60-2"',
            "authority": f'"{AUTHORITY}"',
            "notify": '"forbidden"',
            "until": "2026-12-15",
        }
        platform("order", "add", platform.order_file("secret.toml", **terms))
    for name, role in (
        ("alice", "counsel"), ("bob", "counsel"), ("carol", "counsel"), ("eve", "engineer"), ("rob", "reviewer"),
        ("ada", "auditor"), ("paula", "privacy"),
    ):  # fmt: skip
        platform("operator", "add", name, "--role", role)
    if with_secret:
        platform("--as", "alice", "order", "wall", SECRET, "--only", "alice", "--only", "bob")
        platform("--as", "alice", "preserve", SECRET)
        platform("--as", "alice", "note", "add", f"why {SECRET} is there", "--about", SECRET)
        platform("--as", "alice", "order", "extend", SECRET, "--until", "2027-06-30")
        item = item_of(platform, SECRET)
        platform("--as", "alice", "quarantine", item, "--ground", "private", "--order", SECRET)
    platform("--as", "eve", "preserve", ORDER)


def item_of(platform: Platform, order: str) -> str:
    """Return the id of the first document under an order, as counsel inside the wall finds it."""
    found = platform("--as", "alice", "find", order, 'native_id = "a.txt"', "--json").json["items"]
    return str(found[0]["id"])


ITEM, REF = "ITEM", "REF"
"""Stand for the id of the document a.txt under the open order, and for its ref: each vault has its own."""
COMMANDS: list[tuple[str, ...]] = [
    ("order", "list"),
    ("order", "list", "--json"),
    ("order", "deadlines"),
    ("order", "deadlines", "--json"),
    ("order", "show", SECRET),
    ("status",),
    ("status", "--json"),
    ("status", SECRET),
    ("request", "list", "--json"),
    ("verify",),
    ("verify", "--json"),
    ("preserve", SECRET),
    ("preview", SECRET),
    ("find", SECRET, 'source = "docs"'),
    ("produce", SECRET, "--source", "docs", "--to", "x.scelle"),
    ("may-delete", "docs", "a.txt", "none.txt"),
    ("may-delete", "docs", "a.txt", "--json"),
    ("source", "list", "--json"),
    ("source", "remove", "docs"),
    ("operator", "list"),
    ("settings", "show"),
    ("preserve", ORDER, "--json"),
    ("preview", ORDER, "--json"),
    ("order", "show", ORDER, "--json"),
    ("find", ORDER, 'source = "docs"', "--json"),
    ("why", ITEM),
    ("why", ITEM, "--json"),
    ("why", REF, "--json"),
    ("why", "a.txt", "--source", "docs", "--json"),
    ("why", "none.txt", "--source", "docs", "--json"),
    ("report", "order-status", SECRET, "--json"),
    ("report", "order-status", ORDER, "--json"),
    ("erasure", "list", "--json"),
    ("quarantine", ITEM, "--ground", "private", "--json"),
    ("quarantine", "--list", SECRET),
    ("order", "lapses"),
    ("order", "lapses", "--json"),
    ("request", "run", "--json"),
    ("dispose", "--json"),
    ("dispose", SECRET),
    ("restricted", "status"),
    ("restricted", "status", "--json"),
    ("operator", "log"),
    ("operator", "log", "--json"),
]
ROLE_COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "carol": [
        *(("report", name, ORDER, "--json") for name in REPORTS if name not in ("custody", "disposal")),
        ("report", "custody", ORDER, "--item", ITEM, "--json"),
        ("report", "custody", SECRET, "--item", ITEM, "--json"),
        ("quarantine", ITEM, "--ground", "private", "--json"),
        ("quarantine", ITEM, "--ground", "private", "--order", SECRET, "--json"),
        ("quarantine", ITEM, "--lift", "--json"),
        ("quarantine", "--list", ORDER, "--json"),
        ("request", "list"),
        ("request", "run"),
        ("order", "lapses", "--json"),
        ("order", "deadlines", "--json"),
        ("order", "lift", ORDER, "--json"),
        ("order", "release", ORDER, "--dry-run", "--json"),
        ("order", "release", ORDER, "--json"),
        ("order", "release", SECRET, "--dry-run"),
        ("dispose", "--json"),
        ("dispose", SECRET),
        ("dispose", ORDER),
        ("note", "list"),
        ("note", "list", "--json"),
        ("operator", "log", "--json"),
        ("status", "--json"),
        ("status", ORDER, "--items", "failed", "--json"),
        ("why", ITEM, "--json"),
    ],
    "ada": [
        *(("report", name, ORDER, "--json") for name in REPORTS if name not in ("custody", "disposal")),
        ("report", "custody", ORDER, "--item", ITEM, "--json"),
        ("report", "gaps", SECRET, "--json"),
        ("order", "lapses", "--json"),
        ("operator", "log"),
        ("operator", "log", "--json"),
        ("restricted", "status", "--json"),
        ("why", ITEM, "--json"),
    ],
    "paula": [
        ("erasure", "request", "--account", ACCOUNT, "--reference", "DSR-1", "--json"),
        ("erasure", "request", "--account", "somebody-else", "--reference", "DSR-2"),
        ("erasure", "list"),
        ("erasure", "list", "--json"),
        ("erasure", "show", "DSR-1", "--json"),
        ("erasure", "extend", "DSR-1", "--reason", "complexity", "--json"),
        ("erasure", "letter", "DSR-1", "--lang", "en", "--to", "letter-en.txt"),
        ("erasure", "letter", "DSR-1", "--lang", "fr", "--to", "letter-fr.txt", "--json"),
        ("erasure", "certificate", "DSR-1", "--to", "certificate.json"),
        ("report", "erasures", ORDER, "--json"),
        ("order", "lapses", "--json"),
        ("operator", "log", "--json"),
    ],
}
"""What is for those alone who have a role; each runs all of it in turn."""


@pytest.fixture
def twins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Platform]:
    """Make a vault with the secret order, and one without; give the one that is asked for."""

    def of(name: str) -> Platform:
        root = tmp_path / name
        monkeypatch.setenv("SCELLE_KEY_FILE", str(root / "keys"))
        monkeypatch.setenv("SCELLE_VAULT", str(root / "vault"))
        monkeypatch.chdir(root)
        return Platform(root, capsys)

    for name in ("secret", "plain"):
        (tmp_path / name / "keys").mkdir(parents=True)
        platform = of(name)
        platform.document("a.txt", b"a red boat\n")
        platform.document("sub/b.txt", b"a harbour\n")
        platform("init", platform.vault, "--host", "platform.example", "--json")
        platform("source", "add", "docs", f"files://{platform.docs}", "--account", ACCOUNT)
        build(platform, with_secret=name == "secret")
    return of


def said(platform: Platform, who: str, command: tuple[str, ...]) -> tuple[int, str, str]:
    from scelle.cli.main import run

    platform.capsys.readouterr()
    code = run([*(("--as", who) if who else ()), *command])
    captured = platform.capsys.readouterr()
    return code, masked(captured.out, platform.root), masked(captured.err, platform.root)


def difference(one: tuple[int, str, str], other: tuple[int, str, str]) -> list[str]:
    """Return the lines in which two answers differ, for people."""
    before, after = (f"exit {code}\n{out}{err}".splitlines() for code, out, err in (one, other))
    return [line for line in ndiff(before, after) if not line.startswith("  ")]


def compare(twins: Callable[[str], Platform], who: str, commands: list[tuple[str, ...]]) -> dict[int, int]:
    """Run commands in both vaults, and say how often which exit code came; fails where anything else differs."""
    known = {}
    for name in ("secret", "plain"):
        item = item_of(twins(name), ORDER)
        known[name] = {ITEM: item, REF: twins(name)("--as", "alice", "why", item, "--json").json["ref"]}
    codes: dict[int, int] = {}
    for command in commands:
        with_secret, without = (
            said(twins(name), who, tuple(known[name].get(each, each) for each in command)) for name in known
        )
        assert with_secret == without, (who, command, difference(with_secret, without))
        assert with_secret[0] in (0, 2, 3), (who, command, with_secret)
        codes[with_secret[0]] = codes.get(with_secret[0], 0) + 1
        for text in with_secret[1:]:
            assert MATTER not in text, (who, command)
            typed = SECRET in command or command[:2] == (
                "operator",
                "log",
            )  # refusals repeat what somebody typed
            assert SECRET not in text or typed, (who, command)
    return codes


@pytest.mark.parametrize("who", ["", "eve", "rob"])
def test_nobody_outside_the_wall_sees_a_difference(who: str, twins: Callable[[str], Platform]) -> None:
    compare(twins, who, COMMANDS)


@pytest.mark.parametrize("who", list(ROLE_COMMANDS))
def test_no_role_outside_the_wall_sees_a_difference(who: str, twins: Callable[[str], Platform]) -> None:
    codes = compare(twins, who, ROLE_COMMANDS[who])
    assert codes[0] > len(ROLE_COMMANDS[who]) / 2, "most of it is answered, and not refused"


DRY_RUNS: list[tuple[str, ...]] = [
    ("order", "extend", ORDER, "--until", "2027-03-31", "--dry-run", "--json"),
    ("order", "add-clause", ORDER, "--file", "more.toml", "--dry-run", "--json"),
    ("order", "carve-out", ORDER, "--file", "less.toml", "--dry-run", "--json"),
]


def calls_of(platform: Platform, who: str, command: tuple[str, ...]) -> tuple[int, tuple[int, str, str]]:
    """How many functions a command calls, which is what its time is made of, and what it says."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        answer = said(platform, who, command)
    finally:
        sys.setprofile(before)
    return calls, answer


def test_a_dry_run_takes_no_longer_for_what_a_secret_order_has(twins: Callable[[str], Platform]) -> None:
    """Clocks are noise; what is counted is the work. It grows with the vault's log, not with what others sealed."""
    names = ("secret", "plain")
    for name in names:
        root = twins(name).root
        (root / "more.toml").write_text('[[clause]]\nid = "more"\nsources = ["docs"]\npaths = ["sub/*"]\n')
        (root / "less.toml").write_text('[[clause]]\nid = "less"\nsources = ["docs"]\npaths = ["sub/*"]\n')
        for number in range(200):
            twins(name).document(f"later/{number}.txt", b"a lighthouse, take %d\n" % number)
        twins(name)("--as", "eve", "preserve", ORDER)
    for run in DRY_RUNS:
        for name in names:
            calls_of(twins(name), "carol", run)  # what is imported, and asked of the system, once
    first = {(name, run): calls_of(twins(name), "carol", run) for run in DRY_RUNS for name in names}
    platform = twins("secret")
    assert platform("--as", "alice", "preserve", SECRET, "--json").json["new"] == 200
    for run in DRY_RUNS:
        before, answer = first["secret", run]
        after, answer_then = calls_of(twins("secret"), "carol", run)
        without, answer_without = first["plain", run]
        assert answer == answer_then == answer_without, run
        assert answer[0] == 0, answer
        assert abs(after - before) < before / 50, (run, before, after)
        assert abs(after - without) < without / 5, (run, without, after)  # events of the vault's log


def test_who_is_inside_sees_both(twins: Callable[[str], Platform]) -> None:
    platform = twins("secret")
    listed = platform("--as", "bob", "order", "list", "--json").json["orders"]
    assert {each["id"] for each in listed} == {ORDER, SECRET}
    item = platform("--as", "bob", "find", ORDER, 'source = "docs"', "--json").json["items"][0]["id"]
    held = platform("--as", "bob", "why", item, "--json").json
    assert {each["order"] for each in held["orders"]} == {ORDER, SECRET}
    assert held["earliest_release"].startswith("2027-06-30")
    outside = platform("--as", "rob", "why", item, "--json").json
    assert {each["order"] for each in outside["orders"]} == {ORDER}
    assert outside["earliest_release"].startswith("2026-12-31")


def test_the_first_authority_finds_nothing_in_its_package(twins: Callable[[str], Platform]) -> None:
    members = {}
    for name in ("secret", "plain"):
        platform = twins(name)
        package = platform.root / "p.scelle"
        platform("--as", "alice", "produce", ORDER, "--source", "docs", "--to", package)
        with zipfile.ZipFile(package) as found:
            members[name] = {each.filename: each.file_size for each in found.infolist()}
            for each in found.namelist():
                assert SECRET.encode() not in found.read(each), each
                assert MATTER.encode() not in found.read(each), each
    assert set(members["secret"]) == set(members["plain"])


def found_in(root: Path, *words: str) -> dict[str, set[str]]:
    """Search names and bytes of everything below a folder, as text and as hex; return the words by path."""
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        data = path.read_bytes() if path.is_file() else b""
        for word in words:
            if word in name or any(each in data for each in (word.encode(), word.encode().hex().encode())):
                found.setdefault(name, set()).add(word)
    return found


def is_its_own(name: str) -> bool:
    """Tell whether something is the secret order's own folder, which bears its id, or lies in it."""
    return name == f"vault/po/{SECRET}" or name.startswith(f"vault/po/{SECRET}/")


def test_no_file_and_no_name_outside_its_own_folder_tells_of_the_secret_order(
    twins: Callable[[str], Platform],
) -> None:
    """Catalog, its write-ahead log, spools, packs, keys, other logs, packages: while a session is at work on it."""
    platform = twins("secret")
    words, root = (SECRET, MATTER, AUTHORITY), platform.root
    keys = KeyChoice(key_file=root / "keys")
    with opened(platform.vault, keys, writing=False, acting_as=ActingAs("bob")) as session:
        session.catalog.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        platform.document("later.txt", b"a lighthouse\n")
        assert platform("--as", "alice", "preserve", SECRET, "--json").json["new"] == 1
        platform("--as", "alice", "preserve", ORDER)
        platform("--as", "alice", "erasure", "request", "--account", ACCOUNT, "--reference", "DSR-1")
        platform("--as", "alice", "produce", ORDER, "--source", "docs", "--to", root / "p.scelle")
        platform("--as", "alice", "report", "order-status", ORDER, "--to", root / "r.json")
        platform("--as", "bob", "find", SECRET, 'source = "docs"')
        platform("--as", "bob", "status", SECRET, "--items", "failed")
        platform("--as", "ada", "find", SECRET, 'source = "docs"', code=2)
        platform("may-delete", "docs", "a.txt", code=3)
        there = {
            str(path.relative_to(platform.vault)) for path in platform.vault.rglob("*") if path.is_file()
        }
        found = found_in(root, *words)
    kinds = (
        "catalog.db",
        "catalog.db-wal",
        "catalog.db-shm",
        "spool/reads/",
        "spool/refused/",
        "spool/refusals/",
    )
    for kind in (*kinds, "packs/", "po/vault/"):
        assert any(name.startswith(kind) for name in there), f"nothing of {kind} was searched"
    telling = {name: told for name, told in found.items() if not is_its_own(name)}
    signed = {name for name in telling if name.endswith(".signed")}
    assert {name: telling[name] for name in signed} == {f"keys/{Path(*signed).name}": {SECRET}}, (
        "docs/operators.md"
    )
    assert telling.pop("secret.toml") == set(words), "the search finds what is there"
    assert set(telling) == signed


def test_the_search_for_a_secret_order_finds_names_rows_and_what_is_not_yet_in_a_database(
    tmp_path: Path,
) -> None:
    """The control: what the search above would see if it were there."""
    (tmp_path / "packs" / f"{SECRET}.pack").mkdir(parents=True)
    (tmp_path / "reads").write_bytes(b"\0" + MATTER.encode() + b"\xff")
    (tmp_path / "hex").write_bytes(AUTHORITY.encode().hex().encode())
    (tmp_path / "other").write_bytes(b"another order")
    database = sqlite3.connect(tmp_path / "catalog.db")
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (?)", (SECRET,))
    database.commit()
    found = found_in(tmp_path, SECRET, MATTER, AUTHORITY)
    database.close()
    assert found == {
        "packs/" + SECRET + ".pack": {SECRET},
        "reads": {MATTER},
        "hex": {AUTHORITY},
        "catalog.db-wal": {SECRET},
    }
    assert found_in(tmp_path, SECRET).keys() == {"packs/" + SECRET + ".pack", "catalog.db"}
