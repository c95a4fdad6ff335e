"""List every object of a repository, packed or loose, reachable or not, and make records of them."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import IO, Final, cast

from scelle.errors import ItemError, ItemUnreadable
from scelle.formats.tokens import shown
from scelle.formats.values import NULL, integer_value, structure_value, text_value
from scelle.sources.git.command import Git, stop
from scelle.sources.git.contents import Listed, ObjectContents
from scelle.sources.git.headers import Headers, parse_headers
from scelle.sources.git.schemas import OBJECT_CONTENT, OBJECTS
from scelle.sources.interfaces import UNDATED, WHOLE_BYTES, BadRecord, Content, Document, Record

_LISTING: Final = ("cat-file", "--batch-all-objects", "--unordered", "--batch-check")
_TOGETHER: Final = 1024
"""Objects that are looked at in one go."""
_WITH_HEADERS: Final = (b"commit", b"tag")
_MEDIA_TYPES: Final = {b"commit": "text/plain", b"tag": "text/plain"}
_OTHER_MEDIA_TYPE: Final = "application/octet-stream"
_PLAIN: Final = Headers(UNDATED, "none", b"")
_COMPLAINTS_MAX: Final = 100
_COMPLAINT_BYTES: Final = 1 << 20


def object_records(git: Git, contents: ObjectContents, account: str | None) -> Iterator[Record | BadRecord]:
    """Make a record of every object of the repository and of those that it borrows from.

    Of commits and tags the content is read for what they say of themselves; of trees and blobs nothing is, until
    somebody asks `Record.contents`. Raises ItemUnreadable where git stopped listing before the end.
    """
    with tempfile.TemporaryFile() as errors:
        answers = _listing(git, errors)
        unread: set[bytes] = set()
        while together := list(islice(answers, _TOGETHER)):
            for record in _records(together, contents, account):
                if isinstance(record, BadRecord):
                    unread.add(record.place.encode("ascii"))
                yield record
        yield from _complaints(errors, unread)


def _listing(git: Git, errors: IO[bytes]) -> Iterator[Listed | bytes]:
    """Yield what git lists, in the order in which it lies in the packs; of what it cannot read the id alone."""
    process = git.start(*_LISTING, errors=errors)
    try:
        for line in cast("IO[bytes]", process.stdout):
            words = line.split()
            yield Listed(words[0], words[1], int(words[2])) if len(words) == 3 else words[0]
        if process.wait():
            raise ItemUnreadable(
                f"git stopped listing objects ({_last_line(errors)}): run `git fsck` there, then run again",
                "listing-failed",
            )
    finally:
        stop(process)


def _records(
    together: Sequence[Listed | bytes], contents: ObjectContents, account: str | None
) -> Iterator[Record | BadRecord]:
    speaking = [each for each in together if isinstance(each, Listed) and _is_read_now(each)]
    read = contents.whole(speaking)
    for each in together:
        if not isinstance(each, Listed):
            yield _bad(each, contents.not_there(each))
        elif not _is_read_now(each):
            yield _unread_record(each, contents, account)
        else:
            content = next(read)
            if isinstance(content, ItemError):
                yield _bad(each.oid, content)
            else:
                yield _record(each, contents, account, parse_headers(each.kind, content), content)


def _is_read_now(listed: Listed) -> bool:
    return listed.kind in _WITH_HEADERS and listed.size_bytes <= WHOLE_BYTES


def _unread_record(listed: Listed, contents: ObjectContents, account: str | None) -> Record | BadRecord:
    if listed.kind not in _WITH_HEADERS:
        return _record(listed, contents, account, _PLAIN, None)
    try:
        headers = parse_headers(listed.kind, contents.first_piece(listed))
    except ItemError as error:
        return _bad(listed.oid, error)
    return _record(listed, contents, account, headers, None)


def _record(
    listed: Listed, contents: ObjectContents, account: str | None, headers: Headers, data: bytes | None
) -> Record:
    oid, kind, size_bytes = listed
    media_type = _MEDIA_TYPES.get(kind, _OTHER_MEDIA_TYPE)
    stream = contents.streamer(listed) if data is None else None
    document = Document(
        data,
        stream,
        size_bytes,
        media_type,
        b"{}",
        headers.time_us,
        headers.time_basis,
        bytes.fromhex(oid.decode()),
    )
    return Record(
        OBJECTS,
        oid,
        headers.time_us,
        account,
        [
            NULL if account is None else _text_of_few(account),
            text_value(oid.decode("ascii")),
            _text_of_few(kind.decode("ascii")),
            integer_value(size_bytes),
            _text_of_few(media_type),
            NULL,
            _text_of_few(headers.time_basis),
            structure_value(headers.meta_json) if headers.meta_json else NULL,
        ],
        document.stamp,
        size_bytes,
        (Content(OBJECT_CONTENT, document),),
    )


@cache
def _text_of_few(text: str) -> bytes:
    """Write a text of which there are a handful in all records."""
    return text_value(text)


def _bad(oid: bytes, error: ItemError) -> BadRecord:
    return BadRecord(oid.decode("ascii"), error.cause, str(error))


def _complaints(errors: IO[bytes], unread: set[bytes]) -> Iterator[BadRecord]:
    """Name what git complained about beside single objects: a pack that it cannot open hides all that it holds."""
    errors.seek(0)
    seen: set[bytes] = set()
    for line in errors.read(_COMPLAINT_BYTES).splitlines():
        if not line.startswith((b"error:", b"fatal:")) or line.startswith(b"error: inflate:"):
            continue
        if line in seen or _named_in(line) & unread:
            continue
        seen.add(line)
        yield BadRecord("objects", "store-damaged", shown(line.decode("utf-8", "replace")))
        if len(seen) == _COMPLAINTS_MAX:
            return


def _named_in(line: bytes) -> set[bytes]:
    """Give the ids that a line names, also as the path of a loose object."""
    return set(re.findall(rb"[0-9a-f]{40,64}", line.replace(b"/", b"")))


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(_COMPLAINT_BYTES).decode("utf-8", "replace").strip().splitlines()
    return shown(lines[-1]) if lines else "without a word"
