from pathlib import Path

import pytest

from scelle.errors import OrderExists
from scelle.ledger.events import events
from scelle.ledger.service import ORDER_SOURCE, OrderLedgerWriter
from scelle.orders.intake import read_order_file
from scelle.orders.service import add_order, sealed_order
from scelle.vault.keys import VaultKey
from scelle.vault.memory import MemoryBackend, MemoryContentIndex
from scelle.vault.packs import PackStore

START_US = 1_770_000_000_000_000
KEY = VaultKey(bytes(range(32)))
TOML = """\
[order]
id = "o-1"
matter = "m-1"
type = "dsa-retention"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "R/1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "all"
sources = ["docs"]
"""


def added(folder: Path, toml: str = TOML) -> OrderLedgerWriter:
    (folder / "order.toml").write_text(toml)
    order_file = read_order_file(folder / "order.toml")
    source = {"docs": {"name": "docs", "url": "files:///srv/docs", "custodian": None, "account": None}}
    with PackStore(MemoryBackend(), KEY, MemoryContentIndex(), background=False) as packs:
        return add_order(
            folder, "platform.example", KEY, packs, order_file, source, now_us=START_US, actor="op-1"
        )


class Crashed(Exception):
    """The machine stopped."""


def test_an_attempt_that_a_crash_ended_leaves_nothing_in_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of that attempt are durable in open segments: sealed with the next one, they would stand twice."""
    begun: list[OrderLedgerWriter] = []

    def crash(ledger: OrderLedgerWriter, now_us: int) -> bytes:
        begun.append(ledger)
        ledger.flush()
        raise Crashed

    with monkeypatch.context() as patch:
        patch.setattr(OrderLedgerWriter, "seal", crash)
        with pytest.raises(Crashed):
            added(tmp_path, TOML.replace("R/1", "R/0"))
    begun[0].close()
    ledger = added(tmp_path)
    assert [event.kind for event in events(ledger)] == ["received", "clause", "source"]
    assert sealed_order(ledger).order.reference == "R/1"
    assert [m.records for _, m in ledger.manifests() if m.source == ORDER_SOURCE] == [1]
    ledger.close()
    with pytest.raises(OrderExists):
        added(tmp_path)
