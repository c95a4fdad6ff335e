"""Take orders in and read their clocks."""

from scelle.orders.clocks import ClockReading, Phase, Reading, days_left, hold_end, next_step, phase
from scelle.orders.intake import OrderFile, check_sources, read_order_file
from scelle.orders.model import Moment, Order, random_order_id
from scelle.orders.sealed import order_from_json, order_to_json
from scelle.orders.types import (
    TYPES,
    ErasureBasis,
    Kind,
    Notify,
    OrderType,
    Temporal,
    TypeRule,
    types_table,
)

__all__ = [
    "TYPES",
    "ClockReading",
    "ErasureBasis",
    "Kind",
    "Moment",
    "Notify",
    "Order",
    "OrderFile",
    "OrderType",
    "Phase",
    "Reading",
    "Temporal",
    "TypeRule",
    "check_sources",
    "days_left",
    "hold_end",
    "next_step",
    "order_from_json",
    "order_to_json",
    "phase",
    "random_order_id",
    "read_order_file",
    "types_table",
]
