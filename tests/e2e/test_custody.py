"""Time-stamps by a real authority (`openssl ts` behind a small server): item zero, productions, daily."""

import json
from collections.abc import Iterator

import pytest

from scelle.bootstrap import now_us
from scelle.ledger.witness import DAY_US
from scelle.timestamps.tokens import verify_token
from tests.integration.tsa import serve_tsa

from .conftest import ORDER, Platform


@pytest.fixture
def stamped(platform: Platform) -> Iterator[Platform]:
    (platform.root / "tsa").mkdir()
    with serve_tsa(platform.root / "tsa") as tsa:
        platform("order", "add", platform.order_file(), "--tsa", tsa.url)
        platform.root.joinpath("roots.pem").write_bytes(tsa.authority.roots_pem)
        yield platform


def tokens(platform: Platform) -> list[str]:
    return sorted(path.name for path in (platform.vault / "po" / ORDER / "log" / "tokens").glob("*.tsr"))


def test_item_zero_and_every_production_are_stamped(stamped: Platform) -> None:
    assert len(tokens(stamped)) == 1
    assert stamped("status", "--json").json["orders"][0]["tokens_pending"] == 0
    stamped("preserve", ORDER)
    assert len(tokens(stamped)) == 1, "the daily token is not due yet"
    stamped("produce", ORDER, "--source", "docs", "--to", stamped.root / "p.scelle")
    assert len(tokens(stamped)) == 2


def test_a_stored_token_is_over_the_checkpoint_that_its_name_says(stamped: Platform) -> None:
    folder = stamped.vault / "po" / ORDER / "log"
    name = tokens(stamped)[0]
    size, root = name.removesuffix(".tsr").split("-")
    checkpoint = (folder / "checkpoint").read_bytes().split(b"\n\n")[0] + b"\n"
    report = verify_token(
        (folder / "tokens" / name).read_bytes(), checkpoint, (stamped.root / "roots.pem").read_bytes()
    )
    assert report.is_valid, report.problems
    assert checkpoint.split(b"\n")[1] == size.encode()
    assert len(bytes.fromhex(root)) == 32


def test_manifests_are_anchored_to_the_newest_token_and_the_package_carries_it(stamped: Platform) -> None:
    from scelle.verify.scelle_verify import main

    stamped("preserve", ORDER)
    package, trust = stamped.root / "p.scelle", stamped.root / "trust.json"
    stamped("order", "trust", ORDER, "--to", trust)
    stamped("produce", ORDER, "--source", "docs", "--to", package)
    stamped.capsys.readouterr()
    assert main([str(package), "--trust", str(trust), "--json"]) == 0
    verdict = json.loads(stamped.capsys.readouterr().out)
    assert len(verdict["tokens"]) == 2, "the one that the manifests are anchored to, and the production's"


def test_the_daily_token_comes_with_the_next_command(
    stamped: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped("preserve", ORDER)
    later = now_us() + 2 * DAY_US
    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", lambda: later * 1000)
    stamped("preserve", ORDER)
    assert len(tokens(stamped)) == 2


def test_what_was_queued_is_stamped_when_the_authority_is_back(platform: Platform) -> None:
    (platform.root / "tsa").mkdir()
    with serve_tsa(platform.root / "tsa") as tsa:
        url = tsa.url
    platform("order", "add", platform.order_file(), "--tsa", url)
    assert platform("status", "--json").json["orders"][0]["tokens_pending"] == 1
    (platform.root / "tsa-2").mkdir()
    with serve_tsa(platform.root / "tsa-2") as tsa:
        assert tokens(platform) == []
        platform("order", "timestamp", ORDER, "--tsa", tsa.url)
    assert len(tokens(platform)) == 2, "the one that was queued, and one over the newest checkpoint"
    assert platform("status", "--json").json["orders"][0]["tokens_pending"] == 0
