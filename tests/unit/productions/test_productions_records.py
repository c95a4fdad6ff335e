import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import RecordNotAsSealed
from scelle.formats.packages import FieldsRecord, OpenField, Query, WholeRecord
from scelle.formats.records import field_leaf, field_salt, record_commitment
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import (
    NULL,
    bytes_value,
    content_value,
    integer_value,
    structure_value,
    text_value,
    time_value,
)
from scelle.ledger.rows import Row
from scelle.ledger.search import Tombstones
from scelle.productions import records
from scelle.productions.model import NOTHING_WITHHELD
from scelle.productions.plan import Task
from scelle.productions.records import Draft, Drafter, Item, record_line
from tests.unit.productions.ledgers import CHAT
from tests.unit.productions.test_productions_plan import segment

VALUES = st.one_of(
    st.text().map(text_value), st.binary(max_size=300).map(bytes_value), st.integers(0, 9).map(integer_value)
)


class NoShelf:
    """Refuse to fetch anything."""

    def put(self, digest: bytes, size_bytes: int, where: Callable[[], str]) -> tuple[int, int]:
        raise AssertionError(where())


class EveryShelf(NoShelf):
    def put(self, digest: bytes, size_bytes: int, where: Callable[[], str]) -> tuple[int, int]:
        return 7, 9


def drafter(
    profile: int = 1, schema: Any = DOCUMENT_V1, shelf: NoShelf | None = None, **redact: str
) -> Drafter:
    task = Task(3, segment(schema=schema, profile=profile), schema, 1, ("whole",), Tombstones())
    query = Query("o1", "source", "s0001", "A", redact=redact)
    return Drafter(task, query, NOTHING_WITHHELD, shelf or NoShelf())  # type: ignore[arg-type]


def document(meta: bytes = b"{}", native: str = "a.txt", media_type: str = "text/plain") -> list[bytes]:
    return [
        time_value(7), integer_value(0), NULL, text_value(native), text_value(media_type),
        content_value(b"d" * 32, 4), content_value(b"c" * 32, 4), text_value("mtime"), structure_value(meta),
    ]  # fmt: skip


def row(values: list[bytes]) -> Row:
    return Row(0, bytes(range(32)), b"".join(values), b"")


@given(
    values=st.lists(VALUES, min_size=1, max_size=6),
    key=st.binary(min_size=16, max_size=16),
    closed=st.integers(0, 5),
)
def test_a_line_is_what_the_format_makes_of_it(values: list[bytes], key: bytes, closed: int) -> None:
    fields: list[OpenField | bytes] = [OpenField(field_salt(key, j), value) for j, value in enumerate(values)]
    shown = [f'["{field_salt(key, j).hex()}","{b64encode(v).decode()}"]' for j, v in enumerate(values)]
    if closed < len(values):
        fields[closed] = field_leaf(field_salt(key, closed), values[closed])
        shown[closed] = f'"{field_leaf(field_salt(key, closed), values[closed]).hex()}"'
    for paths in (
        [],
        [("content", "items/A-0000001.txt")],
        [("é\U0001f600", "items/A-0000002.bin"), ("z", "items/A-0000003.bin")],
    ):
        expected = FieldsRecord(4, 9, tuple(fields), dict(paths)).encode()
        assert record_line(4, 9, 1, ",".join(shown), paths) == expected


def test_a_drafted_record_is_what_the_format_makes_of_it() -> None:
    values = document()
    draft = drafter(shelf=EveryShelf(), native_id="privacy").draft(row(values), 0)
    key = bytes(range(16))
    fields = tuple(
        field_leaf(field_salt(key, j), value) if j == 3 else OpenField(field_salt(key, j), value)
        for j, value in enumerate(values)
    )
    record = FieldsRecord(3, 0, fields)
    assert record_line(3, 0, 1, draft.shown, []) == record.encode()
    assert draft.rc == record.rc() == record_commitment(1, key, values)
    assert draft.redacted == (("native_id", "privacy"),)
    assert draft.items == (Item("content", b"d" * 32, 4, "txt", None, 7, 9),)


def test_a_drafted_record_of_profile_0_is_what_the_format_makes_of_it() -> None:
    values = [
        time_value(7),
        integer_value(0),
        NULL,
        text_value("m"),
        text_value("t"),
        NULL,
        NULL,
        bytes_value(b"r"),
    ]
    draft = drafter(0, CHAT).draft(row(values), 0)
    record = WholeRecord(3, 0, bytes(range(16)), tuple(values))
    assert record_line(3, 0, 0, draft.shown, []) == record.encode()
    assert draft.rc == record.rc()


def test_raw_goes_with_any_redaction_but_not_without() -> None:
    values = [
        time_value(7),
        integer_value(0),
        NULL,
        text_value("m"),
        text_value("t"),
        NULL,
        NULL,
        bytes_value(b"r"),
    ]
    assert drafter(1, CHAT).draft(row(values), 0).redacted == ()
    assert drafter(1, CHAT, model="x").draft(row(values), 0).redacted == (("model", "x"), ("raw", "raw"))
    assert drafter(1, CHAT, raw="x").draft(row(values), 0).redacted == (("raw", "raw"),)


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        (b'{"keep":"digest"}', "kept-in-place"),
        (b'{"a":1,"keep":"digest","z":2}', "kept-in-place"),
        (b'{"headers":{"keep":"digest"}}', None),
        (b'{"keep":"content"}', None),
        (b'{"name":"\\"keep\\":\\"digest\\""}', None),
        (b'[{"keep":"digest"}]', None),
    ],
)
def test_only_the_records_own_word_keeps_a_content_in_place(meta: bytes, code: str | None) -> None:
    shelf = NoShelf() if code else EveryShelf()
    (item,) = drafter(shelf=shelf).draft(row(document(meta)), 0).items
    assert item.code == code


def test_redacting_meta_does_not_bring_back_a_content_kept_in_place() -> None:
    (item,) = drafter(meta="privacy").draft(row(document(b'{"keep":"digest"}')), 0).items
    assert item.code == "kept-in-place"


def test_cells_come_from_open_fields_only() -> None:
    cells = drafter(shelf=EveryShelf(), native_id="x").draft(row(document(native="secret")), 5).cells
    assert cells == '(redacted)","","text/plain","1970-01-01T00:00:00.000007Z","mtime","s0001","","0","3","5'


@given(
    code=st.none() | st.just("privilege"),
    redacted=st.lists(st.tuples(st.text(), st.just("x")), max_size=2),
    field=st.text(),
    cells=st.text(),
    left_out=st.none() | st.just("y"),
)
def test_a_draft_survives_the_scratch_file(
    code: str | None, redacted: list[tuple[str, str]], field: str, cells: str, left_out: str | None
) -> None:
    item = Item(field, secrets.token_bytes(32), 2**40, "txt", left_out, 2**32 - 1, -1)
    draft = Draft(secrets.token_bytes(32), code, '["a","b"]', tuple(redacted), (item,), cells)
    assert Draft.unpack(draft.pack()) == draft


def test_a_line_over_64_mib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LINE_MAX_BYTES", 50)
    with pytest.raises(RecordNotAsSealed, match="entry 4 position 9: its line would be over 64 MiB"):
        record_line(4, 9, 1, '"' + "a" * 64 + '"', [])
