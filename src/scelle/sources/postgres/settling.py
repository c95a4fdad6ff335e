"""Wait until what is committed can be seen, on a server whose commits wait for standbys.

Until the standby has answered, a commit is in the WAL there, and sent to whoever reads a slot, but no snapshot sees its
rows. A snapshot that joins a stream behind that commit would give those rows to nobody.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from scelle.errors import SourceUnreadable

if TYPE_CHECKING:
    from psycopg import Connection

SETTLE_S: Final = 30.0
"""So long it is waited for the transactions that run."""
_PAUSE_S: Final = 0.1
_WAITS: Final = b"SELECT current_setting('synchronous_standby_names') <> '' AND NOT pg_is_in_recovery()"
_RUNNING: Final = b"""
SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
"""


def settle(connection: "Connection[Any]", place: str, wait_s: float = SETTLE_S) -> None:
    """Wait until every transaction that runs now has ended, where commits wait for standbys; else return at once.

    Not every role may see which of them have committed already and only wait; but each holds a lock on its own number
    until its rows are visible. Give an autocommit connection. Raises SourceUnreadable after `wait_s` seconds.
    """
    if connection.execute(_WAITS).fetchone() != (True,):
        return
    until_s, running = time.monotonic() + wait_s, _running(connection)
    while running and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
        running &= _running(connection)
    if running:
        raise SourceUnreadable(
            f"{place} waits for synchronous standbys, and {len(running)} transactions that ran before the stream was "
            "joined have not ended: their rows may be committed and not yet seen; run again when they have, or when "
            "the standby answers"
        )


def _running(connection: "Connection[Any]") -> set[str]:
    return {row[0] for row in connection.execute(_RUNNING).fetchall()}
