"""Who carries out what two people stand behind: `request run`."""

from .conftest import ORDER, Platform
from .test_operators import staff, vault_events
from .test_restricted import HOUR_S, SECRET, Clock, item_of
from .test_restricted import clock as clock
from .test_restricted import shut as shut


def test_a_restricted_reviewer_carries_out_what_is_restricted_and_nothing_else(
    shut: Platform, clock: Clock
) -> None:
    staff(shut, carla="counsel", cleo="counsel", erik="engineer", rob="reviewer")
    staff(shut, **dict.fromkeys(("rita", "remy", "rosa"), "restricted-reviewer"))
    reviewers = [part for name in ("rita", "remy", "rosa") for part in ("--reviewers", name)]
    shut("--as", "carla", "restricted", "init", "--threshold", "2", *reviewers)
    shut("--as", "erik", "preserve", ORDER)
    item, root = item_of(shut, "--as", "carla"), shut.root
    ask = ("restricted", "open", item, "--purpose", "court-order", "--case", "2026-17", "--json")
    opening = shut("--as", "rita", *ask).json["request"]
    shut("--as", "remy", "request", "approve", opening)
    loosening = shut("--as", "carla", "settings", "set", "cooling-off", "1h", "--json").json["request"]
    shut("--as", "cleo", "request", "approve", loosening)
    clock.move(25 * HOUR_S)
    assert shut("--as", "rob", "request", "run", code=2).code == 2
    done = shut("--as", "rosa", "request", "run", "--json").json
    assert [each["request"] for each in done["requests"]] == [opening]
    assert (done["disposals"], done["failed"]) == ([], [])
    assert shut("settings", "show", "--json").json["settings"]["cooling-off"] == "1d"
    assert [each["why"].split()[0] for each in vault_events(shut, "refused")] == ["rob"]
    shut("--as", "rosa", "restricted", "share", opening, "--to", root / "rosa.share")
    shut(
        "--as", "rita", "restricted", "read", item, "--grant", opening, "--share", root / "rosa.share",
        "--to", root / "out",
    )  # fmt: skip
    assert (root / "out").read_bytes() == SECRET
    later = shut("--as", "erik", "request", "run", "--json").json
    assert [each["request"] for each in later["requests"]] == [loosening], "an engineer's job does the rest"
