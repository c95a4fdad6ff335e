"""Say what a report says, in no language: facts, claims and tables of typed values, each with its evidence (pure).

A report is data first: `to_json` is what `--json` prints, what the PDF carries as its attachment, and what both
languages are printed from. Words stand here as keys of `texts_en.toml` and `texts_fr.toml`; times are microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from scelle.formats.canonical_json import canonical_json
from scelle.orders.days import utc_text

FORMAT: Final = "scelle/report/v1"
LISTED: Final = 1000
"""How many rows a table lists; it always says how many there are."""


# --- values ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Words of somebody else, which print as they are: an authority's name, a reference."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A name for machines, which prints in type of one width: an id, a digest, a path."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """A count."""

    value: int


@dataclass(frozen=True, slots=True)
class Size:
    """A size in bytes."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Share:
    """A count and its denominator."""

    count: int
    of: int


@dataclass(frozen=True, slots=True)
class Instant:
    """A time."""

    at_us: int


@dataclass(frozen=True, slots=True)
class End:
    """A time that is an end, which is exclusive: midnight reads as 24:00 of the day before."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Span:
    """An interval [from, until); None where it has no end, or its beginning is not limited."""

    from_us: int | None
    until_us: int | None


@dataclass(frozen=True, slots=True)
class Day:
    """A day as an order names it (RFC 3339)."""

    text: str


@dataclass(frozen=True, slots=True)
class Term:
    """A word that every language has; `otherwise` is a code that prints as it is where none has it."""

    key: str
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence that every language has, with values in it; `n` chooses between singular and plural."""

    key: str
    params: "Mapping[str, Value]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lines:
    """Several values, each on a line of its own."""

    values: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Blank:
    """What counsel fills in; `key` says with what."""

    key: str


@dataclass(frozen=True, slots=True)
class Absent:
    """What is not there."""


Value: TypeAlias = (
    Text | Code | Number | Size | Share | Instant | End | Span | Day | Term | Said | Lines | Blank | Absent
)
ABSENT: Final = Absent()


def term(kind: str, value: StrEnum | str) -> Term:
    """Return the word for a member of an enum, or a code; what no language has prints as it is."""
    return Term(f"{kind}.{value.replace(' ', '-').lower()}", str(value))


def text_or_absent(text: str | None) -> Value:
    """Return somebody's words, or that there are none."""
    return ABSENT if text is None else Text(text)


def lines(values: "list[Value]") -> Value:
    """Return several values as one; one stands by itself, none is absent."""
    return ABSENT if not values else values[0] if len(values) == 1 else Lines(tuple(values))


def value_to_json(value: Value) -> Any:
    """Return a value as an object of one key that says what it is; None where it is absent."""
    match value:
        case Absent():
            return None
        case Text(text):
            return {"text": text}
        case Code(text):
            return {"code": text}
        case Number(number):
            return {"number": number}
        case Size(size_bytes):
            return {"bytes": size_bytes}
        case Share(count, of):
            return {"count": count, "of": of}
        case Instant(at_us):
            return {"time": utc_text(at_us)}
        case End(at_us):
            return {"end": utc_text(at_us)}
        case Span(from_us, until_us):
            return {"from": _time(from_us), "until": _time(until_us)}
        case Day(text):
            return {"day": text}
        case Term(key, otherwise):
            return {"term": key} if otherwise is None else {"term": key, "code": otherwise}
        case Said(key, params):
            return {"say": key, **({"params": _params(params)} if params else {})}
        case Lines(values):
            return {"lines": [value_to_json(each) for each in values]}
        case Blank(key):
            return {"blank": key}


def _params(params: Mapping[str, Value]) -> dict[str, Any]:
    return {name: value_to_json(value) for name, value in params.items()}


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else utc_text(at_us)


# --- evidence --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where what is claimed can be looked up.

    `log` is a log's origin, `index` the place of the entry there that commits to it; `source` and `seq` are the log
    source and number of a record or event, `sha256` the digest (hex) of a file. `what` is a kind of event or entry.
    """

    what: str
    log: str
    index: int | None = None
    source: str | None = None
    seq: int | None = None
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is there of it."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The size and root (hex) of the log in which evidence stands, as published when the report was made."""

    log: str
    size: int
    root: str

    def to_json(self) -> dict[str, Any]:
        """Return it."""
        return {"log": self.log, "size": self.size, "root": self.root}


# --- parts -----------------------------------------------------------------------------------------------

Refs: TypeAlias = tuple[int, ...]
"""Numbers of a report's evidence, from 1."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One named value."""

    key: str
    value: Value
    evidence: Refs = ()

    def to_json(self) -> dict[str, Any]:
        """Return it with its kind."""
        return {"fact": self.key, "value": value_to_json(self.value), "evidence": list(self.evidence)}


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, with what shows that it is true."""

    said: Said
    evidence: Refs = ()

    def to_json(self) -> dict[str, Any]:
        """Return it with its kind."""
        return {
            "claim": self.said.key,
            "params": _params(self.said.params),
            "evidence": list(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    cells: tuple[Value, ...]
    evidence: Refs = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; `total` counts all there are, of which `rows` are the first."""

    key: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    total: int

    def to_json(self) -> dict[str, Any]:
        """Return it with its kind; each row is an object by column."""
        return {"table": self.key, "total": self.total, "rows": [self._row(row) for row in self.rows]}

    def _row(self, row: Row) -> dict[str, Any]:
        cells = dict(zip(self.columns, map(value_to_json, row.cells), strict=True))
        return {**cells, "evidence": list(row.evidence)}


def table(key: str, columns: tuple[str, ...], rows: list[Row]) -> Table:
    """Return a table that lists no more than `LISTED` rows."""
    return Table(key, columns, tuple(rows[:LISTED]), len(rows))


Part: TypeAlias = Fact | Claim | Table


@dataclass(frozen=True, slots=True)
class Section:
    """Parts under one heading."""

    key: str
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it with its parts."""
        return {"section": self.key, "parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one report says.

    `at_us` is when its data were taken, and the date of the document; `zone` the order's, in which times are shown. A
    draft is marked on every page. `notices` are keys of sentences about the report itself.
    """

    name: str
    order: str
    at_us: int
    zone: str
    is_draft: bool
    facts: tuple[Fact, ...]
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    evidence: tuple[Evidence, ...]
    checkpoints: tuple[Checkpoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report's data, from which every language is printed."""
        return {
            "format": FORMAT,
            "report": self.name,
            "order": self.order,
            "at": utc_text(self.at_us),
            "zone": self.zone,
            "draft": self.is_draft,
            "facts": [fact.to_json() for fact in self.facts],
            "notices": list(self.notices),
            "sections": [section.to_json() for section in self.sections],
            "evidence": [each.to_json() for each in self.evidence],
            "checkpoints": [each.to_json() for each in self.checkpoints],
        }

    def encode(self) -> bytes:
        """Return the data as RFC 8785 canonical JSON: what a .json file holds and a PDF carries."""
        return canonical_json(self.to_json())
