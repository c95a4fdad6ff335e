"""What a session seals bears the session's clock and actor, and never the machine's own."""

import ast
from pathlib import Path

import scelle
from scelle.bootstrap import WitnessSettings, now_us, set_witnesses
from scelle.bootstrap.custody import add_escrow
from scelle.ledger.events import events

from .conftest import ORDER, Platform
from .test_operators import HOUR_US, at, staff

OF_THE_MACHINE = {"acting.py", "making.py", "session.py", "__init__.py"}
"""Where there is no session yet, and where its clock is chosen."""


def test_no_command_asks_the_machine_for_the_time_where_a_session_has_it() -> None:
    found = []
    root = Path(scelle.__file__).parent
    for path in (*root.glob("bootstrap/*.py"), *root.glob("cli/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "now_us" and path.name not in OF_THE_MACHINE:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_settings_of_witnesses_bear_the_sessions_time_and_operator(ordered: Platform) -> None:
    staff(ordered, alice="counsel", bob="counsel")
    time_us = now_us() + HOUR_US
    escrow = ordered.root / "escrow"
    escrow.mkdir()
    with at(ordered, time_us, "alice") as session:
        ledger = session.order_writer(ORDER)
        set_witnesses(session, ledger, WitnessSettings())
        add_escrow(session, ledger, escrow)
        sealed = list(events(ledger, "witnesses"))
    assert [(each.time_us, each.actor) for each in sealed] == [(time_us, "operator:alice")] * 2
