"""Offer the messages of a tree of .eml files, one each."""

from collections.abc import Iterator

from scelle.sources.documents import link_document, special_error
from scelle.sources.interfaces import Document, Kind, Offered, Trouble
from scelle.sources.mail.single import offer_file, read_file
from scelle.sources.tree import Tree


class EmlSource:
    """Read a tree of files of one message each; what is no mail is kept as it is, and flagged."""

    def __init__(self, root: bytes, name: str) -> None:
        self._tree = Tree(root, name)

    def test(self) -> None:
        """Raise a SourceError when the root cannot be listed."""
        self._tree.test()

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate files, links and specials; the headers are read for the time of the item."""
        for found in self._tree.walk("file-mtime"):
            if isinstance(found, Offered) and found.kind is Kind.DOCUMENT:
                yield offer_file(self._tree, found, _is_eml(found.path))
            else:
                yield found

    def read(self, offered: Offered) -> Document:
        """Read one message, file or link as it is now."""
        match offered.kind:
            case Kind.DOCUMENT:
                return read_file(self._tree, offered.path, offered, _is_eml(offered.path), {})
            case Kind.LINK:
                return link_document(self._tree, offered)
            case Kind.SPECIAL:
                raise special_error(offered)


def _is_eml(path: bytes) -> bool:
    return path[-4:].lower() == b".eml"
