"""Give the vault's key to people who can restore it when every other copy is lost, and prove that they can.

recovery.age is the text of a key file, encrypted with age to X25519 recipients: `age -d -i IDENTITY
recovery.age` gives a working key file without Scellé. SSH keys are refused as recipients: they are made for
logging in, are replaced without a thought for what was encrypted to them, and often live in an agent that
cannot decrypt.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import KeyFileRefused, RecoveryFailed, VaultConfigDamaged, VaultSettingsWrong
from scelle.formats.tokens import shown
from scelle.vault.keys import VaultKey, parse_key_file
from scelle.vault.model import UnverifiedConfig, VaultConfig

RECOVERY_NAME: Final = "recovery.age"
_IDENTITY_MAX_BYTES: Final = 64 * 1024
_RECOVERY_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RecoveryFile:
    """Hold the bytes of recovery.age and their SHA-256 (32 bytes), which vault.json names."""

    data: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class RecoveryProof:
    """Say what a drill established: the identity of `recipient` (age public key) gave back this vault's key.

    Established: recovery.age is the file that vault.json names, it opens with the identity, and the key
    inside is the one that authenticates vault.json. Not established: who holds the identity, and where.
    """

    vault_id: bytes
    recipient: str
    recovery_sha256: bytes


def recovery_path(vault: Path) -> Path:
    """Name the recovery file of the vault in folder `vault`."""
    return vault / RECOVERY_NAME


def encrypt_to(recipients: Sequence[str], key: VaultKey) -> RecoveryFile:
    """Encrypt the text of the vault's key file to age public keys (X25519, `age1..`).

    Raises `VaultSettingsWrong` for anything else, and for one named twice.
    """
    import pyrage  # slow to load, and no other command needs it

    parsed = [_recipient(recipient) for recipient in recipients]
    if len(set(recipients)) != len(recipients):
        raise VaultSettingsWrong("a recovery recipient is named twice: name each once")
    data = bytes(pyrage.encrypt(key.key_file_text(), parsed))
    return RecoveryFile(data, hashlib.sha256(data).digest())


def _recipient(text: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        hint = (
            "an SSH key; make one" if text.startswith("ssh-") else "not an age public key (age1..); make one"
        )
        raise VaultSettingsWrong(f"recovery recipient {shown(text)} is {hint} with `age-keygen`") from None


def check_recovery_file(vault: Path, config: VaultConfig) -> None:
    """Raise `VaultConfigDamaged` unless recovery.age is the one that vault.json names, or is not there as it
    says."""
    path = recovery_path(vault)
    if config.recovery_sha256 is None:
        if path.exists():
            raise VaultConfigDamaged(
                f"{path} is there, though the vault has no recovery recipients: remove it"
            )
        return
    if hashlib.sha256(_read_recovery(path)).digest() != config.recovery_sha256:
        raise VaultConfigDamaged(f"{path} is not as it was written: restore it from a copy of the vault")


def recover_key(
    vault: Path, unverified: UnverifiedConfig, identity_file: Path
) -> tuple[VaultKey, RecoveryProof]:
    """Give back the vault's key with an age identity file, using nothing but the folder `vault` and that
    file.

    `unverified` is what `read_config(vault)` returned. Raises `RecoveryFailed` when the identity does not
    open it, `VaultConfigDamaged` when vault.json or recovery.age is not as it was written.
    """
    config = unverified.config
    if config.recovery_sha256 is None:
        raise RecoveryFailed(f"{vault} has no recovery recipients: there is nothing to recover the key from")
    check_recovery_file(vault, config)
    text, recipient = _decrypt(_read_recovery(recovery_path(vault)), identity_file)
    try:
        key = parse_key_file(text, str(recovery_path(vault)))
    except KeyFileRefused as error:
        raise RecoveryFailed(f"{recovery_path(vault)} opens, but holds no vault key ({error})") from error
    if key.vault_id != config.vault_id:
        raise RecoveryFailed(f"{recovery_path(vault)} holds the key of another vault, {key.vault_id.hex()}")
    unverified.verified(key)
    return key, RecoveryProof(key.vault_id, recipient, config.recovery_sha256)


def prove_recovery(vault: Path, unverified: UnverifiedConfig, identity_file: Path) -> RecoveryProof:
    """Prove that `identity_file` gives back the vault's key (the drill), and let go of the key again.

    Raises as `recover_key`.
    """
    return recover_key(vault, unverified, identity_file)[1]


def _read_recovery(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_RECOVERY_MAX_BYTES)
    except OSError as error:
        raise VaultConfigDamaged(
            f"{path} cannot be read ({error.strerror}): restore it from a copy"
        ) from error


def _decrypt(data: bytes, identity_file: Path) -> tuple[bytes, str]:
    """Return the plaintext and the age public key of the first identity that opens it."""
    import pyrage

    for identity in _identities(identity_file):
        try:
            return bytes(pyrage.decrypt(data, [identity])), str(identity.to_public())
        except pyrage.DecryptError:
            continue
    raise RecoveryFailed(f"{identity_file}: no identity in it opens recovery.age: use that of a recipient")


def _identities(path: Path) -> list[Any]:
    import pyrage

    try:
        with path.open("rb") as file:
            lines = file.read(_IDENTITY_MAX_BYTES).decode("ascii").split("\n")
        texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        identities = [pyrage.x25519.Identity.from_str(text) for text in texts]
    except OSError as error:
        raise RecoveryFailed(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, pyrage.IdentityError):
        raise RecoveryFailed(
            f"{path}: not an age identity file (AGE-SECRET-KEY-1..): decrypt it first if it has a passphrase"
        ) from None
    if not identities:
        raise RecoveryFailed(f"{path}: no identity in it: give the file that `age-keygen` made")
    return identities
