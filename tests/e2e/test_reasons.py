"""Reasons, grounds and ways are codes; free text goes to notes, and never into a log of an order."""

import pytest

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.requests import ask
from scelle.errors import InputError
from scelle.operators.requests import Act

from .conftest import ORDER, Platform

TEXT = "because a witness said so"


def log_size(platform: Platform) -> int:
    return int(platform("order", "show", ORDER, "--json").json["log"]["size"])


@pytest.mark.parametrize("text", [TEXT, "-", "Überholt", "a" * 64])
def test_a_release_takes_no_free_text(ordered: Platform, text: str) -> None:
    ordered("order", "lift", ORDER)
    answer = ordered("order", "release", ORDER, "--reason", text, code=2)
    assert answer.err.count("\n") == 1
    assert "is no code" in answer.err
    assert "scelle note" in answer.err
    assert ordered("request", "list", "--json").json["requests"] == []
    ordered("order", "release", ORDER, "--reason", "matter-closed", "--json")


def test_an_amendment_with_a_reason_in_words_seals_not_even_its_letter(ordered: Platform) -> None:
    (ordered.root / "letter.pdf").write_bytes(b"a letter")
    (ordered.root / "less.toml").write_text(
        '[amendment]\ndocument = "letter.pdf"\n[[clause]]\nid = "less"\nsources = ["docs"]\npaths = ["sub/*"]\n',
        encoding="utf-8",
    )
    before = log_size(ordered)
    answer = ordered(
        "order", "carve-out", ORDER, "--file", ordered.root / "less.toml", "--reason", TEXT, code=2
    )
    assert "is no code" in answer.err
    assert log_size(ordered) == before


@pytest.mark.parametrize(("step", "option"), [("authenticate", "--how"), ("review", "--ground")])
def test_steps_of_one_person_take_codes_too(ordered: Platform, step: str, option: str) -> None:
    before = log_size(ordered)
    assert "is no code" in ordered("order", step, ORDER, option, TEXT, code=2).err
    assert log_size(ordered) == before
    ordered("order", step, ORDER, option, "callback")


def test_no_request_is_sealed_with_free_text_whoever_asks(ordered: Platform) -> None:
    key = KeyChoice(key_file=ordered.root / "keys")
    with opened(ordered.vault, key, writing=True) as session:
        with pytest.raises(InputError, match="is no code"):
            ask(session, Act.RELEASE, ORDER, {}, TEXT)
        assert not session.people.requests
