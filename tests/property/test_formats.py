"""Round trips, and the one property of all readers: what is read is written back as the same bytes."""

import hmac
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError, MemberError
from scelle.formats import (
    audits,
    checkpoints,
    entries,
    index,
    lines,
    notes,
    openings,
    promises,
    records,
    schema,
    tiles,
    tokens,
    trust,
    values,
    zips,
)
from scelle.formats.canonical_json import (
    canonical_json,
    canonical_json_int,
    es6_number,
    is_canonical_json,
    parse_json_strict,
    structure_bytes,
)
from scelle.formats.packages import Manifest, ManifestFile, item_name, parse_item_name, parse_manifest
from scelle.verify import scelle_verify

INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.integers(0, 2**63 - 1)
TIMES = st.integers(-(2**63) + 1, 2**63 - 1)
HASHES = st.binary(min_size=32, max_size=32)
SALTS = st.binary(min_size=16, max_size=16)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ORDERS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)
ALIASES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}(/[0-9]{1,3})?", fullmatch=True)
CODES = st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True).filter(lambda code: code != "-")
ORIGINS = st.builds(
    tokens.make_origin, st.from_regex(r"[a-z0-9.-]{1,12}(:[0-9]{1,5})?", fullmatch=True), ORDERS
)
NAMES = st.from_regex(r"[a-z0-9./-]{1,20}", fullmatch=True)


def _vkeys(type: int, names: st.SearchStrategy[str] = NAMES) -> st.SearchStrategy[notes.VerifierKey]:
    size = notes.PUBLIC_BYTES[type]
    return st.builds(
        lambda name, byte: notes.make_vkey(name, type, bytes([byte]) * size), names, st.integers(0, 255)
    )


SIGNATURES = st.none() | st.binary(min_size=68, max_size=68)
JSON_LEAVES = st.none() | st.booleans() | TEXTS | st.integers(-(2**53), 2**53)
JSON = st.recursive(
    JSON_LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXTS, inside, max_size=4),
    max_leaves=12,
)
JSON_INT = st.recursive(
    JSON_LEAVES | INT64,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXTS, inside, max_size=4),
    max_leaves=8,
)
TYPED_VALUES = st.one_of(
    st.just(("n", None)),
    st.tuples(st.just("b"), st.booleans()),
    st.tuples(st.sampled_from("it"), INT64),
    st.tuples(st.just("d"), st.floats()),
    st.tuples(
        st.just("D"), st.from_regex(r"-?[0-9]{1,5}(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
    ),
    st.tuples(st.just("s"), TEXTS),
    st.tuples(st.just("x"), st.binary(max_size=20)),
    st.tuples(st.just("j"), JSON.map(canonical_json)),
    st.tuples(st.just("h"), st.builds(values.Content, HASHES, NUMBERS)),
)
ENCODED = TYPED_VALUES.map(lambda pair: values.encode_value(*pair))

ENTRIES: st.SearchStrategy[entries.Entry] = st.one_of(
    st.builds(
        entries.Genesis,
        order=ORDERS,
        host=st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True),
        authority=st.none() | _vkeys(notes.COSIGNATURE_V1),
        tagkey_sha256=HASHES,
        hash=st.just("sha256"),
        prev_log=st.none() | st.tuples(ORIGINS, NUMBERS, HASHES),
    ),
    st.builds(
        entries.Segment,
        order=ORDERS,
        source=ALIASES,
        number=NUMBERS,
        records=NUMBERS,
        seq=st.tuples(NUMBERS, NUMBERS),
        time=st.none() | st.tuples(TIMES, TIMES),
        undated=NUMBERS,
        watermark=st.tuples(TIMES, TIMES),
        profile=st.sampled_from((0, 1)),
        schema=HASHES,
        record_root=HASHES,
        index_size=NUMBERS,
        index_root=HASHES,
        position=st.tuples(st.none() | HASHES, st.none() | HASHES),
        anchor=st.none() | HASHES,
        prev=st.none() | HASHES,
    ),
    st.builds(
        entries.Gap,
        ORDERS,
        ALIASES,
        st.tuples(TIMES, st.none() | TIMES),
        CODES,
        st.none() | NUMBERS,
        st.none() | NUMBERS,
    ),
    st.builds(
        entries.Count,
        ORDERS,
        ALIASES,
        st.tuples(TIMES, TIMES),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        CODES,
    ),
    st.builds(entries.End, ORDERS, ALIASES, st.none() | NUMBERS),
    st.builds(entries.Request, ORDERS, HASHES),
    st.builds(
        entries.Erase,
        order=ORDERS,
        segment=st.tuples(NUMBERS, HASHES),
        record=st.tuples(NUMBERS, HASHES),
        index=st.lists(NUMBERS, min_size=1, max_size=4).map(tuple),
        ground=CODES,
        time=TIMES,
        basis=st.sampled_from(("consent", "letter", "order", "release")),
        document=st.none() | HASHES,
        authority_sig=SIGNATURES,
    ),
    st.builds(
        entries.Release, ORDERS, st.sampled_from(("lifted", "expired", "court")), TIMES, HASHES, SIGNATURES
    ),
    st.builds(
        entries.Keys,
        ORDERS,
        st.sampled_from(("log", "authority")),
        st.none() | _vkeys(notes.ED25519),
        st.none() | _vkeys(notes.ED25519),
        NUMBERS,
        SIGNATURES,
    ),
)
HITS = st.builds(lines.Hit, SALTS, INT64, NUMBERS, HASHES, st.lists(HASHES, max_size=3).map(tuple))
NEIGHBOURS = st.one_of(
    st.builds(
        lines.FarNeighbour,
        st.sampled_from((1, 2, 16)).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
        HASHES,
    ),
    st.builds(lines.NearNeighbour, SALTS, HITS),
)
PROOF_LINES = st.builds(lines.WholeLine, NUMBERS) | st.builds(
    lines.RangeLine,
    at=NUMBERS,
    lo=NUMBERS,
    hits=st.lists(HITS | HASHES, max_size=3).map(tuple),
    left=st.none() | NEIGHBOURS,
    right=st.none() | NEIGHBOURS,
    proof=st.lists(HASHES, max_size=3).map(tuple),
    range=st.sampled_from(("dated", "undated")),
)
ITEMS = st.dictionaries(TEXTS, TEXTS, max_size=2)
RECORD_LINES = st.builds(
    lines.FieldsRecord,
    NUMBERS,
    NUMBERS,
    st.lists(HASHES | st.builds(lines.OpenField, SALTS, ENCODED), min_size=1, max_size=4).map(tuple),
    ITEMS,
) | st.builds(
    lines.WholeRecord, NUMBERS, NUMBERS, SALTS, st.lists(ENCODED, min_size=1, max_size=4).map(tuple), ITEMS
)
WITHHELD_LINES = st.builds(
    lines.WithheldLine, NUMBERS, NUMBERS, CODES, st.none() | TEXTS.filter(bool), st.none() | HASHES
)
NOTES = st.builds(
    notes.Note,
    st.from_regex(r"[ -~]{1,10}\n([ -~]{0,10}\n){0,3}", fullmatch=True).map(str.encode),
    st.lists(
        st.builds(notes.Signature, NAMES, st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
        unique_by=lambda signature: (signature.name, signature.key_id),
    ).map(tuple),
)
CHECKPOINTS = st.builds(checkpoints.Checkpoint, ORIGINS, NUMBERS, HASHES)
PROMISES = st.builds(
    lambda lo, count, **rest: promises.Promise(seq=(lo, lo + count), **rest),
    lo=st.integers(0, 2**62),
    count=st.integers(1, 2**20),
    origin=ORIGINS,
    genesis=HASHES,
    source=ALIASES,
    batch=SALTS,
    batch_root=HASHES,
    received=TIMES,
    deadline=TIMES,
)
VERDICTS = st.builds(
    audits.AuditVerdict,
    ORIGINS,
    st.dictionaries(NUMBERS, HASHES, min_size=1, max_size=4).map(lambda found: tuple(sorted(found.items()))),
)
PATHS = st.from_regex(r"[A-Za-z0-9_-]{1,8}(/[A-Za-z0-9_-]{1,8}){0,2}", fullmatch=True).filter(
    lambda path: path.lower() != "manifest"
)
MANIFESTS = st.builds(
    Manifest,
    ORIGINS,
    NUMBERS,
    st.lists(
        st.builds(ManifestFile, HASHES, NUMBERS, PATHS), max_size=4, unique_by=lambda file: file.path
    ).map(lambda files: tuple(sorted(files, key=lambda file: file.path))),
)
QUERIES = st.builds(
    lambda window, **rest: trust.Query(from_us=window[0], until_us=window[1], **rest),
    window=st.just((None, None))
    | st.tuples(TIMES, st.none())
    | st.tuples(st.none(), TIMES)
    | st.lists(TIMES, min_size=2, max_size=2, unique=True).map(sorted),
    order=ORDERS,
    dimension=TEXTS.filter(bool),
    value=TEXTS,
    strength=st.sampled_from("BC"),
    redact=st.dictionaries(TEXTS.filter(bool), CODES, max_size=3),
) | st.builds(trust.Query, ORDERS, st.just("source"), ALIASES, st.just("A"))


@st.composite
def _policies(draw: st.DrawFn) -> trust.Policy:
    origin = draw(ORIGINS)
    return trust.Policy(
        authority=tuple(draw(st.lists(_vkeys(notes.COSIGNATURE_V1), max_size=2, unique=True))),
        cosigners=tuple(draw(st.lists(_vkeys(notes.COSIGNATURE_V1), max_size=2, unique=True))),
        genesis=draw(HASHES),
        log=(draw(_vkeys(notes.ED25519, st.just(origin))), draw(_vkeys(notes.ML_DSA_44, st.just(origin)))),
        order=tokens.parse_origin(origin)[1],
        origin=origin,
        quorum=draw(st.integers(0, 1000)),
        verifier_sha256=draw(HASHES),
    )


TRUSTS = st.builds(trust.Trust, _policies(), HASHES, st.none() | st.builds(trust.Held, NUMBERS, HASHES))
OPENINGS = st.builds(
    openings.Opening,
    entry=st.binary(max_size=20),
    index=NUMBERS,
    of=NUMBERS,
    proof=st.lists(HASHES, max_size=3).map(tuple),
    record=RECORD_LINES,
    schema=st.binary(max_size=20),
)
TLOG_PROOFS = st.builds(
    openings.TlogProof,
    NUMBERS,
    st.lists(HASHES, max_size=3).map(tuple),
    st.binary(max_size=30),
    st.none() | st.binary(max_size=20),
)


@st.composite
def _schemas(draw: st.DrawFn) -> schema.Schema:
    names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
    dimensions = draw(
        st.lists(names.filter(lambda name: name not in ("source", "account")), max_size=3, unique=True)
    )
    types = ["t", "i", *draw(st.lists(st.sampled_from("sn"), min_size=len(dimensions) + 1, max_size=4))]
    types = types[: len(dimensions) + 3] + draw(st.lists(st.sampled_from(values.LETTERS), max_size=3))
    fields = draw(st.lists(names, min_size=len(types), max_size=len(types), unique=True))
    return schema.Schema(
        draw(names),
        draw(NUMBERS),
        ("source", "account", *dimensions),
        tuple(map(schema.Field, fields, types)),
    )


FORMATS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "entry": (ENTRIES, lambda entry: entry.encode(), entries.parse_entry),
    "proof line": (PROOF_LINES, lambda line: line.encode(), lines.parse_proof_line),
    "record line": (RECORD_LINES, lambda line: line.encode(), lines.parse_record_line),
    "withheld line": (WITHHELD_LINES, lambda line: line.encode(), lines.parse_withheld_line),
    "note": (NOTES, lambda note: note.encode(), notes.parse_note),
    "checkpoint": (CHECKPOINTS, lambda checkpoint: checkpoint.text(), checkpoints.parse_checkpoint_text),
    "promise": (PROMISES, lambda promise: promise.text(), promises.parse_promise),
    "audit": (VERDICTS, lambda verdict: verdict.text(), audits.parse_audit_verdict),
    "manifest": (MANIFESTS, lambda manifest: manifest.text(), parse_manifest),
    "query": (QUERIES, lambda query: query.encode(), trust.parse_query),
    "policy": (_policies(), lambda policy: policy.encode(), trust.parse_policy),
    "trust": (TRUSTS, lambda found: found.encode(), trust.parse_trust),
    "schema": (_schemas(), lambda found: found.encode(), schema.parse_schema),
    "opening": (OPENINGS, lambda opening: opening.encode(), openings.parse_opening),
    "tlog-proof": (TLOG_PROOFS, lambda proof: proof.encode(), openings.parse_tlog_proof),
    "vkey": (
        _vkeys(notes.ED25519),
        lambda key: key.text().encode(),
        lambda data: notes.parse_vkey(data.decode()),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_what_is_written_reads_back(name: str, data: st.DataObject) -> None:
    strategy, write, read = FORMATS[name]
    value = data.draw(strategy)
    assert read(write(value)) == value


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_what_is_read_was_written_so(name: str, data: st.DataObject) -> None:
    strategy, write, read = FORMATS[name]
    changed = data.draw(_changed(write(data.draw(strategy))))
    try:
        value = read(changed)
    except (FormatError, UnicodeDecodeError):
        return
    assert write(value) == changed


@st.composite
def _changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Replace, remove or repeat a few bytes of `data`, with an eye for what separates its parts."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 3)))
    part = draw(
        st.binary(max_size=2) | st.sampled_from((b"\n", b" ", b"0", b"-", b'"', b"A=", data[start:end] * 2))
    )
    return data[:start] + part + data[end:]


SINGLE_FILE: dict[str, Callable[[bytes], Any]] = {
    "entry": lambda data: scelle_verify.parse_entry(0, data),
    "note": scelle_verify.parse_note,
    "checkpoint": scelle_verify.parse_checkpoint,
    "promise": scelle_verify.parse_promise,
    "query": scelle_verify.parse_query,
    "policy": lambda data: scelle_verify.parse_trust(data, "policy"),
    "trust": lambda data: scelle_verify.parse_trust(data, "trust"),
    "schema": scelle_verify.parse_schema,
    "vkey": lambda data: scelle_verify.parse_vkey(data.decode(), "vkey"),
}


@pytest.mark.parametrize("name", SINGLE_FILE)
@given(data=st.data())
def test_what_the_library_reads_the_single_file_reads(name: str, data: st.DataObject) -> None:
    strategy, write, read = FORMATS[name]
    written = write(data.draw(strategy))
    SINGLE_FILE[name](written)
    changed = data.draw(_changed(written))
    try:
        read(changed)
    except (FormatError, UnicodeDecodeError):
        return
    SINGLE_FILE[name](changed)


@given(st.lists(TYPED_VALUES, max_size=5))
def test_values_read_back(typed: list[tuple[str, Any]]) -> None:
    joined = b"".join(values.encode_value(letter, value) for letter, value in typed)
    found = values.decode_values(joined)
    assert [letter for letter, _ in found] == [letter for letter, _ in typed]
    assert b"".join(values.encode_value(letter, value) for letter, value in found) == joined


@given(st.data())
def test_values_that_are_read_were_written_so(data: st.DataObject) -> None:
    changed = data.draw(st.binary(max_size=30) | _changed(data.draw(ENCODED)))
    try:
        found = values.decode_values(changed)
    except FormatError:
        return
    assert b"".join(values.encode_value(letter, value) for letter, value in found) == changed


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back(number: float) -> None:
    text = es6_number(number)
    assert float(text) == number
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    assert len(digits) <= 17
    assert json.loads(text, parse_int=float) == number


@given(JSON)
def test_canonical_json_says_the_same(value: Any) -> None:
    data = canonical_json(value)
    assert json.loads(data, parse_int=float) == value
    assert canonical_json(json.loads(data, parse_int=float)) == data
    assert is_canonical_json(data)


@given(JSON)
def test_canonical_json_has_one_order(value: Any) -> None:
    def keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        units = [
            struct.unpack(f">{len(raw) // 2}H", raw) for raw in (key.encode("utf-16-be") for key, _ in pairs)
        ]
        assert units == sorted(units)
        return dict(pairs)

    json.loads(canonical_json(value), object_pairs_hook=keys)


@given(JSON_INT)
def test_package_json_reads_back(value: Any) -> None:
    try:
        data = canonical_json_int(value)
    except FormatError:  # nested deeper than 8
        return
    assert parse_json_strict(data) == value


@given(JSON, st.sampled_from((None, 1)), st.booleans())
def test_structure_loses_nothing(value: Any, indent: int | None, ascii_only: bool) -> None:
    source = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    found = structure_bytes(source)
    if found is not None:
        assert json.loads(found) == json.loads(source)
        assert structure_bytes(found) == found


@given(st.binary(min_size=32, max_size=32), TEXTS, st.none() | TEXTS)
def test_tag_is_the_library_s_hmac(key: bytes, dimension: str, identifier: str | None) -> None:
    message = dimension.encode() + b"\0" + (identifier or "").encode()
    assert index.tag(key, dimension, identifier) == hmac.digest(key, message, "sha256")[:16]


@given(st.lists(st.tuples(INT64, INT64), max_size=8))
def test_sort_key_sorts_as_numbers_do(pairs: list[tuple[int, int]]) -> None:
    assert sorted(pairs, key=lambda pair: index.sort_key(*pair)) == sorted(pairs)


def _mth(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + _mth(leaves[:split]) + _mth(leaves[split:])).digest()


@given(SALTS, st.lists(ENCODED, min_size=1, max_size=40))
def test_commitment_is_the_page_written_out(salt: bytes, encoded: list[bytes]) -> None:
    leaves = [
        sha256(b"\0F" + sha256(b"S" + salt + number.to_bytes(2, "big")).digest()[:16] + value).digest()
        for number, value in enumerate(encoded)
    ]
    count = len(encoded).to_bytes(2, "big")
    assert records.record_commitment(1, salt, encoded) == sha256(b"\0R1" + count + _mth(leaves)).digest()
    assert (
        records.record_commitment(0, salt, encoded)
        == sha256(b"\0R0" + salt + count + b"".join(encoded)).digest()
    )


@given(SALTS, st.integers(0, 4 * records.CHUNK_BYTES), st.lists(st.integers(1, 2**21), max_size=4))
def test_chunk_root_does_not_depend_on_the_pieces(salt: bytes, size: int, pieces: list[int]) -> None:
    data, root, at = bytes(size), records.ChunkRoot(salt), 0
    for piece in pieces:
        root.update(data[at : at + piece])
        at += piece
    root.update(data[at:])
    leaves = [
        records.chunk_leaf(records.chunk_salt(salt, number), data[start : start + records.CHUNK_BYTES])
        for number, start in enumerate(range(0, max(size, 1), records.CHUNK_BYTES))
    ]
    assert root.digest() == records.chunk_root(salt, data) == _mth(leaves)


@given(TIMES, TIMES)
def test_bounds_hold_what_they_bound(one: int, other: int) -> None:
    low, high = min(one, other), max(one, other)
    lower, upper = entries.round_time_bounds(low, high)
    assert lower <= low <= high <= upper
    assert low - lower < entries.HOUR_US
    assert upper - high < entries.HOUR_US


@given(NUMBERS, st.integers(1, 256))
def test_bundle_paths_read_back(number: int, width: int) -> None:
    assert tiles.parse_entries_path(tiles.entries_path(number, width)) == (number, width)


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8), st.data())
def test_bundles_read_back(found: list[bytes], data: st.DataObject) -> None:
    bundle = tiles.encode_bundle(found)
    assert tiles.parse_bundle(bundle, len(found)) == found
    changed = data.draw(_changed(bundle))
    try:
        assert tiles.encode_bundle(tiles.parse_bundle(changed)) == changed
    except FormatError:
        return


@given(
    st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True),
    st.integers(1, 10**15),
    st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
)
def test_item_names_read_back(prefix: str, number: int, extension: str) -> None:
    assert parse_item_name(item_name(prefix, number, extension)) == (prefix, number, extension)


CONTENTS = st.dictionaries(PATHS, st.binary(max_size=50), max_size=5).filter(
    lambda contents: len({path.lower() for path in contents}) == len(contents)
)


def _archive(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    zips.write_canonical_zip(out, [zips.bytes_member(path, data) for path, data in contents.items()])
    return out.getvalue()


def _contents(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    return {member.path: zips.read_member(file, member, 1000) for member in zips.read_canonical_zip(file)}


@given(CONTENTS)
def test_archives_read_back_here_and_elsewhere(contents: dict[str, bytes]) -> None:
    contents = {"MANIFEST": b"m", **contents}
    data = _archive(contents)
    assert _contents(data) == contents
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.filename: archive.read(info) for info in archive.infolist()} == contents
        assert all(zlib.crc32(contents[info.filename]) == info.CRC for info in archive.infolist())


@given(CONTENTS, st.data())
def test_archives_that_are_read_were_written_so(contents: dict[str, bytes], data: st.DataObject) -> None:
    changed = data.draw(_changed(_archive({"MANIFEST": b"m", **contents})))
    try:
        found = _contents(changed)
    except (FormatError, MemberError):
        return
    assert _archive(found) == changed
