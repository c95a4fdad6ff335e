"""Measure what waits in the outbox of a source's guard, and how often it refused."""

from typing import TYPE_CHECKING, Any

from scelle.bootstrap.guard_databases import asked_of
from scelle.bootstrap.session import Session
from scelle.bootstrap.watch_meter import OutboxDepth

if TYPE_CHECKING:  # the driver is an extra
    from psycopg import Connection


def outbox_depth(session: Session, name: str) -> tuple[OutboxDepth, int | None]:
    """Ask a source's database how much waits, and how many statements its guard refused, None where nothing counts.

    Every row that waits is counted: not to be asked every second. Raises SourceError.
    """
    return asked_of(session, name, _measured)


def _measured(connection: "Connection[Any]") -> tuple[OutboxDepth, int | None]:
    from scelle.guard.postgres.outbox import depth, refused  # the driver is an extra

    found = depth(connection)
    return OutboxDepth(found.rows, found.size_bytes, found.oldest_s or 0.0), refused(connection)
