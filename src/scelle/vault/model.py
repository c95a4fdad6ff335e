"""Describe a vault: the file vault.json, and what a copy of the folder gives away. Pure; see
docs/formats/vault.md."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from scelle.errors import FormatError, VaultConfigDamaged, VaultTooNew
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.formats.tokens import base64_text, is_host, parse_base64, parse_hex
from scelle.vault.keys import VAULT_ID_BYTES, WRAPPED_BYTES, Argon2Cost, PassphraseProtection, VaultKey

FORMAT: Final = "scelle/vault/v1"
_FORMAT_PATTERN: Final = re.compile(r"scelle/vault/v([1-9][0-9]{0,8})")
_MAC_PURPOSE: Final = "vault.json"
_KEYS: Final = frozenset(
    {"format", "host", "key", "mac", "recipients", "recovery_sha256", "sha256", "vault_id"}
)
_PASSPHRASE_KEYS: Final = frozenset({"kdf", "kind", "lanes", "memory_kib", "passes", "salt", "wrapped"})


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """Say what a vault is: its id (16 bytes, derived from its key), host, and how its key is kept.

    `passphrase` is None where the key lies in a key file; `recovery_sha256` (32 bytes) is None without
    recipients.
    """

    vault_id: bytes
    host: str
    passphrase: PassphraseProtection | None
    recipients: tuple[str, ...]
    recovery_sha256: bytes | None

    def encode(self, key: VaultKey) -> bytes:
        """Write vault.json: canonical JSON and LF, with a SHA-256 against accidents and a MAC against
        people."""
        body = self._body()
        signed = canonical_json_int(body)
        body["sha256"] = hashlib.sha256(signed).hexdigest()
        body["mac"] = _mac(key, signed).hex()
        return canonical_json_int(body) + b"\n"

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "host": self.host,
            "key": {"kind": "file"} if self.passphrase is None else _encode_passphrase(self.passphrase),
            "recipients": list(self.recipients),
            "recovery_sha256": None if self.recovery_sha256 is None else self.recovery_sha256.hex(),
            "vault_id": self.vault_id.hex(),
        }


@dataclass(frozen=True, slots=True)
class UnverifiedConfig:
    """Hold a vault.json that agrees with its own SHA-256, but whose MAC nobody has checked yet."""

    config: VaultConfig
    signed: bytes
    claimed_mac: bytes

    def verified(self, key: VaultKey) -> VaultConfig:
        """Return the description if whoever has the vault's key wrote it; raise `VaultConfigDamaged`
        otherwise."""
        if not hmac.compare_digest(_mac(key, self.signed), self.claimed_mac):
            raise VaultConfigDamaged(
                "vault.json was not written with this vault's key: restore it from a copy"
            )
        return self.config


def parse_config(data: bytes) -> UnverifiedConfig:
    """Read vault.json as far as that goes without the key.

    Raises `VaultTooNew` for a later format, `VaultConfigDamaged` for anything else that is not as it was
    written.
    """
    _refuse_newer(data)
    try:
        return _parse_v1(data)
    except (FormatError, KeyError, TypeError, ValueError) as error:
        raise VaultConfigDamaged(f"vault.json is damaged ({error}): restore it from a copy") from error


def _refuse_newer(data: bytes) -> None:
    try:
        name = json.loads(data)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    match = _FORMAT_PATTERN.fullmatch(name) if isinstance(name, str) else None
    if match is not None and int(match[1]) > 1:
        raise VaultTooNew(f"vault.json says {name}, this version reads {FORMAT}: use a newer Scellé")


def _parse_v1(data: bytes) -> UnverifiedConfig:
    if not data.endswith(b"\n"):
        raise FormatError("it does not end in a line feed")
    body = parse_json_strict(data[:-1])
    _expect_keys(body, _KEYS)
    claimed_sha256, claimed_mac = parse_hex(body.pop("sha256"), 32), parse_hex(body.pop("mac"), 32)
    signed = canonical_json_int(body)
    if hashlib.sha256(signed).digest() != claimed_sha256:
        raise FormatError("its SHA-256 is another")
    return UnverifiedConfig(_config_of(body), signed, claimed_mac)


def _config_of(body: dict[str, Any]) -> VaultConfig:
    if body["format"] != FORMAT or not is_host(body["host"]):
        raise FormatError("unknown format or host")
    recipients, recovery = body["recipients"], body["recovery_sha256"]
    if not isinstance(recipients, list) or bool(recipients) != (recovery is not None):
        raise FormatError("recipients and recovery_sha256 do not agree")
    return VaultConfig(
        vault_id=parse_hex(body["vault_id"], VAULT_ID_BYTES),
        host=body["host"],
        passphrase=_parse_key(body["key"]),
        recipients=tuple(str(recipient) for recipient in recipients),
        recovery_sha256=None if recovery is None else parse_hex(recovery, 32),
    )


def _encode_passphrase(protection: PassphraseProtection) -> dict[str, Any]:
    return {
        "kdf": "argon2id",
        "kind": "passphrase",
        "lanes": protection.cost.lanes,
        "memory_kib": protection.cost.memory_kib,
        "passes": protection.cost.passes,
        "salt": protection.salt.hex(),
        "wrapped": base64_text(protection.wrapped),
    }


def _parse_key(key: dict[str, Any]) -> PassphraseProtection | None:
    if key == {"kind": "file"}:
        return None
    _expect_keys(key, _PASSPHRASE_KEYS)
    cost = Argon2Cost(int(key["memory_kib"]), int(key["passes"]), int(key["lanes"]))
    if key["kind"] != "passphrase" or key["kdf"] != "argon2id" or not cost.is_sane():
        raise FormatError("unknown way to keep the key")
    return PassphraseProtection(cost, parse_hex(key["salt"], 16), parse_base64(key["wrapped"], WRAPPED_BYTES))


def _expect_keys(value: Any, expected: frozenset[str]) -> None:
    if not isinstance(value, dict) or value.keys() != expected:
        raise FormatError("it has other keys than its format")


def _mac(key: VaultKey, signed: bytes) -> bytes:
    return hmac.digest(key.derive(_MAC_PURPOSE), signed, "sha256")


def what_a_copy_contains(config: VaultConfig) -> str:
    """Say, for the person who makes a vault, what someone who copies its folder can and cannot read."""
    paragraphs = [
        "Whoever copies this folder without the key can read: the host name, order ids, the neutral aliases "
        "of sources, how many records each has and in which hours, when things were sealed, signatures and "
        "time-stamps; the number and sizes of the stored blocks, and from the catalog the sizes of the "
        "contents (so a large or odd file may be recognised by its size).",
        "He cannot read contents, names of files, people or subjects, nor tell otherwise whether a given "
        "file is in it.",
        _where_the_key_is(config),
        _who_can_recover(config),
    ]
    return "\n".join(paragraphs) + "\n"


def _where_the_key_is(config: VaultConfig) -> str:
    if config.passphrase is None:
        return (
            "The key is not in the folder: it is in the key file. Keep a copy of that file elsewhere: "
            "without it nothing can be read again."
        )
    return (
        "The key is in the folder, encrypted under the passphrase (Argon2id): a copy is as safe as the "
        "passphrase is hard to guess, for as long as the copy exists."
    )


def _who_can_recover(config: VaultConfig) -> str:
    if not config.recipients:
        return "There are no recovery recipients: if the key is lost, everything is lost."
    return (
        f"The key is also in recovery.age, encrypted to {len(config.recipients)} recovery "
        f"{'recipient' if len(config.recipients) == 1 else 'recipients'}: the holder of such an age identity "
        "and of a copy of the folder can read everything."
    )
