"""Hold a body as it came, in memory or in a file, hashed as it comes; take it apart afterwards."""

import base64
import binascii
import json
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO, Final

from scelle.errors import StorageError
from scelle.safeguards.recorder.contents import Bytes, ContentStore, Held, Writing

MEMORY_MAX: Final = 1 << 20
"""A larger body goes to a file while it comes."""
PARTS_MAX: Final = 64
"""So many parts of a form are taken apart; the raw body has them all."""
REFERENCES_MAX: Final = 17
"""Sixteen images and a mask are what the generator takes."""
_FIELD_MAX: Final = 4 << 20

_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"....ftypavif", re.DOTALL), "image/avif"),
)
_UNKNOWN: Final = "application/octet-stream"
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_UTF_8: Final = re.compile(r"|\s*charset=\"?utf-8\"?\s*", re.IGNORECASE)
_HEAD: Final = re.compile(
    rb"content-disposition: *form-data; *name=\"(?P<name>[^\"\\\r\n]*)\"(?:; *filename=\"(?P<file>[^\"\\\r\n]*)\")?"
    rb"(?:\r\ncontent-type: *(?P<type>[a-z0-9.+-]+/[a-z0-9.+-]+(?:; *charset=utf-8)?))?",
    re.IGNORECASE,
)
"""The one head that a part of a form may have: what browsers, curl and the official clients write."""
_HEAD_MAX: Final = 2048
_OTHER: Final = "other"
MEMBERS_MAX: Final = 100_000
KNOWN_FIELDS: Final = frozenset(
    [
        "background", "input_fidelity", "model", "moderation", "n", "output_compression", "output_format",
        "partial_images", "prompt", "quality", "response_format", "size", "stream", "style", "user",
    ]
)  # fmt: skip
"""What a request may hold, beside references, that is understood: in any other field there could be another prompt."""
_BOUNDARY: Final = re.compile(r";\s*boundary=(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)


def media_type_of(data: Bytes) -> str:
    """Tell what bytes begin like, whatever was said of them; nothing is decoded."""
    start = bytes(data[:16])
    return next((name for pattern, name in _MAGIC if pattern.match(start)), _UNKNOWN)


class Body:
    """One body as it came: `write` each piece, then `finish`.

    Where it is `lenient`, a disk that fails keeps it in memory, and nothing of it can be kept.
    """

    def __init__(self, store: ContentStore, *, lenient: bool = False, memory_max: int = MEMORY_MAX) -> None:
        self._store, self._lenient, self._memory_max = store, lenient, memory_max
        self._data = bytearray()
        self._writing: Writing | None = None
        self._held: Held | None = None
        self._sha = sha256()
        self.size_bytes = 0
        self.is_lost = False

    def write(self, piece: bytes) -> None:
        """Append a piece; raises StorageError."""
        self._sha.update(piece)
        self.size_bytes += len(piece)
        if self._writing is None and (self.size_bytes <= self._memory_max or self.is_lost):
            self._data += piece
            return
        try:
            if self._writing is None:
                self._writing = self._store.begin()
                self._writing.write(self._data)
                self._data = bytearray()
            self._writing.write(piece)
        except StorageError:
            if not self._lenient:
                raise
            self._take_back(piece)

    def _take_back(self, piece: bytes) -> None:
        """Go on in memory with what the file has."""
        if self._writing is not None and not self._data:
            size = self.size_bytes - len(piece)
            self._data = bytearray(os.pread(self._writing.descriptor, size, 0))
            self._writing.discard()
        self._writing, self.is_lost = None, True
        self._data += piece

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of what came so far."""
        return self._sha.hexdigest()

    @property
    def is_in_memory(self) -> bool:
        """Tell whether it is small enough to be held in memory."""
        return self._writing is None and self._held is None

    def keep(self) -> Held:
        """Keep it as a content; raises StorageError."""
        if self._held is None:
            self._held = self._store.keep(self._data) if self._writing is None else self._writing.finish()
        return self._held

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """Look at its bytes; a large one is mapped and not read."""
        if self._writing is None or self.size_bytes == 0:
            with memoryview(self._data) as view:
                yield view
            return
        descriptor = self._descriptor()
        try:
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                yield view
        finally:
            os.close(descriptor)

    def _descriptor(self) -> int:
        if self._held is not None:
            return os.open(self._held.path, os.O_RDONLY | os.O_CLOEXEC)
        assert self._writing is not None  # noqa: S101  the caller has looked
        return os.dup(self._writing.descriptor)

    def reader(self) -> "bytes | BinaryIO":
        """Give what is passed on: the bytes, or the file from its start."""
        if self._writing is None:
            return bytes(self._data)
        file = os.fdopen(self._descriptor(), "rb")
        file.seek(0)
        return file


@dataclass(slots=True)
class Part:
    """One reference of a request: which field it came in, what was said of it, and its bytes, or where they are."""

    field: str
    said: dict[str, str]
    data: Bytes | None = None
    place: str | None = None


@dataclass(slots=True)
class Parsed:
    """What could be understood of a request; `problem` says why something could not."""

    fields: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    problem: str | None = None


def parse_request(content_type: str, body: memoryview) -> Parsed:
    """Understand a request; never raises for what a client sent. Parts are views of `body`.

    `problem` says where another reader may understand something else: what is not the one plain form of JSON or of a
    form, and any field that is not known.
    """
    media_type, _, parameters = content_type.partition(";")
    try:
        if media_type.strip().lower() == "multipart/form-data":
            parsed = _form(content_type, body)
        else:
            parsed = _json(body)
            if media_type.strip().lower() != "application/json" or not _UTF_8.fullmatch(parameters):
                parsed.problem = "the body is not said to be JSON in UTF-8"
    except (ValueError, RecursionError, LookupError) as error:
        return Parsed(problem=f"{type(error).__name__}: the body cannot be read")
    if not parsed.fields.keys() <= KNOWN_FIELDS or any(each.field == _OTHER for each in parsed.parts):
        parsed.problem = "a field that is not known"
    return parsed


def _json(body: memoryview) -> Parsed:
    data = bytes(body)
    if sum(data.count(sign) for sign in (b",", b"{", b"[")) > MEMBERS_MAX:  # base64 has none of these signs
        return Parsed(problem="more members than a request has")  # each would take a hundred bytes of memory
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice.append("a name stands twice")
        return found

    content = json.loads(data, object_pairs_hook=once)
    if not isinstance(content, dict):
        return Parsed(problem="the body is no object")
    parsed = Parsed(
        {name: value for name, value in content.items() if name not in ("images", "image", "mask")},
        problem=twice[0] if twice else None,  # who reads it elsewhere may take the other one
    )
    for name in ("images", "image", "mask"):
        found = content.get(name)
        for each in found if isinstance(found, list) else [] if found is None else [found]:
            if len(parsed.parts) < REFERENCES_MAX:
                parsed.parts.append(_reference("mask" if name == "mask" else "image", each))
            else:
                parsed.problem = f"more than {REFERENCES_MAX} references"
    return parsed


def _reference(name: str, found: Any) -> Part:
    """Take a reference as JSON has it: a data URL, an address, an id of a file."""
    if isinstance(found, dict):
        if len(found) != 1:
            return Part(name, {"problem": "more than one address"})  # who reads it elsewhere may take another
        found = found.get("image_url") or found.get("b64_json") or found.get("file_id")
    if isinstance(found, dict):
        found = found.get("url")
    if not isinstance(found, str):
        return Part(name, {"problem": "no text"})
    matched = _DATA_URL.match(found)
    if matched is None:
        return Part(name, {}, place=found[:8192])
    try:
        data = base64.b64decode(found[matched.end() :], validate=True)
    except binascii.Error:
        return Part(name, {"problem": "no base64"}, data=found.encode("utf-8", "surrogatepass"))
    return Part(name, {"said_type": found[5 : matched.end() - 8].lower()[:100]}, data=data)


def _form(content_type: str, body: memoryview) -> Parsed:
    """Take a form apart: what stands between two boundaries is a part, whatever it is."""
    matched = _BOUNDARY.search(content_type)
    if matched is None:
        return Parsed(problem="multipart without a boundary")
    parsed = Parsed()
    if content_type.lower().count("boundary") != 1:
        parsed.problem = "more than one boundary"
    for number, (head, data) in enumerate(
        _parts(body, b"--" + (matched[1] or matched[2]).encode("latin-1"), parsed)
    ):
        if number >= PARTS_MAX:
            parsed.problem = f"more than {PARTS_MAX} parts"
            break
        _take_part(parsed, head, data)
    if not parsed.fields and not parsed.parts:
        parsed.problem = "a form without a part"
    return parsed


def _take_part(parsed: Parsed, head: bytes, data: memoryview) -> None:
    """Take one part; a head of any other than the one plain form may be read otherwise elsewhere."""
    found = _HEAD.fullmatch(head)
    if found is None:
        parsed.problem = "a part with another head than a name, a file name and a type"
        parsed.parts.append(Part(_OTHER, {}, data))
        return
    name = found["name"].decode("utf-8", "backslashreplace").removesuffix("[]")
    if name in ("image", "mask") or found["file"] is not None:
        said = {"name": found["file"], "said_type": found["type"]}
        texts = {key: value.decode("utf-8", "backslashreplace")[:300] for key, value in said.items() if value}
        parsed.parts.append(Part(name if name in ("image", "mask") else _OTHER, texts, data))
        return
    if name in parsed.fields:
        parsed.problem = "a field stands twice"  # who reads it elsewhere may take the other one
    if len(data) > _FIELD_MAX:
        parsed.problem = "a field that is too long to be read"
    parsed.fields[name[:100]] = bytes(data[:_FIELD_MAX]).decode("utf-8", "backslashreplace")


def _parts(body: memoryview, boundary: bytes, parsed: Parsed) -> Iterator[tuple[bytes, memoryview]]:
    """Yield head and content of each part, without copying the content; say in `parsed` what is not the plain form.

    That begins with a boundary, has CRLF behind each and before each, and ends with the closing one.
    """
    whole = body.obj  # bytearray or mmap: both can search without a copy
    assert isinstance(whole, (bytes, bytearray, mmap.mmap))  # noqa: S101
    at = whole.find(boundary)
    if at != 0:
        parsed.problem = "something before the first boundary"
        at = whole.find(b"\r\n" + boundary)
        at = at + 2 if at >= 0 else -1
    while at >= 0:
        start = at + len(boundary)
        behind = bytes(body[start : start + 2])
        if behind == b"--":
            if bytes(body[start + 2 : start + 6]).strip(b"\r\n"):
                parsed.problem = "something behind the last boundary"
            return
        if behind != b"\r\n":
            parsed.problem = "a boundary with something behind it"
        start += 2
        end = whole.find(b"\r\n" + boundary, start - 2)
        if end < 0:
            break
        head_end = whole.find(b"\r\n\r\n", start, end + 4)
        if not start <= head_end <= end:
            parsed.problem = "a part without a head"
            yield b"", body[start : max(start, end)]
        else:
            head = bytes(body[start:head_end]) if head_end - start <= _HEAD_MAX else b""
            yield head, body[head_end + 4 : max(head_end + 4, end)]
        at = end + 2
    parsed.problem = "a form without its end"
