"""Connect to a server, and say in Scellé's words what went wrong there.

Every module that needs the driver is imported through here or after `require_driver`, so that Scellé runs without it.
"""

from typing import Any, Final

import psycopg
from psycopg import Connection

from scelle.errors import (
    ItemError,
    ItemUnreadable,
    ItemVanished,
    SourceError,
    SourceMissing,
    SourceUnreadable,
)
from scelle.formats.tokens import shown
from scelle.sources.postgres.settings import PostgresSettings

OLDEST_VERSION: Final = 120_000
_CONNECT_TIMEOUT_S: Final = 15
_GONE: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
_NOT_THERE: Final = frozenset({"42P01", "3F000"})
_FULL: Final = ("too many connections", "too many clients", "remaining connection slots")
_POOLER: Final = "unsupported startup parameter"
_STATEMENT_POOLING: Final = "not allowed in statement pooling mode"
_CAUSES: Final = {
    "42703": "changed-while-read",
    "42501": "permission-denied",
    "57014": "cancelled",
    "55P03": "locked",
    "40001": "replica-conflict",
}
_ADVICE: Final = {
    "changed-while-read": "its columns changed meanwhile: run again",
    "permission-denied": "grant SELECT on it (see source add --print-grants)",
    "cancelled": "somebody cancelled the query: run again",
    "locked": "another session holds a lock on it for more than 30 s: run again when its change is done",
    "replica-conflict": "the standby had to apply changes: set hot_standby_feedback, or a larger "
    "max_standby_streaming_delay",
}


class ConnectionLost(SourceUnreadable):
    """Say that the server ended a connection; others may still be there."""


def connect(
    settings: PostgresSettings,
    beside: "Connection[Any] | None" = None,
    *,
    replication: bool = False,
    parameters: str = "",
) -> "Connection[Any]":
    """Open a connection; `beside` another, to the very same server; for `replication`, one that streams changes.

    `parameters` are given to the server as options of the session: `-c name=value`.

    Raises SourceMissing where no server or database answers, SourceUnreadable where it refuses.
    """
    hosts, where = settings.hosts, {}
    if beside is not None:
        info = beside.info
        hosts, where = ((info.host, info.port),), {"hostaddr": info.hostaddr} if info.hostaddr else {}
    options: dict[str, Any] = {
        "host": ",".join(host for host, _ in hosts),
        "port": ",".join(str(port) for _, port in hosts),
        "dbname": settings.database,
        "user": settings.user,
        "password": settings.password(),
        "sslmode": settings.sslmode,
        "sslrootcert": settings.sslrootcert,
        "target_session_attrs": _wanted(settings) if len(hosts) > 1 else None,
        "client_encoding": "utf8",
        "application_name": "scelle",
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "keepalives_idle": 30,
        "tcp_user_timeout": 60_000,
        "replication": "database" if replication else None,
        "options": parameters or None,
        **where,
    }
    try:
        connection = psycopg.connect(
            autocommit=True, **{name: value for name, value in options.items() if value is not None}
        )
    except psycopg.Error as error:
        raise _refusal(settings, error) from error
    connection.prepare_threshold = None
    if connection.info.server_version < OLDEST_VERSION:
        connection.close()
        raise SourceUnreadable(f"{settings.place} is older than PostgreSQL 12: Scellé reads 12 and newer")
    return connection


def connect_to_change(settings: PostgresSettings) -> "Connection[Any]":
    """Open a connection that may make what a stream or a guard needs, where the role reads only by default.

    Raises SourceMissing and SourceUnreadable as `connect`.
    """
    connection = connect(settings)
    try:
        connection.execute(b"SET default_transaction_read_only = off")
    except psycopg.Error as error:
        connection.close()
        raise _refusal(settings, error) from error
    return connection


def _wanted(settings: PostgresSettings) -> str:
    return "primary" if settings.only_primary else "prefer-standby"


def is_pooled(connection: "Connection[Any]") -> bool:
    """Tell whether a pooler answers in the server's place: then the process that answers is not the one it names."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def error_of(error: psycopg.Error, what: str) -> SourceError:
    """Say what a failed query means for `what`, a table; the server's own words never carry values on."""
    state = error.sqlstate or ""
    said = shown(error.diag.message_primary or type(error).__name__)
    if _STATEMENT_POOLING in said:
        return SourceUnreadable(
            f"a pooler stands before {what} and takes each statement by itself, so that no snapshot can be held: name "
            "the server itself in the source's URL, or a pool of mode transaction"
        )
    if not state or state.startswith("08") or state in _GONE:
        return ConnectionLost(
            f"the connection to the server was lost while reading {what}: run again ({said})"
        )
    if state in _NOT_THERE:
        return ItemVanished(f"{what} was there when the snapshot was taken and was dropped or renamed since")
    cause = _CAUSES.get(state, f"postgres-{state.lower()}")
    advice = _ADVICE.get(cause, "see the server's log")
    return ItemUnreadable(f"{what} cannot be read: {said}; {advice}", cause)


def source_error_of(error: psycopg.Error, what: str) -> SourceError:
    """Say what a failed query means where it concerns the whole source."""
    found = error_of(error, what)
    return SourceUnreadable(str(found)) if isinstance(found, ItemError) else found


def _refusal(settings: PostgresSettings, error: psycopg.Error) -> SourceError:
    text = str(error)
    where = f"{settings.host}:{settings.port}"
    said = shown(" ".join(text.split())[-300:])
    if "does not exist" in text and "database" in text:
        return SourceMissing(f"there is no database {shown(settings.database)} at {where}: name one that is")
    if any(each in text for each in _FULL):
        return SourceUnreadable(
            f"{where} gives no more connections: give a smaller --max-connections, or allow more there ({said})"
        )
    if _POOLER in text:
        return SourceUnreadable(
            f"{where} is a pooler (pgbouncer) that lets no stream of changes through: name the server itself in the "
            f"source's URL ({said})"
        )
    if "FATAL" in text or "password" in text:
        return SourceUnreadable(
            f"{where} refuses user {shown(settings.user)}: check --credential and the grants ({said})"
        )
    return SourceMissing(f"no PostgreSQL server answers at {where}: check host, port and network ({said})")
