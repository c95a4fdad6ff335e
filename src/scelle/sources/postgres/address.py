"""Read the address of a database: `postgresql://user@host:port/database`, never with a password.

No message repeats any part of an address: whatever stands in a refused one may be a secret.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from scelle.errors import InputError, SourceAddressError, SourceSecretError
from scelle.formats.tokens import shown

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_PORT: Final = 5432
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_EXAMPLE: Final = "write for example postgresql://scelle@db.example:5432/app"


@dataclass(frozen=True, slots=True)
class Address:
    """Say where a database is and who asks; `others` are further hosts of the same data, as (host, port).

    A host that starts with `/` is the folder of a Unix socket. `sslmode` and `sslrootcert` are libpq's; None
    leaves them to libpq (PGSSLMODE, else `prefer`).
    """

    host: str
    port: int
    database: str
    user: str
    others: tuple[tuple[str, int], ...] = ()
    sslmode: str | None = None
    sslrootcert: str | None = None


def parse_address(url: str, source: str = "postgres") -> Address:
    """Read `postgresql://user@host[:port][,host[:port]..]/database[?sslmode=..&sslrootcert=..]`.

    Everything is percent-decoded UTF-8. Raises SourceAddressError, or SourceSecretError for one with a
    password.
    """
    scheme, separator, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if ":" in user or "password" in rest.partition("?")[2].lower():
        raise SourceSecretError(
            f"the URL of source {shown(source)} carries a password: take it out and give it by --credential, a "
            "secret never stands in a URL"
        )
    if not separator or scheme not in SCHEMES:
        raise _wrong(source, f"has not the scheme postgresql://; {_EXAMPLE}")
    if _BAD_ESCAPE.search(rest):
        raise _wrong(source, "has a % that escapes nothing: write it as %25")
    if not at or not user:
        raise _wrong(source, f"names no user; {_EXAMPLE}")
    if "#" in rest:
        raise _wrong(source, "has a fragment: write # as %23 where it belongs to a name")
    database, _, query = path.partition("?")
    if not database or "/" in database:
        raise _wrong(source, f"names no database, or more than one; {_EXAMPLE}")
    (host, port), *others = [_host(source, text) for text in hosts.split(",")]
    options = _options(source, query)
    return Address(
        host,
        port,
        _text(source, database),
        _text(source, user),
        tuple(others),
        options.get("sslmode"),
        options.get("sslrootcert"),
    )


def parse_shards(text: str, source: str = "postgres") -> tuple[Address, ...]:
    """Read a file of addresses, one a line; blank lines and lines that start with `#` say nothing.

    Raises InputError with the line's number for one that cannot be read or stands twice.
    """
    found: dict[Address, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            address = parse_address(stripped, source)
        except SourceAddressError as error:
            raise SourceAddressError(f"line {number} of the list of shards: {error}") from None
        if address in found:
            raise InputError(
                f"line {number} of the list of shards names the database of line {found[address]} again: "
                "name each once, or its rows would be doubled"
            )
        found[address] = number
    if not found:
        raise InputError(f"the list of shards of source {shown(source)} names no database: {_EXAMPLE}")
    return tuple(found)


def _host(source: str, text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None:
        raise _wrong(source, f"names no host, or a port that is no number; {_EXAMPLE}")
    port = int(match["port"] or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise _wrong(source, "has a port that is not from 1 to 65535")
    return _text(source, match["host"].strip("[]")), port


def _options(source: str, query: str) -> dict[str, str]:
    options = {}
    for pair in filter(None, query.split("&")):
        name, separator, value = pair.partition("=")
        if not separator or name not in ("sslmode", "sslrootcert"):
            raise _wrong(source, "has a parameter that is not sslmode or sslrootcert: take it out")
        options[name] = _text(source, value)
    if options.get("sslmode", "prefer") not in SSL_MODES:
        raise _wrong(source, f"has an sslmode that is none of {', '.join(SSL_MODES)}")
    return options


def _text(source: str, text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _wrong(source, "has a name that is not UTF-8 after percent-decoding") from None
    if "\0" in decoded or not decoded:
        raise _wrong(source, "has an empty name, or one with a NUL byte")
    return decoded


def _wrong(source: str, why: str) -> SourceAddressError:
    return SourceAddressError(f"the URL of source {shown(source)} {why}")
