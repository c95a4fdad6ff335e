"""Order files: what is read and how, and every way in which one is refused."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.errors import (
    AuthorityKeyWrong,
    InputError,
    OrderAccountsUnreadable,
    OrderClauseWrong,
    OrderDocumentUnreadable,
    OrderFileUnreadable,
    OrderKeyMissing,
    OrderKeyUnknown,
    OrderNotToml,
    OrderSourceUnknown,
    OrderValueWrong,
)
from scelle.formats.canonical_json import canonical_json
from scelle.formats.notes import COSIGNATURE_V1, ED25519, make_vkey
from scelle.orders import (
    TYPES,
    Notify,
    OrderFile,
    OrderType,
    Temporal,
    check_sources,
    order_to_json,
    read_order_file,
)
from scelle.orders.papers import ACCOUNTS_MAX_BYTES, DOCUMENT_MAX_BYTES, FILE_MAX_BYTES
from scelle.scope import Keep, clause_to_json

FIXTURES = Path(__file__).parents[3] / "fixtures" / "orders"
RIGHT = sorted(path for path in FIXTURES.glob("*.toml") if not path.name.startswith("wrong-"))
WRONG = sorted(FIXTURES.glob("wrong-*.toml"))

ORDER = """[order]
matter = "m"
type = "internal"
authority = "a"
legal_basis = "b"
reference = "secret-reference-77"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
"""
CLAUSE = """
[[clause]]
id = "all"
sources = ["docs"]
"""

Read = Callable[..., OrderFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads an order made of the short one, with lines added or replaced."""

    def reader(
        order: str = "", clause: str = "", *, without: str = "", whole: bytes | None = None
    ) -> OrderFile:
        lines = [line for line in ORDER.splitlines() if not (without and line.startswith(without))]
        text = "\n".join(lines) + "\n" + order + "\n" + CLAUSE + clause
        path = tmp_path / "order.toml"
        path.write_bytes(text.encode() if whole is None else whole)
        return read_order_file(path)

    return reader


def refusal(error: type[InputError], read: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        read()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def us(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


# --- what is read ----------------------------------------------------------------------------------------


def test_the_order_of_the_issue() -> None:
    path = FIXTURES / "dsa-retention.toml"
    found = read_order_file(path)
    order = found.order
    assert order.id == "ec-2026-0108"
    assert order.type is OrderType.DSA_RETENTION
    assert (order.matter, order.addressee) == ("dsa-2023-x", "Example Platform International")
    assert (order.authority, order.reference) == ("European Commission", "EC-2026-0108")
    assert order.legal_basis == "Regulation (EU) 2022/2065, Article 72"
    assert (order.issued.text, order.issued.at_us) == ("2026-01-08", us(2026, 1, 7, 23))
    assert (order.received.text, order.received.at_us) == ("2026-01-08T15:00:00+01:00", us(2026, 1, 8, 14))
    assert order.effective == order.received
    assert order.until is not None
    assert (order.until.text, order.until.at_us) == ("2026-12-31", us(2026, 12, 31, 23))
    assert order.secrecy_until is not None
    assert order.secrecy_until.at_us == us(2027, 6, 30, 22)
    assert (order.zone, order.temporal, order.notify) == ("Europe/Brussels", Temporal.BOTH, Notify.PERMITTED)
    assert order.document == found.document_name == "letter.txt"
    assert found.document == (FIXTURES / "letter.txt").read_bytes()
    assert found.toml_bytes == path.read_bytes()
    assert found.warnings == ()
    documents, pictures = found.clauses
    assert (documents.period_from_us, documents.period_to_us) == (us(2024, 12, 31, 23), us(2026, 12, 31, 23))
    assert (documents.sources, documents.paths) == (("docs", "mail"), ("**/*",))
    assert (documents.custodians, documents.accounts) == (("staff-017@example.org",), ("4711",))
    assert (documents.restricted, documents.keep) == (False, Keep.CONTENT)
    assert (pictures.keep, pictures.period_from_us, pictures.custodians) == (Keep.DIGEST, None, ())


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_right_orders_are_read_without_a_warning(path: Path) -> None:
    found = read_order_file(path)
    assert found.warnings == ()
    check_sources(found.clauses, {"docs", "mail"})
    canonical_json([order_to_json(found.order), *map(clause_to_json, found.clauses)])  # can be sealed


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_wrong_orders_are_refused_in_one_line(path: Path) -> None:
    code = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# refused: ")
    with pytest.raises(InputError) as caught:
        read_order_file(path)
    assert caught.value.code == code
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f'"{path}"')  # where
    assert any(mark in message for mark in (";", "?"))  # what to do


def test_there_are_more_wrong_orders_than_right_ones() -> None:
    assert len(WRONG) > 30 > len(RIGHT) > 3


def test_the_shortest_order_takes_the_defaults_of_its_type(read: Read) -> None:
    order = read().order
    assert (order.zone, order.temporal, order.notify) == ("UTC", Temporal.BOTH, Notify.PERMITTED)
    assert order.received.text == "2026-01-08T14:00:00Z"
    assert (order.until, order.effective, order.addressee, order.document) == (None, None, None, None)


@pytest.mark.parametrize("type", OrderType)
def test_every_type_is_read_with_its_own_defaults(read: Read, type: OrderType) -> None:
    order = read(f'type = "{type}"', without="type").order
    assert (order.type, order.temporal, order.notify) == (type, TYPES[type].reach, TYPES[type].notify)


def test_an_id_is_random_and_not_made_from_the_reference(read: Read, tmp_path: Path) -> None:
    first, second = read().order.id, read().order.id
    assert first != second
    assert len(first) == 16
    assert first.isalnum()
    fixed = read_order_file(tmp_path / "order.toml", entropy=lambda count: bytes(range(count)))
    read('addressee = "another"')
    again = read_order_file(tmp_path / "order.toml", entropy=lambda count: bytes(range(count)))
    assert fixed.order.id == again.order.id == "aaaqeayeaudaocaj"


@pytest.mark.parametrize(
    ("written", "text", "at_us"),
    [
        ("2026-01-08", "2026-01-08", us(2026, 1, 7, 23)),
        ('"2026-01-08"', "2026-01-08", us(2026, 1, 7, 23)),
        ("2026-01-08T14:00:00Z", "2026-01-08T15:00:00+01:00", us(2026, 1, 8, 14)),
        ("2026-01-08 14:00:00Z", "2026-01-08T15:00:00+01:00", us(2026, 1, 8, 14)),
        ("2026-01-08T14:00:00-05:00", "2026-01-08T20:00:00+01:00", us(2026, 1, 8, 19)),
        ("2026-01-08T14:00:00", "2026-01-08T14:00:00+01:00", us(2026, 1, 8, 13)),
        ("2026-07-08T14:00:00", "2026-07-08T14:00:00+02:00", us(2026, 7, 8, 12)),
        ('"2026-01-08T14:00:00Z"', "2026-01-08T15:00:00+01:00", us(2026, 1, 8, 14)),
        ('"2026-01-08t14:00:00z"', "2026-01-08T15:00:00+01:00", us(2026, 1, 8, 14)),
        ("2026-01-08T14:00:00.25Z", "2026-01-08T15:00:00.250000+01:00", us(2026, 1, 8, 14) + 250_000),
        ('"2026-01-08T14:00:00.1234567Z"', "2026-01-08T15:00:00.123456+01:00", us(2026, 1, 8, 14) + 123_456),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00", us(2026, 10, 25, 1, 30)),
    ],
)
def test_days_and_times(read: Read, written: str, text: str, at_us: int) -> None:
    order = read(f'zone = "Europe/Brussels"\neffective = {written}').order
    assert order.effective is not None
    assert (order.effective.text, order.effective.at_us) == (text, at_us)


def test_a_clauses_period_is_read_in_the_orders_zone(read: Read) -> None:
    found = read('zone = "Asia/Tokyo"', "from = 1969-07-20T20:17:00Z\nto = 1970-01-01")
    assert found.clauses[0].period_from_us == us(1969, 7, 20, 20, 17)
    assert found.clauses[0].period_to_us == -9 * 3600 * 1_000_000
    local = read('zone = "Asia/Tokyo"', "from = 2026-01-01T09:00:00").clauses[0]
    assert local.period_from_us == us(2026, 1, 1)


def test_a_day_without_a_midnight(read: Read) -> None:
    found = read('zone = "Asia/Beirut"', "from = 2026-03-29\nto = 2026-03-30")
    assert found.clauses[0].period_from_us == us(2026, 3, 28, 22)  # 01:00 there
    assert found.clauses[0].period_to_us == us(2026, 3, 29, 21)


def test_utf8_with_a_mark_and_windows_line_ends(read: Read) -> None:
    whole = b"\xef\xbb\xbf" + (ORDER + CLAUSE).replace("\n", "\r\n").encode()
    found = read(whole=whole)
    assert found.toml_bytes == whole
    assert found.order.matter == "m"


def test_deadline_only_types_need_no_clause(tmp_path: Path) -> None:
    path = tmp_path / "order.toml"
    path.write_text(ORDER.replace("internal", "dsa-rfi-simple"))
    assert read_order_file(path).clauses == ()


def test_a_document_beside_the_file_or_elsewhere(read: Read, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "örder.pdf").write_bytes(b"%PDF")
    (tmp_path / "link.pdf").symlink_to(tmp_path / "papers" / "örder.pdf")
    for name in ("papers/örder.pdf", str(tmp_path / "papers" / "örder.pdf"), "papers/../papers/örder.pdf"):
        found = read(f"document = '{name}'")
        assert (found.document, found.document_name, found.order.document) == (b"%PDF", *2 * ("örder.pdf",))
    assert read("document = 'link.pdf'").document == b"%PDF"


def test_an_authoritys_key(read: Read) -> None:
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    right = make_vkey("authority.example", COSIGNATURE_V1, public).text()
    assert read(f'authority_key = "{right}"').order.authority_key == right
    wrong = make_vkey("authority.example", ED25519, public).text()
    said = refusal(AuthorityKeyWrong, lambda: read(f'authority_key = "{wrong}"'))
    assert "0x01" in said
    assert "0x04" in said
    flipped = right[:-3] + ("A" if right[-3] != "A" else "B") + right[-2:]
    refusal(AuthorityKeyWrong, lambda: read(f'authority_key = "{flipped}"'))


# --- what is odd ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("issued = 2026-01-09", "issued: 2026-01-09 is after `received`"),
        ("effective = 2026-01-07", "effective: 2026-01-07 is before `issued`"),
        ("secrecy_until = 2026-01-07", "secrecy_until: 2026-01-07 is before `received`"),
        ("acknowledge_by = 2026-01-07", "acknowledge_by: 2026-01-07 is before `received`"),
        ('type = "epoc-pr"\ntemporal = "both"', "temporal: an order of type epoc-pr mostly reaches only"),
        (
            'type = "dsa-rfi-simple"',
            "type: dsa-rfi-simple makes no hold; put these clauses under an internal",
        ),
        ('type = "dsa-retention"\nuntil = 2026-12-31', "zone: not given, so days are read in UTC"),
        ('type = "dsa-retention"\nzone = "UTC"', "until: missing"),
        ('type = "epoc-pr"\nuntil = 2027-01-01', "later than the law's"),
        ("until = 2026-12-31T00:00:00Z", "until: 2026-12-31T00:00:00Z ends when that day begins"),
        (
            "issued = 2025-01-08\neffective = 2025-01-08\nuntil = 2025-12-31",
            "until: 2025-12-31 is before `received`: the order had ended when it arrived",
        ),
    ],
)
def test_oddities_are_told_and_not_refused(read: Read, order: str, said: str) -> None:
    replaced = order.split(" ")[0]
    warnings = read(order, without=replaced).warnings
    assert any(warning.startswith(said) or said in warning for warning in warnings), warnings
    assert all("\n" not in warning for warning in warnings)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["matter", "type", "authority", "legal_basis", "reference", "issued", "received"]
)
def test_each_key_that_must_be_there(read: Read, key: str) -> None:
    assert refusal(OrderKeyMissing, lambda: read(without=key)).endswith(f"[order] {key}: missing; add it")


@pytest.mark.parametrize("id", ["vault", "", "-a", ".a", "A", "a_b", "a b", "é", "a" * 64, "a/b", "a\\n"])
def test_ids_that_are_none(read: Read, id: str) -> None:
    refusal(OrderValueWrong, lambda: read(f'id = "{id}"'))


@pytest.mark.parametrize("id", ["a", "0", "a" * 63, "a.b-c", "vault-2"])
def test_ids_that_are_some(read: Read, id: str) -> None:
    assert read(f'id = "{id}"').order.id == id


@pytest.mark.parametrize(
    "written",
    [
        '"2026-01-08T14:00:00"',
        '"2026-01-08T14:00Z"',
        '"2026-01-08T24:00:00Z"',
        '"2026-01-08T23:59:60Z"',
        '"20260108"',
        '"2026-W02-4"',
        '"08/01/2026"',
        '"٢٠٢٦-٠١-٠٨"',
        '""',
        "1899-12-31",
        "2200-01-01",
        "9999-12-31",
        "true",
        "1.5",
        "[2026-01-08]",
        "{}",
    ],
)
def test_dates_that_are_none(read: Read, written: str) -> None:
    assert "effective" in refusal(OrderValueWrong, lambda: read(f"effective = {written}"))


@pytest.mark.parametrize("written", ["9999-12-31", "1699-12-31", '"0001-01-01"'])
def test_periods_that_are_out_of_reach(read: Read, written: str) -> None:
    assert "leave it out" in refusal(OrderValueWrong, lambda: read(clause=f"to = {written}"))


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ("paths = [1]", "must be a string in quotes"),
        ("paths = [true]", "must be a string in quotes"),
        ("custodians = [[]]", "must be a string in quotes"),
        ('accounts = [""]', "empty"),
        ('accounts = ["a\\u0000"]', "U+0000"),
        ('accounts = ["a\\u202Eb"]', "U+202E"),
        ('accounts = ["a\\u2028b"]', "U+2028"),
        (f'accounts = ["{"x" * 1001}"]', "longer than 1000"),
        ("keep = true", "must be a string in quotes"),
        ("restricted = 1", "must be true or false"),
    ],
)
def test_values_of_clauses_that_are_none(read: Read, clause: str, said: str) -> None:
    message = refusal(OrderValueWrong, lambda: read(clause=clause))
    assert said in message
    assert "clause 'all', " in message


def test_keys_before_any_table(read: Read) -> None:
    said = refusal(OrderKeyUnknown, lambda: read(whole=b"until = 2026-12-31\n" + (ORDER + CLAUSE).encode()))
    assert said.endswith("until: unknown table or key; it belongs below [order]")
    refusal(OrderKeyUnknown, lambda: read(whole=b"version = 2\n" + (ORDER + CLAUSE).encode()))


def test_clauses_without_a_name_are_counted(read: Read) -> None:
    said = refusal(OrderKeyMissing, lambda: read(clause='[[clause]]\nsources = ["docs"]'))
    assert "clause number 2, id: missing" in said


def test_names_in_messages_stay_on_one_line(read: Read) -> None:
    refusal(OrderValueWrong, lambda: read(clause='[[clause]]\nid = "a\\nb"\nsources = ["x"]'))
    with pytest.raises(InputError) as caught:
        read('"two\\nlines" = 1')
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "order.toml"
    assert "No such file" in refusal(OrderFileUnreadable, lambda: read_order_file(path))
    assert "directory" in refusal(OrderFileUnreadable, lambda: read_order_file(tmp_path))
    path.write_bytes(b"")
    assert "empty" in refusal(OrderFileUnreadable, lambda: read_order_file(path))
    path.write_bytes(b"#\n" * 3 + b"caf\xe9")
    assert "line 4: not UTF-8" in refusal(OrderFileUnreadable, lambda: read_order_file(path))
    path.write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    assert "larger than 1 MiB" in refusal(OrderFileUnreadable, lambda: read_order_file(path))
    nowhere = tmp_path / "x" / "order.toml"
    refusal(OrderFileUnreadable, lambda: read_order_file(nowhere))
    refusal(OrderFileUnreadable, lambda: read_order_file(Path("a\x00b")))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refusal(OrderFileUnreadable, lambda: read_order_file(loop))
    refusal(OrderFileUnreadable, lambda: read_order_file(tmp_path / ("n" * 300)))


def test_a_pipe_is_refused_and_not_waited_for(read: Read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(OrderFileUnreadable, lambda: read_order_file(tmp_path / "pipe"))
    assert "no regular file" in refusal(OrderDocumentUnreadable, lambda: read("document = 'pipe'"))


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "order.toml"
    path.write_text(ORDER)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "Permission denied" in refusal(OrderFileUnreadable, lambda: read_order_file(path))


@pytest.mark.parametrize(
    "whole",
    [
        b"\x00",
        b"a = ",
        b"[order]\nx = 1\nx = 2",
        b"a = " + b"[" * 100_000,
        b"a = 1" + b"0" * 10_000,
        b"issued = 2026-02-30",
        b"{}",
        b'a = "\\ud800"',
    ],
)
def test_what_is_no_toml(read: Read, whole: bytes) -> None:
    refusal(OrderNotToml, lambda: read(whole=whole))


def test_documents_that_are_none(read: Read, tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    assert "empty" in refusal(OrderDocumentUnreadable, lambda: read("document = 'empty.pdf'"))
    with (tmp_path / "huge.pdf").open("wb") as huge:
        huge.truncate(DOCUMENT_MAX_BYTES + 1)
    assert "larger than 1024 MiB" in refusal(OrderDocumentUnreadable, lambda: read("document = 'huge.pdf'"))
    refusal(OrderValueWrong, lambda: read("document = ''"))
    refusal(OrderDocumentUnreadable, lambda: read(f"document = '{'n' * 300}'"))
    assert '"gone.pdf"' in refusal(OrderDocumentUnreadable, lambda: read("document = 'gone.pdf'"))


def test_sources_that_the_vault_does_not_have(read: Read) -> None:
    found = read()
    check_sources(found.clauses, {"docs"})
    assert refusal(OrderSourceUnknown, lambda: check_sources(found.clauses, {"dosc", "mail"})) == (
        'clause "all", sources: no source "docs"; did you mean "dosc"?'
    )
    assert "scelle source add" in refusal(OrderSourceUnknown, lambda: check_sources(found.clauses, ()))


# --- clauses on records ------------------------------------------------------------------------------------


def test_a_clause_on_records(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"4711\r\n\r\n4712\r\n4711\r\n")
    found = read(
        clause="accounts_file = 'ids.txt'\nwhere = \"r.score > 5\"\n"
        "[clause.match]\nprompt = '(?i)fox'\noutput = 'x'\n"
        '[clause.dimensions]\nsurface = ["web"]\nmodel = ["imagine-2", "imagine-1"]\n'
    )
    (clause,) = found.clauses
    assert clause.dimensions == (("model", ("imagine-2", "imagine-1")), ("surface", ("web",)))
    assert clause.match == (("output", "x"), ("prompt", "(?i)fox"))
    assert clause.where == "r.score > 5"
    file = clause.accounts_file
    assert file is not None
    assert (file.name, file.accounts, file.duplicates, file.blanks) == ("ids.txt", 2, 1, 1)
    assert file.ids is not None
    assert "4712" in file.ids
    (paper,) = found.accounts
    assert b"".join(paper.pieces()) == (tmp_path / "ids.txt").read_bytes()
    canonical_json(clause_to_json(clause))  # can be sealed


def test_a_file_of_accounts_is_read_once_for_all_clauses(read: Read, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"4711\n")
    (tmp_path / "copy.txt").write_bytes(b"4711\n")
    more = "\n[[clause]]\nid = '{}'\nsources = ['docs']\naccounts_file = '{}'\n"
    found = read(
        clause="accounts_file = 'ids.txt'" + more.format("b", "ids.txt") + more.format("c", "copy.txt")
    )
    first, second, third = (clause.accounts_file for clause in found.clauses)
    assert first is second
    assert third is not None
    assert third.name == "copy.txt"
    assert len(found.accounts) == 1


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ("[clause.dimensions]", "dimensions: must be a table"),
        ("dimensions = ['model']", "dimensions: must be a table"),
        ("dimensions = { model = 'x' }", "dimensions, model: must be a list"),
        ("dimensions = { model = [7] }", "dimensions, model: must be a string in quotes"),
        ("match = 'x'", "match: must be a table"),
        ("match = { prompt = ['x'] }", "match, prompt: must be a string in quotes"),
        ("match = { \"a\\nb\" = 'x' }", "match, 'a\\nb': has the control character U+000A"),
        ("match = { prompt = '' }", "match, prompt: empty"),
        ("where = true", "where: must be a string in quotes"),
        ("accounts_file = ['x']", "accounts_file: must be a string in quotes"),
    ],
)
def test_values_of_clauses_on_records_that_are_none(read: Read, clause: str, said: str) -> None:
    assert f"clause 'all', {said}" in refusal(OrderValueWrong, lambda: read(clause=clause))


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ("dimensions = { account = ['1'] }", "dimensions.account: is named by `accounts`"),
        ("dimensions = { model = [] }", "dimensions.model: needs identifiers"),
        ("match = { prompt = '(a' }", "match.prompt: no regular expression"),
        ("match = { prompt = '(a)\\1' }", "match.prompt: character 4:"),
        ("where = 'r.score >'", "where: no CEL expression"),
        ("where = 'score > 5'", "where: unknown name 'score'; write r.score"),
    ],
)
def test_clauses_on_records_that_mean_nothing(read: Read, clause: str, said: str) -> None:
    message = refusal(OrderClauseWrong, lambda: read(clause=clause))
    assert "clause 'all', " in message
    assert said in message


def test_files_of_accounts_that_are_none(read: Read, tmp_path: Path) -> None:
    def said(name: str) -> str:
        return refusal(OrderAccountsUnreadable, lambda: read(clause=f"accounts_file = '{name}'"))

    assert 'accounts_file: "gone.txt": cannot be read (No such file' in said("gone.txt")
    assert "is a directory" in said(".")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in said("pipe")
    (tmp_path / "ids.txt").write_bytes(b"")
    assert "is empty; give the accounts" in said("ids.txt")
    (tmp_path / "ids.txt").write_bytes(b"\n\n")
    assert '"ids.txt", names no account' in said("ids.txt")
    (tmp_path / "ids.txt").write_bytes(b"a\nb\xff\n")
    assert '"ids.txt", line 2: not UTF-8' in said("ids.txt")
    with (tmp_path / "ids.txt").open("wb") as huge:
        huge.truncate(ACCOUNTS_MAX_BYTES + 1)
    assert "larger than 1024 MiB; give the accounts alone" in said("ids.txt")


def test_identifiers_with_a_kind_are_asked_about(read: Read) -> None:
    found = read(clause="accounts = ['account:4711', '4712']\ncustodians = ['custodian:ann']")
    assert [warning.partition(" is compared")[0] for warning in found.warnings] == [
        "clause \"all\", accounts: 'account:4711'",
        "clause \"all\", custodians: 'custodian:ann'",
    ]
