"""Make records of configurations and policies: each file is a document that the record commits."""

import os
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from scelle.formats.canonical_json import structure_bytes
from scelle.formats.values import NULL, structure_value
from scelle.sources.documents import file_document
from scelle.sources.generation.entries import identifier
from scelle.sources.generation.reading import bundle_kind
from scelle.sources.generation.schemas import BUNDLE, BUNDLE_CONTENT
from scelle.sources.interfaces import Content, Document, Kind, Offered, Record, native_text
from scelle.sources.json_values import encode_text, json_object
from scelle.sources.tree import Tree, stamp_of
from scelle.sources.unfit import Unfit

_PARSED_MAX_BYTES: Final = 16 << 20
_VERSIONS: Final = ("safeguard_version", "policy_version")
_INSIDE: Final = ("safeguard", "policy")


def bundle_record(tree: Tree, path: bytes, holder: str | None) -> Record:
    """Read one bundle; raises an ItemError."""
    document = _read(tree, path)
    digest, canonical = digests(document)
    kind, native = bundle_kind(path), native_text(path)
    texts = (native, kind, digest, canonical, _version(document.data, path, kind), document.media_type)
    values = [NULL if holder is None else encode_text(holder)]
    values += [NULL if text is None else encode_text(text) for text in texts]
    values += [NULL, encode_text(document.time_basis), structure_value(document.meta_json)]
    version = digest.encode() + document.meta_json
    contents = (Content(BUNDLE_CONTENT, document),)
    return Record(BUNDLE, path, document.time_us, holder, values, version, document.size_bytes, contents)


def bundle_digests(tree: Tree, path: bytes) -> Iterator[str]:
    """Yield the digests by which events may name a file; raises an ItemError."""
    digest, canonical = digests(_read(tree, path))
    yield digest
    if canonical is not None:
        yield canonical


def digests(document: Document) -> tuple[str, str | None]:
    """Give SHA-256 in hex of a document's bytes and, where it is JSON of up to 16 MiB, of its RFC 8785 form."""
    if document.data is None:
        sha = sha256()
        for piece in document.stream() if document.stream else ():
            sha.update(piece)
        return sha.hexdigest(), None
    data = document.data
    canonical = structure_bytes(data) if len(data) <= _PARSED_MAX_BYTES else None
    return sha256(data).hexdigest(), None if canonical is None else sha256(canonical).hexdigest()


def _read(tree: Tree, path: bytes) -> Document:
    descriptor, status = tree.open_file(path)
    os.close(descriptor)
    return file_document(
        tree,
        Offered(
            path,
            path,
            Kind.DOCUMENT,
            stamp_of(status),
            status.st_size,
            status.st_mtime_ns // 1000,
            "mtime",
            "",
            status.st_mtime_ns,
        ),
    )


def _version(data: bytes | None, path: bytes, kind: str) -> str | None:
    """Find the version of the safeguards that a bundle says it defines; a policy's `version` is one."""
    content = {} if data is None or len(data) > _PARSED_MAX_BYTES else _table(data, path)
    names = (*_VERSIONS, "version") if kind == "policy" else _VERSIONS
    for name in names:
        if (text := _text(content.get(name))) is not None:
            return text
    for name in _INSIDE:
        inner = content.get(name)
        text = _text(inner.get("version")) if isinstance(inner, dict) else _text(inner)
        if text is not None:
            return text
    return None


def _table(data: bytes, path: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
        return tomllib.loads(text) if path.lower().endswith(b".toml") else json_object(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, Unfit):
        return {}


def _text(value: Any) -> str | None:
    return str(value) if type(value) is int else identifier(value)
