"""Read a source's URL: where it is, and nothing of what is there."""

import os
import re
from typing import Final

from scelle.errors import SourceAddressError, SourceSecretError
from scelle.formats.tokens import shown
from scelle.sources.model import SourceSpec

SCHEMES: Final = ("files", "mbox", "maildir", "eml", "records", "generation", "git")
"""Of sources that are paths on this machine."""
DATABASES: Final = ("postgresql", "postgres")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def local_root(spec: SourceSpec) -> bytes | None:
    """Return the path that a source reads on this machine; None where it reads a server."""
    return None if is_database(spec.url) else parse_url(spec.name, spec.url)[1]


def is_database(url: str) -> bool:
    """Tell whether a URL is of a PostgreSQL database."""
    return url.partition("://")[0] in DATABASES


def parse_url(name: str, url: str) -> tuple[str, bytes]:
    """Read `scheme:///absolute/path`, percent-decoded to bytes; give the scheme and the path.

    No message repeats any part of the URL: whatever stands in a refused one may be a secret.
    """
    scheme, separator, rest = url.partition("://")
    if "@" in (rest.partition("/")[0] if separator else url):
        raise SourceSecretError(
            f"the URL of source {shown(name)} carries a user name or a password: take it out, a secret never "
            "stands in a URL"
        )
    if not separator or scheme not in SCHEMES:
        schemes = ", ".join(f"{each}://" for each in (*SCHEMES, "postgresql"))
        raise _wrong(name, f"has none of the schemes {schemes}; write for example files:///srv/documents")
    if "?" in rest or "#" in rest:
        raise _wrong(
            name, "has a query or a fragment: write ? as %3F and # as %23 where they belong to the path"
        )
    if not rest.startswith("/"):
        raise _wrong(
            name, "names a host, or a path that is not absolute: write three slashes, as in files:///srv"
        )
    path = os.fsencode(rest)
    if _BAD_ESCAPE.search(path):
        raise _wrong(name, "has a % that escapes nothing: write it as %25")
    path = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), path)
    if b"\0" in path:
        raise _wrong(name, "has a NUL byte: no path has one")
    if any(part in (b".", b"..") for part in path.split(b"/")):
        raise _wrong(name, "has . or .. in its path: write where it leads")
    return scheme, path.rstrip(b"/") or b"/"


def _wrong(name: str, why: str) -> SourceAddressError:
    return SourceAddressError(f"the URL of source {shown(name)} {why}")
