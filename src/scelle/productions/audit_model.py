"""Say what an audit found."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """Say what is wrong, where."""

    code: str
    subject: str
    detail: str


@dataclass(slots=True)
class AuditReport:
    """Say what was audited. *Valid* means no fault at all; only then is a verdict signed."""

    origin: str = ""
    size: int = 0
    records: int = 0
    erased: int = 0
    segments: list[tuple[int, bytes]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Say whether everything that the stream has was found right."""
        return not self.faults and bool(self.segments)

    def add(self, code: str, subject: str, detail: str) -> None:
        """Note a fault and go on."""
        self.faults.append(Fault(code, subject, detail))

    def to_json(self) -> dict[str, Any]:
        """Return the report as `audit-index --json` prints it."""
        return {
            "valid": self.is_valid,
            "origin": self.origin,
            "size": self.size,
            "records": self.records,
            "erased": self.erased,
            "segments": [at for at, _ in self.segments],
            "faults": [asdict(fault) for fault in self.faults],
        }
