"""Say what happens in a watch: to people as a sentence, to machines as a code and numbers, both from one place.

A sentence may name tables and orders; what machines get never does: a log is read by more people than a vault.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from scelle.errors import ScelleError
from scelle.orders.days import utc_text

NOTE: Final = "note"


class Level(StrEnum):
    """Say who must look: nobody, somebody today, somebody now."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that happened. `text` is for people alone; without one only machines are told.

    `event`, `cause` and `error` (of what was raised) are codes, `source` is a source's name. Nothing else that
    is no number leaves by `to_json`.
    """

    text: str
    event: str = NOTE
    source: str | None = None
    level: Level = Level.INFO
    cause: str | None = None
    error: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    def to_json(self, now_us: int) -> dict[str, Any]:
        """Return the event for machines, at a time in microseconds."""
        codes = {"source": self.source, "cause": self.cause, "error": self.error}
        return {
            "time": utc_text(now_us, "auto"),
            "level": self.level.value,
            "event": self.event,
            **{name: code for name, code in codes.items() if code is not None},
            **self.numbers,
        }

    def line(self, now_us: int, *, as_json: bool) -> str:
        """Return the event on one line; empty where it has nothing to say in that form."""
        return json.dumps(self.to_json(now_us)) if as_json else self.text


Say = Callable[[Said], None]


class Teller:
    """Tell whoever listens what happens: people by a text, machines by codes and numbers alone."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def __call__(
        self,
        text: str,
        event: str = NOTE,
        source: str | None = None,
        *,
        level: Level = Level.INFO,
        cause: str | None = None,
        error: ScelleError | None = None,
        **numbers: int,
    ) -> None:
        """Tell one thing; of an error machines get the code."""
        self._say(Said(text, event, source, level, cause, None if error is None else error.code, numbers))

    def machines(self, event: str, source: str, numbers: Mapping[str, int]) -> None:
        """Tell machines alone."""
        self._say(Said("", event, source, numbers=numbers))
