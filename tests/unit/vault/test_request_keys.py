"""Keys of single requests: what they seal opens until they are destroyed, and never after."""

from pathlib import Path

import pytest

from scelle.errors import WrongKey
from scelle.vault.keys import VaultKey
from scelle.vault.request_keys import forget_request_keys, make_request_key, read_request_key


def test_what_a_request_says_opens_until_its_key_is_destroyed(tmp_path: Path) -> None:
    key = VaultKey.generate()
    sealed = make_request_key(tmp_path, key, "e1").seal(b"4711")
    make_request_key(tmp_path, key, "e2")
    found = read_request_key(tmp_path, key, "e1")
    assert found is not None
    assert found.open(sealed) == b"4711"
    assert b"4711" not in sealed
    assert forget_request_keys(tmp_path, {"e2"}) == ["e1"]
    assert read_request_key(tmp_path, key, "e1") is None
    assert read_request_key(tmp_path, key, "e2") is not None
    assert forget_request_keys(tmp_path, {"e2"}) == []


def test_a_key_opens_nothing_of_another_request_or_vault(tmp_path: Path) -> None:
    key = VaultKey.generate()
    sealed = make_request_key(tmp_path, key, "e1").seal(b"4711")
    other = make_request_key(tmp_path, key, "e2")
    with pytest.raises(WrongKey):
        other.open(sealed)
    (tmp_path / "erasures" / "e3").write_bytes((tmp_path / "erasures" / "e1").read_bytes())
    with pytest.raises(WrongKey):
        read_request_key(tmp_path, key, "e3")
    with pytest.raises(WrongKey):
        read_request_key(tmp_path, VaultKey.generate(), "e1")


def test_a_vault_without_requests_has_no_keys_to_forget(tmp_path: Path) -> None:
    assert forget_request_keys(tmp_path, set()) == []
