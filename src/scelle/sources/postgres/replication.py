"""Stream what a logical replication slot gives, and tell the server how far it may forget.

The driver has no interface for it, so this speaks through libpq: `START_REPLICATION .. LOGICAL` opens a COPY in both
directions (the manual's chapter *Streaming Replication Protocol*).
"""

import select
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.names import literal
from scelle.sources.postgres.pgoutput import POSTGRES_EPOCH_US, lsn_text

SESSION: Final = (
    "-c DateStyle=ISO,YMD -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 -c bytea_output=hex "
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
)
"""What makes every value come as COPY prints it in a snapshot."""

_FEEDBACK_S: Final = 10.0
"""So often the server hears that somebody is there; it gives up after `wal_sender_timeout`, 60 s by default."""
_HEAD: Final = struct.Struct(">cQQq").unpack_from
_HEAD_BYTES: Final = 25
_KEEPALIVE: Final = struct.Struct(">cQqB").unpack_from
_STATUS: Final = struct.Struct(">cQQQqB").pack
_DATA, _ALIVE = ord("w"), ord("k")


class ReplicationStream:
    """One open stream on a connection that does nothing else. Not safe for several threads. Raises psycopg.Error.

    `received_lsn` is how far the server has sent; what is confirmed by `confirm` is never sent again after a restart.
    """

    def __init__(
        self,
        connection: "Connection[Any]",
        slot: str,
        publications: Sequence[str],
        *,
        from_lsn: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start streaming from `from_lsn`, or from where the slot was confirmed where that is later."""
        self._connection, self._pgconn, self._clock_s = connection, connection.pgconn, clock_s
        self._confirmed_lsn = from_lsn
        self.received_lsn = from_lsn
        self._told_s = clock_s()
        self._readable = select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)
        self._start(slot, publications, from_lsn)

    def _start(self, slot: str, publications: Sequence[str], from_lsn: int) -> None:
        names = ",".join(map(quoted, publications))
        options = f"proto_version '1', publication_names {literal(names)}"
        command = f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(from_lsn)} ({options})"
        self._pgconn.send_query(command.encode("utf-8"))
        while self._pgconn.flush():
            pass
        while self._pgconn.is_busy():
            self._wait(_FEEDBACK_S)
        result = self._pgconn.get_result()
        if result is None or result.status != ExecStatus.COPY_BOTH:
            raise self._error(result)

    def receive(self, size_bytes: int, seconds: float) -> list[bytes]:
        """Give the messages that came, in their order: those that are there, or the first ones within `seconds`.

        Stops once they take `size_bytes`. None came: the list is empty.
        """
        found: list[bytes] = []
        total, get = 0, self._pgconn.get_copy_data
        deadline = self._clock_s() + seconds
        while total < size_bytes:
            got, data = get(1)
            if got > 0:
                kind = data[0]
                if kind == _DATA:
                    found.append(bytes(data[_HEAD_BYTES:]))
                    total += got
                    _, start, _, _ = _HEAD(data)
                    self.received_lsn = max(self.received_lsn, start)
                elif kind == _ALIVE:
                    self._take_keepalive(bytes(data))
            elif got == 0:
                left = deadline - self._clock_s()
                if found or left <= 0:
                    break
                self._wait(left)
            else:
                raise self._error(self._pgconn.get_result())
        self.stay_alive()
        return found

    def stay_alive(self) -> None:
        """Tell the server, when it is due, that somebody is there; nothing more is confirmed by it."""
        if self._clock_s() - self._told_s >= _FEEDBACK_S:
            self._tell()

    def confirm(self, lsn: int) -> None:
        """Let the server forget what lies before `lsn`: all of it is durable elsewhere."""
        if lsn > self._confirmed_lsn:
            self._confirmed_lsn = lsn
            self._tell()

    def close(self) -> None:
        """End the stream; what was not confirmed is sent again."""
        self._connection.close()

    def _take_keepalive(self, data: bytes) -> None:
        _, end, _, wants_reply = _KEEPALIVE(data)
        self.received_lsn = max(self.received_lsn, end)
        if wants_reply:
            self._tell()

    def _tell(self) -> None:
        now = int(time.time() * 1_000_000) - POSTGRES_EPOCH_US
        lsn = self._confirmed_lsn
        self._pgconn.put_copy_data(_STATUS(b"r", lsn, lsn, lsn, now, 0))
        while self._pgconn.flush():
            pass
        self._told_s = self._clock_s()

    def _wait(self, seconds: float) -> None:
        if self._readable.poll(max(1, int(seconds * 1000))):
            self._pgconn.consume_input()

    def _error(self, result: Any) -> psycopg.Error:
        if result is None or result.status in (ExecStatus.COMMAND_OK, ExecStatus.COPY_OUT):
            return psycopg.OperationalError("the server ended the stream")
        return error_from_result(result, encoding="utf-8")
