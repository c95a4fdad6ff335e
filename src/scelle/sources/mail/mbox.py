"""Offer the messages of an mbox, or of a tree of them.

A message's id is the path of its mbox, `#`, and the first 16 bytes of the SHA-256 of its From_ line and
content in hex (`.2` and so on for the second of two that are equal). Numbers and offsets would not do:
deleting the first message of a mailbox shifts them all, and each would then pass for a new version of
another. So an mbox that grows keeps its ids, and one message deleted is one message noted as vanished. The
stamp is made of content too: on the next pass an unchanged message is known after one reading of the mbox
from end to end.
"""

import os
import struct
from array import array
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from scelle.errors import ItemError
from scelle.formats.canonical_json import JsonObject, canonical_json
from scelle.sources.documents import link_document, special_error
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Document, Kind, Offered, Trouble
from scelle.sources.mail.dates import ItemTime, message_time
from scelle.sources.mail.messages import HEAD_BYTES, MAIL_MEDIA_TYPE, describe, looks_like_mail, opaque_type
from scelle.sources.mail.single import offer_file, read_file
from scelle.sources.mail.splitting import LINE_BYTES, Part, ReadAt, split
from scelle.sources.metadata import bytes_of, text_or_base64
from scelle.sources.tree import Tree, cause_of, changed, item_error

_PLACE: Final = struct.Struct("<QQQQQ?")


class MboxSource:
    """Read mboxes; a file that is none is kept as it is, and flagged unless it is a message by itself."""

    def __init__(self, root: bytes, name: str) -> None:
        self._tree = Tree(root, name)

    def test(self) -> None:
        """Raise a SourceError when the root cannot be listed or read."""
        self._tree.test()

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate messages, other files, links and specials; every mbox is read from end to end."""
        for found in self._tree.walk("file-mtime"):
            if isinstance(found, Offered) and found.kind is Kind.DOCUMENT:
                yield from self._parts(found)
            else:
                yield found

    def read(self, offered: Offered) -> Document:
        """Read one message, file or link; the mbox may have grown, the message must be the one that was
        offered.
        """
        match offered.kind:
            case Kind.DOCUMENT if offered.place:
                return self._read_part(offered)
            case Kind.DOCUMENT:
                return read_file(self._tree, offered.path, offered, _is_eml(offered.path), {})
            case Kind.LINK:
                return link_document(self._tree, offered)
            case Kind.SPECIAL:
                raise special_error(offered)

    def _parts(self, found: Offered) -> Iterator[Offered | Trouble]:
        """Offer the parts of one file; where it changes under the reader, the rest of it is one Trouble."""
        try:
            descriptor, status = self._tree.open_file(found.path)
        except ItemError as error:
            yield Trouble(found.native, found.path, error.cause)
            return
        try:
            read = _reader_at(descriptor, found.path)
            occurrences = Occurrences()
            for part in split(read, status.st_size):
                if part.number == 0 and part.end == status.st_size:
                    yield offer_file(self._tree, found, _is_eml(found.path))
                    return
                yield _offer_part(read, found, part, occurrences)
        except ItemError as error:
            yield Trouble(found.native, found.path, error.cause)
        except OSError as error:
            yield Trouble(found.native, found.path, cause_of(error))
        finally:
            os.close(descriptor)

    def _read_part(self, offered: Offered) -> Document:
        part = Part(*_PLACE.unpack(offered.place))
        path, size_bytes = offered.path, part.content_end - part.content
        descriptor, status = self._tree.open_file(path)
        try:
            read = _reader_at(descriptor, path)
            from_line = read(part.start, part.content - part.start)
            after = read(part.content_end, part.end - part.content_end)
            data = b"".join(_content(read, part, offered)) if size_bytes <= WHOLE_BYTES else None
        except OSError as error:
            raise item_error(error, path) from error
        finally:
            os.close(descriptor)
        stream = self._streamer(part, offered) if data is None else None
        head = data[:HEAD_BYTES] if stream is None and data is not None else _first(stream, HEAD_BYTES)
        is_message, time = _judge(head, from_line, part, status.st_mtime_ns)
        pieces = stream() if stream is not None else iter((data or b"",))
        meta: JsonObject = describe(pieces) if is_message else {"not_mail": True}
        meta["mbox"] = _about(path, part, from_line, after, status)
        return Document(
            data,
            stream,
            size_bytes,
            MAIL_MEDIA_TYPE if is_message else opaque_type(path, head),
            canonical_json(meta),
            time.time_us,
            time.basis,
            offered.stamp,
        )

    def _streamer(self, part: Part, offered: Offered) -> Callable[[], Iterator[bytes]]:
        def stream() -> Iterator[bytes]:
            descriptor, _ = self._tree.open_file(offered.path)
            try:
                yield from _content(_reader_at(descriptor, offered.path), part, offered)
            except OSError as error:
                raise item_error(error, offered.path) from error
            finally:
                os.close(descriptor)

        return stream


def as_in_mbox(meta: JsonObject, content: bytes) -> bytes:
    """Give the bytes that an item took up in its mbox; all items of one pass, by offset, are the mbox."""
    around = meta["mbox"]
    return bytes_of(around["from_line"]) + content + bytes_of(around["after"])


class Occurrences:
    """Count how often each digest was seen, in 12 bytes a slot: millions of messages must fit."""

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * 1024))
        self._counts = array("I", bytes(4 * 1024))
        self._used = 0

    def count(self, digest: bytes) -> int:
        """Count one more of `digest`, by its first 8 bytes, and give how many there are now."""
        key = int.from_bytes(digest[:8], "little") or 1  # 0 marks a free slot
        if self._used * 3 > len(self._keys) * 2:
            self._grow()
        slot = self._slot(key)
        self._used += not self._keys[slot]
        self._keys[slot] = key
        self._counts[slot] += 1
        return self._counts[slot]

    def _slot(self, key: int) -> int:
        mask = len(self._keys) - 1
        slot = key & mask
        while self._keys[slot] not in (0, key):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, counts = self._keys, self._counts
        self._keys, self._counts = array("Q", bytes(16 * len(keys))), array("I", bytes(8 * len(keys)))
        for key, count in zip(keys, counts, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._counts[slot] = key, count


def _offer_part(read: ReadAt, found: Offered, part: Part, occurrences: Occurrences) -> Offered:
    digest, head = _digest_and_head(read, part)
    after = read(part.content_end, part.end - part.content_end)
    from_line, content = head[: part.content - part.start], head[part.content - part.start :]
    _, time = _judge(content, from_line, part, found.mtime_ns)
    if part.number == 0:
        native = found.path + b"#preamble"
    else:
        native = b"%b#%b" % (found.path, digest[:16].hex().encode())
        count = occurrences.count(digest)
        if count > 1:
            native += b".%d" % count
    return Offered(
        native,
        found.path,
        Kind.DOCUMENT,
        digest + after,
        part.content_end - part.content,
        time.time_us,
        time.basis,
        "",
        0,
        _PLACE.pack(part.start, part.content, part.content_end, part.end, part.number, part.length_honoured),
    )


def _digest_and_head(read: ReadAt, part: Part) -> tuple[bytes, bytes]:
    """Digest a part's From_ line and content, and give the first of these bytes."""
    digest, head = sha256(), b""
    for offset in range(part.start, part.content_end, PIECE_BYTES):
        piece = read(offset, min(PIECE_BYTES, part.content_end - offset))
        digest.update(piece)
        head = head or piece[: LINE_BYTES + HEAD_BYTES]
    return digest.digest(), head


def _content(read: ReadAt, part: Part, offered: Offered) -> Iterator[bytes]:
    """Give a part's content in pieces; raises ItemChanged unless all is as offered, separators included."""
    digest = sha256(read(part.start, part.content - part.start))
    for offset in range(part.content, part.content_end, PIECE_BYTES):
        piece = read(offset, min(PIECE_BYTES, part.content_end - offset))
        digest.update(piece)
        yield piece
    if digest.digest() + read(part.content_end, part.end - part.content_end) != offered.stamp:
        raise changed(offered.path)


def _judge(head: bytes, from_line: bytes, part: Part, mtime_ns: int) -> tuple[bool, ItemTime]:
    """Say whether a part is a message, and when it was sent; what a From_ line begins always is one."""
    head = head[:HEAD_BYTES]
    if part.number == 0 and not looks_like_mail(head, False):
        return False, ItemTime(mtime_ns // 1000, "file-mtime")
    return True, message_time(head, from_line, mtime_ns)


def _about(path: bytes, part: Part, from_line: bytes, after: bytes, status: os.stat_result) -> JsonObject:
    """Say where in which mbox a part stood, what stood around it, and whose the mbox was."""
    about: JsonObject = {
        "after": text_or_base64(after),
        "from_line": text_or_base64(from_line),
        "gid": status.st_gid,
        "mode": f"{status.st_mode:o}",
        "mtime_ns": str(status.st_mtime_ns),
        "number": part.number,
        "offset": str(part.start),
        "uid": status.st_uid,
    }
    if part.length_honoured:
        about["length_honoured"] = True
    shown = text_or_base64(path)
    if isinstance(shown, dict):
        about["path"] = shown
    return about


def _reader_at(descriptor: int, path: bytes) -> ReadAt:
    def read(offset: int, count: int) -> bytes:
        data = os.pread(descriptor, count, offset)
        while len(data) < count and (more := os.pread(descriptor, count - len(data), offset + len(data))):
            data += more
        if len(data) != count:
            raise changed(path)
        return data

    return read


def _first(stream: Callable[[], Iterator[bytes]] | None, count: int) -> bytes:
    return next(stream())[:count] if stream is not None else b""


def _is_eml(path: bytes) -> bool:
    return path[-4:].lower() == b".eml"
