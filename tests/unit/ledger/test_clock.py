from pathlib import Path

import pytest

from scelle.errors import ClockAhead, InputError
from scelle.ledger.clock import check_clock, clock_behind, newest_commit_us
from scelle.ledger.events import record_event
from scelle.ledger.service import OrderLedgerWriter

from .conftest import START_US, add_documents

DAY_US = 86_400 * 1_000_000
FOREVER_US = 2_000_000_000_000_000_000


def test_a_clock_that_goes_on_is_believed() -> None:
    for days in (-9000, 0, 1, 91):
        check_clock(START_US + days * DAY_US, START_US, None)


@pytest.mark.parametrize("now_us", [START_US + 93 * DAY_US, START_US + 36_500 * DAY_US, FOREVER_US])
def test_a_clock_far_ahead_is_refused(now_us: int) -> None:
    with pytest.raises(ClockAhead, match="set the clock") as caught:
        check_clock(now_us, START_US, None)
    assert "2026-02-02T02:40:00Z" in str(caught.value)


def test_a_person_who_compared_the_clock_lets_it_pass_for_a_day() -> None:
    now_us = START_US + 200 * DAY_US  # 2026-08-21
    check_clock(now_us, START_US, "2026-08-21")
    for said in ("2026-08-23", "2026-08-19", "2027-08-21"):
        with pytest.raises(ClockAhead, match="SCELLE_TODAY=2026-08-21"):
            check_clock(now_us, START_US, said)
    with pytest.raises(InputError, match="write today"):
        check_clock(now_us, START_US, "yes")


@pytest.mark.parametrize("now_us", [START_US - DAY_US, 0, -FOREVER_US])
def test_a_clock_that_ran_back_is_said(ledger: OrderLedgerWriter, now_us: int) -> None:
    assert clock_behind(ledger.state, now_us) is None
    add_documents(ledger, 1)
    ledger.seal(START_US)
    assert clock_behind(ledger.state, START_US - 60_000_000) is None
    assert "one of them is wrong" in str(clock_behind(ledger.state, now_us))


def test_a_vault_without_a_commit_is_not_begun_before_there_was_scelle() -> None:
    check_clock(START_US, None, None)
    with pytest.raises(ClockAhead, match="1970-01-01T00:00:00Z"):
        check_clock(0, None, None)


def test_the_newest_commit_is_what_checkpoints_say(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    assert newest_commit_us(tmp_path / "nowhere") is None
    assert newest_commit_us(tmp_path) == START_US
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 5_000_000)
    assert newest_commit_us(tmp_path) == START_US + 5_000_000
    torn = tmp_path / "po" / "o2" / "log"
    torn.mkdir(parents=True)
    (torn / "checkpoint").write_bytes(b"torn")
    assert newest_commit_us(tmp_path) == START_US + 5_000_000
