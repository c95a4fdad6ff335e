"""Kill a disposal at every durable step, as not persisted and as persisted; then finish it.

It must end exactly once, with one certificate; nothing that only the released order had may be readable, everything
that the other order has must be, and `verify` must find nothing.
"""

import json
import secrets
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.bootstrap import Session, make_vault, opened
from scelle.bootstrap.orders import take_in_order
from scelle.bootstrap.releasing import CERTIFICATE, ask_release, dispose_due
from scelle.bootstrap.requests import approve
from scelle.capture.identity import ItemNames
from scelle.capture.service import run_pass
from scelle.errors import ContentMissing, PackDamaged
from scelle.fsck.service import verify
from scelle.ledger.destroying import DISPOSED
from scelle.ledger.events import events, record_event
from scelle.orders.intake import read_order_file
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.release.quarantine import QUARANTINED, quarantined
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source

from .disk import Mode, kind_of
from .test_kill_points import TOML, Place, copy_of, crash_at, steps_of

KNOWN_KINDS = Path(__file__).with_name("kill-points-disposal.txt")
SHARES = 6
EVERY = 16
"""`make test` kills at every sixteenth step, `make test-long` at all of them."""
GONE, KEPT = "gone", "kept"
OWN = [f"only of the released order {number}\n".encode() for number in range(6)]
SHARED = [f"of both orders {number}\n".encode() for number in range(3)]
LOST, SHUT = b"of both orders, and gone from the source\n", b"the same, and privileged\n"
LARGE = secrets.token_bytes(9 << 20)


def put(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def take_in(session: Session, place: Place, order: str, more: str) -> None:
    path = place.root / f"{order}.toml"
    path.write_text(TOML.replace('id = "o-1"', f'id = "{order}"') + more)
    take_in_order(session, read_order_file(path))


def seal(session: Session, order: str) -> None:
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    run_pass(session.pass_tools(ledger, lambda name, counts: None), sealed.clauses, session.named(sealed))


def shut(session: Session) -> None:
    """Quarantine one document in the order that is to be released."""
    ledger, names = session.writer(GONE), {"s0001": "docs"}
    for at, manifest in ledger.manifests():
        if manifest.source == "s0001" and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                item_names = ItemNames(session.key, names["s0001"], reader.schema)
                for row in reader.rows():
                    if row.split_values()[3][5:] == b"shared/shut.txt":
                        item, place = item_names.name(row), [at, row.seq]
    body = {"items": [item], "places": {item: [place]}, "ground": "privileged", "request": None}
    record_event(ledger, session.now_us(), session.actor, QUARANTINED, body)
    ledger.seal(session.now_us())


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two orders over one source share three documents; one of them is released, its grace period over."""
    root = tmp_path_factory.mktemp("released")
    place, folder = Place(root / "prepared"), root / "docs"
    for number, data in enumerate(OWN):
        put(folder, f"own/{number}.txt", data)
    for number, data in enumerate(SHARED):
        put(folder, f"shared/{number}.txt", data)
    put(folder, "own/large.bin", LARGE)
    put(folder, "shared/lost.txt", LOST)
    put(folder, "shared/shut.txt", SHUT)
    (place.root / "disk" / "keys").mkdir(parents=True)
    (place.root / "order.toml").write_text(TOML)
    make_vault(place.vault, "platform.example", place.keys, [], {"cooling-off": 0, "grace": 0})
    with opened(place.vault, place.keys, writing=True) as session:
        spec = SourceSpec("docs", f"files://{folder}")
        add_source(session.writer(RESERVED_ORDER_ID), spec, session.now_us(), session.actor)
        take_in(session, place, GONE, "")
        take_in(session, place, KEPT, 'paths = ["shared/*"]\n')
        seal(session, GONE)
        shut(session)
        for name in ("lost", "shut"):  # the other order's first pass comes too late for them
            (folder / "shared" / f"{name}.txt").unlink()
        seal(session, KEPT)
        ledger = session.order_writer(GONE)
        record_event(ledger, session.now_us(), session.actor, "lifted", {"document": None})
        ledger.seal(session.now_us())
        request, _ = ask_release(session, GONE, "over")
        approve(session, request.id)
    return place


def finish(place: Place) -> None:
    with opened(place.vault, place.keys, writing=True) as session:
        dispose_due(session)


def check(place: Place, where: str) -> None:
    """Check what a disposal that was finished leaves."""
    with opened(place.vault, place.keys, writing=True) as session:  # it makes a catalog that was lost again
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
        assert [each for each in result.findings if each.code != "catalog.stale"] == [], where
        certificates = [each.body for each in events(session.ledger(GONE), DISPOSED)]
        assert len(certificates) == 1, where
        assert certificates[0]["confirmed"], where
        assert certificates[0]["destroyed"]["records"] == certificates[0]["planned"]["records"] == 12, where
        assert len(list(events(session.ledger(RESERVED_ORDER_ID), CERTIFICATE))) == 1, where
        assert json.dumps(certificates[0])
        for data in (*SHARED, LOST, SHUT):
            assert session.packs.read_bytes(sha256(data).digest()) == data, where
        for data in (*OWN, LARGE):
            with pytest.raises((ContentMissing, PackDamaged)):
                session.packs.read_bytes(sha256(data).digest())
        ledger = session.ledger(KEPT)
        found, hidden = [], quarantined(ledger)
        for at, manifest in ledger.manifests():
            if manifest.source == "s0001" and manifest.records:
                with closing(ledger.segment(manifest)) as reader:
                    for row in reader.rows():
                        found.append(row.split_values()[5][5:37])
                        if found[-1] == sha256(SHUT).digest():
                            assert (at, row.seq) in hidden, where
        assert sorted(found) == sorted(sha256(data).digest() for data in (*SHARED, LOST, SHUT)), where


def check_crashed(place: Place, where: str) -> None:
    """Check what a crash leaves: every survivor, and a vault in which nothing is wrong but that a disposal is due."""
    with opened(place.vault, place.keys, writing=True) as session:
        for data in SHARED:
            assert session.packs.read_bytes(sha256(data).digest()) == data, where
        for order in (RESERVED_ORDER_ID, GONE, KEPT):
            session.writer(order)  # recovers
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
        found = {each.code: each.subject for each in result.findings}
        assert set(found) <= {"segment.disposal", "catalog.stale"}, (where, found)


def kill_and_check(prepared: Place, tmp_path: Path, mode: Mode, start: int, step: int) -> None:
    steps = steps_of(copy_of(prepared, tmp_path, "count"), finish)
    for number in range(start, len(steps), step):
        after = crash_at(copy_of(prepared, tmp_path, f"step-{number}"), number, mode, finish)
        where = f"{mode} at {number}: {kind_of(steps[number], steps[number].path.parents[3])}"
        check_crashed(after, where)
        finish(after)
        check(after, where)


def test_a_disposal_destroys_what_is_its_own_and_nothing_else(released: Place, tmp_path: Path) -> None:
    place = copy_of(released, tmp_path, "whole")
    before = (place.vault / "po" / GONE / "log" / "checkpoint").read_bytes()
    finish(place)
    check(place, "not killed")
    assert before != (place.vault / "po" / GONE / "log" / "checkpoint").read_bytes()
    finish(place)  # a second time changes nothing
    check(place, "twice")


def test_every_kind_of_step_is_known(released: Place, tmp_path: Path) -> None:
    place = copy_of(released, tmp_path, "kinds")
    kinds = {kind_of(step, place.root / "disk") for step in steps_of(place, finish)}
    assert sorted(kinds) == KNOWN_KINDS.read_text().splitlines(), "review the kill point, then list it"


@pytest.mark.parametrize("mode", ["lost", "kept"])
def test_a_crash_in_a_disposal_loses_nothing_that_is_held(
    released: Place, tmp_path: Path, mode: Mode
) -> None:
    kill_and_check(released, tmp_path, mode, EVERY // 2 * (mode == "kept"), EVERY)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_at_every_step_of_a_disposal(released: Place, tmp_path: Path, mode: Mode, share: int) -> None:
    kill_and_check(released, tmp_path, mode, share, SHARES)
