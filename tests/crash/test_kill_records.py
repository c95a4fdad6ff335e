"""Kill passes over a source of records at every durable step, as not persisted and as persisted.

Three lives: a first pass, a pass over files that grew, were written anew and went, and a pass that goes on where a
crash ended it. Groups are committed after every batch and `nodes` is kept of small segments, so that all steps of a
large pass are there. Afterwards the next run must finish, every offered record is in one bucket, no row is lost and
none is there twice, and `verify` finds nothing.
"""

import json
import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scelle.bootstrap import actor, make_vault, now_us, opened
from scelle.capture import record_pass
from scelle.capture.families import is_of_family
from scelle.capture.service import PassReport, run_pass
from scelle.fsck.service import verify
from scelle.ledger import segments
from scelle.orders.intake import read_order_file
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import add_order, sealed_order
from scelle.sources.model import SourceSpec
from scelle.sources.registry import add_source

from .disk import Mode, kind_of
from .test_kill_points import ORDER, TOML, Place, copy_of, crash_at, steps_of

KNOWN_KINDS = Path(__file__).with_name("kill-points-records.txt")
CLAUSE = TOML.replace('sources = ["docs"]', 'sources = ["ai"]\nfrom = 2026-01-01')
SHARES = 8
EVERY = 14
"""`make test` kills at every 14th step, `make test-long` at all of them."""
NODES_FROM = 16
TIME_S = 1_770_000_000


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit after every batch; keep `nodes` of segments that have a few dozen entries of the index."""
    monkeypatch.setattr(record_pass, "GROUP_BYTES", 1)
    monkeypatch.setattr(segments, "NODES_FROM", NODES_FROM)


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (TIME_S, TIME_S))


def line(kind: str, number: int, month: int = 1, **more: Any) -> str:
    event = {"event": kind, "ts": f"2026-{month:02d}-03T10:00:{number:02d}Z", "account": f"u{number % 3}"}
    return json.dumps({**event, "event_id": f"{kind}-{number}", "attempt_id": f"a{number}", **more}) + "\n"


def fill(folder: Path) -> None:
    """Events with a line that fails, one that no clause covers, attempts without an outcome; two bundles."""
    put(
        folder,
        "a.jsonl",
        "".join(line("requested", n, prompt="a red boat") for n in range(6)) + "{no json}\n",
    )
    old = line("requested", 9).replace("2026-01", "2025-01")
    put(folder, "b.jsonl", "".join(line("completed", n, outputs=["x"]) for n in range(5)) + old)
    put(folder, "c.jsonl", line("reported", 1) + line("reported", 2))
    put(folder, "policies/p.json", '{"version": "7", "rules": ["no real people"]}')
    put(folder, "configs/c.json", '{"rate": 5}')


def change(folder: Path) -> None:
    """Let one file grow, write one anew with a row gone and a row changed, remove one; a new policy."""
    with (folder / "a.jsonl").open("a") as file:
        file.write(line("requested", 20, 2) + line("requested", 21, 2))
    put(
        folder,
        "b.jsonl",
        "".join(line("completed", n, outputs=["y" if n == 2 else "x"]) for n in range(1, 5)),
    )
    (folder / "c.jsonl").unlink()
    put(folder, "policies/p.json", '{"version": "8", "rules": ["no real people", "no brands"]}')


def make_place(root: Path) -> tuple[Place, Path]:
    """Make a vault with the source and the order, and no pass yet."""
    place, folder = Place(root / "prepared"), root / "ai"
    folder.mkdir()
    fill(folder)
    (place.root / "disk" / "keys").mkdir(parents=True)
    (place.root / "order.toml").write_text(CLAUSE)
    make_vault(place.vault, "platform.example", place.keys, [])
    with opened(place.vault, place.keys, writing=True) as session:
        spec = SourceSpec("ai", f"generation://{folder}")
        add_source(session.writer(RESERVED_ORDER_ID), spec, now_us(), actor())
    with opened(place.vault, place.keys, writing=True) as session:
        sources = {name: spec.to_json() for name, spec in session.sources().items()}
        order = read_order_file(place.root / "order.toml")
        add_order(
            session.path,
            session.host,
            session.key,
            session.packs,
            order,
            sources,
            now_us=now_us(),
            actor=actor(),
            memory=session.memory,
        ).close()
    return place, folder


def preserve(place: Place) -> PassReport:
    with opened(place.vault, place.keys, writing=True) as session:
        ledger = session.order_writer(ORDER)
        sealed = sealed_order(ledger)
        tools = session.pass_tools(ledger, lambda name, counts: None)
        return run_pass(tools, sealed.clauses, session.named(sealed))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Nothing is sealed yet."""
    return make_place(tmp_path_factory.mktemp("first"))[0]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One pass is sealed, and the folder changed since."""
    place, folder = make_place(tmp_path_factory.mktemp("grown"))
    preserve(place)
    change(folder)
    return place


@pytest.fixture(scope="module")
def interrupted(first: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A crash ended the first pass after rows and contents had become durable, before they were sealed."""
    root = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_pass, "GROUP_BYTES", 1)
        steps = steps_of(copy_of(first, root, "count"), preserve)
        synced = [
            at for at, step in enumerate(steps) if step.operation == "sync" and step.path.name == "rows"
        ]
        return crash_at(copy_of(first, root, "place"), synced[len(synced) // 2], "kept", preserve)


def rows_of(place: Place) -> Counter[tuple[str, tuple[bytes, ...]]]:
    """Count every sealed record of the source, by its schema and its values but for the sequence number."""
    found: Counter[tuple[str, tuple[bytes, ...]]] = Counter()
    with opened(place.vault, place.keys, writing=False) as session:
        ledger = session.ledger(ORDER)
        for _, manifest in ledger.manifests():
            if is_of_family(manifest.source, "s0001") and manifest.records:
                with closing(ledger.segment(manifest)) as reader:
                    for row in reader.rows():
                        time, _, *rest = row.split_values()
                        found[manifest.schema.hex(), (time, *rest)] += 1
    return found


def buckets(report: PassReport) -> tuple[int, ...]:
    total = report.total
    assert total.offered == total.sealed + total.failed + total.excluded + total.lost
    return total.offered, total.sealed, total.failed, total.excluded, total.lost


def kill_and_check(prepared: Place, tmp_path: Path, mode: Mode, start: int, step: int) -> None:
    untouched = copy_of(prepared, tmp_path, "untouched")
    steps = steps_of(copy_of(prepared, tmp_path, "count"), preserve)
    expected = buckets(preserve(untouched)), rows_of(untouched)
    for number in range(start, len(steps), step):
        after = crash_at(copy_of(prepared, tmp_path, f"step-{number}"), number, mode, preserve)
        where = f"{mode} at {number}: {kind_of(steps[number], steps[number].path.parents[3])}"
        report = preserve(after)
        assert (buckets(report), rows_of(after)) == expected, where
        with opened(after.vault, after.keys, writing=False) as session:
            result = verify(after.vault, session.key, sample=None, order=None, workers=1)
        assert [each for each in result.findings if each.code != "catalog.stale"] == [], where


def test_the_scenario_has_what_it_is_to_show(first: Place, grown: Place, tmp_path: Path) -> None:
    place, later = copy_of(first, tmp_path, "first"), copy_of(grown, tmp_path, "grown")
    report = preserve(place)
    assert (report.total.failed, report.total.excluded) == (1, 2)
    with opened(place.vault, place.keys, writing=False) as session:
        members = {each.source for _, each in session.ledger(ORDER).manifests() if each.records}
    assert {"s0001/1", "s0001/2", "s0001/3"} <= members
    assert list(place.vault.glob("packs/*/*.pack")), "no content was kept"
    second = preserve(later)
    assert second.total.new >= 4
    assert second.total.unchanged >= 8
    assert second.total.vanished >= 3
    assert max(rows_of(later).values()) == 1
    assert list(later.vault.glob("po/*/seg/s0001~*/*/nodes")), "no segment was large enough to keep nodes"


def test_every_kind_of_step_is_known(first: Place, grown: Place, interrupted: Place, tmp_path: Path) -> None:
    kinds = set()
    for name, prepared in (("first", first), ("grown", grown), ("interrupted", interrupted)):
        place = copy_of(prepared, tmp_path, name)
        kinds |= {kind_of(step, place.root / "disk") for step in steps_of(place, preserve)}
    assert sorted(kinds) == KNOWN_KINDS.read_text().splitlines(), "review the kill point, then list it"


@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("life", ["first", "grown", "interrupted"])
def test_a_crash_in_a_pass_of_records_loses_no_row_and_doubles_none(
    life: str, mode: Mode, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kill_and_check(request.getfixturevalue(life), tmp_path, mode, EVERY // 2 * (mode == "kept"), EVERY)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("life", ["first", "grown", "interrupted"])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_at_every_step_of_a_pass_of_records(
    life: str, mode: Mode, share: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kill_and_check(request.getfixturevalue(life), tmp_path, mode, share, SHARES)
