"""A second, secret order: an engineer, an outsider and the first authority search for it, and find nothing.

The same commands are run in two vaults that differ in nothing but the secret order; whatever people outside its wall
get to see must be the same bytes, but for ids, keys and times that differ between any two vaults.
"""

import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import ORDER, Platform

SECRET = "fr-2026-secret-17"
MATTER = "the-other-affair"
_VARIES = re.compile(
    r"\d{4}-\d\d-\d\dT[0-9:.]+Z?|[0-9a-f]{8,}|i[a-z2-7]{26}|\d+\.\d+ s|seconds.: [0-9.]+|\d+ B\b|\d+\.\d KiB"
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
            "authority": '"An Invented Prosecutor"',
            "notify": '"forbidden"',
            "until": "2026-12-15",
        }
        platform("order", "add", platform.order_file("secret.toml", **terms))
    for name, role in (
        ("alice", "counsel"), ("bob", "counsel"), ("carol", "counsel"), ("eve", "engineer"), ("rob", "reviewer"),
    ):  # fmt: skip
        platform("operator", "add", name, "--role", role)
    if with_secret:
        platform("--as", "alice", "order", "wall", SECRET, "--only", "alice", "--only", "bob")
        platform("--as", "alice", "preserve", SECRET)
        platform("--as", "alice", "order", "extend", SECRET, "--until", "2027-06-30")
    platform("--as", "eve", "preserve", ORDER)


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
]


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
        platform("source", "add", "docs", f"files://{platform.docs}")
        build(platform, with_secret=name == "secret")
    return of


def said(platform: Platform, who: str, command: tuple[str, ...]) -> tuple[int, str, str]:
    from scelle.cli.main import run

    platform.capsys.readouterr()
    code = run([*(("--as", who) if who else ()), *command])
    captured = platform.capsys.readouterr()
    return code, masked(captured.out, platform.root), masked(captured.err, platform.root)


@pytest.mark.parametrize("who", ["", "eve", "rob"])
def test_nobody_outside_the_wall_sees_a_difference(who: str, twins: Callable[[str], Platform]) -> None:
    for command in COMMANDS:
        with_secret = said(twins("secret"), who, command)
        without = said(twins("plain"), who, command)
        assert with_secret == without, (who, command)
        for text in with_secret[1:]:
            assert MATTER not in text, (who, command)
            assert SECRET not in text or SECRET in command, (who, command)


DRY_RUNS: list[tuple[str, ...]] = [
    ("order", "extend", ORDER, "--until", "2027-03-31", "--dry-run", "--json"),
    ("order", "add-clause", ORDER, "--file", "more.toml", "--dry-run", "--json"),
    ("order", "carve-out", ORDER, "--file", "less.toml", "--dry-run", "--json"),
    ("preview", ORDER, "--json"),
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
        assert abs(after - without) < without / 10, (run, without, after)


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


def test_paths_and_names_outside_the_vault_tell_nothing(twins: Callable[[str], Platform]) -> None:
    platform = twins("secret")
    names = [str(path.relative_to(platform.root)) for path in platform.root.rglob("*")]
    assert not [
        name for name in names if SECRET in name and not name.startswith(("vault/po/", "secret.toml"))
    ]
    plain = platform.vault / "catalog.db"
    copy = platform.root / "copy.db"
    shutil.copy(plain, copy)
    assert MATTER.encode() not in copy.read_bytes()
