"""Offer and read files that hold one message each, or something that is no mail."""

import os
from collections.abc import Callable, Iterator
from typing import Final

from scelle.errors import ItemError
from scelle.formats.canonical_json import JsonObject, canonical_json
from scelle.sources.documents import first_bytes
from scelle.sources.interfaces import Document, Offered, Trouble
from scelle.sources.mail.dates import ItemTime, message_time
from scelle.sources.mail.messages import HEAD_BYTES, MAIL_MEDIA_TYPE, describe, looks_like_mail, opaque_type
from scelle.sources.metadata import file_meta
from scelle.sources.tree import Reading, Tree, cause_of, stamp_of

_SHORT_HEAD_BYTES: Final = 8 << 10


def offer_file(tree: Tree, found: Offered, is_named_so: bool) -> Offered | Trouble:
    """Look into a file for its time; one that cannot be opened is a Trouble: no clause can be asked."""
    try:
        descriptor, _ = tree.open_file(found.path)
        try:
            head = _head(lambda count: os.pread(descriptor, count, 0))
        finally:
            os.close(descriptor)
    except ItemError as error:
        return Trouble(found.native, found.path, error.cause)
    except OSError as error:
        return Trouble(found.native, found.path, cause_of(error))
    _, (found.time_us, found.time_basis) = _judge(head, is_named_so, found.mtime_ns)
    return found


def read_file(tree: Tree, path: bytes, offered: Offered, is_named_so: bool, about: JsonObject) -> Document:
    """Read a file as a message where it is one; `about` is added to its metadata. Raises an ItemError."""
    reading = tree.read_file(path, offered)
    status = reading.status
    start = first_bytes(reading, HEAD_BYTES)
    is_message, time = _judge(_head(lambda count: start[:count]), is_named_so, status.st_mtime_ns)
    meta: JsonObject = describe(_pieces(reading)) if is_message else {"not_mail": True}
    meta["file"] = file_meta(path, "file", status, reading.birth_ns, reading.attributes)
    return Document(
        reading.data,
        reading.stream,
        status.st_size,
        MAIL_MEDIA_TYPE if is_message else opaque_type(path, start),
        canonical_json(meta | about),
        time.time_us,
        time.basis,
        stamp_of(status),
    )


def _head(read: Callable[[int], bytes]) -> bytes:
    """Give the first bytes, more where the first few KiB have no end of headers; the same at offer and at
    reading.
    """
    head = read(_SHORT_HEAD_BYTES)
    if len(head) < _SHORT_HEAD_BYTES or b"\n\n" in head or b"\n\r\n" in head:
        return head
    return read(HEAD_BYTES)


def _judge(head: bytes, is_named_so: bool, mtime_ns: int) -> tuple[bool, ItemTime]:
    """Say whether a file is a message, and when it was sent."""
    if not looks_like_mail(head, is_named_so):
        return False, ItemTime(mtime_ns // 1000, "file-mtime")
    from_line = head.partition(b"\n")[0] if head.startswith(b"From ") else b""
    return True, message_time(head, from_line, mtime_ns)


def _pieces(reading: Reading) -> Iterator[bytes]:
    if reading.stream is not None:
        return reading.stream()
    return iter((reading.data or b"",))
