"""Forge packages as who has the vault, its key and all log keys would: hashes rebuilt, MANIFEST re-signed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from scelle.formats.packages import Manifest, ManifestFile
from scelle.formats.tokens import parse_base64
from scelle.formats.zips import bytes_member, read_canonical_zip, read_member, write_canonical_zip
from scelle.ledger.service import order_folder
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.vault.service import OpenedVault

Members = dict[str, bytes]
_MAX_BYTES = 1 << 30


def unpack(package: Path) -> Members:
    """Return the members of a package by path."""
    with package.open("rb") as file:
        return {info.path: read_member(file, info, _MAX_BYTES) for info in read_canonical_zip(file)}


def log_signer(vault: OpenedVault, order: str) -> Signer:
    """Open the order's log keys with the vault key."""
    origin = f"{vault.config.host}/po/{order}"
    sealed = (order_folder(vault.path, order) / "secrets").read_bytes()
    return Signer(OrderSecrets.opened(origin, sealed, vault.key))


def forge(package: Path, to: Path, signer: Signer, change: Callable[[Members], None]) -> None:
    """Write `package` with `change` made to its members, under a MANIFEST that fits and is signed."""
    members = unpack(package)
    first = members.pop("MANIFEST").split(b"\n")
    change(members)
    files = tuple(
        ManifestFile(hashlib.sha256(data).digest(), len(data), path) for path, data in members.items()
    )
    manifest = Manifest(first[1].decode().split(" ")[1], int(first[2].split(b" ")[1]), files)
    members["MANIFEST"] = signer.sign_text(manifest.text())
    with to.open("wb") as out:
        write_canonical_zip(out, [bytes_member(path, data) for path, data in members.items()])


def drop_a_record(members: Members) -> None:
    """Leave the last record out, its item too, and its hit where the proof lists it."""
    lines = members["records.jsonl"].splitlines(keepends=True)
    dropped = json.loads(lines[-1])
    members["records.jsonl"] = b"".join(lines[:-1])
    for path in dropped["item"].values():
        members.pop(path, None)
    proofs = [json.loads(line) for line in members["proofs.jsonl"].splitlines()]
    for proof in proofs:
        if proof["at"] == dropped["at"] and proof.get("hits"):
            proof["hits"] = proof["hits"][:-1]
    members["proofs.jsonl"] = b"".join(
        json.dumps(proof, sort_keys=True, separators=(",", ":")).encode() + b"\n" for proof in proofs
    )


def change_a_value(members: Members) -> None:
    """Change one letter of a record's native id, where it is opened."""
    lines = members["records.jsonl"].splitlines(keepends=True)
    record = json.loads(lines[0])
    salt, value = record["v"][3]
    raw = bytearray(parse_base64(value))
    raw[-1] ^= 1
    record["v"][3] = [salt, _base64(bytes(raw))]
    lines[0] = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    members["records.jsonl"] = b"".join(lines)


def replace_an_item(members: Members) -> None:
    """Put other bytes in the place of one delivered document."""
    path = min(path for path in members if path.startswith("items/"))
    members[path] = members[path] + b"\nand one line more\n"


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()
