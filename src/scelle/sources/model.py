"""Describe a source as the vault keeps it: a name, where it is, whose it is, and how to read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_SYSTEMS: Final = {
    "mbox": "mail",
    "maildir": "mail",
    "eml": "mail",
    "postgresql": "postgres",
    "postgres": "postgres",
}


LIMITS: Final = ("max_connections", "max_bytes_per_second", "snapshot_max_age_s")
DROP_SLOT: Final = "drop-slot"
WARN: Final = "warn"


@dataclass(frozen=True, slots=True)
class StreamChoices:
    """What was decided beforehand of a database's stream of changes: a watch keeps to it, and asks nobody.

    Where the slot keeps more than `wal_cap_bytes` on the server, it is dropped (`drops_slot`: capture has a gap, and
    the service goes on), or that is said and nothing else. `failover`: the slot is made so that a standby takes it
    along (PostgreSQL 17).
    """

    wal_cap_bytes: int | None = None
    drops_slot: bool = False
    failover: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the choices as they are sealed and printed; empty where nothing was chosen."""
        found: dict[str, Any] = {}
        if self.wal_cap_bytes is not None:
            beyond = DROP_SLOT if self.drops_slot else WARN
            found = {"wal_cap_bytes": self.wal_cap_bytes, "beyond_wal_cap": beyond}
        return {**found, "failover_slot": True} if self.failover else found


def choices_from_json(body: Mapping[str, Any]) -> StreamChoices:
    """Read the choices as they were sealed."""
    return StreamChoices(
        body.get("wal_cap_bytes"),
        body.get("beyond_wal_cap") == DROP_SLOT,
        body.get("failover_slot", False) is True,
    )


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A named connection to a live system, and whose it is: a custodian's, an account's, or nobody's.

    `schema` is the text of a schema file (sources of records). The others are for PostgreSQL: `tables` are patterns,
    `credential` says where a secret is found (`env:NAME`, `file:PATH`, `exec:CMD`) and is never the secret itself,
    `shards` is the text of a list of databases, `limits` are numbers by name (`LIMITS`), `window` is the time of day
    at which it may be read (`22:00-06:00`, UTC), `stream` what was chosen for its stream of changes. Whatever a clause
    covers in a `restricted` source goes into the compartment.
    """

    name: str
    url: str
    custodian: str | None = None
    account: str | None = None
    schema: str | None = None
    tables: tuple[str, ...] = ()
    credential: str | None = None
    shards: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    window: str | None = None
    restricted: bool = False
    stream: StreamChoices = StreamChoices()

    def to_json(self) -> dict[str, Any]:
        """Return the source as it is sealed and printed; options that are not set are left out."""
        document: dict[str, Any] = {
            "name": self.name,
            "url": self.url,
            "custodian": self.custodian,
            "account": self.account,
        }
        options: dict[str, Any] = {
            "schema": self.schema,
            "tables": list(self.tables),
            "credential": self.credential,
            "shards": self.shards,
            "limits": dict(self.limits),
            "window": self.window,
            "restricted": self.restricted,
            "stream": self.stream.to_json(),
        }
        return document | {name: value for name, value in options.items() if value}

    @property
    def scheme(self) -> str:
        """Return the scheme of the URL."""
        return self.url.partition(":")[0]

    @property
    def system(self) -> str:
        """Return the code of the kind of system, for counts in the log."""
        return _SYSTEMS.get(self.scheme, self.scheme)

    @property
    def holder(self) -> str | None:
        """Return the identifier of dimension account, with its kind (ledger.md §2)."""
        if self.custodian is not None:
            return f"custodian:{self.custodian}"
        return None if self.account is None else f"account:{self.account}"


def spec_from_json(body: Mapping[str, Any]) -> SourceSpec:
    """Read a source as it was sealed."""
    return SourceSpec(
        body["name"],
        body["url"],
        body["custodian"],
        body["account"],
        schema=body.get("schema"),
        tables=tuple(body.get("tables", ())),
        credential=body.get("credential"),
        shards=body.get("shards"),
        limits=dict(body.get("limits", {})),
        window=body.get("window"),
        restricted=body.get("restricted", False) is not False,
        stream=choices_from_json(body.get("stream", {})),
    )
