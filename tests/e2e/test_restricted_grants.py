"""What a grant is worth once something came in between: a quarantine, a wall, a release."""

from pathlib import Path

import pyrage
import pytest

from .conftest import ORDER, Platform
from .test_restricted import HOUR_S, SECRET, Clock, granted, holders, item_of
from .test_restricted import clock as clock
from .test_restricted import shut as shut


def share_of(platform: Platform, request: str, name: str = "remy") -> Path:
    path = platform.root / f"{name}.share"
    platform("restricted", "share", request, "--identity", platform.root / f"{name}.txt", "--to", path)
    return path


def recipient(people: dict[str, pyrage.x25519.Identity], name: str) -> str:
    return str(people[name].to_public())


@pytest.mark.parametrize("is_quarantined", [True, False])
def test_an_item_that_was_quarantined_since_is_neither_read_nor_handed_over(
    shut: Platform, clock: Clock, is_quarantined: bool
) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    item, root = item_of(shut), shut.root
    request = shut("quarantine", item, "--ground", "private", "--json").json["request"]
    opening = granted(shut, clock, "open", item, "--reader", recipient(people, "rita"))
    share = share_of(shut, opening)
    if is_quarantined:
        shut("request", "approve", request)
    read = ("restricted", "read", item, "--grant", opening, "--share", share)
    answer = shut(*read, "--identity", root / "rita.txt", "--to", root / "out", code=2 * is_quarantined)
    assert ("quarantined" in answer.err) == is_quarantined
    assert (root / "out").exists() == (not is_quarantined)
    assert not (root / "out.partial").exists()


def test_what_is_quarantined_is_not_handed_over(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    item, root = item_of(shut), shut.root
    request = shut("quarantine", item, "--ground", "private", "--json").json["request"]
    handing = granted(shut, clock, "export", item, "--authority", recipient(people, "rita"))
    fetch = ("restricted", "fetch", item, "--grant", handing)
    shut(*fetch, "--to", root / "before.age")
    shut("request", "approve", request)
    assert "quarantined" in shut(*fetch, "--to", root / "after.age", code=2).err
    assert not (root / "after.age").exists()


def test_a_grant_ends_at_a_wall(shut: Platform, clock: Clock) -> None:
    names = ("rita", "remy", "rosa")
    for name in ("carla", "cleo"):
        shut("operator", "add", name, "--role", "counsel")
    for name in names:
        shut("operator", "add", name, "--role", "restricted-reviewer")
    reviewers = [part for name in names for part in ("--reviewers", name)]
    shut("--as", "carla", "restricted", "init", "--threshold", "2", *reviewers)
    shut("--as", "carla", "preserve", ORDER)
    item = item_of(shut, "--as", "carla")
    about = ("--purpose", "court-order", "--case", "2026-17", "--json")
    request = shut("--as", "rita", "restricted", "open", item, *about).json["request"]
    clock.move(25 * HOUR_S)
    shut("--as", "remy", "request", "approve", request)
    root = shut.root
    shut("--as", "carla", "order", "wall", ORDER, "--only", "carla", "rita", "remy")
    answer = shut("--as", "rosa", "restricted", "share", request, "--to", root / "rosa.share", code=2)
    assert f"no grant of request '{request}'" in answer.err
    assert (ORDER not in answer.err, (root / "rosa.share").exists()) == (True, False)
    shut("--as", "remy", "restricted", "share", request, "--to", root / "remy.share")
    read = ("restricted", "read", item, "--grant", request, "--share", root / "remy.share")
    shut("--as", "rita", *read, "--to", root / "out")
    assert (root / "out").read_bytes() == SECRET


def test_a_grant_ends_with_the_release_of_its_order(shut: Platform, clock: Clock) -> None:
    people = holders(shut)
    shut("preserve", ORDER)
    item, root = item_of(shut), shut.root
    shut("order", "lift", ORDER)
    request = shut("order", "release", ORDER, "--json").json["request"]
    opening = granted(shut, clock, "open", item, "--reader", recipient(people, "rita"))
    share = share_of(shut, opening)
    shut("request", "approve", request)
    read = ("restricted", "read", item, "--grant", opening, "--share", share, "--identity", root / "rita.txt")
    assert f"order {ORDER} is released" in shut(*read, "--to", root / "out", code=2).err
    assert not (root / "out").exists()
