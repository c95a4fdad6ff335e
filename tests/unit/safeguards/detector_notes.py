"""A detector that notes what it is told to, and more than it may. The tests run it in a process."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scelle.safeguards.detectors import Found, Inputs, files_digest
from scelle.safeguards.gate import Detector as Registered


class Notary:
    reports: frozenset[str] = frozenset()
    files = (Path(__file__),)

    def __init__(self) -> None:
        self.registered = Registered("notary", "1", files_digest(self.files))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        return ()

    def notes(self, inputs: Inputs, deadline: float) -> tuple[Any, ...]:
        """Notes that `Note` itself would refuse: a process that was taken over does not ask it."""
        given = inputs.all[0]
        match given.data:
            case b"free text":
                return (_note(given.id, {"title": "a winter coat"}),)
            case b"too long":
                return (_note(given.id, {"numbers": list(range(4096))}),)
            case b"of another":
                return (_note("sha256:" + "0" * 64, {"length": 1}),)
            case b"too many":
                return (_note(given.id, {"length": 1}), _note(given.id, {"length": 2}))
            case b"infinite":
                return (_note(given.id, {"length": float("inf")}),)
            case b"nested":
                return (_note(given.id, {"length": {"of": 1}}),)
            case b"no mapping":
                return (_note(given.id, {}), "length")
        return tuple(_note(each.id, {"length": len(each.data)}) for each in inputs.all)


def _note(input_id: str, content: dict[str, Any]) -> Any:
    return SimpleNamespace(input_id=input_id, content=content)


def build() -> Notary:
    return Notary()
