"""Make records of the lines that COPY sends."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from json import dumps
from typing import Any, Final, NamedTuple, TypeAlias

from scelle.errors import FormatError, ItemChanged
from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import NULL, structure_value, text_value
from scelle.sources.interfaces import PIECE_BYTES, UNDATED, BadRecord, Content, Document, Record, native_text
from scelle.sources.media_types import media_type
from scelle.sources.postgres.shapes import LARGE, ROW_BYTES, VALUE_BYTES, Shape
from scelle.sources.postgres.types import COPY_NULL, bytea_of, encoder_of, plain_text, time_us_of, unescaped

IDENTIFIER_BYTES: Final = 64 << 10
_HEAD_BYTES: Final = 512
_MEDIA_TYPE: Final = "application/octet-stream"

Stream: TypeAlias = Callable[[], Iterator[bytes]]


class Place(NamedTuple):
    """Say where a row lies in the snapshot: the oid of its table or partition, and its ctid."""

    table_oid: int
    ctid: str


class LeftOut(NamedTuple):
    """Describe a value that was too large for its line; `column` is its place among the columns, from 0."""

    column: int
    size_bytes: int
    digest: bytes


OpenValue: TypeAlias = Callable[[Place, LeftOut], Stream]


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
            encoder_of(letter, column.base_type)
            for letter, column in zip(shape.letters, columns, strict=True)
        ]
        self._plain_encoders = [
            plain_text if letter == "s" else encode
            for letter, encode in zip(shape.letters, self._encoders, strict=True)
        ]
        self._cells = len(columns) + 3
        self._bytea = [place for place, letter in enumerate(shape.letters) if letter == "h"]
        self._leaves = {leaf.oid: leaf.text for leaf in shape.table.leaves}
        self._origins: dict[bytes, bytes] = {}
        self._account_head = f"{shape.account_kind}:"
        self._whose = NULL if holder is None else text_value(holder)
        self._key = [(place, shape.letters[place] == "i") for place in shape.key]
        self._by_leaf = shape.table.is_partitioned and not shape.key
        self._native_head = f"{shard}/" if shard else ""
        if not self._by_leaf:
            self._native_head += shape.table.text
        self._large = [NULL] if shape.large is not None else []
        self._is_utf8 = "x" not in shape.letters

    def record(self, line: bytes) -> Record | BadRecord:
        """Make the record of one line without its line feed; what fits no record is a BadRecord."""
        cells = line.split(b"\t")
        if len(cells) != self._cells:
            return BadRecord(
                self._shape.table.text, "row-misread", f"a line of {len(cells)} cells, not {self._cells}"
            )
        try:
            return self._record(line, cells)
        except _TooLong as error:
            return BadRecord(self._place_text(cells), "identifier-too-long", str(error))
        except UnicodeDecodeError:
            return BadRecord(self._place_text(cells), "not-utf8", "text that is not UTF-8")
        except (FormatError, ValueError, OverflowError) as error:
            return BadRecord(self._place_text(cells), "value-wrong", str(error))

    def _record(self, line: bytes, cells: list[bytes]) -> Record:
        shape = self._shape
        version = line[len(cells[0]) + len(cells[1]) + 2 :]
        if self._is_utf8 and not line.isascii():
            line.decode("utf-8")
        values = self._values(line, cells)
        left_out = _left_out(cells[-1]) if cells[-1] else {}
        native_id = self._native_id(cells, left_out)
        account, whose = self._holder, self._whose
        if shape.account is not None:
            account, whose = self._identifier(shape.account, cells, left_out), NULL
            if account is not None:
                account = self._account_head + account
                whose = text_value(account)
        cell = cells[shape.time + 2] if shape.time is not None else b""
        time_us = self._time_us if shape.time is None else UNDATED if cell == COPY_NULL else time_us_of(cell)
        roles = [whose, text_value(native_id)]
        for place in shape.dimensions:
            text = self._identifier(place, cells, left_out)
            roles.append(NULL if text is None else text_value(text))
        origin = self._origins.get(cells[0]) or self._origin(cells[0])
        contents: tuple[Content, ...] = ()
        size = len(version)
        if self._bytea or left_out or size > VALUE_BYTES:
            contents, origin = self._contents(cells, values, left_out, time_us, origin)
            size += sum(content.document.size_bytes for content in contents)
        return Record(
            shape.member.name,
            (self._native_head + native_id).encode("utf-8"),
            time_us,
            account,
            [*roles, *values, *self._large, origin],
            version,
            size,
            contents,
        )

    def _values(self, line: bytes, cells: list[bytes]) -> list[bytes]:
        """Encode the columns; where every backslash is that of a NULL, no text has an escape to look for."""
        is_plain = line.count(b"\\") == line.count(COPY_NULL)
        encoders = self._plain_encoders if is_plain else self._encoders
        pairs = zip(cells[2:-1], encoders, strict=True)
        return [NULL if cell == COPY_NULL else encode(cell) for cell, encode in pairs]

    # --- roles

    def _identifier(self, place: int, cells: list[bytes], left_out: Mapping[int, LeftOut]) -> str | None:
        cell = cells[place + 2]
        if place in left_out or len(cell) > IDENTIFIER_BYTES:
            name = self._shape.table.columns[place].name
            raise _TooLong(f"column {name} identifies the row and takes more than 64 KiB: choose another")
        return None if cell == COPY_NULL else native_text(unescaped(cell))

    def _native_id(self, cells: list[bytes], left_out: Mapping[int, LeftOut]) -> str:
        """Write the primary key as a JSON array; without one the place, with its partition where there are many."""
        if not self._key:
            place = cells[1].decode("ascii")
            return f"{self._leaf(cells[0])}{place}" if self._by_leaf else place
        texts = [
            _json_text(self._identifier(place, cells, left_out), is_plain=is_plain)
            for place, is_plain in self._key
        ]
        return f"[{','.join(texts)}]"

    def _leaf(self, table_oid: bytes) -> str:
        return self._leaves.get(int(table_oid)) or table_oid.decode("ascii")

    def _place_text(self, cells: list[bytes]) -> str:
        place = cells[1].decode("ascii", "replace")
        return f"{self._leaf(cells[0])}{place}" if cells[0].isdigit() else self._shape.table.text

    # --- contents

    def _contents(
        self,
        cells: list[bytes],
        values: list[bytes],
        left_out: Mapping[int, LeftOut],
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
            origin = self._origin(cells[0], parts)
        return tuple(contents), origin

    def _bytea_contents(
        self, cells: list[bytes], left_out: Mapping[int, LeftOut], where: Place, time_us: int
    ) -> Iterator[Content]:
        for place in self._bytea:
            cell, out, field = cells[place + 2], left_out.get(place), self._shape.first + place
            if out is not None:
                stream = self._open_value(where, out)
                yield Content(field, content_document(None, stream, out.size_bytes, time_us))
            elif cell != COPY_NULL:
                data = bytea_of(cell)
                yield Content(field, content_document(data, None, len(data), time_us))

    def _parts(self, values: list[bytes], left_out: Mapping[int, LeftOut], where: Place) -> list[_Part]:
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

    def _origin(self, table_oid: bytes, parts: list[_Part] | None = None) -> bytes:
        """Write `origin`: the snapshot, the table or partition, and the columns whose values `raw` holds."""
        body: dict[str, Any] = {"snapshot": self._snapshot, "table": self._leaf(table_oid)}
        if self._shard:
            body["shard"] = self._shard
        if parts:
            columns = self._shape.table.columns
            body[LARGE] = [[columns[part.column].name, part.size_bytes] for part in parts]
            return structure_value(canonical_json(body))
        self._origins[table_oid] = structure_value(canonical_json(body))
        return self._origins[table_oid]


class _TooLong(Exception):
    """An identifier that nobody could ask for."""


def content_document(data: bytes | None, stream: Stream | None, size_bytes: int, time_us: int) -> Document:
    """Describe a content of a row."""
    kind = media_type(b"", data[:_HEAD_BYTES]) if data is not None else _MEDIA_TYPE
    return Document(data, stream, size_bytes, kind, b"{}", time_us, "row", b"")


def _left_out(cell: bytes) -> dict[int, LeftOut]:
    """Read what the query says of values that it left out: `place:size:sha256`, spaces between them."""
    found = {}
    for told in cell.decode("ascii").split(" "):
        place, size, digest = told.split(":")
        found[int(place)] = LeftOut(int(place), int(size), bytes.fromhex(digest))
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


def checked(pieces: Iterable[bytes], out: LeftOut, what: str) -> Iterator[bytes]:
    """Pass pieces on; raise ItemChanged after the last one where they are not those that `out` describes."""
    total, state = 0, sha256()
    for piece in pieces:
        total += len(piece)
        state.update(piece)
        yield piece
    if total != out.size_bytes or state.digest() != out.digest:
        raise ItemChanged(f"{what} is not what the snapshot said it is: read the table again")
