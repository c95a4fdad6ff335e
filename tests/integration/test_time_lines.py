"""Two real time lines, replayed with their dates: an order that lapsed for seven days, and one that was narrowed."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, Session, opened
from scelle.bootstrap.amending import (
    annul,
    ask_amendment,
    authenticate,
    difference,
    execute_narrow,
    extend,
    lapse_alarms,
    lift,
    note_lapses,
    read_carve_outs,
    read_more_accounts,
    read_narrowing,
    read_new_clauses,
    replace_order,
    review,
    seal_amendment,
    sealed_so_far,
    set_mark,
)
from scelle.bootstrap.making import make_vault
from scelle.bootstrap.orders import take_in_order
from scelle.bootstrap.requests import approve
from scelle.capture.model import PassReport
from scelle.capture.service import run_pass
from scelle.errors import AmendmentWrong, NotAllowed, RequestRefused, TransitionRefused
from scelle.ledger.clock import CONFIRMED_BY
from scelle.ledger.events import events, record_event
from scelle.operators.requests import RequestState
from scelle.orders.days import aware_instant, utc_text
from scelle.orders.deadlines import Due, deadlines_of
from scelle.orders.intake import read_order_file
from scelle.orders.lifecycle import Life, Mark, State
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order, with_accounts
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source

X, FRENCH, CIVIL = "ec-2025-0117", "n7q2k5vd3mzt4wpa", "us-2025-17"
DAY_US = 86_400_000_000


def us(text: str) -> int:
    return aware_instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


class World:
    """One vault, its sources, and a clock that the tests set."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, today: str) -> None:
        self.root, self.now_us = root, us(today)
        (root / "keys").mkdir()
        (root / "docs").mkdir()
        (root / "chats").mkdir()
        patch.setattr("scelle.bootstrap.making.now_us", lambda: self.now_us)
        patch.setattr(
            "scelle.bootstrap.making.refuse_wrong_clock", lambda path, now_us: None
        )  # it is 2025 here
        self._patch = patch
        make_vault(root / "vault", "platform.example", KeyChoice(root / "keys"), [])
        schema = '[schema]\nname = "chats"\ntime = "ts"\nid = "id"\naccount = "user"\n[fields]\ntext = "s"\n'
        with self.session() as session:
            ledger = session.writer(RESERVED_ORDER_ID)
            for spec in (
                SourceSpec("docs", f"files://{root / 'docs'}"),
                SourceSpec("chats", f"records://{root / 'chats'}", schema=schema),
            ):
                add_source(ledger, spec, self.now_us, session.actor)

    @contextmanager
    def session(self, *, writing: bool = True) -> Iterator[Session]:
        choice = KeyChoice(self.root / "keys")
        with opened(self.root / "vault", choice, writing=writing, clock=lambda: self.now_us) as session:
            yield session

    def on(self, text: str) -> None:
        assert us(text) >= self.now_us
        self.now_us = us(text)
        self._patch.setenv(CONFIRMED_BY, text[:10])  # months go by between two steps

    def document(self, name: str, data: bytes) -> None:
        """Write a document, as of now."""
        path = self.root / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (self.now_us / 1e6, self.now_us / 1e6))

    def chat(self, number: int, user: str, text: str) -> None:
        line = {"id": f"c{number}", "ts": utc_text(self.now_us), "user": user, "text": text}
        with (self.root / "chats" / "chats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def file(self, text: str, name: str = "amendment.toml") -> Path:
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        return path

    def take_in(self, order: str, clauses: str, **terms: str) -> None:
        said = {"id": order, "matter": "m-1", "authority": "a", "legal_basis": "b", "reference": "r", **terms}
        lines = [f'{key} = "{value}"' for key, value in said.items()]
        path = self.file("[order]\n" + "\n".join(lines) + "\n\n" + clauses, f"{order}.toml")
        with self.session() as session:
            take_in_order(session, read_order_file(path))

    def preserve(self, order: str) -> PassReport:
        with self.session() as session:
            ledger = session.order_writer(order)
            sealed = with_accounts(sealed_order(ledger), session.packs)
            tools = session.pass_tools(ledger, lambda name, counts: None)
            return run_pass(tools, sealed.clauses, session.named(sealed))

    def life(self, order: str) -> Life:
        with self.session(writing=False) as session:
            return sealed_order(session.order_ledger(order)).life

    def state(self, order: str) -> State:
        return self.life(order).state(self.now_us)

    def due(self, order: str) -> list[Due]:
        return [each.due for each in deadlines_of(self.life(order), self.now_us)]

    def kinds(self, order: str) -> list[str]:
        with self.session(writing=False) as session:
            return [event.kind for event in events(session.order_ledger(order))]

    def diff(self, order: str, amendment: Any) -> Mapping[str, int]:
        with self.session(writing=False) as session:
            found = difference(session, order, amendment).to_json()
        assert found["unread"] == []
        return {key: found[key]["items"] for key in ("join", "stay", "stop", "sealed")}


def spans(life: Life) -> list[tuple[str, str | None]]:
    return [
        (utc_text(start), None if end is None else utc_text(end)) for start, end in life.intervals_in_force()
    ]


# --- X ----------------------------------------------------------------------------------------------------


def test_an_order_lapses_for_seven_days_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, "2025-01-17T09:00:00")
    world.document("recommender/weights.md", b"weights of January\n")
    world.take_in(
        X,
        '[[clause]]\nid = "recommender"\nsources = ["docs"]\npaths = ["recommender/**"]\n',
        type="dsa-retention",
        issued="2025-01-17",
        received="2025-01-17T08:00:00Z",
        until="2025-12-31",
        zone="Europe/Brussels",
    )
    assert world.state(X) is State.IN_FORCE
    assert world.preserve(X).total.sealed == 1

    # a secret inquiry in France, beside it: neither log knows of the other
    world.on("2025-07-09T10:00:00")
    world.take_in(
        FRENCH,
        '[[clause]]\nid = "content"\nsources = ["chats"]\naccounts = ["u7"]\n',
        type="fr-60-2",
        issued="2025-07-09",
        received="2025-07-09T08:00:00Z",
        zone="Europe/Paris",
    )
    world.chat(1, "u7", "a boat")
    assert world.preserve(FRENCH).total.sealed == 1
    french = world.life(FRENCH)
    assert french.order.notify.value == "forbidden"
    assert spans(french)[0][1] == "2026-07-09T22:00:00Z"  # the longest that the law allows

    # the last day, and the first without an order
    world.on("2025-12-31T22:59:59")
    assert world.state(X) is State.IN_FORCE
    world.on("2025-12-31T23:00:00")
    assert world.state(X) is State.LAPSED
    assert Due.DECIDE in world.due(X)
    assert Due.END not in world.due(X)
    world.on("2026-01-02T08:00:00")
    with world.session() as session:
        noted = note_lapses(session)
        assert [(each["order"], each["at"]) for each in noted] == [(X, "2025-12-31T23:00:00Z")]
    with world.session() as session:
        assert note_lapses(session) == []
        assert "12 days left" in lapse_alarms(session)[X]
    assert world.kinds(X).count("lapse.noticed") == 1
    assert "lapse.noticed" not in world.kinds(FRENCH)

    # what appears meanwhile is kept: holds and guard stay, and so does capture
    world.document("recommender/changes.md", b"changes of 3 January\n")
    world.document("grok/answers.md", b"answers of 3 January\n")
    assert world.life(X).holds
    assert world.preserve(X).total.sealed == 2
    with world.session() as session, pytest.raises(TransitionRefused, match="extend it first"):
        read_new_clauses(session, X, world.file('[[clause]]\nid = "grok"\nsources = ["docs"]\n'))

    # 8 January: prolonged until the end of 2026, with a wider subject
    world.on("2026-01-08T14:00:00")
    letter = world.root / "extension.txt"
    letter.write_bytes(b"until the end of 2026\n")
    with world.session() as session:
        sealed, growing = sealed_so_far(session, X)
        assert (sealed["items"], growing) == (2, ["recommender"])
        life = extend(session, X, "2026-12-31", letter, "EC-2026-0108")
    assert life.state(world.now_us) is State.IN_FORCE
    assert spans(life) == [
        ("2025-01-17T08:00:00Z", "2025-12-31T23:00:00Z"),
        ("2026-01-08T14:00:00Z", "2026-12-31T23:00:00Z"),
    ]
    (without,) = life.without_order(world.now_us)
    assert (utc_text(without.from_us), without.replaced_by) == ("2025-12-31T23:00:00Z", None)
    clause = world.file(
        '[[clause]]\nid = "grok"\nsources = ["docs", "chats"]\npaths = ["grok/**", "chats.jsonl"]\n'
    )
    with world.session() as session:
        amendment = read_new_clauses(session, X, clause)
    assert world.diff(X, amendment) == {"join": 2, "stay": 2, "stop": 0, "sealed": 0}
    with world.session() as session:
        seal_amendment(session, X, amendment, difference(session, X, amendment).to_json())
    assert (
        world.preserve(X).total.sealed == 4
    )  # what was written on 3 January, when no order was in force, included

    # 26 January: proceedings; the French inquiry gets an internal hold beside it; reviews
    world.on("2026-01-26T12:00:00")
    with world.session() as session:
        life = set_mark(session, X, Mark.PRODUCTION_ANNOUNCED, is_set=True)
        assert spans(life)[-1][1] == "2026-12-31T23:00:00Z"  # its type's clock goes on
        authenticate(session, X, "callback")
        life = review(session, X, "proceedings-open")
    assert utc_text(life.review_due_us() or 0) == "2026-04-26T12:00:00Z"
    assert world.due(X) == [Due.REVIEW, Due.END, Due.EXTENSION]

    # the French order ends by its clock, is replaced, and what is known of it stands in its own log alone
    world.on("2026-07-10T08:00:00")
    world.take_in(
        "hold-1",
        '[[clause]]\nid = "own"\nsources = ["chats"]\naccounts = ["u7"]\n',
        type="internal",
        issued="2026-07-10",
        received="2026-07-10T07:00:00Z",
        zone="Europe/Paris",
    )
    with world.session() as session:
        life = replace_order(session, FRENCH, "hold-1")
    assert life.state(world.now_us) is State.LAPSED
    assert life.without_order(world.now_us)[-1].replaced_by == "hold-1"
    with world.session(writing=False) as session:
        assert FRENCH not in lapse_alarms(session)
        told = json.dumps([[each.kind, each.body] for each in events(session.order_ledger(X))])
    assert FRENCH not in told
    assert "hold-1" not in told

    # annulled by a court, later
    world.on("2026-11-02T08:00:00")
    with world.session() as session:
        life = annul(session, X)
    assert life.state(world.now_us) is State.ANNULLED
    assert spans(life)[-1][1] == "2026-11-02T08:00:00Z"
    assert life.holds
    with world.session() as session, pytest.raises(TransitionRefused):
        extend(session, X, "2027-12-31")
    with world.session(writing=False) as session, pytest.raises((TransitionRefused, NotAllowed)):
        lift(session, X)


# --- a broad order that is narrowed -----------------------------------------------------------------------


def test_a_broad_order_is_narrowed_with_carve_outs_and_a_growing_list_of_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, "2025-05-13T09:00:00")
    for number in range(8):
        world.chat(number, f"u{number % 4}", "my health" if number % 2 else "a boat")
    world.document("policies/deletion.md", b"deleted after 30 days\n")
    world.document("policies/draft.md", b"draft\n")
    world.take_in(
        CIVIL,
        '[[clause]]\nid = "chats"\nsources = ["chats"]\n\n[[clause]]\nid = "policies"\nsources = ["docs"]\n',
        type="us-civil-hold",
        issued="2025-05-13",
        received="2025-05-13T09:00:00Z",
        zone="America/New_York",
    )
    assert spans(world.life(CIVIL)) == [("2025-05-13T09:00:00Z", None)]
    assert world.preserve(CIVIL).total.sealed == 10

    # a carve-out: what is about health is not to be kept from now on; what was sealed stays
    world.on("2025-06-20T09:00:00")
    carve = world.file('[[clause]]\nid = "health"\nsources = ["chats"]\n[clause.match]\ntext = "health"\n')
    with world.session() as session:
        amendment = read_carve_outs(session, CIVIL, carve)
        diff = difference(session, CIVIL, amendment)
        assert diff.to_json()["stop"] == {"items": 4, "bytes": diff.stop.bytes}
        assert diff.sealed.items == 4
        request = ask_amendment(session, CIVIL, amendment, diff.to_json(), "privacy")
    assert "amended" not in world.kinds(CIVIL)
    with world.session() as session, pytest.raises(RequestRefused, match="cooling-off"):
        approve(session, request.id)
    world.on("2025-06-21T09:00:00")
    with world.session() as session:  # what a crash half-way through its execution leaves
        ledger = session.order_writer(CIVIL)
        record_event(ledger, world.now_us, session.actor, "clause", request.body["clauses"][0])
        ledger.seal(world.now_us)
    with world.session() as session:
        done = approve(session, request.id)
        assert done.executed_us is not None
        assert done.outcome["sealed"]
        execute_narrow(session, done)  # as after a crash before the request was known as executed
    assert world.kinds(CIVIL).count("amended") == 1
    assert [each.clause.id for each in world.life(CIVIL).clauses] == ["chats", "policies", "health"]
    world.chat(8, "u1", "my health, again")
    world.chat(9, "u1", "a mast")
    report = world.preserve(CIVIL)
    assert report.total.excluded_by["carved-out"] == 5
    assert report.total.sealed == 7
    with world.session(writing=False) as session:
        manifests = session.order_ledger(CIVIL).manifests()
        rows = sum(manifest.records for _, manifest in manifests if manifest.source.startswith("s000"))
    assert rows == 11  # the four that were carved out stay sealed, and only what is new joined

    # narrowed: some accounts only, and no drafts
    world.on("2025-09-26T09:00:00")
    (world.root / "users.txt").write_bytes(b"u1\n")
    wider = '[[clause]]\nid = "policies"\nsources = ["docs", "chats"]\n'
    narrow = (
        '[amendment]\nreference = "ECF 551"\nstop = ["policies"]\n\n'
        '[[clause]]\nid = "chats"\nsources = ["chats"]\naccounts_file = "users.txt"\n'
    )
    with world.session() as session:
        with pytest.raises(AmendmentWrong, match="clause 'policies', sources: covers more than before"):
            read_narrowing(session, CIVIL, world.file(wider))
        amendment = read_narrowing(session, CIVIL, world.file(narrow))
        diff = difference(session, CIVIL, amendment)
    counted = {key: value["items"] for key, value in diff.to_json().items() if key != "unread"}
    assert counted == {"join": 0, "stay": 1, "stop": 6, "sealed": 6}
    with world.session() as session:
        first = ask_amendment(session, CIVIL, amendment, diff.to_json(), "court")
        other = read_narrowing(
            session,
            CIVIL,
            world.file('[[clause]]\nid = "chats"\nsources = ["chats"]\naccounts = ["u1", "u2"]\n'),
        )
        second = ask_amendment(session, CIVIL, other, difference(session, CIVIL, other).to_json(), "court")
    world.on("2025-09-27T10:00:00")
    with world.session() as session:
        assert approve(session, first.id).outcome["sealed"]
    life = world.life(CIVIL)
    assert [(each.clause.id, each.stopped_us is None) for each in life.clauses] == [
        ("chats", False),
        ("policies", False),
        ("health", True),
        ("chats", True),
    ]
    assert world.preserve(CIVIL).total.sealed == 1

    # the list of accounts grows; a request over what the order was before is overtaken
    (world.root / "more.txt").write_bytes(b"u1\n\nu2\nu3\n")
    with world.session() as session:
        amendment = read_more_accounts(session, CIVIL, "chats", world.root / "more.txt")
        diff = difference(session, CIVIL, amendment)
        assert (diff.join.items, diff.stay.items, diff.stop.items) == (
            2,
            1,
            0,
        )  # u2's; what u3 says is about health
        seal_amendment(session, CIVIL, amendment, diff.to_json())
    assert world.preserve(CIVIL).total.sealed == 3
    with world.session() as session:
        overtaken = approve(session, second.id)
        assert overtaken.state("", {}, world.now_us) is RequestState.EXECUTED
        assert not overtaken.outcome["sealed"]
        assert "changed since it was asked" in overtaken.outcome["why"]
    assert [clause.id for clause in world.life(CIVIL).active_clauses] == ["health", "chats"]

    # the matter ends: counsel records it, and nothing is let go of by that
    world.on("2026-02-02T09:00:00")
    with world.session() as session:
        life = lift(session, CIVIL)
    assert life.state(world.now_us) is State.LIFTED
    assert spans(life) == [("2025-05-13T09:00:00Z", "2026-02-02T09:00:00Z")]
    assert life.holds
    assert world.due(CIVIL) == [Due.REVIEW]
