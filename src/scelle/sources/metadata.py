"""Write the metadata of a file as canonical JSON, quickly where it is plain."""

import os
from base64 import b64decode, b64encode
from typing import TypeAlias

from scelle.formats.canonical_json import JsonObject, canonical_json

Attributes: TypeAlias = list[tuple[bytes, bytes | None]]
"""Extended attributes, sorted by name; None where the system refused to give the value."""

_PLAIN = b'"ctime_ns":"%d","gid":%d,"kind":"%b","links":%d,"mode":"%o","mtime_ns":"%d","uid":%d,"xattrs":%b}'
_PLAIN_WITH_BIRTH = b'{"birth_ns":"%d",' + _PLAIN
_PLAIN_WITHOUT_BIRTH = b"{" + _PLAIN


def text_or_base64(data: bytes) -> str | dict[str, str]:
    """Give bytes as JSON without loss: text where they are valid UTF-8, else `{"b64": ..}`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": b64encode(data).decode("ascii")}


def bytes_of(value: str | dict[str, str]) -> bytes:
    """Give back the bytes that `text_or_base64` wrote."""
    return value.encode("utf-8") if isinstance(value, str) else b64decode(value["b64"], validate=True)


def file_meta(
    path: bytes, kind: str, status: os.stat_result, birth_ns: int | None, attributes: Attributes | None
) -> JsonObject:
    """Describe a file or link: times in nanoseconds as decimal text, mode in octal.

    What may change while the file does not is left out (device and inode numbers on some file systems,
    allocated blocks): a file read again must give the same bytes. `attributes` None says that the file system
    has none. `path` is repeated only where it is not UTF-8, because the text form of a native id cannot be
    read back to bytes with certainty then.
    """
    meta: JsonObject = {
        "ctime_ns": str(status.st_ctime_ns),
        "gid": status.st_gid,
        "kind": kind,
        "links": status.st_nlink,
        "mode": f"{status.st_mode:o}",
        "mtime_ns": str(status.st_mtime_ns),
        "uid": status.st_uid,
        "xattrs": None if attributes is None else [_attribute(*pair) for pair in attributes],
    }
    if birth_ns is not None:
        meta["birth_ns"] = str(birth_ns)
    shown = text_or_base64(path)
    if isinstance(shown, dict):
        meta["path"] = shown
    return meta


def file_meta_json(
    path: bytes, kind: str, status: os.stat_result, birth_ns: int | None, attributes: Attributes | None
) -> bytes:
    """Give `canonical_json(file_meta(..))`, by formatting where nothing needs more."""
    if attributes or not (path.isascii() or isinstance(text_or_base64(path), str)):
        return canonical_json(file_meta(path, kind, status, birth_ns, attributes))
    # A stat_result unpacks its first ten fields faster than they can be named; its times there are seconds.
    mode, _, _, links, uid, gid, *_ = status
    none = b"null" if attributes is None else b"[]"
    rest = (status.st_ctime_ns, gid, kind.encode(), links, mode, status.st_mtime_ns, uid, none)
    if birth_ns is None:
        return _PLAIN_WITHOUT_BIRTH % rest
    return _PLAIN_WITH_BIRTH % (birth_ns, *rest)


def _attribute(name: bytes, value: bytes | None) -> list[object]:
    return [text_or_base64(name), None if value is None else text_or_base64(value)]
