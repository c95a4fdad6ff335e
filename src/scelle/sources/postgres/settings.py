"""Say what a source of a PostgreSQL database is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from scelle.errors import InputError
from scelle.sources.postgres.address import Address
from scelle.sources.postgres.names import parse_patterns
from scelle.sources.windows import Window


class TableSchema(Protocol):
    """Say which columns of a table have a role, as `scelle.sources.schema_file.SchemaFile` does; None or nothing leaves
    the choice to the source.

    `fields` gives letters of ledger.md §2 by column: `s` for any column but bytea, `D` for numbers.
    """

    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def time(self) -> str | None: ...  # noqa: D102
    @property
    def id(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def account(self) -> str | None: ...  # noqa: D102
    @property
    def custodian(self) -> str | None: ...  # noqa: D102
    @property
    def dimensions(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def profile(self) -> int: ...  # noqa: D102
    @property
    def fields(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102


def no_password() -> None:
    """Give no password: the server trusts, or knows the caller by a certificate or by its peer."""


STANDBY_FROM: Final = 160_000
"""The first version whose standbys give changes."""
CONNECTIONS_MAX: Final = 64
"""More readers than this wait for one another: what they read is taken apart by one process."""


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """Say where a database is, which of its tables are read, and how gently.

    `tables` are patterns as in `names.parse_pattern`. `password` is called for each connection and its answer is
    kept nowhere. `schemas` says by a table's text (`public.posts`) which columns have a role. One of
    `max_connections`, 2 to 64, holds the snapshot; the others read. `max_bytes_per_second` counts what the server
    sends for rows and contents, over all connections. `holder` is the identifier, with its kind, of whoever the rows
    belong to that name nobody. `window` is the time of day at which rows may be read. `replicas` are further hosts of
    the same data; one that is a standby is preferred, unless `only_primary`. `shard` names one of
    several databases that are read as one source. Raises InputError.
    """

    host: str
    port: int
    database: str
    user: str
    tables: tuple[str, ...] = ("public.*",)
    password: Callable[[], str | None] = no_password
    schemas: Mapping[str, TableSchema] = field(default_factory=dict)
    max_connections: int = 2
    max_bytes_per_second: int | None = None
    snapshot_max_age_s: float = 3600
    holder: str | None = None
    replicas: tuple[tuple[str, int], ...] = ()
    sslmode: str | None = None
    sslrootcert: str | None = None
    shard: str = ""
    window: Window | None = None
    only_primary: bool = False

    def __post_init__(self) -> None:
        parse_patterns(self.tables)
        if not 2 <= self.max_connections <= CONNECTIONS_MAX:
            raise InputError(
                f"{self.max_connections} connections: one holds the snapshot and the others read, so give 2 to "
                f"{CONNECTIONS_MAX}"
            )
        if self.max_bytes_per_second is not None and self.max_bytes_per_second < 1:
            raise InputError("bytes per second: give a number from 1, or none for no limit")
        if self.snapshot_max_age_s <= 0:
            raise InputError("age of the snapshot: give a number of seconds above 0")

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Give every (host, port), the named one first."""
        return ((self.host, self.port), *self.replicas)

    @property
    def place(self) -> str:
        """Name the database in messages."""
        return f"{self.host}:{self.port}/{self.database}"


def settings_of(address: Address, tables: tuple[str, ...] = ("public.*",)) -> PostgresSettings:
    """Make settings from an address; `dataclasses.replace` gives them the rest."""
    return PostgresSettings(
        address.host,
        address.port,
        address.database,
        address.user,
        tables,
        replicas=address.others,
        sslmode=address.sslmode,
        sslrootcert=address.sslrootcert,
    )
