"""Write and read what is sealed of restricted material: closed values in rows, and what lies in the compartment.

A row of a restricted document holds in place of `content` and `chunks` their leaf hashes (closed values); their salts
and bytes lie, with the content itself, in one age ciphertext. `meta` names that ciphertext, so that the record commits
to it. docs/formats/compartment.md has the bytes.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json
from scelle.formats.records import SALT_BYTES, commitment_of_leaves, field_leaf, field_salt
from scelle.formats.tokens import DIGEST_BYTES
from scelle.formats.values import NULL, Content, content_value

CONTENT_FIELD: Final = 5
CHUNKS_FIELD: Final = 6
META_FIELD: Final = 8
"""Numbers of the fields of DOCUMENT_V1 that restricted documents have otherwise than open ones."""

MAGIC: Final = b"scelle/compartment/v1\n"
HEAD_MAX_BYTES: Final = 64 << 20
TAIL_BYTES: Final = 2 * SALT_BYTES + 2 * DIGEST_BYTES + 8

_CLOSED: Final = b"c\0\0\0\x20"
_LENGTH_BYTES: Final = 4


# --- in rows ---------------------------------------------------------------------------------------------


def closed_value(leaf: bytes) -> bytes:
    """Write what stands in a kept row in place of a value whose bytes the vault cannot read: its leaf hash.

    It is no value: letter `c` stands in no schema, and everything that decodes values refuses it.
    """
    return _CLOSED + leaf


def is_closed(value: bytes) -> bool:
    """Tell whether a kept value is closed."""
    return value[:5] == _CLOSED and len(value) == len(_CLOSED) + DIGEST_BYTES


def is_restricted_row(values: Sequence[bytes]) -> bool:
    """Tell whether the values of a DOCUMENT_V1 row are those of a restricted document: these two closed, no other."""
    if len(values) <= META_FIELD or not is_closed(values[CONTENT_FIELD]):
        return False
    return [j for j, value in enumerate(values) if is_closed(value)] == [CONTENT_FIELD, CHUNKS_FIELD]


def leaf_of_closed(value: bytes) -> bytes:
    """Return the leaf hash that a closed value is."""
    return value[len(_CLOSED) :]


def with_nulls(values: Sequence[bytes]) -> list[bytes]:
    """Return the values with null in place of the closed ones, for those who look at open values only."""
    return [NULL if is_closed(value) else value for value in values]


def kept_commitment(record_salt: bytes, values: Sequence[bytes]) -> bytes:
    """Compute the profile 1 `rc` of kept values, some of which may be closed."""
    leaves = [
        leaf_of_closed(value) if is_closed(value) else field_leaf(field_salt(record_salt, j), value)
        for j, value in enumerate(values)
    ]
    return commitment_of_leaves(leaves)


def restricted_meta(ciphertext: Content, *, is_kept: bool) -> bytes:
    """Return `meta` of a restricted document as canonical JSON: where its ciphertext is, by SHA-256 and size.

    `is_kept` is false where a clause keeps digests only: then the ciphertext holds no content.
    """
    named = {"sha256": ciphertext.digest.hex(), "size": str(ciphertext.size_bytes)}
    return canonical_json({"restricted": named, **({} if is_kept else {"keep": "digest"})})


def ciphertext_of(values: Sequence[bytes]) -> Content | None:
    """Return which ciphertext a DOCUMENT_V1 row names; None for a row that is not restricted.

    Raises FormatError where a row has closed values and names none.
    """
    if not is_restricted_row(values):
        return None
    meta = values[META_FIELD]
    try:
        named: dict[str, Any] = json.loads(meta[5:])["restricted"]
        found = Content(bytes.fromhex(named["sha256"]), int(named["size"]))
    except (ValueError, KeyError, TypeError):
        raise FormatError("a restricted record names no ciphertext in its field meta") from None
    if len(found.digest) != DIGEST_BYTES or found.size_bytes < 0:
        raise FormatError("a restricted record names no ciphertext in its field meta")
    return found


# --- in the compartment ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CompartmentHead:
    """What lies before the content: what the document was called, and everything else that its row does not say."""

    native: bytes
    media_type: str
    meta_json: bytes
    is_kept: bool = True

    def encode(self) -> bytes:
        """Return `MAGIC || be32 length || canonical JSON`."""
        document = canonical_json({
            "keep": "content" if self.is_kept else "digest",
            "media_type": self.media_type,
            "meta": b64encode(self.meta_json).decode(),
            "native": b64encode(self.native).decode(),
        })  # fmt: skip
        return MAGIC + len(document).to_bytes(_LENGTH_BYTES, "big") + document


@dataclass(frozen=True, slots=True)
class CompartmentTail:
    """What lies behind the content: the values that the record's closed leaves are of, with their salts."""

    content_salt: bytes
    chunks_salt: bytes
    digest: bytes
    chunks: bytes
    size_bytes: int

    def encode(self) -> bytes:
        """Return salt of `content`, salt of `chunks`, SHA-256, chunk root, be64 size: 104 bytes."""
        size = self.size_bytes.to_bytes(8, "big")
        return self.content_salt + self.chunks_salt + self.digest + self.chunks + size

    @classmethod
    def parse(cls, data: bytes) -> "CompartmentTail":
        """Read 104 bytes; raise FormatError for any other number of them."""
        if len(data) != TAIL_BYTES:
            raise FormatError(
                f"the end of a compartment's content has {len(data)} bytes, must be {TAIL_BYTES}"
            )
        salts, hashes = 2 * SALT_BYTES, 2 * SALT_BYTES + 2 * DIGEST_BYTES
        return cls(
            data[:SALT_BYTES],
            data[SALT_BYTES:salts],
            data[salts : salts + DIGEST_BYTES],
            data[salts + DIGEST_BYTES : hashes],
            int.from_bytes(data[hashes:], "big"),
        )

    def closed_values(self) -> tuple[bytes, bytes]:
        """Return the closed values of `content` and `chunks`, as the row keeps them."""
        content, chunks = (content_value(hashed, self.size_bytes) for hashed in (self.digest, self.chunks))
        return (
            closed_value(field_leaf(self.content_salt, content)),
            closed_value(field_leaf(self.chunks_salt, chunks)),
        )


class CompartmentReader:
    """Cut the plaintext of a compartment's content into head, content and tail as it streams by.

    `feed` returns the bytes of the content that are certain by now; the last 104 bytes are held back for `finish`.
    """

    def __init__(self) -> None:
        self.head: CompartmentHead | None = None
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; raise FormatError where they are no compartment's."""
        self._held += piece
        if self.head is None and not self._take_head():
            return b""
        certain, self._held = self._held[:-TAIL_BYTES], self._held[-TAIL_BYTES:]
        return certain

    def finish(self) -> CompartmentTail:
        """Return what stands behind the content; raise FormatError where it was cut."""
        if self.head is None:
            raise FormatError("the content of a compartment is cut: it has no head")
        return CompartmentTail.parse(self._held)

    def _take_head(self) -> bool:
        start = len(MAGIC) + _LENGTH_BYTES
        if len(self._held) < start:
            return False
        length = int.from_bytes(self._held[len(MAGIC) : start], "big")
        if not self._held.startswith(MAGIC) or length > HEAD_MAX_BYTES:
            raise FormatError("it is no content of a compartment of this version")
        if len(self._held) < start + length:
            return False
        self.head = _parse_head(self._held[start : start + length])
        self._held = self._held[start + length :]
        return True


def _parse_head(data: bytes) -> CompartmentHead:
    try:
        document: dict[str, Any] = json.loads(data)
        return CompartmentHead(
            b64decode(document["native"], validate=True),
            str(document["media_type"]),
            b64decode(document["meta"], validate=True),
            document["keep"] == "content",
        )
    except (ValueError, KeyError, TypeError):
        raise FormatError("the head of a compartment's content cannot be read") from None
