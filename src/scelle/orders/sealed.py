"""Write orders as they are sealed in the log's events, and read them back exactly."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from scelle.errors import FormatError
from scelle.orders.model import Moment, Order
from scelle.orders.types import Notify, OrderType, Temporal

ORDER_FORMAT: Final = "scelle/order/v1"
_MOMENTS: Final = ("issued", "received", "effective", "until", "secrecy_until", "acknowledge_by")
_TEXTS: Final = (
    "id",
    "matter",
    "authority",
    "legal_basis",
    "reference",
    "zone",
    "addressee",
    "validating_authority",
    "authority_key",
    "document",
)
_KEYS: Final = frozenset({*_MOMENTS, *_TEXTS, "type", "temporal", "notify", "format"})
_MOMENT_TEXT: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{6})?(Z|[+-]\d\d:\d\d(:\d\d)?))?")

_Choice = TypeVar("_Choice", bound=StrEnum)


def order_to_json(order: Order) -> dict[str, object]:
    """Return the order as strings, integers, null and lists; a moment is [text, microseconds]."""
    value: dict[str, object] = {"format": ORDER_FORMAT}
    value |= {key: getattr(order, key) for key in _TEXTS}
    value |= {key: str(getattr(order, key)) for key in ("type", "temporal", "notify")}
    for key in _MOMENTS:
        moment: Moment | None = getattr(order, key)
        value[key] = None if moment is None else [moment.text, moment.at_us]
    return value


def order_from_json(value: Mapping[str, object]) -> Order:
    """Return the order that ``order_to_json`` wrote; raise FormatError for anything else."""
    if value.get("format") != ORDER_FORMAT:
        raise FormatError(f"sealed order, format: is {value.get('format')!a}, must be {ORDER_FORMAT}")
    if set(value) != _KEYS:
        raise FormatError(f"sealed order: keys differ by {sorted(set(value) ^ _KEYS)}")
    return Order(
        id=_text(value, "id"),
        matter=_text(value, "matter"),
        type=_choice(value, "type", OrderType),
        authority=_text(value, "authority"),
        legal_basis=_text(value, "legal_basis"),
        reference=_text(value, "reference"),
        issued=_moment(value, "issued"),
        received=_moment(value, "received"),
        zone=_text(value, "zone"),
        temporal=_choice(value, "temporal", Temporal),
        notify=_choice(value, "notify", Notify),
        addressee=_optional_text(value, "addressee"),
        effective=moment_from_json(value, "effective"),
        until=moment_from_json(value, "until"),
        secrecy_until=moment_from_json(value, "secrecy_until"),
        acknowledge_by=moment_from_json(value, "acknowledge_by"),
        validating_authority=_optional_text(value, "validating_authority"),
        authority_key=_optional_text(value, "authority_key"),
        document=_optional_text(value, "document"),
    )


def _text(value: Mapping[str, object], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text:
        raise FormatError(f"sealed order, {key}: must be a string that is not empty")
    return text


def _optional_text(value: Mapping[str, object], key: str) -> str | None:
    return None if value[key] is None else _text(value, key)


def _choice(value: Mapping[str, object], key: str, choices: type[_Choice]) -> _Choice:
    try:
        return choices(_text(value, key))
    except ValueError as error:
        raise FormatError(f"sealed order, {key}: {value[key]!a} is not known to this version") from error


def _moment(value: Mapping[str, object], key: str) -> Moment:
    match value[key]:
        case [str(text), int(at_us)] if _MOMENT_TEXT.fullmatch(text) and not isinstance(at_us, bool):
            return _checked(Moment(text, at_us), key)
    raise FormatError(f"sealed order, {key}: must be [date or time, microseconds]")


def _checked(moment: Moment, key: str) -> Moment:
    try:
        moment.day  # noqa: B018 - a text such as 2026-02-30 has no day
    except ValueError as error:
        raise FormatError(f"sealed order, {key}: {moment.text} is no date") from error
    return moment


def moment_from_json(value: Mapping[str, object], key: str) -> Moment | None:
    """Return a sealed moment, [text, microseconds] or null; raise FormatError for anything else."""
    return None if value[key] is None else _moment(value, key)
