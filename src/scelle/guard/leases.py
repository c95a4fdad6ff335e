"""Note for how long a permission to delete may be confirmed: a lease, in `<vault>/spool/leases`, named by its token.

A lease says that nothing held some items when it was asked, and until when it may be confirmed and the deletion be
over; who widens what is held waits for that. It is sealed under the vault's key and bound to its token; what was asked
stands in it as a digest. A token is no right: whoever confirms it is decided anew.

Times are the machine's clock, which is taken not to be set while a lease lives. Set back, it ends none later than its
life for whoever waits; set forward, it ends them early, for who confirms and for who waits.
"""

import re
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from scelle.errors import StorageFailed, WrongKey
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.guard.spool import SPOOL_FOLDER
from scelle.vault import durable
from scelle.vault.keys import VaultKey

LIFE_S: Final = 10
LIFE_MAX_S: Final = 300
_SECOND_US: Final = 1_000_000
_TOKEN_BYTES: Final = 16
_TOKEN: Final = re.compile(f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
_FILE_MAX_BYTES: Final = 4096
_DEPTH: Final = 2


@dataclass(frozen=True, slots=True)
class Lease:
    """One permission: what was asked, as `asked_digest` says it, when, and until when. Times in microseconds."""

    asked: str
    made_us: int
    expires_us: int

    def left_us(self, now_us: int) -> int:
        """Return how long it lives on at the most, whatever became of the clock; 0 where it is over."""
        life_us = min(self.expires_us - self.made_us, LIFE_MAX_S * _SECOND_US)
        return max(0, min(self.expires_us - now_us, life_us))

    def is_over(self, now_us: int) -> bool:
        """Tell whether it may not be confirmed any more, or not yet: a clock that was set back."""
        return not self.made_us <= now_us < self.expires_us


def leases_folder(vault: Path) -> Path:
    """Return the folder of the leases."""
    return vault / SPOOL_FOLDER / "leases"


def asked_digest(source: str, natives: Collection[bytes], account: str | None, time_us: int | None) -> str:
    """Return the digest of what was asked: of the items as they were spelled, in whatever order."""
    asked = {
        "source": source,
        "items": sorted({native.hex() for native in natives}),
        "account": account,
        "time_us": None if time_us is None else str(time_us),
    }
    return sha256(canonical_json(asked)).hexdigest()


def is_token(text: str) -> bool:
    """Tell whether a text may be a token."""
    return _TOKEN.fullmatch(text) is not None


def note_lease(vault: Path, vault_key: VaultKey, lease: Lease) -> str:
    """Note a lease, take away those that are over, and return its token; raises StorageError."""
    for _ in _living(vault, vault_key, lease.made_us):
        pass
    token = secrets.token_hex(_TOKEN_BYTES)
    said = {"asked": lease.asked, "made_us": str(lease.made_us), "expires_us": str(lease.expires_us)}
    durable.make_directory(leases_folder(vault))
    durable.write_file(leases_folder(vault) / token, vault_key.seal(canonical_json(said), _context(token)))
    return token


def read_lease(vault: Path, vault_key: VaultKey, token: str) -> Lease | None:
    """Return a token's lease; None where there is none, or none that this vault made and nobody changed."""
    path = leases_folder(vault) / token
    try:
        with path.open("rb") as file:
            sealed = file.read(_FILE_MAX_BYTES)
        said = parse_json_strict(vault_key.open(sealed, _context(token)), _DEPTH)
    except (FileNotFoundError, WrongKey):
        return None
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be read: {error.strerror}") from error
    return Lease(str(said["asked"]), int(said["made_us"]), int(said["expires_us"]))


def leases_left_us(vault: Path, vault_key: VaultKey, now_us: int) -> int:
    """Return after how many microseconds every lease that is there now is over; take away those that are.

    One that cannot be read lives as long as any may, from when its file was written. Raises StorageError.
    """
    return max(_living(vault, vault_key, now_us), default=0)


def _living(vault: Path, vault_key: VaultKey, now_us: int) -> Iterator[int]:
    """Yield how long each lease lives on; remove those that are over."""
    folder = leases_folder(vault)
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        lease = read_lease(vault, vault_key, path.name) if is_token(path.name) else None
        left_us = _left_of_file_us(path, now_us) if lease is None else lease.left_us(now_us)
        if not left_us:
            durable.remove(path)
        elif is_token(path.name):  # else it is being written, and nobody was told its token yet
            yield left_us


def _left_of_file_us(path: Path, now_us: int) -> int:
    try:
        made_us = path.stat().st_mtime_ns // 1000
    except FileNotFoundError:  # another process took it away
        return 0
    return Lease("", made_us, made_us + LIFE_MAX_S * _SECOND_US).left_us(now_us)


def _context(token: str) -> bytes:
    return b"scelle/leases/v1 " + token.encode()
