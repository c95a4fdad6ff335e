"""Read files of events: lines with marks, or whole documents, in batches."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from scelle.sources.generation.entries import Entry, FileName, Spot, bad_entry, file_name
from scelle.sources.generation.texts import document_entries, is_event_line, is_whole_line, line_entries
from scelle.sources.interfaces import BadRecord, Batch, Record
from scelle.sources.lines import (
    BATCH_BYTES,
    BATCH_RECORDS,
    BYTE_ORDER_MARK,
    LINE_MAX_BYTES,
    Block,
    LineReader,
    parse_mark,
)
from scelle.sources.streams import ByteStream, check_only_grew, compression_of, open_stream
from scelle.sources.tree import Tree
from scelle.sources.unfit import Unfit

DOCUMENT_MAX_BYTES: Final = 64 << 20
BUNDLE_FOLDERS: Final = {b"configs": "config", b"policies": "policy"}

Make = Callable[[Entry], Record]
Waits = Callable[[str], None]

_TOO_LONG: Final = Unfit("line-too-long", "the line is over 64 MiB: split it")
_TOO_LARGE: Final = Unfit("document-too-large", "a document of events is over 64 MiB: write one event a line")


class FileKind(Enum):
    """Say what a file of the folder is by its name; of JSON, the content decides."""

    LINES = "lines"
    JSON = "json"
    BUNDLE = "bundle"


def kind_of_file(path: bytes) -> FileKind:
    """Tell what a file is."""
    if bundle_kind(path) != "document":
        return FileKind.BUNDLE
    ending = compression_of(path)[0].rpartition(".")[2]
    if ending in ("jsonl", "ndjson"):
        return FileKind.LINES
    return FileKind.JSON if ending == "json" else FileKind.BUNDLE


def bundle_kind(path: bytes) -> str:
    """Give what a document is by the folder it stands in: `config`, `policy`, else `document`."""
    folder, _, rest = path.partition(b"/")
    return BUNDLE_FOLDERS.get(folder, "document") if rest else "document"


class OpenFile:
    """Hold one file of events open, up to the size that it had when it was opened; it is read once."""

    def __init__(self, descriptor: int, status: os.stat_result, path: bytes) -> None:
        self._descriptor, self._status, self._path = descriptor, status, path
        self._compression = compression_of(path)[1]
        self._document: Iterator[Entry | BadRecord] = iter(())
        self.name = file_name(path)
        self.holds = FileKind.LINES if kind_of_file(path) is FileKind.LINES else self._look()

    def entries(self, waits: Waits) -> Iterator[Entry | BadRecord]:
        """Yield all its events; for a file that holds none, nothing."""
        if self.holds is FileKind.JSON:
            yield from self._document
        elif self.holds is FileKind.LINES:
            reader = self._reader()
            for block, _ in blocks_of(reader, waits):
                reader.take_block(block)
                for _, entries in _lines(block, self.name):
                    yield from entries

    def batches(self, mark: bytes, make: Make, waits: Waits) -> Iterator[Batch]:
        """Yield its records behind a mark; raises as the protocol of sources says."""
        if self.holds is FileKind.JSON:
            yield from _document_batches(self._document, make)
            return
        reader = self._reader()
        skip = 0
        if mark:
            place, _, number = mark.partition(b"+")
            reader.skip_to(parse_mark(place))
            skip = int(number or b"0")
        yield from line_batches(reader, self.name, make, waits, skip)

    def _reader(self) -> LineReader:
        return LineReader(self._stream(), self._path)

    def _stream(self) -> ByteStream:
        return open_stream(self._descriptor, self._path, self._status.st_size, self._compression)

    def _look(self) -> FileKind:
        """Look into JSON: events one a line, a document of events, or neither."""
        data = self._start(DOCUMENT_MAX_BYTES)
        end = data.find(b"\n")
        if end >= 0 and is_event_line(data[:end].removeprefix(BYTE_ORDER_MARK)):
            return FileKind.LINES
        if len(data) > DOCUMENT_MAX_BYTES:
            self._document = iter([bad_entry(Spot(self.name, 0, 0), _TOO_LARGE)])
            return FileKind.JSON
        try:
            mark_bytes = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
            found = document_entries(data[mark_bytes:], Spot(self.name, mark_bytes, 0))
        except Unfit as fault:
            found = iter([bad_entry(Spot(self.name, 0, 0), fault)])
        if found is None:
            return FileKind.BUNDLE
        self._document = found
        return FileKind.JSON

    def _start(self, size_bytes: int) -> bytes:
        """Read more than `size_bytes`, or to the end."""
        pieces: list[bytes] = []
        left = size_bytes
        for piece in self._stream():
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                break
        return b"".join(pieces)


@contextmanager
def opened(tree: Tree, path: bytes) -> Iterator[OpenFile]:
    """Open a file of events; raises an ItemError, also behind the block where the file was rewritten meanwhile."""
    descriptor, before = tree.open_file(path)
    try:
        yield OpenFile(descriptor, before, path)
        check_only_grew(path, before, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def blocks_of(reader: LineReader, waits: Waits) -> Iterator[tuple[Block, bool]]:
    """Yield lines, and at last the line without its end where it is whole all the same (False beside it)."""
    for block in reader.blocks():
        yield block, True
    raw = b"".join(reader.tail)
    if reader.tail_bytes and not (raw and is_whole_line(raw.removeprefix(BYTE_ORDER_MARK))):
        if not raw or not raw.isspace():
            waits(
                f"{reader.tail_bytes} bytes from byte {reader.offset}, line {reader.line}, wait for their end"
            )
    elif raw:
        yield Block(reader.offset, reader.line, [raw], raw, 0), False
    if reader.is_cut:
        waits("the compressed stream has no end yet")


def line_batches(
    reader: LineReader, name: FileName, make: Make, waits: Waits, skip: int = 0
) -> Iterator[Batch]:
    """Yield the records of lines; a mark inside a line of many records says how many of them were read.

    `skip` records of the first line are passed over.
    """
    for block, is_ended in blocks_of(reader, waits):
        if block.too_long_bytes:
            reader.take_block(block)
            yield Batch([bad_entry(Spot(name, block.offset, block.line), _TOO_LONG)], reader.mark.encode())
            continue
        taker = _Taker(reader, block, is_ended)
        records: list[Record | BadRecord] = []
        for number, entries in _lines(block, name):
            if type(entries) is tuple:
                records.append(_made(entries[0], make))
                continue
            taker.up_to(number - 1)
            if records:
                yield Batch(records, reader.mark.encode())
            before, records = reader.mark.encode(), []
            for chunk, count in _chunks(entries, make, skip):
                if records:
                    yield Batch(records, b"%b+%d" % (before, count - len(chunk)))
                records = chunk
            taker.up_to(number)
            yield Batch(records, reader.mark.encode())
            records, skip = [], 0
        taker.up_to(len(block.lines))
        yield Batch(records, reader.mark.encode())


class _Taker:
    """Count the lines of a block as read, some at a time."""

    def __init__(self, reader: LineReader, block: Block, is_ended: bool) -> None:
        self._reader, self._block, self._is_ended = reader, block, is_ended
        self._lines = self._bytes = 0

    def up_to(self, number: int) -> None:
        lines = self._block.lines[self._lines : number]
        if not lines:
            return
        data = self._block.data[self._bytes : self._bytes + sum(map(len, lines)) + len(lines)]
        self._reader.take(data, len(lines), is_ended=self._is_ended)
        self._lines, self._bytes = number, self._bytes + len(data)


def _lines(block: Block, name: FileName) -> Iterator[tuple[int, Iterable[Entry | BadRecord]]]:
    """Yield the number in its block, from 1, and the events of every line that is not blank."""
    if block.too_long_bytes:
        yield 1, (bad_entry(Spot(name, block.offset, block.line), _TOO_LONG),)
    offset, first = block.offset, block.line - 1
    for number, whole in enumerate(block.lines, 1):
        raw = whole[:-1] if whole[-1:] == b"\r" else whole
        if offset == 0:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if raw and not raw.isspace():
            spot = Spot(name, offset, first + number)
            is_too_long = len(raw) > LINE_MAX_BYTES
            yield number, (bad_entry(spot, _TOO_LONG),) if is_too_long else line_entries(raw, spot)
        offset += len(whole) + 1


def _made(entry: Entry | BadRecord, make: Make) -> Record | BadRecord:
    if isinstance(entry, BadRecord):
        return entry
    try:
        return make(entry)
    except Unfit as fault:
        return bad_entry(entry.spot, fault)


def _chunks(
    entries: Iterable[Entry | BadRecord], make: Make, skip: int = 0
) -> Iterator[tuple[list[Record | BadRecord], int]]:
    """Yield records, at most 8,192 or 8 MiB at once, and how many there were up to their end."""
    chunk: list[Record | BadRecord] = []
    size = count = 0
    for entry in entries:
        count += 1
        if count <= skip:
            continue
        record = _made(entry, make)
        held = record.size_bytes if isinstance(record, Record) else len(record.detail)
        if chunk and (len(chunk) == BATCH_RECORDS or size + held > BATCH_BYTES):
            yield chunk, count - 1
            chunk, size = [], 0
        chunk.append(record)
        size += held
    if chunk:
        yield chunk, count


def _document_batches(entries: Iterator[Entry | BadRecord], make: Make) -> Iterator[Batch]:
    for chunk, _ in _chunks(entries, make):
        yield Batch(chunk, b"")
