"""Note reads of content, and refusals, where they happen, in `<vault>/spool`, until a writing session seals them.

Whoever reads does not wait for the writer's lock. So each read, and each refusal, is a small file of its own, sealed
under the vault's key and bound to its name, which the next session that writes takes over as an event `access` or
`refused` of the vault's own log, and removes. A crash between both seals it twice, under the same id.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scelle.errors import WrongKey
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.vault import durable
from scelle.vault.keys import VaultKey

ACCESS: Final = "access"
REFUSED: Final = "refused"
"""The event that somebody asked for what he may not do."""
READS_FOLDER: Final = "spool/reads"
REFUSED_FOLDER: Final = "spool/refused"
TEXT_MAX_CHARACTERS: Final = 500
"""So much is kept of what was asked for, and of why it was refused: what somebody typed may be of any length."""
_CONTEXTS: Final = {READS_FOLDER: b"scelle/reads/v1 ", REFUSED_FOLDER: b"scelle/refused/v1 "}
_FILE_MAX_BYTES: Final = 1 << 16
_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class Noted:
    """One read of content, or one refusal: its file, when (microseconds), by whom, of what."""

    path: Path
    time_us: int
    actor: str
    body: Mapping[str, Any]


def note_read(vault: Path, key: VaultKey, time_us: int, actor: str, body: Mapping[str, Any]) -> None:
    """Make a read durable; raises StorageError."""
    _note(vault, READS_FOLDER, key, time_us, actor, body)


def noted_reads(vault: Path, key: VaultKey) -> Iterator[Noted]:
    """Yield the reads that wait, the oldest first; a file that was cut short or changed is left where it is."""
    return _noted(vault, READS_FOLDER, key)


def note_refused(vault: Path, key: VaultKey, time_us: int, actor: str, body: Mapping[str, str]) -> None:
    """Make a refusal durable, each of its texts cut to TEXT_MAX_CHARACTERS; raises StorageError."""
    cut = {name: text[:TEXT_MAX_CHARACTERS] for name, text in body.items()}
    _note(vault, REFUSED_FOLDER, key, time_us, actor, cut)


def noted_refusals(vault: Path, key: VaultKey) -> Iterator[Noted]:
    """Yield the refusals that wait, the oldest first; a file that was cut short or changed is left where it is."""
    return _noted(vault, REFUSED_FOLDER, key)


def _note(vault: Path, folder: str, key: VaultKey, time_us: int, actor: str, body: Mapping[str, Any]) -> None:
    name = secrets.token_hex(16)
    durable.make_directory(vault / folder)
    said = canonical_json({"time_us": str(time_us), "actor": actor, "body": dict(body)})
    durable.write_file(vault / folder / name, key.seal(said, _CONTEXTS[folder] + name.encode()))


def _noted(vault: Path, folder: str, key: VaultKey) -> Iterator[Noted]:
    place, found = vault / folder, []
    for path in place.iterdir() if place.is_dir() else ():
        try:
            if path.stat().st_size > _FILE_MAX_BYTES:
                continue  # nothing that was noted is so large
            sealed = path.read_bytes()
            said = parse_json_strict(key.open(sealed, _CONTEXTS[folder] + path.name.encode()), _DEPTH)
        except (WrongKey, OSError):  # changed, sealed by another session in this moment, or another user's
            continue
        found.append(Noted(path, int(said["time_us"]), str(said["actor"]), said["body"]))
    yield from sorted(found, key=lambda each: (each.time_us, each.path.name))
