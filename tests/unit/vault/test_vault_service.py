import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest

from scelle.errors import (
    InputError,
    KeyFileRefused,
    NotAVault,
    ScelleError,
    VaultConfigDamaged,
    VaultExists,
    VaultSettingsWrong,
    VaultTooNew,
    WrongKey,
)
from scelle.formats.canonical_json import canonical_json_int
from scelle.vault.keys import VaultKey, protect_with_passphrase, write_key_file
from scelle.vault.model import VaultConfig, parse_config, what_a_copy_contains
from scelle.vault.service import OpenedVault, create_vault, open_vault, read_config

HOST = "platform.example"
PASSPHRASE = "a long and quiet afternoon"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.fixture
def vault(tmp_path: Path) -> OpenedVault:
    return create_vault(tmp_path / "vault", host=HOST, key_file=tmp_path / "vault.key")


def test_a_vault_opens_with_its_key_file(vault: OpenedVault, tmp_path: Path) -> None:
    again = open_vault(vault.path, key_file=tmp_path / "vault.key")
    assert again.config == vault.config
    assert again.key.is_same_as(vault.key)
    assert (again.config.host, again.config.vault_id) == (HOST, vault.key.vault_id)
    assert [entry.name for entry in vault.path.iterdir()] == ["vault.json"]
    assert (vault.path / "vault.json").stat().st_mode & 0o077 == 0


def test_a_folder_of_key_files_is_enough(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    vaults = [create_vault(tmp_path / f"vault{n}", host=HOST, key_file=keys) for n in range(2)]
    for vault in vaults:
        assert open_vault(vault.path, key_file=keys).key.is_same_as(vault.key)
    assert sorted(path.name for path in keys.iterdir()) == sorted(
        f"{vault.config.vault_id.hex()}.key" for vault in vaults
    )


def test_a_vault_opens_with_its_passphrase(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "vault", host=HOST, passphrase=PASSPHRASE)
    assert open_vault(vault.path, passphrase=PASSPHRASE).key.is_same_as(vault.key)
    with pytest.raises(WrongKey, match="wrong passphrase"):
        open_vault(vault.path, passphrase="another long afternoon")
    with pytest.raises(InputError, match="no key given"):
        open_vault(vault.path)


def test_a_recovered_key_file_opens_a_vault_whose_passphrase_was_forgotten(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "vault", host=HOST, passphrase=PASSPHRASE)
    write_key_file(tmp_path / "restored.key", vault.key)
    assert open_vault(vault.path, key_file=tmp_path / "restored.key").key.is_same_as(vault.key)


def test_the_key_of_another_vault_is_named_and_not_shown(vault: OpenedVault, tmp_path: Path) -> None:
    other = create_vault(tmp_path / "other", host=HOST, key_file=tmp_path / "other.key")
    with pytest.raises(WrongKey) as caught:
        open_vault(vault.path, key_file=tmp_path / "other.key")
    message = str(caught.value)
    assert vault.config.vault_id.hex() in message
    assert other.config.vault_id.hex() in message
    assert (tmp_path / "other.key").read_text().splitlines()[1] not in message
    with pytest.raises(WrongKey, match="has no passphrase"):
        open_vault(vault.path, passphrase=PASSPHRASE)


def test_a_key_file_inside_the_vault_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused, match="inside the vault"):
        create_vault(tmp_path / "vault", host=HOST, key_file=tmp_path / "vault/vault.key")
    assert not (tmp_path / "vault").exists()
    vault = create_vault(tmp_path / "vault", host=HOST, key_file=tmp_path / "vault.key")
    (tmp_path / "vault.key").rename(vault.path / "vault.key")
    with pytest.raises(KeyFileRefused, match="inside the vault"):
        open_vault(vault.path, key_file=vault.path / "vault.key")


def test_a_folder_that_holds_anything_is_refused(vault: OpenedVault, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for path, reason in (
        (vault.path, "a vault already"),
        (tmp_path / "full", "not empty"),
        (tmp_path / "file", "no"),
    ):
        with pytest.raises(VaultExists, match=reason):
            create_vault(path, host=HOST, key_file=tmp_path / "new.key")
    assert not (tmp_path / "new.key").exists()
    assert (tmp_path / "full/letter.txt").read_text() == "dear"
    create_vault(tmp_path / "empty", host=HOST, key_file=tmp_path / "new.key")


def test_what_a_broken_init_left_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    folder.mkdir()
    for name in ("recovery.age", "vault.json.tmp"):
        (folder / name).write_bytes(b"half")
    create_vault(folder, host=HOST, key_file=tmp_path / "k", recipients=[RECIPIENT])
    (folder / "vault.json.tmp").unlink(missing_ok=True)
    open_vault(folder, key_file=tmp_path / "k")


def test_a_broken_init_without_recipients_leaves_nothing_that_counts(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    folder.mkdir()
    (folder / "recovery.age").write_bytes(b"of another try")
    create_vault(folder, host=HOST, key_file=tmp_path / "k")
    assert open_vault(folder, key_file=tmp_path / "k").config.recovery_sha256 is None


@pytest.mark.parametrize("host", ["", "Platform.example", "a b", "a/b", "host:port", "é.example", "a\n"])
def test_a_host_that_cannot_be_an_origin_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(VaultSettingsWrong):
        create_vault(tmp_path / "vault", host=host, key_file=tmp_path / "k")
    assert not (tmp_path / "vault").exists()
    assert not (tmp_path / "k").exists()


def test_one_way_to_keep_the_key_is_demanded(tmp_path: Path) -> None:
    with pytest.raises(VaultSettingsWrong):
        create_vault(tmp_path / "vault", host=HOST)
    with pytest.raises(VaultSettingsWrong):
        create_vault(tmp_path / "vault", host=HOST, key_file=tmp_path / "k", passphrase=PASSPHRASE)
    with pytest.raises(VaultSettingsWrong):
        create_vault(tmp_path / "vault", host=HOST, passphrase="short")
    (tmp_path / "k").write_text("mine")
    with pytest.raises(KeyFileRefused, match="is there already"):
        create_vault(tmp_path / "vault", host=HOST, key_file=tmp_path / "k")
    assert list(tmp_path.iterdir()) == [tmp_path / "k"]


@pytest.mark.parametrize("content", [None, b""])
def test_what_is_no_vault_is_said_so(tmp_path: Path, content: bytes | None) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file/inside"):
        (tmp_path / "file").write_text("x")
        with pytest.raises(NotAVault, match="scelle init"):
            open_vault(path, key_file=tmp_path / "k")


def test_every_flipped_bit_of_the_description_is_refused(vault: OpenedVault, tmp_path: Path) -> None:
    check_every_flip(vault, key_file=tmp_path / "vault.key")


def test_every_flipped_bit_is_refused_with_recipients(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, key_file=tmp_path / "k", recipients=[RECIPIENT])
    check_every_flip(vault, key_file=tmp_path / "k")


def check_every_flip(vault: OpenedVault, key_file: Path) -> None:
    path = vault.path / "vault.json"
    data = path.read_bytes()
    path.chmod(0o600)
    for at in range(len(data)):
        for bit in (1, 0x20):
            path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            with pytest.raises((VaultConfigDamaged, VaultTooNew), match=r"vault\.json"):
                open_vault(vault.path, key_file=key_file)
    for changed in (
        b"",
        data[:-1],
        data + b"\n",
        data[:50],
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe",
        b"[" * 9000,
    ):
        path.write_bytes(changed)
        with pytest.raises(VaultConfigDamaged):
            open_vault(vault.path, key_file=key_file)
    path.write_bytes(data)
    open_vault(vault.path, key_file=key_file)


def test_a_flip_in_a_passphrase_vault_is_damage_and_not_a_wrong_passphrase(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, passphrase=PASSPHRASE)
    path = vault.path / "vault.json"
    data = path.read_bytes()
    for at in range(data.index(b'"key"'), data.index(b'"mac"')):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(VaultConfigDamaged):
            read_config(vault.path)


def forged(config: bytes, **changes: object) -> bytes:
    """Change a description and make its SHA-256 right again, as someone without the key can."""
    body = json.loads(config)
    del body["sha256"]
    mac = body.pop("mac")
    body |= changes
    digest = hashlib.sha256(canonical_json_int(body)).hexdigest()
    return canonical_json_int(body | {"mac": mac, "sha256": digest}) + b"\n"


@pytest.mark.parametrize(
    "change", [{"host": "evil.example"}, {"recipients": [RECIPIENT], "recovery_sha256": "00" * 32}]
)
def test_a_description_forged_without_the_key_is_refused(
    vault: OpenedVault, tmp_path: Path, change: dict[str, object]
) -> None:
    path = vault.path / "vault.json"
    path.write_bytes(forged(path.read_bytes(), **change))
    read_config(vault.path)
    with pytest.raises(VaultConfigDamaged, match="not written with this vault's key"):
        open_vault(vault.path, key_file=tmp_path / "vault.key")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"key": {"kind": "none"}},
        {"key": None},
        {"key": {"kind": "passphrase"}},
        {"vault_id": "00"},
        {"recipients": None},
        {"recovery_sha256": "00" * 32},
        {"host": 7},
    ],
)
def test_a_description_of_another_shape_is_refused(vault: OpenedVault, change: dict[str, object]) -> None:
    with pytest.raises(VaultConfigDamaged):
        parse_config(forged((vault.path / "vault.json").read_bytes(), **change))


@pytest.mark.parametrize(
    "field", [{"memory_kib": 1 << 30}, {"passes": 10**6}, {"lanes": 0}, {"kdf": "scrypt"}]
)
def test_a_description_that_asks_for_too_much_is_refused(tmp_path: Path, field: dict[str, object]) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, passphrase=PASSPHRASE)
    data = (vault.path / "vault.json").read_bytes()
    with pytest.raises(VaultConfigDamaged):
        parse_config(forged(data, key=json.loads(data)["key"] | field))


@pytest.mark.parametrize("version", ["scelle/vault/v2", "scelle/vault/v10", "scelle/vault/v999999999"])
def test_a_newer_format_is_said_so(vault: OpenedVault, tmp_path: Path, version: str) -> None:
    path = vault.path / "vault.json"
    for text in (
        forged(path.read_bytes(), format=version),
        json.dumps({"format": version, "something": ["new", 1.5]}).encode(),
    ):
        path.write_bytes(text)
        with pytest.raises(VaultTooNew, match="use a newer"):
            open_vault(vault.path, key_file=tmp_path / "vault.key")


@pytest.mark.parametrize(
    "version", ["scelle/vault/v0", "scelle/vault/v01", "scelle/vault/vx", "other/v2", "", 2, None]
)
def test_an_unknown_format_is_damage(vault: OpenedVault, version: object) -> None:
    with pytest.raises(VaultConfigDamaged):
        parse_config(forged((vault.path / "vault.json").read_bytes(), format=version))


def test_the_description_is_what_the_format_says() -> None:
    key = VaultKey(bytes(range(32)))
    config = VaultConfig(key.vault_id, HOST, None, (), None)
    data = config.encode(key)
    body = json.loads(data)
    mac, digest = body.pop("mac"), body.pop("sha256")
    signed = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    assert digest == hashlib.sha256(signed).hexdigest()
    assert mac == hmac.new(key.derive("vault.json"), signed, "sha256").hexdigest()
    assert body == {
        "format": "scelle/vault/v1",
        "host": HOST,
        "key": {"kind": "file"},
        "recipients": [],
        "recovery_sha256": None,
        "vault_id": key.vault_id.hex(),
    }
    assert parse_config(data).verified(key) == config


def test_a_crash_at_every_step_of_init_leaves_no_vault_or_a_whole_one(tmp_path: Path) -> None:
    from scelle.vault.durable import Step, observed

    class Stop(Exception):
        pass

    for stop_at in range(100):
        count = [0]

        def stopping(_: Step, when: str, stop_at: int = stop_at, count: list[int] = count) -> None:
            if when == "before":
                if count[0] == stop_at:
                    raise Stop
                count[0] += 1

        folder, keys = tmp_path / f"v{stop_at}", tmp_path / f"k{stop_at}"
        keys.mkdir()
        try:
            with observed(stopping):
                create_vault(folder, host=HOST, key_file=keys, recipients=[RECIPIENT])
        except Stop:
            if (folder / "vault.json").exists():
                open_vault(folder, key_file=keys)
            else:
                create_vault(folder, host=HOST, key_file=keys, recipients=[RECIPIENT])
                open_vault(folder, key_file=keys)
        else:
            assert stop_at > 10
            return
    pytest.fail("init never ended")


def test_what_a_copy_contains_depends_on_where_the_key_is(tmp_path: Path) -> None:
    by_file = create_vault(tmp_path / "a", host=HOST, key_file=tmp_path / "k").config
    by_passphrase = create_vault(
        tmp_path / "b", host=HOST, passphrase=PASSPHRASE, recipients=[RECIPIENT]
    ).config
    assert "not in the folder" in what_a_copy_contains(by_file)
    assert "no recovery recipients" in what_a_copy_contains(by_file)
    assert "under the passphrase" in what_a_copy_contains(by_passphrase)
    assert "1 recovery recipient:" in what_a_copy_contains(by_passphrase)


def test_no_secret_is_in_any_message_or_plain_file(tmp_path: Path) -> None:
    vault = create_vault(tmp_path / "v", host=HOST, passphrase=PASSPHRASE, recipients=[RECIPIENT])
    line = vault.key.key_file_text().splitlines()[1]
    for path in vault.path.rglob("*"):
        assert line not in path.read_bytes()
        assert PASSPHRASE.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_description_is_a_fault_of_the_store(vault: OpenedVault) -> None:
    (vault.path / "vault.json").chmod(0)
    with pytest.raises(ScelleError):
        read_config(vault.path)


def test_a_protection_cannot_be_moved_to_another_vault() -> None:
    key = VaultKey.generate()
    protection = protect_with_passphrase(key, PASSPHRASE)
    with pytest.raises(WrongKey):
        protection.key(PASSPHRASE, VaultKey.generate().vault_id)
