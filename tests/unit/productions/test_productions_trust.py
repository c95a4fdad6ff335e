from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.errors import PackageNameRefused, RequestWrong
from scelle.formats.notes import ED25519, make_vkey
from scelle.formats.packages import Held, parse_trust
from scelle.productions.trust import (
    Cosigners,
    fingerprint,
    trust_for,
    trust_letter,
    verifier_bytes,
    write_trust,
)
from tests.unit.productions.ledgers import AUTHORITY_KEY, VERIFIER, Small


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path, with_authority=True)
    yield made
    made.ledger.close()


def test_trust_names_keys_genesis_and_the_state_of_today(small: Small) -> None:
    small.item_zero()
    small.seal()
    ledger = small.ledger
    trust = trust_for(ledger)

    assert parse_trust(trust.encode()) == trust
    assert trust.policy.authority == (AUTHORITY_KEY,)
    assert trust.policy.log == (ledger.signer.ed25519_key, ledger.signer.mldsa44_key)
    assert trust.policy.genesis == ledger.state.genesis_leaf
    assert trust.tagkey == ledger.secrets.tag_key
    assert trust.held == Held(ledger.log.size, ledger.log.root)
    assert trust.policy.verifier_sha256 == sha256(VERIFIER.read_bytes()).digest()


def test_the_policy_in_a_package_has_no_tag_key(small: Small) -> None:
    trust = trust_for(small.ledger)
    assert trust.tagkey.hex().encode() in trust.encode()
    assert trust.tagkey.hex().encode() not in trust.policy.encode()


def test_an_order_whose_log_is_not_published_has_no_trust(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.ledger.state, "genesis", None)
    with pytest.raises(RequestWrong, match="no published log"):
        trust_for(small.ledger)


def test_an_order_without_an_authoritys_key_names_none(tmp_path: Path) -> None:
    small = Small(tmp_path / "without")
    assert trust_for(small.ledger).policy.authority == ()
    small.ledger.close()


def test_the_letter_says_what_a_receiver_can_compute(small: Small) -> None:
    cosigner = make_vkey("witness.example", ED25519, bytes(range(32)))
    trust = trust_for(small.ledger, Cosigners((cosigner,), 1))
    letter = trust_letter(trust)

    def groups(digest: str) -> str:
        return " ".join(digest[at : at + 4] for at in range(0, 64, 4))

    assert groups(sha256(trust.encode()).hexdigest()) in letter
    assert groups(sha256(verifier_bytes()).hexdigest()) in letter
    for key in (*trust.policy.log, AUTHORITY_KEY, cosigner):
        assert f"id {key.key_id:08x}, {key.name}\n      {fingerprint(key.public)}" in letter
    assert trust.policy.origin in letter
    assert trust.tagkey.hex() not in letter
    assert len(letter.splitlines()) < 60
    assert max(map(len, letter.splitlines())) <= 94


def test_trust_and_letter_are_written_once_and_for_the_owner_only(small: Small, tmp_path: Path) -> None:
    to = tmp_path / "trust.json"
    document = write_trust(small.ledger, to)

    letter = tmp_path / "trust-letter.txt"
    assert (document["trust"], document["letter"]) == (str(to), str(letter))
    assert parse_trust(to.read_bytes()) == trust_for(small.ledger)
    assert letter.read_text() == trust_letter(trust_for(small.ledger))
    assert document["trust_sha256"] == sha256(to.read_bytes()).hexdigest()
    assert {path.stat().st_mode & 0o777 for path in (to, letter)} == {0o600}
    for taken in (to, letter):
        with pytest.raises(PackageNameRefused):
            write_trust(small.ledger, to)
        taken.unlink()
    write_trust(small.ledger, to)
