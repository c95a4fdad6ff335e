"""Read a sample of rows and guess a schema file from it."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from scelle.errors import ItemError
from scelle.sources.infer import infer_schema
from scelle.sources.interfaces import Unit, native_text
from scelle.sources.json_values import SourceRow, json_object, json_object_with_texts
from scelle.sources.lines import BYTE_ORDER_MARK, LineReader
from scelle.sources.records.delimited import CsvRows, read_header
from scelle.sources.records.parquet import parquet_rows
from scelle.sources.records.source import RecordsSource, split_pattern
from scelle.sources.schema_file import SchemaFile
from scelle.sources.streams import FileFormat, format_of, open_stream
from scelle.sources.tree import Tree
from scelle.sources.unfit import Unfit

SAMPLE_ROWS: Final = 10_000
_FILES: Final = 100
_ROWS_OF_A_FILE: Final = 100


def infer(root: bytes, name: str, sample: int = SAMPLE_ROWS, format: str | None = None) -> str:
    """Guess the TOML text of a schema file for the rows at `root`; everything guessed is marked `# unsure:`.

    Reads at most `sample` rows, of at most 100 files. Raises a SourceError where nothing can be read.
    """
    taken = _Sample(root, name, sample, format)
    rows = list(taken.rows())
    return infer_schema(name, rows, taken.troubles())


class _Sample:
    def __init__(self, root: bytes, name: str, sample: int, declared: str | None) -> None:
        self._schema = SchemaFile(name, format=declared)
        self._source = RecordsSource(root, name, self._schema, None)
        self._tree = Tree(split_pattern(root)[0], name)
        self._sample = sample
        self._unread: Counter[str] = Counter()

    def rows(self) -> Iterator[tuple[SourceRow, bool]]:
        """Yield rows, and whether they are cells; of many files some from each."""
        self._source.test()
        units = list(islice((each for each in self._source.units() if isinstance(each, Unit)), _FILES))
        left = self._sample
        for place, unit in enumerate(units):
            quota = min(left, max(_ROWS_OF_A_FILE, left // (len(units) - place)))
            for row in islice(self._rows_of(unit), quota):
                left -= 1
                yield row

    def troubles(self) -> list[str]:
        """Say which rows of the sample could not be read."""
        return [f"{count} could not be read: {cause}" for cause, count in sorted(self._unread.items())]

    def _rows_of(self, unit: Unit) -> Iterator[tuple[SourceRow, bool]]:
        path = unit.native
        file_format = format_of(path, self._schema.format)
        if file_format is None:
            return
        try:
            descriptor, status = self._tree.open_file(path)
            try:
                yield from self._read(descriptor, status.st_size, path, file_format)
            finally:
                os.close(descriptor)
        except ItemError as error:
            self._unread[error.cause] += 1

    def _read(
        self, descriptor: int, size: int, path: bytes, file_format: FileFormat
    ) -> Iterator[tuple[SourceRow, bool]]:
        if file_format.kind == "parquet":
            with os.fdopen(os.dup(descriptor), "rb") as file:
                for _, _, row in parquet_rows(file, native_text(path)):
                    yield row, False
            return
        reader = LineReader(open_stream(descriptor, path, size, file_format.compression), path)
        if file_format.kind == "csv":
            yield from self._cells(reader, file_format, native_text(path))
        else:
            yield from self._objects(reader)

    def _cells(
        self, reader: LineReader, file_format: FileFormat, shown: str
    ) -> Iterator[tuple[SourceRow, bool]]:
        rows = CsvRows(reader, "\t" if file_format.is_tabbed else ",", '"', shown)
        header = read_header(rows, self._schema, shown)
        while header is not None:
            try:
                cells = rows.next_row()
            except Unfit as fault:
                self._unread[fault.cause] += 1
                cells = None if rows.is_at_end else []
            if cells is None:
                return
            rows.accept()
            if len(cells) == len(header):
                yield dict(zip(header, cells, strict=True)), True
            elif cells:
                self._unread["too-few-fields" if len(cells) < len(header) else "too-many-fields"] += 1

    def _objects(self, reader: LineReader) -> Iterator[tuple[SourceRow, bool]]:
        for block in reader.blocks():
            for raw in block.lines:
                bare = raw.removeprefix(BYTE_ORDER_MARK).strip()
                if bare:
                    try:
                        yield _object(bare.decode()), False
                    except UnicodeDecodeError:
                        self._unread["not-utf-8"] += 1
                    except Unfit as fault:
                        self._unread[fault.cause] += 1


class _Everything:
    """Contain every name."""

    def __contains__(self, name: object) -> bool:
        return True


def _object(text: str) -> SourceRow:
    """Read an object; where a key of a member stands twice, with the texts that show it."""
    try:
        return json_object(text)
    except Unfit as fault:
        if fault.cause != "duplicate-key":
            raise
    return json_object_with_texts(text, _Everything(), {})
