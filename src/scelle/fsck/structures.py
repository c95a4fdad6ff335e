"""Tell canonical JSON quickly where it is plain."""

import re
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
