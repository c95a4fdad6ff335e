"""Put a guardrail before a generator that is recorded: prove it, keep what it consists of, start its detectors."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scelle.bootstrap.recording import RecordingPlace
from scelle.errors import InputError, PolicyWrong
from scelle.safeguards.gate import Proof, prove
from scelle.safeguards.guardrail import Guardrail, Lineage, Setup, load_setup
from scelle.safeguards.guardrail.setup import read_regular
from scelle.safeguards.recorder.contents import ContentStore
from scelle.safeguards.recorder.gating import GateRoom, contents_of, remember
from scelle.safeguards.recorder.lanes import Lanes
from scelle.safeguards.recorder.model import CONTENTS, RECORDED, Mode
from scelle.safeguards.recorder.preserving import keep_configuration, keep_setup
from scelle.safeguards.recorder.spool import Spool
from scelle.sources.generation.model import DERIVED

Say = Callable[[str], None]


def proven(path: Path) -> tuple[Setup, Proof]:
    """Read a guardrail and prove its policy; raises PolicyWrong, PolicyRefused and DetectorWrong."""
    setup = load_setup(path)
    proof = prove(setup.bundle)
    proof.require()
    return setup, proof


def read_configuration(path: Path) -> bytes:
    """Read what a generator runs with; raises InputError where it is no file."""
    try:
        return read_regular(path)
    except PolicyWrong as error:
        raise InputError(f"--configuration {error}") from None


def configured(spool: Spool, root: Path, data: bytes, suffix: str) -> dict[str, str]:
    """Keep what the generator runs with; return what each request says of it. Raises StorageError."""
    kept = keep_configuration(spool.contents, root, data, suffix)
    spool.put(kept.to_event()).result()
    return {"config_digest": kept.digest}


def gate_room(stack: ExitStack, spool: Spool, place: RecordingPlace, setup: Setup, say: Say) -> GateRoom:
    """Start a guardrail's detectors, keep what it consists of, and remember what was let through before.

    What is opened ends with `stack`. `say` is told what is not as it should be, and does not keep it from serving.
    Raises StorageError.
    """
    lineage = stack.enter_context(Lineage(place.root.joinpath(*DERIVED)))
    stack.callback(_remember_at_end, lineage, place.root / RECORDED, say)
    remember(lineage, place.root / RECORDED)
    lanes = _lanes(stack, spool, place, say)
    contents = contents_of(spool) if lanes is None else lanes.find
    guardrail = stack.enter_context(Guardrail(setup, lineage, contents))
    for id, why in sorted(guardrail.warm().items()):
        say(f"detector {id} is not well ({why}): what needs it is refused until it is")
    spool.put(keep_setup(spool.contents, place.root, setup, guardrail.gate.proof)).result()
    room = GateRoom(guardrail, lineage, lanes)
    stack.callback(room.close)
    return room


def _remember_at_end(lineage: Lineage, recorded: Path, say: Say) -> None:
    """Take in what was recorded; where that cannot be, the next start does it: sealing goes on."""
    try:
        remember(lineage, recorded)
    except (sqlite3.Error, OSError) as error:
        say(f"the lineage could not be written ({error}): it is made again at the next start")


def _lanes(stack: ExitStack, spool: Spool, place: RecordingPlace, say: Say) -> Lanes | None:
    """Open what is restricted: its spool, of the same surface, in the folder of the restricted source."""
    if place.restricted_root is None:
        say("what the gate's lanes hold back is sealed openly: give --restricted-source to keep it apart")
        return None
    opened = ContentStore(place.root / RECORDED / CONTENTS)
    opened.prepare()
    restricted = Spool(place.restricted_root, spool.surface, Mode.BLOCK, {"restricted": True})
    return Lanes(spool, opened, stack.enter_context(restricted))
