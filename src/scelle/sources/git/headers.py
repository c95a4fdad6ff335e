"""Read the headers of commits and tags, as far as they say when, who and what next."""

import re
from typing import Any, Final, NamedTuple

from scelle.formats.canonical_json import canonical_json
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.sources.interfaces import UNDATED, native_text

_WHEN: Final = re.compile(rb"[^>]*> ?(-?[0-9]{1,20})(?: [+-][0-9]+)?")
_MICROSECONDS: Final = 1_000_000
_SIGNED_BY: Final = {b"commit": b"committer", b"tag": b"tagger"}


class Headers(NamedTuple):
    """Carry what a commit or tag says of itself; `meta_json` is RFC 8785."""

    time_us: int
    time_basis: str
    meta_json: bytes


def parse_headers(kind: bytes, data: bytes) -> Headers:
    """Read the headers of a commit or tag from its first bytes; what is malformed is missing, never an error.

    Texts are as they stand, bytes outside UTF-8 percent-encoded (the content has the bytes).
    """
    found = _headers(data)
    signer = _SIGNED_BY[kind]
    time_us = time_of_identity(found.get(signer, [b""])[0])
    basis = "none" if time_us == UNDATED else signer.decode("ascii")
    return Headers(
        time_us, basis, canonical_json(_commit_meta(found) if kind == b"commit" else _tag_meta(found))
    )


def time_of_identity(identity: bytes) -> int:
    """Give the time of `name <address> seconds zone`, or UNDATED where there is none within 64 bits."""
    match = _WHEN.fullmatch(identity)
    return time_of_seconds(match[1]) if match else UNDATED


def time_of_seconds(digits: bytes) -> int:
    """Give microseconds since 1970, or UNDATED where they need more than 64 bits."""
    time_us = int(digits) * _MICROSECONDS
    return time_us if TIME_MIN <= time_us <= TIME_MAX else UNDATED


def _headers(data: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in data.partition(b"\n\n")[0].split(b"\n"):
        name, separator, value = line.partition(b" ")
        if name and separator:  # a line that starts with a space continues the one before: a signature
            found.setdefault(name, []).append(value)
    return found


def _commit_meta(found: dict[bytes, list[bytes]]) -> dict[str, Any]:
    return {
        "tree": _first(found, b"tree"),
        "parents": [native_text(parent) for parent in found.get(b"parent", [])],
        "author": _first(found, b"author"),
        "committer": _first(found, b"committer"),
    }


def _tag_meta(found: dict[bytes, list[bytes]]) -> dict[str, Any]:
    return {name: _first(found, name.encode("ascii")) for name in ("object", "type", "tag", "tagger")}


def _first(found: dict[bytes, list[bytes]], name: bytes) -> str | None:
    values = found.get(name)
    return native_text(values[0]) if values else None
