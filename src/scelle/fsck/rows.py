"""Judge the rows of one frame: decode strictly, commit again, and index again. The hot part of a verification.

Everything comes back in flat buffers, 32 bytes a record each, since a process hands them to another.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from scelle.errors import FormatError
from scelle.formats.canonical_json import parse_json_strict
from scelle.formats.compartments import ciphertext_of, is_restricted_row, kept_commitment, with_nulls
from scelle.formats.index import Tagger, index_leaves, inner, sort_key
from scelle.formats.records import FIELDS_MAX, record_commitment
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.values import NULL, UNDATED, Content, decode_value
from scelle.fsck import columns
from scelle.fsck.structures import is_canonical_structure

HASH_BYTES: Final = 32
WANT_BYTES: Final = 96
PLACES: Final = 1 << 32
"""Wants tell segments apart by multiples of this."""
NO_ROOT: Final = bytes(32)
_TAG_CACHE: Final = 10_000
_TIME_HEAD: Final = b"t\0\0\0\x08"
_SEQ_HEAD: Final = b"i\0\0\0\x08"
_CONTENT_HEAD: Final = b"h\0\0\0\x28"
_KEPT_MARK: Final = b'"keep":"digest"'
_META_DEPTH: Final = 128

Check: TypeAlias = Callable[[bytes], bool]


class RowFault(NamedTuple):
    """Say what is wrong with one row: its place in the frame, its sequence number if known, code, detail."""

    seq: int | None
    code: str
    detail: str
    name: str


@dataclass(frozen=True, slots=True)
class FrameRows:
    """What the rows of one frame give, in capture order. Buffers have 32 bytes a record.

    The records are `seqs`, or, where that is None, the `count` from `first_seq` on; all lie in that range. `leaves`
    and `keys` have one buffer a dimension; without a tag key `leaves` is empty and `inners` has what the leaf hashes
    are made of. `wants` has 96 bytes for each content that must be in a pack. `restricted` counts the records whose
    content lies in the compartment: their ciphertext is wanted, and what is in it nobody here can read.
    """

    number: int
    first_seq: int
    count: int
    commitments: bytes
    leaves: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    inners: bytes
    minimum_us: int | None
    maximum_us: int | None
    undated: int
    wants: bytes
    digest_only: int
    faults: tuple[RowFault, ...]
    seqs: tuple[int, ...] | None = None
    restricted: int = 0


class Want(NamedTuple):
    """Name one content that a record needs: digest, chunk root (32 zero bytes: none), salt, size, place."""

    digest: bytes
    root: bytes | None
    salt: bytes
    size: int
    place: int


WANT_ROOT, WANT_SALT, WANT_SIZE = slice(32, 64), slice(64, 80), slice(80, 88)
"""Where these stand in the 96 bytes of a want; millions are looked at without being read as a whole."""


def parse_want(data: bytes) -> Want:
    """Read the 96 bytes of a want."""
    root = data[WANT_ROOT]
    return Want(
        data[:32],
        None if root == NO_ROOT else root,
        data[WANT_SALT],
        int.from_bytes(data[WANT_SIZE], "big"),
        int.from_bytes(data[88:], "big"),
    )


class RowJudge:
    """Judge the rows of one segment, frame by frame.

    `place` is what wants of its record 0 carry as their place; that of record k is `place + k`.
    """

    def __init__(
        self,
        *,
        alias: str,
        schema: Schema | None,
        profile: int,
        tag_key: bytes | None,
        seq_lo: int,
        place: int,
    ) -> None:
        self._schema, self._profile = schema, profile
        self._seq_lo, self._place = seq_lo, place
        self._tagger = None if tag_key is None or schema is None else Tagger(tag_key)
        self._source_tag = b"" if self._tagger is None else self._tagger.tag("source", alias)
        self._dimensions = () if schema is None else schema.dimensions
        self._caches: list[dict[bytes, bytes]] = [{} for _ in self._dimensions]
        self._checks = () if schema is None else tuple(_check_of(field.type) for field in schema.fields)
        self._is_document = schema is not None and schema.digest == DOCUMENT_V1.digest
        self._content_fields = _content_fields(schema)
        self._name_field = _name_field(schema)

    def judge(
        self, number: int, plain: bytes, expected_seq: int, only: Collection[int] | None = None
    ) -> FrameRows:
        """Judge the rows of frame `number`; `expected_seq` counts where a row does not tell its own."""
        if only is None:
            quick = self._quickly(number, plain)
            if quick is not None:
                return quick
        return self.judge_by_rows(number, plain, expected_seq, only)

    def judge_by_rows(
        self, number: int, plain: bytes, expected_seq: int, only: Collection[int] | None = None
    ) -> FrameRows:
        """Judge row by row, naming every fault."""
        return _FrameJudgement(self, number, plain, expected_seq, only).run()

    def _quickly(self, number: int, plain: bytes) -> FrameRows | None:
        """Judge a frame in which nothing is odd; None for any other."""
        schema, tagger, split = self._schema, self._tagger, columns.split_rows(plain)
        if split is None or schema is None or tagger is None or self._profile != 1:
            return None
        keys, rows = split
        fields = columns.columns_of(rows, schema)
        first_seq = None if fields is None else columns.first_of_run(fields[1])
        if fields is None or first_seq is None:
            return None
        at = first_seq - self._seq_lo
        if not 0 <= at < PLACES - len(keys):
            return None
        place = self._place + at
        wants = columns.plain_wants(schema, keys, fields, place) if self._content_fields else b""
        if wants is None:
            return None
        return self._quick_rows(number, first_seq, keys, fields, wants, tagger)

    def _quick_rows(
        self,
        number: int,
        first_seq: int,
        keys: list[bytes],
        fields: Sequence[Sequence[bytes]],
        wants: bytes,
        tagger: Tagger,
    ) -> FrameRows:
        committed = columns.commitments(keys, fields)
        shared = columns.inners(keys, fields[0], fields[1], committed)
        tags = [[self._source_tag] * len(keys)]
        tags += [
            columns.tags_of(tagger, name, fields[field]) for field, name in enumerate(self._dimensions[1:], 2)
        ]
        times = [int.from_bytes(time[5:], "big", signed=True) for time in fields[0]]
        orders = columns.orders(times, first_seq)
        minimum_us, maximum_us, undated = columns.bounds(times)
        return FrameRows(
            number=number,
            first_seq=first_seq,
            count=len(keys),
            commitments=b"".join(committed),
            leaves=tuple(columns.index_leaves(d, own, shared) for d, own in enumerate(tags, 1)),
            keys=tuple(
                b"".join([tag + order for tag, order in zip(own, orders, strict=True)]) for own in tags
            ),
            inners=b"",
            minimum_us=minimum_us,
            maximum_us=maximum_us,
            undated=undated,
            wants=wants,
            digest_only=0,
            faults=(),
        )

    def name(self, values: Sequence[bytes]) -> str:
        """Give the native id of a record, or what else names it; empty where nothing does."""
        field = self._name_field
        if field is None or field >= len(values) or values[field][:1] != b"s":
            return ""
        return values[field][5:].decode("utf-8", "replace")

    def can_judge(self, values: Sequence[bytes]) -> bool:
        """Tell whether a record can be committed and indexed again: time, seq and every identifier are
        there."""
        return (
            max(2, len(self._dimensions) + 1) <= len(values) <= FIELDS_MAX
            and values[1][:5] == _SEQ_HEAD
            and values[0][:5] == _TIME_HEAD
        )

    def value_faults(self, values: Sequence[bytes]) -> list[str]:
        """List what is wrong with the values of one record, field by field."""
        schema = self._schema
        if schema is None:
            return [fault for value in values if (fault := _decode_fault(value))]
        if len(values) != len(schema.fields):
            return [f"it has {len(values)} values, schema {schema.name} has {len(schema.fields)} fields"]
        return [
            f"field {field.name}: {_decode_fault(value) or f'type {value[:1]!a}, must be {field.type}'}"
            for field, check, value in zip(schema.fields, self._checks, values, strict=True)
            if not check(value)
        ]

    def are_strict(self, values: Sequence[bytes]) -> bool:
        """Tell whether all values are canonical and of the types that the schema allows."""
        checks = self._checks
        if not checks or len(checks) != len(values):
            return not self.value_faults(values)
        return False not in [check(value) for check, value in zip(checks, values, strict=True)]

    def tags(self, values: Sequence[bytes]) -> list[bytes]:
        """Give the tag of each dimension; the tag key is there."""
        tags = [self._source_tag]
        for dimension in range(1, len(self._dimensions)):
            value = values[dimension + 1]
            cache = self._caches[dimension]
            found = cache.get(value)
            if found is None:
                if len(cache) >= _TAG_CACHE:
                    cache.clear()
                found = cache[value] = self._tag(self._dimensions[dimension], value[5:])
            tags.append(found)
        return tags

    def _tag(self, dimension: str, identifier: bytes) -> bytes:
        if self._tagger is None:
            raise AssertionError("tags are asked for only where the tag key is there")
        return self._tagger.tag(dimension, identifier.decode("utf-8", "replace"))

    @property
    def has_tags(self) -> bool:
        """Tell whether tags can be made: the tag key opens and the schema is known."""
        return self._tagger is not None

    @property
    def profile(self) -> int:
        """Give the profile of the commitments."""
        return self._profile

    @property
    def dimensions(self) -> int:
        """Count the dimensions; 0 where the schema is not known."""
        return len(self._dimensions)

    def wants(self, seq: int, record_key: bytes, values: Sequence[bytes]) -> tuple[bytes, int]:
        """Give the wants of a record, and how many contents it kept by digest only."""
        if not 0 <= seq - self._seq_lo < PLACES:
            return b"", 0  # no record that the manifest could seal: named as such
        if self._is_document:
            return self._document_wants(seq, record_key, values)
        found = b""
        for field in self._content_fields:
            if values[field][:5] == _CONTENT_HEAD:
                value = values[field]
                found += self._want(seq, record_key, value[5:37], NO_ROOT, value[37:])
        return found, 0

    def _document_wants(self, seq: int, record_key: bytes, values: Sequence[bytes]) -> tuple[bytes, int]:
        content, chunks = values[5], values[6]
        if content[:5] != _CONTENT_HEAD:
            return b"", 0
        if _KEPT_MARK in values[8] and _is_kept_by_digest(values[8][5:]):
            return b"", 1
        root = chunks[5:37] if chunks[:5] == _CONTENT_HEAD else NO_ROOT
        return self._want(seq, record_key, content[5:37], root, content[37:]), 0

    def want(self, seq: int, record_key: bytes, content: Content) -> bytes:
        """Give the want of a content of which no chunk root is known; none for a record that no manifest could seal."""
        if not 0 <= seq - self._seq_lo < PLACES:
            return b""
        return self._want(seq, record_key, content.digest, NO_ROOT, content.size_bytes.to_bytes(8, "big"))

    def _want(self, seq: int, record_key: bytes, digest: bytes, root: bytes, size: bytes) -> bytes:
        place = self._place + seq - self._seq_lo
        return b"".join((digest, root, record_key[:16], size, place.to_bytes(8, "big")))

    def is_restricted(self, values: Sequence[bytes]) -> bool:
        """Tell whether it is the row of a restricted document, with closed values where only those may be."""
        return self._is_document and self._profile == 1 and is_restricted_row(values)

    def disagreement(self, values: Sequence[bytes]) -> str | None:
        """Say where a document contradicts itself: its content and its chunks are of one size."""
        if self._is_document and values[5][:1] == values[6][:1] == b"h" and values[5][37:] != values[6][37:]:
            return "content and chunks are not of one size"
        if self._is_document and values[5][:1] != values[6][:1]:
            return "content and chunks are not both there"
        return None


class _FrameJudgement:
    """The buffers that one frame fills."""

    def __init__(
        self, judge: RowJudge, number: int, plain: bytes, expected_seq: int, only: Collection[int] | None
    ) -> None:
        self._judge, self._number, self._plain, self._only = judge, number, plain, only
        self._next_seq = expected_seq
        self._first_seq: int | None = None
        self._commitments = bytearray()
        self._inners = bytearray()
        self._leaves = [bytearray() for _ in range(judge.dimensions)]
        self._keys = [bytearray() for _ in range(judge.dimensions)]
        self._minimum_us: int | None = None
        self._maximum_us: int | None = None
        self._undated = self._digest_only = self._restricted = 0
        self._wants = bytearray()
        self._faults: list[RowFault] = []
        self._seqs: list[int] = []

    def run(self) -> FrameRows:
        plain, offset, end = self._plain, 0, len(self._plain)
        from_bytes = int.from_bytes
        while offset < end:
            values_at = offset + 36
            side_at = values_at + from_bytes(plain[offset + 32 : values_at], "big")
            if side_at + 2 > end:
                self._broken_off(offset)
                break
            stop = side_at + 2 + from_bytes(plain[side_at : side_at + 2], "big")
            values, at = [], values_at
            while at < side_at:
                after = at + 5 + from_bytes(plain[at + 1 : at + 5], "big")
                values.append(plain[at:after])
                at = after
            if stop > end or at != side_at:
                self._broken_off(offset)
                break
            self._row(plain[offset : offset + 32], values)
            offset = stop
        return self._result()

    def _broken_off(self, offset: int) -> None:
        detail = f"the row at byte {offset} of frame {self._number} is not made of whole values"
        self._fault(None, "segment.row", detail)

    def _row(self, record_key: bytes, values: list[bytes]) -> None:
        """Judge one row; which record it is, it says itself, so that a lost one does not shift those behind it."""
        expected = self._next_seq
        if not self._judge.can_judge(values):
            detail = "it has no time, sequence number and identifiers at its head"
            self._fault(expected, "record.value", detail, values)
            self._next_seq += 1
            return
        seq = int.from_bytes(values[1][5:], "big", signed=True)
        if self._first_seq is None:
            self._first_seq, self._next_seq = seq, seq + 1
        else:
            if seq < expected:
                self._fault(seq, "record.seq", f"its row stands behind that of record {expected - 1}", values)
            self._first_seq, self._next_seq = min(seq, self._first_seq), max(seq + 1, expected)
        if self._only is None or seq in self._only:
            self._judge_row(seq, record_key, values)

    def _judge_row(self, seq: int, record_key: bytes, values: list[bytes]) -> None:
        judge = self._judge
        if judge.is_restricted(values):
            commitment = kept_commitment(record_key[:16], values)
            self._want_ciphertext(seq, record_key, values)
            values = with_nulls(values)
        else:
            commitment = record_commitment(judge.profile, record_key[:16], values)
        is_strict = judge.are_strict(values)
        if not is_strict:
            for fault in judge.value_faults(values):
                self._fault(seq, "record.value", fault, values)
        self._commitments += commitment
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        self._index(seq, time_us, record_key[16:], commitment, values)
        if time_us == UNDATED:
            self._undated += 1
        else:
            if self._minimum_us is None or time_us < self._minimum_us:
                self._minimum_us = time_us
            if self._maximum_us is None or time_us > self._maximum_us:
                self._maximum_us = time_us
        if is_strict:
            self._content(seq, record_key, values)
        self._seqs.append(seq)

    def _index(
        self, seq: int, time_us: int, index_salt: bytes, commitment: bytes, values: list[bytes]
    ) -> None:
        judge = self._judge
        if not judge.has_tags:
            self._inners += inner(index_salt, time_us, seq, commitment)
            return
        order = sort_key(time_us, seq)
        tags = judge.tags(values)
        hashes = index_leaves(tags, index_salt, time_us, seq, commitment)
        for leaves, keys, tag, leaf in zip(self._leaves, self._keys, tags, hashes, strict=True):
            leaves.extend(leaf)
            keys.extend(tag)
            keys.extend(order)

    def _want_ciphertext(self, seq: int, record_key: bytes, values: Sequence[bytes]) -> None:
        """Want the ciphertext of a restricted document: all that can be checked of it here."""
        self._restricted += 1
        try:
            named = ciphertext_of(values)
        except FormatError as error:
            self._fault(seq, "record.value", str(error), values)
            return
        if named is not None:
            self._wants += self._judge.want(seq, record_key, named)

    def _content(self, seq: int, record_key: bytes, values: list[bytes]) -> None:
        wants, digest_only = self._judge.wants(seq, record_key, values)
        self._wants += wants
        self._digest_only += digest_only
        disagreement = self._judge.disagreement(values)
        if disagreement is not None:
            self._fault(seq, "record.value", disagreement, values)

    def _fault(self, seq: int | None, code: str, detail: str, values: Sequence[bytes] = ()) -> None:
        self._faults.append(RowFault(seq, code, detail, self._judge.name(values)))

    def _result(self) -> FrameRows:
        first_seq = self._next_seq if self._first_seq is None else self._first_seq
        return FrameRows(
            number=self._number,
            first_seq=first_seq,
            count=self._next_seq - first_seq,
            commitments=bytes(self._commitments),
            leaves=tuple(map(bytes, self._leaves)) if self._judge.has_tags else (),
            keys=tuple(map(bytes, self._keys)) if self._judge.has_tags else (),
            inners=bytes(self._inners),
            minimum_us=self._minimum_us,
            maximum_us=self._maximum_us,
            undated=self._undated,
            wants=bytes(self._wants),
            digest_only=self._digest_only,
            faults=tuple(self._faults),
            seqs=tuple(self._seqs),
            restricted=self._restricted,
        )


def _is_kept_by_digest(meta: bytes) -> bool:
    try:
        document = parse_json_strict(meta, _META_DEPTH)
    except FormatError:  # doubles, for instance: nothing that capture writes beside this mark
        return False
    return isinstance(document, dict) and document.get("keep") == "digest"


def _decode_fault(value: bytes) -> str | None:
    try:
        _, _, end = decode_value(value)
    except FormatError as error:
        return str(error)
    return None if end == len(value) else "it is longer than its length says"


def _check_of(letter: str) -> Check:
    """Give the quickest strict check of a field of type `letter`, which may also be null (the first two may
    not)."""
    special = {"t": _is_eight, "i": _is_eight, "s": _is_text, "h": _is_content, "j": _is_structure}
    head = letter.encode("ascii")
    check = special.get(letter)
    if check is None:
        return lambda value: value == NULL or (value[:1] == head and _decode_fault(value) is None)
    return lambda value: check(value) if value[:1] == head else value == NULL


def _is_eight(value: bytes) -> bool:
    return len(value) == 13


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value[5:].decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_content(value: bytes) -> bool:
    return len(value) == 45 and value[37] < 0x80


def _is_structure(value: bytes) -> bool:
    return is_canonical_structure(value[5:])


def _content_fields(schema: Schema | None) -> tuple[int, ...]:
    if schema is None:
        return ()
    return tuple(number for number, field in enumerate(schema.fields) if field.type == "h")


def _name_field(schema: Schema | None) -> int | None:
    """Give the field that names a record best: its native id, else the identifier of its last dimension."""
    if schema is None:
        return None
    native = schema.dimension_number("native")
    return native if native is not None else len(schema.dimensions)
