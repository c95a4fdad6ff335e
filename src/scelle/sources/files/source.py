"""Offer the files and symbolic links of a tree; a link is a document whose content is its target."""

from collections.abc import Iterator
from typing import Final

from scelle.errors import ItemUnreadable
from scelle.formats.tokens import shown
from scelle.sources.interfaces import Document, Kind, Offered, Trouble
from scelle.sources.media_types import media_type
from scelle.sources.metadata import file_meta_json
from scelle.sources.tree import Tree, stamp_of

LINK_MEDIA_TYPE: Final = "inode/symlink"
_HEAD_BYTES: Final = 512


class FilesSource:
    """Read a tree of files."""

    def __init__(self, root: bytes, name: str) -> None:
        self._tree = Tree(root, name)

    def test(self) -> None:
        """Raise a SourceError when the root cannot be listed."""
        self._tree.test()

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate files, links and specials; directories are not items, and empty ones leave no trace."""
        return self._tree.walk()

    def read(self, offered: Offered) -> Document:
        """Read one file or link as it is now."""
        path = offered.path
        if offered.kind is Kind.LINK:
            return self._read_link(path)
        if offered.kind is Kind.SPECIAL:
            raise ItemUnreadable(f"{shown(path)} is a {offered.reason}: it has no content to keep", offered.reason)
        data, stream, status, birth_ns, attributes = self._tree.read_file(path, offered)
        head = data[:_HEAD_BYTES] if data is not None else next(stream())[:_HEAD_BYTES] if stream else b""
        return Document(
            data,
            stream,
            status.st_size,
            media_type(path, head),
            file_meta_json(path, "file", status, birth_ns, attributes),
            status.st_mtime_ns // 1000,
            "mtime",
            stamp_of(status),
        )

    def _read_link(self, path: bytes) -> Document:
        target, status, attributes = self._tree.read_link(path)
        return Document(
            target,
            None,
            len(target),
            LINK_MEDIA_TYPE,
            file_meta_json(path, "link", status, None, attributes),
            status.st_mtime_ns // 1000,
            "mtime",
            stamp_of(status),
        )
