"""Make a vault and open it: the folder, its description, its key.

Files in the folder that belong to this room: vault.json (written last: with it the vault exists),
recovery.age, writer.lock, packs/, catalog.db (derived).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.errors import InputError, NotAVault, StorageFailed, VaultExists, VaultSettingsWrong, WrongKey
from scelle.formats.tokens import is_host, shown
from scelle.vault import durable
from scelle.vault.keys import (
    VaultKey,
    protect_with_passphrase,
    read_key_file,
    refuse_inside,
    write_key_file,
)
from scelle.vault.model import UnverifiedConfig, VaultConfig, parse_config
from scelle.vault.recovery import check_recovery_file, encrypt_to, recovery_path

CONFIG_NAME: Final = "vault.json"
HOST_MAX: Final = 188
"""With `/po/` and the longest order id, an origin has 255 bytes, the most that can be signed (ledger.md §5)."""
_CONFIG_MAX_BYTES: Final = 64 * 1024
_LEFT_BY_A_BROKEN_INIT: Final = frozenset({"recovery.age", "recovery.age.tmp", "vault.json.tmp"})


@dataclass(frozen=True, slots=True)
class OpenedVault:
    """Hold what every other room needs of a vault: its folder, its description (verified), its key."""

    path: Path
    config: VaultConfig
    key: VaultKey


def create_vault(
    path: Path,
    *,
    host: str,
    key_file: Path | None = None,
    passphrase: str | None = None,
    recipients: Sequence[str] = (),
) -> OpenedVault:
    """Make a vault in `path`, a folder that is empty or not there yet.

    The key goes to `key_file` (where that is a folder: `<vault id>.key` in it) or under `passphrase`; with
    `recipients` (age public keys, `age1..`) also to recovery.age. Raises `VaultExists`, `VaultSettingsWrong`
    and `KeyFileRefused` before anything is written. A crash leaves no vault, and perhaps a key file that
    opens nothing.
    """
    _check_settings(path, host, key_file, passphrase)
    key = VaultKey.generate()
    recovery = encrypt_to(recipients, key) if recipients else None
    protection = None if passphrase is None else protect_with_passphrase(key, passphrase)
    config = VaultConfig(
        vault_id=key.vault_id,
        host=host,
        passphrase=protection,
        recipients=tuple(recipients),
        recovery_sha256=None if recovery is None else recovery.sha256,
    )
    if key_file is not None:
        write_key_file(_key_path(key_file, key.vault_id), key)
    durable.make_directory(path)
    for name in _LEFT_BY_A_BROKEN_INIT:
        if (path / name).exists():
            durable.remove(path / name)
    if recovery is not None:
        durable.write_file(recovery_path(path), recovery.data)
    durable.write_file(path / CONFIG_NAME, config.encode(key))
    return OpenedVault(path, config, key)


def _check_settings(path: Path, host: str, key_file: Path | None, passphrase: str | None) -> None:
    if not is_host(host):
        raise VaultSettingsWrong(
            f"host {shown(host)} is no host name: use lower-case letters, digits, '.' and '-'"
        )
    if len(host) > HOST_MAX:
        raise VaultSettingsWrong(f"host {shown(host)} has more than {HOST_MAX} characters: shorten it")
    if (key_file is None) == (passphrase is None):
        raise VaultSettingsWrong(
            "a vault has one key: give a key file or a passphrase, not both and not neither"
        )
    if (path / CONFIG_NAME).exists():
        raise VaultExists(f"{path} is a vault already: choose another folder")
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise VaultExists(f"{place} is not a folder: choose another place")
    if path.exists() and any(entry.name not in _LEFT_BY_A_BROKEN_INIT for entry in path.iterdir()):
        raise VaultExists(f"{path} is not empty: choose an empty folder, or one that is not there yet")
    if key_file is not None:
        refuse_inside(path, key_file)


def read_config(path: Path) -> UnverifiedConfig:
    """Read the description of the vault in `path` as far as that goes without its key.

    Raises `NotAVault`, `VaultTooNew` and `VaultConfigDamaged`.
    """
    try:
        with (path / CONFIG_NAME).open("rb") as file:
            data = file.read(_CONFIG_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAVault(
            f"{path} is not a vault: it has no {CONFIG_NAME}: name yours (--vault or SCELLE_VAULT), or make one with "
            "`scelle init`"
        ) from None
    except OSError as error:
        raise StorageFailed(f"{path / CONFIG_NAME}: cannot be read: {error.strerror}") from error
    return parse_config(data)


def open_vault(path: Path, *, key_file: Path | None = None, passphrase: str | None = None) -> OpenedVault:
    """Open the vault in `path` with its key file (or the folder of key files that has it) or its passphrase.

    Raises `NotAVault`, `VaultTooNew`, `VaultConfigDamaged`, `KeyFileRefused` and `WrongKey`. Afterwards
    vault.json and recovery.age are known to be as the holder of the key wrote them.
    """
    unverified = read_config(path)
    key = _key_of(path, unverified.config, key_file, passphrase)
    config = unverified.verified(key)
    check_recovery_file(path, config)
    return OpenedVault(path, config, key)


def _key_of(path: Path, config: VaultConfig, key_file: Path | None, passphrase: str | None) -> VaultKey:
    if key_file is not None:
        return _key_from_file(path, config, key_file)
    if passphrase is None:
        raise InputError(f"{path}: no key given: name the key file, or give the passphrase")
    if config.passphrase is None:
        raise WrongKey(f"vault {config.vault_id.hex()} has no passphrase: give its key file")
    key = config.passphrase.key(passphrase, config.vault_id)
    if key.vault_id != config.vault_id:
        raise WrongKey(f"the key under this passphrase does not open vault {config.vault_id.hex()}")
    return key


def _key_from_file(path: Path, config: VaultConfig, key_file: Path) -> VaultKey:
    refuse_inside(path, key_file)
    found = _key_path(key_file, config.vault_id)
    key = read_key_file(found)
    if key.vault_id != config.vault_id:
        raise WrongKey(
            f"wrong key: {found} opens vault {key.vault_id.hex()}, this is {config.vault_id.hex()}: give its "
            "own"
        )
    return key


def _key_path(key_file: Path, vault_id: bytes) -> Path:
    return key_file / f"{vault_id.hex()}.key" if key_file.is_dir() else key_file
