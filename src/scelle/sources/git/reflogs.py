"""Read reflogs: every move of every ref that this clone still remembers, as raw lines."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from scelle.errors import ItemError
from scelle.formats.tokens import shown
from scelle.formats.values import NULL, bytes_value, integer_value, text_value
from scelle.sources.git.headers import time_of_seconds
from scelle.sources.git.place import Repository
from scelle.sources.git.schemas import REFLOG
from scelle.sources.interfaces import BadRecord, Record, Trouble, native_text

LINE_MAX_BYTES: Final = 256 << 10
_SHOWN_BYTES: Final = 64
_OID: Final = rb"([0-9a-f]{40}|[0-9a-f]{64})"
_LINE: Final = re.compile(
    _OID + b" " + _OID + rb" ([^>]*>) (-?[0-9]{1,20}) ([+-][0-9]{4,})(?:\t(.*))?", re.DOTALL
)


class Entry(NamedTuple):
    """Carry one line of a reflog."""

    old: bytes
    new: bytes
    who: bytes
    time_us: int
    message: bytes


class Log:
    """Read the whole lines of a reflog one after another, however many there are.

    `rest` is, once they were read, what stands after the last end of a line, or the start of it.
    """

    def __init__(self, repository: Repository, ref: bytes, path: bytes) -> None:
        self.ref = ref
        self.rest = b""
        self._repository, self._path = repository, path

    def lines(self) -> Iterator[bytes | None]:
        """Yield each line without its end, None in place of one over 256 KiB; raises an ItemError."""
        data, stream, *_ = self._repository.tree.read_file(self._path)
        is_too_long = False
        rest = b""
        for piece in stream() if stream is not None else (data or b"",):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield None if is_too_long or len(line) > LINE_MAX_BYTES else line
                is_too_long = False
            if len(rest) > LINE_MAX_BYTES:
                is_too_long, rest = True, rest[:_SHOWN_BYTES]
        self.rest = rest


def parse_line(line: bytes) -> Entry | None:
    """Read a line of a reflog, without its end; None for anything else."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    return Entry(match[1], match[2], match[3], time_of_seconds(match[4]), match[6] or b"")


def log_names(repository: Repository) -> Iterator[tuple[bytes, bytes] | Trouble]:
    """Yield (ref name, path in the repository) of every reflog, sorted: the common ones, then each worktree's."""
    yield from _names_below(repository, b"")
    for worktree in sorted(repository.tree.names(b"worktrees")):
        yield from _names_below(repository, b"worktrees/" + worktree + b"/")


def log_records(log: Log, account: str | None) -> Iterator[Record | BadRecord]:
    """Make a record of each entry; raises an ItemError.

    An entry is known by its ref, its two ids and a digest of its line, not by its line's number: git removes old
    entries from the top, and all others would pass for new ones. Equal lines are told apart by `.2`, `.3`.
    """
    seen: set[int] = set()
    equal: Counter[int] = Counter()
    for number, line in enumerate(log.lines(), 1):
        entry = None if line is None else parse_line(line)
        if line is None or entry is None:
            said = "a line over 256 KiB" if line is None else shown(line)
            place = f"logs/{native_text(log.ref)} line {number}"
            yield BadRecord(place, "reflog-line", f"{said} is no entry of a reflog")
            continue
        digest = sha256(line)
        key = int.from_bytes(digest.digest()[:8], "big")  # a number takes a fifth of what the line would
        if key in seen:
            equal[key] += 1
        seen.add(key)
        yield _record(log.ref, number, line, entry, equal.get(key, 0) + 1, account)


def _record(ref: bytes, number: int, line: bytes, entry: Entry, which: int, account: str | None) -> Record:
    digest = sha256(line)
    again = b".%d" % which if which > 1 else b""
    native = b"%b@{%b..%b} %b%b" % (ref, entry.old, entry.new, digest.hexdigest()[:16].encode(), again)
    return Record(
        REFLOG,
        native,
        entry.time_us,
        account,
        [
            NULL if account is None else text_value(account),
            text_value(native_text(native)),
            text_value(native_text(ref)),
            integer_value(number),
            text_value(entry.old.decode("ascii")),
            text_value(entry.new.decode("ascii")),
            text_value(native_text(entry.who)),
            text_value(native_text(entry.message)),
            bytes_value(line),
        ],
        digest.digest(),
        len(line) + 1,
    )


def _names_below(repository: Repository, prefix: bytes) -> Iterator[tuple[bytes, bytes] | Trouble]:
    tree = repository.tree_below(prefix + b"logs")
    for each in tree.walk() if tree else ():
        path = prefix + b"logs/" + each.path
        if isinstance(each, Trouble):
            yield Trouble(path, path, each.cause)
        elif not each.path.endswith(b".lock"):
            yield prefix + each.path, path


def last_move(repository: Repository, ref: bytes) -> tuple[Entry, bytes] | None:
    """Give the last entry of a ref's reflog and its line; None where the ref has none."""
    prefix, name = split_worktree(ref)
    try:
        descriptor, status = repository.tree.open_file(prefix + b"logs/" + name)
    except ItemError:
        return None
    try:
        start = max(0, status.st_size - LINE_MAX_BYTES)
        lines = os.pread(descriptor, LINE_MAX_BYTES, start).split(b"\n")[1 if start else 0 : -1]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    entry = parse_line(lines[-1]) if lines else None
    return (entry, lines[-1]) if entry is not None else None


def split_worktree(ref: bytes) -> tuple[bytes, bytes]:
    """Part a ref's name into the directory of its worktree, with the slash, and its name there."""
    parts = ref.split(b"/", 2)
    if parts[0] == b"worktrees" and len(parts) == 3:
        return b"/".join(parts[:2]) + b"/", parts[2]
    return b"", ref
