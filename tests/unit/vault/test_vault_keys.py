import base64
import os
import pickle
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scelle.errors import KeyFileRefused, VaultSettingsWrong, WrongKey
from scelle.vault.keys import (
    Argon2Cost,
    VaultKey,
    parse_key_file,
    protect_with_passphrase,
    read_key_file,
    refuse_inside,
    write_key_file,
)

SECRET = bytes(range(32))
KEY = VaultKey(SECRET)
CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)


# --- derive, wrap, seal


def test_keys_are_derived_as_the_format_says() -> None:
    expected = HKDF(SHA256(), 32, None, b"scelle/vault/v1 contents").derive(SECRET)
    assert KEY.derive("contents") == expected
    assert KEY.vault_id == HKDF(SHA256(), 32, None, b"scelle/vault/v1 vault-id").derive(SECRET)[:16]
    assert KEY.vault_id.hex() == "3937a1b821024e0b33d9fa07ea9493d8"
    assert len({KEY.derive(purpose) for purpose in ("wrap", "seal", "contents", "vault-id", "x")}) == 5


def test_a_wrapped_key_opens_in_its_place_only() -> None:
    wrapped = KEY.wrap(b"k" * 32, b"place 1")
    assert len(wrapped) == 60
    assert wrapped != KEY.wrap(b"k" * 32, b"place 1"), "a new nonce each time"
    assert KEY.unwrap(wrapped, b"place 1") == b"k" * 32
    wrapping = AESGCM(KEY.derive("wrap"))
    assert wrapping.decrypt(wrapped[:12], wrapped[12:], b"place 1") == b"k" * 32


def test_every_flipped_bit_of_a_wrapped_key_is_refused() -> None:
    wrapped = KEY.wrap(b"k" * 32, b"place")
    for at in range(60):
        with pytest.raises(WrongKey):
            KEY.unwrap(wrapped[:at] + bytes([wrapped[at] ^ 0x10]) + wrapped[at + 1 :], b"place")


@pytest.mark.parametrize("size", [0, 1, 12, 28, 59, 61, 120])
def test_a_wrapped_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(WrongKey):
        KEY.unwrap((KEY.wrap(b"k" * 32, b"") * 2)[:size], b"")


def test_another_key_or_place_opens_nothing() -> None:
    wrapped, sealed = KEY.wrap(b"k" * 32, b"here"), KEY.seal(b"text", b"here")
    other = VaultKey(bytes(32))
    for key, data, context in ((KEY, wrapped, b"there"), (other, wrapped, b"here")):
        with pytest.raises(WrongKey):
            key.unwrap(data, context)
    for key, data, context in ((KEY, sealed, b"there"), (other, sealed, b"here"), (KEY, wrapped, b"here")):
        with pytest.raises(WrongKey):
            key.open(data, context)
    with pytest.raises(WrongKey):
        KEY.unwrap(KEY.seal(b"k" * 32, b"here"), b"here")


@pytest.mark.parametrize("data", [b"", b"x", bytes(100_000)])
def test_sealed_data_opens_again(data: bytes) -> None:
    sealed = KEY.seal(data, b"c")
    assert len(sealed) == len(data) + 28
    assert KEY.open(sealed, b"c") == data
    for cut in (0, 5, 12, 27, len(sealed) - 1):
        with pytest.raises(WrongKey):
            KEY.open(sealed[:cut], b"c")


def test_a_key_tells_nothing_of_itself() -> None:
    shown = f"{KEY} {KEY!r} {KEY:}"
    assert SECRET.hex() not in shown
    assert base64.b64encode(SECRET).decode() not in shown
    assert KEY.vault_id.hex() in shown


def test_a_key_reaches_worker_processes() -> None:
    assert pickle.loads(pickle.dumps(KEY)).is_same_as(KEY)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(WrongKey):
        VaultKey(bytes(size))


def test_two_generated_keys_differ() -> None:
    assert not VaultKey.generate().is_same_as(VaultKey.generate())


def test_a_key_can_be_used_by_threads_at_once() -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        context = b"%d" % number
        for _ in range(300):
            if KEY.unwrap(KEY.wrap(SECRET, context), context) != SECRET:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- key files


def test_a_key_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vault.key"
    write_key_file(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path).is_same_as(KEY)
    lines = path.read_text("ascii").split("\n")
    assert lines[0].startswith("# ")
    assert KEY.vault_id.hex() in lines[0]
    assert base64.b64decode(lines[1]) == SECRET
    assert lines[2:] == [""]


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    before = path.read_bytes()
    with pytest.raises(KeyFileRefused, match="is there already"):
        write_key_file(path, VaultKey.generate())
    assert path.read_bytes() == before
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileRefused):
        write_key_file(tmp_path / "dangling", KEY)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601, 0o610, 0o777])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    path.chmod(mode)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        read_key_file(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_file_of_the_owner_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    path.chmod(mode)
    assert read_key_file(path).is_same_as(KEY)


def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    for refused in (link, pipe, tmp_path, tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(KeyFileRefused):
            read_key_file(refused)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    os.chown(path, 12345, 12345)
    with pytest.raises(KeyFileRefused, match="belongs to user 12345"):
        read_key_file(path)


GOOD = KEY.key_file_text()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        SECRET,
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.splitlines()[1] + b"\n",
        b"# x\n" + base64.b64encode(bytes(31)) + b"\n",
        b"# x\n" + base64.b64encode(bytes(33)) + b"\n",
        b"# x\n" + base64.b64encode(SECRET)[:-2] + b"9=\n",
        b"# x\n" + base64.urlsafe_b64encode(b"\xff" * 32) + b"\n",
        b"# x\n" + SECRET.hex().encode() + b"\n",
        b"# \xe9\n" + base64.b64encode(SECRET) + b"\n",
        b"# " + b"x" * 2000 + b"\n" + base64.b64encode(SECRET) + b"\n",
    ],
)
def test_other_contents_are_no_key_file(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "vault.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused) as caught:
        read_key_file(path)
    assert SECRET.hex() not in str(caught.value)
    assert base64.b64encode(SECRET).decode() not in str(caught.value)


def test_every_other_byte_of_a_key_is_another_key_or_none() -> None:
    for at in range(len(GOOD)):
        changed = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        try:
            key = parse_key_file(changed, "k")
        except KeyFileRefused:
            continue
        assert at < GOOD.index(b"\n") or not key.is_same_as(KEY)


def test_a_key_file_inside_the_vault_is_refused(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    (tmp_path / "door").symlink_to(vault)
    for inside in (vault / "k", vault / "a/b", vault / "../vault/k", tmp_path / "door/k", vault):
        with pytest.raises(KeyFileRefused, match="inside the vault"):
            refuse_inside(vault, inside)
    for outside in (tmp_path / "k", tmp_path / "vault-keys/k", vault / "../k"):
        refuse_inside(vault, outside)


# --- passphrases


def test_a_passphrase_gives_the_key_back() -> None:
    protection = protect_with_passphrase(KEY, "correct horse battery", CHEAP)
    assert protection.key("correct horse battery", KEY.vault_id).is_same_as(KEY)
    assert protection.salt != protect_with_passphrase(KEY, "correct horse battery", CHEAP).salt


@pytest.mark.parametrize(
    "wrong", ["", "correct horse batterz", "Correct horse battery", "correct horse battery "]
)
def test_a_wrong_passphrase_is_said_so(wrong: str) -> None:
    protection = protect_with_passphrase(KEY, "correct horse battery", CHEAP)
    with pytest.raises(WrongKey, match="wrong passphrase"):
        protection.key(wrong, KEY.vault_id)
    with pytest.raises(WrongKey):
        protection.key("correct horse battery", bytes(16))


def test_a_passphrase_does_not_depend_on_how_accents_are_typed() -> None:
    protection = protect_with_passphrase(KEY, "caf\u00e9 au lait, sans sucre", CHEAP)
    assert protection.key("cafe\u0301 au lait, sans sucre", KEY.vault_id).is_same_as(KEY)


def test_a_passphrase_that_is_not_unicode_works() -> None:
    protection = protect_with_passphrase(KEY, "caf\udce9 au lait, sans sucre", CHEAP)
    assert protection.key("caf\udce9 au lait, sans sucre", KEY.vault_id).is_same_as(KEY)


@pytest.mark.parametrize("short", ["", "x", "elevenchars"])
def test_a_short_passphrase_is_refused(short: str) -> None:
    with pytest.raises(VaultSettingsWrong, match="12 or more"):
        protect_with_passphrase(KEY, short, CHEAP)


def test_the_default_cost_is_rfc_9106s_second_recommendation() -> None:
    assert Argon2Cost() == Argon2Cost(memory_kib=65536, passes=3, lanes=4)
    assert protect_with_passphrase(KEY, "correct horse battery").cost == Argon2Cost()


@pytest.mark.parametrize(
    "cost", [(7, 1, 1), (64, 0, 1), (64, 1, 0), (8 << 20, 1, 1), (64, 65, 1), (600, 1, 65)]
)
def test_an_insane_cost_is_seen(cost: tuple[int, int, int]) -> None:
    assert not Argon2Cost(*cost).is_sane()
    assert Argon2Cost().is_sane()
