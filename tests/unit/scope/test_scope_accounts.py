"""Files of accounts: how they are read, what is refused, and how much they need."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import chain

import pytest

from scelle.errors import AccountsNotLoaded, ClauseWrong
from scelle.scope import (
    AccountSet,
    Clause,
    ItemView,
    Reason,
    compile_clauses,
    covers,
    load_accounts,
    read_accounts,
)
from scelle.scope.accounts import IDENTIFIER_MAX_BYTES


def test_blank_lines_and_repetitions_are_passed_over_and_counted() -> None:
    data = b"\xef\xbb\xbf4711\r\nann@example.org\n\n  \t\n4711\n\xc3\xa9-9 b"
    file = read_accounts("ids.txt", [data[:3], data[3:11], data[11:]])
    assert (file.accounts, file.duplicates, file.blanks) == (3, 1, 2)
    assert (file.name, file.digest, file.size_bytes) == ("ids.txt", sha256(data).digest(), len(data))
    assert file.ids is not None
    assert all(name in file.ids for name in ("4711", "ann@example.org", "é-9 b"))
    assert not any(name in file.ids for name in ("", "4711\r", "Ann@example.org", "\ufeff4711", "é-9"))


@pytest.mark.parametrize("pieces", [[b"a\r", b"\nb\n"], [b"a\r\nb"], [bytes([c]) for c in b"a\r\nb\r\n"]])
def test_where_pieces_end_does_not_matter(pieces: list[bytes]) -> None:
    file = read_accounts("x", pieces)
    assert (file.accounts, file.blanks, file.duplicates) == (2, 0, 0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "names no account"),
        (b"\n \r\n\t\n", "names no account"),
        (b"a\nb\nc\xff\n", "line 3: not UTF-8"),
        (b"a\nb\x00\n", "line 2: has the control character U\\+0000"),
        (b"a\rb\r", "line 1: a CR without LF"),
        (b"a\n b\n", "line 2: a space at an end"),
        (b"a\nb\t\r\n", "line 2: a space at an end"),
        (b"a\n" + b"b" * (IDENTIFIER_MAX_BYTES + 1), "line 2: longer than 4000"),
        (b"a\n" + b"b" * (3 << 20), "line 2: longer than"),
    ],
)
def test_refuses_what_could_be_read_in_two_ways(data: bytes, said: str) -> None:
    with pytest.raises(ClauseWrong, match=said):
        read_accounts("x", [data])


def test_lines_are_counted_over_blocks() -> None:
    with pytest.raises(ClauseWrong, match="line 400001: not UTF-8"):
        read_accounts("x", [b"abcdef\n" * 400_000, b"\xff"])


def many(count: int) -> Iterator[bytes]:
    for start in range(0, count, 10_000):
        yield b"".join(b"user-%09d\n" % i for i in range(start, start + 10_000))


def test_many_accounts_need_eight_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.scope.accounts.EXACT_MAX", 1000)
    count = 100_000
    tracemalloc.start()
    try:
        file = read_accounts("x", chain(many(10_000), many(count)))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (file.accounts, file.duplicates) == (count, 10_000)
    assert kept < 8 * count + 4096 * 150  # the buckets themselves; as a set of bytes it would be 10 MB
    assert peak < 8 * count + (8 << 20)  # and one block of lines
    assert file.ids is not None
    assert all(f"user-{i:09}" in file.ids for i in (0, 1, 999, 1000, 1001, count - 1))
    assert not any(f"user-{i:09}" in file.ids for i in range(count, count + 10_000))


def test_those_that_were_kept_exactly_stay_named_when_more_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.scope.accounts.EXACT_MAX", 10)
    ids = AccountSet([b"%d" % i for i in range(6)])
    ids.add(b"%d" % i for i in range(4, 12))
    ids.add([b"12"])
    ids.settle()
    assert len(ids) == 13
    assert all(str(i) in ids for i in range(13))
    assert "13" not in ids


def test_a_set_asked_for_anything_else_says_no() -> None:
    ids = AccountSet([b"1"])
    ids.settle()
    assert len(ids) == 1
    assert 1 not in ids
    assert "\ud800" not in ids


def test_a_clause_with_a_file_of_accounts() -> None:
    file = read_accounts("x", [b"4711\n4712\n"])
    clause = Clause("c", ("docs",), custodians=("ann",), accounts=("1",), accounts_file=file)
    item = ItemView("docs", b"a", 0, "a/b")
    for custodian, account, reason in (
        (None, "4711", Reason.MATCH),
        (None, "1", Reason.MATCH),
        (None, "9", Reason.ACCOUNT),
        ("ann", None, Reason.MATCH),
        ("4711", None, Reason.CUSTODIAN),
        (None, None, Reason.HOLDER_UNKNOWN),
    ):
        seen = item._replace(custodian=custodian, account=account)
        assert covers(clause, seen).reason is reason
        assert compile_clauses([clause])(seen).covered is reason.covers
    only = replace(clause, custodians=(), accounts=())
    assert covers(only, item._replace(custodian="ann")).reason is Reason.ACCOUNT


def test_a_file_that_was_not_loaded_is_never_taken_for_an_empty_one() -> None:
    data = b"4711\n"
    sealed = replace(read_accounts("x", [data]), ids=None)
    clauses = [Clause("c", ("docs",), accounts_file=sealed), Clause("d", ("docs",), accounts_file=sealed)]
    with pytest.raises(AccountsNotLoaded, match='clause "c", accounts_file'):
        compile_clauses(clauses)
    asked: list[bytes] = []

    def read(digest: bytes) -> Iterator[bytes]:
        asked.append(digest)
        yield data

    loaded = load_accounts(clauses, read)
    assert asked == [sha256(data).digest()]
    assert loaded == tuple(clauses)
    assert compile_clauses(loaded)(ItemView("docs", b"a", 0, "", None, "4711")).clause_ids == ("c", "d")
    assert load_accounts(loaded, read) == loaded
    assert len(asked) == 1
    with pytest.raises(ClauseWrong, match="verify the vault"):
        load_accounts(clauses, lambda digest: iter([b"4711\n4712\n"]))
