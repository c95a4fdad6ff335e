"""Describe a message, and what a mail source offers that is none, as the metadata of a record."""

from collections.abc import Iterator
from typing import Final

from scelle.formats.canonical_json import JsonObject
from scelle.sources.mail.fields import Field, is_mail
from scelle.sources.mail.mime import scan
from scelle.sources.media_types import media_type, media_type_of_bytes
from scelle.sources.metadata import text_or_base64

MAIL_MEDIA_TYPE: Final = "message/rfc822"
HEAD_BYTES: Final = 256 << 10
"""What is looked at for the time of a message and for whether it is one."""

_LONGEST_VALUE_BYTES: Final = 64 << 10
_LONGEST_HEADERS_BYTES: Final = 256 << 10
_MOST_HEADERS: Final = 2_000


def looks_like_mail(head: bytes, is_named_so: bool) -> bool:
    """Say whether content is taken for a message: by its place or name, else by its fields; never a known
    binary.
    """
    return media_type_of_bytes(head[:512]) is None and (is_named_so or is_mail(head))


def describe(pieces: Iterator[bytes]) -> JsonObject:
    """Read a whole message and give `headers`, `attachments`, and what was wrong with it; only `pieces`
    raises.
    """
    findings = scan(pieces)
    shown = _shown(findings.fields)
    meta: JsonObject = {
        "attachments": findings.attachments,
        "headers": [[text_or_base64(name), text_or_base64(value)] for name, value in shown],
    }
    if findings.not_listed:
        meta["attachments_not_listed"] = findings.not_listed
    if findings.fields_cut or shown != findings.fields:
        findings.note("headers-cut")
    if findings.defects:
        meta["defects"] = findings.defects
    if findings.parse_error:
        meta["parse_error"] = findings.parse_error
    return meta


def opaque_type(path: bytes, head: bytes) -> str:
    """Give the media type of content that is not mail, whatever its name says."""
    named = media_type(path, head[:512])
    return named if named not in (MAIL_MEDIA_TYPE, "application/mbox") else media_type(b"", head[:512])


def _shown(fields: list[Field]) -> list[Field]:
    """Give the fields that the metadata repeats; all of them are in the content."""
    shown: list[Field] = []
    left = _LONGEST_HEADERS_BYTES
    for name, value in fields[:_MOST_HEADERS]:
        left -= len(name) + len(value)
        if left < 0:
            break
        shown.append((name, value[:_LONGEST_VALUE_BYTES]))
    return shown
