"""Read the spellings of a path that stands for an item of a tree of files, by their text alone (pure)."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

_PLAIN: Final = re.compile(rb"(?!\.{1,2}(?:/|\Z))[^/\0]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)*")
_URL: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:(?=/)(?://)?")


def is_plain(path: bytes) -> bool:
    """Tell whether a path is spelled as a source offers one: relative, no empty component, none that is `.` or `..`."""
    return _PLAIN.fullmatch(path) is not None


def names_host(native: bytes) -> bool:
    """Tell whether an id is a URL that has something before its path: nobody knows whether that is a host."""
    url = _URL.match(native)
    return url is not None and url[0].endswith(b"//") and not native.startswith(b"/", url.end())


def spellings(native: bytes) -> Iterator[bytes]:
    """Yield what an id may be written for, the likeliest first: itself, the path of a URL, and without `%` escapes."""
    url = _URL.match(native)
    if url is None:
        bare = [native]
    else:
        path = native[url.end() :]
        bare = [path] if not names_host(native) else [path, b"/" + path.partition(b"/")[2]]
        bare = [native, *bare] if is_plain(native) else [*bare, native]
    yield from bare
    yield from (unquote_to_bytes(each) for each in bare if b"%" in each)


def collapsed(path: bytes) -> bytes | None:
    """Return a path without empty components, `.` and `..`, relative; None where it leads above its beginning."""
    kept: list[bytes] = []
    for part in path.split(b"/"):
        if part == b".." and not kept:
            return None
        if part == b"..":
            kept.pop()
        elif part not in (b"", b"."):
            kept.append(part)
    return b"/".join(kept)


def below(root: bytes, path: bytes) -> bytes | None:
    """Return a path relative to a root that contains it, b"" for the root itself; None outside."""
    if path == root:
        return b""
    start = root.rstrip(b"/") + b"/"
    return path[len(start) :] if path.startswith(start) else None


def forms(path: bytes) -> Iterator[bytes]:
    """Yield a path as it is, and composed and decomposed (Unicode NFC, NFD) where that is something else."""
    yield path
    if not path.isascii():
        text = path.decode("utf-8", "surrogateescape")
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, text).encode("utf-8", "surrogateescape")


def folded(name: bytes) -> str:
    """Return what two names have in common where a folder takes them for one: neither case nor composition counts."""
    text = unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", text.casefold())


def respelled(name: bytes) -> set[bytes]:
    """Return other spellings of a name by which to ask a folder whether it takes several for one; mostly one."""
    text = name.decode("utf-8", "surrogateescape")
    found = {text.swapcase()}
    if not text.isascii():
        found |= {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    return {each.encode("utf-8", "surrogateescape") for each in found - {text}}
