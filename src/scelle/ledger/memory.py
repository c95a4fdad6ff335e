"""Keep what each log's signer remembers in a file outside the vault: a restored snapshot knows less."""

import json
from pathlib import Path
from typing import Any

from scelle.ledger.service import SignerMemory
from scelle.vault import durable


def memory_in(path: Path) -> SignerMemory:
    """Return a memory that lies in the file at `path`, which is replaced as a whole at each note."""

    def read() -> dict[str, Any]:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def recall(origin: str) -> tuple[int, bytes] | None:
        found = read().get(origin)
        return None if found is None else (int(found[0]), bytes.fromhex(found[1]))

    def note(origin: str, size: int, root: bytes) -> None:
        known = read()
        known[origin] = [size, root.hex()]
        durable.write_file(path, json.dumps(known, sort_keys=True).encode() + b"\n")

    return SignerMemory(recall, note, lambda: list(read()))
