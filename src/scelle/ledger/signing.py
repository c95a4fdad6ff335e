"""Hold the secrets of one order and sign what is locked: checkpoints, promises and MANIFESTs."""

import json
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from scelle.formats.checkpoints import Checkpoint, mldsa_message
from scelle.formats.notes import Note, Signature, VerifierKey, make_vkey
from scelle.vault.keys import VaultKey

ED25519, MLDSA44 = 0x01, 0x06
_CONTEXT = b"scelle/order-secrets/v1\n"


@dataclass(frozen=True, slots=True)
class OrderSecrets:
    """The seeds of an order's two log keys and its tag key, 32 bytes each."""

    origin: str
    ed25519_seed: bytes
    mldsa44_seed: bytes
    tag_key: bytes

    @classmethod
    def generate(cls, origin: str) -> "OrderSecrets":
        """Draw new keys: they belong to this order and to no other (ledger.md §5)."""
        return cls(origin, *(secrets.token_bytes(32) for _ in range(3)))

    def sealed(self, vault_key: VaultKey) -> bytes:
        """Return the bytes of the file `secrets`, readable with the vault key only."""
        fields = {
            "ed25519": self.ed25519_seed.hex(),
            "mldsa44": self.mldsa44_seed.hex(),
            "tag": self.tag_key.hex(),
        }
        return vault_key.seal(json.dumps(fields).encode(), _CONTEXT + self.origin.encode())

    @classmethod
    def opened(cls, origin: str, data: bytes, vault_key: VaultKey) -> "OrderSecrets":
        """Read the file `secrets`; raise `WrongKey` when it is not as this vault's key sealed it."""
        fields = json.loads(vault_key.open(data, _CONTEXT + origin.encode()))
        return cls(origin, *(bytes.fromhex(fields[name]) for name in ("ed25519", "mldsa44", "tag")))


class Signer:
    """Sign for one order. The ML-DSA key signs nothing but checkpoints."""

    def __init__(self, order_secrets: OrderSecrets) -> None:
        origin = order_secrets.origin
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(order_secrets.ed25519_seed)
        self._mldsa44 = MLDSA44PrivateKey.from_seed_bytes(order_secrets.mldsa44_seed)
        self.ed25519_key = make_vkey(origin, ED25519, self._ed25519.public_key().public_bytes_raw())
        self.mldsa44_key = make_vkey(origin, MLDSA44, self._mldsa44.public_key().public_bytes_raw())

    def sign_checkpoint(self, checkpoint: Checkpoint, time_s: int) -> bytes:
        """Return the checkpoint note with both signature lines; the ML-DSA line says `time_s`."""
        key = self.mldsa44_key
        message = mldsa_message(key.name, checkpoint.origin, checkpoint.size, checkpoint.root, time_s)
        payload = time_s.to_bytes(8, "big") + self._mldsa44.sign(message)
        lines = (self._line(checkpoint.text()), Signature(key.name, key.key_id, payload))
        return Note(checkpoint.text(), lines).encode()

    def has_signed(self, note: Note) -> bool:
        """Tell whether the Ed25519 log key of this order signed `note`."""
        return any(self._is_own(note.text, line.payload) for line in note.signatures_of(self.ed25519_key))

    def _is_own(self, text: bytes, signature: bytes) -> bool:
        try:
            self._ed25519.public_key().verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def sign_text(self, text: bytes) -> bytes:
        """Return `text` as a note signed with the Ed25519 log key: a MANIFEST or a promise."""
        return Note(text, (self._line(text),)).encode()

    def _line(self, text: bytes) -> Signature:
        key: VerifierKey = self.ed25519_key
        return Signature(key.name, key.key_id, self._ed25519.sign(text))
