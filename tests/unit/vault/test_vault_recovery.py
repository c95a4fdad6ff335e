import hashlib
import json
import subprocess
from pathlib import Path
from shutil import which

import pyrage
import pytest

from scelle.errors import RecoveryFailed, VaultConfigDamaged, VaultSettingsWrong
from scelle.formats.canonical_json import canonical_json_int
from scelle.vault.keys import VaultKey, read_key_file, write_key_file
from scelle.vault.recovery import encrypt_to, prove_recovery, recover_key
from scelle.vault.service import OpenedVault, create_vault, open_vault, read_config

HOST = "platform.example"
PASSPHRASE = "a long and quiet afternoon"


class Person:
    """Somebody who holds an age identity in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.secret, self.recipient = str(identity), str(identity.to_public())
        self.file = folder / f"{name}.identity"
        self.file.write_text(f"# created: some day\n# public key: {self.recipient}\n{self.secret}\n")


@pytest.fixture
def anna(tmp_path: Path) -> Person:
    return Person(tmp_path, "anna")


@pytest.fixture
def bela(tmp_path: Path) -> Person:
    return Person(tmp_path, "bela")


@pytest.fixture
def vault(tmp_path: Path, anna: Person, bela: Person) -> OpenedVault:
    return create_vault(
        tmp_path / "vault",
        host=HOST,
        key_file=tmp_path / "vault.key",
        recipients=[anna.recipient, bela.recipient],
    )


def test_each_recipient_can_restore_the_key_from_a_copy_alone(
    vault: OpenedVault, tmp_path: Path, anna: Person, bela: Person
) -> None:
    (tmp_path / "vault.key").unlink()
    for person in (anna, bela):
        key, proof = recover_key(vault.path, read_config(vault.path), person.file)
        assert key.is_same_as(vault.key)
        assert proof == prove_recovery(vault.path, read_config(vault.path), person.file)
        assert proof.recipient == person.recipient
        assert proof.vault_id == vault.key.vault_id
        assert proof.recovery_sha256 == hashlib.sha256((vault.path / "recovery.age").read_bytes()).digest()
    write_key_file(tmp_path / "restored.key", key)
    assert open_vault(vault.path, key_file=tmp_path / "restored.key").key.is_same_as(vault.key)


def test_the_recovery_file_is_a_key_file_for_age(vault: OpenedVault, tmp_path: Path, anna: Person) -> None:
    identity = pyrage.x25519.Identity.from_str(anna.secret)
    text = pyrage.decrypt((vault.path / "recovery.age").read_bytes(), [identity])
    restored = tmp_path / "by-age.key"
    restored.write_bytes(text)
    restored.chmod(0o600)
    assert read_key_file(restored).is_same_as(vault.key)


@pytest.mark.skipif(which("age") is None, reason="the age tool is not installed")
def test_the_age_tool_opens_it(vault: OpenedVault, tmp_path: Path, anna: Person) -> None:
    command = ["age", "-d", "-i", str(anna.file), str(vault.path / "recovery.age")]
    assert subprocess.run(command, check=True, capture_output=True).stdout == vault.key.key_file_text()


def test_a_vault_under_a_passphrase_can_be_restored_too(tmp_path: Path, anna: Person) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, passphrase=PASSPHRASE, recipients=[anna.recipient])
    assert recover_key(vault.path, read_config(vault.path), anna.file)[0].is_same_as(vault.key)


def test_a_stranger_restores_nothing(vault: OpenedVault, tmp_path: Path) -> None:
    stranger = Person(tmp_path, "stranger")
    with pytest.raises(RecoveryFailed, match="no identity in it opens"):
        prove_recovery(vault.path, read_config(vault.path), stranger.file)


def test_one_of_several_identities_is_enough(vault: OpenedVault, tmp_path: Path, anna: Person) -> None:
    stranger = Person(tmp_path, "stranger")
    ring = tmp_path / "ring"
    ring.write_text(f"{stranger.secret}\n\n# mine:\n{anna.secret}\r\n")
    assert prove_recovery(vault.path, read_config(vault.path), ring).recipient == anna.recipient


def test_a_vault_without_recipients_says_so(tmp_path: Path, anna: Person) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, key_file=tmp_path / "k")
    with pytest.raises(RecoveryFailed, match="no recovery recipients"):
        prove_recovery(vault.path, read_config(vault.path), anna.file)


@pytest.mark.parametrize(
    "text",
    ["", "# only a comment\n", "AGE-SECRET-KEY-1", "age1nothing", "ssh-ed25519 AAAA", "\xff", "-----BEGIN"],
)
def test_what_is_no_identity_file_is_refused(vault: OpenedVault, tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RecoveryFailed):
        prove_recovery(vault.path, read_config(vault.path), path)
    with pytest.raises(RecoveryFailed, match="cannot be read"):
        prove_recovery(vault.path, read_config(vault.path), tmp_path / "missing")


def test_no_message_shows_the_identity(vault: OpenedVault, tmp_path: Path, anna: Person) -> None:
    broken = tmp_path / "broken"
    broken.write_text(anna.secret[:-3] + "\n")
    with pytest.raises(RecoveryFailed) as caught:
        prove_recovery(vault.path, read_config(vault.path), broken)
    assert anna.secret[:30] not in str(caught.value)


def test_every_flipped_byte_of_the_recovery_file_is_named(vault: OpenedVault, tmp_path: Path) -> None:
    path = vault.path / "recovery.age"
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(VaultConfigDamaged, match=r"recovery\.age"):
            open_vault(vault.path, key_file=tmp_path / "vault.key")
    path.write_bytes(data + b"\n")
    with pytest.raises(VaultConfigDamaged):
        open_vault(vault.path, key_file=tmp_path / "vault.key")
    path.unlink()
    with pytest.raises(VaultConfigDamaged, match="cannot be read"):
        open_vault(vault.path, key_file=tmp_path / "vault.key")


def test_a_recovery_file_that_should_not_be_there_is_named(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, key_file=tmp_path / "k")
    (vault.path / "recovery.age").write_bytes(b"planted")
    with pytest.raises(VaultConfigDamaged, match="has no recovery recipients"):
        open_vault(vault.path, key_file=tmp_path / "k")


def forge(vault: OpenedVault, **changes: object) -> None:
    """Change vault.json and make its SHA-256 right again, as someone without the key can."""
    path = vault.path / "vault.json"
    body = json.loads(path.read_bytes()) | changes
    mac = body.pop("mac")
    del body["sha256"]
    digest = hashlib.sha256(canonical_json_int(body)).hexdigest()
    path.write_bytes(canonical_json_int(body | {"mac": mac, "sha256": digest}) + b"\n")


def test_a_recovery_file_of_another_vault_is_refused(
    tmp_path: Path, vault: OpenedVault, anna: Person
) -> None:
    planted = encrypt_to([anna.recipient], VaultKey.generate())
    (vault.path / "recovery.age").write_bytes(planted.data)
    forge(vault, recovery_sha256=planted.sha256.hex())
    with pytest.raises(RecoveryFailed, match="another vault"):
        prove_recovery(vault.path, read_config(vault.path), anna.file)
    with pytest.raises(VaultConfigDamaged):
        open_vault(vault.path, key_file=tmp_path / "vault.key")


def test_a_recovery_file_without_a_key_is_refused(anna: Person, vault: OpenedVault) -> None:
    data = pyrage.encrypt(b"# nothing\nhere\n", [pyrage.x25519.Recipient.from_str(anna.recipient)])
    (vault.path / "recovery.age").write_bytes(data)
    forge(vault, recovery_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(RecoveryFailed, match="holds no vault key"):
        prove_recovery(vault.path, read_config(vault.path), anna.file)


def test_a_drill_notices_a_forged_description(anna: Person, vault: OpenedVault) -> None:
    forge(vault, host="evil.example")
    with pytest.raises(VaultConfigDamaged, match="not written with this vault's key"):
        prove_recovery(vault.path, read_config(vault.path), anna.file)


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "age1",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8q",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN anna@example.org",
        "AGE-SECRET-KEY-1",
        "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
    ],
)
def test_what_is_no_recipient_is_refused_before_anything_is_written(tmp_path: Path, recipient: str) -> None:
    with pytest.raises(VaultSettingsWrong, match="age-keygen"):
        create_vault(tmp_path / "v", host=HOST, key_file=tmp_path / "k", recipients=[recipient])
    assert list(tmp_path.iterdir()) == []


def test_a_recipient_twice_is_refused(tmp_path: Path, anna: Person) -> None:
    with pytest.raises(VaultSettingsWrong, match="twice"):
        encrypt_to([anna.recipient] * 2, VaultKey.generate())
