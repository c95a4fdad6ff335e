import json
import secrets
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.formats.canonical_json import canonical_json, is_canonical_json
from scelle.formats.index import index_leaves, sort_key, tag
from scelle.formats.records import record_commitment
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Field, Schema
from scelle.formats.values import (
    NULL,
    UNDATED,
    content_value,
    encode_value,
    integer_value,
    structure_value,
    text_value,
    time_value,
)
from scelle.fsck.rows import FrameRows, RowJudge, parse_want
from scelle.fsck.structures import are_canonical_structures, is_canonical_structure

TAG_KEY = bytes(range(32))
TIMES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(UNDATED), st.integers(0, 10))
TEXTS = st.one_of(
    st.just(NULL), st.text(max_size=8).filter(str.isprintable).map(text_value), st.just(text_value("x"))
)
SIZES = st.integers(0, 2**63 - 1)
META: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.text(max_size=4), st.one_of(st.integers(-5, 5), st.text(max_size=4), st.none()), max_size=4
)


def judge(
    schema: Schema = DOCUMENT_V1, profile: int = 1, tag_key: bytes | None = TAG_KEY, seq_lo: int = 0
) -> RowJudge:
    return RowJudge(
        alias="s0001", schema=schema, profile=profile, tag_key=tag_key, seq_lo=seq_lo, place=5 << 32
    )


def frame(rows: Sequence[tuple[bytes, Sequence[bytes]]]) -> bytes:
    parts = []
    for key, values in rows:
        data = b"".join(values)
        parts += [key, len(data).to_bytes(4, "big"), data, b"\0\4side"]
    return b"".join(parts)


Row = tuple[bytes, list[bytes]]


def document(seq: int, time_us: int, texts: list[bytes], size: int | None, meta: dict[str, object]) -> Row:
    contents = [NULL, NULL]
    if size is not None:
        contents = [content_value(secrets.token_bytes(32), size) for _ in range(2)]
    values = [time_value(time_us), integer_value(seq), *texts[:3], *contents, texts[3]]
    return secrets.token_bytes(32), [*values, structure_value(canonical_json(meta))]


def documents(first: int = 0) -> st.SearchStrategy[list[Row]]:
    parts = st.tuples(TIMES, st.lists(TEXTS, min_size=4, max_size=4), st.none() | SIZES, META)
    return st.lists(parts, min_size=1, max_size=6).map(
        lambda rows: [document(first + number, *row) for number, row in enumerate(rows)]
    )


@settings(max_examples=150, deadline=None)
@given(documents(first=7))
def test_by_columns_and_by_rows_give_the_same(rows: list[Row]) -> None:
    one = judge(seq_lo=7)
    quick = one._quickly(0, frame(rows))
    slow = one.judge_by_rows(0, frame(rows), 7)
    assert slow.seqs == tuple(range(7, 7 + len(rows)))
    if quick is not None:
        assert quick == replace(slow, seqs=None)
    elif all(row[1][5] != NULL for row in rows):
        raise AssertionError("nothing was odd, and yet it was not judged by columns")
    assert slow.faults == ()


@settings(max_examples=60, deadline=None)
@given(documents())
def test_rows_are_committed_and_indexed_as_the_formats_say(rows: list[Row]) -> None:
    given_rows = judge().judge(0, frame(rows), 0)
    for number, (key, values) in enumerate(rows):
        span = slice(32 * number, 32 * number + 32)
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        commitment = record_commitment(1, key[:16], values)
        assert given_rows.commitments[span] == commitment
        names = ["s0001", values[2][5:].decode(), values[3][5:].decode()]
        tags = [tag(TAG_KEY, d, name) for d, name in zip(DOCUMENT_V1.dimensions, names, strict=True)]
        leaves = index_leaves(tags, key[16:], time_us, number, commitment)
        assert [flat[span] for flat in given_rows.leaves] == leaves
        assert [flat[span] for flat in given_rows.keys] == [each + sort_key(time_us, number) for each in tags]


def plain_rows(count: int = 3, first: int = 0) -> list[Row]:
    return [
        (
            bytes([number]) * 32,
            [
                time_value(1000 + number),
                integer_value(first + number),
                NULL,
                text_value(f"docs/{number}"),
                text_value("text/plain"),
                content_value(bytes([number]) * 32, 9),
                content_value(bytes(31) + b"\1", 9),
                text_value("mtime"),
                structure_value(b'{"a":"b"}'),
            ],
        )
        for number in range(count)
    ]


def test_wants_carry_what_the_packs_are_judged_by() -> None:
    rows = plain_rows()
    for result in (judge().judge(0, frame(rows), 0), judge().judge_by_rows(0, frame(rows), 0)):
        wants = [parse_want(result.wants[at : at + 96]) for at in range(0, len(result.wants), 96)]
        assert [want.place for want in wants] == [(5 << 32) + number for number in range(3)]
        assert wants[2].digest == b"\2" * 32
        assert wants[2].salt == b"\2" * 16
        assert wants[2].root == bytes(31) + b"\1"
        assert wants[2].size == 9


def test_a_sample_judges_only_what_was_drawn() -> None:
    result = judge().judge(0, frame(plain_rows(5)), 0, frozenset({1, 4}))
    assert result.seqs == (1, 4)
    assert len(result.commitments) == 64
    whole = judge().judge(0, frame(plain_rows(5)), 0)
    assert result.commitments[32:] == whole.commitments[128:]
    assert result.count == 5


def test_without_a_tag_key_there_is_what_leaves_are_made_of() -> None:
    result = judge(tag_key=None).judge(0, frame(plain_rows()), 0)
    assert len(result.inners) == 96
    assert result.leaves == result.keys == ()
    assert result.commitments == judge().judge(0, frame(plain_rows()), 0).commitments


def test_profile_0_is_committed_whole() -> None:
    rows = plain_rows()
    result = judge(profile=0).judge(0, frame(rows), 0)
    assert result.commitments[:32] == record_commitment(0, rows[0][0][:16], rows[0][1])


def test_events_have_no_contents() -> None:
    values = [
        time_value(5),
        integer_value(0),
        text_value("operator:x"),
        text_value("pass"),
        structure_value(b"{}"),
    ]
    result = judge(EVENT_V1).judge(0, frame([(bytes(32), values)]), 0)
    assert result.wants == b""
    assert result.seqs is None


ALL_TYPES = Schema(
    "example.all",
    1,
    ("source", "account"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        *(Field(f"f{letter}", letter) for letter in "nbitdDsxjh"),
    ),
)
GOOD: dict[str, object] = {
    "n": None, "b": True, "i": -5, "t": UNDATED, "d": 1.5, "D": "-1.50e9", "s": "é", "x": b"\xff", "j": b"[1]"
}  # fmt: skip


def all_values(**changed: bytes) -> list[bytes]:
    values = {letter: encode_value(letter, value) for letter, value in GOOD.items()}
    values["h"] = content_value(bytes(32), 1)
    values |= changed
    return [time_value(1), integer_value(0), NULL, *(values[letter] for letter in "nbitdDsxjh")]


def faults_of(values: list[bytes]) -> list[str]:
    result: FrameRows = judge(ALL_TYPES).judge(0, frame([(bytes(32), values)]), 0)
    return [fault.detail for fault in result.faults]


def test_every_type_is_taken_where_it_is_right() -> None:
    assert faults_of(all_values()) == []
    assert faults_of(all_values(**dict.fromkeys("bitdDsxjh", NULL))) == []


WRONG: list[tuple[str, bytes]] = [
    ("n", b"n\0\0\0\x01a"),
    ("n", integer_value(0)),
    ("b", b"b\0\0\0\x01\x02"),
    ("b", b"b\0\0\0\0"),
    ("i", b"i\0\0\0\x04\0\0\0\0"),
    ("i", time_value(0)),
    ("t", b"t\0\0\0\0"),
    ("d", b"d\0\0\0\x08\x7f\xf8" + b"\0" * 5 + b"\1"),
    ("D", b"D\0\0\0\x021."),
    ("D", b"D\0\0\0\x01\xff"),
    ("s", b"s\0\0\0\x02\xc3\x28"),
    ("s", b"x\0\0\0\x01a"),
    ("x", b"s\0\0\0\x01a"),
    ("j", structure_value(b'{"b":1,"a":1}')),
    ("j", structure_value(b"")),
    ("h", b"h\0\0\0\x28" + bytes(32) + b"\x80" + bytes(7)),
    ("h", b"h\0\0\0\x20" + bytes(32)),
    ("s", b"z\0\0\0\0"),
]


@pytest.mark.parametrize(("letter", "value"), WRONG)
def test_every_type_is_refused_where_it_is_wrong(letter: str, value: bytes) -> None:
    found = faults_of(all_values(**{letter: value}))
    assert len(found) == 1
    assert found[0].startswith(f"field f{letter}: ")


@pytest.mark.parametrize("letter", ["s", "j", "h", "t", "i"])
def test_by_columns_no_wrong_value_is_overlooked(letter: str) -> None:
    schema = Schema(
        "example.one", 1, ("source", "account"),
        (Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("value", letter)),
    )  # fmt: skip
    good = content_value(bytes(32), 1) if letter == "h" else encode_value(letter, GOOD[letter])
    for wrong in [value for kind, value in WRONG if kind == letter]:
        for place in range(3):
            rows = [
                (bytes(32), [time_value(1), integer_value(n), NULL, wrong if n == place else good])
                for n in range(3)
            ]
            result = judge(schema).judge(0, frame(rows), 0)
            assert [fault.seq for fault in result.faults] == [place], (wrong, place)


# -- canonical JSON


@pytest.mark.parametrize(
    "payload",
    [
        b"{}", b"[]", b"null", b'"a"', b"1", b"-1", b"0", b"1.5", b"1e+21", b'{"a":1}', b'{"a":[],"b":null,"c":true}',
        b'{"a":"\\n"}', b'{"a":{"b":1}}', '{"é":1}'.encode(), b'{"":0}', b'{"a":-0}', b'{"a":00}', b'{"a":01}',
        b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1,}', b'{"a" :1}', b'{"a":1 }', b'{a:1}', b'{"a":1', b'{"a":1}}',
        b'{"a":"\x01"}', b'{"a":"\x7f"}', b'{"a":9007199254740993}', b'{"a":999999999999999}', b'{"a":tru}',
        b'{"a":"x,","b":1}', b'{"a":"x,",",":1}', b'{"a":"b":"c"}', b'{"a":"}","b":"{"}', b'{"x":"a\\u0041"}', b"",
    ],
)  # fmt: skip
def test_the_quick_look_at_json_agrees_with_the_strict_one(payload: bytes) -> None:
    expected = is_canonical_json(payload)
    assert is_canonical_structure(payload) is expected
    for first in (payload, b"{}", b'{"a":1}', b'{"a":1,"b":"x"}', b'{"a+":1}', b"[]"):
        assert are_canonical_structures([first, payload, payload]) is (is_canonical_json(first) and expected)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.text('ab:,{}"\\é ', max_size=3),
        st.one_of(
            st.integers(-(10**17), 10**17),
            st.text('ab:,"{}', max_size=4),
            st.none(),
            st.booleans(),
            st.just([]),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_the_quick_look_at_json_agrees_for_any_object(value: dict[str, object], is_sorted: bool) -> None:
    text = json.dumps(value, sort_keys=is_sorted, separators=(",", ":"), ensure_ascii=False).encode()
    assert is_canonical_structure(text) is is_canonical_json(text)
    other = text.replace(b"a", b"b")
    both = is_canonical_json(text) and is_canonical_json(other)
    assert are_canonical_structures([text, other]) is are_canonical_structures([other, text]) is both


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("field", [5, 6])
def test_by_columns_a_size_below_zero_is_not_overlooked(place: int, field: int) -> None:
    rows = plain_rows()
    rows[place][1][field] = b"h\0\0\0\x28" + bytes(32) + b"\xff" * 8
    result = judge().judge(0, frame(rows), 0)
    assert [fault.seq for fault in result.faults] == [place]


@pytest.mark.parametrize("field", [0, 1, 5])
def test_by_columns_a_length_that_lies_is_not_overlooked(field: int) -> None:
    """A value of a fixed size is cut off by that size: its own length must say the same."""
    rows = plain_rows()
    value = bytearray(rows[1][1][field])
    value[4] -= 1
    rows[1][1][field] = bytes(value)
    assert judge()._quickly(0, frame(rows)) is None
    assert judge().judge(0, frame(rows), 0).faults
