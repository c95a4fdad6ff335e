"""What is measured of a watch, and how it is shown: nothing that is published changes, and no lag is hidden."""

import json
import math

import pytest

from scelle.bootstrap.watch_log import Level, Said
from scelle.bootstrap.watch_meter import JOBS_MAX, OTHER_JOBS, SILENT_S, Meter, OutboxDepth
from scelle.bootstrap.watch_metrics import STUCK_S, Exporter, health, metrics_table, parse_address
from scelle.capture.model import Counts
from scelle.errors import InputError


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    made = Meter(clock, clock)
    made.stands("app", is_streamed=True, is_reading=True, is_up=True)
    return made


def lag(meter: Meter, clock: Clock) -> float:
    meter.publish()
    return meter.latest.sources["app"].lag_at(clock.now_s, meter.latest.at_s)


def samples(meter: Meter, clock: Clock) -> dict[tuple[str, ...], float]:
    pytest.importorskip("prometheus_client", reason="metrics are an extra: scelle[metrics]")
    return {
        (each.name, *each.labels.values()): each.value
        for metric in Exporter(meter, clock).collect()
        for each in metric.samples
    }


def test_the_lag_is_from_the_commit_of_the_oldest_change_to_its_being_durable(
    meter: Meter, clock: Clock
) -> None:
    committed_us = int((clock.now_s - 3) * 1e6)
    meter.came("app", committed_us)
    meter.came("app", committed_us + 2_000_000)
    clock.now_s += 1
    meter.flushed("app")
    assert math.isclose(lag(meter, clock), 4.0)
    meter.flushed("app")  # nothing came since
    assert lag(meter, clock) == 0


def test_a_transaction_that_has_not_ended_is_no_old_commit(meter: Meter, clock: Clock) -> None:
    meter.came("app", int((clock.now_s - 1) * 1e6))
    meter.flushed("app")
    clock.now_s += 100
    meter.came("app", int((clock.now_s - 101) * 1e6))  # more of the next one; the last commit is the old one
    meter.flushed("app")
    assert lag(meter, clock) == 0


def test_the_lag_grows_while_nothing_becomes_durable_or_the_stream_is_down(
    meter: Meter, clock: Clock
) -> None:
    meter.came("app", int(clock.now_s * 1e6))
    clock.now_s += 7
    assert lag(meter, clock) == 7
    meter.flushed("app")
    meter.stands("app", is_streamed=True, is_reading=True, is_up=False)
    clock.now_s += 30
    meter.stands("app", is_streamed=True, is_reading=True, is_up=False)
    assert lag(meter, clock) == 30


def test_the_lag_of_a_watch_that_hangs_grows_though_it_publishes_nothing(meter: Meter, clock: Clock) -> None:
    meter.flushed("app")
    meter.publish()
    published = meter.latest
    clock.now_s += SILENT_S + 1
    assert published.sources["app"].lag_at(clock.now_s, published.at_s) == SILENT_S + 1


def test_what_was_published_does_not_change(meter: Meter, clock: Clock) -> None:
    meter.sealed("app", [Counts(offered=1, new=1)])
    meter.publish()
    before = meter.latest
    meter.sealed("app", [Counts(offered=5, new=5)])
    meter.diverted("app", [("delete", "purge")])
    assert before.sources["app"].changes["sealed"] == 1
    assert before.sources["app"].diverted == {}
    assert meter.latest is before


def test_a_counter_does_not_fall_when_what_it_counts_is_sealed(meter: Meter, clock: Clock) -> None:
    running = Counts(offered=3, new=2, failed=1)
    meter.running("app", [running])
    meter.publish()
    first = samples(meter, clock)["scelle_watch_changes_total", "app", "sealed"]
    meter.sealed("app", [running])
    meter.running("app", [Counts()])
    meter.publish()
    found = samples(meter, clock)
    assert first == found["scelle_watch_changes_total", "app", "sealed"] == 2
    assert found["scelle_watch_changes_total", "app", "failed"] == 1


def test_jobs_that_name_themselves_anew_each_time_become_one(meter: Meter, clock: Clock) -> None:
    meter.diverted("app", [("delete", f"job-{number}") for number in range(500)])
    meter.diverted("app", [("update", "job-1"), ("delete", "x" * 5000), ("delete", "a\nb\0"), ("delete", "")])
    meter.publish()
    diverted = meter.latest.sources["app"].diverted
    assert len({job for _, job in diverted}) == JOBS_MAX + 1
    assert diverted["delete", OTHER_JOBS] == 500 - JOBS_MAX + 3
    assert diverted["update", "job-1"] == 1
    assert sum(diverted.values()) == 504


def test_who_stands_by_shows_nothing_that_only_the_reader_knows(meter: Meter, clock: Clock) -> None:
    meter.looked("app", 5, 6, None)
    meter.stands("app", is_streamed=True, is_reading=False, is_up=False)
    meter.publish()
    found = {key[0] for key in samples(meter, clock)}
    assert not found & {"scelle_watch_lag_seconds", "scelle_watch_stream_up", "scelle_watch_slot_kept_bytes"}


def test_a_guard_that_is_gone_shows_no_figures(meter: Meter, clock: Clock) -> None:
    meter.probed("app", ["effective", "red", "effective"])
    meter.waits("app", OutboxDepth(3, 8192, 1.5), 2)
    meter.publish()
    found = samples(meter, clock)
    assert found["scelle_guard_paths", "app", "effective"] == 2
    assert found["scelle_guard_outbox_oldest_seconds", "app"] == 1.5
    assert found["scelle_guard_refused_statements_total", "app"] == 2
    meter.unguarded("app")
    meter.publish()
    assert not [key for key in samples(meter, clock) if key[0].startswith("scelle_guard")]


def test_a_watch_without_a_sign_of_life_is_not_healthy(meter: Meter, clock: Clock) -> None:
    meter.publish()
    assert health(meter.latest, clock.now_s + STUCK_S) == (200, "ok\n")
    assert health(meter.latest, clock.now_s + STUCK_S + 1)[0] == 503


def test_a_pass_that_is_long_shows_signs_of_life(meter: Meter, clock: Clock) -> None:
    with meter.passing("docs"):
        clock.now_s += 100
        meter.beat()
        assert meter.latest.at_s == clock.now_s
        assert meter.latest.sources["docs"].is_passing
    meter.publish()
    assert not meter.latest.sources["docs"].is_passing


@pytest.mark.parametrize(
    ("text", "address"),
    [("9464", ("127.0.0.1", 9464)), ("0.0.0.0:0", ("0.0.0.0", 0)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_is_a_port_or_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":9464", "host:", "host", "99999", "a:b", "1.2.3.4:-1", "٣"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="PORT"):
        parse_address(text)


def test_machines_get_codes_and_numbers_and_never_the_sentence() -> None:
    said = Said(
        "app: order o-1 has public.posts",
        "stream-breach",
        "app",
        Level.ERROR,
        cause="slot-missing",
        numbers={"rows": 3},
    )
    line = said.line(1_700_000_000_000_000, as_json=True)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20Z",
        "level": "error",
        "event": "stream-breach",
        "source": "app",
        "cause": "slot-missing",
        "rows": 3,
    }
    assert said.line(0, as_json=False) == said.text
    assert "\n" not in line


def test_the_table_of_the_page_names_every_metric_once() -> None:
    names = [line.split("`")[1] for line in metrics_table().splitlines()[2:]]
    assert len(names) == len(set(names))
    assert all(name.startswith("scelle_") for name in names)
