"""Offer the files and symbolic links of a tree."""

from collections.abc import Iterator

from scelle.sources.documents import file_document, link_document, special_error
from scelle.sources.interfaces import Document, Kind, Offered, Trouble
from scelle.sources.tree import Tree


class FilesSource:
    """Read a tree of files; a symbolic link is a document whose content is its target."""

    def __init__(self, root: bytes, name: str) -> None:
        self._tree = Tree(root, name)

    def test(self) -> None:
        """Raise a SourceError when the root cannot be listed."""
        self._tree.test()

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate files, links and specials; directories are not items, and empty ones leave no trace."""
        return self._tree.walk("mtime")

    def read(self, offered: Offered) -> Document:
        """Read one file or link as it is now."""
        match offered.kind:
            case Kind.DOCUMENT:
                return file_document(self._tree, offered)
            case Kind.LINK:
                return link_document(self._tree, offered)
            case Kind.SPECIAL:
                raise special_error(offered)
