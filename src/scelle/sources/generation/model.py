"""Know the kinds of events, and decide how an attempt ended."""

from enum import Enum
from typing import Final

from scelle.formats.values import UNDATED

KINDS: Final = (
    "requested", "decided", "completed", "refused", "failed", "abandoned", "delivered", "removed", "reported",
    "reviewed", "overridden", "distributed", "config.changed", "policy.rolled_out", "policy.rolled_back",
    "gap", "reconciled", "surface.unregistered",
)  # fmt: skip
"""The events of Scellé's own JSONL; everything else is mapped to them where it means the same."""

OUTCOMES: Final = frozenset(["completed", "refused", "failed", "abandoned"])
OF_AN_ATTEMPT: Final = frozenset(["requested", "decided", "delivered", *OUTCOMES])
"""The kinds that say nothing without the attempt they belong to."""

DERIVED: Final = ("recorded", ".derived")
"""The folder below the root that is not read: a recorder keeps there what it derives from its own events."""
UNDECIDED: Final = ("recorded", "undecided")
"""The folder below the root whose files are read once they are as old as the grace period: until then they move."""

GRACE_US: Final = 15 * 60 * 1_000_000


class AttemptClass(Enum):
    """Say how an attempt stands; every attempt is in exactly one class."""

    ONE = "one"
    OPEN = "open"
    """No outcome yet, and requested so lately that it may still come: no finding."""
    NONE = "none"
    SEVERAL = "several"


def class_of(outcomes: int, requested_us: int, newest_us: int, grace_us: int = GRACE_US) -> AttemptClass:
    """Decide the class of an attempt; `newest_us` is the time of the newest event there is.

    An attempt without a time is never open: nothing says that it is young.
    """
    if outcomes:
        return AttemptClass.ONE if outcomes == 1 else AttemptClass.SEVERAL
    is_young = requested_us != UNDATED and newest_us - requested_us < grace_us
    return AttemptClass.OPEN if is_young else AttemptClass.NONE
