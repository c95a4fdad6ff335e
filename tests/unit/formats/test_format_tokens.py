import pytest

from scelle.errors import FormatError
from scelle.formats import tokens


@pytest.mark.parametrize("text", ["o1", "ec-2026-0108", "a", "0", "a.b-c", "a" * 63])
def test_order_id_is_accepted(text: str) -> None:
    assert tokens.is_order_id(text)


@pytest.mark.parametrize("text", ["", "-a", ".a", "A", "a_b", "a" * 64, "a/b", "é", "a\n", " a", "a "])
def test_order_id_is_refused(text: str) -> None:
    assert not tokens.is_order_id(text)


@pytest.mark.parametrize("text", ["s0001", "s0001/1", "s0001/22", "scelle.events", "a_b", "a" * 63 + "/9"])
def test_alias_is_accepted(text: str) -> None:
    assert tokens.is_alias(text)


@pytest.mark.parametrize(
    "text", ["", "S1", "s/", "s/a", "s/1/2", "/1", "_s", "a" * 64, "s/1\n", "s 1", "s/١"]
)
def test_alias_is_refused(text: str) -> None:
    assert not tokens.is_alias(text)


def test_scelle_aliases_are_reserved() -> None:
    assert tokens.is_reserved_alias("scelle.order")
    assert not tokens.is_reserved_alias("scelleorder")


@pytest.mark.parametrize(
    ("alias", "family", "belongs"),
    [
        ("s0001", "s0001", True),
        ("s0001/1", "s0001", True),
        ("s0001/10", "s0001", True),
        ("s0001/1", "s0001/1", True),
        ("s0001/10", "s0001/1", False),
        ("s00012", "s0001", False),
        ("s0001", "s0001/1", False),
    ],
)
def test_family(alias: str, family: str, belongs: bool) -> None:
    assert tokens.is_family_member(alias, family) is belongs


@pytest.mark.parametrize("text", ["restart", "a-b", "9", "--"])
def test_code_is_accepted(text: str) -> None:
    assert tokens.is_code(text)


@pytest.mark.parametrize("text", ["", "-", "A", "a_b", "a b", "a\n", "é"])
def test_code_is_refused(text: str) -> None:
    assert not tokens.is_code(text)


@pytest.mark.parametrize("text", ["platform.example", "a:80", "10.0.0.1:65536"])
def test_host_is_accepted(text: str) -> None:
    assert tokens.is_host(text)


@pytest.mark.parametrize("text", ["", "a:", ":80", "A.example", "a/b", "a:8x", "a b", "a:80\n"])
def test_host_is_refused(text: str) -> None:
    assert not tokens.is_host(text)


def test_origin_joins_and_splits() -> None:
    origin = tokens.make_origin("platform.example:443", "ec-1")
    assert origin == "platform.example:443/po/ec-1"
    assert tokens.parse_origin(origin) == ("platform.example:443", "ec-1")


@pytest.mark.parametrize(
    ("host", "order"), [("Platform", "o1"), ("", "o1"), ("a", ""), ("a", "O1"), ("a", "o/1")]
)
def test_origin_of_wrong_parts_is_refused(host: str, order: str) -> None:
    with pytest.raises(FormatError):
        tokens.make_origin(host, order)


@pytest.mark.parametrize(
    "text", ["", "a", "a/po/", "/po/o1", "a/po/o1/x", "a/PO/o1", "a/po/o1\n", "a/po/po/o1"]
)
def test_wrong_origin_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        tokens.parse_origin(text)


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(32), b"\xff" * 33])
def test_base64_reads_back(data: bytes) -> None:
    assert tokens.parse_base64(tokens.base64_text(data), len(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "YQ",
        "YQ=",
        "YR==",
        "YWF=",
        "YQ==\n",
        " YQ==",
        "Y Q==",
        "YQ==YQ==",
        "_-==",
        "Y!Q=",
        "====",
        "YQ===",
        "é===",
    ],
    ids=ascii,
)
def test_base64_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="not canonical"):
        tokens.parse_base64(text)


@pytest.mark.parametrize("size_bytes", [0, 31, 33])
def test_base64_of_another_width_is_refused(size_bytes: int) -> None:
    with pytest.raises(FormatError, match="width"):
        tokens.parse_base64(tokens.base64_text(bytes(32)), size_bytes)


def test_hex_reads_back() -> None:
    assert tokens.parse_hex("00ff10", 3) == b"\x00\xff\x10"
    assert tokens.parse_hex("") == b""


@pytest.mark.parametrize("text", ["0", "00F0", "0x00", "00 ff", " 00", "00\n", "gg", "٠٠", "0000f"])
def test_hex_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="hex not lower case"):
        tokens.parse_hex(text)


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 17])
def test_hex_of_another_width_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="width"):
        tokens.parse_hex(text, 16)


@pytest.mark.parametrize("number", [0, 1, 10, 2**63 - 1])
def test_decimal_reads_back(number: int) -> None:
    assert tokens.parse_decimal(str(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "00",
        "+1",
        "-0",
        "-1",
        "1_0",
        "١",
        "1.0",
        "1e3",
        " 1",
        "1\n",
        str(2**63),
        "9" * 19,
        "1" * 5000,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_decimal_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="number not canonical"):
        tokens.parse_decimal(text)


@pytest.mark.parametrize("time", [0, -1, 1, 2**63 - 1, -(2**63) + 1])
def test_time_reads_back(time: int) -> None:
    assert tokens.parse_time(str(time)) == time


@pytest.mark.parametrize(
    "text", ["", "-", "-0", "-01", "+1", "--1", "1_0", "-١", str(2**63), str(-(2**63)), "1 "]
)
def test_time_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="time not canonical"):
        tokens.parse_time(text)


def test_checked_width() -> None:
    assert tokens.checked_width(b"ab", 2, "pair") == b"ab"
    with pytest.raises(FormatError, match="pair is 3 bytes, must be 2"):
        tokens.checked_width(b"abc", 2, "pair")


def test_shown_is_short_and_ascii() -> None:
    assert tokens.shown("é") == r"'\xe9'"
    assert len(tokens.shown("x" * 500)) <= 62
