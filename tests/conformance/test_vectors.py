"""Known answers of ledger-v1.json and the packages beside it, on the library's formats and merkle rooms.

What a package says is judged by the verifier; here each part must read and be written back as the same bytes.
"""

import io
import json
from pathlib import Path
from typing import Any, Final

import pytest

from scelle.errors import FormatError, MemberError, ProofError, ScelleError
from scelle.formats import index, packages, records, values, zips
from scelle.formats.checkpoints import parse_checkpoint_text, parse_timed_payload
from scelle.formats.entries import Entry, Genesis, Segment, entry_faults, parse_entry
from scelle.formats.notes import ED25519, ML_DSA_44, parse_note, parse_vkey
from scelle.formats.schema import parse_schema
from scelle.formats.tiles import bundles_for, entries_path, parse_bundle, parse_entries_path
from scelle.formats.tokens import parse_base64, parse_decimal, parse_hex
from scelle.merkle.hashing import leaf_hash, tree_root
from scelle.merkle.proofs import (
    Tree,
    consistency_proof,
    inclusion_path,
    range_proof,
    range_root,
    root_from_inclusion,
    verify_consistency,
)

VECTORS: Final = Path(__file__).parents[1] / "vectors"
KNOWN: Final[dict[str, Any]] = json.loads((VECTORS / "ledger-v1.json").read_text())
HONEST: Final = sorted((VECTORS / "packages" / "honest").glob("*.scelle"))
FORGED: Final = sorted((VECTORS / "packages" / "forged").glob("*.scelle"))
unhex: Final = bytes.fromhex


def _leaves(count: int) -> bytes:
    return b"".join(leaf_hash(b"leaf %d/%d" % (number, count)) for number in range(count))


def _encoded(letter: str, value: Any) -> bytes:
    match letter:
        case "h":
            value = values.Content(unhex(value[0]), value[1])
        case "x":
            value = unhex(value)
        case "j":
            value = value.encode()
        case "d":
            value = float(value)
    return values.encode_value(letter, value)


def test_all_vectors_are_there() -> None:
    assert (len(HONEST), len(FORGED)) == (8, 42)
    assert set(KNOWN) == {
        "format", "hash", "tree", "values", "records", "chunks", "index", "range_proofs", "inclusion",
        "consistency", "checkpoint", "sorting", "segment", "must_fail",
    }  # fmt: skip


@pytest.mark.parametrize("case", KNOWN["tree"], ids=lambda case: str(case["n"]))
def test_tree(case: dict[str, Any]) -> None:
    assert tree_root(_leaves(case["n"])).hex() == case["root"]


@pytest.mark.parametrize("case", KNOWN["values"], ids=lambda case: case["bytes"][:24])
def test_value(case: dict[str, Any]) -> None:
    encoded = _encoded(case["type"], case["value"])
    assert encoded.hex() == case["bytes"]
    letter, value, end = values.decode_value(encoded)
    assert (letter, end) == (case["type"], len(encoded))
    assert values.encode_value(letter, value) == encoded


@pytest.mark.parametrize("case", KNOWN["records"], ids=lambda case: case["rk"][:8])
def test_record(case: dict[str, Any]) -> None:
    salt = records.record_salt(unhex(case["rk"]))
    encoded = [_encoded(letter, value) for letter, value in case["fields"]]
    assert records.record_commitment(0, salt, encoded).hex() == case["rc_profile0"]
    assert records.record_commitment(1, salt, encoded).hex() == case["rc_profile1"]
    salts = [records.field_salt(salt, number) for number in range(len(encoded))]
    assert [found.hex() for found in salts] == case["field_salts"]
    leaves = [records.field_leaf(*pair) for pair in zip(salts, encoded, strict=True)]
    assert [leaf.hex() for leaf in leaves] == case["field_leaves"]


@pytest.mark.parametrize("case", KNOWN["chunks"], ids=lambda case: str(case["plaintext"]["size"]))
def test_chunks(case: dict[str, Any]) -> None:
    salt = records.record_salt(unhex(case["rk"]))
    data = bytes([case["plaintext"]["byte"]]) * case["plaintext"]["size"]
    streamed = records.ChunkRoot(salt)
    for at in range(0, len(data), 300_007):
        streamed.update(data[at : at + 300_007])
    assert records.chunk_root(salt, data).hex() == case["root"] == streamed.digest().hex()


@pytest.mark.parametrize("case", KNOWN["index"], ids=lambda case: case["dimension"] + case["identifier"])
def test_index(case: dict[str, Any]) -> None:
    salt, rc = records.index_salt(unhex(case["rk"])), unhex(case["rc"])
    tag = index.tag(unhex(case["tagkey"]), case["dimension"], case["identifier"])
    inner = index.inner(salt, case["time"], case["seq"], rc)
    u3 = index.u3(tag, inner)
    u2 = index.u2(tag, u3)
    leaf = index.index_leaf(case["ordinal"], tag, salt, case["time"], case["seq"], rc)
    found = [part.hex() for part in (tag, inner, u3, u2, leaf)]
    assert found == [case[key] for key in ("tag", "inner", "u3", "u2", "leaf_hash")]
    assert index.entry_leaf(case["ordinal"], tag[:1], u2) == leaf


@pytest.mark.parametrize(
    "case", KNOWN["range_proofs"], ids=lambda case: f"{case['n']}-{case['lo']}-{case['hi']}"
)
def test_range_proof(case: dict[str, Any]) -> None:
    flat = _leaves(case["n"])
    proof = range_proof(flat, case["lo"], case["hi"])
    assert [digest.hex() for digest in proof] == case["proof"]
    assert Tree(flat).range_proof(case["lo"], case["hi"]) == proof
    assert (
        range_root(case["n"], case["lo"], flat[32 * case["lo"] : 32 * case["hi"]], proof).hex()
        == case["root"]
    )


@pytest.mark.parametrize("case", KNOWN["inclusion"], ids=lambda case: f"{case['n']}-{case['index']}")
def test_inclusion(case: dict[str, Any]) -> None:
    flat = _leaves(case["n"])
    path = inclusion_path(flat, case["index"])
    assert [digest.hex() for digest in path] == case["proof"]
    leaf = flat[32 * case["index"] : 32 * case["index"] + 32]
    assert root_from_inclusion(case["n"], case["index"], leaf, path).hex() == case["root"]


@pytest.mark.parametrize("case", KNOWN["consistency"], ids=lambda case: f"{case['m']}-{case['n']}")
def test_consistency(case: dict[str, Any]) -> None:
    proof = consistency_proof(_leaves(case["n"]), case["m"])
    assert [digest.hex() for digest in proof] == case["proof"]
    verify_consistency(case["m"], case["n"], unhex(case["root_m"]), unhex(case["root_n"]), proof)


def test_checkpoint() -> None:
    case = KNOWN["checkpoint"]
    note = parse_note(case["note"].encode())
    assert note.encode() == case["note"].encode()
    checkpoint = parse_checkpoint_text(note.text)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root.hex()) == (
        case["origin"],
        case["size"],
        case["root"],
    )
    assert checkpoint.text() == note.text
    keys = [parse_vkey(text) for text in case["vkeys"]]
    assert [key.text() for key in keys] == case["vkeys"]
    assert [key.type for key in keys] == [ED25519, ML_DSA_44]
    (ed25519,), (ml_dsa,) = (note.signatures_of(key) for key in keys)
    assert len(ed25519.payload) == 64
    assert parse_timed_payload(ml_dsa.payload, 2420)[0] > 0


def test_sorting() -> None:
    pairs = [tuple(pair) for pair in KNOWN["sorting"]["time_seq"]]
    backwards = pairs[::-1]
    assert sorted(backwards, key=lambda pair: index.sort_key(*pair)) == pairs


def test_segment() -> None:
    case = KNOWN["segment"]
    schema = parse_schema(case["schema"].encode())
    assert schema.encode() == case["schema"].encode()
    assert schema.digest.hex() == case["schema_sha256"]
    rcs, index_entries = [], []
    for record in case["records"]:
        encoded = [_encoded(letter, value) for letter, value in record["fields"]]
        schema.check_values(encoded)
        key, time, seq, account = unhex(record["rk"]), *[value for _, value in record["fields"][:3]]
        rc = records.record_commitment(1, records.record_salt(key), encoded)
        assert rc.hex() == record["rc"]
        rcs.append(rc)
        tags = [
            index.tag(unhex(case["tagkey"]), *pair) for pair in (("source", "s0001"), ("account", account))
        ]
        leaves = index.index_leaves(tags, records.index_salt(key), time, seq, rc)
        for number, (tag, leaf) in enumerate(zip(tags, leaves, strict=True), 1):
            index_entries.append(((number, tag + index.sort_key(time, seq)), (number, time, seq), leaf))
    index_entries.sort()
    assert [list(place) for _, place, _ in index_entries] == case["index_order"]
    assert tree_root(b"".join(rcs)).hex() == case["record_root"]
    assert tree_root(b"".join(leaf for *_, leaf in index_entries)).hex() == case["index_root"]
    _check_entries(case)


def _check_entries(case: dict[str, Any]) -> None:
    found: list[Entry] = []
    for name in ("genesis", "manifest", "zero_record_manifest"):
        entry = parse_entry(case[name].encode())
        assert entry.encode() == case[name].encode()
        assert entry_faults(entry) == ()
        found.append(entry)
    genesis, manifest, nothing = found
    assert isinstance(genesis, Genesis)
    assert isinstance(manifest, Segment)
    assert isinstance(nothing, Segment)
    leaves = [leaf_hash(entry.encode()) for entry in found]
    assert [leaf.hex() for leaf in leaves] == case["leaf_hashes"]
    assert tree_root(b"".join(leaves)).hex() == case["log_root"]
    assert nothing.prev == leaves[1]
    assert manifest.index_root.hex() == case["index_root"]
    assert manifest.schema.hex() == case["schema_sha256"]


MUST_FAIL: Final = {
    "tag of 15 or 17 bytes": (
        lambda: index.index_leaf(1, bytes(15), bytes(16), 0, 0, bytes(32)),
        lambda: index.index_leaf(1, bytes(17), bytes(16), 0, 0, bytes(32)),
        lambda: packages.FarNeighbour(bytes(15), bytes(32)),
        lambda: packages.FarNeighbour(bytes(17), bytes(32)),
        lambda: packages.NearNeighbour(bytes(15), packages.Hit(bytes(16), 0, 0, bytes(32))),
    ),
    "index salt of 24 bytes": (
        lambda: index.inner(bytes(24), 0, 0, bytes(32)),
        lambda: packages.Hit(bytes(24), 0, 0, bytes(32)),
    ),
    "field salt of 21 bytes": (
        lambda: records.field_leaf(bytes(21), values.NULL),
        lambda: packages.OpenField(bytes(21), values.NULL),
    ),
    "proof hash of 31 bytes": (
        lambda: range_root(2, 0, bytes(32), [bytes(31)]),
        lambda: root_from_inclusion(2, 0, bytes(32), [bytes(31)]),
        lambda: verify_consistency(1, 2, bytes(32), bytes(32), [bytes(31)]),
        lambda: packages.RangeLine(0, 0, (), None, None, (bytes(31),)),
    ),
    "hex with a capital or a blank": (
        lambda: parse_hex("AA"),
        lambda: parse_hex("a a"),
        lambda: parse_hex("aa "),
    ),
    "base64 with a non-zero tail": (lambda: parse_base64("YR=="), lambda: parse_base64("YWF=")),
    "numbers 007, +1, -0, 1_0 and Arabic digits": tuple(
        (lambda text=text: parse_decimal(text)) for text in ("007", "+1", "-0", "1_0", "١")
    ),
    "n with a payload, b = 02, NaN with another payload": tuple(
        (lambda data=data: values.decode_value(unhex(data)))
        for data in ("6e0000000100", "620000000102", "64000000087ff8000000000001")
    ),
}
JUDGED_ELSEWHERE: Final = {
    "index-size other than N x D",
    "a range over the edge of its block",
    "a hit whose rc is not in R at its sequence number",
    "an opaque hit without its own tombstone",
    "a checkpoint with one signature line",
}


def test_everything_that_must_fail_is_tried_here_or_in_the_verifier() -> None:
    assert set(MUST_FAIL) | JUDGED_ELSEWHERE == set(KNOWN["must_fail"])


@pytest.mark.parametrize("what", MUST_FAIL)
def test_what_must_fail_fails(what: str) -> None:
    for attempt in MUST_FAIL[what]:
        with pytest.raises((FormatError, ProofError)):
            attempt()


def _members(path: Path) -> dict[str, bytes]:
    with path.open("rb") as file:
        return {
            member.path: zips.read_member(file, member, 10**8) for member in zips.read_canonical_zip(file)
        }


def _check_package(path: Path) -> None:
    """Read every part of a package and write it again; raises at the first part that is not as it must be."""
    members = _members(path)
    out = io.BytesIO()
    zips.write_canonical_zip(out, [zips.bytes_member(*pair) for pair in members.items()])
    assert out.getvalue() == path.read_bytes()
    assert packages.unknown_members(members) == []
    _check_notes(members)
    for parse, data in (
        (packages.parse_policy, members["policy.json"]),
        (packages.parse_query, members["query.json"]),
        (packages.parse_query, path.with_suffix(".query.json").read_bytes()),
        (packages.parse_trust, path.with_suffix(".trust.json").read_bytes()),
    ):
        assert parse(data).encode() == data
    for name, parse_line in (
        ("proofs.jsonl", packages.parse_proof_line),
        ("records.jsonl", packages.parse_record_line),
        ("withheld.jsonl", packages.parse_withheld_line),
    ):
        lines = list(packages.read_lines(io.BytesIO(members[name])))
        assert b"".join(parse_line(line).encode() for line in lines) == members[name]
    for name, data in members.items():
        if name.startswith("schemas/"):
            schema = parse_schema(data)
            assert schema.encode() == data
            assert packages.schema_member(schema.digest) == name


def _check_notes(members: dict[str, bytes]) -> None:
    manifest_note, checkpoint_note = parse_note(members["MANIFEST"]), parse_note(members["checkpoint"])
    assert manifest_note.encode() == members["MANIFEST"]
    assert checkpoint_note.encode() == members["checkpoint"]
    manifest = packages.parse_manifest(manifest_note.text)
    assert manifest.text() == manifest_note.text
    assert [file.path for file in manifest.files] == sorted(set(members) - {"MANIFEST"})
    checkpoint = parse_checkpoint_text(checkpoint_note.text)
    assert checkpoint.text() == checkpoint_note.text
    bundles = [
        (packages.entries_member(entries_path(*bundle)), bundle) for bundle in bundles_for(checkpoint.size)
    ]
    assert [name for name in members if name.startswith("entries/")] == [name for name, _ in bundles]
    leaves = []
    for name, bundle in bundles:
        assert parse_entries_path(name.removeprefix("entries/")) == bundle
        for entry in parse_bundle(members[name], bundle[1]):
            assert parse_entry(entry).encode() == entry
            leaves.append(leaf_hash(entry))
    assert tree_root(b"".join(leaves)) == checkpoint.root


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_honest_package_is_written_back(path: Path) -> None:
    _check_package(path)
    for entry in _entries(path):
        assert entry_faults(entry) == ()


def _entries(path: Path) -> list[Entry]:
    members = _members(path)
    return [
        parse_entry(entry)
        for name in sorted(members)
        if name.startswith("entries/")
        for entry in parse_bundle(members[name])
    ]


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_honest_package_proves_its_ranges(path: Path) -> None:
    """Recompute index-root from every line and record-root from every hit, from the package alone."""
    members, manifests = _members(path), _entries(path)
    own_trust = packages.parse_trust(path.with_suffix(".trust.json").read_bytes())
    query = packages.parse_query(members["query.json"])
    for raw in packages.read_lines(io.BytesIO(members["proofs.jsonl"])):
        line = packages.parse_proof_line(raw)
        assert isinstance(line, packages.RangeLine)
        manifest = manifests[line.at]
        assert isinstance(manifest, Segment)
        schema = parse_schema(members[packages.schema_member(manifest.schema)])
        dimension = schema.dimension_number(query.dimension)
        assert dimension is not None
        value = manifest.source if query.dimension == "source" else query.value
        tag = index.tag(own_trust.tagkey, query.dimension, value)
        shown = [line.left, *line.hits, line.right]
        leaves = [_shown_leaf(dimension, tag, part, manifest) for part in shown if part is not None]
        lo = line.lo
        assert range_root(manifest.index_size, lo, b"".join(leaves), line.proof) == manifest.index_root


def _shown_leaf(dimension: int, tag: bytes, part: Any, manifest: Segment) -> bytes:
    match part:
        case bytes():
            return part
        case packages.Hit() as hit:
            assert (
                root_from_inclusion(manifest.records, hit.seq - manifest.seq[0], hit.rc, hit.path)
                == manifest.record_root
            )
            return index.index_leaf(dimension, tag, hit.salt, hit.time, hit.seq, hit.rc)
        case packages.NearNeighbour(hit=hit):
            assert part.tag == tag
            return _shown_leaf(dimension, tag, hit, manifest)
        case packages.FarNeighbour():
            below = part.below
            if len(part.tag) == 16:
                below = index.u3(part.tag, below)
            if len(part.tag) > 1:
                below = index.u2(part.tag[:2].ljust(16, b"\0"), below)
            return index.entry_leaf(dimension, part.tag[:1], below)
    raise AssertionError(part)


# The forgeries whose fault lies in a format, and what its reader says; the others read well.
REFUSED_BY_FORMATS: Final = {
    "base64-tail": "base64 not canonical",
    "field-salt-21": "width",
    "hex-capital": "hex not lower case",
    "json-duplicate": "duplicate key",
    "json-e": "number not canonical",
    "manifest-unsigned": "not signed",
    "null-payload": "value not canonical",
    "proof-31": "width",
    "salt-24": "width",
    "tag-15": "tag prefix .* must be 1, 2 or 16 bytes",
    "zip-hidden-name": "local header of query.json not canonical",
    "zip-junk-prefix": "bytes not canonical",
    "zip-twin-case": "names not unique after lower-casing",
}
FAULTY_ENTRIES: Final = {
    "first-seq": "does not start at 0",
    "index-size": "index-size is not N x D",
    "release-unsigned": "basis is a paper, and yet no document",
    "tombstone-no-consent": "basis is a paper, and yet no document",
}


@pytest.mark.parametrize("path", FORGED, ids=lambda path: path.stem)
def test_forged_package_is_refused_where_a_format_is_broken(path: Path) -> None:
    reason = REFUSED_BY_FORMATS.get(path.stem)
    if reason is None:
        _check_package(path)
    else:
        with pytest.raises((FormatError, MemberError), match=reason):
            _check_package(path)


@pytest.mark.parametrize("path", FORGED, ids=lambda path: path.stem)
def test_forged_entry_that_cannot_be_true_is_named(path: Path) -> None:
    try:
        faults = [fault for entry in _entries(path) for fault in entry_faults(entry)]
    except ScelleError:
        assert path.stem.startswith("zip-")
        return
    expected = FAULTY_ENTRIES.get(path.stem)
    assert bool(faults) is (expected is not None)
    assert expected is None or any(expected in fault for fault in faults)
