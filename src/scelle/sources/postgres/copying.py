"""Read what COPY sends many rows at a time, without passing through the driver's generators for each of them."""

import select
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

_LOOK_UP_MS: Final = 100
"""How often a reading that waits for the server looks whether it shall stop."""


class CopyStream:
    """One `COPY .. TO STDOUT` on a connection that does nothing else until its end.

    `check` is called while the server lets wait, and may raise. A stream that is left before its end leaves the
    connection in the middle of a query: it is only good to be closed. Raises psycopg.Error.
    """

    def __init__(self, connection: "Connection[Any]", sql: str, check: Callable[[], object]) -> None:
        """Send the query, and wait until rows come."""
        self._pgconn, self._check = connection.pgconn, check
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)
        self._writable.register(self._pgconn.socket, select.POLLOUT | select.POLLIN)
        self._is_ended = False
        self._pgconn.send_query(sql.encode("utf-8"))
        while self._pgconn.flush():
            self._wait(self._writable)
        result = self._result()
        if result is None or result.status != ExecStatus.COPY_OUT:
            self._finish(result)

    def lines(self, most: int, size_bytes: int) -> tuple[int, bytes]:
        """Give the next lines with their line feeds, and how many they are: none at the end.

        They are `most`, or fewer once they take `size_bytes`.
        """
        found, count, get = bytearray(), 0, self._pgconn.get_copy_data
        while count < most and len(found) < size_bytes and not self._is_ended:
            got, line = get(1)
            if got > 0:
                found += line
                count += 1
            elif got == 0:
                self._wait(self._readable)
            else:
                self._finish(self._result())
        return count, bytes(found)

    def _finish(self, result: PGresult | None) -> None:
        """Take all that the query still answers; raise what it says went wrong."""
        self._is_ended = True
        wrong = None
        while result is not None:
            if result.status != ExecStatus.COMMAND_OK:
                wrong = result
            result = self._result()
        if wrong is not None:
            raise error_from_result(wrong, encoding="utf-8")

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(self._readable)
        return self._pgconn.get_result()

    def _wait(self, ready: select.poll) -> None:
        events = ready.poll(_LOOK_UP_MS)
        if not events:
            self._check()
        elif events[0][1] & select.POLLNVAL:
            raise psycopg.OperationalError("the connection is closed")
        elif events[0][1] & ~select.POLLOUT:
            self._pgconn.consume_input()
