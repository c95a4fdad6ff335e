"""What only all events together show: one outcome an attempt, digests that have their documents."""

import json
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.formats.values import UNDATED
from scelle.sources.generation.model import GRACE_US, OUTCOMES, AttemptClass, class_of
from tests.unit.sources.reading_generation import checks_of, event, source, write

MINUTE_US = 60 * 1_000_000


def sums_of(root: Path) -> dict[str, Any]:
    (sums,) = checks_of(source(root))["attempts"]
    body: dict[str, Any] = sums["body"]
    return body


def test_an_attempt_with_one_outcome_is_no_finding(tmp_path: Path) -> None:
    read = write(tmp_path, [event("requested", "at-1"), event("decided", "at-1"), event("completed", "at-1"),
                            event("delivered", "at-1"), event("removed", post="p-1", minute=50)])  # fmt: skip
    assert sorted(checks_of(read)) == ["attempts"]
    assert sums_of(tmp_path) == {
        "attempts": 1, "one": 1, "open": 0, "none": 0, "several": 0, "outcome-without-attempt": 0, "events": 5,
        "unreadable": 0, "files_unreadable": 0, "grace_us": str(GRACE_US),
    }  # fmt: skip


def test_an_attempt_without_an_outcome_is_reported_with_its_account_and_time(tmp_path: Path) -> None:
    read = write(tmp_path, [event("requested", "at-1", 0, account="u-17"), event("decided", "at-1", 1),
                            event("removed", minute=15)])  # fmt: skip
    (found,) = checks_of(read)["attempt-without-outcome"]
    assert (found["attempt"], found["account"], found["count"]) == ("at-1", "account:u-17", 0)
    assert (found["severity"], found["time"]) == ("finding", 1_767_862_800_000_000)
    assert found["body"] == {"first": "events/a.jsonl line 1 (byte 0)", "outcomes": 0, "requests": 1}


def test_a_young_attempt_is_open(tmp_path: Path) -> None:
    read = write(tmp_path, [event("requested", "at-1", 0), event("removed", minute=14)])
    assert sorted(checks_of(read)) == ["attempts"]
    assert (sums_of(tmp_path)["open"], sums_of(tmp_path)["none"]) == (1, 0)
    found = checks_of(source(tmp_path, grace_us=MINUTE_US))
    assert "attempt-without-outcome" in found


def test_outcomes_may_stand_in_any_file_and_order(tmp_path: Path) -> None:
    write(tmp_path, [event("completed", "at-1")], "a.jsonl")
    write(tmp_path, [event("requested", "at-1"), event("removed", minute=50)], "b.jsonl")
    assert sorted(checks_of(source(tmp_path))) == ["attempts"]


def test_two_outcomes_are_reported_and_one_told_twice_is_not(tmp_path: Path) -> None:
    write(tmp_path, [
        event("requested", "at-1"), event("completed", "at-1"), event("refused", "at-1"),
        event("requested", "at-2"), event("completed", "at-2"), event("completed", "at-2"),
    ])  # fmt: skip
    (found,) = checks_of(source(tmp_path))["attempt-with-several-outcomes"]
    assert (found["attempt"], found["count"]) == ("at-1", 2)
    assert (sums_of(tmp_path)["one"], sums_of(tmp_path)["several"]) == (1, 1)


def test_an_outcome_without_its_attempt_is_reported(tmp_path: Path) -> None:
    write(tmp_path, [event("completed", "at-1")])
    (found,) = checks_of(source(tmp_path))["outcome-without-attempt"]
    assert found["attempt"] == "at-1"
    assert sums_of(tmp_path)["attempts"] == 0


def test_the_ids_of_one_format_are_not_those_of_another(tmp_path: Path) -> None:
    denied = {"EventType": "GEN_DENY", "EventID": "e-2", "ChainID": "c", "AttemptID": "at-1"}
    read = write(tmp_path, [event("requested", "at-1"), event("completed", "at-1"), denied])
    assert "attempt-with-several-outcomes" not in checks_of(read)
    assert "outcome-without-attempt" in checks_of(read)


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    write(tmp_path, [event("removed"), {"event": "imagined"}, r'{"event":"requested","attempt_id":"\ud800"}'])
    sums = sums_of(tmp_path)
    assert (sums["unreadable"], sums["attempts"]) == (1, 0)


def test_a_digest_without_its_document_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    data = json.dumps({"b": 1, "a": 2}).encode()
    (tmp_path / "configs/c.json").write_bytes(data)
    known, canonical = sha256(data).hexdigest(), sha256(b'{"a":2,"b":1}').hexdigest()
    read = write(tmp_path, [
        event("requested", "at-1", config_digest=known), event("completed", "at-1", config_digest=f"sha256:{known}"),
        event("requested", "at-2", config_digest=canonical.upper(), bundle_digest="p7"),
        event("completed", "at-2", config_digest="ab" * 32),
        event("delivered", "at-2", config_digest="ab" * 32),
    ])  # fmt: skip
    found = {each["config"]: each for each in checks_of(read)["digest-unknown"]}
    assert sorted(found) == ["ab" * 32, "p7"]
    assert found["ab" * 32]["count"] == 2
    assert found["ab" * 32]["body"]["named_as"] == "config_digest"
    assert found["p7"]["body"]["first"].startswith("events/a.jsonl line 3")


def test_files_that_events_name_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/b.json").write_text("{}")
    read = write(tmp_path, [
        event("config.changed", config="bundles/b.json"), event("config.changed", config="./bundles/b.json"),
        event("policy.rolled_out", bundle="../elsewhere.json"), event("config.changed", config={"inline": 1}),
    ])  # fmt: skip
    (found,) = checks_of(read)["bundle-missing"]
    assert found["body"]["name"] == "../elsewhere.json"


def test_findings_stay_the_same_record_while_nothing_changes(tmp_path: Path) -> None:
    read = write(tmp_path, [event("requested", "at-1"), event("removed", minute=50)])
    first = [
        (each["native_id"], each["time"], each["body"]) for each in checks_of(read)["attempt-without-outcome"]
    ]
    again = [
        (each["native_id"], each["time"], each["body"]) for each in checks_of(read)["attempt-without-outcome"]
    ]
    assert first == again


def test_many_findings_come_one_by_one(tmp_path: Path) -> None:
    events = [event("requested", f"at-{n}") for n in range(25_000)]
    read = write(tmp_path, [*events, event("removed", minute=50)])
    found = checks_of(read)["attempt-without-outcome"]
    assert len({each["attempt"] for each in found}) == 25_000


# --- the classes


@given(
    outcomes=st.integers(0, 5), requested=st.one_of(st.just(UNDATED), st.integers(-(2**62), 2**62)),
    after=st.integers(0, 2 * GRACE_US),
)  # fmt: skip
def test_every_attempt_is_in_exactly_one_class(outcomes: int, requested: int, after: int) -> None:
    found = class_of(outcomes, requested, requested + after, GRACE_US)
    is_young = requested != UNDATED and after < GRACE_US
    expected = {
        AttemptClass.ONE: outcomes == 1,
        AttemptClass.SEVERAL: outcomes > 1,
        AttemptClass.OPEN: outcomes == 0 and is_young,
        AttemptClass.NONE: outcomes == 0 and not is_young,
    }
    assert [each for each, holds in expected.items() if holds] == [found]


LIVES = st.lists(
    st.tuples(
        st.integers(0, 8), st.sampled_from(["requested", "decided", *sorted(OUTCOMES)]), st.integers(0, 40)
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(lives=LIVES, parts=st.integers(1, 3))
def test_the_classes_of_any_events_add_up(lives: list[tuple[int, str, int]], parts: int) -> None:
    """The source's counts and findings equal those of a naive model that holds everything."""
    events = [event(kind, f"at-{number}", minute) for number, kind, minute in lives]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in range(parts):
            write(root, events[part::parts], f"{part}.jsonl")
        checks = checks_of(source(root))
    requested = {
        n: max(m for i, k, m in lives if (i, k) == (n, "requested")) for n, k, _ in lives if k == "requested"
    }
    newest = max((minute for _, _, minute in lives), default=0)
    expected: Counter[str] = Counter()
    naive: dict[str, set[str]] = {}
    for number, minute in requested.items():
        ends = {kind for other, kind, _ in lives if other == number and kind in OUTCOMES}
        found = "several" if len(ends) > 1 else "one" if ends else "open" if newest - minute < 15 else "none"
        expected[found] += 1
        naive.setdefault(found, set()).add(f"at-{number}")
    body = checks["attempts"][0]["body"]
    assert {name: body[name] for name in ("one", "open", "none", "several")} == {
        name: expected[name] for name in ("one", "open", "none", "several")
    }
    assert body["attempts"] == sum(expected.values()) == len(requested)
    for kind, name in (("attempt-without-outcome", "none"), ("attempt-with-several-outcomes", "several")):
        assert {each["attempt"] for each in checks.get(kind, [])} == naive.get(name, set())


@pytest.mark.parametrize("grace_us", [0, MINUTE_US])
def test_the_edge_of_the_grace_period(grace_us: int) -> None:
    assert class_of(0, 1000, 1000 + grace_us, grace_us) is AttemptClass.NONE
    if grace_us:
        assert class_of(0, 1000, 999 + grace_us, grace_us) is AttemptClass.OPEN
