"""Amendments: their files, what they make of an order's clauses, and accounts that are added."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.errors import (
    AmendmentWrong,
    OrderAccountsUnreadable,
    OrderKeyMissing,
    OrderValueWrong,
    ScelleError,
)
from scelle.orders.amendments import (
    ClausesFile,
    addition,
    more_accounts,
    narrowing,
    read_clauses_file,
    refuse_wider,
)
from scelle.orders.papers import read_accounts_file
from scelle.scope import Clause, read_accounts

from .lives import X

ONE = '[[clause]]\nid = "a"\nsources = ["docs"]\n'


def read(folder: Path, text: str, *, may_stop: bool = True) -> ClausesFile:
    path = folder / "amendment.toml"
    path.write_text(text, encoding="utf-8")
    return read_clauses_file(path, X, may_stop=may_stop)


def test_a_file_with_everything(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_bytes(b"we narrow\n")
    (tmp_path / "u.txt").write_bytes(b"u1\nu2\n")
    found = read(
        tmp_path,
        '[amendment]\nreference = "R-2"\ndocument = "letter.txt"\nstop = ["b"]\n'
        + ONE
        + 'accounts_file = "u.txt"\nfrom = 2025-01-01\n',
    )
    assert (found.reference, found.stop, found.document) == ("R-2", ("b",), ("letter.txt", b"we narrow\n"))
    (clause,) = found.clauses
    assert clause.accounts_file is not None
    assert clause.accounts_file.accounts == 2
    assert clause.period_from_us == 1_735_686_000_000_000  # midnight in the order's zone
    assert len(found.accounts) == 1


def test_one_clause_may_be_one_table(tmp_path: Path) -> None:
    assert [each.id for each in read(tmp_path, ONE.replace("[[clause]]", "[clause]")).clauses] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[amendment]\nreference = 'x'\n", "describe at least one clause"),
        ("[amendment]\nstop = 'b'\n", "must be a list"),
        ("[amendment]\nreason = 'b'\n", "unknown key"),
        ("[[amendment]]\n" + ONE, "must be one table"),
        ("stop = ['b']\n" + ONE, "it belongs below [amendment]"),
        ("sources = ['docs']\n", "it belongs below [[clause]]"),
        ("[order]\nid = 'x'\n", "unknown table or key"),
        ("clause = 3\n", "must be a list of tables"),
        (ONE + ONE, "used twice"),
        (ONE + "accounts_file = 'none.txt'\n", "none.txt"),
        ("[amendment]\ndocument = 'none.pdf'\n" + ONE, "none.pdf"),
        (ONE + "carve_out = true\n", "unknown key"),
        ("[[clause]]\nid = 'a'\nsources = []\n", "name at least one"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScelleError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_a_narrowing_stops(tmp_path: Path) -> None:
    text = "[amendment]\nstop = ['b']\n"
    assert read(tmp_path, text).stop == ("b",)
    with pytest.raises(OrderValueWrong, match="only `order narrow` stops clauses"):
        read(tmp_path, text, may_stop=False)
    with pytest.raises(OrderKeyMissing):
        read(tmp_path, "[amendment]\n", may_stop=False)


# --- narrowing --------------------------------------------------------------------------------------------


def stop(*ids: str, clauses: tuple[Clause, ...] = ()) -> ClausesFile:
    return ClausesFile('"amendment.toml"', clauses, (), ids, None, None)


A, B = Clause("a", ("docs", "mail"), accounts=("u1", "u2")), Clause("b", ("docs",))
CARVED = Clause("c", ("docs",), carve_out=True)


def test_a_narrowing_stops_clauses_and_puts_narrower_ones_in_their_place() -> None:
    narrower = Clause("a", ("docs",), accounts=("u1",))
    amendment = narrowing("o-1", (A, B, CARVED), stop("b", clauses=(narrower,)))
    assert amendment.applied((A, B, CARVED)) == (CARVED, narrower)
    refuse_wider((A, B, CARVED), amendment)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (stop("d"), "no growing clause 'd'"),
        (stop("c"), "no growing clause 'c'"),  # a carve-out is no clause that grows
        (stop("a", clauses=(A,)), "stopped and replaced"),
        (stop("a", "b"), "nothing of order o-1 would grow any more"),
        (stop(clauses=(Clause("z", ("docs",)),)), "no growing clause 'z'"),
    ],
)
def test_what_cannot_narrow(found: ClausesFile, said: str) -> None:
    with pytest.raises(AmendmentWrong, match=said):
        narrowing("o-1", (A, B, CARVED), found)


@pytest.mark.parametrize(
    ("wider", "key"),
    [
        (Clause("a", ("docs", "code"), accounts=("u1",)), "sources"),
        (Clause("a", ("docs",)), "accounts"),
        (Clause("a", ("docs",), accounts=("u1", "u3")), "accounts"),
        (Clause("a", ("docs",), accounts=("u1",), custodians=("ann",)), "custodians"),
        (Clause("a", ("docs",), accounts_file=read_accounts("x", [b"u1\nu9\n"])), "accounts_file"),
    ],
)
def test_a_wider_clause_is_refused_by_its_name(wider: Clause, key: str) -> None:
    amendment = narrowing("o-1", (A, B), stop(clauses=(wider,)))
    with pytest.raises(AmendmentWrong, match=f"^clause 'a', {key}: covers more than before"):
        refuse_wider((A, B), amendment)


def test_an_id_is_used_once_in_the_life_of_an_order() -> None:
    with pytest.raises(AmendmentWrong, match="has or had a clause 'a'"):
        addition("add-clause", "o-1", {"a"}, stop(clauses=(A,)))
    assert addition("carve-out", "o-1", set(), stop(clauses=(A,))).clauses[0].carve_out
    assert not addition("add-clause", "o-1", set(), stop(clauses=(A,))).clauses[0].carve_out


# --- accounts ---------------------------------------------------------------------------------------------


def listed(folder: Path, data: bytes, name: str = "more.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def kept(data: bytes) -> tuple[Clause, dict[bytes, bytes]]:
    file = read_accounts("kept.txt", [data])
    return Clause("a", ("docs",), accounts_file=file), {file.digest: data}


def added(clause: Clause, path: Path, vault: dict[bytes, bytes]) -> tuple[Clause, bytes]:
    def read(digest: bytes) -> Iterator[bytes]:
        data = vault[digest]
        return iter([data[:3], data[3:]])

    amendment = more_accounts("o-1", (clause, B), "a", read_accounts_file(path), read)
    (paper,) = amendment.accounts
    (merged,) = amendment.clauses
    data = b"".join(paper.pieces())
    assert merged.accounts_file == read_accounts(paper.file.name, [data])
    assert b"".join(paper.pieces()) == data  # as often as it is asked
    return merged, data


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_added_accounts_are_one_file_with_those_before(tmp_path: Path, end: bytes) -> None:
    clause, vault = kept(b"u1\nu2" + end)
    merged, data = added(clause, listed(tmp_path, b"\xef\xbb\xbfu2\r\n\r\nu3\r\n"), vault)
    file = merged.accounts_file
    assert file is not None
    assert (file.name, file.accounts, file.duplicates, file.blanks) == ("kept.txt", 3, 1, 1)
    assert b"\xef\xbb\xbf" not in data
    assert file.ids is not None
    assert all(each in file.ids for each in ("u1", "u2", "u3"))


def test_a_clause_that_names_accounts_one_by_one_gets_a_file_beside_them(tmp_path: Path) -> None:
    merged, data = added(A, listed(tmp_path, b"u3\n"), {})
    assert (merged.accounts, data) == (("u1", "u2"), b"u3\n")


def test_added_accounts_that_add_nothing_or_mean_nobody(tmp_path: Path) -> None:
    clause, vault = kept(b"u1\nu2\n")
    with pytest.raises(AmendmentWrong, match="all 2 accounts are named by clause a already"):
        added(clause, listed(tmp_path, b"u1\nu2\n"), vault)
    with pytest.raises(AmendmentWrong, match="names nobody, so that it covers every account"):
        more_accounts("o-1", (B,), "b", read_accounts_file(tmp_path / "more.txt"), lambda digest: [])
    with pytest.raises(AmendmentWrong, match="no growing clause"):
        more_accounts("o-1", (B,), "x", read_accounts_file(tmp_path / "more.txt"), lambda digest: [])
    for data, said in ((b"", "is empty"), (b"\n\n", "names no account"), (b"u1 \n", "line 1")):
        with pytest.raises(OrderAccountsUnreadable, match=said):
            read_accounts_file(listed(tmp_path, data))
