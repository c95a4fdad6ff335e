"""Say when a command acts, and who."""

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final

from scelle.sources.registry import check_identifier


def now_us() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time_ns() // 1000


UNPROVEN: Final = "user:"
"""Stands before a name that only the environment or the machine's account says; no operator's name has a colon."""


def actor() -> str:
    """Return who runs this process, as events name somebody who acts with no operator's key."""
    name = os.environ.get("SCELLE_OPERATOR") or getpass.getuser()
    return check_identifier(f"{UNPROVEN}{name}", "SCELLE_OPERATOR")


@dataclass(frozen=True, slots=True)
class ActingAs:
    """Which operator acts, by which key file, and how its passphrase is had where it has one."""

    name: str | None = None
    key_file: Path | None = None
    passphrase: Callable[[Path], str | None] = lambda key_file: None

    @property
    def is_somebody(self) -> bool:
        """Tell whether an operator is named at all."""
        return self.name is not None or self.key_file is not None
