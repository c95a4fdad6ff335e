"""Part a stream of server-sent events into events, without changing a byte of it."""

import json
from collections.abc import Iterator
from typing import Any, Final

EVENT_MAX_BYTES: Final = 256 << 20
WORD_MAX_BYTES: Final = 200


class StreamTooLong(ValueError):
    """Say that one event of a stream is larger than may be held."""


class EventSplitter:
    """Take pieces as they come, give whole events back with their ends; `rest` is what has no end yet."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0

    @property
    def rest(self) -> bytes:
        """Return what came behind the last end."""
        return bytes(self._rest)

    def take(self, piece: bytes) -> Iterator[bytes]:
        """Yield the events that are whole now; raises StreamTooLong."""
        self._rest += piece
        while (end := self._end()) >= 0:
            event = bytes(self._rest[:end])
            del self._rest[:end]
            self._searched = 0
            yield event
        self._searched = max(0, len(self._rest) - 3)
        if len(self._rest) > EVENT_MAX_BYTES:
            raise StreamTooLong(f"an event of the stream is over {EVENT_MAX_BYTES >> 20} MiB")

    def _end(self) -> int:
        ends = [
            at + len(mark)
            for mark in (b"\n\n", b"\r\n\r\n", b"\r\r")
            if (at := self._rest.find(mark, self._searched)) >= 0
        ]
        return min(ends, default=-1)


def is_word(event: bytes) -> bool:
    """Tell whether an event of a stream that is no JSON is nothing but a sign of life, or of the end."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n").split(b"\n")
    return len(event) <= WORD_MAX_BYTES and all(
        line in (b"", b"data: [DONE]", b"data:[DONE]")
        or line.startswith((b":", b"event:", b"id:", b"retry:"))
        for line in lines
    )


def event_data(event: bytes) -> Any:
    """Read an event's data as JSON; None where it has none, or other text (`[DONE]`)."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
