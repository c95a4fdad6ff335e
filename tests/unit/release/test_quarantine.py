"""The fold of quarantine events, and codes."""

import pytest

from scelle.errors import QuarantineWrong
from scelle.ledger.events import Event
from scelle.release.quarantine import GROUNDS, Quarantined, by_segment, quarantine_of, read_ground


def event(kind: str, **body: object) -> Event:
    return Event(0, 7, "tester", kind, body)


def test_an_item_is_quarantined_until_it_is_let_out() -> None:
    into = event(
        "quarantined", items=["i1", "i2"], places={"i1": [[3, 5]], "i2": []}, ground="private", request="q1"
    )
    out = event("quarantine.lifted", items=["i2"], places={}, request="q2")
    assert quarantine_of([into, out]) == {"i1": Quarantined("i1", ((3, 5),), "private", "q1", 7)}
    assert set(quarantine_of([into, out, into])) == {"i1", "i2"}


def test_places_are_parted_by_segment() -> None:
    assert by_segment([(3, 5), (4, 0), (3, 6)]) == {3: {5, 6}, 4: {0}}


@pytest.mark.parametrize("code", [*GROUNDS, "source-protection-2"])
def test_a_ground_is_one_that_has_a_name_or_any_other_code(code: str) -> None:
    assert read_ground(code) == code


@pytest.mark.parametrize("code", ["", "-", "Private", "a b", "a" * 64])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(QuarantineWrong):
        read_ground(code)
