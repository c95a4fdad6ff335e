"""A small ledger in a temporary folder, under a fixed vault key and a clock that is passed in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import NULL, content_value, structure_value, text_value
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import OrderLedger, OrderLedgerWriter, SignerMemory
from scelle.vault.keys import VaultKey

START_US = 1_770_000_000_000_000
ORIGIN = "platform.example/po/o1"
Opener = Callable[..., OrderLedgerWriter]


@pytest.fixture
def vault_key() -> VaultKey:
    return VaultKey(bytes(range(32)))


@pytest.fixture
def open_ledger(tmp_path: Path, vault_key: VaultKey) -> Iterator[Opener]:
    opened: list[OrderLedgerWriter] = []

    def opener(memory: SignerMemory | None = None) -> OrderLedgerWriter:
        ledger = OrderLedgerWriter.create(
            tmp_path, "o1", "platform.example", vault_key, authority=None, now_us=START_US, memory=memory
        )
        opened.append(ledger)
        return ledger

    yield opener
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Opener) -> OrderLedgerWriter:
    return open_ledger()


def reader(tmp_path: Path, vault_key: VaultKey) -> OrderLedger:
    return OrderLedger(tmp_path, "o1", ORIGIN, vault_key)


def add_documents(ledger: OrderLedgerWriter, count: int, alias: str = "s0001") -> SegmentWriter:
    writer = ledger.writer(alias, DOCUMENT_V1, START_US)
    for _ in range(count):
        number = writer.next_seq
        writer.append(
            bytes([number % 256]) * 32,
            START_US - number * 1_000_000,
            [
                NULL,
                text_value(f"docs/{number}.txt"),
                text_value("text/plain"),
                content_value(bytes(32), 7),
                content_value(bytes(32), 7),
                text_value("mtime"),
                structure_value(b"{}"),
            ],
            side=number.to_bytes(4, "big"),
        )
    return writer
