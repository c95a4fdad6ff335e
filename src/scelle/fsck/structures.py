"""Tell canonical JSON quickly where it is plain."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from scelle.formats.canonical_json import is_canonical_json

_TEXT: Final = rb'"[ !#-\[\]-~]*"'
_SCALAR: Final = rb"(?:%b|-?[1-9][0-9]{0,14}|0|true|false|null|\[\])" % _TEXT
_FLAT_OBJECT: Final = re.compile(rb"\{%b:%b(?:,%b:%b)*\}" % (_TEXT, _SCALAR, _TEXT, _SCALAR))
# Keys are compared without their quotes: a closing quote sorts after a blank.
_PAIR: Final = re.compile(rb'"([ !#-\[\]-~]*)":%b[,}]' % _SCALAR)


def is_canonical_structure(payload: bytes) -> bool:
    """Tell whether `payload` is RFC 8785 JSON: a flat object of plain texts and numbers costs no parsing."""
    if _FLAT_OBJECT.fullmatch(payload) is None:
        return is_canonical_json(payload)
    keys = _PAIR.findall(payload, 1)
    return all(map(bytes.__lt__, keys, keys[1:]))


def are_canonical_structures(payloads: Sequence[bytes]) -> bool:
    """Tell whether all are RFC 8785 JSON; those with the same keys as the first cost one look each."""
    first = payloads[0]
    if _FLAT_OBJECT.fullmatch(first) is None or not is_canonical_structure(first):
        return all(map(is_canonical_structure, payloads))
    is_like_first = _object_with(tuple(_PAIR.findall(first, 1))).fullmatch
    return all(is_like_first(payload) or is_canonical_structure(payload) for payload in payloads)


@lru_cache(maxsize=64)
def _object_with(keys: tuple[bytes, ...]) -> "re.Pattern[bytes]":
    """Give what matches a flat object of just these keys, which are in order, so that it is canonical."""
    return re.compile(rb"\{%b\}" % b",".join(rb'"%b":%b' % (re.escape(key), _SCALAR) for key in keys))
