"""Make records of the lines that COPY sends."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import repeat
from json import dumps
from operator import add
from typing import Any, Final, NamedTuple, TypeAlias

from scelle.errors import FormatError, ItemChanged
from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import NULL, structure_value, text_value
from scelle.sources.interfaces import PIECE_BYTES, BadRecord, Content, Document, Record, native_text
from scelle.sources.media_types import media_type
from scelle.sources.postgres.shapes import LARGE, ROW_BYTES, VALUE_BYTES, Shape
from scelle.sources.postgres.types import (
    COPY_NULL,
    bytea_of,
    column_encoder_of,
    text_values,
    times_us_of,
    unescaped,
)

IDENTIFIER_BYTES: Final = 64 << 10
_HEAD_BYTES: Final = 512
_MEDIA_TYPE: Final = "application/octet-stream"

_PART_ROWS: Final = 128
_NOT_AS_IT_IS: Final = re.compile(rb'["\\\x00-\x1f]')
"""What JSON escapes, or COPY."""

_record: Final[Callable[[Iterable[Any]], "Record | BadRecord"]] = partial(tuple.__new__, Record)
"""Make a record as its own `_make` does, without a call of Python's for each."""

Stream: TypeAlias = Callable[[], Iterator[bytes]]


class Place(NamedTuple):
    """Say where a row lies in the snapshot: the oid of its table or partition, and its ctid."""

    table_oid: int
    ctid: str


class LargeValue(NamedTuple):
    """Describe a value that was too large for its line; `column` is its place among the columns, from 0."""

    column: int
    size_bytes: int
    digest: bytes


OpenValue: TypeAlias = Callable[[Place, LargeValue], Stream]


class _Part(NamedTuple):
    """A value that goes into the content `raw`: its bytes, or where they stream from."""

    column: int
    size_bytes: int
    data: bytes | None
    stream: Stream | None


class RowReader:
    """Make records of one table's lines: `tableoid, ctid, columns.., what was left out`, tabs between them.

    `snapshot` names the snapshot in `origin`. Not safe for several threads.
    """

    def __init__(
        self, shape: Shape, snapshot: str, time_us: int, holder: str | None, shard: str, open_value: OpenValue
    ) -> None:
        self._shape, self._snapshot, self._time_us = shape, snapshot, time_us
        self._holder, self._shard, self._open_value = holder, shard, open_value
        columns = shape.table.columns
        self._encoders = [
            column_encoder_of(letter, column.base_type)
            for letter, column in zip(shape.letters, columns, strict=True)
        ]
        self._cells = len(columns) + 3
        self._bytea = [place for place, letter in enumerate(shape.letters) if letter == "h"]
        self._leaves = {leaf.oid: leaf.text for leaf in shape.table.leaves}
        self._origins: dict[bytes, bytes] = {}
        self._account_head = f"{shape.account_kind}:"
        self._whose = NULL if holder is None else text_value(holder)
        self._key = [(place, shape.letters[place] == "i") for place in shape.key]
        self._by_leaf = shape.table.is_partitioned and not shape.key
        native_head = f"{shard}/" if shard else ""
        if not self._by_leaf:
            native_head += shape.table.text
        self._native_head = native_head.encode("utf-8")
        self._is_utf8 = "x" not in shape.letters
        self._first = shape.first - 2
        """Where the columns begin among the values, which have neither time nor seq."""

    def records(self, data: bytes) -> list[Record | BadRecord]:
        """Make a record of each line of `data`, all of which end with a line feed; what fits none is a BadRecord.

        Works column by column. Where some row does not fit, the rows are gone through in smaller and smaller parts.
        """
        try:
            return self._records(data)
        except (_Misread, _TooLong, FormatError, ValueError, OverflowError) as error:
            lines = data[:-1].split(b"\n")
            if len(lines) == 1:
                return [self._misfit(lines[0], error)]
            step = _PART_ROWS if len(lines) > _PART_ROWS else 1
            parts = (lines[at : at + step] for at in range(0, len(lines), step))
            return [record for part in parts for record in self.records(b"\n".join([*part, b""]))]

    def _misfit(self, line: bytes, error: Exception) -> BadRecord:
        cells = line.split(b"\t")
        match error:
            case _Misread():
                where, cause = self._shape.table.text, "row-misread"
                return BadRecord(where, cause, f"a line of {len(cells)} cells, not {self._cells}")
            case _TooLong():
                cause = "identifier-too-long"
            case UnicodeDecodeError():
                return BadRecord(self._place_text(cells), "not-utf8", "text that is not UTF-8")
            case _:
                cause = "value-wrong"
        return BadRecord(self._place_text(cells), cause, str(error))

    def _records(self, data: bytes) -> list[Record | BadRecord]:
        shape = self._shape
        rows = self._rows(data)
        # where every backslash is that of a NULL, no text has an escape to look for
        rows.is_plain = data.count(b"\\") == data.count(COPY_NULL)
        if self._is_utf8 and not data.isascii():
            data.decode("utf-8")
        columns = [
            encode(cells, rows.is_plain)
            for encode, cells in zip(self._encoders, rows.columns[2:-1], strict=True)
        ]
        native_ids = self._native_ids(rows)
        accounts: Iterable[str | None] = repeat(self._holder)
        whose: Iterable[bytes] = repeat(self._whose)
        if shape.account is not None:
            head = self._account_head
            accounts = [None if text is None else head + text for text in self._texts(shape.account, rows)]
            whose = _values_of(accounts)
        times = self._times(rows)
        dimensions = [_values_of(self._texts(place, rows)) for place in shape.dimensions]
        heads = map(add, map(len, rows.columns[0]), map(len, rows.columns[1]))
        lines = data[:-1].split(b"\n")
        versions = [line[head + 2 :] for line, head in zip(lines, heads, strict=True)]
        large = [repeat(NULL)] if shape.large is not None else []
        parts = [whose, text_values(native_ids), *dimensions, *columns, *large, self._origins_of(rows)]
        made = zip(
            repeat(shape.member.name),
            [self._native_head + native_id for native_id in native_ids],
            times,
            accounts,
            map(list, zip(*parts)),  # noqa: B905  some never end
            versions,
            map(len, versions),
            repeat(()),
        )
        records = list(map(_record, made))
        self._give_contents(rows, records)
        return records

    def _rows(self, data: bytes) -> "Rows":
        """Cut lines into cells, column by column; every line must have as many as the query."""
        flat = data.replace(b"\n", b"\t\n\t").split(b"\t")
        step = self._cells + 1
        count, rest = divmod(len(flat) - 1, step)
        if rest or flat[self._cells :: step] != [b"\n"] * count:
            raise _Misread
        return Rows([flat[at:-1:step] for at in range(self._cells)], False)

    # --- roles

    def _times(self, rows: "Rows") -> Iterable[int]:
        """Give each row's time: its column's, else the snapshot's."""
        time = self._shape.time
        return repeat(self._time_us) if time is None else times_us_of(rows.columns[time + 2])

    def _texts(self, place: int, rows: "Rows") -> list[str | None]:
        """Give identifiers as text; raise _TooLong where one is longer than anybody would ask for."""
        cells = rows.columns[place + 2]
        if max(map(len, cells)) > IDENTIFIER_BYTES or any(place in _left_out(cell) for cell in rows.tails):
            name = self._shape.table.columns[place].name
            raise _TooLong(f"column {name} identifies the row and takes more than 64 KiB: choose another")
        joined = b"\t".join(cells)
        if self._is_utf8 and b"\\" not in joined:  # neither escapes nor NULL
            return [*joined.decode("utf-8").split("\t")]
        return [None if cell == COPY_NULL else native_text(unescaped(cell)) for cell in cells]

    def _native_ids(self, rows: "Rows") -> list[bytes]:
        """Write primary keys as JSON arrays; without one the places, with their partitions where there are many."""
        if not self._key:
            places = rows.columns[1]
            if not self._by_leaf:
                return places
            oids = rows.columns[0]
            heads = {oid: self._leaf(oid).encode("utf-8") for oid in set(oids)}
            return [heads[oid] + place for oid, place in zip(oids, places, strict=True)]
        parts = [self._json_texts(place, rows, is_plain=is_plain) for place, is_plain in self._key]
        if len(parts) == 1:
            return [b"[%b]" % part for part in parts[0]]
        return [b"[%b]" % b",".join(each) for each in zip(*parts, strict=True)]

    def _json_texts(self, place: int, rows: "Rows", *, is_plain: bool) -> list[bytes]:
        cells = rows.columns[place + 2]
        if is_plain and COPY_NULL not in cells:
            return cells
        texts = self._texts(place, rows)
        if not is_plain and self._is_utf8 and _NOT_AS_IT_IS.search(b"".join(cells)) is None:
            return [b'"%b"' % cell for cell in cells]
        return [_json_text(text, is_plain=is_plain).encode("utf-8") for text in texts]

    def _leaf(self, table_oid: bytes) -> str:
        return self._leaves.get(int(table_oid)) or table_oid.decode("ascii")

    def _place_text(self, cells: list[bytes]) -> str:
        place = cells[1].decode("ascii", "replace")
        return f"{self._leaf(cells[0])}{place}" if cells[0].isdigit() else self._shape.table.text

    def _origins_of(self, rows: "Rows") -> list[bytes]:
        """Write `origin` of each row."""
        oids = rows.columns[0]
        for oid in set(oids) - set(self._origins):
            self._origins[oid] = structure_value(canonical_json(self._origin(oid, b"")))
        return list(map(self._origins.__getitem__, oids))

    # --- contents

    def _give_contents(self, rows: "Rows", records: list[Record | BadRecord]) -> None:
        """Put contents into the records that have some, or that hold more than a value may."""
        if not (self._bytea or rows.tails or max(record[6] for record in records) > VALUE_BYTES):  # type: ignore[misc]
            return
        for at, record in enumerate(records):
            cells = [column[at] for column in rows.columns]
            left_out = _left_out(cells[-1])
            if isinstance(record, BadRecord) or not (
                self._bytea or left_out or record.size_bytes > VALUE_BYTES
            ):
                continue
            first, values = self._first, record.values
            columns = values[first : first + len(self._encoders)]
            contents, origin = self._contents(cells, columns, left_out, record.time_us, values[-1])
            values[first : first + len(columns)], values[-1] = columns, origin
            size = record.size_bytes + sum(content.document.size_bytes for content in contents)
            records[at] = record._replace(contents=contents, size_bytes=size)

    def _contents(
        self,
        cells: list[bytes],
        values: list[bytes],
        left_out: Mapping[int, LargeValue],
        time_us: int,
        origin: bytes,
    ) -> tuple[tuple[Content, ...], bytes]:
        """Give a row's contents and its `origin`; values that are too large leave `values`."""
        where = Place(int(cells[0]), cells[1].decode("ascii"))
        contents = list(self._bytea_contents(cells, left_out, where, time_us))
        large = self._shape.large
        parts = self._parts(values, left_out, where) if large is not None else []
        if large is not None and parts:
            contents.append(Content(large, _joined(parts, time_us)))
            origin = self._origin_of_large(cells, parts)
        return tuple(contents), origin

    def _bytea_contents(
        self, cells: list[bytes], left_out: Mapping[int, LargeValue], where: Place, time_us: int
    ) -> Iterator[Content]:
        for place in self._bytea:
            cell, out, field = cells[place + 2], left_out.get(place), self._shape.first + place
            if out is not None:
                stream = self._open_value(where, out)
                yield Content(field, content_document(None, stream, out.size_bytes, time_us))
            elif cell != COPY_NULL:
                data = bytea_of(cell)
                yield Content(field, content_document(data, None, len(data), time_us))

    def _parts(self, values: list[bytes], left_out: Mapping[int, LargeValue], where: Place) -> list[_Part]:
        """Take out of `values` what is too large for a value, or for a row; give it in the columns' order."""
        parts = [
            _Part(out.column, out.size_bytes, None, self._open_value(where, out))
            for out in left_out.values()
            if self._shape.letters[out.column] != "h"
        ]
        texts = [place for place, value in enumerate(values) if value[:1] in (b"s", b"x")]
        total = sum(map(len, values))
        for place in sorted(texts, key=lambda each: (-len(values[each]), each)):
            size = len(values[place]) - 5
            if size <= VALUE_BYTES and total <= ROW_BYTES:
                break
            parts.append(_Part(place, size, values[place][5:], None))
            total -= size
            values[place] = NULL
        return sorted(parts)

    def _origin(self, table_oid: bytes, place: bytes) -> dict[str, Any]:
        """Say where a row was read: the snapshot, the table or partition."""
        body: dict[str, Any] = {"snapshot": self._snapshot, "table": self._leaf(table_oid)}
        if self._shard:
            body["shard"] = self._shard
        return body

    def _origin_of_large(self, cells: list[bytes], parts: list[_Part]) -> bytes:
        """Write `origin` of a row of which `raw` holds values, with the columns whose values these are."""
        columns = self._shape.table.columns
        body = self._origin(cells[0], cells[1])
        body[LARGE] = [[columns[part.column].name, part.size_bytes] for part in parts]
        return structure_value(canonical_json(body))


@dataclass(slots=True)
class Rows:
    """Cells by column; `is_plain` says that none has an escape."""

    columns: list[list[bytes]]
    is_plain: bool

    @property
    def tails(self) -> list[bytes]:
        """Give what the query says of values that it left out, of the rows that have some."""
        return list(filter(None, self.columns[-1]))


class _Misread(Exception):
    """A line that has not as many cells as the query has columns."""


class _TooLong(Exception):
    """An identifier that nobody could ask for."""


def _values_of(texts: Sequence[str | None]) -> list[bytes]:
    """Make text values of identifiers."""
    if None in texts:
        return [NULL if text is None else text_value(text) for text in texts]
    return text_values([text.encode("utf-8") for text in texts if text is not None])


def content_document(data: bytes | None, stream: Stream | None, size_bytes: int, time_us: int) -> Document:
    """Describe a content of a row."""
    kind = media_type(b"", data[:_HEAD_BYTES]) if data is not None else _MEDIA_TYPE
    return Document(data, stream, size_bytes, kind, b"{}", time_us, "row", b"")


def _left_out(cell: bytes) -> dict[int, LargeValue]:
    """Read what the query says of values that it left out: `place:size:sha256`, spaces between them."""
    found: dict[int, LargeValue] = {}
    for told in cell.decode("ascii").split():
        place, size, digest = told.split(":")
        found[int(place)] = LargeValue(int(place), int(size), bytes.fromhex(digest))
    return found


def _joined(parts: list[_Part], time_us: int) -> Document:
    size = sum(part.size_bytes for part in parts)

    def values() -> Iterator[bytes]:
        for part in parts:
            if part.stream is not None:
                yield from part.stream()
            else:
                yield part.data or b""

    return content_document(None, lambda: in_pieces(values()), size, time_us)


def _json_text(text: str | None, *, is_plain: bool) -> str:
    if text is None:
        return "null"
    return text if is_plain else dumps(text, ensure_ascii=False)


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Cut what comes into pieces of 1 MiB; only the last may be shorter."""
    rest = b""
    for part in parts:
        rest = rest + part if rest else part
        whole = len(rest) - len(rest) % PIECE_BYTES
        for at in range(0, whole, PIECE_BYTES):
            yield rest[at : at + PIECE_BYTES]
        rest = rest[whole:]
    if rest:
        yield rest


def checked(pieces: Iterable[bytes], out: LargeValue, what: str) -> Iterator[bytes]:
    """Pass pieces on; raise ItemChanged after the last one where they are not those that `out` describes."""
    total, state = 0, sha256()
    for piece in pieces:
        total += len(piece)
        state.update(piece)
        yield piece
    if total != out.size_bytes or state.digest() != out.digest:
        raise ItemChanged(f"{what} is not what the snapshot said it is: read the table again")
