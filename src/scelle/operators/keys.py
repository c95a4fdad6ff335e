"""Keep an operator's keys in a file of his own: an Ed25519 key that signs, an age identity that reads.

The file is one line of JSON, mode 0600. Under a passphrase the two secrets are sealed with AES-256-GCM under what
Argon2id makes of it (RFC 9106); without one they stand in it as they are, and whoever copies it is the operator.
"""

import json
import os
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import OperatorKeyRefused
from scelle.formats.notes import ED25519, VerifierKey, make_vkey
from scelle.vault import durable
from scelle.vault.keys import KEY_FILE_MODE, PASSPHRASE_MIN_CHARACTERS, Argon2Cost, read_private, stretched

FORMAT: Final = "scelle/operator-key/v1"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
_MAX_BYTES: Final = 4096
_CONTEXT: Final = b"scelle/operator-key/v1 "


@dataclass(frozen=True, slots=True, repr=False)
class OperatorKey:
    """The secrets of one operator; its text form shows none."""

    name: str
    seed: bytes
    identity: str

    @classmethod
    def generate(cls, name: str) -> "OperatorKey":
        """Draw the keys of a new operator."""
        return cls(name, os.urandom(32), str(pyrage.x25519.Identity.generate()))

    @property
    def vkey(self) -> VerifierKey:
        """Return the key that checks what he signs."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return make_vkey(self.name, ED25519, private.public_key().public_bytes_raw())

    @property
    def recipient(self) -> str:
        """Return the age recipient for which only he has the identity."""
        return str(pyrage.x25519.Identity.from_str(self.identity).to_public())

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature over `message` (64 bytes)."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext of age bytes that are encrypted to him; raise OperatorKeyRefused."""
        try:
            return bytes(pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(self.identity)]))
        except pyrage.DecryptError as error:
            raise OperatorKeyRefused(f"{self.name}: this is not encrypted to this operator's key") from error

    def __repr__(self) -> str:
        return f"OperatorKey({self.name})"


def key_file_name(vault_id: bytes, name: str) -> str:
    """Return the name of an operator's key file, beside the vault's own."""
    return f"{vault_id.hex()}.operator.{name}.key"


def write_operator_key(path: Path, key: OperatorKey, passphrase: str | None) -> None:
    """Write the file with mode 0600; raise OperatorKeyRefused where one is there, or the passphrase is short."""
    if path.exists() or path.is_symlink():
        raise OperatorKeyRefused(f"{path} is there already and stays as it is: choose another name")
    secrets = json.dumps({"identity": key.identity, "seed": key.seed.hex()}).encode()
    body: dict[str, Any] = {"format": FORMAT, "name": key.name, "vkey": key.vkey.text()}
    if passphrase is None:
        body["open"] = b64encode(secrets).decode()
    else:
        if len(passphrase) < PASSPHRASE_MIN_CHARACTERS:
            raise OperatorKeyRefused(
                f"a passphrase of {len(passphrase)} characters can be guessed: use {PASSPHRASE_MIN_CHARACTERS} or more"
            )
        salt, nonce = os.urandom(16), os.urandom(12)
        sealed = AESGCM(stretched(passphrase, salt, Argon2Cost())).encrypt(
            nonce, secrets, _CONTEXT + key.name.encode()
        )
        body |= {"salt": salt.hex(), "sealed": b64encode(nonce + sealed).decode()}
    durable.make_directory(path.parent)
    durable.write_file(path, json.dumps(body, sort_keys=True).encode() + b"\n", mode=KEY_FILE_MODE)


def needs_passphrase(path: Path) -> bool:
    """Tell whether the file's secrets are under a passphrase; raise OperatorKeyRefused."""
    return "sealed" in _read(path)


def read_operator_key(path: Path, passphrase: str | None) -> OperatorKey:
    """Read an operator's keys; raise OperatorKeyRefused for another file, loose modes, a wrong passphrase."""
    body = _read(path)
    name = str(body["name"])
    try:
        if "sealed" in body:
            if passphrase is None:
                raise OperatorKeyRefused(
                    f"{path} is under a passphrase: give --operator-passphrase env:NAME, file:PATH or exec:CMD"
                )
            sealed = b64decode(body["sealed"], validate=True)
            cipher = AESGCM(stretched(passphrase, bytes.fromhex(body["salt"]), Argon2Cost()))
            plain = cipher.decrypt(sealed[:12], sealed[12:], _CONTEXT + name.encode())
        else:
            plain = b64decode(body["open"], validate=True)
        secrets = json.loads(plain)
        key = OperatorKey(name, bytes.fromhex(secrets["seed"]), str(secrets["identity"]))
        pyrage.x25519.Identity.from_str(key.identity)
        if key.vkey.text() != body["vkey"]:
            raise OperatorKeyRefused(f"{path}: its name or keys were changed: take a copy that was not")
    except InvalidTag:
        raise OperatorKeyRefused(f"{path}: wrong passphrase, or the file was changed: try again") from None
    except (KeyError, ValueError, TypeError, pyrage.IdentityError) as error:
        raise OperatorKeyRefused(
            f"{path}: is no operator's key file: give the one that `operator add` wrote"
        ) from error
    return key


def _read(path: Path) -> dict[str, Any]:
    data = read_private(path, _MAX_BYTES)
    try:
        body = json.loads(data)
    except ValueError as error:
        raise OperatorKeyRefused(f"{path}: is no operator's key file") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT or not isinstance(body.get("name"), str):
        raise OperatorKeyRefused(f"{path}: is no operator's key file: give the one that `operator add` wrote")
    return body
