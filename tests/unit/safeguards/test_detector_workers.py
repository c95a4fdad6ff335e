"""A detector that is down, late, swapped or not itself leads to R080, and is running again soon after."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, files_digest, workers
from scelle.safeguards.gate import Bundle, Detector, Factor, Gate, Request, Stage, default_policy
from tests.unit.safeguards import detector_faults

GATE = Gate(Bundle(default_policy()))
LONG_S = 20.0
SHORT_S = 0.3
SPREAD_S = 0.5
"""How much later than its deadline an answer may be here, on a machine that does other things too."""


@pytest.fixture(autouse=True)
def tests_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]), prepend=os.pathsep)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"harmless")
    return path


def program(weights: Path, **options: float) -> Program:
    files = detector_faults.files(weights)
    registered = Detector("obedient", "1", files_digest(files))
    given = {"weights": str(weights), **options}
    return Program(detector_faults.__name__, registered, files, detector_faults.REPORTS, given)


@pytest.fixture
def pool(weights: Path) -> Iterator[Pool]:
    with Pool([program(weights)]) as pool:
        assert ask(pool, b"coat")["detectors"].value == "healthy"
        yield pool


def ask(pool: Pool, text: bytes, within_s: float = LONG_S) -> dict[str, Factor]:
    return pool.detect(Inputs((Input(Role.PROMPT, text),)), time.monotonic() + within_s)


def is_down(pool: Pool, text: bytes, why: str, within_s: float = LONG_S) -> bool:
    """Ask, and see what the gate makes of it where everything else is calm."""
    found = ask(pool, text, within_s)
    calm = {
        "op": "edit",
        "person": "yes",
        "level": "L0",
        "cumulative_level": "L0",
        "named": "no",
        "minor": "unknown",
    }
    calm |= {"consent": "none", "hash_hit": "none", "third_party_post": "no", "owner_control": "unset"}
    calm |= {"language": "supported"}
    factors = {name: Factor(name, value) for name, value in calm.items()}
    decision = GATE.decide(Request(Stage.INPUT, {**factors, "detectors": found["detectors"]}), "d-1")
    assert "level" not in found
    assert pool.why_down() == {"obedient": why}
    return found["detectors"].value == "down" and decision.deciding_rule == "R080"


def is_up_again(pool: Pool) -> bool:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        if ask(pool, b"coat")["detectors"].value == "healthy":
            return True
        time.sleep(0.05)
    return False


def test_factors_come_with_their_provenance(pool: Pool, weights: Path) -> None:
    given = Input(Role.PROMPT, b"coat")
    found = pool.detect(Inputs((given,)), time.monotonic() + LONG_S)["level"]
    assert (found.value, found.score, found.threshold) == ("L1", 1.0, 1.0)
    assert (found.detector_id, found.detector_version) == ("obedient", "1")
    assert found.weights_digest == files_digest(detector_faults.files(weights))
    assert found.input_id == f"sha256:{given.digest}"
    assert found.ms is not None
    assert found.ms > 0


def test_a_killed_detector_is_down_and_comes_back(pool: Pool) -> None:
    pid = pool.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    found = ask(
        pool, b"coat"
    )  # down, or one that was started anew before it was asked: never the killed one's word
    assert found["detectors"].value == "down" or pool.workers[0].pid != pid
    assert is_up_again(pool)
    assert pool.workers[0].pid != pid


@pytest.mark.parametrize("prompt", [b"die", b"raise", b"another factor", b"another value", b"no number"])
def test_a_detector_that_fails_or_says_what_it_may_not_is_down(pool: Pool, prompt: bytes) -> None:
    assert is_down(pool, prompt, "down")
    assert is_up_again(pool)


def test_a_detector_that_hangs_is_killed_at_the_deadline(pool: Pool) -> None:
    pid = pool.workers[0].pid
    assert pid is not None
    started = time.monotonic()
    assert is_down(pool, b"hang", "late", SHORT_S)
    assert time.monotonic() - started < SHORT_S + SPREAD_S
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert is_up_again(pool)


def test_one_that_hangs_does_not_make_its_neighbour_late(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.write_bytes(b"harmless too")
    with Pool([program(weights), program(other)]) as pool:
        assert ask(pool, b"coat")["detectors"].value == "healthy"
        os.kill(pool.workers[0].pid or 0, signal.SIGSTOP)
        found = ask(pool, b"coat", SHORT_S)
        assert found["detectors"].value == "down"
        assert found["level"].value == "L1"
        assert pool.workers[1].why_down is None


def test_swapped_weights_are_not_asked_though_the_old_process_still_runs(pool: Pool, weights: Path) -> None:
    weights.write_bytes(b"Harmless")
    assert is_down(pool, b"coat", "other-files")
    weights.write_bytes(b"harmless")
    assert is_up_again(pool)


def test_weights_that_are_gone_are_other_weights(pool: Pool, weights: Path) -> None:
    weights.unlink()
    assert is_down(pool, b"coat", "other-files")


def test_a_detector_of_another_version_is_not_asked(weights: Path) -> None:
    right = program(weights)
    newer = Detector("obedient", "2", right.registered.weights_digest)
    with Pool([Program(right.module, newer, right.files, right.reports, right.options)]) as pool:
        assert is_down(pool, b"coat", "other-version")


def test_a_process_that_built_something_else_is_not_asked(weights: Path, tmp_path: Path) -> None:
    """The bundle's files are in place, and yet another file was loaded."""
    other = tmp_path / "others"
    other.write_bytes(b"swapped")
    right = program(weights)
    with Pool(
        [Program(right.module, right.registered, right.files, right.reports, {"weights": str(other)})]
    ) as pool:
        assert is_down(pool, b"coat", "other-version")


def test_a_detector_that_still_starts_is_down_and_not_killed(weights: Path) -> None:
    with Pool([program(weights, start_s=1.0)]) as pool:
        pid = pool.workers[0].pid
        assert is_down(pool, b"coat", "starting", SHORT_S)
        assert is_up_again(pool)
        assert pool.workers[0].pid == pid


def test_a_detector_that_never_starts_is_killed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "START_MAX_S", 0.0)
    with Pool([program(weights, start_s=60.0)]) as pool:
        pid = pool.workers[0].pid
        assert is_down(pool, b"coat", "late", SHORT_S)
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)


def test_a_detector_is_told_no_secret(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCELLE_TEST_SECRET", "fictitious")
    with Pool([program(weights)]) as pool:
        assert ask(pool, b"environment")["level"].value == "L0"


def test_a_pool_of_nothing_is_not_healthy() -> None:
    with Pool([]) as pool:
        assert ask(pool, b"coat")["detectors"].value == "down"
