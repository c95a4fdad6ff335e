"""Random lives of orders: what is held cannot go, what is disposed of cannot be read, every package ever made verifies.

A model remembers which order sealed which content; the vault must agree with it after every step.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scelle.bootstrap import KeyChoice, Session, make_vault, opened
from scelle.bootstrap.erasing import request_erasure
from scelle.bootstrap.guarding import may_delete
from scelle.bootstrap.orders import refuse_capture, refuse_disposed, take_in_order
from scelle.bootstrap.productions import produce_package
from scelle.bootstrap.quarantining import ask_quarantine, list_quarantined
from scelle.bootstrap.releasing import ask_release, dispose_due, undo_release
from scelle.bootstrap.requests import approve
from scelle.capture.identity import ItemNames
from scelle.capture.service import run_pass
from scelle.errors import AuthorityError, ContentMissing, PackDamaged
from scelle.fsck.service import verify
from scelle.ledger.events import events, record_event
from scelle.orders.intake import read_order_file
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.productions.model import WithholdList
from scelle.productions.service import write_trust
from scelle.productions.trust import Cosigners
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source
from scelle.verify import scelle_verify

DAY_US = 86_400_000_000
SOURCES = {"one": "u1", "two": "u2"}
SCOPES = {"a": ("one",), "b": ("two",), "c": ("one", "two")}
ORDER = """\
[order]
id = "{id}"
matter = "m"
type = "us-civil-hold"
authority = "An Invented Court"
legal_basis = "Rule 37"
reference = "R/1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
zone = "UTC"
[[clause]]
id = "all"
sources = [{sources}]
"""


@dataclass
class Model:
    """What must be true of one order."""

    state: str = "live"
    sealed: set[bytes] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)


class OrderLives(RuleBasedStateMachine):
    """Take in, capture, lift, release, undo, dispose, erase, produce, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="scelle-life-"))
        self.vault, self.keys = self.root / "vault", self.root / "keys"
        self.keys.mkdir()
        self.now_us = 1_790_000_000_000_000
        self.orders: dict[str, Model] = {}
        self.offered: dict[str, dict[str, bytes]] = {name: {} for name in SOURCES}
        self.packages: list[tuple[Path, Path]] = []
        self.erasures = 0
        make_vault(
            self.vault, "platform.example", KeyChoice(self.keys), [], {"cooling-off": 0, "grace": DAY_US}
        )
        for name, account in SOURCES.items():
            (self.root / name).mkdir()
            with self.opened() as session:
                spec = SourceSpec(name, f"files://{self.root / name}", account=account)
                add_source(session.writer(RESERVED_ORDER_ID), spec, self.now_us, session.actor)

    def opened(self) -> Any:
        self.now_us += 1_000_000
        return opened(self.vault, KeyChoice(self.keys), writing=True, clock=lambda: self.now_us)

    def teardown(self) -> None:
        for package, trust in self.packages:
            command = [sys.executable, "-I", scelle_verify.__file__, str(package), "--trust", str(trust)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
        with self.opened() as session:
            report = verify(self.vault, session.key, sample=None, order=None, workers=1)
            assert [each for each in report.findings if each.code != "catalog.stale"] == []
        shutil.rmtree(self.root)

    # --- what may happen

    @rule(source=strategies.sampled_from(sorted(SOURCES)), shared=strategies.booleans())
    def write_document(self, source: str, shared: bool) -> None:
        name = f"{len(self.offered[source])}.txt"
        text = "the same in both" if shared else f"{source} {name}"
        (self.root / source / name).write_text(text)
        self.offered[source][name] = text.encode()

    @rule(order=strategies.sampled_from(sorted(SCOPES)))
    def take_in(self, order: str) -> None:
        if order in self.orders:
            return
        path = self.root / f"{order}.toml"
        path.write_text(ORDER.format(id=order, sources=", ".join(f'"{name}"' for name in SCOPES[order])))
        with self.opened() as session:
            take_in_order(session, read_order_file(path))
        self.orders[order] = Model()

    @precondition(lambda self: self.orders)
    @rule(data=strategies.data())
    def capture(self, data: strategies.DataObject) -> None:
        order = data.draw(strategies.sampled_from(sorted(self.orders)))
        with self.opened() as session:
            ledger = session.order_writer(order)
            sealed = sealed_order(ledger)
            try:
                refuse_capture(session, sealed)
            except AuthorityError:
                assert self.orders[order].state != "live"
                return
            assert self.orders[order].state == "live"
            tools = session.pass_tools(ledger, lambda name, counts: None)
            report = run_pass(tools, sealed.clauses, session.named(sealed))
        total = report.total
        assert total.offered == total.sealed + total.failed + total.excluded + total.lost
        contents = {text for name in SCOPES[order] for text in self.offered[name].values()}
        assert total.sealed == sum(len(self.offered[name]) for name in SCOPES[order])
        self.orders[order].sealed |= contents

    @precondition(lambda self: self.orders)
    @rule(data=strategies.data())
    def lift(self, data: strategies.DataObject) -> None:
        order = data.draw(strategies.sampled_from(sorted(self.orders)))
        if self.orders[order].state != "live":
            return
        with self.opened() as session:
            ledger = session.order_writer(order)
            record_event(ledger, self.now_us, session.actor, "lifted", {"document": None})
            ledger.seal(self.now_us)
        self.orders[order].state = "lifted"

    @precondition(lambda self: self.orders)
    @rule(data=strategies.data())
    def release(self, data: strategies.DataObject) -> None:
        order = data.draw(strategies.sampled_from(sorted(self.orders)))
        with self.opened() as session:
            try:
                request, _ = ask_release(session, order, "over")
            except AuthorityError:
                assert self.orders[order].state != "lifted"
                return
            approve(session, request.id)
        assert self.orders[order].state == "lifted"
        self.orders[order].state = "released"

    @precondition(lambda self: any(each.state == "released" for each in self.orders.values()))
    @rule(data=strategies.data())
    def undo(self, data: strategies.DataObject) -> None:
        order = data.draw(
            strategies.sampled_from([o for o, each in self.orders.items() if each.state == "released"])
        )
        with self.opened() as session:
            undo_release(session, order)
        self.orders[order].state = "lifted"

    @rule(days=strategies.sampled_from([0, 2]))
    def dispose(self, days: int) -> None:
        self.now_us += days * DAY_US
        with self.opened() as session:
            done = {str(each["order"]) for each in dispose_due(session)}
        for order in done:
            assert self.orders[order].state == "released"
            self.orders[order].state = "disposed"
        if days:
            assert not any(each.state == "released" for each in self.orders.values())

    @rule(account=strategies.sampled_from(sorted(SOURCES.values())))
    def erase(self, account: str) -> None:
        self.erasures += 1
        with self.opened() as session:
            found = request_erasure(
                session,
                accounts=[account],
                reference=f"E{self.erasures}",
                confirm=lambda question: True,
            )
        assert found["executed"] + found["deferred"] + found.get("pending", 0) == len(found["items"])

    @precondition(lambda self: self.orders)
    @rule(data=strategies.data())
    def produce(self, data: strategies.DataObject) -> None:
        order = data.draw(strategies.sampled_from(sorted(self.orders)))
        model = self.orders[order]
        if not model.sealed:
            return
        with self.opened() as session:
            try:
                refuse_disposed(session, order)
            except AuthorityError:
                assert model.state in ("released", "disposed")
                return
            trust = self.root / f"{order}-{len(self.packages)}.json"
            write_trust(session.order_ledger(order), trust, Cosigners(()))
            package = self.root / f"{order}-{len(self.packages)}.scelle"
            report, _ = produce_package(
                session,
                order,
                kind="source",
                name=SCOPES[order][0],
                since=None,
                until=None,
                prefix="SCL",
                to=package,
                redact={},
                withhold=WithholdList(),
                progress=lambda stage, done, total: None,
            )
            hidden = model.quarantined & set(self.items(session, order, SCOPES[order][0]).values())
        assert report.withheld == len(hidden)
        assert report.hits == report.produced + report.withheld + report.erased
        self.packages.append((package, trust))

    def items(self, session: Session, order: str, source: str) -> dict[int, str]:
        """Return the item ids of one source of an order by sequence number, whether quarantined or not."""
        ledger = session.order_ledger(order)
        sealed = sealed_order(ledger)
        alias = sealed.aliases[source]
        found = {}
        for _, manifest in ledger.manifests():
            if manifest.source == alias and manifest.records:
                with closing(ledger.segment(manifest)) as reader:
                    names = ItemNames(session.key, source, reader.schema)
                    found.update({row.seq: str(names.name(row)) for row in reader.rows()})
        return found

    @precondition(lambda self: any(each.sealed and each.state == "live" for each in self.orders.values()))
    @rule(data=strategies.data())
    def quarantine(self, data: strategies.DataObject) -> None:
        there = [order for order, each in self.orders.items() if each.sealed and each.state == "live"]
        order = data.draw(strategies.sampled_from(there))
        with self.opened() as session:
            names = [name for source in SCOPES[order] for name in self.items(session, order, source).values()]
            item = data.draw(strategies.sampled_from(sorted(names)))
            if item in self.orders[order].quarantined:
                return
            for request, _ in ask_quarantine(session, [item], "privileged", order):
                approve(session, request.id)
            assert item in {each["item"] for each in list_quarantined(session, order)}
        self.orders[order].quarantined.add(item)

    # --- what must hold

    @invariant()
    def what_is_kept_opens_and_what_is_disposed_of_does_not(self) -> None:
        kept = {text for each in self.orders.values() if each.state != "disposed" for text in each.sealed}
        gone = {text for each in self.orders.values() for text in each.sealed} - kept
        if not kept and not gone:
            return
        with self.opened() as session:
            for text in kept:
                assert session.packs.read_bytes(sha256(text).digest()) == text
            for text in gone:
                try:
                    session.packs.read_bytes(sha256(text).digest())
                except (ContentMissing, PackDamaged):
                    continue
                raise AssertionError(f"{text!r} was disposed of and can be read")

    @invariant()
    def what_is_held_may_not_be_deleted(self) -> None:
        with self.opened() as session:
            for source, offered in self.offered.items():
                if offered:
                    holding = [
                        order
                        for order, each in self.orders.items()
                        if each.state in ("live", "lifted") and source in SCOPES[order]
                    ]
                    self.check_guard(session, source, sorted(offered), bool(holding))

    def check_guard(self, session: Session, source: str, names: list[str], is_held: bool) -> None:
        found = may_delete(session, source, [name.encode() for name in names])
        assert {answer.held for answer in found} == {is_held}, (source, self.orders)

    @invariant()
    def every_disposal_has_one_certificate(self) -> None:
        with self.opened() as session:
            ledger = session.ledger(RESERVED_ORDER_ID)
            found = sorted(str(each.body["order"]) for each in events(ledger, "disposal.certificate"))
        assert found == sorted(order for order, each in self.orders.items() if each.state == "disposed")


OrderLives.TestCase.settings = settings(max_examples=12, stateful_step_count=18, deadline=None)
TestOrderLives = OrderLives.TestCase
