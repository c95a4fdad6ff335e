"""Restricted material through the command line: put in, proven kept, opened by two people, and nowhere to be found."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import time_ns
from zipfile import ZipFile

import pyrage
import pytest

from scelle.ledger.frames import FrameReader
from scelle.ledger.segments import alias_of
from scelle.vault.catalog import CATALOG_NAME, Catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.keys import VaultKey, parse_key_file
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend

from .conftest import ORDER, Answer, Platform

NAME = "telling-name-of-it.png"
SECRET = b"\x89PNG\r\n\x1a\n" + b"what two people open together, and nobody alone. " * 40
OLD = 1_760_000_000
CLAUSES = [
    '[[clause]]\nid = "all"\nsources = ["docs"]\npaths = ["**/*"]\n',
    '[[clause]]\nid = "shut"\nsources = ["docs"]\npaths = ["**/*.png"]\nrestricted = true\n',
]
HOUR_S = 3600


class Clock:
    """Move the clock of all commands; nothing sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ns = 0
        monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: time_ns() + self.ahead_ns)

    def move(self, seconds: int) -> None:
        self.ahead_ns += seconds * 1_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def shut(platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform with a restricted picture, and an order over it that has no compartment yet."""
    temporary = platform.root / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    os.utime(platform.document(NAME, SECRET), (OLD, OLD))
    platform.clauses = CLAUSES
    platform("order", "add", platform.order_file())
    return platform


def holders(platform: Platform) -> dict[str, pyrage.x25519.Identity]:
    """Make the compartment in solo mode, two of three."""
    people = {name: pyrage.x25519.Identity.generate() for name in ("remy", "rita", "rosa")}
    for name, identity in people.items():
        (platform.root / f"{name}.txt").write_text(f"# key of {name}\n{identity}\n")
    options = [
        part for name, each in people.items() for part in ("--recipient", f"{name}={each.to_public()}")
    ]
    platform("restricted", "init", "--threshold", "2", *options)
    return people


def item_of(platform: Platform, *acting: str) -> str:
    """The id of the one restricted item."""
    found = platform(*acting, "find", ORDER, 'native_id starts with "restricted:"', "--json").json
    (item,) = found["items"]
    return str(item["id"])


# --- putting in ------------------------------------------------------------------------------------------


def test_without_a_compartment_preview_warns_and_preserve_refuses(shut: Platform) -> None:
    assert "the vault has no compartment" in shut("preview", ORDER).err
    answer = shut("preserve", ORDER, code=2)
    assert "scelle restricted init" in answer.err
    assert answer.err.count("\n") <= 2
    assert shut("restricted", "status", "--json").json == {"compartment": None}
    holders(shut)
    assert "no compartment" not in shut("preview", ORDER).err
    counts = shut("preserve", ORDER, "--json").json
    assert (counts["sealed"], counts["restricted"]) == (3, 1)


def test_a_compartment_is_made_once_and_with_people_who_can_hold_it(shut: Platform) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    for options, words in (
        (("--threshold", "2", "--recipient", f"a={key}"), "2 of 1 shares"),
        (("--threshold", "2", "--recipient", f"a={key}", "--recipient", f"b={key}"), "one recipient"),
        (("--threshold", "2", "--recipient", f"a={key}", "--recipient", "b=ssh-rsa"), "age public key"),
        (("--threshold", "2", "--recipient", key), "NAME=AGE"),
        (("--threshold", "2", "--reviewers", "rita"), "no operator"),
        (("--threshold", "1", "--recipient", f"a={key}"), "threshold"),
    ):
        assert words in shut("restricted", "init", *options, code=2).err
    holders(shut)
    assert "already" in shut("restricted", "init", "--threshold", "2", "--recipient", f"a={key}", code=2).err
    seen = shut("restricted", "status", "--json").json["compartment"]
    assert (seen["threshold"], [each["name"] for each in seen["holders"]]) == (2, ["remy", "rita", "rosa"])


def test_verify_counts_what_it_did_not_open_and_misses_a_ciphertext(shut: Platform) -> None:
    holders(shut)
    shut("preserve", ORDER)
    report = shut("verify", "--json").json
    assert report["valid"]
    (remark,) = [each for each in report["remarks"] if each["code"] == "content.restricted"]
    assert "kept in the compartment, not opened: 1" in remark["detail"]
    shut("rebuild-catalog")
    assert shut("verify", "--json").json["valid"]
    counts = shut("preserve", ORDER, "--json").json
    assert (counts["unchanged"], counts["restricted"]) == (3, 1)
    for path in (shut.vault / "packs").rglob("*.pack"):
        path.unlink()
    broken = shut("verify", "--json", code=1).json
    assert "content.missing" in {each["code"] for each in broken["findings"]}


def test_a_production_withholds_it_and_its_sums_close(shut: Platform) -> None:
    holders(shut)
    shut("preserve", ORDER)
    trust, package = shut.root / "trust.json", shut.root / "a.scelle"
    shut("order", "trust", ORDER, "--to", trust)
    report = shut("produce", ORDER, "--source", "docs", "--to", package, "--json").json
    assert (report["hits"], report["produced"], report["contents"]) == (3, 3, 2)
    assert report["fields_redacted"] == 2
    with ZipFile(package) as file:
        lines = [json.loads(line) for line in file.read("withheld.jsonl").splitlines()]
        assert sorted((line["field"], line["code"]) for line in lines) == [
            ("chunks", "restricted"),
            ("content", "restricted"),
        ]
        assert NAME.encode() not in b"".join(file.read(name) for name in file.namelist())
    code, verdict = verified(package, trust)
    assert code == 0, verdict
    assert "redacted" in verdict


@pytest.mark.parametrize(
    "options", [("--from", "2020-01-01"), ("--redact", "content=privacy"), ("--redact", "meta=privacy")]
)
def test_other_questions_are_answered_too(shut: Platform, options: tuple[str, ...]) -> None:
    holders(shut)
    shut("preserve", ORDER)
    trust, package = shut.root / "trust.json", shut.root / "a.scelle"
    shut("order", "trust", ORDER, "--to", trust)
    shut("produce", ORDER, "--source", "docs", *options, "--to", package)
    code, verdict = verified(package, trust)
    assert code == 0, verdict


def verified(package: Path, trust: Path) -> tuple[int, str]:
    """What the authority's verifier says, the one in the package."""
    with ZipFile(package) as file:
        (package.parent / "scelle_verify.py").write_bytes(file.read("scelle_verify.py"))
    command = [
        sys.executable,
        "-I",
        str(package.parent / "scelle_verify.py"),
        str(package),
        "--trust",
        str(trust),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def test_disclose_shows_its_closed_fields_as_such(shut: Platform) -> None:
    holders(shut)
    shut("preserve", ORDER)
    proof = shut.root / "one.proof"
    shut("disclose", ORDER, item_of(shut), "--to", proof)
    assert NAME.encode() not in proof.read_bytes()


def test_find_tells_id_source_and_time_and_no_name(shut: Platform) -> None:
    holders(shut)
    shut("preserve", ORDER)
    everything = shut("find", ORDER, 'source = "docs"', "--json")
    assert len(everything.json["items"]) == 3
    assert NAME not in everything.out
    digest = hashlib.sha256(SECRET).hexdigest()
    for query in (f'native_id = "{NAME}"', f'content = "{digest}"', f"content.size = {len(SECRET)}"):
        assert shut("find", ORDER, query, "--json").json["items"] == []


def test_a_second_order_with_an_open_clause_has_a_copy_of_its_own(shut: Platform) -> None:
    holders(shut)
    shut("preserve", ORDER)
    shut.clauses = CLAUSES[:1]
    shut("order", "add", shut.order_file("second.toml", id='"other"', matter='"m2"', reference='"P2"'))
    shut("preserve", "other")
    found = shut("find", "other", f'native_id = "{NAME}"', "--json").json["items"]
    assert len(found) == 1
    assert shut("find", ORDER, f'native_id = "{NAME}"', "--json").json["items"] == []
    assert shut("verify", "--json").json["valid"]


# --- nowhere else ----------------------------------------------------------------------------------------


def vault_key(platform: Platform) -> VaultKey:
    (path,) = [each for each in (platform.root / "keys").glob("*.key") if ".operator." not in each.name]
    return parse_key_file(path.read_bytes(), str(path))


def peeled(platform: Platform, key: VaultKey) -> Iterator[bytes]:
    """Everything in the vault that its key opens: contents of packs, frames of rows and index, open segments too."""
    with closing(Catalog(platform.vault / CATALOG_NAME, _readonly(platform))) as catalog:
        index = CatalogContentIndex(catalog, key)
        with closing(PackStore(PosixBackend(platform.vault), key, index, background=False)) as packs:
            for pack_id in packs.pack_ids():
                for found in packs.scan(pack_id):
                    if hasattr(found, "digest"):
                        yield packs.read_bytes(found.digest)
    for folder in sorted((platform.vault / "po").glob("*/seg/*/*")):
        origin = f"platform.example/po/{folder.parts[-4]}"
        number = folder.name.removesuffix(".open")
        for kind in ("rows", "index"):
            if (folder / kind).exists():
                context = f"scelle/{kind}/v1\n{origin}\n{alias_of(folder.parent.name)}\n{number}\n".encode()
                yield from frames(folder, kind, key, context)


def frames(folder: Path, kind: str, key: VaultKey, context: bytes) -> Iterator[bytes]:
    first = 0
    if kind == "index":  # keys of the index stand behind those of the rows
        of_rows = context.replace(b"/index/", b"/rows/")
        with closing(FrameReader(folder / "rows", folder / "keys", key, of_rows)) as rows:
            first = len(rows.places())
    with closing(FrameReader(folder / kind, folder / "keys", key, context, first)) as reader:
        for place in reader.places():
            yield reader.read(place)


def _readonly(platform: Platform) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{platform.vault / CATALOG_NAME}?mode=ro", uri=True)


def pieces_of(data: bytes, name: str) -> list[bytes]:
    digest = hashlib.sha256(data)
    found = [digest.digest(), digest.hexdigest().encode(), digest.hexdigest().upper().encode(), name.encode()]
    return [*found, data[:64], data[-64:], data[500:532], data[8:40]]


def test_not_a_byte_of_it_is_anywhere_that_scelle_writes(shut: Platform) -> None:
    """Vault, catalog, write-ahead log, keys, temporary files, packages, proofs and what commands say; and peeled."""
    said: list[Answer] = []

    def do(*arguments: str | Path, code: int = 0) -> Answer:
        said.append(shut(*arguments, code=code))
        return said[-1]

    holders(shut)
    do("preview", ORDER, "--json")
    do("preserve", ORDER, "--json")
    (shut.docs / NAME).write_bytes(SECRET + b"another version, written just now")
    do("preserve", ORDER)
    (shut.docs / NAME).unlink()
    do("preserve", ORDER)
    do("status", "--json")
    do("find", ORDER, 'source = "docs"')
    do("verify", "--json")
    do("rebuild-catalog")
    do("preview", ORDER)
    do("produce", ORDER, "--source", "docs", "--to", shut.root / "a.scelle", "--json")
    do("order", "show", ORDER, "--json")
    item = shut("find", ORDER, 'native_id starts with "restricted:"', "--json").json["items"][0]["id"]
    do("disclose", ORDER, item, "--to", shut.root / "one.proof")
    do("why", item)
    needles = [*pieces_of(SECRET, NAME), b"another version, written just now"]
    places = [
        shut.vault,
        shut.root / "keys",
        shut.root / "temporary",
        shut.root / "a.scelle",
        shut.root / "one.proof",
    ]
    files = [
        each
        for place in places
        for each in ([place] if place.is_file() else place.rglob("*"))
        if each.is_file()
    ]
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        assert not [needle for needle in needles if needle in data], path
    key = vault_key(shut)
    plain = list(peeled(shut, key))
    assert any(b"a red boat" in each for each in plain), "what is open was peeled"
    assert any(b"restricted:r" in each for each in plain), "rows were peeled"
    assert any(each.startswith(b"age-encryption.org/v1") for each in plain), "the ciphertext was peeled"
    for each in plain:
        assert not [needle for needle in needles if needle in each]
    for answer in said:
        assert NAME not in answer.out + answer.err
        assert hashlib.sha256(SECRET).hexdigest() not in answer.out + answer.err


def test_the_search_finds_what_is_not_restricted(shut: Platform) -> None:
    """The same search, over an open document: it would see one."""
    shut.clauses = CLAUSES[:1]
    shut("order", "add", shut.order_file("open.toml", id='"open"', matter='"m3"', reference='"P3"'))
    shut("preserve", "open")
    plain = list(peeled(shut, vault_key(shut)))
    needles = pieces_of(SECRET, NAME)
    for needle in (needles[0], needles[3], needles[4]):
        assert any(needle in each for each in plain)


# --- opening ---------------------------------------------------------------------------------------------


def granted(platform: Platform, clock: Clock, act: str, item: str, *options: str) -> str:
    """Ask, wait, and confirm again: solo mode."""
    asked = ("restricted", act, item, "--purpose", "court-order", "--case", "2026-17", *options, "--json")
    request = str(platform(*asked).json["request"])
    clock.move(25 * HOUR_S)
    platform("request", "approve", request)
    return request


def test_two_shares_open_one_item_for_a_quarter_of_an_hour(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    item, root = item_of(shut), shut.root
    request = granted(shut, clock, "open", item, "--reader", str(people["rita"].to_public()))
    shut("restricted", "share", request, "--identity", root / "remy.txt", "--to", root / "remy.share")
    read = ("restricted", "read", item, "--grant", request, "--identity", root / "rita.txt")
    assert "2 are needed" in shut(*read, "--to", root / "out", code=2).err
    done = shut(*read, "--share", root / "remy.share", "--to", root / "out", "--json").json
    assert (root / "out").read_bytes() == SECRET
    assert ((root / "out").stat().st_mode & 0o777, done["size"]) == (0o600, len(SECRET))
    assert "stays as it is" in shut(*read, "--share", root / "remy.share", "--to", root / "out", code=2).err
    inside = shut(*read, "--share", root / "remy.share", "--to", shut.vault / "out", code=2)
    assert "lies inside the vault" in inside.err
    other = ("restricted", "read", item, "--grant", request, "--identity", root / "rosa.txt")
    assert "another reader" in shut(*other, "--share", root / "remy.share", "--to", root / "b", code=2).err
    clock.move(16 * 60)
    late = shut(*read, "--share", root / "remy.share", "--to", root / "late", code=2)
    assert "ended" in late.err
    assert (
        "ended"
        in shut(
            "restricted", "share", request, "--identity", root / "rosa.txt", "--to", root / "s", code=2
        ).err
    )
    assert sorted(path.name for path in root.glob("*.partial")) == []


def test_nothing_is_read_without_a_grant(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    item, root = item_of(shut), shut.root
    asked = shut(
        "restricted",
        "open",
        item,
        "--purpose",
        "test",
        "--case",
        "1",
        "--reader",
        str(people["rita"].to_public()),
        "--json",
    )
    request = asked.json["request"]
    for grant in (request, "r0000000000000000"):
        share = shut(
            "restricted", "share", grant, "--identity", root / "remy.txt", "--to", root / "s", code=2
        )
        assert "no grant" in share.err
    open_item = shut("find", ORDER, 'native_id = "a.txt"', "--json").json["items"][0]["id"]
    wrong = (
        "restricted",
        "open",
        open_item,
        "--purpose",
        "test",
        "--case",
        "1",
        "--reader",
        str(people["rita"].to_public()),
    )
    assert "not restricted" in shut(*wrong, code=2).err
    assert "no code" in shut("restricted", "open", item, "--purpose", "A b", "--case", "1", code=2).err
    assert "--reader" in shut("restricted", "open", item, "--purpose", "test", "--case", "1", code=2).err


def test_two_restricted_reviewers_and_nobody_else(shut: Platform, clock: Clock) -> None:
    for name, role in (
        ("carla", "counsel"), ("cleo", "counsel"), ("rita", "restricted-reviewer"), ("remy", "restricted-reviewer"),
        ("rosa", "restricted-reviewer"), ("erik", "engineer"),
    ):  # fmt: skip
        shut("operator", "add", name, "--role", role)
    root, made = shut.root, ("restricted", "init", "--threshold", "2")
    reviewers = [part for name in ("rita", "remy", "rosa") for part in ("--reviewers", name)]
    assert "may not" in shut("--as", "erik", *made, *reviewers, code=2).err
    assert "restricted reviewers" in shut("--as", "carla", *made, "--reviewers", "erik", code=2).err
    shut("--as", "carla", *made, *reviewers)
    shut("--as", "erik", "preserve", ORDER)
    item = item_of(shut, "--as", "carla")
    ask = ("restricted", "open", item, "--purpose", "court-order", "--case", "2026-17", "--json")
    assert "may not" in shut("--as", "carla", *ask, code=2).err
    request = shut("--as", "rita", *ask).json["request"]
    assert "another person" in shut("--as", "rita", "request", "approve", request, code=2).err
    assert "restricted reviewers" in shut("--as", "carla", "request", "approve", request, code=2).err
    shut("--as", "remy", "request", "approve", request)
    share = ("restricted", "share", request, "--to", root / "rosa.share")
    assert "no grant" in shut("--as", "rosa", *share, code=2).err, "it has not cooled off"
    clock.move(25 * HOUR_S)
    shut("--as", "carla", "request", "run")
    shut("--as", "rosa", *share)
    read = ("restricted", "read", item, "--grant", request, "--share", root / "rosa.share")
    assert "other people" in shut("--as", "rosa", *read, "--to", root / "no", code=2).err
    shut("--as", "rita", *read, "--to", root / "out")
    assert (root / "out").read_bytes() == SECRET
    assert shut("--as", "carla", "verify", "--json").json["valid"]


def test_an_authority_opens_what_was_handed_over_and_nobody_here_did(shut: Platform, clock: Clock) -> None:
    holders(shut)
    shut("preserve", ORDER)
    authority = pyrage.x25519.Identity.generate()
    item, root = item_of(shut), shut.root
    (root / "authority.txt").write_text(f"{authority}\n")
    request = granted(shut, clock, "export", item, "--authority", str(authority.to_public()))
    shut("restricted", "fetch", item, "--grant", request, "--to", root / "item.age")
    for name in ("rita", "rosa"):
        shut(
            "restricted", "share", request, "--identity", root / f"{name}.txt", "--to", root / f"{name}.share"
        )
    read = ("restricted", "read", item, "--grant", request, "--identity", root / "authority.txt")
    assert "handing over" in shut(*read, "--share", root / "rita.share", "--to", root / "no", code=2).err
    unlock = ("restricted", "unlock", root / "item.age", "--identity", root / "authority.txt")
    one = shut(*unlock, "--share", root / "rita.share", "--to", root / "out", code=2)
    assert "2 are needed" in one.err
    both = ("--share", root / "rita.share", "--share", root / "rosa.share")
    seen = shut(*unlock, *both, "--to", root / "out", "--json").json
    assert (root / "out").read_bytes() == SECRET
    assert (seen["native_id"], seen["sha256"]) == (NAME, hashlib.sha256(SECRET).hexdigest())
    damaged = bytearray((root / "item.age").read_bytes())
    damaged[-5] ^= 1
    (root / "item.age").write_bytes(damaged)
    assert "another" in shut(*unlock, *both, "--to", root / "again", code=2).err
    assert not (root / "again").exists()
    assert not (root / "again.partial").exists()


# --- by hand ---------------------------------------------------------------------------------------------


def test_an_item_is_marked_by_hand_and_its_open_copy_is_named(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut.clauses = CLAUSES[:1]
    shut("order", "add", shut.order_file("open.toml", id='"open"', matter='"m3"', reference='"P3"'))
    shut("preserve", "open")
    item = shut("find", "open", f'native_id = "{NAME}"', "--json").json["items"][0]["id"]
    done = shut("restricted", "mark", item, "--json").json
    assert (done["order"], len(done["open_copy"].pop("places"))) == ("open", 1)
    assert done["open_copy"] == {"item": item, "kept": True, "quarantined": True}
    assert "already" in shut("restricted", "mark", done["item"], code=2).err
    request = granted(shut, clock, "open", done["item"], "--reader", str(people["rita"].to_public()))
    root = shut.root
    shut("restricted", "share", request, "--identity", root / "remy.txt", "--to", root / "remy.share")
    shut(
        "restricted", "read", done["item"], "--grant", request, "--identity", root / "rita.txt",
        "--share", root / "remy.share", "--to", root / "out",
    )  # fmt: skip
    assert (root / "out").read_bytes() == SECRET
    shut("preserve", "open")
    rows = shut("find", "open", 'native_id starts with "restricted:"', "--json").json["items"]
    assert len(rows) == 2, "it stays restricted in later passes; by hand its stamp was not known"
    assert shut("verify", "--json").json["valid"]


def test_why_names_an_order_whose_patterns_cannot_be_asked(shut: Platform) -> None:
    """The name lies in the compartment: a clause that asks for names holds it rather than not."""
    holders(shut)
    shut("preserve", ORDER)
    shut.clauses = ['[[clause]]\nid = "pictures"\nsources = ["docs"]\npaths = ["**/*.png"]\n']
    shut("order", "add", shut.order_file("second.toml", id='"other"', matter='"m2"', reference='"P2"'))
    answer = shut("why", item_of(shut), "--json").json
    assert {each["order"] for each in answer["orders"]} == {ORDER, "other"}
