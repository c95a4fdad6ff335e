"""`scelle erasure` through the command line: what becomes of each item, on which ground; what the person is told."""

import json
from typing import Any

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.ledger.events import events

from .conftest import ORDER, Platform

CLAUSE = '[[clause]]\nid = "ada"\nsources = ["letters"]\n'
SECRET = {
    "id": '"pa-7"',
    "type": '"fr-60-2"',
    "authority": '"Parquet de Paris"',
    "legal_basis": '"Code de procédure pénale, article 60-2"',
    "reference": '"PA-7"',
    "zone": '"Europe/Paris"',
    "notify": '"forbidden"',
    "matter": '"other"',
}


@pytest.fixture
def letters(platform: Platform) -> Platform:
    """A platform with a source that is one account's, an order over it, and two sealed letters."""
    folder = platform.root / "letters"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.txt").write_text(f"letter {number}\n")
    platform("source", "add", "letters", f"files://{folder}", "--account", "kunde-4711")
    platform.clauses = [CLAUSE]
    platform("order", "add", platform.order_file(until="2099-12-31"))
    platform("preserve", ORDER)
    return platform


def request(
    platform: Platform, *more: str, account: str = "kunde-4711", reference: str = "DSR-1"
) -> dict[str, Any]:
    return platform(
        "erasure", "request", "--account", account, "--reference", reference, *more, "--json"
    ).json


def test_items_that_an_order_of_union_law_holds_are_deferred_on_its_ground(letters: Platform) -> None:
    found = request(letters)
    assert (found["executed"], found["deferred"], found["pending"]) == (0, 2, 0)
    assert {(each["outcome"], each["ground"]) for each in found["items"]} == {("deferred", "17(3)(b)")}
    assert found["items"][0]["orders"] == [{"order": ORDER, "ground": "17(3)(b)"}]
    assert found["sources"] == [
        {
            "source": "letters",
            "outcome": "deferred",
            "ground": "17(3)(b)",
            "orders": [{"order": ORDER, "ground": "17(3)(b)"}],
        }
    ]
    ids = {item["id"] for item in letters("find", ORDER, 'account = "kunde-4711"', "--json").json["items"]}
    assert {each["item"] for each in found["items"]} == ids
    assert letters("verify", "--json").json["findings"] == []


@pytest.mark.parametrize("name", ["kunde-4711", "account:kunde-4711"])
def test_an_identifier_without_a_kind_means_an_account_and_a_handle(letters: Platform, name: str) -> None:
    assert request(letters, account=name)["deferred"] == 2
    assert request(letters, account=f"handle:{name}", reference="DSR-2")["deferred"] == 0


def test_an_account_that_nothing_is_sealed_of_is_done_at_once_and_its_name_forgotten(
    letters: Platform,
) -> None:
    found = request(letters, account="nobody")
    assert (found["executed"], found["deferred"], found["state"]) == (0, 0, "completed")
    assert list((letters.vault / "erasures").iterdir()) == []


def test_a_request_that_is_completed_is_not_extended(letters: Platform) -> None:
    found = request(letters, account="nobody")
    said = letters("erasure", "extend", "DSR-1", "--reason", "complexity", code=2).err
    assert "was completed on" in said
    assert said.count("\n") == 1
    shown = letters("erasure", "show", "DSR-1", "--json").json
    assert (shown["extended"], shown["due"]) == (None, found["due"])


def test_the_same_reference_shows_what_was_recorded_and_takes_no_other_accounts(letters: Platform) -> None:
    first = request(letters, "--received", "2026-01-31")
    assert request(letters) == first
    other = letters(
        "erasure", "request", "--account", "4712", "--reference", "DSR-1", code=2
    )  # fmt: skip
    assert "other accounts" in other.err
    later = letters(
        "erasure", "request", "--account", "kunde-4711", "--reference", "DSR-1", "--received", "2026-02-01", code=2
    )  # fmt: skip
    assert "received on 2026-01-31" in later.err
    assert len(letters("erasure", "list", "--json").json["requests"]) == 1


def test_it_is_due_a_month_after_its_receipt_and_can_be_extended_once(letters: Platform) -> None:
    found = request(letters, "--received", "2026-01-31")
    assert (found["due"], found["due_at_latest"]) == ("2026-02-28", "2026-03-02")
    late = letters("erasure", "extend", "DSR-1", "--reason", "complexity", code=2)
    assert "within the month" in late.err
    fresh = request(letters, reference="DSR-2")
    extended = letters("erasure", "extend", "DSR-2", "--reason", "complexity", "--json").json
    assert extended["due"] > fresh["due"]
    assert extended["days_left"] > 80
    assert "extended already" in letters("erasure", "extend", "DSR-2", "--reason", "number", code=2).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--account", "47*"], "wildcard"),
        (["--account", "%ada"], "wildcard"),
        (["--account", "custodian:staff-017"], "no account of the service"),
        (["--account", "handle:"], "nobody"),
        (["--account", "kunde-4711", "--received", "2999-01-01"], "future"),
        (["--account", "kunde-4711", "--received", "soon"], "no date"),
        (["--account", "kunde-4711", "--scope", "half"], "sealed or all"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    letters: Platform, arguments: list[str], words: str
) -> None:
    refused = letters("erasure", "request", *arguments, "--reference", "DSR-1", code=2)
    assert words in refused.err
    assert refused.err.count("\n") == 1
    assert letters("erasure", "list", "--json").json["requests"] == []
    assert "no erasure request" in letters("erasure", "show", "DSR-1", code=2).err


def test_more_than_is_likely_must_be_confirmed(letters: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.bootstrap.erasing.ITEMS_MAX", 1)
    refused = letters("erasure", "request", "--account", "kunde-4711", "--reference", "DSR-1", code=2)
    assert "2 items" in refused.err
    assert "--yes" in refused.err
    assert request(letters, "--yes")["deferred"] == 2


def test_a_letter_gives_the_ground_where_everything_may_be_told(letters: Platform) -> None:
    request(letters)
    to = letters.root / "reponse.txt"
    said = letters("erasure", "letter", "DSR-1", "--lang", "fr", "--to", to, "--json").json
    text = to.read_text()
    assert said["variant"] == "reasoned"
    assert "article 17, paragraphe 3, point b)" in text
    assert "CNIL" in text
    assert "recours juridictionnel" in text
    assert "DSR-1" in text
    assert ORDER not in text
    assert "is there already" in letters("erasure", "letter", "DSR-1", "--lang", "fr", "--to", to, code=2).err
    assert letters("erasure", "list", "--json").json["requests"][0]["answered"] is not None


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_letter_is_neutral_where_a_secret_order_holds(letters: Platform, language: str) -> None:
    letters("order", "add", letters.order_file("secret.toml", until="2099-12-31", **SECRET))
    letters("preserve", "pa-7")
    found = request(letters)
    assert {each["ground"] for each in found["items"]} == {"17(3)(b)"}
    assert {each["order"] for each in found["items"][0]["orders"]} == {ORDER, "pa-7"}
    to = letters.root / "letter.txt"
    said = letters("erasure", "letter", "DSR-1", "--lang", language, "--to", to, "--json").json
    text = to.read_text()
    assert said["variant"] == "neutral"
    for word in ("pa-7", "Parquet", "injonction", "order", "ordre", "autorité judiciaire", "point b", "(b)"):
        assert word not in text


def test_the_logs_of_orders_know_of_a_request_and_of_no_other_order(letters: Platform) -> None:
    letters("order", "add", letters.order_file("secret.toml", until="2099-12-31", **SECRET))
    letters("preserve", "pa-7")
    found = request(letters)
    with opened(letters.vault, KeyChoice(letters.root / "keys"), writing=False) as session:
        for order, other in ((ORDER, "pa-7"), ("pa-7", ORDER)):
            (told,) = [json.dumps(dict(each.body)) for each in events(session.ledger(order), "erasure")]
            assert found["id"] in told
            for word in (other, "DSR-1", "kunde-4711"):
                assert word not in told
        vault = b"".join(path.read_bytes() for path in letters.vault.rglob("*") if path.is_file())
        assert b"DSR-1" not in vault
        assert b"kunde-4711" not in vault


def test_sources_are_read_where_that_is_asked_for(letters: Platform) -> None:
    (letters.root / "letters" / "new.txt").write_text("not sealed yet\n")
    found = request(letters, "--scope", "all")
    new = [each for each in found["items"] if each.get("native") == "new.txt"]
    assert (found["deferred"], len(new), new[0]["ground"]) == (3, 1, "17(3)(b)")
    free = letters.root / "free"
    free.mkdir()
    (free / "a.txt").write_text("of no order\n")
    letters("source", "add", "free", f"files://{free}", "--account", "4712")
    done = request(letters, "--scope", "all", account="4712", reference="DSR-2")
    assert (done["executed"], done["deferred"], done["state"]) == (1, 0, "completed")
    assert done["items"][0]["ground"] == "not in the vault: the source may delete it"
    assert done["items"][0]["native"] == "a.txt"


def test_there_is_no_certificate_while_something_is_deferred(letters: Platform) -> None:
    request(letters)
    refused = letters("erasure", "certificate", "DSR-1", "--to", letters.root / "c.txt", code=2)
    assert "2 items are still kept" in refused.err
    request(letters, account="nobody", reference="DSR-2")
    letters("erasure", "certificate", "DSR-2", "--to", letters.root / "c.txt")
    assert "ATTESTATION D'EFFACEMENT" in (letters.root / "c.txt").read_text()
