"""Random lives of orders: what is held cannot go, what is disposed of cannot be read, every package ever made verifies.

A naive model (`order_life_model`) says what each order claims, has sealed and lets go of; the vault must agree with it
after every step: amendments, lapses, extensions, reviews, erasures, quarantines, productions, releases, disposals.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.property.order_life_model import (
    DAY_US,
    Item,
    ModelOrder,
    Pending,
    Scope,
    Shift,
    narrower,
    utc,
    wider,
)

from scelle.bootstrap import KeyChoice, Session, make_vault, opened
from scelle.bootstrap.amending import (
    annul,
    ask_amendment,
    difference,
    extend,
    lift,
    note_lapses,
    read_carve_outs,
    read_end_of_carve_out,
    read_more_accounts,
    read_narrowing,
    read_new_clauses,
    review,
    seal_amendment,
)
from scelle.bootstrap.erasing import request_erasure
from scelle.bootstrap.erasure_list import show_request
from scelle.bootstrap.guarding import RowHolds, VaultGuard, explain, may_delete
from scelle.bootstrap.orders import refuse_capture, take_in_order
from scelle.bootstrap.productions import produce_package
from scelle.bootstrap.quarantining import ask_quarantine, list_quarantined
from scelle.bootstrap.readable import refuse_disposed
from scelle.bootstrap.releasing import ask_release, dispose_due, undo_release
from scelle.bootstrap.requests import approve, run_due
from scelle.capture.identity import ItemNames
from scelle.capture.model import PassReport
from scelle.capture.service import run_pass
from scelle.errors import (
    AmendmentWrong,
    AuthorityError,
    ContentMissing,
    OrderOver,
    OrderValueWrong,
    PackDamaged,
    RequestRefused,
    TransitionRefused,
)
from scelle.formats.schema import Schema
from scelle.formats.tokens import is_reserved_alias
from scelle.fsck.service import verify
from scelle.ledger.clock import CONFIRMED_BY
from scelle.ledger.destroying import is_destroyed, segment_folder
from scelle.ledger.events import events
from scelle.ledger.rows import Row
from scelle.operators.requests import Request
from scelle.orders.amendments import Amendment
from scelle.orders.intake import read_order_file
from scelle.orders.lifecycle import REVIEW_EVERY_US, State
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order, with_accounts
from scelle.productions.model import WithholdList
from scelle.productions.service import write_trust
from scelle.productions.trust import Cosigners
from scelle.release.erasure import is_ground
from scelle.release.matching import called, native_of
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source
from scelle.vault.frames import FrameCoder
from scelle.vault.reading import FrameView
from scelle.verify.scelle_verify import main as scelle_verify

HOUR_US = DAY_US // 24
EXPIRY_US = 14 * DAY_US
START_US = 1_790_000_000_000_000
OLD_US, MIDDLE_US, NEW_US = (START_US - days * DAY_US for days in (200, 100, 20))
DOCUMENTS = {"one": "u1", "two": "u2"}
RECORDS = "posts"
SOURCES = (*DOCUMENTS, RECORDS)
ACCOUNTS = ("u1", "u2", "u3")
ORDERS = {"a": "dsa-retention", "b": "us-civil-hold", "c": "dsa-retention"}
SCHEMA = '[schema]\nname = "posts"\ntime = "ts"\nid = "id"\naccount = "user"\n[fields]\ntext = "s"\n'
ORDER = """\
[order]
id = "{id}"
matter = "m"
type = "{type}"
authority = "An Invented Court"
legal_basis = "Rule 37"
reference = "R/1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
zone = "UTC"
{until}
{clauses}
"""
AMENDABLE = (State.IN_FORCE, State.LAPSED)
RELEASABLE = (State.LAPSED, State.LIFTED, State.ANNULLED)
AT_ONCE = st.sampled_from([True, True, False])
"""Whether a request is confirmed as soon as it may be, or left for later."""


@st.composite
def scopes(draw: st.DrawFn, name: str, *, is_carve_out: bool = False) -> Scope:
    """Draw a clause; folders are asked of documents alone, words of records alone."""
    kind = draw(st.sampled_from(["documents", "records", "both"]))
    if kind == "documents":
        named = draw(st.sampled_from([("one",), ("two",), ("one", "two")]))
    else:
        named = (RECORDS,) if kind == "records" else (draw(st.sampled_from(sorted(DOCUMENTS))), RECORDS)
    accounts = draw(st.sampled_from([(), (), ("u1",), ("u2", "u3"), ACCOUNTS]))
    return Scope(
        name,
        named,
        folder=draw(st.sampled_from([None, None, "a", "b"])) if kind == "documents" else None,
        accounts=frozenset(accounts),
        before_us=draw(st.sampled_from([None, None, MIDDLE_US])),
        word=draw(st.sampled_from([None, "fox"])) if kind == "records" else None,
        carves=is_carve_out,
    )


def by_name(items: Iterable[Item]) -> list[Item]:
    """Return items in an order that is the same on every run."""
    return sorted(items, key=lambda item: (item.source, item.native))


def day_after(us: int, days: int) -> tuple[str, int]:
    """Return a day as it is written, and the end of it in UTC."""
    day = us // DAY_US + days
    return utc(day * DAY_US)[:10], (day + 1) * DAY_US


class OrderLives(RuleBasedStateMachine):
    """Write, take in, capture, amend, lapse, extend, lift, release, undo, dispose, erase, produce, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="scelle-life-"))
        self.vault, self.keys = self.root / "vault", self.root / "keys"
        self.keys.mkdir()
        self.now_us = START_US
        self.orders: dict[str, ModelOrder] = {}
        self.items: dict[tuple[str, str], Item] = {}
        self.offered: dict[str, list[Item]] = {name: [] for name in SOURCES}
        self.pending: list[Pending] = []
        self.packages: list[tuple[Path, Path]] = []
        self.erasures: dict[str, set[Item]] = {}
        self.number = 0
        bounds = {"cooling-off": HOUR_US, "request-expiry": EXPIRY_US, "grace": DAY_US}
        with pytest.MonkeyPatch.context() as patch:  # the vault is as old as the machine's clock says
            patch.setattr("scelle.bootstrap.making.now_us", lambda: self.now_us)
            make_vault(self.vault, "platform.example", KeyChoice(self.keys), [], bounds)
        for name in SOURCES:
            (self.root / name).mkdir()
            with self.opened() as session:
                spec = (
                    SourceSpec(name, f"records://{self.root / name}", schema=SCHEMA)
                    if name == RECORDS
                    else SourceSpec(name, f"files://{self.root / name}", account=DOCUMENTS[name])
                )
                add_source(session.writer(RESERVED_ORDER_ID), spec, self.now_us, session.actor)

    @contextmanager
    def opened(self) -> Iterator[Session]:
        self.now_us += 1_000_000
        with (
            pytest.MonkeyPatch.context() as patch
        ):  # months may go by between two commits: somebody looked at the clock
            patch.setenv(CONFIRMED_BY, datetime.fromtimestamp(self.now_us / 1e6, UTC).strftime("%Y-%m-%d"))
            opening = opened(self.vault, KeyChoice(self.keys), writing=True, clock=lambda: self.now_us)
            with opening as session:
                yield session

    def teardown(self) -> None:
        self.check_packages()
        self.check_bytes()
        with self.opened() as session:
            report = verify(self.vault, session.key, sample=None, order=None, workers=1)
            assert [each for each in report.findings if each.code != "catalog.stale"] == []
        shutil.rmtree(self.root)

    def new_name(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"

    def file(self, text: str) -> Path:
        path = self.root / "amendment.toml"
        path.write_text(text)
        return path

    def orders_in(self, *states: State) -> list[str]:
        return [name for name, order in self.orders.items() if order.state(self.now_us) in states]

    def draw_order(self, data: st.DataObject, *states: State) -> str:
        """Draw an order in which a step is valid; now and then, so that it is refused, any order."""
        fitting = self.orders_in(*states)
        if fitting and data.draw(st.integers(0, 15)) < 15:
            return data.draw(st.sampled_from(fitting))
        return data.draw(st.sampled_from(sorted(self.orders)))

    # --- the platform

    @initialize(data=st.data(), written=st.integers(3, 8))
    def begin(self, data: st.DataObject, written: int) -> None:
        for _ in range(written):
            self.write(data)
        for order in sorted(ORDERS)[: data.draw(st.sampled_from([1, 2, 2]))]:
            self.take_in(data, order)
            self.run_pass(order)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(SOURCES))
        time_us = data.draw(st.sampled_from([OLD_US, NEW_US]))
        if source == RECORDS:
            user = data.draw(st.sampled_from([*ACCOUNTS, None]))
            name = self.new_name("p")
            text = f"{data.draw(st.sampled_from(['fox', 'boat']))} {name} of nobody"
            item = Item(source, name, user, time_us, text, is_record=True)
            line = {"id": name, "ts": utc(time_us), "user": user, "text": text}
            with (self.root / source / "posts.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        else:
            name = f"{data.draw(st.sampled_from('ab'))}/{self.new_name('d')}.txt"
            is_shared = data.draw(st.booleans())
            text = "the same in several" if is_shared else f"{source} {name} of nobody"
            item = Item(source, name, DOCUMENTS[source], time_us, text)
            path = self.root / source / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            os.utime(path, (time_us // 1_000_000,) * 2)
        self.items[source, item.native] = item
        self.offered[source].append(item)

    @precondition(lambda self: any(self.offered[name] for name in DOCUMENTS))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Let the platform ask the guard, and delete a document that nobody holds."""
        item = data.draw(st.sampled_from([item for name in sorted(DOCUMENTS) for item in self.offered[name]]))
        with self.opened() as session:
            (answer,) = may_delete(session, item.source, [item.native.encode()], time_us=item.time_us)
        assert answer.held is self.is_claimed(item)
        if not answer.held:
            (self.root / item.source / item.native).unlink()
            self.offered[item.source].remove(item)

    # --- orders and passes

    @precondition(lambda self: len(self.orders) < len(ORDERS))
    @rule(data=st.data(), order=st.sampled_from(sorted(ORDERS)))
    def take_in(self, data: st.DataObject, order: str) -> None:
        if order in self.orders:
            return
        clauses = [data.draw(scopes(self.new_name("k"))) for _ in range(data.draw(st.integers(0, 2)))]
        if len(clauses) < 2:  # so that orders overlap
            clauses.append(Scope(self.new_name("k"), tuple(sorted(DOCUMENTS))))
        until, until_us = day_after(self.now_us, data.draw(st.sampled_from([2, 9, 40])))
        has_end = ORDERS[order] == "dsa-retention"
        text = ORDER.format(
            id=order,
            type=ORDERS[order],
            until=f"until = {until}" if has_end else "",
            clauses="\n".join(scope.toml() for scope in clauses),
        )
        with self.opened() as session:
            take_in_order(session, read_order_file(self.file(text)))
        sources = list(dict.fromkeys(name for scope in clauses for name in scope.sources))
        made = ModelOrder(until_us if has_end else None, [(scope, True) for scope in clauses], sources)
        self.orders[order] = made

    @precondition(lambda self: self.orders_in(*AMENDABLE))
    @rule(data=st.data())
    def capture(self, data: st.DataObject) -> None:
        self.run_pass(self.draw_order(data, *AMENDABLE))

    def run_pass(self, name: str) -> PassReport | None:
        """Run a pass: it seals what is claimed and nothing else, each item once, and its counts add up."""
        order = self.orders[name]
        with self.opened() as session:
            ledger = session.order_writer(name)
            sealed = with_accounts(sealed_order(ledger), session.packs)
            try:
                refuse_capture(session, sealed)
            except AuthorityError:
                assert order.state(self.now_us) not in AMENDABLE
                return None
            assert order.state(self.now_us) in AMENDABLE
            tools = session.pass_tools(ledger, lambda name, counts: None)
            report = run_pass(tools, sealed.clauses, session.named(sealed))
        assert sorted(each.name for each in report.sources) == sorted(order.sources)
        for each in report.sources:
            offered = self.offered[each.name]
            claimed = {item for item in offered if order.covers(item)}
            counts = each.counts
            assert counts.offered == counts.sealed + counts.failed + counts.excluded + counts.lost
            assert (counts.failed, counts.lost) == (0, 0)
            assert counts.offered == len(offered)
            assert counts.new == len(claimed - order.sealed), (each.name, counts)
            assert counts.unchanged == len(claimed & order.sealed), (each.name, counts)
            order.sealed |= claimed
        return report

    # --- amendments that tighten

    @precondition(lambda self: self.orders_in(*AMENDABLE))
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        name = self.draw_order(data, *AMENDABLE)
        order = self.orders[name]
        state = order.state(self.now_us)
        text, until_us = day_after(self.now_us, data.draw(st.sampled_from([0, 5, 30])))
        with self.opened() as session:
            try:
                life = extend(session, name, text)
            except TransitionRefused:
                assert state not in AMENDABLE
                return
            except OrderValueWrong:
                assert state in AMENDABLE
                assert order.until_us is None or until_us <= order.until_us
                return
            assert state in AMENDABLE
            order.until_us, order.gaps = until_us, order.gaps + (state is State.LAPSED)
            order.acts += 1
            assert life.state(self.now_us) is order.state(self.now_us) is State.IN_FORCE
            assert len(life.intervals_without()) == order.gaps

    @precondition(lambda self: self.orders_in(State.IN_FORCE))
    @rule(data=st.data())
    def add_clause(self, data: st.DataObject) -> None:
        name = self.draw_order(data, State.IN_FORCE)
        scope = data.draw(scopes(self.new_name("k")))
        path = self.file(scope.toml())
        self.tighten(name, (scope,), lambda session: read_new_clauses(session, name, path))

    @precondition(lambda self: any(self.with_accounts(name) for name in self.orders))
    @rule(data=st.data())
    def add_accounts(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([each for each in sorted(self.orders) if self.with_accounts(each)]))
        scope = data.draw(st.sampled_from(self.with_accounts(name)))
        more = data.draw(st.sets(st.sampled_from(ACCOUNTS), min_size=1))
        path = self.root / "accounts.txt"
        path.write_text("".join(f"{account}\n" for account in sorted(more)))
        if more <= scope.accounts and self.orders[name].state(self.now_us) is State.IN_FORCE:
            with self.opened() as session, pytest.raises(AmendmentWrong, match="already"):
                read_more_accounts(session, name, scope.id, path)
            return
        wider_scope = replace(scope, accounts=scope.accounts | more)
        self.tighten(name, (wider_scope,), lambda session: read_more_accounts(session, name, scope.id, path))

    @precondition(lambda self: any(self.carve_outs(name) for name in self.orders))
    @rule(data=st.data())
    def end_carve_out(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([each for each in sorted(self.orders) if self.carve_outs(each)]))
        ended = data.draw(st.sampled_from(self.carve_outs(name)))
        self.tighten(name, (), lambda session: read_end_of_carve_out(session, name, ended), (ended,))

    def carve_outs(self, name: str) -> list[str]:
        return [each.id for each in self.orders[name].growing.values() if each.carves]

    def with_accounts(self, name: str) -> list[Scope]:
        return [each for each in self.orders[name].growing.values() if each.accounts and not each.carves]

    def tighten(self, name: str, new: Sequence[Scope], read: Any, stop: Sequence[str] = ()) -> None:
        """Seal an amendment at once where it is valid; the next pass seals what its dry run said."""
        order = self.orders[name]
        with self.opened() as session:
            try:
                amendment = read(session)
            except TransitionRefused:
                assert order.state(self.now_us) is not State.IN_FORCE
                return
            assert order.state(self.now_us) is State.IN_FORCE
            shown = self.dry_run(session, name, amendment, new, stop)
            assert shown["stop"]["items"] == 0
            seal_amendment(session, name, amendment, shown)
        order.amend(new, stop)
        self.check_next_pass(name, shown)

    def dry_run(
        self,
        session: Session,
        name: str,
        amendment: Amendment,
        new: Collection[Scope],
        stop: Collection[str] = (),
        *,
        loosens: bool = False,
    ) -> dict[str, Any]:
        """Return what an amendment is said to change: what the model says, and nothing is sealed by asking."""
        order, checkpoint = self.orders[name], self.vault / "po" / name / "log" / "checkpoint"
        before = checkpoint.read_bytes()
        shown = difference(session, name, amendment).to_json()
        assert checkpoint.read_bytes() == before
        after = order.applied(new, stop)
        sources = {each for scope in (*order.growing.values(), *after) for each in scope.sources}
        offered = [item for each in sources for item in self.offered[each]]
        shift = Shift.of(order, after, offered, counts_sealed=loosens)
        said = Shift(*(shown[key]["items"] for key in ("join", "stay", "stop", "sealed")))
        assert said == shift, (amendment, self.orders)
        assert shown["unread"] == []
        return shown

    def check_next_pass(self, name: str, shown: dict[str, Any]) -> None:
        """The next pass seals what joins and what stays, to the byte, and leaves out what stops."""
        report = self.run_pass(name)
        assert report is not None
        for key, sealed in (("items", report.total.sealed), ("bytes", report.total.bytes)):
            assert shown["join"][key] + shown["stay"][key] == sealed

    # --- amendments that loosen

    @precondition(lambda self: self.orders_in(*AMENDABLE))
    @rule(data=st.data(), at_once=AT_ONCE)
    def narrow(self, data: st.DataObject, at_once: bool) -> None:
        name = self.draw_order(data, *AMENDABLE)
        order = self.orders[name]
        growing = [scope for scope in order.growing.values() if not scope.carves]
        if not growing:
            return
        scope = data.draw(st.sampled_from(growing))
        less = narrower(scope, MIDDLE_US, DOCUMENTS)
        new: tuple[Scope, ...] = ()
        stop: tuple[str, ...] = ()
        if len(growing) > 1 and data.draw(st.booleans()):
            stop = (scope.id,)
        elif less:
            new = (data.draw(st.sampled_from(less)),)
        else:
            return
        stops = f"[amendment]\nstop = {list(stop)}\n" if stop else ""
        path = self.file(stops + "".join(each.toml() for each in new))
        self.loosen("narrow", name, new, stop, lambda session: read_narrowing(session, name, path), at_once)

    @precondition(lambda self: self.orders_in(*AMENDABLE))
    @rule(data=st.data())
    def widen_by_narrowing(self, data: st.DataObject) -> None:
        """What covers more than before is refused as a narrowing; so is what leaves nothing growing."""
        name = self.draw_order(data, *AMENDABLE)
        growing = [scope for scope in self.orders[name].growing.values() if not scope.carves]
        if not growing or self.orders[name].state(self.now_us) not in AMENDABLE:
            return
        more = [each for scope in growing for each in wider(scope, SOURCES)]
        texts = [each.toml() for each in more if each.folder is None or RECORDS not in each.sources]
        texts.append(f"[amendment]\nstop = {[each.id for each in growing]}\n")
        path = self.file(data.draw(st.sampled_from(texts)))
        with self.opened() as session, pytest.raises(AmendmentWrong):
            read_narrowing(session, name, path)

    @precondition(lambda self: self.orders_in(*AMENDABLE))
    @rule(data=st.data(), at_once=AT_ONCE)
    def carve_out(self, data: st.DataObject, at_once: bool) -> None:
        name = self.draw_order(data, *AMENDABLE)
        scope = data.draw(scopes(self.new_name("x"), is_carve_out=True))
        path = self.file(scope.toml())
        self.loosen(
            "carve-out", name, (scope,), (), lambda session: read_carve_outs(session, name, path), at_once
        )

    def loosen(
        self, kind: str, name: str, new: Sequence[Scope], stop: Sequence[str], read: Any, at_once: bool
    ) -> None:
        """Ask for an amendment: it changes nothing until it is confirmed after the cooling-off time."""
        order = self.orders[name]
        with self.opened() as session:
            try:
                amendment = read(session)
            except TransitionRefused:
                assert order.state(self.now_us) not in AMENDABLE
                return
            assert order.state(self.now_us) in AMENDABLE
            shown = self.dry_run(session, name, amendment, new, stop, loosens=True)
            assert shown["join"]["items"] == 0
            request = ask_amendment(session, name, amendment, shown, "court")
        growing = order.growing
        before = {each: growing[each] for each in amendment.touched() if each in growing}
        self.asked(request, kind, name, at_once, new=tuple(new), stop=tuple(stop), before=before)

    def asked(self, request: Request, kind: str, name: str, at_once: bool, **over: Any) -> None:
        """Remember a request; what is asked for already is the same request."""
        assert HOUR_US <= request.ready_us - request.made_us <= 2 * HOUR_US  # logs keep hours, rounded up
        assert request.expires_us == request.ready_us + EXPIRY_US
        known = {each.id: each for each in self.pending}
        pending = known.get(request.id)
        if pending is None:
            pending = Pending(request.id, kind, name, request.ready_us, request.expires_us, **over)
            self.pending.append(pending)
        if at_once:
            self.confirm_when_ready(pending)

    def confirm_when_ready(self, pending: Pending) -> None:
        if self.now_us + 5_000_000 < pending.ready_us:
            self.confirm(pending)
        self.now_us = max(self.now_us, pending.ready_us)
        self.confirm(pending)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), days=st.sampled_from([0, 1, 15]))
    def confirm_later(self, data: st.DataObject, days: int) -> None:
        self.now_us += days * DAY_US
        self.confirm(data.draw(st.sampled_from(self.pending)))

    def confirm(self, pending: Pending) -> None:
        """Confirm a request: refused before its cooling-off time is over, after it has expired, and twice."""
        order = self.orders[pending.order]
        is_due = pending.ready_us <= self.now_us + 1_000_000 < pending.expires_us
        is_narrowing = pending.kind in ("narrow", "carve-out")
        fits = is_due and not pending.is_approved and is_narrowing
        shown = None
        if fits and not pending.is_overtaken(order, self.now_us + 2_000_000):
            shown = self.shown_again(pending)
        was = order.state(self.now_us + 1_000_000)
        with self.opened() as session:
            try:
                outcome = approve(session, pending.id).outcome
            except RequestRefused:
                is_due = pending.ready_us <= self.now_us < pending.expires_us - HOUR_US
                assert not is_due or pending.is_approved
                if self.now_us >= pending.expires_us:
                    self.pending.remove(pending)
                return
            except TransitionRefused:
                assert pending.kind == "release"
                assert was not in RELEASABLE
                pending.is_approved = True
                return
        assert is_due
        assert not pending.is_approved
        self.pending.remove(pending)
        if is_narrowing:
            assert outcome["sealed"] is not pending.is_overtaken(order, self.now_us)
            if outcome["sealed"]:
                order.amend(pending.new, pending.stop)
                assert [scope for scope in order.growing.values() if not scope.carves]
                if shown is not None:
                    self.check_next_pass(pending.order, shown)
        elif pending.kind == "release":
            assert outcome["released"] is (order.holds and pending.asked_of == (was, order.acts)), outcome
            if outcome["released"]:
                order.released_us, order.acts = self.now_us, order.acts + 1
        elif order.disposed:
            assert outcome["items"] == 0, outcome
        else:
            order.quarantined |= pending.items

    def shown_again(self, pending: Pending) -> dict[str, Any] | None:
        """Work out anew, just before a request is carried out, what it changes."""
        clauses = tuple(replace(scope, carves=False) for scope in pending.new)
        stops = f"[amendment]\nstop = {list(pending.stop)}\n" if pending.stop else ""
        path = self.file(stops + "".join(each.toml() for each in clauses))
        read = read_narrowing if pending.kind == "narrow" else read_carve_outs
        with self.opened() as session:
            try:
                amendment = read(session, pending.order, path)
            except AmendmentWrong:  # it leaves nothing growing, or stops what another request stopped
                return None
            return self.dry_run(session, pending.order, amendment, pending.new, pending.stop, loosens=True)

    @precondition(lambda self: self.pending)
    @rule()
    def run_requests(self) -> None:
        """Carry out what is approved: no release that was refused when it was approved, unless it is asked again."""
        with self.opened() as session:
            done = {request.id: request for request in run_due(session)}
            assert not any(request.outcome["released"] for request in done.values())
        self.pending = [each for each in self.pending if each.id not in done]

    # --- the steps of an order's life

    @precondition(lambda self: self.orders_in(*AMENDABLE, State.LIFTED))
    @rule(data=st.data(), court=st.booleans())
    def end(self, data: st.DataObject, court: bool) -> None:
        valid = (*AMENDABLE, State.LIFTED) if court else AMENDABLE
        name = self.draw_order(data, *valid)
        order = self.orders[name]
        with self.opened() as session:
            try:
                (annul if court else lift)(session, name)
            except TransitionRefused:
                assert order.state(self.now_us) not in valid
                return
        assert order.state(self.now_us) in valid
        order.lifted, order.annulled = order.lifted or not court, order.annulled or court
        order.acts += 1

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), days=st.sampled_from([0, 3, 10]))
    def days_go_by(self, data: st.DataObject, days: int) -> None:
        """A clock releases nothing: it is noted once that an order has lapsed; every hold can be reviewed."""
        self.now_us += days * DAY_US
        with self.opened() as session:
            note_lapses(session)
        with self.opened() as session:
            assert note_lapses(session) == []
            for name in self.orders_in(State.LAPSED):
                noted = [str(each.body["at_us"]) for each in events(session.ledger(name), "lapse.noticed")]
                assert len(noted) == len(set(noted))
                assert noted[-1] == str(self.orders[name].until_us)
            name = self.draw_order(data, *AMENDABLE, State.LIFTED, State.ANNULLED)
            try:
                life = review(session, name, "still-needed")
            except TransitionRefused:
                assert not self.orders[name].holds
            else:
                assert self.orders[name].holds
                assert life.review_due_us() == self.now_us + REVIEW_EVERY_US

    # --- release and disposal

    @precondition(lambda self: self.orders_in(*RELEASABLE))
    @rule(data=st.data(), at_once=AT_ONCE)
    def release(self, data: st.DataObject, at_once: bool) -> None:
        self.ask_for_release(self.draw_order(data, *RELEASABLE), at_once=at_once)

    def ask_for_release(self, name: str, *, at_once: bool) -> None:
        with self.opened() as session:
            is_open = any(
                each.kind == "release" and each.order == name and self.now_us < each.expires_us
                for each in self.pending
            )
            try:
                request, _ = ask_release(session, name, "over")
            except TransitionRefused:
                assert self.orders[name].state(self.now_us) not in RELEASABLE
                return
            except RequestRefused:
                assert is_open
                return
            assert not is_open
            assert self.orders[name].state(self.now_us) in RELEASABLE
        order = self.orders[name]
        self.asked(request, "release", name, at_once, asked_of=(order.state(self.now_us), order.acts))

    @precondition(lambda self: self.orders_in(State.RELEASED))
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        name = self.draw_order(data, State.RELEASED)
        with self.opened() as session:
            try:
                undo_release(session, name)
            except TransitionRefused:
                assert self.orders[name].released_us is None or self.orders[name].disposed
                return
        self.orders[name].released_us = None
        self.orders[name].acts += 1

    @precondition(lambda self: self.orders_in(State.RELEASED))
    @rule(days=st.sampled_from([0, 2, 2]))
    def dispose(self, days: int) -> None:
        self.dispose_of_what_is_due(days)

    def dispose_of_what_is_due(self, days: int) -> None:
        """Destroy what nobody claims any more, confirmed by reading back; what is not due stays."""
        self.now_us += days * DAY_US
        with self.opened() as session:
            due = [
                name
                for name, order in self.orders.items()
                if order.state(self.now_us) is State.RELEASED
                and self.now_us >= (order.released_us or 0) + DAY_US
            ]
            certificates = dispose_due(session)
            assert sorted(str(each["order"]) for each in certificates) == sorted(due)
            assert all(each["confirmed"] for each in certificates)
            for name in due:
                self.orders[name].disposed = True
                self.carry_over(self.orders[name])
            if due:
                self.check_erasures(session)
        if due:
            self.check_bytes()
            self.check_packages()

    def carry_over(self, gone: ModelOrder) -> None:
        """What another order claims of a disposed one's is sealed there: an item goes when no order claims it."""
        for order in self.orders.values():
            carried = {item for item in gone.sealed - order.sealed if order.covers(item)}
            order.sealed |= carried
            order.quarantined |= carried & gone.quarantined

    @precondition(lambda self: self.orders_in(*AMENDABLE, *RELEASABLE))
    @rule(data=st.data(), days=st.sampled_from([0, 2, 2]))
    def let_go(self, data: st.DataObject, days: int) -> None:
        """Take an order through all that leads to its disposal, or to the days in which it can be undone."""
        name = data.draw(st.sampled_from(self.orders_in(*AMENDABLE, *RELEASABLE)))
        order = self.orders[name]
        if order.state(self.now_us) not in RELEASABLE:
            with self.opened() as session:
                lift(session, name)
            order.lifted, order.acts = True, order.acts + 1
        self.ask_for_release(name, at_once=True)
        self.dispose_of_what_is_due(days)

    # --- questions, erasures, quarantines, productions

    @precondition(lambda self: self.sealed_somewhere())
    @rule(data=st.data())
    def ask_why(self, data: st.DataObject) -> None:
        """`why` lists every order that keeps an item, and tells no day where a clock has none or has run out."""
        name = data.draw(
            st.sampled_from([each for each, order in self.orders.items() if self.is_there(order)])
        )
        with self.opened() as session:
            ids = {item: item_id for item, item_id, _, _ in self.rows(session, name)}
            item = data.draw(st.sampled_from(by_name(ids)))
            why = explain(session, ids[item])
            holders = self.holders(item)
            assert {hold.order for hold in why.holds} == set(holders), (item, why, self.orders)
            assert why.held is bool(holders)
            assert why.sealed_in == {each for each in holders if item in self.orders[each].sealed}
            ends = [self.orders[each].until_us for each in holders]
            known = [end for end in ends if end is not None and end > self.now_us]
            is_known = bool(ends) and len(known) == len(ends)
            assert why.earliest_release_us == (max(known) if is_known else None)
            listed = {line["item"] for line in list_quarantined(session, name)}
            assert listed == {ids[each] for each in self.orders[name].quarantined}

    @rule(account=st.sampled_from(ACCOUNTS))
    def erase(self, account: str) -> None:
        """Ask for an erasure: what an order holds is deferred, on the ground of each that does."""
        reference = self.new_name("E")
        with self.opened() as session:
            found = request_erasure(session, accounts=[account], reference=reference)
            meant = {item for item in self.sealed_somewhere() if item.account == account}
            outcomes = Counter("deferred" if self.holders(item) else "pending" for item in meant)
            assert Counter(each["outcome"] for each in found["items"]) == outcomes
            assert (found["executed"], found["deferred"]) == (0, outcomes["deferred"])
            states = {name: order.state(self.now_us) for name, order in self.orders.items()}
            for each in found["items"]:
                for held in each.get("orders", ()):
                    assert is_ground(held["ground"]) is (states[held["order"]] is State.IN_FORCE)
            said = Counter(tuple(each["order"] for each in line.get("orders", ())) for line in found["items"])
            assert said == Counter(tuple(sorted(self.holders(item))) for item in meant)
        self.erasures[reference] = meant

    def check_erasures(self, session: Session) -> None:
        """After a disposal exactly those items of a request are executed that no order claims any more."""
        there = self.sealed_somewhere()
        for reference, meant in self.erasures.items():
            shown = Counter(each["outcome"] for each in show_request(session, reference)["items"])
            executed = [item for item in meant if item not in there and not self.holders(item)]
            assert shown["executed"] == len(executed), (reference, shown, meant, self.orders)

    @precondition(lambda self: any(order.sealed for order in self.orders.values()))
    @rule(data=st.data(), at_once=AT_ONCE)
    def quarantine(self, data: st.DataObject, at_once: bool) -> None:
        there = [
            name for name, order in self.orders.items() if order.holds and order.sealed - order.quarantined
        ]
        if not there:
            return
        name = data.draw(st.sampled_from(there))
        order = self.orders[name]
        item = data.draw(st.sampled_from(by_name(order.sealed - order.quarantined)))
        with self.opened() as session:
            ids = {each: item_id for each, item_id, _, _ in self.rows(session, name)}
            ((request, _),) = ask_quarantine(session, [ids[item]], "privileged", name)
        self.asked(request, "quarantine", name, at_once, items=frozenset({item}))

    @precondition(lambda self: any(order.sealed for order in self.orders.values()))
    @rule(data=st.data())
    def produce(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([each for each, order in self.orders.items() if order.sealed]))
        order = self.orders[name]
        source = data.draw(st.sampled_from(sorted({item.source for item in order.sealed})))
        meant = {item for item in order.sealed if item.source == source}
        with self.opened() as session:
            try:
                refuse_disposed(session, name)
            except OrderOver:
                assert not order.holds
                return
            assert order.holds
            trust = self.root / f"{name}-{len(self.packages)}.json"
            write_trust(session.order_ledger(name), trust, Cosigners(()))
            package = trust.with_suffix(".scelle")
            report, _ = produce_package(
                session,
                name,
                kind="source",
                name=source,
                since=None,
                until=None,
                prefix="SCL",
                to=package,
                redact={},
                withhold=WithholdList(),
                progress=lambda stage, done, total: None,
            )
        hidden = len(meant & order.quarantined)
        assert (report.hits, report.withheld) == (len(meant), hidden)
        assert (report.produced, report.erased) == (len(meant) - hidden, 0)
        self.packages.append((package, trust))

    def check_packages(self) -> None:
        """Every production ever made verifies, whatever became of its order since."""
        for package, trust in self.packages:
            out = StringIO()
            with redirect_stdout(out):
                assert scelle_verify([str(package), "--trust", str(trust)]) == 0, out.getvalue()

    # --- what the model says of items

    def is_claimed(self, item: Item) -> bool:
        """Tell whether the guard must hold an item of the live system; of a record it does not know the text."""
        return any(order.covers(item, is_read=not item.is_record) for order in self.orders.values())

    def holders(self, item: Item) -> list[str]:
        return [name for name, order in self.orders.items() if order.keeps(item)]

    def sealed_somewhere(self) -> set[Item]:
        return {item for order in self.orders.values() if self.is_there(order) for item in order.sealed}

    def is_there(self, order: ModelOrder) -> bool:
        return bool(order.sealed) and not order.disposed

    # --- what must hold

    @invariant()
    def the_vault_agrees_with_the_model(self) -> None:
        with self.opened() as session:
            self.check_guard(session)
            holds = RowHolds(session)
            for name in self.orders:
                self.check_rows(session, name, holds)
            self.check_contents(session)
            found = events(session.ledger(RESERVED_ORDER_ID), "disposal.certificate")
            disposed = sorted(name for name, order in self.orders.items() if order.disposed)
            assert sorted(str(each.body["order"]) for each in found) == disposed

    def check_guard(self, session: Session) -> None:
        """The guard says `held` of exactly what a growing clause of an order that holds claims."""
        with VaultGuard(session) as guard:
            for item in chain.from_iterable(self.offered.values()):
                account = item.account if item.is_record else None
                native = item.native.encode()
                verdict = guard.decide(item.source, native, account=account, time_us=item.time_us)
                assert verdict.held is self.is_claimed(item), (item, self.orders)

    def check_rows(self, session: Session, name: str, holds: RowHolds) -> None:
        """An order's log has what the model says, each item once, and everything that keeps it is known."""
        order = self.orders[name]
        found = list(self.rows(session, name))
        wanted = Counter[Item]() if order.disposed else Counter(order.sealed)
        assert Counter(item for item, _, _, _ in found) == wanted, (name, self.orders)
        for item, _, schema, row in found:
            assert item.text.encode() in row.values or not item.is_record
            kept = {(hold.order, hold.clause, hold.grows) for hold in holds.of(item.source, schema, row)}
            assert kept == {
                (each, clause, grows)
                for each, other in self.orders.items()
                for clause, grows in other.keeps(item).items()
            }, (item, self.orders)

    def rows(self, session: Session, name: str) -> Iterator[tuple[Item, str, Schema, Row]]:
        """Yield what an order's log has sealed of its sources: item, item id, schema and row."""
        ledger = session.order_ledger(name)
        names = sealed_order(ledger).source_names
        for _, manifest in ledger.manifests():
            if not manifest.records or is_reserved_alias(manifest.source) or is_destroyed(ledger, manifest):
                continue
            source = called(names, manifest.source)
            with closing(ledger.segment(manifest)) as reader:
                ids = ItemNames(session.key, source, reader.schema)
                for row in reader.rows():
                    item = self.items[source, native_of(reader.schema, row).decode()]
                    yield item, str(ids.name(row)), reader.schema, row

    def check_contents(self, session: Session) -> None:
        """What an order has sealed and that is not disposed of reads back; of the rest nothing does."""
        kept = {item.text for item in self.sealed_somewhere() if not item.is_record}
        sealed = {item.text for order in self.orders.values() for item in order.sealed if not item.is_record}
        for text in kept:
            assert session.packs.read_bytes(sha256(text.encode()).digest()) == text.encode()
        for text in sealed - kept:
            with pytest.raises((ContentMissing, PackDamaged)):
                session.packs.read_bytes(sha256(text.encode()).digest())

    def check_bytes(self) -> None:
        """No byte of the vault, and no frame that any key of it opens, has anything of what was disposed of."""
        kept = {item.text for item in self.sealed_somewhere()}
        gone = {item.text for order in self.orders.values() for item in order.sealed} - kept
        plain = self.everything_that_opens()
        raw = b"\0".join(path.read_bytes() for path in self.vault.rglob("*") if path.is_file())
        for text in gone:
            assert text.encode() not in raw
            assert text.encode() not in plain
        assert not [text for text in kept if text.encode() not in plain]

    def everything_that_opens(self) -> bytes:
        found = []
        with self.opened() as session:
            coder = FrameCoder(session.key)
            for pack_id in session.packs.pack_ids():
                with closing(session.packs.open_pack(pack_id)) as file:
                    found += [
                        FrameView(file, offset).body(coder, table) for offset, table in file.tables() if table
                    ]
            for order in session.all_orders():
                ledger = session.ledger(order)
                for _, manifest in ledger.manifests():
                    if manifest.records and (segment_folder(ledger, manifest) / "keys").exists():
                        with closing(ledger.segment(manifest)) as reader:
                            found += [reader.row_frame(number) for number in range(reader.row_frames)]
        return b"\0".join(found)


UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Making a failure shorter takes longer than a test may: the steps are printed as they were."""
SHORT = settings(max_examples=10, stateful_step_count=20, deadline=None, phases=UNSHRUNK)
LONG = settings(max_examples=250, stateful_step_count=60, deadline=None)
OrderLives.TestCase.settings = SHORT
TestOrderLives = OrderLives.TestCase


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_long_lives_of_orders() -> None:
    run_state_machine_as_test(OrderLives, settings=LONG)
