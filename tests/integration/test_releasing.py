"""Release and disposal over a real vault: overlaps, walls, crashes between logs, and what is readable afterwards."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.bootstrap import KeyChoice, Session, make_vault, opened
from scelle.bootstrap.erasing_records import ask_erasure
from scelle.bootstrap.orders import take_in_order
from scelle.bootstrap.releasing import (
    CERTIFICATE,
    CONTENTS,
    RELEASED,
    ask_release,
    dispose_due,
    execute_release,
    preview_release,
    undo_release,
)
from scelle.bootstrap.requests import approve, carry_out
from scelle.capture.service import run_pass
from scelle.capture.store import remembers_order
from scelle.errors import DisposalUnfinished, PackDamaged, RequestRefused
from scelle.formats.entries import Release
from scelle.formats.notes import COSIGNATURE_V1, make_vkey
from scelle.fsck.model import VerifyReport
from scelle.fsck.service import verify
from scelle.ledger.destroying import BEGUN, DISPOSED, doomed_segments, segment_folder
from scelle.ledger.events import events, record_event
from scelle.ledger.service import ORDER_SOURCE, OrderLedger
from scelle.operators.requests import APPROVED
from scelle.orders.intake import read_order_file
from scelle.orders.lifecycle import State
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import keep_paper, sealed_order
from scelle.release.certificate import LIMITS
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source
from scelle.vault.frames import FRAME_HEADER_BYTES, KEYS_HEADER_BYTES, FrameCoder, pack_name
from scelle.vault.keys import WRAPPED_BYTES
from scelle.vault.reading import FrameView, LargeObject

ONE, TWO = "one", "two"
DAY_US = 86_400_000_000
OWN = [f"only of the first order, number {number}\n".encode() * 9 for number in range(6)]
SHARED = [f"of both orders, number {number}\n".encode() * 9 for number in range(4)]
OTHER = [f"only of the second order, number {number}\n".encode() * 9 for number in range(3)]
LARGE = b"one large document of the first order\n" * 250_000
TERMS = """\
[order]
id = "{id}"
matter = "m-{id}"
type = "{type}"
authority = "An Invented Authority"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "R/1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
{more}

[[clause]]
id = "all"
sources = ["docs"]
paths = [{paths}]
"""


class World:
    """A vault over one folder of documents, and a clock that is moved by hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.vault, self.docs = root, root / "vault", root / "docs"
        self.keys = KeyChoice(root / "keys")
        (root / "keys").mkdir()
        self.now_us = 1_790_000_000_000_000
        for folder, contents in (("own", [*OWN, LARGE]), ("shared", SHARED), ("other", OTHER)):
            (self.docs / folder).mkdir(parents=True)
            for number, data in enumerate(contents):
                (self.docs / folder / f"{folder}-{number}.txt").write_bytes(data)
        make_vault(self.vault, "platform.example", self.keys, [], {"cooling-off": 0, "grace": DAY_US})
        with self.opened() as session:
            spec = SourceSpec("docs", f"files://{self.docs}")
            add_source(session.writer(RESERVED_ORDER_ID), spec, self.now_us, session.actor)

    @contextmanager
    def opened(self, *, writing: bool = True) -> Iterator[Session]:
        self.now_us += 1_000_000
        with opened(self.vault, self.keys, writing=writing, clock=lambda: self.now_us) as session:
            yield session

    def take_in(
        self, order: str, paths: Sequence[str], more: str = "until = 2026-12-31", type_: str = ""
    ) -> None:
        text = TERMS.format(
            id=order, type=type_ or "dsa-retention", more=more, paths=", ".join(f'"{path}"' for path in paths)
        )
        path = self.root / f"{order}.toml"
        path.write_text(text)
        with self.opened() as session:
            take_in_order(session, read_order_file(path))

    def capture(self, order: str) -> None:
        with self.opened() as session:
            sealed = sealed_order(session.order_writer(order))
            tools = session.pass_tools(session.order_writer(order), lambda name, counts: None)
            run_pass(tools, sealed.clauses, session.named(sealed))

    def lift(self, order: str, letter: bytes | None = None) -> None:
        with self.opened() as session:
            ledger = session.order_writer(order)
            named = None
            if letter is not None:
                named = keep_paper(ledger, session.packs, "letter.txt", letter, self.now_us)
            record_event(ledger, self.now_us, session.actor, "lifted", {"document": named})
            ledger.seal(self.now_us)

    def release(self, order: str) -> dict[str, Any]:
        """Let go of a lifted order, and let its grace period pass; return what was shown."""
        with self.opened() as session:
            request, shown = ask_release(session, order, "over")
            approve(session, request.id)
        self.now_us += 2 * DAY_US
        return shown

    def dispose(self, order: str | None = None) -> list[dict[str, Any]]:
        with self.opened() as session:
            return dispose_due(session, order)

    def end(self, order: str) -> dict[str, Any]:
        self.lift(order)
        self.release(order)
        (certificate,) = self.dispose(order)
        return certificate

    def verified(self) -> VerifyReport:
        with self.opened() as session:
            return verify(self.vault, session.key, sample=None, order=None, workers=1)

    def ledger(self, order: str) -> OrderLedger:
        with self.opened(writing=False) as session:
            return session.ledger(order)

    def kinds(self, order: str) -> list[str]:
        return [event.kind for event in events(self.ledger(order))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.take_in(ONE, ["own/*", "shared/*"])
    made.capture(ONE)
    return made


def with_second(world: World) -> World:
    world.take_in(TWO, ["shared/*", "other/*"])
    world.capture(TWO)
    return world


# --- what is readable ----------------------------------------------------------------------------------------


def raw_bytes(vault: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(vault.rglob("*")) if path.is_file())


def everything_that_opens(world: World) -> bytes:
    """Open whatever any key of the vault opens: every frame of every pack and of every segment of every log."""
    found = [raw_bytes(world.vault)]
    with world.opened() as session:
        coder = FrameCoder(session.key)
        for pack_id in session.packs.pack_ids():
            with closing(session.packs.open_pack(pack_id)) as file:
                for offset, table in file.tables():
                    if file.header_at(offset)[0].kind == ord("L"):
                        found += LargeObject(file).pieces()
                    else:
                        found.append(FrameView(file, offset).body(coder, table))
        for order in [RESERVED_ORDER_ID, *session.all_orders()]:
            ledger = session.ledger(order)
            for _, manifest in ledger.manifests():
                if manifest.records and (segment_folder(ledger, manifest) / "keys").exists():
                    with closing(ledger.segment(manifest)) as reader:
                        found += [reader.row_frame(number) for number in range(reader.row_frames)]
    return b"\0".join(found)


def wrapped_keys(world: World, order: str) -> list[bytes]:
    """Return every wrapped key of the packs, and of the captured segments of an order, as they stand now."""
    files = list((world.vault / "packs").rglob("*.keys"))
    found = [path.read_bytes()[KEYS_HEADER_BYTES:] for path in files]
    ledger = world.ledger(order)
    found += [(segment_folder(ledger, each) / "keys").read_bytes() for each in doomed_segments(ledger)]
    return [each[at : at + WRAPPED_BYTES] for each in found for at in range(0, len(each), WRAPPED_BYTES)]


def test_nothing_of_what_is_destroyed_opens_and_everything_else_does(world: World) -> None:
    with_second(world)
    before, keys = everything_that_opens(world), wrapped_keys(world, ONE)
    for data in (*OWN, *SHARED, *OTHER, LARGE[:1000]):
        assert data in before
    assert b"own/own-3.txt" in before
    assert all(key in raw_bytes(world.vault) for key in keys)
    certificate = world.end(ONE)
    assert certificate["confirmed"]
    after, raw = everything_that_opens(world), raw_bytes(world.vault)
    for data in (*SHARED, *OTHER):
        assert data in after
    for data in (*OWN, LARGE[:1000], b"own/own-3.txt"):
        assert data not in after
    assert b"other/other-1.txt" in after
    lost = [key for key in keys if key not in raw]
    assert len(lost) >= len(keys) // 2  # those of the first order's rows, index, contents
    with sqlite3.connect(world.vault / "catalog.db") as catalog:
        assert catalog.execute("SELECT count(*) FROM contents").fetchone()[0] >= len(SHARED) + len(OTHER)
    with world.opened(writing=False) as session:
        remembered = [remembers_order(session.catalog, session.key, order) for order in (ONE, TWO)]
    assert remembered == [0, 1]
    assert world.verified().valid


def test_the_second_order_takes_the_rest_with_it(world: World) -> None:
    with_second(world)
    world.end(ONE)
    world.end(TWO)
    after = everything_that_opens(world)
    for data in (*OWN, *SHARED, *OTHER):
        assert data not in after
    assert world.verified().valid


def test_two_orders_that_end_on_one_day_leave_nothing_to_each_other(world: World) -> None:
    """What one left to the other stands in the pack that the same process is writing."""
    with_second(world)
    for order in (ONE, TWO):
        world.lift(order)
        world.release(order)
    certificates = world.dispose()
    assert [each["confirmed"] for each in certificates] == [True, True]
    after = everything_that_opens(world)
    for data in (*OWN, *SHARED, *OTHER):
        assert data not in after


def test_what_a_pass_left_open_goes_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    late = b"a late document of a pass that was killed\n" * 9
    (world.docs / "own" / "late.txt").write_bytes(late)
    with world.opened() as session:
        ledger = session.order_writer(ONE)
        sealed = sealed_order(ledger)
        tools = session.pass_tools(ledger, lambda name, counts: None)
        monkeypatch.setattr(type(ledger), "seal", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_pass(tools, sealed.clauses, session.named(sealed))
        ledger.flush()
        monkeypatch.undo()
    assert late in everything_that_opens(world)
    certificate = world.end(ONE)
    assert certificate["confirmed"]
    assert late not in everything_that_opens(world)
    assert world.verified().valid


# --- as if it were alone -------------------------------------------------------------------------------------


def sealed_forms(world: World) -> dict[str, Any]:
    """Release and dispose; return everything that is signed, sealed or printed for the order itself."""
    world.lift(ONE)
    with world.opened() as session:
        request, _ = ask_release(session, ONE, "over")
        approve(session, request.id)
        asked = dict(session.people.requests[request.id].body)
    world.now_us += 2 * DAY_US
    (certificate,) = world.dispose(ONE)
    ledger = world.ledger(ONE)
    kinds = (RELEASED, BEGUN, CONTENTS, DISPOSED)
    bodies = [dict(event.body) for event in events(ledger, *kinds)]
    return {"asked": asked, "certificate": certificate, "events": bodies}


def without_chance(value: Any) -> Any:
    """Leave out what differs by chance: ids, times, hashes."""
    if isinstance(value, dict):
        left = ("request", "paper", "begun_us", "finished_us", "log_until_us", "approvals")
        return {name: without_chance(each) for name, each in value.items() if name not in left}
    return [without_chance(each) for each in value] if isinstance(value, list) else value


def test_a_second_order_shows_in_nothing_that_is_sealed_for_the_first(tmp_path: Path) -> None:
    found = []
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name)
        world.take_in(ONE, ["own/*", "shared/*"])
        world.capture(ONE)
        if name == "beside":
            with_second(world)
        found.append(without_chance(sealed_forms(world)))
    assert found[0] == found[1]
    assert found[0]["certificate"]["planned"]["contents"] == len(OWN) + len(SHARED) + 1
    assert TWO not in json.dumps(found[1])


def test_who_may_know_of_the_other_order_is_told_of_the_overlap_and_no_seal_tells_it_on(world: World) -> None:
    with_second(world)
    world.lift(ONE)
    with world.opened() as session:
        request, shown = ask_release(session, ONE, "over")
        assert shown["overlap"] == [{"order": TWO, "sources": ["docs"], "contents": len(SHARED)}]
        assert shown["stays_for_others"] == {"contents": len(SHARED)}
        assert shown["destroys"]["items"] == len(OWN) + len(SHARED) + 1
        assert shown["destroys"]["bytes"] == sum(map(len, (*OWN, *SHARED, LARGE)))
        assert preview_release(session, ONE) == shown
        assert TWO not in json.dumps(dict(session.people.requests[request.id].body))
        assert not {"overlap", "stays_for_others"} & set(request.body)


# --- once ----------------------------------------------------------------------------------------------------


def test_a_request_that_a_crash_left_does_not_release_again_what_was_brought_back(world: World) -> None:
    world.lift(ONE)
    with world.opened() as session:
        request, _ = ask_release(session, ONE, "over")
        session.record(APPROVED, {"request": request.id, "operator": None, "signature": ""})
        first = execute_release(session, request)  # and the event `request.executed` was lost
        assert execute_release(session, request) == first
        undo_release(session, ONE)
        again = carry_out(session, session.people.requests[request.id]).outcome
        assert (again["released"], again["why"]) == (False, "its release was undone since: ask again")
        assert sealed_order(session.ledger(ONE)).life.state(world.now_us) is State.LIFTED
    assert world.kinds(ONE).count(RELEASED) == 1


def test_a_second_request_for_a_released_order_is_a_no_op_that_says_so(world: World) -> None:
    world.lift(ONE)
    with world.opened() as session:
        first, _ = ask_release(session, ONE, "over")
        with pytest.raises(RequestRefused, match="already"):
            ask_release(session, ONE, "again")
        approve(session, first.id)
        other = first.__class__(**{**{n: getattr(first, n) for n in first.__slots__}, "id": "r-other"})
        assert execute_release(session, other)["why"] == "it was released before"
    assert world.kinds(ONE).count(RELEASED) == 1


def test_the_vaults_own_certificate_is_made_good_after_a_crash_between_the_logs(world: World) -> None:
    world.end(ONE)
    assert world.dispose() == []
    log = world.vault / "po" / RESERVED_ORDER_ID
    assert [event.body["order"] for event in events(world.ledger(RESERVED_ORDER_ID), CERTIFICATE)] == [ONE]
    assert log.exists()


def test_rows_that_a_copy_brought_back_are_destroyed_again_under_the_same_certificate(world: World) -> None:
    shutil.copytree(world.vault / "po" / ONE / "seg" / "s0001", world.root / "copy")
    first = world.end(ONE)
    shutil.copytree(world.root / "copy", world.vault / "po" / ONE / "seg" / "s0001", dirs_exist_ok=True)
    assert {each.code for each in world.verified().findings} == {"segment.disposal"}
    assert world.dispose() == [first]
    assert world.verified().valid
    assert world.kinds(ONE).count(DISPOSED) == 1


def test_nobody_who_reads_the_catalog_is_left_with_what_was_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "scelle.vault.catalog._SETTINGS", ("PRAGMA journal_mode = WAL", "PRAGMA secure_delete = ON")
    )
    world.lift(ONE)
    world.release(ONE)
    with sqlite3.connect(world.vault / "catalog.db") as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM contents").fetchone()[0]
        with pytest.raises(DisposalUnfinished, match="reads the catalog"):
            world.dispose()
        assert any("unfinished" in each.detail for each in world.verified().findings)
    reader.close()
    (certificate,) = world.dispose()
    assert certificate["confirmed"]
    assert world.verified().valid


# --- what is said --------------------------------------------------------------------------------------------


def test_the_certificate_says_how_much_of_how_much_and_what_it_cannot_say(world: World) -> None:
    certificate = world.end(ONE)
    assert (
        certificate["planned"] == certificate["destroyed"] == {"records": 11, "segments": 1, "contents": 11}
    )
    assert [check["what"] for check in certificate["checks"]] == [
        "contents",
        "frames",
        "catalog entries",
        "files of segments",
        "catalog sources",
        "catalog files",
        "temporary files",
    ]
    assert certificate["limits"] == list(LIMITS)
    assert int(certificate["kept"]["log_until_us"]) > world.now_us + 4 * 365 * DAY_US


def damage(world: World, content: bytes, *, is_table: bool) -> None:
    """Change one byte of the frame that holds a content: of its table, which then tells nothing, or of its body."""
    with world.opened() as session:
        for pack_id in session.packs.pack_ids():
            with closing(session.packs.open_pack(pack_id)) as file:
                for offset, table in file.tables():
                    if sha256(content).digest() in [digest for digest, _ in table]:
                        at = offset + FRAME_HEADER_BYTES + (1 if is_table else 40 * len(table) + 20)
                        path = world.vault / pack_name(pack_id)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_what_is_not_confirmed_is_said(world: World) -> None:
    damage(world, OWN[0], is_table=True)
    certificate = world.end(ONE)
    assert not certificate["confirmed"]
    assert [check["what"] for check in certificate["checks"] if not check["confirmed"]] == ["frames"]


def test_a_damaged_frame_with_something_that_must_stay_stops_the_disposal_and_loses_nothing(
    world: World,
) -> None:
    with_second(world)
    world.lift(ONE)
    world.release(ONE)
    damage(world, SHARED[0], is_table=False)
    keys = {path: path.read_bytes() for path in (world.vault / "packs").rglob("*.keys")}
    with pytest.raises(PackDamaged, match="restore the pack"):
        world.dispose()
    assert all(path.read_bytes() == data for path, data in keys.items() if path.exists())
    damage(world, SHARED[0], is_table=False)  # the byte is as it was: the pack was restored
    (certificate,) = world.dispose()
    assert certificate["confirmed"]
    assert all(data in everything_that_opens(world) for data in (*SHARED, *OTHER))


def test_the_release_in_the_log_names_the_letter_by_which_the_order_ended(world: World) -> None:
    world.lift(ONE, b"The order is lifted. An Invented Authority.\n")
    world.release(ONE)
    world.dispose()
    ledger = world.ledger(ONE)
    (entry,) = [each for each in ledger.entries if isinstance(each, Release)]
    lifted = next(events(ledger, "lifted"))
    (manifest,) = [
        each
        for _, each in ledger.manifests()
        if each.source == ORDER_SOURCE and each.seq[0] <= lifted.body["document"]["seq"] < each.seq[1]
    ]
    with closing(ledger.segment(manifest)) as reader:
        at = lifted.body["document"]["seq"] - manifest.seq[0]
        assert entry.document == reader.hashes(at, at + 1)
    assert entry.ground == "lifted"


def test_a_deadline_only_order_has_nothing_to_dispose_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.take_in(ONE, ["own/*"], type_="dsa-rfi-simple", more='until = 2026-12-31\nzone = "Europe/Brussels"')
    certificate = world.end(ONE)
    assert certificate["planned"] == {"records": 0, "segments": 0, "contents": 0}
    assert certificate["confirmed"]
    assert world.verified().valid


# --- erased before -------------------------------------------------------------------------------------------


def test_an_order_of_which_single_records_were_erased_is_disposed_of_like_every_other(tmp_path: Path) -> None:
    authority = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    vkey = make_vkey("authority.example/seal", COSIGNATURE_V1, authority.public_key().public_bytes_raw())
    world = World(tmp_path)
    world.take_in(ONE, ["own/*"], more=f'until = 2026-12-31\nauthority_key = "{vkey.text()}"')
    world.capture(ONE)
    letter = tmp_path / "letter.txt"
    letter.write_text("erase it\n")
    with world.opened() as session:
        request, _ = ask_erasure(session, ONE, ["s0001:2"], ground="consent", basis="letter", document=letter)
        approve(session, request.id)
    assert (segment_folder(world.ledger(ONE), doomed_segments(world.ledger(ONE))[0]) / "erased").exists()
    certificate = world.end(ONE)
    assert certificate["confirmed"]
    folder = segment_folder(world.ledger(ONE), doomed_segments(world.ledger(ONE))[0])
    assert {path.name for path in folder.iterdir()} <= {"tree", "nodes"}
    assert world.verified().valid
    assert world.dispose() == []
