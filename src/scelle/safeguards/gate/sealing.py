"""Sign a policy's proof, check such a signature, and seal the proof as an event of an order."""

from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scelle.errors import FormatError, GateProofWrong
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.formats.notes import ED25519, Note, Signature, VerifierKey, make_vkey, parse_note
from scelle.ledger.events import record_event
from scelle.ledger.service import OrderLedgerWriter
from scelle.safeguards.gate.proofs import Proof

EVENT_KIND: Final = "gate.proof"
_TITLE: Final = b"scelle-gate-proof/1\n"


def sign_proof(proof: Proof, name: str, key: Ed25519PrivateKey) -> bytes:
    """Return the proof as a signed note (C2SP signed-note): a title, one line of canonical JSON, the signature."""
    vkey = make_vkey(name, ED25519, key.public_key().public_bytes_raw())
    text = _TITLE + canonical_json_int(proof.to_json()) + b"\n"
    return Note(text, (Signature(name, vkey.key_id, key.sign(text)),)).encode()


def read_signed_proof(data: bytes, key: VerifierKey) -> dict[str, Any]:
    """Return the document of a signed proof; raise GateProofWrong unless `key` signed exactly these bytes.

    Establishes who signed and what; not that it is true. To check that, prove the bundle of that digest again.
    """
    try:
        note = parse_note(data)
        for line in note.signatures_of(key):
            Ed25519PublicKey.from_public_bytes(key.public).verify(line.payload, note.text)
            document = parse_json_strict(note.text.removeprefix(_TITLE).rstrip(b"\n"))
            if note.text.startswith(_TITLE) and isinstance(document, dict):
                return document
    except (FormatError, InvalidSignature, ValueError):
        pass
    raise GateProofWrong(f"the proof is not signed by {key.name}, or was changed since: ask for it again")


def seal_proof(
    ledger: OrderLedgerWriter, now_us: int, actor: str, proof: Proof, signed: bytes | None = None
) -> None:
    """Append the proof, with its signed note where there is one, as an event; the next `seal` makes it durable."""
    body = {"proof": proof.to_json(), **({} if signed is None else {"signed": signed.decode()})}
    record_event(ledger, now_us, actor, EVENT_KIND, body)
