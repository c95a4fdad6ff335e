"""Offer the rows of files: one file, those that a pattern matches, or a folder that grows."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from scelle.errors import ItemChanged, ItemError
from scelle.scope.globs import compile_glob, path_text
from scelle.scope.pushdown import Pushdown
from scelle.sources.interfaces import Batch, Kind, Member, Offered, Trouble, Unit, native_text
from scelle.sources.lines import LineReader, parse_mark
from scelle.sources.records.delimited import CsvRows, cell_encoder, read_csv, read_header
from scelle.sources.records.jsonl import Waits, origins_of, read_jsonl
from scelle.sources.records.parquet import read_parquet, require_pyarrow
from scelle.sources.records.pushdown import ParquetPushdown
from scelle.sources.records.rows import RowMaker
from scelle.sources.schema_file import SchemaFile, layout
from scelle.sources.streams import FileFormat, check_only_grew, format_of, open_stream
from scelle.sources.tree import Tree

RACY_NS: Final = 2_000_000_000
"""A file that was written to so lately may be written to again without its stamp showing it."""
OWN_FILES: Final = Path("/proc/self/fd")
"""Where an open file has a path that no one can exchange, and that means nothing in a pattern."""
SETTLED_NS: Final = 60_000_000_000
"""After so long without a write, the last row of a CSV counts as whole without its line end."""


class RecordsSource:
    """Read rows of JSONL, CSV and Parquet by one schema file.

    `root` is a file, a folder, or a pattern (`/srv/logs/**/*.jsonl.gz`) where nothing has that very name.
    `holder` is the identifier, with its kind, of whose rows they are where the schema file names no field for it.
    """

    def __init__(
        self,
        root: bytes,
        name: str,
        schema: SchemaFile,
        holder: str | None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        folder, pattern = split_pattern(root)
        self._matches = None if pattern is None else compile_glob(pattern).fullmatch
        self._tree = Tree(folder, name)
        self._schema = schema
        self._holder = holder
        self._now_ns = now_ns
        self._makers: dict[str, RowMaker] = {}
        self._waiting: dict[bytes, str] = {}
        self._parquet_pushdown: ParquetPushdown | None = None

    def warnings(self) -> Sequence[str]:
        """Say nothing: files are read as they are."""
        return ()

    def close(self) -> None:
        """Let go of the engine that looked into Parquet files; every file is closed when it was read."""
        if self._parquet_pushdown is not None:
            self._parquet_pushdown.close()
            self._parquet_pushdown = None

    def test(self) -> None:
        """Raise a SourceError when the source cannot be read at all."""
        self._tree.test()

    def members(self) -> Sequence[Member]:
        """Give the one shape that a schema file describes."""
        schema = self._schema
        return [Member(schema.name, layout(schema).schema, schema.profile, _notes(schema, self._holder))]

    def units(self) -> Iterator[Unit | Trouble]:
        """Enumerate the files, in byte order of their names; what is no file of rows is a Trouble."""
        for each in self._tree.walk():
            if self._matches is not None and self._matches(path_text(each.path)) is None:
                continue
            yield each if isinstance(each, Trouble) else self._unit(each)

    def read(self, unit: Unit, mark: bytes) -> Iterator[Batch]:
        """Read a file behind `mark`, up to the size that it has now; raises as the protocol says."""
        yield from self._read(unit, mark, None)

    @property
    def shows_queries(self) -> bool:
        """Tell that nobody sees what is asked: the engine runs in this process."""
        return False

    def read_pushed_down(self, unit: Unit, mark: bytes, pushdown: Pushdown) -> Iterator[Batch]:
        """Read a file as `read` does; rows of Parquet that no clause covers are only counted."""
        yield from self._read(unit, mark, pushdown)

    def _read(self, unit: Unit, mark: bytes, pushdown: Pushdown | None) -> Iterator[Batch]:
        path = unit.native
        self._waiting.pop(path, None)
        file_format = format_of(path, self._schema.format)
        if file_format is None:
            raise ItemChanged(f"{native_text(path)} is no file of rows any more: list the source again")
        descriptor, before = self._tree.open_file(path)
        try:
            if file_format.kind == "parquet":
                yield from self._read_parquet(descriptor, path, pushdown)
            elif file_format.kind == "csv":
                yield from self._read_csv(descriptor, before, path, file_format, mark)
            else:
                reader = LineReader(
                    open_stream(descriptor, path, before.st_size, file_format.compression), path
                )
                if mark:
                    reader.skip_to(parse_mark(mark))
                yield from read_jsonl(reader, self._maker("jsonl"), origins_of(path), self._waits(path))
            check_only_grew(path, before, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def waiting(self, unit: Unit) -> str | None:
        """Say, after `read` ended, what of the file is not offered yet."""
        return self._waiting.get(unit.native)

    def _unit(self, offered: Offered) -> Unit | Trouble:
        path = offered.path
        if offered.kind is not Kind.DOCUMENT:
            return Trouble(path, path, offered.reason or "symbolic-link")
        file_format = format_of(path, self._schema.format)
        if file_format is None:
            return Trouble(path, path, "format-unknown")
        age_ns = self._now_ns() - offered.mtime_ns
        stamp = offered.stamp if age_ns > RACY_NS and not self._ends_open(offered, file_format) else b""
        return Unit(path, (self._schema.name,), stamp, offered.size_bytes)

    def _ends_open(self, offered: Offered, file_format: FileFormat) -> bool:
        """Say whether the last line may have no end: then the file is read again although nobody wrote to it."""
        if file_format.kind == "parquet" or not offered.size_bytes:
            return False
        if file_format.compression:
            return file_format.kind == "csv" and self._now_ns() - offered.mtime_ns <= SETTLED_NS
        try:
            descriptor, status = self._tree.open_file(offered.path)
            try:
                return os.pread(descriptor, 1, max(0, status.st_size - 1)) != b"\n"
            finally:
                os.close(descriptor)
        except (ItemError, OSError):  # reading it will say why
            return True

    def _read_parquet(self, descriptor: int, path: bytes, pushdown: Pushdown | None) -> Iterator[Batch]:
        maker, wanted = self._maker("parquet"), None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            if pushdown is not None and OWN_FILES.is_dir():
                found = self._parquet_pushdown_for(pushdown).ask(file, f"{OWN_FILES}/{descriptor}", path)
                if found is not None:
                    wanted = found.candidates
                    yield Batch((), b"", found.left_out)
            yield from read_parquet(file, path, maker, wanted)

    def _parquet_pushdown_for(self, pushdown: Pushdown) -> ParquetPushdown:
        if self._parquet_pushdown is None or self._parquet_pushdown.pushdown is not pushdown:
            self.close()
            self._parquet_pushdown = ParquetPushdown(self._schema, self._holder, pushdown)
        return self._parquet_pushdown

    def _read_csv(
        self, descriptor: int, before: os.stat_result, path: bytes, file_format: FileFormat, mark: bytes
    ) -> Iterator[Batch]:
        schema, shown = self._schema, native_text(path)
        delimiter = schema.delimiter or ("\t" if file_format.is_tabbed else ",")

        def rows_of() -> tuple[LineReader, CsvRows]:
            reader = LineReader(open_stream(descriptor, path, before.st_size, file_format.compression), path)
            return reader, CsvRows(reader, delimiter, schema.quote, shown)

        reader, rows = rows_of()
        header = read_header(rows, schema, shown)
        if header is None:
            self._waits(path)(sum(map(len, rows.taken)), reader.offset, reader.line)
            return
        if mark:
            reader, rows = rows_of()
            reader.skip_to(parse_mark(mark))
        is_settled = self._now_ns() - before.st_mtime_ns > SETTLED_NS
        yield from read_csv(
            reader,
            rows,
            header,
            self._maker("csv"),
            origins_of(path),
            self._waits(path),
            is_settled=is_settled,
        )

    def _maker(self, kind: str) -> RowMaker:
        """Give the maker of rows of a format; made when it is first needed, since Parquet needs a library."""
        if kind not in self._makers:
            schema, holder = self._schema, self._holder
            if kind == "csv":
                made = RowMaker(schema, holder, cell_encoder, empty_is_absent=True, media_type="text/csv")
            else:
                made = RowMaker(schema, holder)
            if kind == "parquet":
                require_pyarrow()
            self._makers[kind] = made
        return self._makers[kind]

    def _waits(self, path: bytes) -> Waits:
        def note(size_bytes: int, offset: int, line: int) -> None:
            if size_bytes:
                self._waiting[path] = (
                    f"file {native_text(path)}: {size_bytes} bytes from byte {offset}, line {line}, wait for their end"
                )

        return note


def split_pattern(root: bytes) -> tuple[bytes, str | None]:
    """Part a root into the folder before the first component with `*`, `?` or `[`, and the pattern below it.

    Something that has the root's very name is no pattern.
    """
    parts = root.split(b"/")
    first = next(
        (at for at, part in enumerate(parts) if any(sign in part for sign in (b"*", b"?", b"["))), None
    )
    if first is None or os.path.lexists(root):
        return root, None
    return b"/".join(parts[:first]) or b"/", path_text(b"/".join(parts[first:]))


def _notes(schema: SchemaFile, holder: str | None) -> tuple[str, ...]:
    by_id = " and ".join(schema.id) or "the place in its file"
    notes = [
        f"time: {schema.time}" if schema.time else "time: none, every row is undated",
        f"id: {by_id}",
        f"{schema.holder_kind}: {schema.holder_field}"
        if schema.holder_field
        else f"holder: {holder or 'none'}",
    ]
    if schema.time and schema.time_unit is None:
        notes.append("numbers in the time are seconds, because the schema names no time_unit")
    return tuple(notes)
