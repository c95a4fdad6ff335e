import io
from base64 import b64encode
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats import lines
from scelle.formats.lines import (
    FarNeighbour,
    FieldsRecord,
    Hit,
    NearNeighbour,
    OpenField,
    ProofLine,
    RangeLine,
    RecordLine,
    WholeLine,
    WholeRecord,
    WithheldLine,
    parse_proof_line,
    parse_record_line,
    parse_withheld_line,
    read_lines,
)
from scelle.formats.records import field_leaf, field_salt, record_commitment
from scelle.formats.values import NULL, bytes_value, integer_value, text_value

A, B, C = bytes(32), b"\1" * 32, b"\2" * 32
SALT, TAG = b"\3" * 16, b"\4" * 16
HIT = Hit(SALT, -(2**63), 5, A, (B, C))
RANGE = RangeLine(
    4, 12, (HIT, B, Hit(SALT, 7, 6, C)), FarNeighbour(b"\x2f", A), NearNeighbour(TAG, HIT), (A, B)
)
VALUES = (integer_value(1), text_value("é"), NULL)


@pytest.mark.parametrize(
    "line",
    [
        RANGE,
        RangeLine(0, 0, (), None, None, (), "undated"),
        RangeLine(1, 2, (), FarNeighbour(b"ab", B), FarNeighbour(TAG, C), ()),
        WholeLine(7),
    ],
    ids=lambda line: type(line).__name__,
)
def test_proof_line_reads_back(line: ProofLine) -> None:
    assert parse_proof_line(line.encode()) == line


def test_range_line_is_the_page_written_out() -> None:
    a, b, c, salt, tag = "00" * 32, "01" * 32, "02" * 32, "03" * 16, "04" * 16
    hit = f'["{salt}",-9223372036854775808,5,"{a}",["{b}","{c}"]]'
    assert RANGE.encode().decode() == (
        f'{{"at":4,"hits":[{hit},"{b}",["{salt}",7,6,"{c}",[]]],"left":["2f","{a}"],"lo":12,'
        f'"proof":["{a}","{b}"],"range":"dated","right":["{tag}",{hit}]}}\n'
    )
    assert WholeLine(7).encode() == b'{"at":7,"whole":true}\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"at":4', b'"at":-4'),
        (b'"at":4', b'"at":"4"'),
        (b'"at":4', b'"at":04'),
        (b'"at":4', b'"at":4.0'),
        (b'"at":4', b'"at":true'),
        (b'"at":4', b'"at":4,"at":4'),
        (b'"at":4', b'"at":4,"more":1'),
        (b'"at":4', b'"at": 4'),
        (b'"at":4,', b""),
        (b'"lo":12', b'"lo":null'),
        (b'"lo":12', b'"lo":9223372036854775808'),
        (b'"range":"dated"', b'"range":"all"'),
        (b'"range":"dated"', b'"range":null'),
        (b'["2f",', b'["2F",'),
        (b'["2f",', b'["",'),
        (b'["2f",', b'["2f2f2f",'),
        (b'["2f",', b'["' + b"2f" * 15 + b'",'),
        (b'["2f",', b'["' + b"2f" * 17 + b'",'),
        (b'["2f",', b"[5,"),
        (b'["2f",', b'["2f","2f",'),
        (b'"left":["2f","' + b"00" * 32, b'"left":["2f","' + b"00" * 31),
        (b'"left":["2f","' + b"00" * 32, b'"left":["2f","' + b"00" * 33),
        (b'"right":["' + b"04" * 16, b'"right":["04'),
        (b'"right":["' + b"04" * 16, b'"right":["' + b"04" * 15),
        (b'"hits":[["' + b"03" * 16, b'"hits":[["' + b"03" * 24),
        (b'"hits":[["' + b"03" * 16, b'"hits":[["' + b"03" * 15),
        (b'"hits":[["' + b"03" * 16 + b'",', b'"hits":[["' + b"03" * 16 + b'","x",'),
        (b",7,6,", b",7,-6,"),
        (b",7,6,", b',"7",6,'),
        (b",7,6,", b",7,6,8,"),
        (b",7,6,", b",7,"),
        (b',7,6,"02', b',7,6,"2'),
        (b',[]]],"left"', b'],"left"'),
        (b',[]]],"left"', b',null]],"left"'),
        (b',[]]],"left"', b',["00"]]],"left"'),
        (b'"proof":["', b'"proof":["00'),
        (b'"proof":["00', b'"proof":["'),
        (b'"proof":[', b'"proof":[5,'),
        (b'"hits":[', b'"hits":[5,'),
        (b'"hits":[', b'"hits":[null,'),
        (b'"hits":[', b'"hits":["00",'),
        (b'"right":[', b'"right":[[],'),
        (b"}\n", b"}"),
        (b"}\n", b"}\r\n"),
        (b"}\n", b"}\n\n"),
        (b"}\n", b"} \n"),
    ],
    ids=lambda value: value.decode()[:30],
)
def test_range_line_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    line = RANGE.encode()
    assert old in line
    with pytest.raises(FormatError):
        parse_proof_line(line.replace(old, new, 1))


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":7,"whole":false}\n',
        b'{"at":7,"whole":1}\n',
        b'{"at":7,"whole":null}\n',
        b'{"whole":true}\n',
        b'{"at":-7,"whole":true}\n',
        b'{"at":7,"lo":0,"whole":true}\n',
        b'{"whole":true,"at":7}\n',
        b"[]\n",
        b"5\n",
        b"\n",
        b"",
    ],
)
def test_whole_line_with_a_fault_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_proof_line(line)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Hit(SALT[1:], 1, 2, A),
        lambda: Hit(SALT + b"8bytes..", 1, 2, A),
        lambda: Hit(SALT, 1, 2, A[1:]),
        lambda: Hit(SALT, 1, 2, A, (B[1:],)),
        lambda: Hit(SALT, 2**63, 2, A),
        lambda: Hit(SALT, 1, -2, A),
        lambda: FarNeighbour(b"", A),
        lambda: FarNeighbour(b"abc", A),
        lambda: FarNeighbour(TAG[1:], A),
        lambda: FarNeighbour(b"a", A[1:]),
        lambda: NearNeighbour(TAG[1:], HIT),
        lambda: RangeLine(-1, 0, (), None, None, ()),
        lambda: RangeLine(0, -1, (), None, None, ()),
        lambda: RangeLine(0, 0, (A[1:],), None, None, ()),
        lambda: RangeLine(0, 0, (), None, None, (A[1:],)),
        lambda: RangeLine(0, 0, (), None, None, (), "none"),
        lambda: WholeLine(-1),
        lambda: OpenField(SALT + SALT, NULL),
        lambda: OpenField(SALT, b"n\0\0\0\1\0"),
        lambda: OpenField(SALT, NULL + NULL),
        lambda: OpenField(SALT, b""),
        lambda: OpenField(SALT, bytes_value(bytes(16 * 1024 * 1024 + 1))),
        lambda: FieldsRecord(0, 0, ()),
        lambda: FieldsRecord(0, 0, (A[1:],)),
        lambda: FieldsRecord(0, -1, (A,)),
        lambda: FieldsRecord(0, 0, (A,) * 65_536),
        lambda: WholeRecord(0, 0, SALT[1:], (NULL,)),
        lambda: WholeRecord(0, 0, SALT, ()),
        lambda: WholeRecord(0, 0, SALT, (NULL + NULL,)),
        lambda: WholeRecord(-1, 0, SALT, (NULL,)),
        lambda: WithheldLine(0, 0, "-"),
        lambda: WithheldLine(0, 0, ""),
        lambda: WithheldLine(0, 0, "privacy", ""),
        lambda: WithheldLine(0, -1, "privacy"),
        lambda: WithheldLine(0, 0, "privacy", None, A[1:]),
    ],
)
def test_part_without_a_form_is_not_made(make: Any) -> None:
    with pytest.raises(FormatError):
        make()


def _fields_record() -> FieldsRecord:
    fields: list[OpenField | bytes] = [
        OpenField(field_salt(SALT, number), value) for number, value in enumerate(VALUES)
    ]
    fields[1] = field_leaf(field_salt(SALT, 1), VALUES[1])
    return FieldsRecord(
        4, 9, tuple(fields), {"content": "items/SCL-0000001.txt", "é": "items/SCL-0000002.bin"}
    )


@pytest.mark.parametrize(
    "record", [_fields_record(), WholeRecord(4, 9, SALT, VALUES)], ids=["fields", "whole"]
)
def test_record_line_reads_back(record: RecordLine) -> None:
    assert parse_record_line(record.encode()) == record


def test_record_line_leads_to_the_commitment() -> None:
    assert _fields_record().rc() == record_commitment(1, SALT, VALUES)
    assert WholeRecord(4, 9, SALT, VALUES).rc() == record_commitment(0, SALT, VALUES)


def test_record_lines_are_the_page_written_out() -> None:
    assert FieldsRecord(4, 9, (OpenField(SALT, NULL), A)).encode().decode() == (
        f'{{"at":4,"item":{{}},"p":1,"pos":9,"v":[["{"03" * 16}","bgAAAAA="],"{"00" * 32}"]}}\n'
    )
    assert WholeRecord(4, 9, SALT, (NULL,), {"f": "items/A-0000001.bin"}).encode().decode() == (
        f'{{"at":4,"item":{{"f":"items/A-0000001.bin"}},"k":"{"03" * 16}",'
        '"p":0,"pos":9,"v":"AAFuAAAAAA=="}\n'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"p":1', b'"p":0'),
        (b'"p":1', b'"p":2'),
        (b'"p":1', b'"p":true'),
        (b'"p":1', b'"p":false'),
        (b'"p":1', b'"p":null'),
        (b'"p":1,', b""),
        (b'"p":1', b'"k":"' + b"03" * 16 + b'","p":1'),
        (b'"item":{}', b'"item":null'),
        (b'"item":{}', b'"item":[]'),
        (b'"item":{}', b'"item":{"a":1}'),
        (b'"item":{},', b""),
        (b'"pos":9', b'"pos":-9'),
        (b'"v":[', b'"v":[null,'),
        (b'"v":[', b'"v":["",'),
        (b'"v":[', b'"v":[[],'),
        (b'"bgAAAAA="', b'"bgAAAAB="'),
        (b'"bgAAAAA="', b'"bgAAAAA"'),
        (b'"bgAAAAA="', b'"bgAAAAEA"'),
        (b'"bgAAAAA="', b'""'),
        (b'"bgAAAAA="', b"null"),
        (b'"bgAAAAA="', b'"bgAAAAA=","x"'),
        (b'"' + b"03" * 16, b'"' + b"03" * 21),
        (b'"' + b"00" * 32 + b'"', b'"' + b"00" * 31 + b'"'),
    ],
)
def test_fields_record_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    line = FieldsRecord(4, 9, (OpenField(SALT, NULL), A)).encode()
    assert old in line
    with pytest.raises(FormatError):
        parse_record_line(line.replace(old, new, 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\0\1",
        b"\0\2" + NULL,
        b"\0\0" + NULL,
        b"\0\1" + NULL + NULL,
        b"\0\1" + NULL[:-1],
    ],
    ids=ascii,
)
def test_whole_record_of_another_count_is_refused(payload: bytes) -> None:
    line = WholeRecord(4, 9, SALT, (NULL,)).encode()
    with pytest.raises(FormatError):
        parse_record_line(line.replace(b"AAFuAAAAAA==", b64encode(payload)))


@pytest.mark.parametrize(
    "new", [b"", b'"k":null,', b'"k":"' + b"03" * 15 + b'",', b'"k":"' + b"03" * 17 + b'",']
)
def test_whole_record_without_its_salt_is_refused(new: bytes) -> None:
    line = WholeRecord(4, 9, SALT, (NULL,)).encode()
    with pytest.raises(FormatError):
        parse_record_line(line.replace(b'"k":"' + b"03" * 16 + b'",', new))


def test_record_line_that_is_no_record_is_refused() -> None:
    for line in (b"[]\n", b"{}\n", b"null\n"):
        with pytest.raises(FormatError):
            parse_record_line(line)
    with pytest.raises(FormatError):
        lines.parse_record_document([])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (WithheldLine(4, 9, "privilege"), '{"at":4,"code":"privilege","field":null,"pos":9}\n'),
        (WithheldLine(4, 9, "raw", "raw"), '{"at":4,"code":"raw","field":"raw","pos":9}\n'),
        (
            WithheldLine(4, 9, "privilege", None, A),
            f'{{"at":4,"code":"privilege","field":null,"pos":9,"rc":"{"00" * 32}"}}\n',
        ),
    ],
)
def test_withheld_line_reads_back(line: WithheldLine, text: str) -> None:
    assert line.encode().decode() == text
    assert parse_withheld_line(text.encode()) == line


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b'{"at":4,"code":"privilege","field":null}\n',
        b'{"at":4,"code":"privilege","pos":9}\n',
        b'{"at":4,"code":"-","field":null,"pos":9}\n',
        b'{"at":4,"code":"a b","field":null,"pos":9}\n',
        b'{"at":4,"code":null,"field":null,"pos":9}\n',
        b'{"at":4,"code":"a","field":"","pos":9}\n',
        b'{"at":4,"code":"a","field":5,"pos":9}\n',
        b'{"at":4,"code":"a","field":null,"pos":-9}\n',
        b'{"at":4,"code":"a","field":null,"pos":9,"rc":null}\n',
        b'{"at":4,"code":"a","field":null,"pos":9,"rc":"00"}\n',
        b'{"at":4,"code":"a","field":null,"more":1,"pos":9}\n',
        b'{"at":4,"code":"a","field":null,"pos":9}',
    ],
)
def test_withheld_line_with_a_fault_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_withheld_line(line)


def test_lines_are_walked() -> None:
    assert list(read_lines(io.BytesIO(b"a\nb\n"))) == [b"a\n", b"b\n"]
    assert list(read_lines(io.BytesIO(b""))) == []
    assert list(read_lines(io.BytesIO(b"a\x0bb\rc\n"))) == [b"a\x0bb\rc\n"]
    with pytest.raises(FormatError, match="line end"):
        list(read_lines(io.BytesIO(b"a\nb")))


def test_line_over_64_mib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_MAX_BYTES", 10)
    assert list(read_lines(io.BytesIO(b"123456789\n"))) == [b"123456789\n"]
    with pytest.raises(FormatError, match="64 MiB"):
        list(read_lines(io.BytesIO(b"1234567890\n")))
    with pytest.raises(FormatError, match="64 MiB"):
        RANGE.encode()
    with pytest.raises(FormatError, match="64 MiB"):
        parse_proof_line(b'{"at":7,"whole":true}\n')
