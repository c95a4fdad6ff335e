"""What commits, tags and reflogs say of themselves, also where they say it badly."""

import json

import pytest

from scelle.sources.git.headers import parse_headers, time_of_identity
from scelle.sources.git.reflogs import parse_line
from scelle.sources.interfaces import UNDATED

TREE = b"tree " + b"a" * 40 + b"\n"
WHO = b"Ada Ashgrove <ada@example.org> 1700000000 +0100"
OLD, NEW = b"0" * 40, b"f" * 40


def commit(*lines: bytes, message: bytes = b"words\n") -> bytes:
    return b"".join(line + b"\n" for line in lines) + b"\n" + message


def test_a_commit_says_its_tree_its_parents_and_who() -> None:
    parents = [b"parent " + letter * 40 for letter in (b"b", b"c")]
    data = commit(TREE[:-1], *parents, b"author " + WHO, b"committer Ben <b@example.org> 1700000001 -0500")
    headers = parse_headers(b"commit", data)
    assert (headers.time_us, headers.time_basis) == (1_700_000_001_000_000, "committer")
    assert json.loads(headers.meta_json) == {
        "tree": "a" * 40,
        "parents": ["b" * 40, "c" * 40],
        "author": WHO.decode(),
        "committer": "Ben <b@example.org> 1700000001 -0500",
    }


def test_a_signature_or_a_message_says_nothing_about_who() -> None:
    signature = [b"gpgsig -----BEGIN", b" committer Eve <e@example.org> 1 +0000", b" -----END"]
    data = commit(
        TREE[:-1], b"author " + WHO, b"committer " + WHO, *signature, message=b"committer Eve <e> 2 +0000\n"
    )
    assert parse_headers(b"commit", data).time_us == 1_700_000_000_000_000


def test_a_tag_says_what_it_stands_on() -> None:
    data = commit(b"object " + NEW, b"type commit", b"tag v1", b"tagger " + WHO)
    headers = parse_headers(b"tag", data)
    assert (headers.time_us, headers.time_basis) == (1_700_000_000_000_000, "tagger")
    meta = {"object": NEW.decode(), "type": "commit", "tag": "v1", "tagger": WHO.decode()}
    assert json.loads(headers.meta_json) == meta


def test_an_old_tag_without_a_tagger_is_undated() -> None:
    headers = parse_headers(b"tag", commit(b"object " + NEW, b"type commit", b"tag v1"))
    assert (headers.time_us, headers.time_basis) == (UNDATED, "none")
    assert json.loads(headers.meta_json)["tagger"] is None


def test_a_name_outside_utf8_is_percent_encoded() -> None:
    data = commit(TREE[:-1], b"author Ren\xe9 100% <r@example.org> 1 +0000", b"committer " + WHO)
    assert (
        json.loads(parse_headers(b"commit", data).meta_json)["author"]
        == "Ren%E9 100%25 <r@example.org> 1 +0000"
    )


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"tree", b"\xff\0\n", b"committer \n\n", b" committer x> 1 +0"]
)
def test_a_malformed_commit_is_undated_and_no_error(data: bytes) -> None:
    headers = parse_headers(b"commit", data)
    assert headers.time_us == UNDATED
    assert json.loads(headers.meta_json)["parents"] == []


@pytest.mark.parametrize(
    ("identity", "time_us"),
    [
        (b"A <a> 0 +0000", 0),
        (b"A <a> -1 +0000", -1_000_000),
        (b"<> 5 +051800", 5_000_000),
        (b"A <a@b> 7", 7_000_000),
        (b"A> <a> 8 +0000", UNDATED),
        (b"A <a>", UNDATED),
        (b"", UNDATED),
        (b"A <a> 9223372036854 +0000", 9223372036854_000_000),
        (b"A <a> 9223372036855 +0000", UNDATED),
        (b"A <a> -9223372036855 +0000", UNDATED),
        (b"A <a> 18446744073709551615 +0000", UNDATED),
    ],
)
def test_the_time_of_an_identity(identity: bytes, time_us: int) -> None:
    assert time_of_identity(identity) == time_us


def test_a_line_of_a_reflog() -> None:
    entry = parse_line(OLD + b" " + NEW + b" " + WHO + b"\tcommit: a > 5 +0000\tb")
    assert entry is not None
    assert entry == (
        OLD,
        NEW,
        b"Ada Ashgrove <ada@example.org>",
        1_700_000_000_000_000,
        b"commit: a > 5 +0000\tb",
    )


def test_a_line_of_a_reflog_without_a_message() -> None:
    entry = parse_line(OLD + b" " + NEW + b" " + WHO)
    assert entry is not None
    assert entry.message == b""


@pytest.mark.parametrize(
    "line",
    [b"", OLD, OLD + b" " + NEW, OLD + b" " + NEW + b" Ada 1 +0000", OLD[1:] + b" " + NEW + b" " + WHO],
)
def test_what_is_no_line_of_a_reflog(line: bytes) -> None:
    assert parse_line(line) is None
