"""Hold the vault's key: in a key file, or wrapped under a passphrase.

The key is 32 random bytes. Everything else is derived from it (HKDF-SHA256, RFC 5869), one key per purpose,
so that no key ever does two jobs. Formats: docs/formats/vault.md. Python cannot wipe memory: whoever reads
the memory of the running process has the key.
"""

import base64
import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scelle.errors import KeyFileRefused, VaultSettingsWrong, WrongKey
from scelle.vault import durable

KEY_BYTES: Final = 32
WRAPPED_BYTES: Final = 60
VAULT_ID_BYTES: Final = 16
PASSPHRASE_MIN_CHARACTERS: Final = 12
KEY_FILE_MODE: Final = 0o600
_NONCE_BYTES: Final = 12
_INFO: Final = b"scelle/vault/v1 "
_PASSPHRASE_CONTEXT: Final = b"scelle/passphrase/v1 "
_KEY_FILE: Final = re.compile(rb"# [ -~]*\n([A-Za-z0-9+/]{43}=)\n")
_KEY_FILE_MAX_BYTES: Final = 1024


class VaultKey:
    """Derive, wrap and seal under one vault's key. Thread-safe; its text form shows no key bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise WrongKey(
                f"a vault key has {KEY_BYTES} bytes, this one {len(secret)}: use the key of this vault"
            )
        self._secret = bytes(secret)
        self.vault_id = self.derive("vault-id")[:VAULT_ID_BYTES]
        self._wrapping = AESGCM(self.derive("wrap"))
        self._sealing = AESGCM(self.derive("seal"))

    @classmethod
    def generate(cls) -> "VaultKey":
        """Make the key of a new vault from the operating system's random numbers."""
        return cls(os.urandom(KEY_BYTES))

    def derive(self, purpose: str) -> bytes:
        """Derive the 32-byte key for `purpose`, an ASCII word (HKDF-SHA256, no salt)."""
        info = _INFO + purpose.encode("ascii")
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._secret)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key, bound to `context`: 60 bytes, nonce || ciphertext || tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Give back a wrapped key.

        Raises `WrongKey` when the 60 bytes or `context` are not as they were, or another vault's key wrapped
        them.
        """
        if len(wrapped) != WRAPPED_BYTES:
            raise WrongKey(
                f"a wrapped key has {WRAPPED_BYTES} bytes, this one {len(wrapped)}: it was cut or extended"
            )
        return _open(self._wrapping, wrapped, context, "a wrapped key")

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Encrypt `data`, bound to `context`: 28 bytes longer, nonce || ciphertext || tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._sealing.encrypt(nonce, data, context)

    def open(self, data: bytes, context: bytes) -> bytes:
        """Give back sealed data.

        Raises `WrongKey` when the bytes or `context` are not as they were, or another vault's key sealed
        them.
        """
        return _open(self._sealing, data, context, "sealed data")

    def is_same_as(self, other: "VaultKey") -> bool:
        """Say whether both open the same vault."""
        return self.vault_id == other.vault_id

    def key_file_text(self) -> bytes:
        """Write the key as the bytes of a key file."""
        header = (
            f"# Scelle vault key v1 of vault {self.vault_id.hex()}: keep it secret, and apart from the vault"
        )
        return header.encode("ascii") + b"\n" + base64.b64encode(self._secret) + b"\n"

    def __repr__(self) -> str:
        return f"VaultKey(vault {self.vault_id.hex()})"

    def __reduce__(self) -> tuple[type["VaultKey"], tuple[bytes]]:
        """Let worker processes have the key, through a pipe of this machine."""
        return VaultKey, (self._secret,)


def _open(cipher: AESGCM, data: bytes, context: bytes, what: str) -> bytes:
    try:
        return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise WrongKey(
            f"{what} does not open: it changed, stands in another place, or is another vault's"
        ) from None


def parse_key_file(text: bytes, where: str) -> VaultKey:
    """Read the bytes of a key file; `where` names it in the message. Raises `KeyFileRefused`."""
    match = _KEY_FILE.fullmatch(text)
    if match is None:
        raise KeyFileRefused(
            f"{where}: not a vault key: it has a comment line and a line of 44 base64 characters"
        )
    secret = base64.b64decode(match[1])
    if base64.b64encode(secret) != match[1]:
        raise KeyFileRefused(f"{where}: not a vault key: its last character was changed")
    return VaultKey(secret)


def read_key_file(path: Path) -> VaultKey:
    """Read a vault key from a file that only its owner can read; raises what `read_private` raises."""
    return parse_key_file(read_private(path, _KEY_FILE_MAX_BYTES), str(path))


def read_private(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file that only its owner can read.

    Raises `KeyFileRefused` for a missing file, a symbolic link, anything but a regular file, a file that
    group or others may use or that another user owns, and more than `most_bytes`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileRefused(f"{path}: cannot be opened as a key file: {error.strerror}") from error
    try:
        _check_private(path, os.fstat(descriptor), most_bytes)
        return os.read(descriptor, most_bytes)
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileRefused(f"{path}: not a regular file: give the key file itself")
    if status.st_mode & 0o077:
        raise KeyFileRefused(
            f"{path}: mode {status.st_mode & 0o777:04o} lets others use the key: chmod 600 it"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyFileRefused(f"{path}: belongs to user {status.st_uid}: give a key file of your own")
    if status.st_size > most_bytes:
        raise KeyFileRefused(f"{path}: {status.st_size} bytes are too many for a key file")


def write_key_file(path: Path, key: VaultKey) -> None:
    """Write a key file with mode 0600, durable when this returns.

    Raises `KeyFileRefused` when something is there already: a key file is never overwritten.
    """
    if path.is_symlink() or path.exists():
        raise KeyFileRefused(f"{path} is there already and stays as it is: name another key file")
    durable.make_directory(path.parent)
    durable.write_file(path, key.key_file_text(), mode=KEY_FILE_MODE)


def refuse_inside(vault: Path, key_file: Path) -> None:
    """Raise `KeyFileRefused` when `key_file` lies in the folder `vault`: a copy of it would hold its own
    key."""
    if key_file.resolve().is_relative_to(vault.resolve()):
        raise KeyFileRefused(
            f"{key_file} lies inside the vault: whoever copies the folder has the key; put it elsewhere"
        )


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Say how hard it is to try one passphrase (RFC 9106 §4)."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def is_sane(self) -> bool:
        """Say whether a vault may ask for it: a forged description must not eat all memory."""
        return (
            1 <= self.passes <= 64 and 1 <= self.lanes <= 64 and 8 * self.lanes <= self.memory_kib <= 4 << 20
        )


@dataclass(frozen=True, slots=True)
class PassphraseProtection:
    """Keep a vault key under a passphrase: salt (16 bytes) and the key wrapped under Argon2id's output (60
    bytes)."""

    cost: Argon2Cost
    salt: bytes
    wrapped: bytes

    def key(self, passphrase: str, vault_id: bytes) -> VaultKey:
        """Give the vault key back. Raises `WrongKey`."""
        cipher = AESGCM(stretched(passphrase, self.salt, self.cost))
        try:
            return VaultKey(_open(cipher, self.wrapped, _PASSPHRASE_CONTEXT + vault_id, "the key"))
        except WrongKey:
            raise WrongKey(f"wrong passphrase for vault {vault_id.hex()}: try again") from None


def protect_with_passphrase(
    key: VaultKey, passphrase: str, cost: Argon2Cost | None = None
) -> PassphraseProtection:
    """Wrap a vault key under a passphrase; `cost` is RFC 9106's second recommendation unless given.

    Raises `VaultSettingsWrong` for a passphrase of fewer than 12 characters.
    """
    if len(passphrase) < PASSPHRASE_MIN_CHARACTERS:
        raise VaultSettingsWrong(
            f"a passphrase of {len(passphrase)} characters can be guessed: use {PASSPHRASE_MIN_CHARACTERS} "
            "or more"
        )
    cost, salt, nonce = cost or Argon2Cost(), os.urandom(16), os.urandom(_NONCE_BYTES)
    cipher = AESGCM(stretched(passphrase, salt, cost))
    wrapped = cipher.encrypt(nonce, key._secret, _PASSPHRASE_CONTEXT + key.vault_id)
    return PassphraseProtection(cost, salt, nonce + wrapped)


def stretched(passphrase: str, salt: bytes, cost: Argon2Cost) -> bytes:
    """Return the 32 bytes that Argon2id makes of a passphrase (RFC 9106)."""
    return hash_secret_raw(
        unicodedata.normalize("NFC", passphrase).encode(
            "utf-8", "surrogateescape"
        ),  # as RFC 8265 §4.2: keyboards differ
        salt,
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=KEY_BYTES,
        type=Type.ID,
    )
