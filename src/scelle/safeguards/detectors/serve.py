"""Be a detector's process: build it, say what it is, answer one request after another until the other side is gone.

``python -m scelle.safeguards.detectors.serve FD MODULE OPTIONS``: FD is an inherited socket, MODULE has `build`,
OPTIONS are its keyword arguments in JSON.
"""

import importlib
import json
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

from scelle.safeguards.detectors import frames
from scelle.safeguards.detectors.interface import Detector, Input, Inputs, Note, Noter, Role

INPUTS_MAX_BYTES: Final = 512 << 20
GRACE_S: Final = 1.0


def serve(channel: socket.socket, detector: Detector) -> None:
    """Answer requests until the channel ends; a detector that raises ends its process, and is started anew."""
    what = detector.registered
    registered = {"id": what.id, "version": what.version, "weights_digest": what.weights_digest}
    frames.send(channel, {"registered": registered}, (), None)
    while True:
        header, parts = frames.receive(channel, None, parts_max_bytes=INPUTS_MAX_BYTES)
        roles = map(Role, header["roles"])
        inputs = Inputs(tuple(Input(role, data) for role, data in zip(roles, parts, strict=True)))
        left_s = max(0.0, header["left_s"])
        signal.setitimer(
            signal.ITIMER_REAL, left_s + GRACE_S
        )  # ends the process even where the parent is gone
        deadline = time.monotonic() + left_s
        found = detector.detect(inputs, deadline)
        notes = detector.notes(inputs, deadline) if isinstance(detector, Noter) else ()
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer = {"nonce": header["nonce"], "found": _answer(inputs, found), "notes": _noted(notes)}
        frames.send(channel, answer, (), None)


def _answer(inputs: Inputs, found: Any) -> list[list[Any]]:
    place = {id(each): number for number, each in enumerate(inputs.all)}
    return [[place[id(each.input)], each.name, each.value, each.score, each.threshold] for each in found]


def _noted(notes: tuple[Note, ...]) -> list[list[Any]]:
    return [[each.input_id, dict(each.content)] for each in notes]


def main() -> None:
    """Run until the parent is gone."""
    fd, module, options = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the inputs
    channel = socket.socket(fileno=int(fd))
    try:
        serve(channel, importlib.import_module(module).build(**json.loads(options)))
    except (frames.FrameWrong, OSError):
        sys.exit(0)


if __name__ == "__main__":
    main()
