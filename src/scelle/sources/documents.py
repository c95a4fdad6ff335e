"""Make documents of files and links as they are."""

from typing import Final

from scelle.errors import ItemUnreadable
from scelle.formats.tokens import shown
from scelle.sources.interfaces import Document, Offered
from scelle.sources.media_types import media_type
from scelle.sources.metadata import file_meta_json
from scelle.sources.tree import Reading, Tree, stamp_of

LINK_MEDIA_TYPE: Final = "inode/symlink"
_HEAD_BYTES: Final = 512


def file_document(tree: Tree, offered: Offered) -> Document:
    """Read a file; raises an ItemError."""
    path = offered.path
    reading = tree.read_file(path, offered)
    data, stream, status, birth_ns, attributes = reading
    head = data[:_HEAD_BYTES] if data is not None else first_bytes(reading, _HEAD_BYTES)
    return Document(
        data,
        stream,
        status.st_size,
        media_type(path, head),
        file_meta_json(path, "file", status, birth_ns, attributes),
        status.st_mtime_ns // 1000,
        offered.time_basis,
        stamp_of(status),
    )


def link_document(tree: Tree, offered: Offered) -> Document:
    """Read a symbolic link, whose content is its target; raises an ItemError."""
    target, status, attributes = tree.read_link(offered.path)
    return Document(
        target,
        None,
        len(target),
        LINK_MEDIA_TYPE,
        file_meta_json(offered.path, "link", status, None, attributes),
        status.st_mtime_ns // 1000,
        offered.time_basis,
        stamp_of(status),
    )


def special_error(offered: Offered) -> ItemUnreadable:
    """Make the error for an attempt to read what has no content."""
    return ItemUnreadable(
        f"{shown(offered.path)} is no document ({offered.reason}): it is counted and not read", offered.reason
    )


def first_bytes(reading: Reading, count: int) -> bytes:
    """Give the start of what was read."""
    if reading.data is not None or reading.stream is None:
        return (reading.data or b"")[:count]
    return next(reading.stream())[:count]
