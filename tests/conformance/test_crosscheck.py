"""The same bytes under code we did not write: aics-tlog, Go's x/mod/sumdb, dilithium-py, cryptography."""

import json
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from scelle.formats import packages, zips
from scelle.formats.checkpoints import (
    ML_DSA_SIGNATURE_BYTES,
    Checkpoint,
    cosignature_v1_message,
    mldsa_message,
    parse_checkpoint_text,
    parse_timed_payload,
    timed_payload,
)
from scelle.formats.entries import Erase, consent_message, parse_entry, split_authority_sig
from scelle.formats.notes import (
    COSIGNATURE_V1,
    ED25519,
    ML_DSA_44,
    Note,
    Signature,
    make_vkey,
    parse_note,
    parse_vkey,
)
from scelle.formats.tiles import bundles_for, encode_bundle, entries_path, parse_bundle
from scelle.merkle.hashing import leaf_hash, tree_root
from scelle.merkle.proofs import consistency_proof, inclusion_path
from scelle.merkle.tiles import new_tiles, tiles_for

HERE: Final = Path(__file__).parent
VECTORS: Final = HERE.parent / "vectors"
HONEST: Final = sorted((VECTORS / "packages" / "honest").glob("*.scelle"))
ORIGIN: Final = "platform.example/po/o1"
GO_SOURCE_FOLDERS: Final = ("/usr/share/gocode",)  # where Debian puts golang-golang-x-mod-dev
DATA: Final = [b"leaf %d" % number for number in range(600)]
FLAT: Final = b"".join(map(leaf_hash, DATA))
SIZES: Final = (1, 2, 3, 7, 8, 9, 255, 256, 257, 600)


def _known_checkpoint() -> tuple[Note, list[Any]]:
    case = json.loads((VECTORS / "ledger-v1.json").read_text())["checkpoint"]
    return parse_note(case["note"].encode()), [parse_vkey(text) for text in case["vkeys"]]


def _tiles(size: int) -> dict[str, bytes]:
    return new_tiles(0, FLAT[: 32 * size], lambda path: pytest.fail(f"{path} was asked for"))


# --- aics-tlog -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tlog() -> Any:
    pytest.importorskip("aics_tlog", reason="aics-tlog is not here: it needs Python 3.12")
    return import_module("aics_tlog")


@pytest.mark.parametrize("size", SIZES)
def test_aics_tlog_builds_the_same_tree(tlog: Any, size: int) -> None:
    tree = tlog.MerkleTree(DATA[:size])
    flat = FLAT[: 32 * size]
    assert tree.root() == tree_root(flat)
    for index in {0, size // 3, size - 1}:
        path = inclusion_path(flat, index)
        assert tree.inclusion_proof(index) == path
        assert tlog.verify_inclusion(leaf_hash(DATA[index]), index, size, path, tree_root(flat))
    for old in {1, (size + 1) // 2, size}:
        proof = consistency_proof(flat, old)
        assert tree.consistency_proof(old) == proof
        assert tlog.verify_consistency(old, size, tree_root(flat[: 32 * old]), tree_root(flat), proof)


@pytest.mark.parametrize("size", SIZES)
def test_aics_tlog_writes_the_same_tiles_and_bundles(tlog: Any, size: int) -> None:
    expected = tlog.TileWriter(DATA[:size]).materialise()
    bundles = {
        f"tile/entries/{entries_path(index, width)}": encode_bundle(DATA[index * 256 : index * 256 + width])
        for index, width in bundles_for(size)
    }
    assert _tiles(size) | bundles == expected


def test_aics_tlog_accepts_the_checkpoint(tlog: Any) -> None:
    note, keys = _known_checkpoint()
    checkpoint = parse_checkpoint_text(note.text)
    result = tlog.verify_checkpoint(tlog.parse_note(note.encode()), tlog.parse_vkey(keys[0].text()))
    assert (result.ok, result.size, result.root) == (True, checkpoint.size, checkpoint.root)
    forged = Note(Checkpoint(checkpoint.origin, 9, checkpoint.root).text(), note.signatures)
    assert not tlog.verify_checkpoint(tlog.parse_note(forged.encode()), tlog.parse_vkey(keys[0].text())).ok


def test_aics_tlog_signs_what_we_read(tlog: Any) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    checkpoint = Checkpoint(ORIGIN, 600, tree_root(FLAT))
    signed = tlog.sign_checkpoint(tlog.Checkpoint(ORIGIN, 600, checkpoint.root), private, ORIGIN)
    note = parse_note(signed.to_bytes())
    assert parse_checkpoint_text(note.text) == checkpoint
    (signature,) = note.signatures_of(make_vkey(ORIGIN, ED25519, public))
    private.public_key().verify(signature.payload, checkpoint.text())
    assert (
        tlog.format_vkey(tlog.vkey_from_ed25519(ORIGIN, public)) == make_vkey(ORIGIN, ED25519, public).text()
    )


def test_aics_tlog_cosigns_the_same_message(tlog: Any) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, name = private.public_key().public_bytes_raw(), "authority.example/seal"
    checkpoint = Checkpoint(ORIGIN, 600, tree_root(FLAT))
    blob, line = tlog.sign_cosignature(private, name, 1_767_880_000, ORIGIN, 600, checkpoint.root)
    key = make_vkey(name, COSIGNATURE_V1, public)
    assert tlog.cosignature_vkey(name, public).key_id == key.key_id.to_bytes(4, "big") == line.key_id
    time, signature = parse_timed_payload(blob, 64)
    assert time == 1_767_880_000
    private.public_key().verify(signature, cosignature_v1_message(checkpoint.text(), time))


# --- Go --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def go_output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run crosscheck.go on what we write; skip with a word where Go or its module is absent."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not here")
    folders = [folder for folder in (os.environ.get("GOPATH"), *GO_SOURCE_FOLDERS) if folder]
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPATH": os.pathsep.join(folders),
        "GOCACHE": str(tmp_path_factory.mktemp("go")),
    }
    found = subprocess.run(
        [go, "list", "golang.org/x/mod/sumdb/tlog"], env=environment, capture_output=True, check=False
    )
    if found.returncode != 0:
        pytest.skip("Go is here, its module golang.org/x/mod is not")
    ran = subprocess.run(
        [go, "run", str(HERE / "crosscheck.go")],
        env=environment,
        input=json.dumps(_go_document()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _go_document() -> dict[str, Any]:
    note, keys = _known_checkpoint()
    return {
        "Leaves": [data.hex() for data in DATA],
        "Roots": {str(size): tree_root(FLAT[: 32 * size]).hex() for size in SIZES},
        "Inclusion": [
            {"Size": size, "Index": index, "Path": _hex(inclusion_path(FLAT[: 32 * size], index))}
            for size in SIZES
            for index in {0, size // 3, size - 1}
        ],
        "Consistency": [
            {"Size": size, "Old": old, "Path": _hex(consistency_proof(FLAT[: 32 * size], old))}
            for size in SIZES
            for old in {1, (size + 1) // 2, size}
        ],
        "Tiles": {path: data.hex() for path, data in _tiles(600).items()},
        "Size": 600,
        "Note": note.encode().decode(),
        "Vkey": keys[0].text(),
    }


def _hex(hashes: list[bytes]) -> list[str]:
    return [digest.hex() for digest in hashes]


def test_go_agrees_on_trees_tiles_and_notes(go_output: str) -> None:
    assert go_output.splitlines()[:3] == ["ok trees", "ok tiles", "ok note"]
    assert set(_tiles(600)) == set(tiles_for(600))


def test_go_signs_what_we_read(go_output: str) -> None:
    signed = json.loads(go_output.splitlines()[3].removeprefix("note "))
    note, key = parse_note(signed["note"].encode()), parse_vkey(signed["vkey"])
    assert (note.text, key.text()) == (b"one\n\ntwo\n", signed["vkey"])
    assert note.encode() == signed["note"].encode()
    (signature,) = note.signatures_of(key)
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature.payload, note.text)


# --- cryptography and dilithium-py -----------------------------------------------------------------------


def _check_checkpoint(note: Note, keys: list[Any]) -> tuple[bytes, bytes, bytes]:
    """Check both signatures with `cryptography`; give public key, message and signature of the second."""
    ed25519, ml_dsa = keys
    assert (ed25519.type, ml_dsa.type) == (ED25519, ML_DSA_44)
    checkpoint = parse_checkpoint_text(note.text)
    (first,), (second,) = note.signatures_of(ed25519), note.signatures_of(ml_dsa)
    Ed25519PublicKey.from_public_bytes(ed25519.public).verify(first.payload, note.text)
    time, signature = parse_timed_payload(second.payload, ML_DSA_SIGNATURE_BYTES)
    message = mldsa_message(ml_dsa.name, checkpoint.origin, checkpoint.size, checkpoint.root, time)
    MLDSA44PublicKey.from_public_bytes(ml_dsa.public).verify(signature, message)
    return ml_dsa.public, message, signature


def test_known_checkpoint_is_signed() -> None:
    public, message, signature = _check_checkpoint(*_known_checkpoint())
    later = message.replace(b"\0" * 8 + (8).to_bytes(8, "big"), b"\0" * 8 + (9).to_bytes(8, "big"))
    assert later != message
    with pytest.raises(InvalidSignature):
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, later)


def test_dilithium_py_agrees_on_the_known_checkpoint() -> None:
    dilithium = pytest.importorskip("dilithium_py.ml_dsa", reason="dilithium-py is not here").ML_DSA_44
    public, message, signature = _check_checkpoint(*_known_checkpoint())
    assert dilithium.verify(public, message, signature)
    assert not dilithium.verify(public, message[:-1] + bytes((message[-1] ^ 1,)), signature)


def test_dilithium_py_accepts_what_cryptography_signs() -> None:
    dilithium = pytest.importorskip("dilithium_py.ml_dsa", reason="dilithium-py is not here").ML_DSA_44
    private = MLDSA44PrivateKey.from_seed_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    checkpoint = Checkpoint(ORIGIN, 600, tree_root(FLAT))
    key = make_vkey(ORIGIN, ML_DSA_44, public)
    message = mldsa_message(key.name, ORIGIN, checkpoint.size, checkpoint.root, 1_767_880_000)
    line = Signature(key.name, key.key_id, timed_payload(1_767_880_000, private.sign(message)))
    note = parse_note(Note(checkpoint.text(), (line,)).encode())
    time, signature = parse_timed_payload(note.signatures_of(key)[0].payload, ML_DSA_SIGNATURE_BYTES)
    assert dilithium.verify(public, mldsa_message(key.name, ORIGIN, 600, checkpoint.root, time), signature)
    assert not dilithium.verify(
        public, mldsa_message(key.name, ORIGIN, 600, checkpoint.root, time + 1), signature
    )


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_honest_package_is_signed(path: Path) -> None:
    with path.open("rb") as file:
        members = {
            found.path: zips.read_member(file, found, 10**8) for found in zips.read_canonical_zip(file)
        }
    policy = packages.parse_trust(path.with_suffix(".trust.json").read_bytes()).policy
    assert packages.parse_policy(members["policy.json"]) == policy
    _check_checkpoint(parse_note(members["checkpoint"]), list(policy.log))
    manifest = parse_note(members["MANIFEST"])
    (line,) = manifest.signatures_of(policy.log[0])
    Ed25519PublicKey.from_public_bytes(policy.log[0].public).verify(line.payload, manifest.text)
    _check_consents(members, policy)


def _check_consents(members: dict[str, bytes], policy: packages.Policy) -> None:
    (authority,) = policy.authority
    for name in members:
        if not name.startswith("entries/"):
            continue
        for data in parse_bundle(members[name]):
            entry = parse_entry(data)
            if isinstance(entry, Erase) and entry.authority_sig is not None:
                key_id, signature = split_authority_sig(entry.authority_sig)
                assert key_id == authority.key_id
                message = consent_message(policy.origin, policy.genesis, data)
                Ed25519PublicKey.from_public_bytes(authority.public).verify(signature, message)


def test_a_consent_is_among_the_honest_packages() -> None:
    path = VECTORS / "packages" / "honest" / "erased-account-edge.scelle"
    assert b"authority-sig " in path.read_bytes()
