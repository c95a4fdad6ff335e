"""Build adapters and wire services: the only place that does.

What every command may need stands here; checking, finding, productions and recovery are modules of their own, so
that no command starts slower for what it never calls.
"""

from scelle.bootstrap.acting import actor, now_us
from scelle.bootstrap.custody import (
    WitnessSettings,
    add_escrow,
    set_witnesses,
    show_to_witnesses,
    timestamp_now,
    witness_settings,
    witnesses,
)
from scelle.bootstrap.making import make_vault
from scelle.bootstrap.orders import (
    expected_items,
    note_order,
    refuse_capture,
    take_in_order,
)
from scelle.bootstrap.readable import readable_orders, refuse_disposed
from scelle.bootstrap.recovery import Moved, recover_log, was_drilled
from scelle.bootstrap.session import KeyChoice, Session, default_key_folder, opened, refuse_in_vault

__all__ = [
    "KeyChoice",
    "Moved",
    "Session",
    "WitnessSettings",
    "actor",
    "add_escrow",
    "default_key_folder",
    "expected_items",
    "make_vault",
    "note_order",
    "now_us",
    "opened",
    "readable_orders",
    "recover_log",
    "refuse_capture",
    "refuse_disposed",
    "refuse_in_vault",
    "set_witnesses",
    "show_to_witnesses",
    "take_in_order",
    "timestamp_now",
    "was_drilled",
    "witness_settings",
    "witnesses",
]
