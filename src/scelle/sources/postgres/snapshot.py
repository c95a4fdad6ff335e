"""Hold one exported snapshot of a database, and give connections that read in it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from scelle.errors import SourceClosed, SourceUnreadable
from scelle.sources.postgres.catalog import QUERIES
from scelle.sources.postgres.connecting import ConnectionLost, connect, source_error_of
from scelle.sources.postgres.names import literal
from scelle.sources.postgres.settings import PostgresSettings

_HELD_BACK_MANY: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Snapshot:
    """One state of a database, held by a transaction that stays open until `close`.

    No table is locked by the holder: a change of a table's shape is not made to wait for the whole pass, and is
    found when the table is read. Safe to use from several threads.
    """

    def __init__(
        self, settings: PostgresSettings, clock_s: Callable[[], float], now_s: Callable[[], float] = time.time
    ) -> None:
        """Open the snapshot; raises a SourceError. `clock_s` never goes back, `now_s` are seconds since 1970."""
        self._settings, self._clock_s, self._now_s = settings, clock_s, now_s
        self._lock = threading.RLock()
        self._idle: list[Connection[Any]] = []
        self._readers = 0
        self._holder = connect(settings)
        try:
            self._opened_s = clock_s()
            ((replayed,),) = self._holder.execute(QUERIES["replayed"].encode()).fetchall()
            self._holder.execute(_begin(self._holder, None))
            ((name, time_us, is_standby, encoding, sees, lsn),) = self._holder.execute(
                QUERIES["export"].encode()
            ).fetchall()
        except psycopg.Error as error:
            self._holder.close()
            raise source_error_of(error, settings.place) from error
        self.name: str = name
        self.time_us: int = time_us
        self.is_standby: bool = is_standby
        self.encoding: str = encoding
        self.sees: str = sees
        """What transactions it sees, as `pg_current_snapshot()` writes them."""
        self.lsn: str = replayed or lsn
        """A place in the WAL: a transaction that commits behind it was not seen; on a standby, or is not known to be.

        There everything that commits before it was seen.
        """
        self.is_open = True

    @property
    def text(self) -> str:
        """Name the snapshot: its time, and the name under which the server exported it."""
        moment = _EPOCH + timedelta(microseconds=self.time_us)
        return f"{moment.strftime('%Y-%m-%dT%H:%M:%S.%f')}Z/{self.name}"

    def close(self) -> None:
        """Let the snapshot go; connections that still read in it go on until they end."""
        with self._lock:
            self.is_open = False
            for connection in (*self._idle, self._holder):
                connection.close()
            self._idle.clear()

    def rows(
        self, query: str, parameters: Sequence[object] = (), *, binary: bool = False
    ) -> list[tuple[Any, ...]]:
        """Answer a small query in the snapshot, and keep no lock. Raises SourceUnreadable."""
        with self._lock:
            self._check_open()
            try:
                with self._holder.transaction(force_rollback=True):
                    cursor = self._holder.cursor(binary=binary)
                    return cursor.execute(query.encode("utf-8"), parameters or None).fetchall()
            except psycopg.Error as error:
                if self._holder.closed:
                    self.close()
                raise source_error_of(error, self._settings.place) from error

    def may_compile(self, expression: str) -> bool:
        """Say whether the server takes a regular expression. Raises SourceUnreadable where the snapshot is gone."""
        try:
            self.rows("SELECT '' ~ %s", (expression,))
        except SourceUnreadable:
            self._check_open()
            return False
        return True

    @contextmanager
    def reader(self) -> Iterator["Connection[Any]"]:
        """Lend a connection inside the snapshot; one that is left in the middle of a query is thrown away.

        Raises SourceUnreadable where all are lent, or the snapshot is gone.
        """
        connection = self._lend()
        try:
            self._import(connection)
            yield connection
        finally:
            self._take_back(connection)

    def age_s(self) -> float:
        """Say for how long the snapshot is held."""
        return self._clock_s() - self._opened_s

    def left_s(self) -> float:
        """Say for how long the snapshot may still be read.

        Raises SourceUnreadable, after letting it go, where that time or the source's window is over.
        """
        window = self._settings.window
        open_s = inf if window is None else window.left_s(self._now_s())
        if window is not None and open_s <= 0:
            self.close()
            raise SourceClosed(
                f"the window of {self._settings.place} ({window.text} UTC) is over and reading stopped: run again when "
                f"it opens, {window.opens(self._now_s())}; what was sealed stays sealed, and is not sealed twice"
            )
        left = self._settings.snapshot_max_age_s - self.age_s()
        if left <= 0:
            self.close()
            raise SourceUnreadable(
                f"the snapshot of {self._settings.place} is older than {self._settings.snapshot_max_age_s:g} s and "
                "was let go, so that the server can clean up: run again with a higher limit, more connections or "
                "fewer tables; what was sealed stays sealed"
            )
        return min(left, open_s)

    def warnings(self) -> list[str]:
        """Say what the operator should know: the server is no standby, the snapshot holds back its clean-up."""
        said = []
        if not self.is_standby:
            said.append(
                f"{self._settings.place} is a primary: reading a standby would spare it; name one as a further host"
            )
        held_back = self.rows(QUERIES["held_back"])[0][0] if self.is_open else 0
        is_old = self.age_s() > self._settings.snapshot_max_age_s / 2
        if held_back > _HELD_BACK_MANY or is_old:
            said.append(
                f"the snapshot of {self._settings.place} is {self.age_s():.0f} s old and holds back the removal of "
                f"dead rows of {held_back} transactions: tables that are written to grow meanwhile (bloat)"
            )
        return said

    def _check_open(self) -> None:
        if not self.is_open:
            raise SourceUnreadable(f"the snapshot of {self._settings.place} was let go: run again")

    def _lend(self) -> "Connection[Any]":
        with self._lock:
            self._check_open()
            if self._readers >= self._settings.max_connections - 1:
                raise SourceUnreadable(
                    f"all {self._settings.max_connections} connections to {self._settings.place} are in use: "
                    "allow more with --max-connections"
                )
            self._readers += 1
            idle = self._idle.pop() if self._idle else None
        if idle is not None and not idle.closed:
            return idle
        try:
            return connect(self._settings, beside=self._holder)
        except BaseException:
            with self._lock:
                self._readers -= 1
            raise

    def _import(self, connection: "Connection[Any]") -> None:
        try:
            connection.execute(_begin(connection, self.name))
        except psycopg.Error as error:
            lost = source_error_of(error, self._settings.place)
            if isinstance(lost, ConnectionLost):
                raise lost from error
            self.close()
            raise SourceUnreadable(
                f"the snapshot of {self._settings.place} is gone, for its own connection was lost: run again"
            ) from error

    def _take_back(self, connection: "Connection[Any]") -> None:
        status = connection.info.transaction_status
        if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            try:
                connection.execute(b"ROLLBACK")
            except psycopg.Error:
                connection.close()
        elif status is not TransactionStatus.IDLE:
            connection.close()
        with self._lock:
            self._readers -= 1
            if self.is_open and not connection.closed:
                self._idle.append(connection)
            else:
                connection.close()


def _begin(connection: "Connection[Any]", snapshot: str | None) -> bytes:
    """Write what opens a transaction in a snapshot, so that every value is printed in one way."""
    parts = [QUERIES["begin"]]
    if snapshot is not None:
        parts.append(f"SET TRANSACTION SNAPSHOT {literal(snapshot)};")
    parts.append(QUERIES["settings"])
    if connection.info.server_version >= 170_000:
        parts.append("SET LOCAL transaction_timeout = 0;")
    return "\n".join(parts).encode("utf-8")
