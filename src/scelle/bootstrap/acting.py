"""Say when a command acts, and who."""

import getpass
import os
from time import time_ns

from scelle.sources.registry import check_identifier


def now_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time_ns() // 1000


def actor() -> str:
    """Return who runs this process, as events name them."""
    name = os.environ.get("SCELLE_OPERATOR") or getpass.getuser()
    return check_identifier(name, "SCELLE_OPERATOR")
