"""A guardrail fails closed: no room, no input, an old list of withdrawals; and an output stands for itself."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scelle.safeguards.gate import Factor
from scelle.safeguards.guardrail import Asked, Guardrail, Lineage, load_setup
from scelle.safeguards.guardrail.service import Withdrawals, output_factors
from scelle.safeguards.guardrail.setup import Consents

GUARDRAIL = """\
format: scelle-guardrail/1
at_once: 1
deadline_ms: 3000
detectors:
  - {use: stub, path: values.json}
"""


SLOW = "b" * 64
reading, may_go_on = threading.Event(), threading.Event()


def read(digest: str) -> bytes:
    """Read a content: one comes as slowly as its disk, and the others are not there."""
    if digest != SLOW:
        raise FileNotFoundError(digest)
    reading.set()
    may_go_on.wait(60)
    return b"a drawn square"


@pytest.fixture
def guardrail(tmp_path: Path) -> Iterator[Guardrail]:
    (tmp_path / "values.json").write_text('{"format": "scelle-stub/1", "inputs": {}}')
    (tmp_path / "guardrail.yaml").write_text(GUARDRAIL)
    setup = load_setup(tmp_path / "guardrail.yaml")
    with Lineage(tmp_path / "derived") as lineage, Guardrail(setup, lineage, read) as found:
        assert found.warm() == {}
        yield found


def asked(*references: str) -> Asked:
    return Asked.of(
        {
            "attempt_id": "r1",
            "op": "t2i",
            "prompt": "a tree",
            "references": [{"sha256": each} for each in references],
        }
    )


def test_a_queue_that_is_too_long_is_no_health(guardrail: Guardrail) -> None:
    assert guardrail.asked(asked()).request.value("detectors") == "healthy"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(guardrail.asked, asked(SLOW))
        assert reading.wait(60)
        judged = guardrail.asked(asked())
        may_go_on.set()
        assert first.result().request.value("detectors") == "healthy"
    assert (judged.request.value("detectors"), judged.why_down) == ("down", {"all": "busy"})
    assert "R081" in judged.decision.rules_fired


def test_a_reference_that_is_not_here_is_no_health(guardrail: Guardrail) -> None:
    judged = guardrail.asked(asked("a" * 64))
    assert (judged.request.value("detectors"), judged.why_down) == ("down", {"all": "input-missing"})
    assert not judged.lets_through


def test_that_there_was_no_reference_says_nothing_of_an_output(guardrail: Guardrail) -> None:
    before = guardrail.asked(asked())
    assert (before.request.value("person"), before.request.value("hash_hit")) == ("no", "none")
    after = output_factors(before, {}, all_here=True)
    assert "person" not in after
    assert "hash_hit" not in after
    looked_at = output_factors(
        before, {"hash_hit": Factor("hash_hit", "none", detector_id="hashes")}, all_here=True
    )
    assert looked_at["hash_hit"].value == "none"
    assert output_factors(before, looked_at, all_here=False)["hash_hit"].value == "unknown"


def test_an_old_list_of_withdrawals_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_text("c-1\n")
    now = datetime.now(UTC)
    fresh = Withdrawals(Consents({}, path, 3600.0)).known(now)
    assert fresh is not None
    assert fresh.good_until > now
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    old = Withdrawals(Consents({}, path, 3600.0)).known(now)
    assert old is not None
    assert old.good_until < now
    os.utime(path, (time.time() + 86400, time.time() + 86400))  # dated ahead, it is no younger than now
    ahead = Withdrawals(Consents({}, path, 3600.0)).known(now)
    assert ahead is not None
    assert (ahead.good_until - now).total_seconds() <= 3600
    assert Withdrawals(Consents({}, tmp_path / "none.txt", 3600.0)).known(now) is None
