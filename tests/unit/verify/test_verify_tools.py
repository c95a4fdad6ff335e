"""The verifier's small tools by themselves: each limit, each code, each way out."""

import hashlib
import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.verify.builder import (
    AUTHORITY,
    LOG1,
    LOG6,
    ORIGIN,
    WITNESS,
    b64,
    canonical,
    make_key,
    note,
    sha,
    world,
    zip_of,
)

from scelle.verify import scelle_verify as v


def code_of(call: Callable[[], object]) -> str:
    """The code of the Fault that a call must raise."""
    with pytest.raises(v.Fault) as fault:
        call()
    return fault.value.code


def test_text_is_escaped_and_cut() -> None:
    assert v.ascii_only('a~ "\\\x7f\x1b[2J\n\u00ff\u0100\uffff\U00010000\ud800') == (
        'a~ "\\\\\\x7f\\x1b[2J\\n\\xff\\u0100\\uffff\\U00010000\\ud800'
    )
    assert v.ascii_only("x" * 400) == "x" * 400
    assert v.ascii_only("x" * 401) == "x" * 400 + ".."
    assert v.ascii_only(5) == "5"


def test_a_place_turns_every_exception_but_the_users_into_a_finding() -> None:
    findings = v.Findings()
    with findings.at("here"):
        raise v.Fault("a.code", "what")
    with findings.at("there"):
        raise ZeroDivisionError("boom")
    assert [tuple(finding.values()) for finding in findings.listed] == [
        ("a.code", "here", "what"),
        ("verifier.exception", "there", "ZeroDivisionError: boom"),
    ]
    with pytest.raises(KeyboardInterrupt), findings.at("nowhere"):
        raise KeyboardInterrupt
    assert findings.count == 2


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.0e5", "0"),
        ("1", "1"),
        ("-1.0", "-1"),
        ("10", "10"),
        ("100.0", "100"),
        ("0.5", "0.5"),
        ("-0.05", "-0.05"),
        ("10.25", "10.25"),
        ("120.50", "120.5"),
        ("1e2", "100"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("123456789012345680000", "123456789012345680000"),
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("0.000001", "0.000001"),
        ("0.00000125", "0.00000125"),
        ("0.0000001", "1e-7"),
        ("0.00000015", "1.5e-7"),
        ("0.000000155", "1.55e-7"),
        ("333333333.33333329", "333333333.3333333"),
        ("5e-324", "5e-324"),
        ("-1.7976931348623157e308", "-1.7976931348623157e+308"),
        ("9007199254740993", "9007199254740992"),
        ("1e23", "1e+23"),
        ("-0.0000012345678901234567", "-0.0000012345678901234567"),
    ],
)
def test_a_number_has_the_one_form_of_rfc_8785(token: str, text: str) -> None:
    assert v.double_text(token) == text
    if token == text:
        assert v.exact_number(token) == token
    else:
        assert code_of(lambda: v.exact_number(token)) == "value.canonical"


def test_a_number_that_is_longer_than_any_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v, "double_text", lambda token: token)
    v.exact_number("1" * 25)
    assert code_of(lambda: v.exact_number("1" * 26)) == "value.canonical"


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (b"[" * 256 + b"]" * 256, True),
        (b"[" * 257 + b"]" * 257, False),
        (b'{"a":' * 256 + b"1" + b"}" * 256, True),
        (b'{"a":' * 257 + b"1" + b"}" * 257, False),
        (b"[" + b",".join([b"[]"] * 300) + b"]", True),
        (b"[" + b",".join([b"{}"] * 300) + b"]", True),
        (b'["' + b"[{" * 300 + b'"]', True),
        (b'["\\"' + b"[" * 300 + b'"]', True),
        (b'["\\\\",' + b"[" * 256 + b"]" * 256 + b"]", False),
        (b'["' + b"]" * 300 + b'",' + b"[" * 256 + b"]" * 256 + b"]", False),
        (b'"' + b"[" * 300, False),
        (b"[1.50]", False),
        (b'{"b":1,"a":1}', False),
        (b'{"a":1,"a":1}', False),
        (b"[NaN]", False),
        (b"[1, 2]", False),
        (b"[", False),
        (b"\xff", False),
        (b'"\\u0041"', False),
        (b'{"a":[1,true,null,"x",-0.5],"b":{}}', True),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else None,
)
def test_a_structure_is_canonical_and_not_too_deep(data: bytes, good: bool) -> None:
    if good:
        v.need_canonical_structure(data)
    else:
        assert code_of(lambda: v.need_canonical_structure(data)) == "value.canonical"


def test_a_path_has_the_length_of_its_place() -> None:
    leaf, other = bytes(32), bytes([1]) * 32
    assert v.inclusion_root(1, 0, leaf, []) == leaf
    for size, index, path in ((0, 0, []), (1, 1, []), (1, -1, []), (1, 0, [other]), (2, 0, [])):
        assert code_of(lambda s=size, i=index, p=path: v.inclusion_root(s, i, leaf, p)) == "proof.shape"  # type: ignore[misc]


def test_a_range_uses_its_whole_proof_and_no_more() -> None:
    leaf = bytes(32)
    assert v.range_root(1, 0, [leaf], []) == leaf
    assert code_of(lambda: v.range_root(2, 0, [leaf], [])) == "proof.shape"
    assert code_of(lambda: v.range_root(1, 0, [leaf], [leaf])) == "proof.shape"
    for size, low, count in ((1, 0, 0), (1, 0, 2), (2, -1, 1), (1, 1, 1)):
        assert code_of(lambda s=size, a=low, n=count: v.range_root(s, a, [leaf] * n, [])) == "range.edge"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ([], "json.shape", "it: an object is expected"),
        ({"a": 1, "b": 1, "d": 1, "c": 1}, "json.keys", "it: unknown key c, d"),
        ({}, "json.keys", "it: missing key a, b"),
    ],
    ids=str,
)
def test_exactly_these_keys(value: Any, code: str, said: str) -> None:
    v.need_keys({"a": 1, "b": 2}, "b a", "it")
    with pytest.raises(v.Fault) as fault:
        v.need_keys(value, "a b", "it")
    assert (fault.value.code, fault.value.detail) == (code, said)


# -- notes, keys, checkpoints ------------------------------------------------------------------------------


def test_a_note_ends_at_its_last_empty_line() -> None:
    line = LOG1.line(b"x\n")
    assert v.parse_note(b"a\n\nb\n\n" + line).text == b"a\n\nb\n"
    assert v.parse_note(b"a\n\n") == v.Note(b"a\n", [])
    for data in (b"", b"\n\n", b"\n\n" + line, b"a\n" + line, b"a\n\n" + line[:-1], b"a\n\n" + line * 2):
        assert code_of(lambda d=data: v.parse_note(d)) == "note.format"  # type: ignore[misc]


def test_a_note_has_16_signature_lines_at_most() -> None:
    lines = [make_key(f"k{i}", 1, f"{i}").line(b"x\n") for i in range(17)]
    assert len(v.parse_note(b"x\n\n" + b"".join(lines[:16])).signatures) == 16
    assert code_of(lambda: v.parse_note(b"x\n\n" + b"".join(lines))) == "note.format"


def test_a_signature_line_has_a_key_id_and_at_least_a_byte() -> None:
    good = "\u2014 name " + b64(b"12345")
    assert v.parse_note(f"x\n\n{good}\n".encode()).signatures == [("name", b"1234", b"5")]
    for bad in ("- name " + b64(b"12345"), "\u2014 na+me " + b64(b"12345"), "\u2014 name " + b64(b"1234")):
        assert code_of(lambda b=bad: v.parse_note(f"x\n\n{b}\n".encode())) == "note.format"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (5, "key.format"),
        ("name+00000000", "key.format"),
        ("na me+00000000+AQ==", "key.format"),
        ("+00000000+AQ==", "key.format"),
        ("name+00000000+", "key.format"),
        ("name+00000000+AA==", "key.format"),
        ("name+00000000+AQ==", "format.width"),
        (LOG1.vkey.replace(LOG1.key_id.hex(), "00000000"), "key.format"),
        (LOG1.vkey.replace(LOG1.key_id.hex(), "0000000"), "format.width"),
    ],
    ids=str,
)
def test_what_is_no_key(text: Any, code: str) -> None:
    assert code_of(lambda: v.parse_vkey(text, "it")) == code


def test_a_key_is_read_whole() -> None:
    key = v.parse_vkey(LOG6.vkey, "it")
    assert key == v.VerifierKey(ORIGIN, LOG6.key_id, 6, LOG6.public, LOG6.vkey)


def test_a_checkpoint_of_strange_bytes_is_no_exception() -> None:
    root = b64(bytes(32)).encode()
    assert v.parse_checkpoint(b"\xff\n1\n" + root + b"\n").origin == "\ufffd"
    for text in (b"a\n1\n" + root, b"a\n1\n" + root + b"\nmore\n", b"a\n1\n" + root + b"\nmore"):
        assert code_of(lambda t=text: v.parse_checkpoint(t)) == "checkpoint.format"  # type: ignore[misc]


@pytest.mark.parametrize(("name", "origin", "good"), [(255, 255, True), (256, 1, False), (1, 256, False)])
def test_names_in_an_ml_dsa_signature_have_one_byte_of_length(name: int, origin: int, good: bool) -> None:
    signer = make_key("n" * name, 6, "long")
    text = f"{'o' * origin}\n7\n{b64(bytes(32))}\n".encode()
    key, point = v.parse_vkey(signer.vkey, "it"), v.parse_checkpoint(text)
    if good:
        read = v.parse_note(note(text, [signer]))
        assert v.signature_fault(key, read.signatures[0][2], read, point) is None
        wrong = v.signature_fault(key, read.signatures[0][2][:-1], read, point)
        assert wrong == f"ML-DSA-44 signature of {key.name} is wrong"
    else:
        read = v.Note(text, [])
        assert code_of(lambda: v.signature_fault(key, bytes(2428), read, point)) == "checkpoint.format"


def test_signatures_carry_the_time_of_their_line() -> None:
    text = f"{ORIGIN}\n7\n{b64(bytes(32))}\n".encode()
    read, point = v.parse_note(note(text, [LOG1, LOG6, WITNESS], time=77)), v.parse_checkpoint(text)
    keys = [v.parse_vkey(key.vkey, "it") for key in (LOG1, LOG6, WITNESS)]
    assert v.check_signatures(read, keys[:2], keys, point, "x") == (
        [],
        [(keys[0], 0), (keys[1], 77), (keys[2], 77)],
    )
    faults, good = v.check_signatures(read, keys, [], None, "x")
    assert [(fault.code, fault.detail) for fault in faults] == [
        ("x_wrong", "an ML-DSA-44 key signs nothing but checkpoints")
    ]
    assert good == [(keys[0], 0), (keys[2], 77)]
    faults, _ = v.check_signatures(v.Note(text, []), keys[:1], keys[1:], point, "x")
    assert [(fault.code, fault.detail) for fault in faults] == [
        ("x_missing", f"Ed25519 line of {ORIGIN} is missing")
    ]


# -- trust file and schema ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"format": "scelle/trust/v2"}, "trust.format"),
        ({"authority": "x"}, "json.shape"),
        ({"authority": {}}, "json.shape"),
        ({"authority": [LOG1.vkey]}, "key.format"),
        ({"authority": [AUTHORITY.vkey] * 2}, "key.format"),
        ({"cosigners": [WITNESS.vkey] * 1001}, "json.shape"),
        ({"cosigners": [WITNESS.vkey] * 1000}, "key.format"),
        ({"log": [LOG6.vkey, LOG1.vkey]}, "key.format"),
        ({"log": [make_key("other", 1, "o").vkey, LOG6.vkey]}, "key.format"),
        ({"held": {"root": b64(bytes(31)), "size": 0}}, "format.width"),
        ({"held": {"root": b64(bytes(32)), "size": -1}}, "format.number"),
        ({"held": 5}, "json.shape"),
    ],
    ids=str,
)
def test_what_is_no_trust_file(change: dict[str, Any], code: str) -> None:
    data = canonical(world().trust() | change) + b"\n"
    assert code_of(lambda: v.parse_trust(data, "trust")) == code


def test_a_trust_file_is_read_whole() -> None:
    cosigners = [make_key("a", 1, "a"), make_key("a", 4, "a"), make_key("a", 6, "a")]
    held = {"root": b64(bytes(32)), "size": 0}
    more = {"cosigners": [key.vkey for key in cosigners], "held": held, "quorum": 2}
    trust = v.parse_trust(canonical(world().trust() | more) + b"\n", "trust")
    assert [key.text for key in trust.cosigners] == more["cosigners"]
    assert (trust.held, trust.quorum, trust.origin) == ((0, bytes(32)), 2, ORIGIN)
    many = [make_key(f"k{i}", 4, "k").vkey for i in range(1000)]
    assert len(v.parse_trust(canonical(world().trust(cosigners=many)) + b"\n", "trust").cosigners) == 1000


def schema(dimensions: Any = ("source", "account"), fields: Any = (), **changes: Any) -> bytes:
    fields = [["time", "t"], ["seq", "i"], ["account", "s"], *fields] if isinstance(fields, tuple) else fields
    listed = [{"name": n, "type": t} for n, t in fields] if isinstance(fields, list) else fields
    base = {
        "dimensions": dimensions,
        "fields": listed,
        "format": "scelle/schema/v1",
        "name": "x",
        "version": 0,
    }
    return canonical(base | changes)


def test_a_schema_is_read_whole() -> None:
    dimensions = ["source", "account", *(f"d{i}" for i in range(30))]
    data = schema(dimensions, tuple((f"d{i}", "sn"[i % 2]) for i in range(30)))
    read = v.parse_schema(data)
    assert (read.digest, read.name, read.dimensions) == (sha(data).hex(), "x", dimensions)
    assert read.fields[:3] == [("time", "t"), ("seq", "i"), ("account", "s")]
    assert len(v.parse_schema(schema(fields=tuple((f"f{i}", "s") for i in range(65_532)))).fields) == 65_535


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (schema(format="x"), "schema.format"),
        (schema(version=-1), "format.number"),
        (schema({"a": 1}), "json.shape"),
        (schema(fields={"a": 1}), "json.shape"),
        (schema(["source", 5]), "json.shape"),
        (schema(["source"]), "schema.format"),
        (schema(["source", "account", "account"]), "schema.format"),
        (schema(["account", "source"]), "schema.format"),
        (schema(["source", "account", *(f"d{i}" for i in range(31))]), "schema.format"),
        (schema(fields=(("a", "X"),)), "schema.format"),
        (schema(fields=(("a", ""),)), "schema.format"),
        (schema(fields=(("time", "s"),)), "schema.format"),
        (schema(fields=tuple((f"f{i}", "s") for i in range(65_533))), "schema.format"),
        (schema(fields=[["time", "i"], ["seq", "i"], ["account", "s"]]), "schema.format"),
        (schema(fields=[["time", "t"], ["seq", "i"]]), "schema.format"),
        (schema(fields=[["time", "t"], ["seq", "i"], ["account", "x"]]), "schema.format"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[:80]),
)
def test_what_is_no_schema(data: bytes, code: str) -> None:
    assert code_of(lambda: v.parse_schema(data)) == code


# -- the canonical zip, byte for byte ----------------------------------------------------------------------

BIG = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (7, "504b0304 1400 0000 0000 0000 2100 44332211 07000000 07000000 0100 0000 61"),
        (BIG - 1, "504b0304 1400 0000 0000 0000 2100 44332211 feffffff feffffff 0100 0000 61"),
        (
            BIG,
            "504b0304 2d00 0000 0000 0000 2100 44332211 ffffffff ffffffff 0100 1400 61"
            "0100 1000 ffffffff00000000 ffffffff00000000",
        ),
    ],
)
def test_a_local_header(size: int, head: str) -> None:
    assert v.local_header(b"a", size, 0x11223344) == bytes.fromhex(head)


@pytest.mark.parametrize(
    ("size", "offset", "needed", "tail"),
    [
        (7, 9, 20, "07000000 07000000 0100 0000 0000 0000 0000 0000a481 09000000 61"),
        (BIG - 1, BIG - 1, 20, "feffffff feffffff 0100 0000 0000 0000 0000 0000a481 feffffff 61"),
        (
            BIG,
            9,
            45,
            "ffffffff ffffffff 0100 1400 0000 0000 0000 0000a481 09000000 61"
            "0100 1000 ffffffff00000000 ffffffff00000000",
        ),
        (
            7,
            BIG,
            45,
            "07000000 07000000 0100 0c00 0000 0000 0000 0000a481 ffffffff 61 0100 0800 ffffffff00000000",
        ),
        (
            BIG + 1,
            BIG + 2,
            45,
            "ffffffff ffffffff 0100 1c00 0000 0000 0000 0000a481 ffffffff 61"
            "0100 1800 0000000001000000 0000000001000000 0100000001000000",
        ),
    ],
)
def test_a_directory_entry(size: int, offset: int, needed: int, tail: str) -> None:
    head = bytes.fromhex(f"504b0102 1403 {needed:02x}00 0000 0000 0000 2100 44332211")
    assert v.directory_entry(b"a", size, 0x11223344, offset) == head + bytes.fromhex(tail)


@pytest.mark.parametrize(
    ("count", "size", "offset", "short"),
    [
        (3, 4, 5, (3, 4, 5)),
        (0xFFFE, BIG - 1, BIG - 1, (0xFFFE, BIG - 1, BIG - 1)),
        (0xFFFF, 4, 5, (0xFFFF, 4, 5)),
        (3, BIG, 5, (3, BIG, 5)),
        (3, 4, BIG, (3, 4, BIG)),
        (0x10000, BIG + 1, BIG + 2, (0xFFFF, BIG, BIG)),
    ],
)
def test_the_end_of_an_archive(count: int, size: int, offset: int, short: tuple[int, int, int]) -> None:
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, short[0], *short, 0)
    if count > 0xFFFE or size > BIG - 1 or offset > BIG - 1:
        record = struct.pack("<QHHIIQQQQ", 44, 0x0314, 45, 0, 0, count, count, size, offset)
        locator = struct.pack("<IQI", 0, offset + size, 1)
        end = b"PK\6\6" + record + b"PK\6\7" + locator + end
    assert v.end_records(count, size, offset) == end


def opened(*members: tuple[str, bytes]) -> v.Package:
    return v.Package(io.BytesIO(zip_of([("MANIFEST", b"head"), *members])), v.Findings())


def test_a_member_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v, "CHUNK", 4)
    package = opened(("a", b"0123456789"), ("b", b""))
    assert list(package.chunks("a")) == [b"0123", b"4567", b"89"]
    assert package.digests["a"] == sha(b"0123456789").hex()
    assert package.read("a", 10) == b"0123456789"
    assert package.read("b", 0) == b""
    assert code_of(lambda: package.read("a", 9)) == "member.too_long"
    assert code_of(lambda: package.read("c", 9)) == "member.missing"
    assert package.members["a"].name == "a"
    assert package.findings.count == 0


@pytest.mark.parametrize(
    ("data", "lines", "finding"),
    [
        (b"", [], None),
        (b"\n", [b""], None),
        (b"ab\n\n0123456789\n", [b"ab", b"", b"0123456789"], None),
        (b"ab\n0123456789A\n", [b"ab"], ("line.too_long", "line 2 is longer than 64 MiB")),
        (b"ab\n0123456789ABCDEF\n", [b"ab"], ("line.too_long", "line 2 is longer than 64 MiB")),
        (b"ab\n0123456789ABCDEF", [b"ab"], ("line.too_long", "line 2 is longer than 64 MiB")),
        (b"ab\ncd", [b"ab"], ("line.end", "the last line does not end in LF")),
        (b"0123456789", [], ("line.end", "the last line does not end in LF")),
    ],
    ids=str,
)
@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
def test_a_member_is_read_line_by_line(
    data: bytes, lines: list[bytes], finding: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v, "CHUNK", chunk)
    monkeypatch.setattr(v, "MAX_LINE", 10)
    package = opened(("a", data))
    assert list(package.lines("a")) == list(enumerate(lines, 1))
    found = [(f["code"], f["subject"], f["detail"]) for f in package.findings.listed]
    assert found == ([] if finding is None else [(finding[0], "a", finding[1])])
    assert list(package.lines("none")) == []


def test_the_directory_is_found_from_the_end() -> None:
    package = opened(("a", b"PK\5\6" + bytes(40)), ("b", b"PK\5\6"))
    assert (package.findings.listed, list(package.members)) == ([], ["MANIFEST", "a", "b"])
    for data in (b"", b"PK\5\6", b"PK\5\6" + bytes(17), b"x" * 70_000):
        with pytest.raises(v.Unreadable, match="no end of a zip directory"):
            v.Package(io.BytesIO(data), v.Findings())
    for data in (b"PK\5\6" + bytes(8) + b"\1" + bytes(9), b"PK\6\6" + bytes(52) + b"PK\6\7" + bytes(5)):
        with pytest.raises(v.Unreadable):
            v.Package(io.BytesIO(data), v.Findings())


def test_zip64_is_read_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of the short fields made small: what is written with 64 bits at 4 GiB is so at 200 bytes here."""
    monkeypatch.setattr(v, "U32", 200)
    monkeypatch.setattr(v, "U16", 4)
    for sizes in ((3, 5), (200, 5), (3, 250), (199, 60, 60, 7)):
        members = [(name, size, i) for i, (name, size) in enumerate(zip("abcd", sizes, strict=False))]
        out, directory = b"", b""
        for name, size, crc in [("MANIFEST", 0, 0), *members]:
            directory += v.directory_entry(name.encode(), size, crc, len(out))
            out += v.local_header(name.encode(), size, crc) + bytes(size)
        out += directory + v.end_records(len(members) + 1, len(directory), len(out))
        package = v.Package(io.BytesIO(out), v.Findings())
        assert package.findings.listed == []
        assert [(m.name, m.size, m.crc) for m in package.members.values()][1:] == members
        assert package.read_at(package.members["b"].offset, sizes[1]) == bytes(sizes[1])


# -- ML-DSA-44 ---------------------------------------------------------------------------------------------


def test_a_candidate_equal_to_q_is_no_coefficient() -> None:
    """The seed is one of about two thousand whose streams contain q itself."""
    rho = sha(b"rho 3239")
    stream = hashlib.shake_128(rho + bytes((1, 3))).digest(1344)
    numbers = [int.from_bytes(stream[i : i + 3], "little") & 0x7FFFFF for i in range(0, 1344, 3)]
    assert v.Q in numbers[:257]
    matrix, t1 = v.expand_key(rho + bytes(1280))
    assert matrix[3][1] == [number for number in numbers if number < v.Q][:256]
    assert {len(line) for row in matrix for line in row} == {len(part) for part in t1} == {256}
    assert len(matrix) == len(t1) == 4


@pytest.mark.parametrize(
    ("r", "plain", "hinted"),
    [
        (0, 0, 43),
        (1, 0, 1),
        (95_232, 0, 1),
        (95_233, 1, 0),
        (190_464, 1, 0),
        (190_465, 1, 2),
        (8_380_416, 0, 43),
        (8_380_415, 0, 43),
        (8_380_416 - 95_231, 0, 43),
        (8_380_416 - 95_232, 43, 0),
    ],
)
def test_use_hint(r: int, plain: int, hinted: int) -> None:
    assert (v.use_hint(False, r), v.use_hint(True, r)) == (plain, hinted)
