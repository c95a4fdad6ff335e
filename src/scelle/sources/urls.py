"""Read a source's URL and open the source behind it."""

import os
import re
from collections.abc import Callable
from typing import Final

from scelle.errors import InputError, SourceAddressError, SourceSecretError
from scelle.formats.tokens import shown
from scelle.sources.files.source import FilesSource
from scelle.sources.interfaces import Source
from scelle.sources.mail.eml import EmlSource
from scelle.sources.mail.maildir import MaildirSource
from scelle.sources.mail.mbox import MboxSource

_OPENERS: Final[dict[str, Callable[[bytes, str], Source]]] = {
    "files": FilesSource,
    "mbox": MboxSource,
    "maildir": MaildirSource,
    "eml": EmlSource,
}
SCHEMES: Final = tuple(_OPENERS)

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def open_source(name: str, url: str, custodian: str | None = None, account: str | None = None) -> Source:
    """Open the source at a URL; nothing is read before its methods are called.

    Raises SourceAddressError, SourceSecretError, or InputError for a source of a custodian and an account at
    once.
    """
    if custodian is not None and account is not None:
        raise InputError(
            f"source {shown(name)} has a custodian and an account: the two never meet, so add it twice, "
            "once for each"
        )
    scheme, root = parse_url(name, url)
    return _OPENERS[scheme](root, name)


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
    if not separator or scheme not in _OPENERS:
        schemes = ", ".join(f"{each}://" for each in SCHEMES)
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
