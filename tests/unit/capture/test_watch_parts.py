"""Decide what broke a stream, what a snapshot saw, what is durable, and how much can be lost; no server is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.bootstrap.watch_breaks import breach_of, lost_at_most
from scelle.capture.live import DurablePlaces, Seam
from scelle.capture.watch_state import WatchState, new_lineage, read_state, slot_name, watch_lock, write_state
from scelle.errors import StorageFailed, VaultBusy
from scelle.sources.interfaces import ChangePlace
from scelle.sources.postgres.slots import Server, SlotState
from scelle.sources.postgres.watched import Standing, sees
from scelle.vault.keys import VaultKey

STATE = WatchState(new_lineage(), "7001", 1, 1000, 5)
SERVER = Server("7001", 1, "logical", True, False, 180_000, 2000, 2000, 6)
SLOT = SlotState("pgoutput", "app", False, 1000, "reserved", 10)
WHOLE = Standing(SERVER, SLOT, (), ())


@pytest.fixture
def key() -> VaultKey:
    return VaultKey.generate()


def test_a_stream_that_goes_on_is_no_breach() -> None:
    assert breach_of(STATE, WHOLE) is None
    assert breach_of(STATE, replace(WHOLE, slot=replace(SLOT, confirmed_lsn=999))) is None


@pytest.mark.parametrize(
    ("standing", "cause"),
    [
        (replace(WHOLE, server=replace(SERVER, system_id="7002")), "other-server"),
        (replace(WHOLE, server=replace(SERVER, lsn=999)), "server-set-back"),
        (replace(WHOLE, server=replace(SERVER, timeline=2)), "server-promoted"),
        (replace(WHOLE, slot=None), "slot-missing"),
        (replace(WHOLE, slot=replace(SLOT, wal_status="lost")), "slot-lost"),
        (replace(WHOLE, slot=replace(SLOT, confirmed_lsn=1001)), "slot-recreated"),
        (replace(WHOLE, unpublished=("public.posts",)), "table-not-published"),
        (replace(WHOLE, altered=True), "publication-altered"),
        (replace(WHOLE, loosened=("public.posts",)), "identity-loosened"),
    ],
)
def test_every_breach_has_its_cause(standing: Standing, cause: str) -> None:
    assert breach_of(STATE, standing) == cause


def test_how_much_can_be_lost_is_bounded_by_the_wal_of_one_server() -> None:
    assert lost_at_most(STATE, replace(SERVER, lsn=1800)) == 100
    assert lost_at_most(STATE, replace(SERVER, system_id="7002")) is None
    assert lost_at_most(STATE, replace(SERVER, lsn=900)) is None


@given(st.integers(0, 2**40), st.lists(st.integers(1, 100), max_size=5), st.integers(-1000, 1000))
def test_a_snapshot_sees_what_was_over_before_it_whatever_the_epoch(
    high: int, running: list[int], offset: int
) -> None:
    high += 2000
    still = sorted({high - each for each in running})
    low = min([*still, high])
    does_see = sees(f"{low}:{high}:{','.join(map(str, still))}")
    whole = high + offset
    assert does_see(whole % 2**32) is (whole < high and whole not in still)


def test_a_seam_asks_the_snapshot_only_below_its_place() -> None:
    seam = Seam(100, lambda transaction: transaction == 7)
    assert seam.covers(ChangePlace(99, 0), {99: 7})
    assert not seam.covers(ChangePlace(99, 0), {99: 8})
    assert not seam.covers(ChangePlace(99, 0), {})
    assert not seam.covers(ChangePlace(100, 0), {100: 7})


@given(
    st.sets(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=30),
    st.integers(0, 20),
    st.tuples(st.integers(0, 20), st.integers(0, 50)),
)
def test_durable_is_what_was_confirmed_or_is_there(
    there: set[tuple[int, int]], confirmed: int, asked: tuple[int, int]
) -> None:
    places = DurablePlaces(confirmed)
    for each in there:
        assert places.add(ChangePlace(*each)) is (each[0] < confirmed)
    assert (ChangePlace(*asked) in places) is (asked[0] < confirmed or asked in there)
    places.confirm(confirmed + 3)
    assert (ChangePlace(*asked) in places) is (asked[0] < confirmed + 3 or asked in there)


def test_a_state_reads_back_and_names_no_source(tmp_path: Path, key: VaultKey) -> None:
    slot = slot_name(key, "platform-database")
    assert slot != slot_name(key, "another")
    assert "platform" not in slot
    assert read_state(tmp_path, key, slot) is None
    state = replace(STATE, confirmed=2**63 - 1, joining=("o-1", "o-2"))
    write_state(tmp_path, key, slot, state)
    assert read_state(tmp_path, key, slot) == state
    assert b"7001" not in (tmp_path / "watch" / slot).read_bytes()
    other = slot_name(key, "another")
    (tmp_path / "watch" / slot).rename(tmp_path / "watch" / other)
    with pytest.raises(StorageFailed, match="damaged"):
        read_state(tmp_path, key, other)


def test_one_process_reads_a_stream(tmp_path: Path) -> None:
    with watch_lock(tmp_path, "s"), pytest.raises(VaultBusy), watch_lock(tmp_path, "s"):
        pass
    with watch_lock(tmp_path, "s"):
        pass
