"""Offer the messages of a Maildir and its folders.

A message's id is its folder, `cur` and its unique name: it stays the same when the message is read, answered
or moved from `new` to `cur`, which only change its flags.
"""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from scelle.errors import ItemVanished, SourceUnreadable
from scelle.formats.canonical_json import JsonObject
from scelle.formats.tokens import shown
from scelle.sources.documents import link_document, special_error
from scelle.sources.interfaces import Document, Kind, Offered, Trouble
from scelle.sources.mail.single import offer_file, read_file
from scelle.sources.metadata import text_or_base64
from scelle.sources.tree import Tree

_FLAGS: Final = b":2,"


class Place(NamedTuple):
    """Name where a message lies: its folder (empty for the inbox), `cur` or `new`, its unique name, its
    flags.
    """

    folder: bytes
    state: bytes
    unique: bytes
    flags: bytes


def place_of(path: bytes) -> Place | None:
    """Read a path as that of a message; None for anything else."""
    directory, _, name = path.rpartition(b"/")
    folder, _, state = directory.rpartition(b"/")
    if state not in (b"cur", b"new"):
        return None
    unique, _, flags = name.partition(_FLAGS)
    return Place(folder, state, unique, flags)


class MaildirSource:
    """Read a Maildir; files beside the messages are kept and flagged, those in `tmp` counted and left out."""

    def __init__(self, root: bytes, name: str) -> None:
        # `new` is listed before `cur`: a message that moves meanwhile is seen twice rather than never.
        self._tree = Tree(root, name, first=b"new")
        self._root = root
        self._name = name
        self._listed: tuple[bytes, dict[bytes, bytes]] = (b"", {})

    def test(self) -> None:
        """Raise a SourceError when the root cannot be listed or is no directory."""
        self._tree.test()
        if self._tree.only:
            raise SourceUnreadable(
                f"{shown(os.fsdecode(self._root))}, source {shown(self._name)}, is a file and no Maildir: for a "
                "file use mbox:// or eml://"
            )

    def offered(self) -> Iterator[Offered | Trouble]:
        """Enumerate messages, other files, links and specials; the headers are read for the item's time."""
        seen = _Seen(self._tree)
        for found in self._tree.walk("file-mtime"):
            if not isinstance(found, Offered) or found.kind is not Kind.DOCUMENT:
                yield found
                continue
            place = place_of(found.path)
            if place is not None:
                native = seen.native(place)
                if native is None:
                    continue
                found.native = native
            elif _is_in_tmp(found.path):
                found.kind, found.reason = Kind.SPECIAL, "maildir-tmp"
                yield found
                continue
            yield offer_file(self._tree, found, place is not None)

    def read(self, offered: Offered) -> Document:
        """Read one message, file or link as it is now; a message whose flags changed meanwhile is found
        again.
        """
        match offered.kind:
            case Kind.DOCUMENT:
                return self._read(offered)
            case Kind.LINK:
                return link_document(self._tree, offered)
            case Kind.SPECIAL:
                raise special_error(offered)

    def _read(self, offered: Offered) -> Document:
        place = place_of(offered.path)
        if place is None:
            return read_file(self._tree, offered.path, offered, False, {})
        try:
            return read_file(self._tree, offered.path, offered, True, _about(place))
        except ItemVanished:
            path = self._found_again(place)
            if path is None:
                raise
            return read_file(self._tree, path, offered, True, _about(place_of(path) or place))

    def _found_again(self, place: Place) -> bytes | None:
        """Give the path that a message has now, by its unique name; None when it is gone."""
        directory = place.folder + b"/cur" if place.folder else b"cur"
        for _ in range(2):
            listed, names = self._listed
            name = names.get(place.unique) if listed == directory else None
            if name is not None and self._tree.is_there(path := directory + b"/" + name):
                return path
            self._listed = (
                directory,
                {name.partition(_FLAGS)[0]: name for name in self._tree.names(directory)},
            )
        return None


class _Seen:
    """Give each message its id, once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._arrived: set[tuple[bytes, bytes]] = set()
        self._last = Place(b"", b"", b"", b"")
        self._count = 0

    def native(self, place: Place) -> bytes | None:
        """Give the id of a message; None for one that was offered before it moved from `new` to `cur`.

        Two files of one unique name should not be; the second is told apart by a number.
        """
        key = (place.folder, place.unique)
        has_arrived = place.state == b"cur" and key in self._arrived
        if place.state == b"new":
            self._arrived.add(key)
        if place[:3] == self._last[:3]:
            self._count += 1
        elif has_arrived:
            if not self._is_in_new(place):
                self._arrived.discard(key)
                return None
            self._count = 2
        else:
            self._count = 1
        self._last = place
        directory = place.folder + b"/cur/" if place.folder else b"cur/"
        return directory + place.unique + (b"#%d" % self._count if self._count > 1 else b"")

    def _is_in_new(self, place: Place) -> bool:
        directory = place.folder + b"/new" if place.folder else b"new"
        return any(name.partition(_FLAGS)[0] == place.unique for name in self._tree.names(directory))


def _is_in_tmp(path: bytes) -> bool:
    return path.rpartition(b"/")[0].rpartition(b"/")[2] == b"tmp"


def _about(place: Place) -> JsonObject:
    return {
        "maildir": {
            "flags": text_or_base64(place.flags),
            "folder": text_or_base64(place.folder),
            "state": place.state.decode("ascii"),
        }
    }
