"""Know what a recorded generation is: names of surfaces, places in a spool, outcomes (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from scelle.errors import SurfaceWrong

RECORDED: Final = "recorded"
"""The folder below a generation source's root that recorders write to."""
CONTENTS: Final = "contents"
FIRST_HASH: Final = "0" * 64
"""What the first event of a surface names as the hash of the event before it."""

REQUESTED, COMPLETED, REFUSED, FAILED = "requested", "completed", "refused", "failed"
ABANDONED, DELIVERED, GAP, CHANGED = "abandoned", "delivered", "gap", "config.changed"
DECIDED, ROLLED_OUT, REMOVED = "decided", "policy.rolled_out", "removed"
UNREGISTERED, RECONCILED = "surface.unregistered", "reconciled"
DOCUMENT: Final = "document"
"""Stands in a spool for a line of another format."""
CARRIED: Final[tuple[str, ...]] = ("account", "conversation", "model", "config_digest")
"""Members of a `requested` event that each later event of its attempt has too: so an answer by account has them all."""
OUTCOMES: Final = frozenset([COMPLETED, REFUSED, FAILED, ABANDONED])

RECONCILIATION: Final = "reconciliation"
"""The surface-like folder that comparisons are written to: a recorder that runs holds its own."""
TAKEDOWNS: Final = "takedowns"
"""The surface-like folder that removals are written to."""
_OWN_FOLDERS: Final = frozenset([RECONCILIATION, TAKEDOWNS, "undecided"])
Event = Mapping[str, Any]

_SURFACE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_REFUSALS: Final = frozenset(
    ["content_policy_violation", "moderation_blocked", "content_filter", "safety_violation"]
)


class Mode(StrEnum):
    """Say what comes first where an event cannot be made durable."""

    BLOCK = "block"
    """No record, no image: the request is answered with 503."""
    GAP = "allow-with-gap"
    """It is served, and counted as lost."""
    OBSERVE = "observe"
    """Nothing that is served waits for the record; what that loses is counted."""

    @property
    def may_lose(self) -> bool:
        """Tell whether something may be served that is not recorded."""
        return self is not Mode.BLOCK


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event is durable: its file (below the surface's folder), first byte, number and SHA-256 (hex).

    The hash is that of the event's line without its end. Each event names the hash of the one before it, so that this
    one commits to all that came earlier on its surface.
    """

    surface: str
    file: str
    offset: int
    seq: int
    hash: str

    @property
    def receipt(self) -> str:
        """Write the place as a header's value."""
        return f"{self.surface}/{self.file}; byte={self.offset}; seq={self.seq}; sha256={self.hash}"


def check_new_surface(name: str) -> str:
    """Return `name`; raise SurfaceWrong where no surface may have it: a folder of the recorder's own does."""
    if check_surface(name) in _OWN_FOLDERS:
        raise SurfaceWrong(f"surface {name}: the recorder keeps something else under this name: take another")
    return name


def check_surface(name: str) -> str:
    """Return `name`; raise SurfaceWrong where it cannot be a folder's name."""
    if _SURFACE.fullmatch(name) is None or name == CONTENTS:
        raise SurfaceWrong(
            f"surface {name[:70]!a}: use lower-case letters, digits, '.', '_' and '-', at most 63 of them, and not "
            f"'{CONTENTS}'"
        )
    return name


def outcome_of(status: int, answer: Any) -> tuple[str, str | None]:
    """Return how an attempt ended by the generator's status and its answer (JSON), and the reason that it gives.

    A client error that names a content policy is a refusal; every other one, and every server error, is a failure.
    """
    if 200 <= status < 300:
        return COMPLETED, None
    reason = error_code(answer) or f"status-{status}"
    if 400 <= status < 500 and reason in _REFUSALS:
        return REFUSED, reason
    return FAILED, reason


def error_code(answer: Any) -> str | None:
    """Return the code, or type, of the error in an answer; never its message, which may repeat the prompt."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None
    for name in ("code", "type"):
        value = error.get(name)
        if isinstance(value, str) and 0 < len(value) <= 200:
            return value
    return None
