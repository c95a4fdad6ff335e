"""Read reflogs: every move of every ref that this clone still remembers, as raw lines."""

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


class Log(NamedTuple):
    """Carry a reflog: the ref's name, its whole lines without their ends, and what stands after the last end."""

    ref: bytes
    lines: list[bytes]
    rest: bytes


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


def read_log(repository: Repository, ref: bytes, path: bytes) -> Log:
    """Read one reflog; raises an ItemError."""
    data, stream, *_ = repository.tree.read_file(path)
    whole = data if data is not None else b"".join(stream()) if stream is not None else b""
    *lines, rest = whole.split(b"\n")
    return Log(ref, lines, rest)


def log_records(log: Log, account: str | None) -> Iterator[Record | BadRecord]:
    """Make a record of each entry.

    An entry is known by its ref, its two ids and a digest of its line, not by its line's number: git removes old
    entries from the top, and all others would pass for new ones. Equal lines are told apart by `.2`, `.3`.
    """
    equal: Counter[bytes] = Counter()
    for number, line in enumerate(log.lines, 1):
        entry = parse_line(line)
        if entry is None:
            yield BadRecord(
                f"logs/{native_text(log.ref)} line {number}",
                "reflog-line",
                f"{shown(line)} is no entry of a reflog",
            )
            continue
        equal[line] += 1
        yield _record(log.ref, number, line, entry, equal[line], account)


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
        log = read_log(repository, ref, prefix + b"logs/" + name)
    except ItemError:
        return None
    entry = parse_line(log.lines[-1]) if log.lines else None
    return (entry, log.lines[-1]) if entry is not None else None


def split_worktree(ref: bytes) -> tuple[bytes, bytes]:
    """Part a ref's name into the directory of its worktree, with the slash, and its name there."""
    parts = ref.split(b"/", 2)
    if parts[0] == b"worktrees" and len(parts) == 3:
        return b"/".join(parts[:2]) + b"/", parts[2]
    return b"", ref
