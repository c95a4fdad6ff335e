"""Read header fields: as raw names and values, and what MIME says with three of them."""

import re
from email.header import decode_header
from email.message import Message
from typing import Final, NamedTuple, TypeAlias

from scelle.sources.metadata import text_or_base64

Field: TypeAlias = tuple[bytes, bytes]
"""A raw field: its name, and its value without the blanks around it; folds inside stay as they are."""

_FIELD: Final = re.compile(rb"([!-9;-~\x80-\xff]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_LONGEST_PARAMETERS_BYTES: Final = 8 << 10
_LONGEST_NAME_BYTES: Final = 1 << 10
_LONGEST_BOUNDARY_BYTES: Final = 500

_MAIL_NAMES: Final = frozenset(
    b"bcc cc content-type date delivered-to from in-reply-to message-id mime-version received references "
    b"reply-to return-path sender subject to x-mozilla-status".split()
)


class MimeInfo(NamedTuple):
    """Carry what the fields of a part say about its content."""

    media_type: str
    boundary: bytes
    name: str | dict[str, str] | None
    disposition: str
    encoding: str


def read_fields(head: bytes) -> tuple[list[Field], int]:
    """Read the fields at the start of `head`; give them and the offset where the body starts.

    The block ends after a blank line, or before the first line that is no field and continues none.
    """
    fields: list[Field] = []
    at = 0
    while (field := _FIELD.match(head, at)) is not None:
        fields.append((field[1], field[2].strip(b" \t\r\n")))
        at = field.end()
    for blank in (b"\n", b"\r\n"):
        if head.startswith(blank, at):
            return fields, at + len(blank)
    return fields, at


def is_mail(head: bytes) -> bool:
    """Say whether bytes start like a message: with fields, and one of them with a name that mail has."""
    if head.startswith(b"From "):
        head = head.partition(b"\n")[2]
    return any(name.lower() in _MAIL_NAMES for name, _ in read_fields(head)[0])


def mime_info(fields: list[Field], default: str = "text/plain") -> MimeInfo:
    """Read Content-Type, Content-Disposition and Content-Transfer-Encoding; the first of each counts.

    Raises what the standard library's parser raises on malformed parameters: see `mime.PARSE_ERRORS`.
    """
    kind, disposition, encoding = (_first(fields, name) for name in _MIME_NAMES)
    message = Message()
    if kind is not None:
        message["Content-Type"] = kind
    if disposition is not None:
        message["Content-Disposition"] = disposition
    name = _parameter(message, "filename", "content-disposition") or _parameter(
        message, "name", "content-type"
    )
    media_type = message.get_content_type() if kind is not None else default
    return MimeInfo(
        media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream",
        (_parameter(message, "boundary", "content-type") or b"").rstrip()[:_LONGEST_BOUNDARY_BYTES],
        _readable(name) if name is not None else None,
        (message.get_content_disposition() or "")[:80],
        (encoding or "").strip().lower()[:80],
    )


_MIME_NAMES: Final = (b"content-type", b"content-disposition", b"content-transfer-encoding")


def _first(fields: list[Field], wanted: bytes) -> str | None:
    """Give a field's value as Latin-1, so that every byte passes the parser and comes back unchanged."""
    for name, value in fields:
        if name.lower() == wanted:
            unfolded = value[:_LONGEST_PARAMETERS_BYTES].replace(b"\r", b"").replace(b"\n", b"")
            return unfolded.decode("latin-1")
    return None


def _parameter(message: Message, name: str, header: str) -> bytes | None:
    """Give a parameter's bytes; one in the form of RFC 2231 in UTF-8, where its charset can be believed."""
    value = message.get_param(name, header=header)
    if value is None or isinstance(value, str):
        return value.encode("latin-1") if value else None
    charset, _, text = value
    raw = text.encode("latin-1")
    try:
        return raw.decode(charset or "us-ascii").encode("utf-8")
    except (LookupError, ValueError):
        return raw


def _readable(name: bytes) -> str | dict[str, str]:
    """Give a file name as text, encoded words decoded; bytes that are no text stay bytes."""
    name = name[:_LONGEST_NAME_BYTES]
    if b"=?" in name and name.isascii():
        try:
            words = decode_header(name.decode("ascii"))
            return "".join(w if isinstance(w, str) else w.decode(c or "ascii") for w, c in words)
        except (LookupError, ValueError):
            return name.decode("ascii")
    return text_or_base64(name)
