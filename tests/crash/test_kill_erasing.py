"""Kill an erasure of single records at every durable step, as not persisted and as persisted; then go on.

What the next command finds is the old segment whole, or tombstones whose records nobody can read: never an opaque
record without a tombstone, never a tombstone over a record that still opens. Once the request is carried out, nothing
of what was erased is readable, everything else is, and a package that was made before still verifies.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.bootstrap import Session, make_vault, opened
from scelle.bootstrap.erasing_records import ERASED, ask_erasure
from scelle.bootstrap.orders import take_in_order
from scelle.bootstrap.productions import produce_package
from scelle.bootstrap.requests import approve, run_due
from scelle.capture.service import run_pass
from scelle.errors import ContentMissing, PackDamaged
from scelle.formats.notes import COSIGNATURE_V1, make_vkey
from scelle.fsck.service import verify
from scelle.ledger.erasure_journal import JOURNAL_NAME
from scelle.ledger.events import events
from scelle.ledger.search import Tombstones, tombstones
from scelle.ledger.service import OrderLedger
from scelle.orders.intake import read_order_file
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.productions.model import WithholdList
from scelle.productions.trust import write_trust
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source
from scelle.verify.scelle_verify import main as verify_package

from .disk import Mode, kind_of
from .test_kill_points import TOML, Place, copy_of, crash_at, steps_of

KNOWN_KINDS = Path(__file__).with_name("kill-points-erasing.txt")
SHARES = 6
EVERY = 16
"""`make test` kills at every sixteenth step, `make test-long` at all of them."""
ORDER, OTHER = "o-1", "o-2"
OWN = [f"document of one order {number}\n".encode() for number in range(8)]
SHARED = b"document of both orders\n"
GONE = (1, 2, 6)
"""Of those that only one order has, these are erased; and the shared one."""
AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
AUTHORITY_KEY = make_vkey("authority.example/seal", COSIGNATURE_V1, AUTHORITY.public_key().public_bytes_raw())


def take_in(session: Session, place: Place, order: str, paths: str) -> None:
    path = place.root / f"{order}.toml"
    text = TOML.replace('id = "o-1"', f'id = "{order}"\nauthority_key = "{AUTHORITY_KEY.text()}"')
    path.write_text(text + paths)
    take_in_order(session, read_order_file(path))
    ledger = session.order_writer(order)
    sealed = sealed_order(ledger)
    run_pass(session.pass_tools(ledger, lambda name, counts: None), sealed.clauses, session.named(sealed))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two orders share a document; an erasure in one of them is approved, and waits to be carried out."""
    root = tmp_path_factory.mktemp("asked")
    place, folder = Place(root / "prepared"), root / "docs"
    (folder / "own").mkdir(parents=True)
    (folder / "shared").mkdir()
    for number, data in enumerate(OWN):
        (folder / "own" / f"{number}.txt").write_bytes(data)
    (folder / "shared" / "s.txt").write_bytes(SHARED)
    (place.root / "disk" / "keys").mkdir(parents=True)
    (place.root / "disk" / "out").mkdir()
    (place.root / "order.toml").write_text(TOML)
    make_vault(place.vault, "platform.example", place.keys, [], {"cooling-off": 0})
    with opened(place.vault, place.keys, writing=True) as session:
        add_source(
            session.writer(RESERVED_ORDER_ID),
            SourceSpec("docs", f"files://{folder}"),
            session.now_us(),
            session.actor,
        )
        take_in(session, place, ORDER, "")
        take_in(session, place, OTHER, 'paths = ["shared/*"]\n')
        write_trust(session.order_ledger(ORDER), place.out / "trust.json")
    produce(place, "before.scelle")
    with opened(place.vault, place.keys, writing=True) as session:
        letter = root / "letter.txt"
        letter.write_text("we ask that these be destroyed\n")
        ledger = session.order_writer(ORDER)
        names = {native: seq for seq, native in natives(ledger)}
        wanted = [*(f"own/{number}.txt" for number in GONE), "shared/s.txt"]
        items = [f"s0001:{names[name]}" for name in wanted]
        request, shown = ask_erasure(
            session, ORDER, items, ground="court-order", basis="letter", document=letter
        )
        assert shown["sealed_again"] == ["docs"]
    (place.out / "request").write_text(request.id)
    return place


def natives(ledger: OrderLedger) -> Iterator[tuple[int, str]]:
    for _, manifest in ledger.manifests():
        if manifest.source == "s0001" and manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                for row in reader.rows():
                    yield row.seq, row.split_values()[3][5:].decode()


def produce(place: Place, name: str) -> None:
    with opened(place.vault, place.keys, writing=True) as session:
        produce_package(
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


def carry_out(place: Place) -> None:
    """What two people do: the second confirms, and the request is carried out; after a crash, again."""
    request = (place.out / "request").read_text()
    with opened(place.vault, place.keys, writing=True) as session:
        state = session.people.requests[request]
        if not state.approvals:
            approve(session, request)
        else:
            run_due(session)


def check_between(place: Place, where: str) -> None:
    """Check what opening the vault for writing leaves, before the request is carried out again."""
    with opened(place.vault, place.keys, writing=True) as session:
        session.catalog  # noqa: B018 - one that was lost is made again
        session.writer(RESERVED_ORDER_ID)  # as every command that writes does
        ledger = session.order_writer(ORDER)
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
        assert [each for each in result.findings if each.code != "catalog.stale"] == [], where
        dead = {
            seq
            for at, found in tombstones(ledger.entries).items()
            for seq in (ledger.segment_files(at).manifest.seq[0] + place for place in found.records)
        }
        assert not dead.intersection(seq for seq, _ in natives(ledger)), where
        assert len(dead) in (0, 4), where
        assert not list((place.vault / "po" / ORDER / "seg").rglob("*.new*")), where


def check(place: Place, where: str) -> None:
    """Check what a finished erasure leaves."""
    with opened(place.vault, place.keys, writing=True) as session:
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
        assert [each for each in result.findings if each.code != "catalog.stale"] == [], where
        assert not (place.vault / "po" / ORDER / JOURNAL_NAME).exists(), where
        erased = [each.body for each in events(session.ledger(ORDER), ERASED)]
        assert len(erased) == 1, where
        assert (len(erased[0]["records"]), erased[0]["contents"]) == (4, 4), where
        assert json.dumps(erased[0])
        ledger = session.ledger(ORDER)
        (found,) = tombstones(ledger.entries).values()
        assert isinstance(found, Tombstones)
        assert len(found.records) == 4, where
        assert {native for _, native in natives(ledger)} == {
            f"own/{number}.txt" for number in range(8) if number not in GONE
        }, where
        for number, data in enumerate(OWN):
            if number in GONE:
                with pytest.raises((ContentMissing, PackDamaged)):
                    session.packs.read_bytes(sha256(data).digest())
            else:
                assert session.packs.read_bytes(sha256(data).digest()) == data, where
        assert session.packs.read_bytes(sha256(SHARED).digest()) == SHARED, where
    produce(place, "after.scelle")
    trust = str(place.out / "trust.json")
    for name in ("before.scelle", "after.scelle"):
        assert verify_package([str(place.out / name), "--trust", trust, "--json"]) == 0, (where, name)


def kill_and_check(prepared: Place, tmp_path: Path, mode: Mode, start: int, step: int) -> None:
    steps = steps_of(copy_of(prepared, tmp_path, "count"), carry_out)
    for number in range(start, len(steps), step):
        after = crash_at(copy_of(prepared, tmp_path, f"step-{number}"), number, mode, carry_out)
        where = f"{mode} at {number}: {steps[number]}"
        check_between(after, where)
        carry_out(after)
        check(after, where)


def test_an_erasure_takes_what_it_names_and_nothing_else(asked: Place, tmp_path: Path) -> None:
    place = copy_of(asked, tmp_path, "whole")
    carry_out(place)
    check(place, "not killed")


def test_every_kind_of_step_is_known(asked: Place, tmp_path: Path) -> None:
    place = copy_of(asked, tmp_path, "kinds")
    kinds = {kind_of(step, place.root / "disk") for step in steps_of(place, carry_out)}
    assert sorted(kinds) == KNOWN_KINDS.read_text().splitlines(), "review the kill point, then list it"


@pytest.mark.parametrize("mode", ["lost", "kept"])
def test_a_crash_in_an_erasure_leaves_whole_records_or_tombstones(
    asked: Place, tmp_path: Path, mode: Mode
) -> None:
    kill_and_check(asked, tmp_path, mode, EVERY // 2 * (mode == "kept"), EVERY)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_at_every_step_of_an_erasure(asked: Place, tmp_path: Path, mode: Mode, share: int) -> None:
    kill_and_check(asked, tmp_path, mode, share, SHARES)
