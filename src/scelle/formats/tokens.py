"""Read and write the small tokens that all formats share: hex, base64, decimals, names.

Every reader accepts exactly one spelling of a value, so that no two programs read one text differently.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final, NewType

from scelle.errors import FormatError

OrderId = NewType("OrderId", str)
Alias = NewType("Alias", str)
Origin = NewType("Origin", str)
Digest = NewType("Digest", bytes)

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
UNDATED: Final = INT64_MIN
"""The time of a record whose own time is not known; sorts before every dated one."""
TIME_MIN: Final = INT64_MIN + 1
TIME_MAX: Final = INT64_MAX
DIGEST_BYTES: Final = 32

_ORDER_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_ALIAS: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(?:/[0-9]+)?")
_CODE: Final = re.compile(r"[a-z0-9-]+")
_HOST: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNED: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_SHOWN_CHARACTERS: Final = 60


def shown(text: object) -> str:
    """Give a short, quoted, ASCII form of `text` for an error message."""
    form = ascii(text)
    return form if len(form) <= _SHOWN_CHARACTERS else form[:_SHOWN_CHARACTERS] + ".."


def is_order_id(text: str) -> bool:
    """Say whether `text` is an order id (ledger.md §4)."""
    return _ORDER_ID.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Say whether `text` is the alias of a log source, with or without a family number."""
    return _ALIAS.fullmatch(text) is not None


def is_reserved_alias(text: str) -> bool:
    """Say whether `text` is one of Scellé's own log sources (`scelle.order`, `scelle.events`)."""
    return text.startswith("scelle.")


def is_family_member(alias: str, family: str) -> bool:
    """Say whether the log source `alias` is `family` itself or `family/<digits>` (ledger.md §1)."""
    return alias == family or alias.rpartition("/")[0] == family


def is_code(text: str) -> bool:
    """Say whether `text` is a code; the lone `-` is not one, it means *absent* wherever a code may stand."""
    return text != "-" and _CODE.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Say whether `text` is a host with an optional port."""
    return _HOST.fullmatch(text) is not None


def make_origin(host: str, order: str) -> Origin:
    """Join host and order id to the origin of an order's log, which is also its key name."""
    if not is_host(host):
        raise FormatError(f"host {shown(host)} is not of the form [a-z0-9.-]+(:[0-9]+)?: correct it")
    if not is_order_id(order):
        raise FormatError(
            f"order id {shown(order)} is not of the form [a-z0-9][a-z0-9.-]{{0,62}}: correct it"
        )
    return Origin(f"{host}/po/{order}")


def parse_origin(text: str) -> tuple[str, OrderId]:
    """Split an origin into host and order id."""
    host, separator, order = text.partition("/po/")
    if not separator or not is_host(host) or not is_order_id(order):
        raise FormatError(f"origin {shown(text)} is not <host>/po/<order id>: take the log's own")
    return host, OrderId(order)


def base64_text(data: bytes) -> str:
    """Write bytes as standard base64 with padding (RFC 4648 §4)."""
    return b64encode(data).decode("ascii")


def parse_base64(text: str, size_bytes: int | None = None) -> bytes:
    """Read canonical base64: padded, no blanks, zero bits in the tail; `size_bytes` long if given."""
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, Base64Error):
        raise FormatError(
            f"base64 not canonical: {shown(text)}; write it padded and without blanks"
        ) from None
    if b64encode(data) != text.encode("ascii"):
        raise FormatError(f"base64 not canonical: {shown(text)}; its tail must be zero bits")
    return _of_width(data, size_bytes, text)


def parse_hex(text: str, size_bytes: int | None = None) -> bytes:
    """Read lower-case hex without blanks, `size_bytes` long if that is given."""
    if _HEX.fullmatch(text) is None:
        raise FormatError(f"hex not lower case pairs: {shown(text)}; write [0-9a-f] only")
    return _of_width(bytes.fromhex(text), size_bytes, text)


def _of_width(data: bytes, size_bytes: int | None, text: str) -> bytes:
    if size_bytes is not None and len(data) != size_bytes:
        raise FormatError(
            f"width: {shown(text)} is {len(data)} bytes, must be {size_bytes}: nothing is padded or cut"
        )
    return data


def parse_decimal(text: str) -> int:
    """Read a decimal number from 0 to 2^63-1 without sign or leading zeros."""
    if _DECIMAL.fullmatch(text) is None or int(text) > INT64_MAX:
        raise FormatError(f"number not canonical: {shown(text)}; write 0 to 2^63-1 in plain ASCII digits")
    return int(text)


def parse_time(text: str) -> int:
    """Read microseconds since 1970 UTC from -2^63+1 to 2^63-1, never `-0`."""
    if _SIGNED.fullmatch(text) is None or not TIME_MIN <= int(text) <= TIME_MAX:
        raise FormatError(f"time not canonical: {shown(text)}; write microseconds, -2^63+1 to 2^63-1")
    return int(text)


def checked_width(data: bytes, size_bytes: int, what: str) -> bytes:
    """Give `data` back if it is `size_bytes` long; widths are checked before anything is hashed."""
    if len(data) != size_bytes:
        raise FormatError(
            f"width: {what} is {len(data)} bytes, must be {size_bytes}: nothing is padded or cut"
        )
    return data
