"""`may-delete --token` and `--confirm`, through the command line."""

import json
from pathlib import Path

import pytest

from scelle.guard.leases import leases_folder

from .conftest import Platform
from .test_restricted import Clock
from .test_restricted import clock as clock

ITEMS = ("may-delete", "docs", "a.txt", "sub/c.txt")
UNHELD = '[[clause]]\nid = "drafts"\nsources = ["docs"]\npaths = ["drafts/**"]\n'


@pytest.fixture
def free(platform: Platform) -> Platform:
    """A vault with an order that holds neither of the items."""
    platform.clauses = [UNHELD]
    platform("order", "add", platform.order_file())
    return platform


def token_of(platform: Platform, *options: str) -> str:
    return str(platform(*ITEMS, "--token", "--json", *options).json["token"])


def hold_all(platform: Platform, clock: Clock) -> None:
    """Take in an order over everything, once the tokens are over for whoever waits; then set the clock as it was."""
    clock.move(400)
    platform.clauses = ['[[clause]]\nid = "all"\nsources = ["docs"]\n']
    platform("order", "add", platform.order_file("other.toml", id='"internal-7"'))
    clock.move(-400)


def test_a_token_is_given_and_confirmed_within_its_life(free: Platform, clock: Clock) -> None:
    asked = free(*ITEMS, "--token", "--json").json
    assert (asked["allowed"], asked["held"], asked["ref"]) == (True, 0, None)
    assert asked["expires"].endswith("Z")
    clock.move(8)
    for _ in range(2):  # whoever lost the answer asks again
        done = free(*ITEMS, "--confirm", asked["token"], "--json").json
        assert (done["allowed"], done["why"], done["expires"]) == (True, None, asked["expires"])
        assert [each["allowed"] for each in done["items"]] == [True, True]
    text = free(*ITEMS, "--confirm", asked["token"]).out.splitlines()
    assert text == [
        "a.txt: not held",
        "sub/c.txt: not held",
        f"confirmed: delete now, until {asked['expires']}",
    ]


def test_what_was_asked_in_another_order_is_the_same(free: Platform) -> None:
    token = token_of(free)
    free("may-delete", "docs", "sub/c.txt", "a.txt", "--confirm", token)


def test_people_are_told_the_token_too(free: Platform) -> None:
    lines = free(*ITEMS, "--token").out.splitlines()
    assert lines[:2] == ["a.txt: not held", "sub/c.txt: not held"]
    assert lines[2].startswith("token ")
    token = lines[2].split()[1].rstrip(",")
    free(*ITEMS, "--confirm", token)


def test_a_token_that_is_over_is_late_and_later_unknown(free: Platform, clock: Clock) -> None:
    token = token_of(free, "--life", "30")
    clock.move(29)
    free(*ITEMS, "--confirm", token)
    clock.move(1)
    late = free(*ITEMS, "--confirm", token, "--json", code=3).json
    assert (late["allowed"], late["held"], late["ref"], late["why"], late["expires"]) == (
        False, 0, None, "late", None,
    )  # fmt: skip
    assert [each["allowed"] for each in late["items"]] == [False, False]
    said = free(*ITEMS, "--confirm", token, code=3).out.splitlines()
    assert said[-1] == "not confirmed, nothing may be deleted: the token is over; ask again"
    token_of(free)  # takes away what is over
    assert free(*ITEMS, "--confirm", token, "--json", code=3).json["why"] == "unknown"


def test_a_clock_that_is_set_back_lets_no_token_live_longer(free: Platform, clock: Clock) -> None:
    token = token_of(free)
    clock.move(-3600)
    assert free(*ITEMS, "--confirm", token, "--json", code=3).json["why"] == "late"


@pytest.mark.parametrize(
    "asked",
    [
        ("may-delete", "docs", "a.txt"),
        ("may-delete", "docs", "a.txt", "sub/c.txt", "sub/d.txt"),
        ("may-delete", "docs", "./a.txt", "sub/c.txt"),
        ("may-delete", "other", "a.txt", "sub/c.txt"),
        (*ITEMS, "--account", "u1"),
        (*ITEMS, "--time", "2026-01-08T14:00:00Z"),
    ],
)
def test_a_token_is_of_these_very_items(free: Platform, asked: tuple[str, ...]) -> None:
    elsewhere = free.root / "elsewhere"
    elsewhere.mkdir()
    free("source", "add", "other", f"files://{elsewhere}")
    token = token_of(free)
    answer = free(*asked, "--confirm", token, "--json", code=3).json
    assert (answer["allowed"], answer["why"]) == (False, "other")


def test_a_token_for_another_account_is_not_confirmed(free: Platform) -> None:
    token = str(free(*ITEMS, "--account", "u1", "--token", "--json").json["token"])
    free(*ITEMS, "--account", "u1", "--confirm", token)
    assert free(*ITEMS, "--account", "u2", "--confirm", token, "--json", code=3).json["why"] == "other"
    assert free(*ITEMS, "--confirm", token, "--json", code=3).json["why"] == "other"


def test_a_forged_token_and_a_changed_lease_are_unknown(free: Platform) -> None:
    token = token_of(free)
    [lease] = leases_folder(free.vault).iterdir()
    forged = "0123456789abcdef" * 2
    answer = free(*ITEMS, "--confirm", forged, "--json", code=3)
    assert (answer.json["allowed"], answer.json["why"], answer.err) == (False, "unknown", "")
    (lease.parent / forged).write_bytes(lease.read_bytes())
    assert free(*ITEMS, "--confirm", forged, "--json", code=3).json["why"] == "unknown"
    lease.write_bytes(lease.read_bytes()[:-1] + b"\0")
    assert free(*ITEMS, "--confirm", token, "--json", code=3).json["why"] == "unknown"


def test_of_another_vault_a_token_is_unknown(free: Platform, tmp_path: Path) -> None:
    token = token_of(free)
    other = tmp_path / "vault-2"
    free("init", other, "--host", "platform.example", "--json")
    free("source", "add", "docs", f"files://{free.docs}", "--vault", other)
    assert free(*ITEMS, "--confirm", token, "--vault", other, "--json", code=3).json["why"] == "unknown"


def test_where_one_item_is_held_no_token_is_given(free: Platform) -> None:
    asked = free("may-delete", "docs", "a.txt", "drafts/x.txt", "--token", "--json", code=3).json
    assert (asked["allowed"], asked["token"], asked["expires"]) == (False, None, None)
    assert [each["allowed"] for each in asked["items"]] == [True, False]
    assert asked["ref"] == asked["items"][1]["ref"] is not None
    assert not leases_folder(free.vault).exists()
    assert "token" not in free("may-delete", "docs", "a.txt", "drafts/x.txt", "--token", code=3).out


def test_what_is_held_since_is_not_confirmed(free: Platform, clock: Clock) -> None:
    token = token_of(free)
    lease = leases_folder(free.vault) / token
    kept = lease.read_bytes()
    hold_all(free, clock)
    for content in (kept, None):  # held comes first, whatever became of the token
        if content is not None:
            lease.write_bytes(content)
        else:
            lease.unlink(missing_ok=True)
        answer = free(*ITEMS, "--confirm", token, "--json", code=3).json
        assert (answer["allowed"], answer["why"], answer["held"]) == (False, "held", 2)
        assert answer["ref"] == answer["items"][0]["ref"]


def test_an_answer_names_no_order_and_is_the_same_for_one_and_for_two(free: Platform, clock: Clock) -> None:
    asked = ("may-delete", "docs", "drafts/x.txt", "--json")
    before = [free(*asked, "--token", code=3).out, free(*asked, "--confirm", "0" * 32, code=3).out]
    hold_all(free, clock)
    after = [free(*asked, "--token", code=3).out, free(*asked, "--confirm", "0" * 32, code=3).out]
    assert before == after
    assert set(json.loads(before[1])) == {"source", "allowed", "ref", "items", "held", "expires", "why"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--confirm", "4711"), "no token"),
        (("--confirm", "../" + "0" * 29), "no token"),
        (("--confirm", "0" * 32, "--token"), "--confirm TOKEN takes neither --token nor --life"),
        (("--confirm", "0" * 32, "--life", "5"), "--confirm TOKEN takes neither --token nor --life"),
        (("--life", "5"), "give --token, too"),
        (("--token", "--life", "0"), "1 to 300 seconds, not 0"),
        (("--token", "--life", "301"), "1 to 300 seconds, not 301"),
        (("--token", "--life", "-1"), "1 to 300 seconds, not -1"),
    ],
)
def test_bad_input_is_refused_in_one_line(free: Platform, options: tuple[str, ...], words: str) -> None:
    answer = free(*ITEMS, *options, "--json", code=2)
    assert words in answer.err
    assert (answer.out, answer.err.count("\n")) == ("", 1)
