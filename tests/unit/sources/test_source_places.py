"""What an id may be written for, and where it leads."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.sources.model import SourceSpec
from scelle.sources.paths import below, collapsed, folded, forms, is_plain, respelled, spellings
from scelle.sources.places import Name, Places

NAMES = st.text(st.characters(exclude_characters="/\0.", exclude_categories=["Cs"]), min_size=1, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
DETOURS = st.lists(st.sampled_from(["./", "/", "x/../", "y/./z/../../"]), max_size=4)


@given(PATHS, DETOURS, st.integers(0, 4))
def test_detours_lead_to_the_same_path(path: str, detours: list[str], at: int) -> None:
    parts = path.split("/")
    odd = "/".join([*parts[:at], "".join(detours) + parts[at], *parts[at + 1 :]]) if at < len(parts) else path
    assert is_plain(path.encode())
    assert collapsed(odd.encode()) == path.encode()
    assert is_plain(odd.encode()) == (odd == path)


@pytest.mark.parametrize(
    "path", [b"", b".", b"..", b"/a", b"a/", b"a//b", b"a/./b", b"a/..", b"a\0b", b"./a"]
)
def test_what_no_source_offers_is_not_plain(path: bytes) -> None:
    assert not is_plain(path)


@pytest.mark.parametrize(
    "path", [b"a", b".a", b"..a", b"a.", b"...", b"a/.b/..c", b"a\n", b"\n", b"\xff", b" "]
)
def test_names_with_dots_and_odd_bytes_are_plain(path: bytes) -> None:
    assert is_plain(path)
    assert list(spellings(path)) == [path]


def test_a_path_above_its_beginning_is_none() -> None:
    assert collapsed(b"a/../../b") is None
    assert below(b"/srv/docs", b"/srv/docs2/a") is None
    assert below(b"/", b"/a") == b"a"


def test_forms_keep_bytes_that_are_no_text() -> None:
    assert b"\xffe\xcc\x81" in set(forms(b"\xff\xc3\xa9"))
    assert folded("\u00c9a".encode()) == folded(b"e\xcc\x81A")
    assert respelled(b"A1.Txt") == {b"a1.tXT"}
    assert respelled(b"17") == set()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("hr/a.txt", "public/p.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"a red boat\n")
    return tmp_path


def places(**roots: str) -> tuple[Places, dict[str, SourceSpec]]:
    specs = {name: SourceSpec(name, url) for name, url in roots.items()}
    return Places(specs), specs


def test_a_name_of_every_source_and_its_own_first(tree: Path) -> None:
    found, specs = places(
        docs=f"files://{tree}",
        hr=f"eml://{tree}/hr",
        box=f"mbox://{tree}/hr/a.txt",
        far=f"files://{tree}/public",
    )
    expected = [("hr", b"a.txt", b"a.txt"), ("docs", b"hr/a.txt", b"hr/a.txt"), ("box", b"a.txt", None)]
    assert [
        (each.spec.name, each.native, each.path) for each in found.names_of(specs["hr"], b"a.txt")
    ] == expected
    assert [each.name for each in found.overlapping(specs["docs"])] == ["hr", "box", "far"]
    assert [each.name for each in found.overlapping(specs["far"])] == ["docs"]


def test_a_folder_is_a_doubt_under_every_source_that_has_it_or_lies_in_it(tree: Path) -> None:
    found, specs = places(docs=f"files://{tree}", hr=f"eml://{tree}/hr", far=f"files://{tree}/public")
    doubts = [each.spec.name for each in found.names_of(specs["docs"], b"hr") if each.path is None]
    assert sorted(set(doubts)) == ["docs", "hr"]


def test_where_nothing_is_to_be_read_the_text_decides(tmp_path: Path) -> None:
    found, specs = places(
        gone=f"files://{tmp_path}/gone", db="postgresql://a@db/app", twin="postgresql://b@db/app"
    )
    [name] = found.names_of(specs["gone"], b"./hr/../a.txt")
    assert name == Name(specs["gone"], b"a.txt", b"a.txt")
    names = found.names_of(specs["db"], b"./1")
    assert [(each.spec.name, each.native) for each in names] == [("db", b"./1"), ("twin", b"./1")]


def test_a_loop_of_links_is_no_error(tree: Path) -> None:
    (tree / "loop").symlink_to("loop")
    found, specs = places(docs=f"files://{tree}")
    assert found.names_of(specs["docs"], b"loop/a.txt")
    assert found.names_of(specs["docs"], b"loop")[0] == Name(specs["docs"], b"loop", b"loop")


def test_at_most_one_path_is_resolved_for_an_id_as_it_is_sealed(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, specs = places(docs=f"files://{tree}", again=f"files://{tree}")
    found.names_of(specs["docs"], b"hr/a.txt")
    asked: list[object] = []
    resolve = os.path.realpath

    def counted(path: bytes) -> bytes:
        asked.append(path)
        return resolve(path)

    monkeypatch.setattr(os.path, "realpath", counted)
    assert len(found.names_of(specs["docs"], b"hr/a.txt")) == 2
    assert len(asked) == 1
