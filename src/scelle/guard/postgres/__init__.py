"""Guard held rows at the store: inside the deleting transaction, and without waiting for anything outside it."""

from scelle.guard.postgres.holding import hold, is_settled, ref_of
from scelle.guard.postgres.inspecting import inspect, standing, unmet
from scelle.guard.postgres.installing import Tries, install, plan, remove
from scelle.guard.postgres.model import (
    Beyond,
    Caps,
    Depth,
    How,
    Kept,
    Missed,
    Mode,
    PathState,
    Plan,
    Progress,
    Standing,
    State,
    Step,
    Wish,
)
from scelle.guard.postgres.probing import probe
from scelle.guard.postgres.relations import wishes_for

__all__ = [
    "Beyond",
    "Caps",
    "Depth",
    "How",
    "Kept",
    "Missed",
    "Mode",
    "PathState",
    "Plan",
    "Progress",
    "Standing",
    "State",
    "Step",
    "Tries",
    "Wish",
    "hold",
    "inspect",
    "install",
    "is_settled",
    "plan",
    "probe",
    "ref_of",
    "remove",
    "standing",
    "unmet",
    "wishes_for",
]
