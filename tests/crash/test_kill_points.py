"""Kill an order's intake, pass and production at every durable step, as not persisted and as persisted.

Afterwards the next run must finish, `verify` must find nothing, counts must add up, and no size may have two
signed roots.
"""

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from scelle.bootstrap import KeyChoice, actor, make_vault, now_us, opened
from scelle.bootstrap.productions import produce_package
from scelle.capture.service import PassReport, run_pass
from scelle.errors import OrderExists
from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.formats.notes import parse_note
from scelle.fsck.service import verify
from scelle.ledger.log import LogReader
from scelle.orders.intake import read_order_file
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import add_order, sealed_order
from scelle.productions.model import ProductionReport, WithholdList
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source
from scelle.vault import writing
from scelle.vault.durable import Step, observed
from scelle.vault.writing import new_pack_id

from .disk import KILLED, Killer, Mode, Shadow, kind_of

ORDER = "o-1"
ORIGIN = f"platform.example/po/{ORDER}"
KNOWN_KINDS = Path(__file__).with_name("kill-points.txt")
TOML = """\
[order]
id = "o-1"
matter = "m-1"
type = "dsa-retention"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "R/1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "all"
sources = ["docs"]
"""
FILES = {"a.txt": b"a red boat\n" * 20, "b.txt": b"a harbour\n" * 30, "sub/c.bin": bytes(range(256)) * 8}


@dataclass(frozen=True)
class Place:
    """One working folder: the vault, its key and the documents."""

    root: Path

    @property
    def vault(self) -> Path:
        return self.root / "disk" / "vault"

    @property
    def out(self) -> Path:
        return self.root / "disk" / "out"

    @property
    def keys(self) -> KeyChoice:
        return KeyChoice(key_file=self.root / "disk" / "keys")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("prepared"))
    docs = place.root.parent / "documents"
    docs.mkdir(exist_ok=True)
    for name, data in FILES.items():
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_bytes(data)
        os.utime(docs / name, (1_760_000_000, 1_760_000_000))
    (place.root / "disk" / "keys").mkdir(parents=True)
    (place.root / "disk" / "out").mkdir()
    (place.root / "order.toml").write_text(TOML)
    make_vault(place.vault, "platform.example", place.keys, [])
    with opened(place.vault, place.keys, writing=True) as session:
        spec = SourceSpec("docs", f"files://{docs}")
        add_source(session.writer(RESERVED_ORDER_ID), spec, now_us(), actor())
    return place


def take_in_and_preserve(place: Place) -> PassReport:
    """What a platform engineer does after a crash: the same two commands again."""
    with opened(place.vault, place.keys, writing=True) as session:
        sources = {name: spec.to_json() for name, spec in session.sources().items()}
        with suppress(OrderExists):
            session.keep(
                add_order(
                    session.path,
                    session.host,
                    session.key,
                    session.packs,
                    read_order_file(place.root / "order.toml"),
                    sources,
                    now_us=now_us(),
                    actor=actor(),
                    memory=session.memory,
                )
            ).close()
        ledger = session.order_writer(ORDER)
        sealed = sealed_order(ledger)
        return run_pass(
            session.pass_tools(ledger, lambda name, counts: None), sealed.clauses, session.named(sealed)
        )


def hand_over(place: Place, name: str = "p.scelle") -> ProductionReport:
    """Produce the whole source; what a crash left must not be in the way."""
    with opened(place.vault, place.keys, writing=True) as session:
        report, _ = produce_package(
            session,
            ORDER,
            kind="source",
            name="docs",
            since=None,
            until=None,
            prefix="SCL",
            to=place.out / name,
            redact={},
            withhold=WithholdList(),
            progress=lambda stage, done, total: None,
        )
    return report


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


Life = Callable[[Place], object]


@contextmanager
def folders_of_their_own(place: Place) -> Iterator[None]:
    """Let no new pack fall into the folder of another: one in 256 does, and has a step less than was counted."""
    taken = {path.name for path in (place.vault / "packs").glob("*")}

    def pack_id() -> str:
        found = new_pack_id()
        while found[:2] in taken:
            found = new_pack_id()
        taken.add(found[:2])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "new_pack_id", pack_id)
        yield


def steps_of(place: Place, life: Life = take_in_and_preserve) -> list[Step]:
    """Run once without a crash and list every durable step."""
    steps: list[Step] = []

    def note(step: Step, when: str) -> None:
        if when == "before":
            steps.append(step)

    with folders_of_their_own(place), observed(note):
        life(place)
    return steps


def copy_of(prepared: Place, tmp_path: Path, name: str) -> Place:
    place = Place(tmp_path / name)
    shutil.copytree(prepared.root, place.root)
    return place


def crash_at(place: Place, number: int, mode: Mode, life: Life = take_in_and_preserve) -> Place:
    """Crash at one step and return the place as the machine finds it when it starts again."""
    after = Place(place.root.with_name(place.root.name + "-after"))
    after.root.mkdir()
    shutil.copy(place.root / "order.toml", after.root)

    def work() -> None:
        shadow = Shadow(place.root / "disk")

        def copy() -> None:
            if mode == "lost":
                shadow.materialise(after.root / "disk")
            else:
                shutil.copytree(place.root / "disk", after.root / "disk")

        killer = Killer(number, mode, copy)
        with folders_of_their_own(place), observed(shadow.observe), observed(killer.observe):
            life(place)

    assert in_child(work) == KILLED
    return after


def shown_checkpoints(place: Place) -> Iterator[Checkpoint]:
    path = place.vault / "po" / ORDER / "log" / "checkpoint"
    if path.exists():
        yield parse_checkpoint_text(parse_note(path.read_bytes()).text)


def check_recovers(place: Place) -> None:
    shown = list(shown_checkpoints(place))
    report = take_in_and_preserve(place)
    total = report.total
    assert (total.offered, total.sealed, total.failed, total.excluded, total.lost) == (3, 3, 0, 0, 0)
    with opened(place.vault, place.keys, writing=False) as session:
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
        assert [finding for finding in result.findings if finding.code != "catalog.stale"] == []
        manifests = [manifest for _, manifest in session.ledger(ORDER).manifests()]
    assert sum(manifest.records for manifest in manifests if manifest.source == "s0001") == 3
    assert sum(manifest.records for manifest in manifests if manifest.source == "scelle.order") == 1
    log = LogReader(place.vault / "po" / ORDER / "log", ORIGIN)
    for checkpoint in shown:  # no size ever has two signed roots
        prefix = LogReader.__new__(LogReader)
        prefix.leaves = log.leaves[: 32 * checkpoint.size]
        assert prefix.root == checkpoint.root


def test_every_kind_of_step_is_known(prepared: Place, tmp_path: Path) -> None:
    place = copy_of(prepared, tmp_path, "all")
    steps = [step for life in (take_in_and_preserve, hand_over) for step in steps_of(place, life)]
    kinds = sorted({kind_of(step, place.root / "disk") for step in steps})
    assert kinds == KNOWN_KINDS.read_text().splitlines(), (
        "a kill point appeared or went: review, then list it"
    )


@pytest.fixture(scope="module")
def count(prepared: Place, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count the durable steps of an intake and a pass that no crash ends."""
    return len(steps_of(copy_of(prepared, tmp_path_factory.mktemp("counted"), "count")))


@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("share", range(16))
def test_a_crash_at_every_step_recovers(
    prepared: Place, tmp_path: Path, mode: Mode, share: int, count: int
) -> None:
    for number in range(share, count, 16):
        after = crash_at(copy_of(prepared, tmp_path, f"step-{number}"), number, mode)
        check_recovers(after)
