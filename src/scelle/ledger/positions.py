"""Keep where a source's own log stood when a segment of it was closed (ledger.md §4, `position`).

The manifest commits to it and tells nobody: `H("P" || salt || token)`, 16 random bytes and the source's own token. Both
lie beside the segment, under the vault's key, in `<number>.position`.
"""

import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final

from scelle.errors import SegmentDamaged, WrongKey
from scelle.vault import durable
from scelle.vault.keys import VaultKey

SUFFIX: Final = ".position"
_SALT_BYTES: Final = 16


def position_digest(salt: bytes, token: bytes) -> bytes:
    """Return what a manifest says of a position."""
    return sha256(b"P" + salt + token).digest()


def keep_position(
    parent: Path, number: int, origin: str, alias: str, token: bytes, vault_key: VaultKey
) -> bytes:
    """Write the position of segment `number` into its source's folder; return what its manifest says of it.

    A crash leaves the file without a manifest: closing the segment again replaces it.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    durable.make_directory(parent)
    sealed = vault_key.seal(salt + token, _context(origin, alias, number))
    durable.write_file(parent / f"{number}{SUFFIX}", sealed)
    return position_digest(salt, token)


def open_position(
    sealed: bytes, origin: str, alias: str, number: int, vault_key: VaultKey
) -> tuple[bytes, bytes]:
    """Return salt and token of what `keep_position` wrote; raises WrongKey."""
    plain = vault_key.open(sealed, _context(origin, alias, number))
    return plain[:_SALT_BYTES], plain[_SALT_BYTES:]


def read_position(
    parent: Path, number: int, origin: str, alias: str, digest: bytes, vault_key: VaultKey
) -> bytes:
    """Return the token that a manifest commits to; raises `SegmentDamaged` where the file is another or is missing."""
    path = parent / f"{number}{SUFFIX}"
    try:
        salt, token = open_position(path.read_bytes(), origin, alias, number, vault_key)
    except (FileNotFoundError, WrongKey) as error:
        raise SegmentDamaged(
            f"{path}: it is missing or damaged: restore it from a copy of the vault"
        ) from error
    if position_digest(salt, token) != digest:
        raise SegmentDamaged(f"{path}: it is not the position that the log commits to: run `scelle verify`")
    return token


def _context(origin: str, alias: str, number: int) -> bytes:
    return f"scelle/position/v1\n{origin}\n{alias}\n{number}\n".encode()
