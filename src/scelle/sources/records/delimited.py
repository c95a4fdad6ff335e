"""Read records from CSV: RFC 4180, any delimiter, line ends inside of quotes."""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from scelle.errors import ItemUnreadable
from scelle.formats.canonical_json import structure_bytes
from scelle.formats.tokens import shown
from scelle.formats.values import (
    NULL,
    boolean_value,
    bytes_value,
    double_value,
    integer_value,
    number_text_value,
    structure_value,
    time_value,
)
from scelle.sources.event_times import EventClock, is_number
from scelle.sources.interfaces import BadRecord, Batch, Record
from scelle.sources.json_values import JSON_TEXT, Encoder, encode_text, exact_double, is_integer
from scelle.sources.lines import (
    BATCH_BYTES,
    BATCH_RECORDS,
    BYTE_ORDER_MARK,
    LINE_MAX_BYTES,
    LineReader,
)
from scelle.sources.records.jsonl import Origins, Waits, too_long
from scelle.sources.records.rows import RowMaker, bad_record
from scelle.sources.schema_file import SchemaFile
from scelle.sources.unfit import Unfit


class _TooLong(Exception):
    """Say that a row, as its quotes have it, is over 64 MiB."""


class CsvRows:
    """Read the rows of a file and know which bytes each is made of.

    The module `csv` asks for exactly as many lines as a row has; `taken` are those of the last row.
    """

    def __init__(self, reader: LineReader, delimiter: str, quote: str, path_shown: str) -> None:
        csv.field_size_limit(LINE_MAX_BYTES)  # one setting for the whole process; the default is 128 KiB
        self._reader = reader
        self._blocks = reader.blocks()
        self._lines: deque[bytes] = deque()
        self._shown = path_shown
        self._rows = csv.reader(self, delimiter=delimiter, quotechar=quote, strict=True)
        self.taken: list[bytes] = []
        self._taken_bytes = 0
        self.is_at_end = False
        """Whether the last row asked for more than there is, or has no line end."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Give the next line to the module `csv`."""
        line = self._next_line()
        if line is None:
            self.is_at_end = True
            raise StopIteration
        self.taken.append(line)
        self._taken_bytes += len(line)
        if self._taken_bytes > LINE_MAX_BYTES:
            raise _TooLong
        bare = (
            line.removeprefix(BYTE_ORDER_MARK) if self._reader.offset == 0 and len(self.taken) == 1 else line
        )
        return bare.decode("utf-8", "surrogateescape")

    def next_row(self) -> list[str] | None:
        """Give the cells of the next row, none for a blank line, None at the end.

        Raises Unfit for a row that is no CSV: its first line is the row then, and what follows is read anew.
        """
        self.taken, self._taken_bytes = [], 0
        try:
            cells = next(self._rows, None)
        except _TooLong:
            self._keep_first_line()
            raise too_long() from None
        except csv.Error as error:
            self.is_at_end = self.is_at_end or not self.taken[-1].endswith(b"\n")
            if not self.is_at_end:
                self._keep_first_line()
            raise Unfit("not-csv", f"it is no CSV ({error}): check its quotes and delimiter") from None
        if cells is not None and not self.taken[-1].endswith(b"\n"):
            self.is_at_end = True
        return cells

    def fail_first_line(self) -> None:
        """Make the first line of what was taken the row, and read what follows anew."""
        self.is_at_end = False
        self._keep_first_line()

    def accept(self, *, is_ended: bool = True) -> bytes:
        """Count what was taken as read, and give its bytes."""
        raw = b"".join(self.taken)
        self._reader.take(raw, len(self.taken), is_ended=is_ended)
        return raw

    def _keep_first_line(self) -> None:
        self._lines.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def _next_line(self) -> bytes | None:
        while not self._lines:
            block = next(self._blocks, None)
            if block is None:
                tail = b"".join(self._reader.tail)
                self._reader.tail = []
                return tail or None
            if block.too_long_bytes:
                raise ItemUnreadable(
                    f"{self._shown}, line {block.line}, is over 64 MiB: it is no CSV, or must be split",
                    "line-too-long",
                )
            self._lines.extend(line + b"\n" for line in block.lines)
        return self._lines.popleft()


def read_header(rows: CsvRows, file: SchemaFile, path_shown: str) -> tuple[str, ...] | None:
    """Read the names of the columns, or None where they are not whole yet; raises ItemUnreadable."""
    if file.columns:
        return file.columns
    try:
        cells = rows.next_row()
        while cells == []:
            rows.accept()
            cells = rows.next_row()
    except Unfit as fault:
        if rows.is_at_end:
            return None
        raise _bad_header(path_shown, fault.detail) from None
    if cells is None or rows.is_at_end:
        return None
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        raise _bad_header(path_shown, "it is not UTF-8") from None
    if len(set(cells)) != len(cells):
        raise _bad_header(path_shown, "a column stands twice")
    rows.accept()
    return tuple(cells)


def _bad_header(path_shown: str, why: str) -> ItemUnreadable:
    return ItemUnreadable(
        f"{shown(path_shown)} has no header that can be read ({why}): correct it, or name the columns in the schema",
        "header-unreadable",
    )


def read_csv(
    reader: LineReader, rows: CsvRows, header: tuple[str, ...], maker: RowMaker, origins: Origins, waits: Waits,
    *, is_settled: bool,
) -> Iterator[Batch]:  # fmt: skip
    """Yield the records of the rows behind the reader's place.

    A last row without its end is taken only where `is_settled`: nobody has written to the file for a while.
    """
    records: list[Record | BadRecord] = []
    size = 0
    while True:
        cells, fault = None, None
        try:
            cells = rows.next_row()
            if cells is None:
                break
        except Unfit as error:
            fault = error
        if rows.is_at_end:
            if not is_settled or reader.is_cut:
                left = b"".join(rows.taken)
                waits(len(left), reader.offset, reader.line)
                break
            if fault is not None:
                rows.fail_first_line()
        offset, line = reader.offset, reader.line
        raw = rows.accept(is_ended=rows.taken[-1].endswith(b"\n"))
        if cells == []:
            continue
        records.append(_record(cells, fault, header, raw, maker, origins, offset, line))
        size += len(raw)
        if len(records) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield Batch(records, reader.mark.encode())
            records, size = [], 0
    if records:
        yield Batch(records, reader.mark.encode())


def _record(
    cells: list[str] | None,
    fault: Unfit | None,
    header: tuple[str, ...],
    raw: bytes,
    maker: RowMaker,
    origins: Origins,
    offset: int,
    line: int,
) -> Record | BadRecord:
    bare = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        if fault is not None or cells is None:
            raise fault or too_long()
        if len(cells) != len(header):
            few = "too-few-fields" if len(cells) < len(header) else "too-many-fields"
            raise Unfit(few, f"the row has {len(cells)} fields, the header {len(header)}")
        row = dict(zip(header, cells, strict=True))
        return maker.make(row, origins.native_of(offset), origins.of_line(offset, line), bare, len(bare))
    except Unfit as error:
        return bad_record(origins.shown, origins.place(offset, line), _without_utf8(error, raw))


def _without_utf8(fault: Unfit, raw: bytes) -> Unfit:
    """Say of bytes outside UTF-8 what they are: in CSV they look like half a surrogate pair."""
    if fault.cause == "lone-surrogate":
        try:
            raw.decode()
        except UnicodeDecodeError:
            return Unfit(
                "not-utf-8", "it is not UTF-8: save the file as UTF-8, or list the field as x", fault.field
            )
    return fault


# --- cells


def cell_encoder(letter: str, clock: EventClock) -> Encoder:
    """Give the function that writes a cell's text as a type; an empty cell is null but for `s`, `x` and `json`."""
    encode = _CELL_ENCODERS[letter]
    if letter in ("s", "x", JSON_TEXT):
        return lambda cell: encode(cell, clock)
    return lambda cell: encode(cell, clock) if cell else NULL


def _text(cell: str, clock: EventClock) -> bytes:
    return encode_text(cell)


def _integer(cell: str, clock: EventClock) -> bytes:
    digits = cell.removeprefix("-")
    is_plain = digits.isascii() and digits.isdigit() and (digits[0] != "0" or digits == "0")
    if is_plain and is_integer(cell):
        return integer_value(int(cell))
    raise _no_cell("i (an integer of 64 bits without leading zeros)")


def _number(cell: str, clock: EventClock) -> bytes:
    if not is_number(cell):
        raise _no_cell("D (a number)")
    return number_text_value(cell)


def _double(cell: str, clock: EventClock) -> bytes:
    if is_number(cell):
        return double_value(exact_double(cell))
    if cell in ("NaN", "nan", "inf", "-inf", "Infinity", "-Infinity"):
        return double_value(float(cell))
    raise _no_cell("d (a binary float)")


def _boolean(cell: str, clock: EventClock) -> bytes:
    if cell not in ("true", "false"):
        raise _no_cell("b (true or false)")
    return boolean_value(cell == "true")


def _time(cell: str, clock: EventClock) -> bytes:
    return time_value(clock.exactly(cell))


def _bytes(cell: str, clock: EventClock) -> bytes:
    return bytes_value(cell.encode("utf-8", "surrogateescape"))


def _structure(cell: str, clock: EventClock) -> bytes:
    canonical = structure_bytes(cell.encode())
    if canonical is None:
        raise Unfit(
            "schema-mismatch", "it is no JSON that a structure holds exactly: list the field as json or s"
        )
    return structure_value(canonical)


def _nothing(cell: str, clock: EventClock) -> bytes:
    raise _no_cell("n (null)")


def _no_cell(meaning: str) -> Unfit:
    return Unfit("schema-mismatch", f"its text is none for {meaning}, as the schema says")


_CELL_ENCODERS: Final[dict[str, Callable[[Any, EventClock], bytes]]] = {
    "s": _text,
    JSON_TEXT: _text,
    "i": _integer,
    "D": _number,
    "d": _double,
    "b": _boolean,
    "t": _time,
    "x": _bytes,
    "j": _structure,
    "n": _nothing,
}
