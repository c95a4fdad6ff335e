"""Exchange JSON and bytes with a detector's process over a socket: never pickles, so that what a detector was made to
do by a picture stays in its process. A frame: the length of the header (4 bytes), the header, its `sizes` of bytes.
"""

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I")
HEADER_MAX_BYTES: Final = 1 << 20


class FrameWrong(Exception):
    """Say, to the caller in this room, that the other side is gone or sent what is no frame."""


def send(
    channel: socket.socket, header: dict[str, Any], parts: Sequence[bytes], deadline: float | None
) -> None:
    """Send one frame; raise TimeoutError at the deadline, OSError where the other side is gone."""
    head = json.dumps({**header, "sizes": [len(part) for part in parts]}, separators=(",", ":")).encode()
    for part in (_LENGTH.pack(len(head)) + head, *parts):
        channel.settimeout(_left(deadline))
        try:
            channel.sendall(part)
        except BlockingIOError as error:
            raise TimeoutError from error


def receive(
    channel: socket.socket, deadline: float | None, *, parts_max_bytes: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one frame; raise TimeoutError at the deadline, FrameWrong where none arrives whole.

    What has arrived before the deadline may be read after it: a slow neighbour makes nobody late.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size, deadline))
    if length > HEADER_MAX_BYTES:
        raise FrameWrong("the header is too long")
    try:
        header = json.loads(_exactly(channel, length, deadline))
        sizes = [int(size) for size in header["sizes"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FrameWrong("the header is none") from error
    if min(sizes, default=0) < 0 or sum(sizes) > parts_max_bytes:
        raise FrameWrong("more bytes than are taken")
    return header, [_exactly(channel, size, deadline) for size in sizes]


def _exactly(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    found = bytearray()
    while len(found) < size:
        channel.settimeout(_left(deadline))
        try:
            part = channel.recv(min(size - len(found), 1 << 20))
        except BlockingIOError as error:
            raise TimeoutError from error
        if not part:
            raise FrameWrong("the other side is gone")
        found += part
    return bytes(found)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
