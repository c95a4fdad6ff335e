"""Lose the power at every step between a record and its promise: whoever holds one holds what the vault keeps."""

import secrets
import shutil
from pathlib import Path
from typing import Literal

import pytest

from scelle.bootstrap.handing_over import HandingOver
from scelle.formats.notes import parse_note
from scelle.formats.promises import parse_promise
from scelle.ledger.promise_check import PromiseJudge, judge_all
from scelle.ledger.promising import commitments, promise_durable
from scelle.ledger.service import OrderLedgerWriter
from scelle.ledger.witness import Witnesses
from scelle.merkle.hashing import tree_root
from scelle.vault import durable
from scelle.vault.durable import Step
from scelle.vault.keys import VaultKey
from tests.crash.disk import Shadow
from tests.unit.ledger.conftest import START_US, add_documents

KEY = VaultKey(bytes(range(32)))


class PowerLost(BaseException):
    """Nothing that was not durable is there any more."""


def opened(vault: Path) -> OrderLedgerWriter:
    return OrderLedgerWriter.create(vault, "o1", "platform.example", KEY, authority=None, now_us=START_US)


def go_on(ledger: OrderLedgerWriter, held: Path, rounds: int) -> None:
    """Append, make durable, promise, hand over and seal, as a watch does."""
    handing = HandingOver(held, lambda text, is_well: None, lambda: 0.0)
    for _ in range(rounds):
        add_documents(ledger, 3)
        ledger.flush()
        promise_durable(ledger, ["s0001"], lambda: secrets.token_bytes(16), START_US)
        handing.hand_over(ledger)
    ledger.seal(START_US + 1)
    add_documents(ledger, 1)
    ledger.flush()


def lose_power_at(root: Path, number: int, mode: Literal["lost", "kept"]) -> bool:
    """Lose the power at one step, and look at what is there; tell whether there was such a step."""
    vault, left, held = root / "vault", root / "left", root / "held"
    held.mkdir(parents=True)
    vault.mkdir()
    ledger = opened(vault)
    shadow, count = Shadow(vault), 0

    def observe(step: Step, when: Literal["before", "after"]) -> None:
        nonlocal count
        shadow.observe(step, when)
        if when == ("before" if mode == "lost" else "after"):
            count += 1
            if count > number:
                raise PowerLost

    try:
        with durable.observed(observe):
            go_on(ledger, held, 2)
    except PowerLost:
        pass
    else:
        return False
    shadow.materialise(left)
    ledger.close()
    again = opened(left)
    for path in held.glob("*.promise"):
        promise = parse_promise(parse_note(path.read_bytes()).text)
        assert again.promises.find(promise.batch) == path.read_bytes(), "it is not the vault's"
        assert tree_root(commitments(again, "s0001", *promise.seq)) == promise.batch_root, "records are gone"
    given = {path.name: path.read_bytes() for path in held.iterdir()}
    go_on(again, held, 1)
    assert given.items() <= {path.name: path.read_bytes() for path in held.iterdir()}.items()
    Witnesses(again.log).deposit(root / "notary", START_US + 2)
    notes = [(path.name, path.read_bytes()) for path in sorted(held.glob("*.promise"))]
    assert {each.state.value for each in judge_all(PromiseJudge(again, START_US), notes)} == {"kept"}
    again.close()
    return True


@pytest.mark.parametrize("mode", ["lost", "kept"])
def test_the_power_is_lost_at_every_step(tmp_path: Path, mode: Literal["lost", "kept"]) -> None:
    number = 0
    while lose_power_at(tmp_path / str(number), number, mode):
        shutil.rmtree(tmp_path / str(number))
        number += 1
    assert number > 30
