import json
import os
import stat
from pathlib import Path

import pyrage
import pytest

from scelle.errors import KeyFileRefused, OperatorKeyRefused
from scelle.operators.keys import OperatorKey, needs_passphrase, read_operator_key, write_operator_key

PASSPHRASE = "a long and mild passphrase"


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_file_is_its_owners_alone_and_reads_back(tmp_path: Path, passphrase: str | None) -> None:
    key, path = OperatorKey.generate("alice"), tmp_path / "keys" / "alice.key"
    write_operator_key(path, key, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert needs_passphrase(path) is (passphrase is not None)
    back = read_operator_key(path, passphrase)
    assert (back.name, back.seed, back.identity) == (key.name, key.seed, key.identity)
    secret = key.seed.hex().encode() in path.read_bytes() or key.identity.encode() in path.read_bytes()
    assert not secret
    assert key.seed.hex() not in repr(key)


def test_under_a_passphrase_nothing_but_the_passphrase_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    write_operator_key(path, OperatorKey.generate("alice"), PASSPHRASE)
    for wrong in ("another long passphrase", None):
        with pytest.raises(OperatorKeyRefused):
            read_operator_key(path, wrong)
    with pytest.raises(OperatorKeyRefused, match="can be guessed"):
        write_operator_key(tmp_path / "b.key", OperatorKey.generate("bob"), "short")


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_file_whose_name_was_changed_is_none(tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "alice.key"
    write_operator_key(path, OperatorKey.generate("alice"), passphrase)
    body = json.loads(path.read_bytes())
    path.write_text(json.dumps(body | {"name": "bob"}))
    with pytest.raises(OperatorKeyRefused):
        read_operator_key(path, passphrase)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":"scelle/operator-key/v1","name":"a"}', "\xff"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "alice.key"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(OperatorKeyRefused):
        read_operator_key(path, None)


def test_a_file_that_others_read_a_pipe_and_a_link_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    write_operator_key(path, OperatorKey.generate("alice"), None)
    (tmp_path / "link.key").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    path.chmod(0o640)
    for name in ("alice.key", "link.key", "pipe.key", "missing.key"):
        with pytest.raises(KeyFileRefused):
            read_operator_key(tmp_path / name, None)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    write_operator_key(path, OperatorKey.generate("alice"), None)
    before = path.read_bytes()
    with pytest.raises(OperatorKeyRefused, match="stays as it is"):
        write_operator_key(path, OperatorKey.generate("alice"), None)
    assert path.read_bytes() == before


def test_only_the_recipient_decrypts() -> None:
    alice, bob = OperatorKey.generate("alice"), OperatorKey.generate("bob")
    sealed = pyrage.encrypt(b"text", [pyrage.x25519.Recipient.from_str(alice.recipient)])
    assert alice.decrypt(sealed) == b"text"
    with pytest.raises(OperatorKeyRefused):
        bob.decrypt(sealed)
