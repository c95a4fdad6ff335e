from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.entries import (
    HOUR_US,
    Count,
    End,
    Entry,
    Erase,
    Gap,
    Genesis,
    Keys,
    Release,
    Request,
    Segment,
    authority_sig,
    consent_message,
    entry_faults,
    parse_entry,
    round_time_bounds,
    split_authority_sig,
)
from scelle.formats.notes import COSIGNATURE_V1, ED25519, ML_DSA_44, make_vkey

A, B, C = bytes(32), b"\1" * 32, b"\2" * 32
EMPTY = sha256(b"").digest()
AUTHORITY = make_vkey("authority.example/seal", COSIGNATURE_V1, A)
SIGNATURE = authority_sig(AUTHORITY, bytes(64))
ORIGIN = "platform.example/po/o1"

GENESIS = Genesis("o1", "platform.example:443", AUTHORITY, A)
SEGMENT = Segment(
    order="o1",
    source="s0001/2",
    number=1,
    records=3,
    seq=(4, 7),
    time=(-HOUR_US, 2 * HOUR_US),
    undated=1,
    watermark=(100, 200),
    profile=1,
    schema=A,
    record_root=B,
    index_size=6,
    index_root=C,
    position=(A, B),
    anchor=C,
    prev=A,
)
NOTHING = replace(
    SEGMENT, records=0, seq=(4, 4), time=None, undated=0, record_root=EMPTY, index_size=0, index_root=EMPTY
)
FIRST = replace(SEGMENT, number=0, seq=(0, 3), position=(None, None), anchor=None, prev=None)
GAP = Gap("o1", "s0001", (5, None), "restart", None, None)
COUNT = Count("o1", "s0001", (5, 6), 10, 6, 1, 2, 1, "chat-db")
END = End("o1", "s0001", None)
REQUEST = Request("o1", A)
ERASE = Erase("o1", (4, A), (1, B), (1, 5, 9), "erasure-request", -5, "consent", None, SIGNATURE)
RELEASE = Release("o1", "lifted", 5, A, None)
KEYS = Keys(
    "o1", "log", make_vkey(ORIGIN, ED25519, B), make_vkey(ORIGIN, ED25519, A), from_size=9, authority_sig=None
)
ENTRIES: list[Entry] = [
    GENESIS,
    replace(GENESIS, authority=None, prev_log=("old.example/po/o1", 7, B)),
    SEGMENT,
    NOTHING,
    FIRST,
    GAP,
    replace(GAP, interval=(-5, 7), lost_at_most=0, closes=12),
    COUNT,
    END,
    replace(END, after=0),
    REQUEST,
    ERASE,
    replace(ERASE, basis="letter", document=C, authority_sig=None, index=(1,)),
    RELEASE,
    replace(RELEASE, ground="court", authority_sig=SIGNATURE),
    KEYS,
    replace(KEYS, role="authority", add=AUTHORITY, retire=AUTHORITY, authority_sig=SIGNATURE),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_entry_reads_back_and_is_without_fault(entry: Entry) -> None:
    assert parse_entry(entry.encode()) == entry
    assert entry_faults(entry) == ()


def test_segment_is_the_page_written_out() -> None:
    zero, one, two = "A" * 43 + "=", "AQEB" * 10 + "AQE=", "AgIC" * 10 + "AgI="
    assert SEGMENT.encode().decode() == (
        "scelle/segment/v1\norder o1\nsource s0001/2\nnumber 1\nrecords 3\nseq 4 7\n"
        "time -3600000000 7200000000\n"
        f"undated 1\nwatermark 100 200\nprofile 1\nschema {zero}\nrecord-root {one}\nindex-size 6\n"
        f"index-root {two}\nposition {zero} {one}\nanchor {two}\nprev {zero}\n"
    )


def test_erase_is_the_page_written_out() -> None:
    entry = replace(ERASE, basis="order", document=A, authority_sig=None)
    zero, one = "A" * 43 + "=", "AQEB" * 10 + "AQE="
    assert entry.encode().decode() == (
        f"scelle/erase/v1\norder o1\nsegment 4 {zero}\nrecord 1 {one}\nindex 1 5 9\n"
        "ground erasure-request\ntime -5\n"
        f"basis order\ndocument {zero}\nauthority-sig -\n"
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_entry_with_a_changed_shape_is_refused(entry: Entry) -> None:
    data = entry.encode()
    lines = data.split(b"\n")
    changed = [
        data[:-1],
        data + b"\n",
        data + b"more 1\n",
        b" " + data,
        data.replace(b"\n", b"\r\n"),
        data.replace(b"/v1\n", b"/v2\n", 1),
        data.replace(b"scelle/", "scellé/".encode(), 1),
        data.replace(b" ", b"  ", 1),
        data.replace(b" ", b"\t", 1),
        data.replace(b" ", b"", 1),
        data.replace(b"\norder ", b"\nOrder ", 1),
        data.replace(b"order o1\n", b"order O1\n", 1),
        data.replace(b"order o1\n", b"order -\n", 1),
        data.replace(b"order o1\n", b"order o1 \n", 1),
        b"\n".join([*lines[:2], *lines[3:]]),
        b"\n".join([*lines[:2], lines[1], *lines[2:]]),
        b"\n".join([lines[0], *lines[2:3], lines[1], *lines[3:]]),
    ]
    for wrong in changed:
        with pytest.raises(FormatError):
            parse_entry(wrong)


@pytest.mark.parametrize(
    ("entry", "old", "new"),
    [
        (GENESIS, b"host platform.example:443", b"host Platform"),
        (GENESIS, b"host platform.example:443", b"host -:x"),
        (GENESIS, b"hash sha256", b"hash sha512"),
        (GENESIS, b"hash sha256", b"hash -"),
        (GENESIS, b"prev-log -", b"prev-log a/po/b 1"),
        (GENESIS, b"prev-log -", b"prev-log a 1 " + b"A" * 43 + b"="),
        (GENESIS, b"prev-log -", b"prev-log a/po/b - " + b"A" * 43 + b"="),
        (GENESIS, b"authority ", b"authority x"),
        (SEGMENT, b"source s0001/2", b"source -"),
        (SEGMENT, b"source s0001/2", b"source s0001/b"),
        (SEGMENT, b"number 1", b"number 01"),
        (SEGMENT, b"number 1", b"number -"),
        (SEGMENT, b"records 3", b"records +3"),
        (SEGMENT, b"records 3", b"records 1_0"),
        (SEGMENT, b"seq 4 7", b"seq 4"),
        (SEGMENT, b"seq 4 7", b"seq 4 7 9"),
        (SEGMENT, b"seq 4 7", b"seq -4 7"),
        (SEGMENT, b"seq 4 7", b"seq 4 -"),
        (SEGMENT, b"time -3600000000 7200000000", b"time - 7200000000"),
        (SEGMENT, b"time -3600000000 7200000000", b"time -3600000000 -"),
        (SEGMENT, b"time -3600000000 7200000000", b"time -"),
        (SEGMENT, b"time -3600000000 7200000000", b"time -0 7200000000"),
        (SEGMENT, b"time -3600000000 ", b"time -9223372036854775808 "),
        (SEGMENT, b"undated 1", b"undated -1"),
        (SEGMENT, b"watermark 100 200", b"watermark 100 -"),
        (SEGMENT, b"profile 1", b"profile 2"),
        (SEGMENT, b"profile 1", b"profile -"),
        (SEGMENT, b"profile 1", b"profile 01"),
        (SEGMENT, b"schema AAAA", b"schema AAA="),
        (SEGMENT, b"record-root AQEBAQEB", b"record-root AQEB"),
        (SEGMENT, b"AQE=\nindex-size", b"AQF=\nindex-size"),
        (SEGMENT, b"anchor ", b"anchor -"),
        (SEGMENT, b"prev AA", b"prev - AA"),
        (GAP, b"interval 5 -", b"interval - 5"),
        (GAP, b"cause restart", b"cause -"),
        (GAP, b"cause restart", b"cause Restart"),
        (GAP, b"cause restart", b"cause "),
        (GAP, b"lost-at-most -", b"lost-at-most --"),
        (COUNT, b"interval 5 6", b"interval 5 -"),
        (COUNT, b"lost 1", b"lost -"),
        (COUNT, b"system chat-db", b"system chat_db"),
        (END, b"after -", b"after -1"),
        (REQUEST, b"request AAAA", b"request A"),
        (ERASE, b"index 1 5 9", b"index "),
        (ERASE, b"index 1 5 9", b"index -"),
        (ERASE, b"index 1 5 9", b"index 1 05 9"),
        (ERASE, b"segment 4 ", b"segment - "),
        (ERASE, b"basis consent", b"basis nothing"),
        (ERASE, b"basis consent", b"basis -"),
        (ERASE, b"time -5", b"time -"),
        (ERASE, b"authority-sig ", b"authority-sig AAAA"),
        (RELEASE, b"ground lifted", b"ground other"),
        (RELEASE, b"document AA", b"document - AA"),
        (RELEASE, b"document " + b"A" * 43 + b"=", b"document -"),
        (KEYS, b"role log", b"role operator"),
        (KEYS, b"from 9", b"from -"),
        (KEYS, b"retire ", b"retire -"),
    ],
    ids=lambda value: value.decode()[:24] if isinstance(value, bytes) else type(value).__name__,
)
def test_line_of_another_spelling_is_refused(entry: Entry, old: bytes, new: bytes) -> None:
    data = entry.encode()
    assert data.count(old) == 1
    with pytest.raises(FormatError):
        parse_entry(data.replace(old, new))


def test_number_in_arabic_digits_is_refused() -> None:
    with pytest.raises(FormatError, match="ASCII"):
        parse_entry(SEGMENT.encode().replace(b"number 1", "number ١".encode()))


def test_kinds_that_do_not_exist_are_refused() -> None:
    for data in (b"", b"\n", b"scelle/other/v1\norder o1\n", b"scelle/segment/v1\n"):
        with pytest.raises(FormatError):
            parse_entry(data)


def test_entry_has_at_most_65535_bytes() -> None:
    room = 65_535 - len(replace(GAP, cause="x").encode())
    longest = replace(GAP, cause="x" * (room + 1))
    assert parse_entry(longest.encode()) == longest
    with pytest.raises(FormatError, match="65536 bytes"):
        replace(GAP, cause="x" * (room + 2)).encode()
    with pytest.raises(FormatError, match="65536 bytes"):
        parse_entry(longest.encode().replace(b"cause x", b"cause xx"))


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        (GENESIS, {"order": "O1"}),
        (GENESIS, {"order": None}),
        (GENESIS, {"tagkey_sha256": bytes(31)}),
        (GENESIS, {"hash": "md5"}),
        (GENESIS, {"prev_log": ("a/po/b", 1)}),
        (GENESIS, {"authority": replace(AUTHORITY, key_id=1)}),
        (GENESIS, {"authority": make_vkey("é", COSIGNATURE_V1, A)}),
        (SEGMENT, {"source": "a b"}),
        (SEGMENT, {"number": -1}),
        (SEGMENT, {"records": 2**63}),
        (SEGMENT, {"seq": (1,)}),
        (SEGMENT, {"time": (-(2**63), 0)}),
        (SEGMENT, {"profile": 2}),
        (SEGMENT, {"profile": True}),
        (SEGMENT, {"index_root": bytes(33)}),
        (SEGMENT, {"position": (A, A, A)}),
        (GAP, {"cause": "-"}),
        (GAP, {"cause": "a\nlost-at-most 3"}),
        (ERASE, {"authority_sig": bytes(67)}),
        (ERASE, {"basis": "none"}),
        (ERASE, {"index": ()}),
        (ERASE, {"index": (1, -2)}),
        (RELEASE, {"ground": "over"}),
    ],
    ids=str,
)
def test_value_without_a_form_is_not_written(entry: Entry, changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(entry, **changes).encode()


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (replace(SEGMENT, records=4), "number of records"),
        (replace(SEGMENT, seq=(7, 4)), "number of records"),
        (replace(SEGMENT, records=2**20 + 1, seq=(0, 2**20 + 1)), "2^20"),
        (replace(SEGMENT, watermark=(200, 200)), "watermark"),
        (replace(SEGMENT, undated=4), "more undated"),
        (replace(SEGMENT, time=None), "time bounds do not fit"),
        (replace(SEGMENT, undated=3), "time bounds do not fit"),
        (replace(SEGMENT, time=(1, HOUR_US)), "whole hours"),
        (replace(SEGMENT, time=(0, HOUR_US + 1)), "whole hours"),
        (replace(SEGMENT, time=(HOUR_US, 0)), "whole hours"),
        (replace(SEGMENT, index_size=7), "N x D"),
        (replace(SEGMENT, index_size=3), "N x D"),
        (replace(SEGMENT, index_size=99), "N x D"),
        (replace(NOTHING, index_size=2), "no records"),
        (replace(NOTHING, record_root=A), "no records"),
        (replace(NOTHING, index_root=A), "no records"),
        (replace(SEGMENT, prev=None), "prev"),
        (replace(FIRST, prev=A), "prev"),
        (replace(FIRST, seq=(1, 4)), "does not start at 0"),
        (replace(FIRST, position=(A, A)), "does not start at 0"),
        (replace(GAP, interval=(5, 5)), "interval"),
        (replace(COUNT, interval=(6, 5)), "interval"),
        (replace(COUNT, offered=9), "offered"),
        (replace(ERASE, index=(1, 9, 5)), "ascend"),
        (replace(ERASE, index=(1, 1, 5)), "ascend"),
        (replace(ERASE, authority_sig=None), "consent"),
        (replace(ERASE, basis="letter"), "document"),
        (replace(GENESIS, authority=make_vkey("a", ED25519, A)), "type 4"),
        (replace(KEYS, add=None), "two keys"),
        (replace(KEYS, retire=None), "two keys"),
        (replace(KEYS, add=make_vkey(ORIGIN, ML_DSA_44, bytes(1312))), "two keys"),
        (replace(KEYS, role="authority"), "authority-sig"),
    ],
)
def test_entry_that_cannot_be_true_has_a_fault(entry: Entry, fault: str) -> None:
    assert any(fault in text for text in entry_faults(parse_entry(entry.encode())))


def test_consent_is_asked_for_the_entry_without_its_last_line() -> None:
    message = consent_message(ORIGIN, A, ERASE.encode())
    head = b"scelle/consent/v1\n" + ORIGIN.encode() + b"\n" + b"A" * 43 + b"=\n"
    assert message == head + ERASE.encode()[: ERASE.encode().index(b"authority-sig")]
    assert message == consent_message(ORIGIN, A, replace(ERASE, authority_sig=None).encode())
    assert message != consent_message(ORIGIN, B, ERASE.encode())


def test_consent_to_an_entry_that_asks_for_none_is_refused() -> None:
    with pytest.raises(FormatError, match="no authority-sig"):
        consent_message(ORIGIN, A, GAP.encode())
    with pytest.raises(FormatError, match="width"):
        consent_message(ORIGIN, A[:31], ERASE.encode())


def test_authority_signature_has_key_id_and_signature() -> None:
    assert split_authority_sig(SIGNATURE) == (AUTHORITY.key_id, bytes(64))
    with pytest.raises(FormatError, match="type"):
        authority_sig(make_vkey("a", ED25519, A), bytes(64))
    with pytest.raises(FormatError, match="width"):
        authority_sig(AUTHORITY, bytes(63))
    with pytest.raises(FormatError, match="width"):
        split_authority_sig(SIGNATURE[1:])


@pytest.mark.parametrize(
    ("low", "high", "rounded"),
    [
        (0, 0, (0, 0)),
        (1, 1, (0, HOUR_US)),
        (-1, -1, (-HOUR_US, 0)),
        (-5, HOUR_US, (-HOUR_US, HOUR_US)),
        (-(2**63) + 1, 2**63 - 1, (-(2**63) + 1, 2**63 - 1)),
    ],
)
def test_bounds_are_rounded_outward(low: int, high: int, rounded: tuple[int, int]) -> None:
    assert round_time_bounds(low, high) == rounded
    assert entry_faults(replace(SEGMENT, time=rounded)) == ()


@pytest.mark.parametrize(("low", "high"), [(1, 0), (-(2**63), 0), (0, 2**63)])
def test_bounds_of_no_dated_records_are_refused(low: int, high: int) -> None:
    with pytest.raises(FormatError):
        round_time_bounds(low, high)
