"""However an item is spelled, and under whichever source it is asked about: what is held is held, by one ref."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.guarding import VaultGuard
from scelle.guard.spool import read_spool

from .conftest import ORDER, Platform

ACCENTED = "hr/r\u00e9sum\u00e9.txt"
SPELLINGS: dict[str, Callable[[Platform], str]] = {
    "dot": lambda platform: "./hr/a.txt",
    "leading-slash": lambda platform: "/hr/a.txt",
    "absolute": lambda platform: f"{platform.docs}/hr/a.txt",
    "absolute-odd": lambda platform: f"//{platform.docs}/x/..//./hr/a.txt",
    "url": lambda platform: f"files://{platform.docs}/hr/a.txt",
    "file-url": lambda platform: f"file://{platform.docs}/hr/a.txt",
    "file-url-short": lambda platform: f"file:{platform.docs}/hr/a.txt",
    "file-url-host": lambda platform: f"file://localhost{platform.docs}/hr/a.txt",
    "url-escaped": lambda platform: f"files://{platform.docs}/h%72/a%2Etxt",
    "escaped": lambda platform: "h%72/a.txt",
    "up-and-down": lambda platform: "x/../hr/a.txt",
    "out-and-in": lambda platform: f"../{platform.docs.name}/hr/a.txt",
    "empty": lambda platform: "hr//a.txt",
    "linked-folder": lambda platform: "alias/a.txt",
    "linked-folder-slash": lambda platform: "/alias/a.txt",
    "linked-file": lambda platform: "latest.txt",
    "linked-root": lambda platform: f"{platform.root}/current/hr/a.txt",
    "deleted": lambda platform: "./hr/gone.txt",
    "folder": lambda platform: "hr",
    "folder-slash": lambda platform: "hr/",
    "root": lambda platform: ".",
    "above": lambda platform: "..",
    "elsewhere": lambda platform: "../../etc/passwd",
    "elsewhere-absolute": lambda platform: "/nowhere/else.txt",
    "linked-elsewhere": lambda platform: "out/c.txt",
    "decomposed": lambda platform: unicodedata.normalize("NFD", ACCENTED),
    "decomposed-dot": lambda platform: "./" + unicodedata.normalize("NFD", ACCENTED),
    "composed": lambda platform: ACCENTED,
}


def clause(paths: str = "hr/**", source: str = "docs") -> str:
    return f'[[clause]]\nid = "c-{source}"\nsources = ["{source}"]\npaths = ["{paths}"]\n'


@pytest.fixture
def place(platform: Platform) -> Platform:
    """Two documents in a folder that an order covers, one beside it; links of every kind."""
    platform.document("hr/a.txt", b"a red boat\n")
    platform.document(ACCENTED, b"a life\n")
    platform.document("public/p.txt", b"a harbour\n")
    platform.document("public/100%.txt", b"all of it\n")
    (platform.root / "beside").mkdir()
    (platform.root / "beside" / "c.txt").write_bytes(b"another harbour\n")
    (platform.docs / "alias").symlink_to("hr")
    (platform.docs / "latest.txt").symlink_to("hr/a.txt")
    (platform.docs / "out").symlink_to(platform.root / "beside")
    (platform.root / "current").symlink_to(platform.docs)
    platform.clauses = [clause()]
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    return platform


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_held_item_is_held_however_it_is_spelled(place: Platform, spelling: str) -> None:
    native = SPELLINGS[spelling](place)
    told = place("may-delete", "docs", native, "--json", code=3).json["items"][0]
    assert (told["id"], told["held"]) == (native, True)
    answer = place("why", native, "--source", "docs", "--json").json
    assert [each["order"] for each in answer["orders"]] == [ORDER]
    assert answer["ref"] == told["ref"]
    with (
        opened(place.vault, KeyChoice(place.root / "keys"), writing=False) as session,
        VaultGuard(session) as guard,
    ):
        assert guard.decide("docs", os.fsencode(native)).ref == told["ref"]


@pytest.mark.parametrize(
    "native", ["public/p.txt", "./public/p.txt", "/public/p.txt", "public/100%.txt", "hr.txt"]
)
def test_what_no_clause_covers_may_go_however_it_is_spelled(place: Platform, native: str) -> None:
    assert place("may-delete", "docs", native).out == f"{native}: not held\n"
    assert place("may-delete", "docs", f"{place.docs}/{native}").out.endswith(": not held\n")


@pytest.mark.parametrize(
    "spelling",
    ["dot", "absolute", "url", "file-url-host", "out-and-in", "linked-folder", "linked-root", "decomposed"],
)
def test_the_ref_is_that_of_the_sealed_item_and_names_it(place: Platform, spelling: str) -> None:
    native = SPELLINGS[spelling](place)
    sealed = ACCENTED if spelling == "decomposed" else "hr/a.txt"
    ref = place("why", sealed, "--source", "docs", "--json").json["ref"]
    assert place("may-delete", "docs", native, code=3).out == f"{native}: held, ref {ref}\n"
    answer = place("why", ref, "--json").json
    assert (answer["native"], answer["source"]) == (sealed, "docs")
    assert [each["sealed"] for each in answer["orders"]] == [True]
    place("source", "add", "more", f"files://{place.root}/beside")  # seals the refusals that wait
    assert place("why", ref, "--json").json == answer


def test_a_link_in_the_tree_is_an_item_of_its_own(place: Platform) -> None:
    """Who deletes a link deletes no more; but whoever writes through it reaches what it leads to."""
    (place.docs / "notes.txt").symlink_to("public/p.txt")
    (place.docs / "far.txt").symlink_to(place.root / "beside" / "c.txt")
    assert place("may-delete", "docs", "notes.txt").out == "notes.txt: not held\n"
    assert place("may-delete", "docs", "far.txt").out == "far.txt: not held\n"
    place("may-delete", "docs", "latest.txt", code=3)


def test_a_folder_that_takes_two_spellings_for_one_name_has_one_item(place: Platform) -> None:
    """Two hard links that differ in case alone stand for a folder that takes both: one file has both names."""
    os.link(place.docs / "hr" / "a.txt", place.docs / "hr" / "A.TXT")
    os.link(place.docs / "public" / "p.txt", place.docs / "public" / "P.TXT")
    place.clauses = [clause("public/p.txt")]
    place("order", "add", place.order_file("second.toml", id='"second"'))
    place("may-delete", "docs", "public/P.TXT", code=3)
    place("may-delete", "docs", "public/P.Txt", code=0)  # is not there
    assert (
        place("may-delete", "docs", "HR/a.txt").out == "HR/a.txt: not held\n"
    )  # this folder tells case apart


@pytest.mark.parametrize(
    ("source", "root", "native"),
    [
        ("same", "docs", "hr/a.txt"),
        ("same", "docs", "./alias/a.txt"),
        ("below", "docs/hr", "a.txt"),
        ("above", "", "docs/hr/a.txt"),
        ("file", "docs/hr/a.txt", "a.txt"),
        ("by-link", "current", "hr/a.txt"),
        ("above", "", "docs/hr"),
        ("above", "", "docs"),
    ],
)
@pytest.mark.parametrize("scheme", ["files", "eml"])
def test_what_another_source_has_is_held_under_every_source_that_has_it(
    place: Platform, scheme: str, source: str, root: str, native: str
) -> None:
    url = f"{scheme}://{place.root}/{root}".rstrip("/")
    if source == "above":  # a source may not have the vault in it: move the documents a step down
        up = place.root / "up"
        up.mkdir()
        place.docs.rename(up / "docs")
        place.docs.symlink_to(up / "docs")
        url = f"{scheme}://{up}"
    place("source", "add", source, url)
    ref = place("may-delete", source, native, "--json", code=3).json["items"][0]["ref"]
    answer = place("why", ref, "--json").json
    assert [each["order"] for each in answer["orders"]] == [ORDER]
    if source in ("same", "by-link", "above"):
        place("may-delete", source, "public/none.txt")


def test_the_ref_does_not_tell_by_which_source_an_item_is_held(place: Platform) -> None:
    place("source", "add", "twin", f"files://{place.docs}")
    before = place("may-delete", "twin", "hr/a.txt", "--json", code=3).json
    place.clauses = [clause(source="twin")]
    place("order", "add", place.order_file("second.toml", id='"second"'))
    assert place("may-delete", "twin", "hr/a.txt", "--json", code=3).json == before


def test_a_file_that_mailboxes_or_records_are_read_from_is_held_with_them(place: Platform) -> None:
    boxes = place.docs / "mail"
    for folder in ("cur", "new", "tmp"):
        (boxes / folder).mkdir(parents=True)
    (boxes / "new" / "1.host").write_bytes(b"From: a@example.org\nSubject: boats\n\nred\n")
    for name in ("box", "twin"):
        place("source", "add", name, f"maildir://{boxes}")
    place.clauses = ['[[clause]]\nid = "mail"\nsources = ["box"]\n']
    place("order", "add", place.order_file("second.toml", id='"second"'))
    place("may-delete", "docs", "mail/new/1.host", code=3)
    place("may-delete", "twin", "cur/1.host", code=3)
    place.clauses = [clause("mail/new/**")]
    place("order", "add", place.order_file("third.toml", id='"third"'))
    told = place("why", "cur/1.host", "--source", "twin", "--json").json
    assert [each["order"] for each in told["orders"]] == ["second", "third"]


def test_what_nobody_can_read_as_a_path_is_held(place: Platform) -> None:
    with (
        opened(place.vault, KeyChoice(place.root / "keys"), writing=False) as session,
        VaultGuard(session) as guard,
    ):
        for native in (b"", b"public/p\0.txt", b"public/%00.txt/..", b"/", b"public/" + b"n" * 5000):
            assert guard.decide("docs", native).held, native
        assert not guard.decide("docs", b"public/\xff.txt").held
        assert not guard.decide("docs", b"public/" + b"n" * 300).held  # longer than any name: no error


def test_a_root_that_is_a_link_set_anew_is_followed(place: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.sources.places._LOOKED_EVERY_S", 0.0)
    link = place.root / "live"
    link.symlink_to(place.root / "beside")
    place("source", "add", "live", f"files://{link}")
    with (
        opened(place.vault, KeyChoice(place.root / "keys"), writing=False) as session,
        VaultGuard(session) as guard,
    ):
        assert not guard.decide("live", b"hr/a.txt").held
        link.unlink()
        link.symlink_to(place.docs)
        assert guard.decide("live", b"hr/a.txt").held


def test_a_restricted_source_is_named_in_no_refusal_of_another_one(place: Platform) -> None:
    place("source", "add", "case", f"files://{place.docs}/hr", "--restricted")
    ref = place("may-delete", "docs", "./hr/a.txt", "--json", code=3).json["items"][0]["ref"]
    with opened(place.vault, KeyChoice(place.root / "keys"), writing=False) as session:
        said = [
            each for file in read_spool(session.path, session.key) for frame in file.frames for each in frame
        ]
    assert said
    assert all("a.txt" not in each.native for each in said)
    assert place("why", ref, "--json").json["held"] is True


def test_source_add_says_that_two_sources_have_the_same(platform: Platform) -> None:
    platform.document("mail/1.eml", b"Subject: boats\n\nred\n")
    told = platform("source", "add", "mail", f"eml://{platform.docs}/mail")
    assert [line for line in told.err.splitlines() if "docs" in line] == [
        "warning: source mail and docs lie in one another: what an order holds by one of them is held under each"
    ]
    assert str(platform.docs) not in told.err
    assert "lie in one another" not in platform("source", "add", "apart", f"files://{_apart(platform)}").err
    both = platform("source", "add", "again", f"files://{platform.docs}").err
    assert "source again and docs, mail lie in one another" in both


def _apart(platform: Platform) -> Path:
    folder = platform.root / "docs2"  # its name begins as that of another
    folder.mkdir()
    return folder
