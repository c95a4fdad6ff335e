"""Five surfaces with one guardrail: the gate switched off on one of them turns that one red, and no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gated_platform import PORTRAIT, guardrail
from tests.integration.recorded_platform import Platform

from scelle.safeguards.recorder.canary import card_picture

SURFACES = ("app", "bot", "partner", "site", "web")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.stop()


def states(platform: Platform, code: int) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in platform.json("surface", "list", code=code)["surfaces"]}


def test_the_gate_off_on_one_surface_turns_only_that_one_red(platform: Platform) -> None:
    gate = guardrail(platform, {}, {card_picture(): PORTRAIT})
    bundle = platform.json("gate", "bundle", gate)["digest"]
    proxies = {}
    for name in SURFACES:
        proxies[name] = platform.proxy("--gate", gate, surface=name)
        url = proxies[name].url.removesuffix("/v1")
        required = ("--expect", "block", "--bundle", bundle)
        platform.run("surface", "add", name, "--owner", "team", "--url", url, *required)
    platform.run("canary", "run")
    before = states(platform, code=0)
    assert {each["state"] for each in before.values()} == {"green"}

    port = int(proxies["site"].url.rsplit(":", 1)[1].removesuffix("/v1"))
    proxies["site"].end()
    proxies["site"] = platform.proxy(surface="site", port=port)  # somebody left the gate out
    platform.run("canary", "run", code=1)

    after = states(platform, code=1)
    assert {name for name, each in after.items() if each["state"] == "red"} == {"site"}
    assert after["site"]["why"] == "other-decision"
    assert after["site"]["since"] > before["site"]["since"]
    for name in set(SURFACES) - {"site"}:
        assert (after[name]["state"], after[name]["since"]) == ("green", before[name]["since"])
    platform.run("canary", "run", code=1)
    assert (
        states(platform, code=1)["site"]["since"] == after["site"]["since"]
    )  # since when, and not since last
    for each in proxies.values():
        each.end()
    platform.run("verify")
