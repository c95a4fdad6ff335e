"""A proof is signed, checked and sealed as an event; one that was changed is not believed."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.errors import GateProofWrong
from scelle.formats.notes import ED25519, make_vkey
from scelle.ledger.events import events
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.safeguards.gate import Bundle, default_policy, prove, read_policy
from scelle.safeguards.gate.sealing import EVENT_KIND, read_signed_proof, seal_proof, sign_proof
from scelle.vault.keys import VaultKey
from tests.unit.safeguards.gate_policies import changed

NOW_US = 1_770_000_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
VKEY = make_vkey("gate.example", ED25519, KEY.public_key().public_bytes_raw())
PROOF = prove(Bundle(default_policy()))


def test_a_signed_proof_is_read_back() -> None:
    document = read_signed_proof(sign_proof(PROOF, "gate.example", KEY), VKEY)
    assert document == PROOF.to_json()
    assert document["holds"] is True
    assert document["bundle_digest"] == Bundle(default_policy()).digest
    assert all(each["holds"] for each in document["properties"].values())


def test_a_refused_policy_has_a_proof_that_says_so() -> None:
    failed = prove(Bundle(read_policy(changed("id: R051", "id: R050"), "p.yaml")))
    document = read_signed_proof(sign_proof(failed, "gate.example", KEY), VKEY)
    assert document["holds"] is False
    assert document["properties"]["unique"]["holds"] is False


def test_a_changed_or_foreign_proof_is_not_believed() -> None:
    signed = sign_proof(PROOF, "gate.example", KEY)
    other = Ed25519PrivateKey.from_private_bytes(b"\x04" * 32)
    foreign = make_vkey("gate.example", ED25519, other.public_key().public_bytes_raw())
    wrong = (
        signed.replace(b'"holds":true', b'"holds":tru3', 1),
        signed[:-20],
        b"",
        signed.replace(b"default@1", b"default@2"),
    )
    for data in wrong:
        with pytest.raises(GateProofWrong):
            read_signed_proof(data, VKEY)
    with pytest.raises(GateProofWrong):
        read_signed_proof(signed, foreign)
    with pytest.raises(GateProofWrong):
        read_signed_proof(sign_proof(PROOF, "gate.example", other), VKEY)


def test_a_proof_is_sealed_as_an_event_of_an_order(tmp_path: Path) -> None:
    key = VaultKey(bytes(range(32)))
    writer = OrderLedgerWriter.create(tmp_path, "o1", "platform.example", key, authority=None, now_us=NOW_US)
    signed = sign_proof(PROOF, "gate.example", KEY)
    seal_proof(writer, NOW_US, "somebody", PROOF, signed)
    writer.seal(NOW_US)
    writer.close()
    (event,) = events(OrderLedger(tmp_path, "o1", "platform.example/po/o1", key), EVENT_KIND)
    assert event.body["proof"] == PROOF.to_json()
    assert read_signed_proof(str(event.body["signed"]).encode(), VKEY) == event.body["proof"]
