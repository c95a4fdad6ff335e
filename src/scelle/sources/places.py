"""Find the item that an id stands for where several spellings lead to one file, and several sources to one folder.

A source offers each item under one id: of a tree of files, its path below the root as the folders list it. Whoever
asks about an item may spell it otherwise, or ask under another source. Nothing here raises for an id, and nothing is
opened but folders that take several spellings for one name.
"""
# pathlib knows no paths that are bytes.
# ruff: noqa: PTH113, PTH118, PTH119, PTH120, PTH208

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from scelle.errors import InputError
from scelle.sources.addresses import is_database, local_root
from scelle.sources.model import SourceSpec
from scelle.sources.paths import below, collapsed, folded, forms, is_plain, names_host, respelled, spellings

NAMED_BY_PATH: Final = ("files", "eml")
"""Schemes whose native ids are the paths that clauses match."""
_MAILBOXES: Final = ("mbox", "maildir")
_PATH_MAX: Final = 4096
_LOOKED_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Name:
    """An id under which an item may be offered by a source; ``path`` None: which file it is of is not known."""

    spec: SourceSpec
    native: bytes
    path: bytes | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a source is, links followed; its ids are relative to ``base``, the folder of a root that is a file."""

    spec: SourceSpec
    root: bytes
    base: bytes

    def relative(self, real: bytes) -> bytes | None:
        """Return the id of a file in the tree, b"" of the root itself; None for what lies outside."""
        if self.base != self.root:
            return os.path.basename(real) if real == self.root else None
        return below(self.root, real)

    def name(self, relative: bytes, suffix: bytes = b"") -> Name:
        """Name what lies there; of a kind whose ids are no paths, nobody knows which of its items it is."""
        if self.spec.scheme in NAMED_BY_PATH:
            return Name(self.spec, relative, relative or None)
        return Name(self.spec, relative + suffix, None)


class Places:
    """Name an item in every way in which the sources of a vault may offer it.

    Roots are looked up once a second, since a root may be a link that is set anew. May be asked from several threads.
    """

    def __init__(self, specs: Mapping[str, SourceSpec]) -> None:
        self._specs = tuple(specs.values())
        self._places: dict[str, _Place] = {}
        self._looked_s: float | None = None

    def names_of(self, spec: SourceSpec, native: bytes) -> tuple[Name, ...]:
        """Return the names of an item, first the one under which the source that was asked about offers it.

        A name of a tree that has no path is a doubt: the id leads outside every root, or to a folder, or cannot be
        understood.
        """
        self._look()
        place = self._places.get(spec.name)
        if place is not None and spec.scheme in NAMED_BY_PATH:
            return _once(self._of_file(place, native))
        own = Name(spec, native, None)
        if place is not None and spec.scheme in _MAILBOXES:
            found = (
                name for path, rest in _files_of(native) for name in self._at(place.base + b"/" + path, rest)
            )
            return _once([own, *(name for name in found if name.spec.name != spec.name)])
        twins = (
            each for each in self.overlapping(spec) if each.scheme == spec.scheme or is_database(spec.url)
        )
        return (own, *(Name(each, native, None) for each in twins))

    def hidden(self, spec: SourceSpec, native: bytes) -> tuple[Name, ...]:
        """Return the names of an item of which only the source is known: `native` is a stand-in for its id."""
        return (Name(spec, native, None), *(Name(other, native, None) for other in self.overlapping(spec)))

    def overlapping(self, spec: SourceSpec) -> list[SourceSpec]:
        """List the other sources whose root contains that of `spec`, or lies in it; of a database, the same one's."""
        self._look()
        own = self._places.get(spec.name) or _place_of(spec)
        others = [other for other in self._specs if other.name != spec.name]
        if own is None:
            return [
                other for other in others if is_database(spec.url) and _database(other) == _database(spec)
            ]
        places = [self._places[other.name] for other in others if other.name in self._places]
        return [each.spec for each in places if _overlap(own.root, each.root)]

    # --- inside

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._looked_s is None or now_s - self._looked_s > _LOOKED_EVERY_S:
            places = ((spec.name, _place_of(spec)) for spec in self._specs)
            self._places = {name: place for name, place in places if place is not None}
            self._looked_s = now_s

    def _of_file(self, place: _Place, native: bytes) -> list[Name]:
        """Name an item of a tree: as it is listed, as it is spelled, and in doubt where one is left."""
        doubt = Name(place.spec, native, None)
        if b"\0" in native or len(native) > _PATH_MAX:
            return [doubt]
        written = [each for each in spellings(native) if b"\0" not in each]
        spelled = [place.name(form) for text in _texts(place, written) for form in forms(text)]
        real, is_one = _resolved(place, written)
        listed = [name if is_one else replace(name, path=None) for each in real for name in self._at(each)]
        own = [name for name in listed if name.spec.name == place.spec.name]
        others = [name for name in listed if name.spec.name != place.spec.name]
        is_clear = is_one and not names_host(native) and (own or (others and not native.startswith(b"/")))
        return [*own, *others, *spelled, *(() if is_clear else (doubt,))]

    def _at(self, real: bytes, suffix: bytes = b"") -> Iterator[Name]:
        """Yield the names of what is at a real path, for every source whose tree has it, or lies in it."""
        for each in self._places.values():
            relative = each.relative(real)
            if relative is not None:
                yield each.name(relative, suffix)
            elif below(real, each.root) is not None:
                yield Name(each.spec, b"", None)


def _place_of(spec: SourceSpec) -> _Place | None:
    try:
        root = local_root(spec)
    except InputError:
        return None
    if root is None:
        return None
    real = os.path.realpath(_as_listed(b"/", root)[0])
    return _Place(spec, real, os.path.dirname(real) if os.path.isfile(real) else real)


def _database(spec: SourceSpec) -> str:
    """Return where a database is, whoever reads it; empty for what is none."""
    return spec.url.partition("://")[2].rpartition("@")[2] if is_database(spec.url) else ""


def _overlap(one: bytes, other: bytes) -> bool:
    return below(one, other) is not None or below(other, one) is not None


def _once(names: Iterable[Name]) -> tuple[Name, ...]:
    return tuple({(name.spec.name, name.native, name.path): name for name in names}.values())


def _files_of(native: bytes) -> list[tuple[bytes, bytes]]:
    """Return the files in which a message of a mailbox may be, and what its id has behind them.

    The flags of a file of a Maildir are not known: its path is that of a message without any.
    """
    path, separator, rest = native.rpartition(b"#")
    file = path if separator else native
    folder, _, name = file.rpartition(b"/")
    files = [file]
    if folder == b"cur" or folder.endswith(b"/cur"):
        files.append(folder[: -len(b"cur")] + b"new/" + name)
    return [(each, separator + rest if separator else b"") for each in files if is_plain(each)]


def _texts(place: _Place, written: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what spellings are below the root by their text alone."""
    root = local_root(place.spec) or place.base
    for each in written:
        if is_plain(each):
            yield each
            continue
        inner = collapsed(each)
        if inner:
            yield inner
        for top in (place.base, root):
            whole = collapsed(each if each.startswith(b"/") else top + b"/" + each)
            inner = None if whole is None else below(top, b"/" + whole)
            if inner:
                yield inner


# --- the file system -------------------------------------------------------------------------------------


def _resolved(place: _Place, written: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """Return where an id leads, and whether to one item, and no folder. Of several spellings, the first that is there.

    A link is an item; what it leads to comes behind it. What cannot be resolved stays as it is spelled.
    """
    tops = [(b"/" if each.startswith(b"/") else place.base, each) for each in written]
    tops += [(place.base, each) for top, each in tops if top == b"/"]
    top, path = next((each for each in tops if os.path.lexists(each[0] + b"/" + each[1])), tops[0])
    found: list[bytes] = []
    is_one = not path.endswith(b"/") and os.path.basename(path) not in (b"", b".", b"..")
    for each in _as_listed(top, path):
        if not is_one:
            found.append(os.path.realpath(each))
            continue
        real = os.path.join(os.path.realpath(os.path.dirname(each)), os.path.basename(each))
        found.append(real)
        status = _status(real)
        if status is not None and stat.S_ISLNK(status.st_mode):
            found.append(os.path.realpath(real))
        elif status is not None and stat.S_ISDIR(status.st_mode):
            is_one = False
    return found, is_one


def _as_listed(top: bytes, path: bytes) -> list[bytes]:
    """Return a path below `top` with each name as its folder lists it, where that takes several spellings for one name.

    Only the last name may be listed several times, as hard links that differ in no more than the spelling.
    """
    *folders, name = path.lstrip(b"/").split(b"/")
    for each in folders:
        top = os.path.join(top, _listed(top, each)[0])
    return [os.path.join(top, each) for each in _listed(top, name)]


def _listed(folder: bytes, name: bytes) -> list[bytes]:
    """Return a name as its folder lists it: itself, but where the folder takes another spelling for the same name.

    A name that is not there and whose letters are composed otherwise is there under that name.
    """
    there = [
        status for each in respelled(name) if (status := _status(os.path.join(folder, each))) is not None
    ]
    own = _status(os.path.join(folder, name)) if there else None
    if own is None:
        composed = (each for each in forms(name) if there and _status(os.path.join(folder, each)) is not None)
        return [next(composed, name)]
    if not any(os.path.samestat(own, each) for each in there):
        return [name]
    try:
        names = os.listdir(folder)
    except OSError:
        return [name]
    alike = folded(name)
    return [each for each in names if folded(each) == alike and _is_at(own, os.path.join(folder, each))] or [
        name
    ]


def _is_at(own: os.stat_result, path: bytes) -> bool:
    status = _status(path)
    return status is not None and os.path.samestat(own, status)


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (OSError, ValueError):
        return None
