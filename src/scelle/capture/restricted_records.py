"""Write one record of a source as the document that goes into the compartment: everything that its row would say.

A record's values lie in a segment that the vault's key opens, so that a restricted record has no row of its own schema.
It is sealed as a restricted document instead (docs/formats/compartment.md): time and account stay open, as every row
has them, and the rest is in the ciphertext.
"""

import json
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

from scelle.capture.content import pieces_of
from scelle.errors import ItemChanged
from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.formats.values import UNDATED, Content, decode_value
from scelle.sources.interfaces import Content as Attached
from scelle.sources.interfaces import Document, Member, Record

RESTRICTED_MEMBER: Final = Member(
    "restricted",
    DOCUMENT_V1,
    notes=(
        "records of every shape that a restricted clause covers: each lies in the compartment, as one document",
    ),
)
"""The shape under which a source's restricted records are sealed, all in one log source of its family."""

RECORD_MEDIA_TYPE: Final = "application/json"
ARCHIVE_MEDIA_TYPE: Final = "application/x-tar"
TIME_BASIS: Final = "record"
_RECORD_NAME: Final = "record.json"
_BLOCK: Final = 512


def record_document(member: Member, record: Record) -> Document:
    """Return a record as one document: JSON, or, where it has contents, a tar of that JSON and of each content.

    A content's stream is read when the document's is, and raises what it raises. What the document is called, and which
    shape it had, stands in its metadata.
    """
    meta_json = canonical_json({"member": member.name, "schema": member.schema.digest.hex()})
    time_us = record.time_us if TIME_MIN <= record.time_us <= TIME_MAX else UNDATED
    text = _json_of(member, record)
    if not record.contents:
        return Document(text, None, len(text), RECORD_MEDIA_TYPE, meta_json, time_us, TIME_BASIS, b"")
    names = [_content_name(member, each) for each in record.contents]

    def stream() -> Iterator[bytes]:
        yield from _archived(_RECORD_NAME, len(text), iter((text,)))
        for name, content in zip(names, record.contents, strict=True):
            yield from _archived(name, content.document.size_bytes, pieces_of(content.document))
        yield bytes(2 * _BLOCK)

    return Document(None, stream, record.size_bytes, ARCHIVE_MEDIA_TYPE, meta_json, time_us, TIME_BASIS, b"")


# --- as JSON ---------------------------------------------------------------------------------------------


def _json_of(member: Member, record: Record) -> bytes:
    """Write for people what the record's row would have said; the schema beside it says of what type each field is."""
    contents = {each.field: each for each in record.contents}
    fields: dict[str, Any] = {}
    for number, value in enumerate(record.values, 2):
        content = contents.get(number)
        name = member.schema.fields[number].name
        fields[name] = _shown(value) if content is None else {"file": _content_name(member, content)}
    document = {
        "account": record.account,
        "fields": fields,
        "member": member.name,
        "native": b64encode(record.native).decode(),
        "schema": json.loads(member.schema.encode()),
        "time_us": None if record.time_us == UNDATED else str(record.time_us),
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


def _shown(encoded: bytes) -> Any:
    """Return a value as JSON has it; 64-bit integers, times and number texts as text, bytes in base64."""
    letter, value, _ = decode_value(encoded)
    if isinstance(value, bytes):
        return json.loads(value) if letter == "j" else {"b64": b64encode(value).decode()}
    if isinstance(value, Content):
        return {"sha256": value.digest.hex(), "size": str(value.size_bytes)}
    if letter in "it":
        return None if value == UNDATED and letter == "t" else str(value)
    return repr(value) if isinstance(value, float) else value


def _content_name(member: Member, content: Attached) -> str:
    return f"contents/{content.field}-{member.schema.fields[content.field].name}"


# --- as a tar --------------------------------------------------------------------------------------------


def _archived(name: str, size_bytes: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield one file of a tar (POSIX.1-1988): head, bytes, padding; raises ItemChanged where the size is another."""
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    yield entry.tobuf(tarfile.PAX_FORMAT)
    left = size_bytes
    for piece in pieces:
        left -= len(piece)
        yield piece
    if left:
        raise ItemChanged(f"a content gave {size_bytes - left} bytes and was said to have {size_bytes}")
    yield bytes(-size_bytes % _BLOCK)
