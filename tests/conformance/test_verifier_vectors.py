"""Every section of ledger-v1.json, on the single file; and each of its `must_fail` with a named finding."""

import base64
import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.builder import (
    LOG1,
    Draft,
    checkpoint_text,
    note,
    query_of,
    value,
    world,
)
from tests.unit.verify.harness import judge

from scelle.verify import scelle_verify as v

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "ledger-v1.json").read_bytes()
)


def encoded(letter: str, content: Any) -> bytes:
    """V(type, v) from the vectors' JSON."""
    if letter == "h":
        content = (bytes.fromhex(content[0]), content[1])
    elif letter == "x":
        content = bytes.fromhex(content)
    elif letter == "d":
        content = float(content)
    return value(letter, content)


def whole_value(data: bytes) -> None:
    """Read one value and nothing after it."""
    _, end = v.parse_value(data, 0)
    v.need(end == len(data), "value.canonical", "bytes after the value")


def leaves(count: int) -> list[bytes]:
    return [v.leaf_hash(f"leaf {i}/{count}".encode()) for i in range(count)]


def test_every_section_is_tried() -> None:
    assert set(VECTORS) == {
        "format",
        "hash",
        "tree",
        "values",
        "records",
        "chunks",
        "index",
        "range_proofs",
        "inclusion",
        "consistency",
        "checkpoint",
        "sorting",
        "segment",
        "must_fail",
    }
    assert VECTORS["hash"] == "sha256"


@pytest.mark.parametrize("case", VECTORS["tree"], ids=lambda case: str(case["n"]))
def test_tree(case: dict[str, Any]) -> None:
    assert v.tree_root(leaves(case["n"])).hex() == case["root"]


@pytest.mark.parametrize("case", VECTORS["values"], ids=lambda case: case["bytes"][:30])
def test_values(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["bytes"])
    parsed, end = v.parse_value(data, 0)
    assert end == len(data)
    assert parsed.letter == case["type"]
    assert encoded(case["type"], case["value"]) == data
    for wrong in (data[:-1], data + b"\0", b"q" + data[1:], data[:1] + b"\1" + data[2:]):
        with pytest.raises(v.Fault):
            whole_value(wrong)


@pytest.mark.parametrize("case", VECTORS["records"], ids=lambda case: case["rk"][:8])
def test_records(case: dict[str, Any]) -> None:
    rk = bytes.fromhex(case["rk"])
    values = [encoded(*pair) for pair in case["fields"]]
    salts = [v.field_salt(rk[:16], j) for j in range(len(values))]
    assert [salt.hex() for salt in salts] == case["field_salts"]
    assert [v.leaf_hash(b"F" + s + d).hex() for s, d in zip(salts, values, strict=True)] == case[
        "field_leaves"
    ]
    whole = {"p": 0, "k": rk[:16].hex(), "v": v.b64(struct.pack(">H", len(values)) + b"".join(values))}
    assert v.open_record(whole).rc.hex() == case["rc_profile0"]
    shown: list[Any] = [[s.hex(), v.b64(d)] for s, d in zip(salts, values, strict=True)]
    assert v.open_record({"p": 1, "v": shown}).rc.hex() == case["rc_profile1"]
    for j in range(len(values)):
        closed = [*shown[:j], case["field_leaves"][j], *shown[j + 1 :]]
        assert v.open_record({"p": 1, "v": closed}).rc.hex() == case["rc_profile1"]
    assert v.open_record({"p": 1, "v": shown[::-1]}).rc.hex() != case["rc_profile1"]
    with pytest.raises(v.Fault):
        v.open_record(whole | {"k": rk.hex()})


@pytest.mark.parametrize("case", VECTORS["chunks"], ids=lambda case: str(case["plaintext"]["size"]))
def test_chunks(case: dict[str, Any]) -> None:
    plaintext = bytes([case["plaintext"]["byte"]]) * case["plaintext"]["size"]
    size = 1 << 20
    chunks = [plaintext[i : i + size] for i in range(0, len(plaintext), size)] or [b""]
    salt = bytes.fromhex(case["rk"])[:16]
    assert v.chunk_root(salt, chunks).hex() == case["root"]
    assert v.sha256(plaintext).hex() == case["sha256"]
    assert v.chunk_root(salt, [*chunks, b""]).hex() != case["root"]


@pytest.mark.parametrize("case", VECTORS["index"], ids=lambda case: case["dimension"] + case["identifier"])
def test_index(case: dict[str, Any]) -> None:
    tag = v.index_tag(bytes.fromhex(case["tagkey"]), case["dimension"], case["identifier"])
    inner = v.index_inner(
        bytes.fromhex(case["rk"])[16:], case["time"], case["seq"], bytes.fromhex(case["rc"])
    )
    assert (tag.hex(), inner.hex()) == (case["tag"], case["inner"])
    for prefix, below in ((1, case["u2"]), (2, case["u3"]), (16, case["inner"])):
        leaf = v.index_leaf(case["ordinal"], tag[:prefix], bytes.fromhex(below))
        assert leaf.hex() == case["leaf_hash"]
        assert v.index_leaf(case["ordinal"] + 1, tag[:prefix], bytes.fromhex(below)) != leaf


@pytest.mark.parametrize("case", VECTORS["range_proofs"], ids=lambda c: f"{c['n']}-{c['lo']}-{c['hi']}")
def test_range_proofs(case: dict[str, Any]) -> None:
    size, low, high = case["n"], case["lo"], case["hi"]
    hashes, proof = leaves(size)[low:high], [bytes.fromhex(h) for h in case["proof"]]
    assert v.range_root(size, low, hashes, proof).hex() == case["root"]
    with pytest.raises(v.Fault):
        v.range_root(size, low, hashes, [*proof, bytes(32)])
    if proof:
        with pytest.raises(v.Fault):
            v.range_root(size, low, hashes, proof[:-1])
        assert v.range_root(size, low, hashes, [bytes(32), *proof[1:]]).hex() != case["root"]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['n']}-{case['index']}")
def test_inclusion(case: dict[str, Any]) -> None:
    size, index = case["n"], case["index"]
    path = [bytes.fromhex(h) for h in case["proof"]]
    leaf = leaves(size)[index]
    assert v.inclusion_root(size, index, leaf, path).hex() == case["root"]
    for wrong in ([*path, bytes(32)], path[:-1] if path else [bytes(32)]):
        with pytest.raises(v.Fault):
            v.inclusion_root(size, index, leaf, wrong)


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['m']}-{case['n']}")
def test_consistency(case: dict[str, Any]) -> None:
    old, new = case["m"], case["n"]
    roots = bytes.fromhex(case["root_m"]), bytes.fromhex(case["root_n"])
    proof = [bytes.fromhex(h) for h in case["proof"]]
    assert v.consistency_holds(old, new, *roots, proof)
    assert not v.consistency_holds(old, new, *roots, [*proof, bytes(32)])
    assert not v.consistency_holds(old, new, bytes(32), roots[1], proof)
    assert not v.consistency_holds(old, new, roots[0], bytes(32), proof)


def test_checkpoint() -> None:
    case = VECTORS["checkpoint"]
    keys = [v.parse_vkey(text, "key") for text in case["vkeys"]]
    parsed = v.parse_note(case["note"].encode())
    point = v.parse_checkpoint(parsed.text)
    assert point == v.Checkpoint(case["origin"], case["size"], bytes.fromhex(case["root"]))
    faults, good = v.check_signatures(parsed, keys, [], point, "checkpoint.signature")
    assert faults == []
    assert [key for key, _ in good] == keys
    other = v.parse_note(case["note"].replace("\n8\n", "\n9\n").encode())
    faults, good = v.check_signatures(other, keys, [], v.parse_checkpoint(other.text), "checkpoint.signature")
    assert [fault.code for fault in faults] == ["checkpoint.signature_wrong"] * 2
    assert good == []


def test_sorting() -> None:
    pairs = [tuple(pair) for pair in VECTORS["sorting"]["time_seq"]]
    assert all(a < b for a, b in itertools.pairwise(pairs))
    assert pairs[0][0] == v.UNDATED


def test_segment() -> None:
    case = VECTORS["segment"]
    tag_key = bytes.fromhex(case["tagkey"])
    schema = v.parse_schema(case["schema"].encode())
    assert schema.digest == case["schema_sha256"]
    records = []
    for line in case["records"]:
        rk = bytes.fromhex(line["rk"])
        values = [encoded(*pair) for pair in line["fields"]]
        shown = [[v.field_salt(rk[:16], j).hex(), v.b64(d)] for j, d in enumerate(values)]
        rc = v.open_record({"p": 1, "v": shown}).rc
        assert rc.hex() == line["rc"]
        records.append((rk, line["fields"][0][1], line["fields"][1][1], line["fields"][2][1], rc))
    assert v.tree_root([rc for *_, rc in records]).hex() == case["record_root"]
    entries = []
    for ordinal, dimension in enumerate(schema.dimensions, 1):
        for rk, time, seq, account, rc in records:
            tag = v.index_tag(tag_key, dimension, "s0001" if ordinal == 1 else account)
            leaf = v.index_leaf(ordinal, tag, v.index_inner(rk[16:], time, seq, rc))
            entries.append((ordinal, tag, time, seq, leaf))
    entries.sort()
    assert [[e[0], e[2], e[3]] for e in entries] == case["index_order"]
    assert v.tree_root([e[4] for e in entries]).hex() == case["index_root"]
    texts = [case[name].encode() for name in ("genesis", "manifest", "zero_record_manifest")]
    parsed = [v.parse_entry(i, text) for i, text in enumerate(texts)]
    assert [entry.leaf.hex() for entry in parsed] == case["leaf_hashes"]
    assert v.tree_root([entry.leaf for entry in parsed]).hex() == case["log_root"]
    assert parsed[1].fields["record-root"].hex() == case["record_root"]
    for text in texts:
        for wrong in (
            text[:-1],
            text + b"\n",
            text + b"more -\n",
            text.replace(b" ", b"  ", 1),
            text.upper(),
        ):
            with pytest.raises(v.Fault):
                v.parse_entry(0, wrong)


# -- must_fail --------------------------------------------------------------------------------------------


def fails(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(v.Fault) as caught:
        function(*arguments)
    return caught.value.code


def judged(folder: Path, edit: Callable[[Draft], object], **query: Any) -> set[str]:
    draft = Draft(world(), query_of(**query))
    edit(draft)
    verdict = judge(draft, folder)
    assert verdict.exit_code == 1
    return verdict.codes


def set_hit(draft: Draft, index: int, content: Any) -> None:
    draft.proofs[0]["hits"][0][index] = content


def tag_width(folder: Path) -> None:
    for size in (15, 17):
        neighbour = ["ab" * size, "00" * 32]

        def edit(draft: Draft, neighbour: list[str] = neighbour) -> None:
            draft.proofs[0]["left"] = neighbour

        assert "neighbour.prefix" in judged(folder, edit)


def index_salt(folder: Path) -> None:
    assert "format.width" in judged(folder, lambda d: set_hit(d, 0, "00" * 24))


def field_salt(folder: Path) -> None:
    assert fails(v.open_record, {"p": 1, "v": [["00" * 21, v.b64(value("n"))]]}) == "format.width"


def proof_hash(folder: Path) -> None:
    assert "format.width" in judged(folder, lambda d: d.proofs[0].update(proof=["00" * 31]))


def bad_hex(folder: Path) -> None:
    assert {fails(v.parse_hex, text, 2, "h") for text in ("AB12", "ab 2", " ab1", "abc ")} == {"format.hex"}


def base64_tail(folder: Path) -> None:
    assert fails(v.parse_base64, "AB==", None, "b") == "format.base64"
    assert base64.b64decode("AB==") == b"\0"


def numbers(folder: Path) -> None:
    for text in ("007", "+1", "-0", "1_0", "\u0661\u0662"):
        assert fails(v.parse_decimal, text, "n") == "format.number"
        assert fails(v.parse_time, text, "t") == "format.number"


def index_size(folder: Path) -> None:
    draft = Draft(world({"chat0": lambda t: t.replace("index-size 21", "index-size 14")}), query_of())
    assert "segment.index_size" in judge(draft, folder).codes


def over_the_edge(folder: Path) -> None:
    def edit(draft: Draft) -> None:
        segment = draft.log.segments["chat0"]
        draft.proofs[0].update(segment.line("dated", 0, 7, segment.slots[0].tag, False, True))

    assert "range.edge" in judged(folder, edit)


def rc_elsewhere(folder: Path) -> None:
    assert "hit.record_root" in judged(folder, lambda d: set_hit(d, 3, "00" * 32))


def opaque(folder: Path) -> None:
    assert "tombstone.missing" in judged(folder, lambda d: d.proofs[0]["hits"].__setitem__(0, "00" * 32))


def values(folder: Path) -> None:
    for data in (b"n\0\0\0\1\0", b"b\0\0\0\1\2", b"d\0\0\0\x08\x7f\xf8" + bytes(5) + b"\1"):
        assert fails(v.parse_value, data, 0) == "value.canonical"


def one_signature(folder: Path) -> None:
    def edit(draft: Draft) -> None:
        draft.checkpoint = note(checkpoint_text(draft.size, draft.log.root()), [LOG1])

    assert "checkpoint.signature_missing" in judged(folder, edit)


MUST_FAIL: dict[str, Callable[[Path], None]] = {
    "tag of 15 or 17 bytes": tag_width,
    "index salt of 24 bytes": index_salt,
    "field salt of 21 bytes": field_salt,
    "proof hash of 31 bytes": proof_hash,
    "hex with a capital or a blank": bad_hex,
    "base64 with a non-zero tail": base64_tail,
    "numbers 007, +1, -0, 1_0 and Arabic digits": numbers,
    "index-size other than N x D": index_size,
    "a range over the edge of its block": over_the_edge,
    "a hit whose rc is not in R at its sequence number": rc_elsewhere,
    "an opaque hit without its own tombstone": opaque,
    "n with a payload, b = 02, NaN with another payload": values,
    "a checkpoint with one signature line": one_signature,
}


@pytest.mark.parametrize("name", VECTORS["must_fail"])
def test_must_fail(name: str, tmp_path: Path) -> None:
    MUST_FAIL[name](tmp_path)
