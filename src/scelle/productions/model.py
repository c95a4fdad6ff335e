"""Say what was asked, what is kept back, and what was made of it (pure)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from scelle.errors import FormatError, RequestWrong
from scelle.formats.packages import Query
from scelle.formats.schema import Schema
from scelle.formats.tokens import TIME_MAX, TIME_MIN, is_code, shown
from scelle.formats.values import Value, decode_value
from scelle.orders.days import utc_text

Strength: TypeAlias = Literal["A", "B", "C"]

SOURCE: Final = "source"
ACCOUNT: Final = "account"
NATIVE: Final = "native"
NATIVE_ID: Final = "native_id"
RAW: Final = "raw"
KEPT_IN_PLACE: Final = "kept-in-place"
"""The code of a content that was never in the vault: its clause keeps digests only."""
RESTRICTED: Final = "restricted"
"""The code of what lies in the compartment: the vault cannot read it (docs/restricted.md)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for all records of one identifier with from <= time < until (microseconds since 1970 UTC).

    `value` is an alias in dimension `source` (`s0001`, its family included), else the identifier with its
    kind (`custodian:..`, `account:..`). `redact` maps names of fields to reason codes. Without `strength` the
    request gets the strongest that needs nobody else: A for a whole source, else C (docs/productions.md).
    """

    dimension: str
    value: str
    from_us: int | None = None
    until_us: int | None = None
    redact: Mapping[str, str] = field(default_factory=dict)
    strength: Strength | None = None

    def __post_init__(self) -> None:
        for time in (self.from_us, self.until_us):
            if time is not None and not TIME_MIN <= time <= TIME_MAX:
                raise RequestWrong(f"time {time} is outside -2^63+1 to 2^63-1 microseconds: correct it")
        if self.from_us is not None and self.until_us is not None and self.from_us >= self.until_us:
            raise RequestWrong(
                f"the period from {utc_text(self.from_us)} until {utc_text(self.until_us)} is empty: until must "
                "be later"
            )
        if self.strength == "A" and not self.is_whole_source:
            raise RequestWrong(
                "strength A is for a whole source, without a period: ask for C, or drop the period"
            )
        for name in {"time", "seq", self.dimension} & set(self.redact):
            raise RequestWrong(f"field {name} is a key field and is never redacted: ask without it")

    @property
    def is_whole_source(self) -> bool:
        """Say whether the request is for everything of a source."""
        return self.dimension == SOURCE and self.from_us is None and self.until_us is None


def query_for(request: Request, order: str) -> Query:
    """Return the query.json of a request; raise `RequestWrong` where it can have none."""
    strength = request.strength or ("A" if request.is_whole_source else "C")
    try:
        query = Query(
            order=order,
            dimension=request.dimension,
            value=request.value,
            strength=strength,
            from_us=request.from_us,
            until_us=request.until_us,
            redact=dict(request.redact),
        )
        query.encode()
    except FormatError as error:
        raise RequestWrong(f"the request has no query.json: {error}") from error
    return query


@dataclass(frozen=True, slots=True)
class RecordView:
    """Show a record to those who decide what is kept back.

    `at` and `position` are its place as lines of a package name it: log index of the manifest, and position
    in X (in R where the segment is answered whole).
    """

    at: int
    position: int
    source: str
    seq: int
    time_us: int
    schema: Schema
    values: Sequence[bytes]

    def value(self, name: str) -> Value:
        """Return the decoded value of a field, None where the schema has no such field."""
        for each, encoded in zip(self.schema.fields, self.values, strict=True):
            if each.name == name:
                return decode_value(encoded)[1]
        return None

    @property
    def native(self) -> str | None:
        """Return what the source calls the record, for instance a path; None where there is no such field.

        That is the identifier in dimension `native`, else the field `native_id`.
        """
        name = NATIVE_ID
        if NATIVE in self.schema.dimensions:
            name = self.schema.fields[self.schema.dimensions.index(NATIVE) + 1].name
        value = self.value(name)
        return value if isinstance(value, str) else None


WithholdRecord: TypeAlias = Callable[[RecordView], str | None]
"""Give the reason code for which a record is withheld whole, or None."""
WithholdContent: TypeAlias = Callable[[RecordView, str], str | None]
"""Give the reason code for which the content of one field is left out, or None."""


@dataclass(frozen=True, slots=True)
class Withholding:
    """Decide what is kept back; None decides nothing. Codes are of the form `[a-z0-9-]+`."""

    record: WithholdRecord | None = None
    content: WithholdContent | None = None


NOTHING_WITHHELD: Final = Withholding()


@dataclass(slots=True)
class WithholdList:
    """Withhold what a list names, each with a code: records by native id or place, contents by native id."""

    natives: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[tuple[int, int], str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    met: set[str | tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for code in (*self.natives.values(), *self.places.values(), *self.contents.values()):
            checked_code(code)

    def withholding(self) -> Withholding:
        """Return the decisions of this list."""
        return Withholding(self._record, self._content)

    def unmet(self) -> list[str]:
        """Name what the list withholds and no hit was: another answer's business, or a slip of the pen."""
        listed: set[str | tuple[int, int]] = {*self.natives, *self.places, *self.contents}
        return sorted(str(each) for each in listed - self.met)

    def _record(self, record: RecordView) -> str | None:
        native, place = record.native, (record.at, record.position)
        if place in self.places:
            self.met.add(place)
            return self.places[place]
        if native is not None and native in self.natives:
            self.met.add(native)
            return self.natives[native]
        return None

    def _content(self, record: RecordView, name: str) -> str | None:
        native = record.native
        if native is None or native not in self.contents:
            return None
        self.met.add(native)
        return self.contents[native]


@dataclass(slots=True)
class Quarantine:
    """Withhold what is quarantined, by (log index, sequence number), before anything else; count what was met."""

    codes: Mapping[tuple[int, int], str]
    beside: Withholding
    met: int = 0

    def withholding(self) -> Withholding:
        """Return the decisions of both."""
        return Withholding(self._record, self.beside.content) if self.codes else self.beside

    def _record(self, record: RecordView) -> str | None:
        other = None if self.beside.record is None else self.beside.record(record)
        code = self.codes.get((record.at, record.seq))
        self.met += code is not None
        return other if code is None else code


def checked_code(code: str) -> str:
    """Give a reason code back; raise `RequestWrong` where it is none."""
    if not is_code(code):
        raise RequestWrong(f"reason {shown(code)} is no code: use a-z, 0-9 and -")
    return code


@dataclass(frozen=True, slots=True)
class Notice:
    """Say what the maker of a package must know about it; codes that the verifier has mean the same here."""

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Count the segments that a query touches, as the verifier does."""

    touched: int = 0
    searched: int = 0
    undated_only: int = 0
    left_out: int = 0
    not_searchable: int = 0
    empty: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """Say how a package stands to an earlier one of the same order.

    The log of `size` entries with `root` (hex), which the earlier one shows, is the beginning of this one's.
    `new_segments` are the log indices of the touched segments with records that came after it, `new_hits` the hits
    in them; `erased_since` counts the tombstones that came after it and lie on what was there before.
    `same_query` says whether both answer the same question, byte for byte: only then are the hits below `size` the
    same, save for these tombstones.
    """

    size: int
    root: str
    same_query: bool
    new_segments: tuple[int, ...]
    new_hits: int
    erased_since: int


@dataclass(frozen=True, slots=True)
class ProductionReport:
    """Say what a production holds. *hits = produced + withheld + erased.*

    `contents_withheld` and `fields_redacted` are parts of produced records. `without_holder` counts the records of
    the same period that have neither custodian nor account, and so are in no answer by one of them; None where the
    request asks by something else. `next_number` is the first production number that the matter has not used.
    `not_searchable` are the log sources with records in segments whose schema lacks the queried dimension.
    `quarantined` counts those of the withheld that the query met and that are quarantined.
    """

    strength: str
    size: int
    members: int
    hits: int
    produced: int
    withheld: int
    erased: int
    contents: int
    contents_withheld: int
    fields_redacted: int
    without_holder: int | None
    bytes: int
    first_number: int
    next_number: int
    package_sha256: str
    query_sha256: str
    segments: SegmentCounts
    findings: tuple[Notice, ...]
    not_searchable: tuple[str, ...] = ()
    delta: Delta | None = None
    quarantined: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as `produce --json` prints it and the production event seals it."""
        document = asdict(self)
        document["findings"] = [asdict(notice) for notice in self.findings]
        return document
