"""Lists of hashes: how the file is read, what is refused, how it is sealed, and what it makes of a clause."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import AccountsNotLoaded, ClauseWrong, FormatError
from scelle.scope.accounts import EXACT_MAX
from scelle.scope.compiled import compile_clauses
from scelle.scope.hashes import HashesFile, read_hashes, reread_hashes
from scelle.scope.model import (
    Clause,
    ItemView,
    check_clause,
    load_accounts,
    match_clauses,
    with_restricted_sources,
)
from scelle.scope.narrowing import widened_by
from scelle.scope.sealed import clause_from_json, clause_to_json

ONE, TWO, THREE = (hashlib.sha256(bytes([number])).hexdigest() for number in range(3))


def read(text: str | bytes, *, size: int = 1 << 20) -> HashesFile:
    data = text.encode() if isinstance(text, str) else text
    return read_hashes("known.txt", [data[at : at + size] for at in range(0, len(data), size)])


def has(file: HashesFile, hexadecimal: str) -> bool:
    return file.lists(bytes.fromhex(hexadecimal))


# --- the file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_hashes_of_either_case_comments_and_blank_lines(size: int) -> None:
    text = f"\ufeff# known material\r\n\r\n{ONE.upper()}\r\n  # another\n \t\n\t{TWO} \n{ONE}"
    file = read(text, size=size)
    assert (file.hashes, file.duplicates, file.blanks) == (2, 1, 4)
    assert (file.name, file.digest, file.size_bytes) == (
        "known.txt",
        hashlib.sha256(text.encode()).digest(),
        len(text.encode()),
    )
    assert has(file, ONE)
    assert has(file, TWO)
    assert not has(file, THREE)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{ONE[:-1]}\n", 1, "63 hex digits"),
        (f"{ONE}0\n", 1, "65 hex digits"),
        ("d41d8cd98f00b204e9800998ecf8427e\n", 1, "32 hex digits"),
        (f"{ONE}\n\n# two\n{TWO[:-1]}g\n", 4, "no SHA-256"),
        (f"{ONE}  picture-of-it.png\n", 1, "something behind"),
        (f"{ONE}\t# inline\n", 1, "something behind"),
        (f"{ONE},{TWO}\n", 1, "no SHA-256"),
        (f"0x{ONE}\n", 1, "no SHA-256"),
        (f"sha256:{ONE}\n", 1, "no SHA-256"),
        (f"{ONE}\r{TWO}\n", 1, "no SHA-256"),
        (ONE.encode() + b"\n\xff\xfe\n", 2, "no SHA-256"),
        (ONE.encode() + b"\n\0\n", 2, "no SHA-256"),
        (ONE.encode("utf-16"), 1, "no SHA-256"),
        (f"{ONE}\n\u00a0{TWO}\n", 2, "no SHA-256"),
        ("x" * ((1 << 20) + 2), 1, "longer than 1 MiB"),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 21])
def test_a_bad_line_is_refused_by_its_number_and_not_repeated(
    text: str | bytes, line: int, words: str, size: int
) -> None:
    with pytest.raises(ClauseWrong) as refused:
        read(text, size=size)
    message = str(refused.value)
    assert message.startswith(f"line {line}: ")
    assert words in message
    assert ONE[:16] not in message
    assert "picture" not in message


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "\ufeff"])
def test_a_list_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ClauseWrong, match="lists no hash"):
        read(text)


def test_lines_are_counted_over_blocks() -> None:
    lines = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40_000)]
    with pytest.raises(ClauseWrong, match="line 40001: "):
        read("\n".join([*lines, "oops"]))


def test_a_list_over_the_exact_bound_misses_none() -> None:
    lines = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(EXACT_MAX + 1)]
    file = read("\n".join(lines))
    assert file.hashes == EXACT_MAX + 1
    assert all(has(file, each) for each in lines[:: EXACT_MAX // 50])
    assert not any(has(file, hashlib.sha256(each.encode()).hexdigest()) for each in lines[:1000])


def test_a_list_that_was_not_read_again_answers_nothing() -> None:
    with pytest.raises(AccountsNotLoaded, match="not read from the vault"):
        has(replace(read(ONE), ids=None), ONE)


# --- as it is sealed -------------------------------------------------------------------------------------


def listing(text: str = ONE, **fields: Any) -> Clause:
    return Clause("c", ("docs",), restricted_hashes=read(text), **fields)


def test_a_clause_with_a_list_is_read_back_as_it_was_sealed() -> None:
    clause = listing(f"{ONE}\n{TWO}")
    sealed = clause_to_json(clause)
    back = clause_from_json(sealed)
    assert back == clause
    assert back.restricted_hashes is not None
    assert back.restricted_hashes.ids is None
    assert ONE not in str(sealed), "the hashes themselves lie in the order's paper alone"
    assert "restricted_hashes" not in clause_to_json(Clause("c", ("docs",))), "older clauses keep their bytes"


@pytest.mark.parametrize(
    "wrong",
    [
        {"hashes": -1},
        {"hashes": True},
        {"sha256": ONE.upper()},
        {"name": ""},
        {"more": 1},
    ],
)
def test_a_sealed_list_that_scelle_never_wrote_is_refused(wrong: dict[str, object]) -> None:
    sealed = clause_to_json(listing())
    file = sealed["restricted_hashes"]
    assert isinstance(file, dict)
    with pytest.raises(FormatError, match="restricted_hashes"):
        clause_from_json({**sealed, "restricted_hashes": {**file, **wrong}})


def test_a_pass_loads_each_list_once_and_misses_no_change() -> None:
    asked = []
    text = f"{ONE}\n{TWO}".encode()

    def give(digest: bytes) -> Iterator[bytes]:
        asked.append(digest)
        return iter((text,))

    clause = clause_from_json(clause_to_json(listing(text.decode())))
    loaded = load_accounts((clause, replace(clause, id="d")), give)
    assert len(asked) == 1
    assert all(each.restricted_hashes is not None and has(each.restricted_hashes, TWO) for each in loaded)
    sealed = clause.restricted_hashes
    assert sealed is not None
    with pytest.raises(ClauseWrong, match="verify the vault"):
        reread_hashes(sealed, lambda digest: (TWO.encode(),))


def test_a_list_beside_restricted_is_refused() -> None:
    with pytest.raises(ClauseWrong, match="take one out"):
        check_clause(listing(restricted=True))


# --- what it makes of items ------------------------------------------------------------------------------

VIEW = ItemView("docs", b"a.png", 0, "")


def test_a_match_names_the_lists_of_the_clauses_that_cover() -> None:
    both = (
        listing(),
        replace(listing(TWO, paths=("*.png",)), id="d"),
        replace(listing(THREE, paths=("*.txt",)), id="e"),
    )
    for match in (match_clauses(both, VIEW), compile_clauses(both)(VIEW)):
        assert [each.digest for each in match.hashes] == [read(ONE).digest, read(TWO).digest]
        assert (match.restricted, match.may_be_restricted) == (False, True)
    shut = match_clauses((*both, Clause("f", ("docs",), restricted=True)), VIEW)
    assert (shut.restricted, shut.hashes) == (True, ())
    assert match_clauses((listing(paths=("*.txt",)),), VIEW).hashes == ()


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        (f"{ONE}\n{TWO}", f"{ONE}\n{TWO}\n{THREE}", None),
        (f"{ONE}\n{TWO}", f"{TWO}\n# one\n{ONE}", None),
        (f"{ONE}\n{TWO}", ONE, "restricted_hashes"),
        (ONE, TWO, "restricted_hashes"),
    ],
)
def test_dropping_a_hash_loosens(before: str, after: str, key: str | None) -> None:
    assert widened_by(listing(before), listing(after)) == key


def test_dropping_the_list_loosens_unless_everything_is_restricted() -> None:
    plain = Clause("c", ("docs",))
    assert widened_by(listing(), plain) == "restricted_hashes"
    assert widened_by(listing(), replace(plain, restricted=True)) is None
    assert widened_by(plain, listing()) is None
    unread = replace(listing(), restricted_hashes=replace(read(TWO), ids=None))
    assert widened_by(listing(), unread) == "restricted_hashes", "what cannot be compared is taken for less"


def test_a_restricted_source_makes_every_clause_over_it_restricted() -> None:
    clauses = (
        Clause("both", ("docs", "case"), restricted_hashes=read(ONE)),
        Clause("out", ("case",), paths=("*.txt",), carve_out=True),
        Clause("docs", ("docs",)),
    )
    found = with_restricted_sources(clauses, {"case"})
    assert [(each.id, each.sources, each.restricted) for each in found] == [
        ("both", ("docs",), False),
        ("both", ("case",), True),
        ("out", ("case",), False),
        ("docs", ("docs",), False),
    ]
    assert with_restricted_sources(found, {"case"}) == found
    decide = compile_clauses(found)
    assert decide(VIEW._replace(source="case")).restricted
    assert decide(VIEW._replace(source="case")).clause_ids == ("both",)
    assert not decide(VIEW._replace(source="case", path=b"a.txt")).covered
    assert decide(VIEW).clause_ids == ("both", "docs")
    assert not decide(VIEW).restricted
