"""Spools on a disk of tests, and what is in their files."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from scelle.safeguards.recorder import Mode, Spool


def spool(root: Path, mode: Mode = Mode.BLOCK, **choices: Any) -> Spool:
    return Spool(root, "web", mode, **choices)


def files(root: Path) -> list[Path]:
    return sorted((root / "recorded/web").glob("*.jsonl"))


def lines(root: Path) -> list[bytes]:
    return [line for path in files(root) for line in path.read_bytes().splitlines()]


def events(root: Path) -> list[dict[str, Any]]:
    """Return every event, and see that each follows the one before it."""
    before, found = "0" * 64, []
    for number, line in enumerate(lines(root), 1):
        event = json.loads(line)
        assert (event["seq"], event["prev"]) == (number, before)
        before = sha256(line).hexdigest()
        found.append(event)
    return found


def kinds(root: Path) -> list[str]:
    return [event["event"] for event in events(root) if event["event"] != "config.changed"]


def asked(attempt: str, **more: Any) -> dict[str, Any]:
    return {"event": "requested", "attempt_id": attempt, **more}


def ended(attempt: str, kind: str = "completed", **more: Any) -> dict[str, Any]:
    return {"event": kind, "attempt_id": attempt, **more}
