"""Sign, for whoever sent a request, that its event is durable and will be sealed by a deadline.

The key is drawn for one run of a recorder and is in its memory alone: the log's own keys, which sign checkpoints, have
no place in a process that serves. The order's log certifies it before the first receipt is given.
"""

from base64 import b64encode
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.formats.notes import ED25519, Note, Signature, VerifierKey, make_vkey
from scelle.formats.receipts import Receipt
from scelle.safeguards.recorder.model import Position


@dataclass(frozen=True, slots=True)
class ReceiptSigner:
    """Sign receipts of one surface with the private half of `key`; each promises to seal within `within_us`.

    Safe to use from several threads.
    """

    key: VerifierKey
    within_us: int
    _private: Ed25519PrivateKey

    @classmethod
    def drawn(cls, name: str, within_us: int) -> "ReceiptSigner":
        """Draw a key of this name, which nobody else has and nothing keeps."""
        private = Ed25519PrivateKey.generate()
        return cls(make_vkey(name, ED25519, private.public_key().public_bytes_raw()), within_us, private)

    def sign(self, position: Position, now_us: int) -> str:
        """Return the receipt for the event there, which must be durable: a signed note in base64, fit for a header."""
        text = Receipt(
            surface=position.surface,
            file=position.file,
            byte=position.offset,
            seq=position.seq,
            sha256=position.hash,
            received=now_us,
            deadline=now_us + self.within_us,
        ).text()
        signature = Signature(self.key.name, self.key.key_id, self._private.sign(text))
        return b64encode(Note(text, (signature,)).encode()).decode()
