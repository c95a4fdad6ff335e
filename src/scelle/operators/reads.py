"""Note reads of content where they happen, in `<vault>/spool/reads`, until a writing session seals them.

Whoever reads does not wait for the writer's lock. So each read is a small file of its own, sealed under the vault's key
and bound to its name, which the next session that writes takes over as an event `access` of the vault's own log, and
removes. A crash between both seals it twice, under the same id.
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
READS_FOLDER: Final = "spool/reads"
_CONTEXT: Final = b"scelle/reads/v1 "
_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class Read:
    """One read of content: its id, when (microseconds), by whom, of what."""

    path: Path
    time_us: int
    actor: str
    body: Mapping[str, Any]


def note_read(vault: Path, key: VaultKey, time_us: int, actor: str, body: Mapping[str, Any]) -> None:
    """Make a read durable; raises StorageError."""
    folder = vault / READS_FOLDER
    name = secrets.token_hex(16)
    durable.make_directory(folder)
    said = canonical_json({"time_us": str(time_us), "actor": actor, "body": dict(body)})
    durable.write_file(folder / name, key.seal(said, _CONTEXT + name.encode()))


def noted_reads(vault: Path, key: VaultKey) -> Iterator[Read]:
    """Yield the reads that wait, the oldest first; a file that was cut short or changed is left where it is."""
    folder = vault / READS_FOLDER
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            said = parse_json_strict(key.open(path.read_bytes(), _CONTEXT + path.name.encode()), _DEPTH)
        except (WrongKey, FileNotFoundError):
            continue
        found.append(Read(path, int(said["time_us"]), str(said["actor"]), said["body"]))
    yield from sorted(found, key=lambda each: (each.time_us, each.path.name))
