"""Read records from lines of JSON."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json
from scelle.sources.interfaces import BadRecord, Batch, Record, native_text
from scelle.sources.json_values import SourceRow, json_object, json_object_with_texts
from scelle.sources.lines import BYTE_ORDER_MARK, LINE_MAX_BYTES, Block, LineReader
from scelle.sources.records.rows import RowMaker, bad_record
from scelle.sources.unfit import Unfit

Waits = Callable[[int, int, int], None]
"""Called with the bytes, the offset and the line of what waits for its end."""


def too_long() -> Unfit:
    """Make the fault of a line over 64 MiB: a new one each time, since what is raised holds on to its frames."""
    return Unfit("line-too-long", "the line is over 64 MiB: split it")


class Origins(NamedTuple):
    """Write where lines of one file stand: RFC 8785, keys byte, file, line."""

    native: bytes
    shown: str
    infix: bytes

    def of_line(self, offset: int, line: int) -> bytes:
        """Write the place of a line."""
        return b'{"byte":%d%b%d}' % (offset, self.infix, line)

    def native_of(self, offset: int) -> bytes:
        """Give the id of a row that has none of its own."""
        return b"%b#%d" % (self.native, offset)

    def place(self, offset: int, line: int) -> str:
        """Say the place to people."""
        return f"line {line} (byte {offset})"


def origins_of(native: bytes) -> Origins:
    """Prepare the places of a file's lines."""
    text = native_text(native)
    return Origins(native, text, b',"file":%b,"line":' % canonical_json(text))


def read_jsonl(reader: LineReader, maker: RowMaker, origins: Origins, waits: Waits) -> Iterator[Batch]:
    """Yield the records of the lines behind the reader's place; a last line without LF only if it is an object."""
    read_row = row_reader(maker)
    for block in reader.blocks():
        records = _records(block, maker, origins, read_row)
        reader.take_block(block)
        yield Batch(records, reader.mark.encode())
    yield from _last_line(reader, maker, origins, waits, read_row)


def row_reader(maker: RowMaker) -> Callable[[bytes], SourceRow]:
    """Give the function that reads one line; it raises Unfit."""
    kept, paths = maker.kept_texts

    def read(raw: bytes) -> SourceRow:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Unfit("not-utf-8", "the line is not UTF-8, which JSON must be") from None
        return json_object_with_texts(text, kept, paths) if kept else json_object(text)

    return read


def _records(
    block: Block, maker: RowMaker, origins: Origins, read_row: Callable[[bytes], SourceRow]
) -> list[Record | BadRecord]:
    if block.too_long_bytes:
        return [bad_record(origins.shown, origins.place(block.offset, block.line), too_long())]
    records: list[Record | BadRecord] = []
    add, make, of_line, native_of = records.append, maker.make, origins.of_line, origins.native_of
    offset, line = block.offset, block.line
    for whole in block.lines:
        raw = whole[:-1] if whole[-1:] == b"\r" else whole
        if raw and not raw.isspace():
            try:
                if len(raw) > LINE_MAX_BYTES:
                    raise too_long()
                row = read_row(raw if offset else raw.removeprefix(BYTE_ORDER_MARK))
                add(make(row, native_of(offset), of_line(offset, line), raw, len(raw)))
            except (Unfit, FormatError) as error:
                fault = error if isinstance(error, Unfit) else Unfit("schema-mismatch", str(error))
                add(bad_record(origins.shown, origins.place(offset, line), fault))
        offset += len(whole) + 1
        line += 1
    return records


def _last_line(
    reader: LineReader,
    maker: RowMaker,
    origins: Origins,
    waits: Waits,
    read_row: Callable[[bytes], SourceRow],
) -> Iterator[Batch]:
    raw = b"".join(reader.tail)
    if reader.tail_bytes and (not raw or not _is_whole(raw, read_row)):
        if not raw or not raw.isspace():
            waits(reader.tail_bytes, reader.offset, reader.line)
        return
    if raw:
        block = Block(reader.offset, reader.line, [raw], raw, 0)
        records = _records(block, maker, origins, read_row)
        reader.take(raw, 1, is_ended=False)
        yield Batch(records, reader.mark.encode())


def _is_whole(raw: bytes, read_row: Callable[[bytes], SourceRow]) -> bool:
    """Say whether a line without its end is an object all the same: what is cut is no JSON."""
    try:
        read_row(raw.removeprefix(BYTE_ORDER_MARK))
    except Unfit as fault:
        return fault.cause == "duplicate-key" and raw.rstrip().endswith(b"}")
    return True
