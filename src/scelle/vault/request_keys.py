"""Keep a key of its own for each request whose words must be forgotten one day: in `<vault>/erasures/<id>`.

What was encrypted under such a key stays in logs for ever; once its file is removed, nobody reads it again. A copy of
the vault's folder that is older than the removal still has the file.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scelle.errors import WrongKey
from scelle.vault import durable
from scelle.vault.keys import KEY_BYTES, VaultKey

REQUEST_KEYS_FOLDER: Final = "erasures"
_NONCE_BYTES: Final = 12
_CONTEXT: Final = b"scelle/request-key/v1 "


class RequestKey:
    """Seal and open what one request says."""

    def __init__(self, secret: bytes, request_id: str) -> None:
        self._cipher, self._context = AESGCM(secret), _CONTEXT + request_id.encode("ascii")

    def seal(self, data: bytes) -> bytes:
        """Encrypt `data`: 28 bytes longer, nonce || ciphertext || tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, self._context)

    def open(self, data: bytes) -> bytes:
        """Give back sealed data; raises `WrongKey` where it is not as it was, or of another request."""
        try:
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], self._context)
        except (InvalidTag, ValueError):
            raise WrongKey("what a request says does not open: it changed, or is another request's") from None


def make_request_key(vault: Path, vault_key: VaultKey, request_id: str) -> RequestKey:
    """Make the key of a new request, durable when this returns.

    A crash before the request is sealed leaves a key that opens nothing: `forget_request_keys` removes it.
    """
    secret = os.urandom(KEY_BYTES)
    durable.make_directory(vault / REQUEST_KEYS_FOLDER)
    wrapped = vault_key.wrap(secret, _CONTEXT + request_id.encode("ascii"))
    durable.write_file(vault / REQUEST_KEYS_FOLDER / request_id, wrapped)
    return RequestKey(secret, request_id)


def read_request_key(vault: Path, vault_key: VaultKey, request_id: str) -> RequestKey | None:
    """Return the key of a request; None where it was destroyed. Raises `WrongKey`."""
    try:
        wrapped = (vault / REQUEST_KEYS_FOLDER / request_id).read_bytes()
    except FileNotFoundError:
        return None
    return RequestKey(vault_key.unwrap(wrapped, _CONTEXT + request_id.encode("ascii")), request_id)


def forget_request_keys(vault: Path, keep: "frozenset[str] | set[str]") -> list[str]:
    """Destroy the keys of all requests but those to be kept; return their ids. Idempotent."""
    folder = vault / REQUEST_KEYS_FOLDER
    if not folder.is_dir():
        return []
    gone = sorted(path.name for path in folder.iterdir() if path.name not in keep)
    for name in gone:
        durable.remove(folder / name)  # a crash here leaves the others, which the next call removes
    return gone
