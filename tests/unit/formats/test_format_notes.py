import pytest

from scelle.errors import FormatError
from scelle.formats.notes import (
    COSIGNATURE_V1,
    ED25519,
    ML_DSA_44,
    Note,
    Signature,
    is_key_name,
    make_vkey,
    parse_note,
    parse_vkey,
)
from scelle.formats.tokens import base64_text

NAME = "platform.example/po/o1"
# From the C2SP signed-note page: a key of another project, whose id must come out the same.
SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def test_key_of_another_log_reads_back() -> None:
    key = parse_vkey(SUMDB)
    assert (key.name, key.key_id, key.type) == ("sum.golang.org", 0x033DE0AE, ED25519)
    assert key.text() == SUMDB


@pytest.mark.parametrize(("type", "size"), [(ED25519, 32), (COSIGNATURE_V1, 32), (ML_DSA_44, 1312)])
def test_key_is_made_and_reads_back(type: int, size: int) -> None:
    key = make_vkey(NAME, type, bytes(size))
    assert parse_vkey(key.text()) == key
    assert f"+{key.key_id:08x}+" in key.text()


def test_key_id_depends_on_all_parts() -> None:
    keys = [
        make_vkey(NAME, ED25519, bytes(32)),
        make_vkey(NAME + "2", ED25519, bytes(32)),
        make_vkey(NAME, COSIGNATURE_V1, bytes(32)),
        make_vkey(NAME, ED25519, bytes(31) + b"\1"),
    ]
    assert len({key.key_id for key in keys}) == 4


@pytest.mark.parametrize(
    ("type", "size"),
    [(0, 32), (2, 32), (3, 32), (5, 32), (ED25519, 31), (ED25519, 33), (ML_DSA_44, 32), (255, 0)],
)
def test_key_of_unknown_type_or_width_is_refused(type: int, size: int) -> None:
    with pytest.raises(FormatError, match="width"):
        make_vkey(NAME, type, bytes(size))


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\n", "a\u00a0b", "a\u2028", "\t", "a\x7f", " a", "a\u3000"]
)
def test_key_name_is_refused(name: str) -> None:
    assert not is_key_name(name)
    with pytest.raises(FormatError, match="key name"):
        make_vkey(name, ED25519, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sum.golang.org",
        "sum.golang.org+033de0ae",
        "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033DE0AE+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+33de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+00033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.orh+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8\n",
        "sum.golang.org+033de0ae+",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuA==",
        "+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    ],
)
def test_other_spellings_of_a_key_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_vkey(text)


def _line(name: str = NAME, data: bytes = bytes(4) + b"s") -> bytes:
    return f"— {name} {base64_text(data)}\n".encode()


def test_note_reads_back() -> None:
    data = b"text\n\nmore\n\n" + _line() + _line("other", b"\0\0\0\1xyz")
    note = parse_note(data)
    assert note.text == b"text\n\nmore\n"
    assert note.signatures == (Signature(NAME, 0, b"s"), Signature("other", 1, b"xyz"))
    assert note.encode() == data


def test_signatures_are_found_by_name_and_id() -> None:
    key = make_vkey(NAME, ED25519, bytes(32))
    mine = Signature(NAME, key.key_id, b"a")
    note = Note(b"t\n", (Signature("other", key.key_id, b"b"), mine, Signature(NAME, key.key_id ^ 1, b"c")))
    assert note.signatures_of(key) == (mine,)
    assert note.signatures_of(make_vkey(NAME, COSIGNATURE_V1, bytes(32))) == ()


def test_one_name_may_sign_with_two_keys() -> None:
    assert len(parse_note(b"t\n\n" + _line() + _line(data=b"\0\0\0\1s")).signatures) == 2


def test_sixteen_lines_are_read_and_not_more() -> None:
    lines = [_line(data=bytes((0, 0, 0, number)) + b"s") for number in range(17)]
    assert len(parse_note(b"t\n\n" + b"".join(lines[:16])).signatures) == 16
    with pytest.raises(FormatError, match="17 signature lines"):
        parse_note(b"t\n\n" + b"".join(lines))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"t\n",
        b"t\n\n",
        b"t\n\n\n",
        b"t\n" + _line(),
        b"\n\n" + _line(),
        b"t" + _line(),
        b"t\n\n" + _line()[:-1],
        b"t\n\n" + _line() + b"\n",
        b"t\n\n" + _line() + _line(),
        b"t\n\n" + _line() + _line(data=bytes(4) + b"other"),
        b"t\n\n" + _line().replace(b"\n", b"\r\n"),
        b"t\r\n\r\n" + _line(),
        b"t\x00\n\n" + _line(),
        b"t\t\n\n" + _line(),
        b"t\xff\n\n" + _line(),
        b"t\n\n" + _line("a b"),
        b"t\n\n" + _line(""),
        b"t\n\n" + _line("a+b"),
        b"t\n\n" + _line(data=b""),
        b"t\n\n" + _line(data=bytes(3)),
        b"t\n\n" + _line(data=bytes(4)),
        b"t\n\n" + _line().replace("—".encode(), b"-"),
        b"t\n\n" + _line().replace(b" ", b"  ", 1),
        b"t\n\n" + _line().replace(b"HM=", b"HN="),
        b"t\n\n" + _line().replace(b"HM=", b"HM"),
        b"t\n\n" + "— name\n".encode(),
        b"t\n\n" + _line()[:-1] + b" \n",
    ],
    ids=lambda data: ascii(data[:30]),
)
def test_note_with_a_fault_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_note(data)


def test_note_is_not_unlimited() -> None:
    with pytest.raises(FormatError, match="64 MiB"):
        parse_note(b"t\n" * (32 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    "note",
    [
        Note(b"t", (Signature(NAME, 0, b"s"),)),
        Note(b"", (Signature(NAME, 0, b"s"),)),
        Note(b"\n", (Signature(NAME, 0, b"s"),)),
        Note(b"t\n\n" + _line()[:-1], (Signature(NAME, 1, b"s"),)),
        Note(b"t\r\n", (Signature(NAME, 0, b"s"),)),
        Note(b"t\n", ()),
        Note(b"t\n", (Signature("a b", 0, b"s"),)),
        Note(b"t\n", (Signature(NAME, 0, b""),)),
        Note(b"t\n", (Signature(NAME, 0, b"s"), Signature(NAME, 0, b"t"))),
    ],
    ids=str,
)
def test_note_that_would_not_read_back_is_not_written(note: Note) -> None:
    with pytest.raises(FormatError):
        note.encode()
