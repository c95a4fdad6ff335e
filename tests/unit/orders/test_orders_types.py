"""The table of types: complete, marked, and the same in the documentation."""

import re
from pathlib import Path

import pytest

from scelle.orders import TYPES, ErasureBasis, Kind, OrderType, types_table
from scelle.orders.days import load_zone
from scelle.orders.intake import _ORDER_KEYS, CLAUSE_KEYS
from scelle.orders.types import Bound

DOCS = Path(__file__).parents[3] / "docs" / "orders.md"
HOLDS = {
    "dsa-retention", "epoc-pr", "epoc", "budapest-domestic", "budapest-mla", "us-2703f", "us-2258a-h",
    "us-civil-hold", "fr-60-2", "fr-l34-1", "uk-dpn", "uk-csea-retention", "eu-tco-art6",
    "ie-2011-7a", "internal",
}  # fmt: skip
DEADLINES = {
    "dsa-rfi-simple", "dsa-rfi-decision", "dsa-interim", "dsa-art9", "dsa-art10", "fr-requisition", "uk-s100",
    "uk-cin", "gdpr-58-1", "ai-act-91",
}  # fmt: skip


def test_every_type_is_a_hold_or_a_deadline_as_the_fact_base_says() -> None:
    assert set(TYPES) == set(OrderType)
    assert {t.value for t, rule in TYPES.items() if rule.kind is Kind.HOLD} == HOLDS
    assert {t.value for t, rule in TYPES.items() if rule.kind is Kind.DEADLINE_ONLY} == DEADLINES


@pytest.mark.parametrize("type", OrderType)
def test_rows_are_whole(type: OrderType) -> None:
    rule = TYPES[type]
    assert rule.mark in {"V", "S", "M", "D"}
    assert re.fullmatch(r"[a-z0-9-]+", type.value)
    assert (rule.kind is Kind.DEADLINE_ONLY) == (rule.clock.bound is Bound.NONE)
    assert (rule.kind is Kind.DEADLINE_ONLY) == (rule.erasure is ErasureBasis.NONE)
    if rule.clock.period is not None or rule.clock.answer is not None:
        assert rule.clock.starts
    if rule.usual_zone is not None:
        load_zone(rule.usual_zone)
    for text in (
        rule.title,
        rule.extension,
        rule.ends,
        rule.acknowledgement,
        rule.notify_source,
        rule.source,
    ):
        assert text
        assert "|" not in text
    assert re.search(r"\[[VSMD]\]$", rule.notify_source)
    for fact in (rule.extension, rule.ends, rule.acknowledgement):
        assert re.search(r"\[[VSMD]\]", fact) or fact in {
            "none",
            "not known",
            "by the authority",
            "the answer",
        }
    if rule.prolongation is not None:
        assert re.search(r"\[[VSMD]\]", rule.extension)
        assert rule.kind is Kind.HOLD


def test_types_whose_clock_opens_and_that_the_law_prolongs() -> None:
    assert {t.value for t, rule in TYPES.items() if rule.open_on_production} == {"epoc-pr", "budapest-mla"}
    known = {t.value: str(rule.prolongation.period) for t, rule in TYPES.items() if rule.prolongation}
    assert known == {
        "epoc-pr": "30 days",
        "budapest-domestic": "90 days",
        "us-2703f": "90 days",
        "fr-60-2": "1 year",
        "uk-dpn": "6 months",
    }


def test_orders_that_are_not_of_the_union_are_no_ground_of_union_law() -> None:
    for type in OrderType:
        if type.value.startswith("us-"):
            assert TYPES[type].erasure in {ErasureBasis.ASSESS, ErasureBasis.CLAIMS}
        if type.value.startswith("uk-"):
            assert TYPES[type].erasure is not ErasureBasis.UNION_LAW


def test_the_documentation_has_this_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    found = text.partition("<!-- types_table begins -->\n")[2].partition("<!-- types_table ends -->")[0]
    assert found.strip() == types_table().strip()


def test_the_documentation_names_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for key in _ORDER_KEYS + CLAUSE_KEYS:
        assert f"| `{key}` |" in text
