"""Remember how far the stream of one source is durable, whatever orders it is captured for.

One file for each stream, under the vault's key: `<vault>/watch/<slot>`. It is written after what it speaks of is
durable and before the store is told: so the store never confirmed more than it says, and a slot that did is another.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from scelle.errors import StorageFailed, VaultBusy, WrongKey
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.vault import durable
from scelle.vault.keys import VaultKey

WATCH_FOLDER: Final = "watch"
_CONTEXT: Final = b"scelle/watch/v1\n"


@dataclass(frozen=True, slots=True)
class WatchState:
    """How far a stream is durable: all that stands before `confirmed`.

    `lineage` is drawn anew whenever a stream begins that does not continue the last one. `at_us` is when the store was
    last seen to give it whole, microseconds since 1970, by the store's clock. `joining` are the orders that the last
    stream was captured for and that have not joined this one: until they have, nothing is confirmed.
    """

    lineage: str
    system_id: str
    timeline: int
    confirmed: int
    at_us: int
    joining: tuple[str, ...] = ()


def new_lineage() -> str:
    """Draw the name of a stream."""
    return secrets.token_hex(16)


def slot_name(vault_key: VaultKey, source: str) -> str:
    """Return what the stream of a source is called in its store: it tells nobody there of an order, or of how many."""
    digest = blake2b(source.encode(), key=vault_key.derive("watch-slots"), digest_size=6)
    return f"scelle_{digest.hexdigest()}"


def read_state(vault: Path, vault_key: VaultKey, slot: str) -> WatchState | None:
    """Return what is remembered of a stream; None where nothing is. Raises StorageFailed for a damaged file."""
    path = vault / WATCH_FOLDER / slot
    try:
        body = parse_json_strict(vault_key.open(path.read_bytes(), _CONTEXT + slot.encode()), 2)
    except FileNotFoundError:
        return None
    except WrongKey as error:
        raise StorageFailed(
            f"{path} is damaged: remove it, and what the stream gave since it was last sealed counts as a gap"
        ) from error
    numbers = {name: int(body[name]) for name in ("confirmed", "at_us")}
    return WatchState(**{**body, **numbers, "joining": tuple(body["joining"])})


def write_state(vault: Path, vault_key: VaultKey, slot: str, state: WatchState) -> None:
    """Remember how far a stream is durable. A crash leaves the last state: the store gives the difference again."""
    durable.make_directory(vault / WATCH_FOLDER)
    body = asdict(state)
    body["joining"] = list(state.joining)
    for name in ("confirmed", "at_us"):
        body[name] = str(body[name])
    sealed = vault_key.seal(canonical_json(body), _CONTEXT + slot.encode())
    durable.write_file(vault / WATCH_FOLDER / slot, sealed)


def forget_state(vault: Path, slot: str) -> None:
    """Forget what is remembered of a stream that is taken away; durable when this returns."""
    durable.remove(vault / WATCH_FOLDER / slot)


@contextmanager
def watch_lock(vault: Path, slot: str) -> Iterator[None]:
    """Be the one process that reads a stream; raises VaultBusy where another is. The kernel lets go at its end."""
    durable.make_directory(vault / WATCH_FOLDER)
    path = vault / WATCH_FOLDER / f"{slot}.lock"
    durable.AppendFile(path).close()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise VaultBusy(f"{path}: another process reads this stream already") from None
    finally:
        os.close(descriptor)
