"""Walk through DER, as far as time-stamp tokens need it.

The library that reads and verifies tokens refuses certificates that are not sorted in their SET OF, as many
authorities send them, and drops the fraction of a second. Both are put right here, on a copy: certificates
are not under the signature, so sorting them changes nothing that was signed.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from scelle.errors import FormatError

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
CONTEXT_0: Final = 0xA0

_GENERALIZED_TIME: Final = re.compile(rb"(\d{14})(?:\.(\d{1,6})\d*)?Z")
_GRANTED: Final = b"\x30\x03\x02\x01\x00"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Element:
    """Hold where one element lies: its tag, its first byte, its content's first byte, the byte after it."""

    tag: int
    start: int
    content: int
    end: int


def element_at(data: bytes, start: int, limit: int) -> Element:
    """Read the header at `start`; raises FormatError where the element does not end by `limit`."""
    if start + 2 > limit:
        raise FormatError("DER ends inside a header: the token is cut short")
    tag, length = data[start], data[start + 1]
    content = start + 2
    if tag & 0x1F == 0x1F or length == 0x80 or length > 0x84:
        raise FormatError("DER has a long tag, or a length that is not definite: not a time-stamp token")
    if length > 0x80:
        content += length - 0x80
        length = int.from_bytes(data[start + 2 : content], "big")
    if content + length > limit:
        raise FormatError("DER ends inside a value: the token is cut short")
    return Element(tag, start, content, content + length)


def children(data: bytes, parent: Element) -> list[Element]:
    """List the elements inside `parent`."""
    found, at = [], parent.content
    while at < parent.end:
        found.append(element_at(data, at, parent.end))
        at = found[-1].end
    return found


def whole(data: bytes) -> Element:
    """Read `data` as one SEQUENCE with nothing behind it."""
    outer = element_at(data, 0, len(data))
    if outer.tag != SEQUENCE or outer.end != len(data):
        raise FormatError("not one DER sequence: this is no time-stamp token")
    return outer


def _child(data: bytes, parent: Element, number: int, tag: int) -> Element:
    inside = children(data, parent)
    if number >= len(inside) or inside[number].tag != tag:
        raise FormatError("DER is not shaped like a time-stamp token")
    return inside[number]


def token_of(raw: bytes) -> bytes:
    """Give the token (a CMS ContentInfo) of a response, or `raw` itself where it is a token already."""
    inside = children(raw, whole(raw))
    if inside and inside[0].tag == OBJECT_IDENTIFIER:
        return raw
    if len(inside) != 2:
        raise FormatError("the response holds no token")
    return raw[inside[1].start : inside[1].end]


def status_of(raw: bytes) -> int:
    """Read the status of a response (RFC 3161 §2.4.2); a bare token counts as granted."""
    inside = children(raw, whole(raw))
    if inside and inside[0].tag == OBJECT_IDENTIFIER:
        return 0
    field = _child(raw, _child(raw, whole(raw), 0, SEQUENCE), 0, INTEGER)
    return int.from_bytes(raw[field.content : field.end], "big", signed=True)


def response_of(raw: bytes) -> bytes:
    """Give `raw` itself where it is a response, a bare token inside a response that says *granted*."""
    return granted_response(raw) if token_of(raw) == raw else raw


def granted_response(token: bytes) -> bytes:
    """Put a bare token into a response that says *granted*, the only form that the library takes."""
    body = _GRANTED + token
    if len(body) < 0x80:
        return bytes([SEQUENCE, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([SEQUENCE, 0x80 + len(length)]) + length + body


def with_sorted_certificates(token: bytes) -> bytes:
    """Give a copy of a token with its certificates in DER order (X.690 §11.6); no other byte differs."""
    for field in children(token, _signed_data(token)):
        if field.tag == CONTEXT_0:
            certificates = [token[found.start : found.end] for found in children(token, field)]
            return token[: field.content] + b"".join(sorted(certificates)) + token[field.end :]
    return token


def stamped_time_us(token: bytes) -> int:
    """Read `genTime` (RFC 3161 §2.4.2) in microseconds since 1970, floored.

    The fraction counts: a time cut to the second would claim more than was attested.
    """
    field = _child(token, _stamp_info(token), 4, GENERALIZED_TIME)
    match = _GENERALIZED_TIME.fullmatch(token, field.content, field.end)
    if not match:
        raise FormatError("the token's time is not of the form YYYYMMDDhhmmss.fZ")
    try:
        moment = datetime.strptime(match[1].decode() + "+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        raise FormatError("the token's time is no date") from None
    fraction_us = int((match[2] or b"0").ljust(6, b"0"))
    return (moment - _EPOCH) // timedelta(microseconds=1) + fraction_us


def _signed_data(token: bytes) -> Element:
    """Find SignedData (RFC 5652 §5.1) inside ContentInfo."""
    return _child(token, _child(token, whole(token), 1, CONTEXT_0), 0, SEQUENCE)


def _stamp_info(token: bytes) -> Element:
    """Find TSTInfo, which lies as DER inside the octet string of encapContentInfo."""
    enclosed = _child(token, _child(token, _signed_data(token), 2, SEQUENCE), 1, CONTEXT_0)
    octets = _child(token, enclosed, 0, OCTET_STRING)
    return element_at(token, octets.content, octets.end)
