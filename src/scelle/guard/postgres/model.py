"""Say what is guarded in a PostgreSQL database and what is known of it; nothing here asks a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from scelle.errors import InputError
from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.names import table_text

HELD_STATE: Final = "SC001"
"""The SQLSTATE of a statement that was refused since it would have taken something held away."""

FULL_STATE: Final = "SC002"
"""The SQLSTATE of a statement that was refused since the outbox has no room and `Beyond.REFUSE` was chosen."""

ISOLATION_STATE: Final = "SC003"
"""The SQLSTATE of a TRUNCATE in a transaction whose snapshot may be too old to show all rows."""

LOST_STATE: Final = "SC004"
"""The SQLSTATE of a statement that was refused since the guard's secret is gone: nothing can be recognised."""

PRINTED_AS_CAST: Final = frozenset({"text", "varchar", "int2", "int4", "int8", "uuid"})
"""Types whose cast to text prints what COPY prints, and is faster than `format`."""


CAP_MAX: Final = (1 << 63) - 1
"""The largest cap that the database's numbers hold."""


class Mode(StrEnum):
    """Say what becomes of a statement that takes something held away."""

    DIVERT = "divert"
    REFUSE = "refuse"


class Beyond(StrEnum):
    """Say what happens when the outbox is full: the statement fails, or the rows go and are counted."""

    REFUSE = "refuse"
    LET_GO = "let-go"


class State(StrEnum):
    """Say what is known of a delete path."""

    EFFECTIVE = "effective"
    RED = "red"
    NOT_PROBED = "not-probed"
    NOT_COVERABLE = "not-coverable"


class How(StrEnum):
    """Say by what a state is known: an attempt that was made, or the catalogs."""

    PROBED = "probed"
    INSPECTED = "inspected"


@dataclass(frozen=True, slots=True)
class Caps:
    """Bound the outbox: rows and bytes on disk that may wait there, and what happens beyond. Raises InputError."""

    rows: int = 1_000_000
    size_bytes: int = 4 << 30
    beyond: Beyond = Beyond.REFUSE

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= CAP_MAX and 1 <= self.size_bytes <= CAP_MAX):
            raise InputError(f"caps of the outbox: give rows and bytes from 1 to {CAP_MAX}")


@dataclass(frozen=True, slots=True)
class Wish:
    """Say how a table is to be guarded, with all that belongs to it: partitions, children.

    `account` is the column that says whose a row is; without one every row is held. A row that nobody owns is held.
    `updates`: the old row of an UPDATE is kept, or the UPDATE refused, too. Restricted tables are only ever refused,
    for what waits in the outbox lies in clear. Raises InputError.
    """

    schema: str
    name: str
    mode: Mode = Mode.DIVERT
    account: str | None = None
    updates: bool = False
    is_restricted: bool = False

    def __post_init__(self) -> None:
        if self.is_restricted and self.mode is not Mode.REFUSE:
            raise InputError(
                f"{self.text} is restricted: what it holds may not wait in the outbox, so guard it with refuse"
            )

    @property
    def text(self) -> str:
        """Name the table."""
        return table_text(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Relation:
    """Describe a table of the database: `kind` r or p; `root` is the oid of the partitioned table it is part of.

    `by_row`: statement triggers would not see all of it, since it inherits, or since a subscription writes to it.
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    root: int | None
    owner: str
    is_ours: bool
    is_row_secured: bool
    by_row: bool

    @property
    def text(self) -> str:
        """Name it in messages."""
        return table_text(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Name it in SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """Describe a table as the guard's registry has it; `schema` and `name` are None where it is gone."""

    id: int
    oid: int
    schema: str | None
    name: str | None
    kind: str | None
    root: int | None
    mode: Mode
    account: str | None
    updates: bool
    is_restricted: bool
    shape: str
    triggers: int
    function: str

    @property
    def text(self) -> str:
        """Name it in messages."""
        if self.schema is None or self.name is None:
            return f"table {self.oid} (gone)"
        return table_text(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Name it in SQL."""
        return f"{quoted(self.schema or '')}.{quoted(self.name or '')}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Describe a trigger of ours: its name, `pg_trigger.tgtype`, its function, and the statement that makes it."""

    name: str
    type: int
    function: str
    old_table: str
    sql: str


@dataclass(frozen=True, slots=True)
class Function:
    """Describe a function of ours: its arguments and result, body and settings."""

    name: str
    signature: str
    body: str
    config: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class Step:
    """Name one transaction of an installation or a removal: what it concerns, its statements, the strongest lock."""

    table: str
    statements: tuple[str, ...]
    lock: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what an installation would do: `steps` and `undo` in order, `needs` what is missing and how to get it."""

    role: str
    steps: tuple[Step, ...]
    undo: tuple[Step, ...]
    needs: tuple[str, ...]
    notes: tuple[str, ...]
    has_event_triggers: bool

    @property
    def is_possible(self) -> bool:
        """Say whether the role may do it as it stands."""
        return not self.needs


@dataclass(frozen=True, slots=True)
class Progress:
    """Say how far an installation or a removal came: tables done, and those left with the cause."""

    done: tuple[str, ...]
    left: Mapping[str, str]
    has_event_triggers: bool = True

    @property
    def state(self) -> str:
        """Say complete or partial; whether it is effective is for probes to say."""
        return "partial" if self.left else "complete"


@dataclass(frozen=True, slots=True)
class PathState:
    """Say what is known of one delete path of one table."""

    table: str
    path: str
    mode: str
    state: State
    how: How
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """One old row out of the outbox: `cells` are what COPY prints of each column, before its escapes; None is NULL."""

    id: int
    at: datetime
    txid: int
    schema: str
    name: str
    op: str
    columns: tuple[str, ...]
    cells: tuple[str | None, ...]
    application_name: str
    db_user: str

    @property
    def table(self) -> str:
        """Name the table."""
        return table_text(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Missed:
    """Count held rows that were let go, by cause: suspended, beyond-cap, allowed."""

    id: int
    at: datetime
    txid: int
    table: str
    op: str
    rows: int
    cause: str
    application_name: str
    db_user: str


@dataclass(frozen=True, slots=True)
class Depth:
    """Measure the outbox: rows that wait, bytes on disk, age of the oldest in seconds (None when empty)."""

    rows: int
    size_bytes: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Say what the guard's own tables say; `is_elsewhere`: another server's, as of a restored dump.

    `is_whole`: the set of held accounts is as large as it was made, and its filter fits it. `hashes_alike`: this server
    hashes text as the one did that made the set; if not, nothing held is recognised.
    """

    installation: str
    is_elsewhere: bool
    hashes_alike: bool
    suspended_until: datetime | None
    caps: Caps
    held: int
    is_whole: bool
