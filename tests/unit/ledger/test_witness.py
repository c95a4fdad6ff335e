import shutil
from pathlib import Path

import pytest

from scelle.errors import EscrowInconsistent, LogDamaged, StorageFailed, TimestampUnavailable
from scelle.ledger.events import record_event
from scelle.ledger.service import OrderLedgerWriter
from scelle.ledger.witness import DAY_US, Shown, Witnesses

from .conftest import START_US, Opener


class Unreachable:
    """An authority that is off-line."""

    def request(self, digest: bytes) -> bytes:
        raise TimestampUnavailable("authority is off-line")


def grow(ledger: OrderLedgerWriter) -> None:
    record_event(ledger, START_US, "op-1", "preview", {})
    ledger.seal(START_US + 1)


def test_a_deposit_ends_the_time_in_which_the_log_could_be_rewritten_unseen(
    ledger: OrderLedgerWriter, tmp_path: Path
) -> None:
    witnesses = Witnesses(ledger.log)
    assert witnesses.rewritable_since(START_US) == START_US
    witnesses.deposit(tmp_path / "notary", START_US + 5)
    assert witnesses.rewritable_since(START_US) is None
    grow(ledger)
    assert witnesses.rewritable_since(START_US) == START_US + 5


def test_deposits_follow_the_log_and_may_be_repeated(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    witnesses = Witnesses(ledger.log)
    for _ in range(3):
        grow(ledger)
        witnesses.deposit(tmp_path / "notary", START_US)
        witnesses.deposit(tmp_path / "notary", START_US)
    held = tmp_path / "notary" / "platform.example_po_o1"
    assert (held / "checkpoint").read_bytes() == ledger.log.note
    assert {path.name for path in held.glob("checkpoint.*")} == {
        "checkpoint.2",
        "checkpoint.3",
        "checkpoint.4",
    }


def test_a_rebuilt_log_is_refused_by_the_escrow_it_contradicts(open_ledger: Opener, tmp_path: Path) -> None:
    ledger = open_ledger()
    grow(ledger)
    Witnesses(ledger.log).deposit(tmp_path / "notary", START_US)
    ledger.close()
    shutil.rmtree(tmp_path / "po" / "o1" / "seg")
    shutil.rmtree(tmp_path / "po" / "o1" / "log")
    rebuilt = open_ledger()
    record_event(rebuilt, START_US + 7, "op-1", "preview", {"other": "history"})
    rebuilt.seal(START_US + 8)
    with pytest.raises(EscrowInconsistent, match="no prefix of this log"):
        Witnesses(rebuilt.log).deposit(tmp_path / "notary", START_US)


def test_junk_in_the_escrow_folder_is_refused(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    held = tmp_path / "notary" / "platform.example_po_o1"
    held.mkdir(parents=True)
    (held / "checkpoint").write_bytes(b"junk")
    with pytest.raises(EscrowInconsistent, match="no checkpoint can be read"):
        Witnesses(ledger.log).deposit(tmp_path / "notary", START_US)


def test_a_token_is_queued_while_the_authority_is_off_line(ledger: OrderLedgerWriter) -> None:
    witnesses = Witnesses(ledger.log)
    witnesses.want_token("item-zero", START_US)
    witnesses.want_token("item-zero", START_US)
    assert [pending.reason for pending in witnesses.pending()] == ["item-zero"]
    assert witnesses.fetch_tokens(Unreachable(), START_US) == (0, "authority is off-line")
    assert len(witnesses.pending()) == 1
    assert witnesses.rewritable_since(START_US) == START_US


def test_the_daily_token_is_due_only_when_the_log_grew(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    witnesses = Witnesses(ledger.log)
    assert witnesses.is_token_due(START_US)
    name = f"{ledger.log.size}-{ledger.log.root.hex()}"
    folder = tmp_path / "po" / "o1" / "log" / "tokens"
    folder.mkdir()
    (folder / f"{name}.json").write_text(f'{{"at_us": {START_US}, "how": "time-stamp token"}}')
    assert not witnesses.is_token_due(START_US + 2 * DAY_US)
    grow(ledger)
    assert not witnesses.is_token_due(START_US + DAY_US - 1)
    assert witnesses.is_token_due(START_US + DAY_US)


def only_shown(witnesses: Witnesses) -> Shown:
    (shown,) = witnesses.shown()
    return shown


def test_a_folder_with_and_in_its_name_is_noted_once(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    witnesses = Witnesses(ledger.log)
    for _ in range(2):
        for name in ("a and b", "a", "b"):
            witnesses.deposit(tmp_path / name, START_US)
    how = f"escrow {tmp_path}/a and b and escrow {tmp_path}/a and escrow {tmp_path}/b"
    assert only_shown(witnesses).how == how


def test_what_is_a_token_is_told_by_the_folder(ledger: OrderLedgerWriter, tmp_path: Path) -> None:
    witnesses = Witnesses(ledger.log)
    name = f"{ledger.log.size}-{ledger.log.root.hex()}.json"
    for folder in ("escrow", "tokens"):
        path = tmp_path / "po" / "o1" / "log" / folder / name
        path.parent.mkdir()
        path.write_text(f'{{"at_us": {START_US}, "how": "time-stamp token"}}')
    assert [shown.is_token for shown in witnesses.newest_shown()] == [False, True]


def test_a_statement_that_cannot_be_read_is_not_called_damaged(
    ledger: OrderLedgerWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witnesses = Witnesses(ledger.log)
    witnesses.deposit(tmp_path / "notary", START_US)
    (statement,) = (tmp_path / "po" / "o1" / "log" / "escrow").iterdir()
    statement.write_bytes(b"{}")
    with pytest.raises(LogDamaged, match="remove it, and deposit again"):
        only_shown(witnesses)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StorageFailed, match=r"Permission denied: .* give back the right to read it"):
        only_shown(witnesses)
