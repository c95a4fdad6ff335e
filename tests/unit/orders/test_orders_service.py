from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.errors import AccountsNotLoaded, OrderAccountsUnreadable, OrderExists
from scelle.formats.values import content_value, text_value
from scelle.ledger.events import events
from scelle.ledger.service import ORDER_SOURCE, OrderLedgerWriter
from scelle.orders.intake import OrderFile, read_order_file
from scelle.orders.service import add_order, sealed_order, with_accounts
from scelle.scope import ItemView, compile_clauses
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


IDS = b"4711\r\n4712\r\n\r\n4711\r\n"
BY_FILE = (
    TOML
    + "accounts_file = 'ids.txt'\n\n[[clause]]\nid = 'two'\nsources = ['docs']\naccounts_file = 'ids.txt'\n"
)


def taken_in(folder: Path, packs: PackStore, order_file: OrderFile) -> OrderLedgerWriter:
    source = {"docs": {"name": "docs", "url": "files:///srv/docs", "custodian": None, "account": None}}
    return add_order(
        folder, "platform.example", KEY, packs, order_file, source, now_us=START_US, actor="op-1"
    )


def test_a_file_of_accounts_is_kept_and_read_again_although_it_changed(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(IDS)
    (tmp_path / "order.toml").write_text(BY_FILE)
    order_file = read_order_file(tmp_path / "order.toml")
    with PackStore(MemoryBackend(), KEY, MemoryContentIndex(), background=False) as packs:
        ledger = taken_in(tmp_path, packs, order_file)
        (tmp_path / "ids.txt").write_bytes(b"nobody\n")
        sealed = sealed_order(ledger)
        assert sealed.clauses == order_file.clauses
        with pytest.raises(AccountsNotLoaded):
            compile_clauses(sealed.clauses)
        decide = compile_clauses(with_accounts(sealed, packs).clauses)
        item = ItemView("docs", b"a", 0, "", None, "4712")
        assert decide(item).clause_ids == ("all", "two")
        assert not decide(item._replace(account="nobody")).covered
        (manifest,) = [m for _, m in ledger.manifests() if m.source == ORDER_SOURCE]
        with closing(ledger.segment(manifest)) as segment:
            rows = [row.split_values() for row in segment.rows()]
        toml, ids = rows  # each once, and item zero first
        assert toml[3] == text_value("order.toml")
        assert ids[3] == text_value("ids.txt")
        assert ids[5] == content_value(sha256(IDS).digest(), len(IDS))
        assert packs.read_bytes(sha256(IDS).digest()) == IDS
        ledger.close()


def test_a_file_of_accounts_that_changes_while_the_order_is_taken_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(IDS)
    (tmp_path / "order.toml").write_text(BY_FILE)
    order_file = read_order_file(tmp_path / "order.toml")
    (tmp_path / "ids.txt").write_bytes(IDS + b"4713\n")
    with PackStore(MemoryBackend(), KEY, MemoryContentIndex(), background=False) as packs:
        with pytest.raises(OrderAccountsUnreadable, match="changed while"):
            taken_in(tmp_path, packs, order_file)
        again = read_order_file(tmp_path / "order.toml")
        ledger = taken_in(tmp_path, packs, again)
        assert with_accounts(sealed_order(ledger), packs).clauses == again.clauses
        ledger.close()
