"""Sealed orders: they come back exactly, and nothing else is taken for one."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.orders import Moment, Order, order_from_json, order_to_json, random_order_id, read_order_file

FIXTURES = Path(__file__).parents[3] / "fixtures" / "orders"
ORDER = read_order_file(FIXTURES / "dsa-retention.toml").order


def test_orders_come_back_exactly() -> None:
    full = replace(
        ORDER,
        acknowledge_by=Moment("2026-01-20T15:00:00.000001+01:00", 7),
        validating_authority="Court of Exampleton",
        authority_key="any text",
    )
    told = [
        field.name for field in fields(Order) if field.name != "extended_by"
    ]  # which comes of a later event
    assert None not in {getattr(full, name) for name in told}
    for order in (ORDER, full, replace(ORDER, until=None, effective=None, addressee=None, document=None)):
        sealed = canonical_json(order_to_json(order))
        assert order_from_json(parse_json_strict(sealed)) == order


def test_sealed_orders_hold_plain_values_only() -> None:
    def plain(value: object) -> bool:
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int)

    assert all(map(plain, order_to_json(ORDER).values()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "scelle/order/v2"),
        ("format", None),
        ("id", ""),
        ("id", 1),
        ("matter", None),
        ("type", "DSA_RETENTION"),
        ("type", None),
        ("temporal", "x"),
        ("notify", ["permitted"]),
        ("addressee", ""),
        ("issued", None),
        ("issued", "2026-01-08"),
        ("issued", ["2026-01-08"]),
        ("issued", ["2026-01-08", "1"]),
        ("issued", ["2026-01-08", True]),
        ("issued", ["2026-01-08", 1.0]),
        ("issued", ["2026-1-8", 1]),
        ("issued", ["2026-02-30", 1]),
        ("issued", ["2026-01-08T14:00:00", 1]),
        ("until", ["", 1]),
        ("until", [None, 1]),
    ],
)
def test_refuses_sealed_values(key: str, value: object) -> None:
    with pytest.raises(FormatError):
        order_from_json({**order_to_json(ORDER), key: value})


def test_refuses_sealed_keys() -> None:
    sealed = order_to_json(ORDER)
    with pytest.raises(FormatError, match="more"):
        order_from_json({**sealed, "more": 1})
    del sealed["until"]
    with pytest.raises(FormatError, match="until"):
        order_from_json(sealed)


def test_random_ids_are_made_of_entropy_alone() -> None:
    assert random_order_id(bytes(10)) == "a" * 16
    assert random_order_id(b"\xff" * 10) == "7" * 16
    with pytest.raises(ValueError, match="10 random bytes"):
        random_order_id(bytes(9))
