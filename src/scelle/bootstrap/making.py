"""Make a vault and its own log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from scelle.bootstrap.acting import actor, now_us
from scelle.bootstrap.session import KeyChoice, default_key_folder, refuse_wrong_clock, signer_memory
from scelle.errors import InputError, IntegrityError
from scelle.ledger.events import record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter, order_folder
from scelle.operators.settings import CHANGED
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.vault import durable
from scelle.vault.service import OpenedVault, create_vault, open_vault


def make_vault(
    path: Path,
    host: str,
    key_choice: KeyChoice,
    recipients: Sequence[str],
    settings: Mapping[str, int] = MappingProxyType({}),
) -> OpenedVault:
    """Make a vault and its own log, with settings in microseconds; raise InputError before anything is written.

    A crash leaves no vault, or one whose own log does not begin yet: the same command again completes it.
    """
    refuse_wrong_clock(path, now_us())
    choice = key_choice
    if choice.key_file is None and choice.passphrase is None:
        folder = default_key_folder()
        durable.make_directory(folder)
        choice = KeyChoice(key_file=folder)
    vault = _unfinished_vault(path, host, choice, recipients) or create_vault(
        path, host=host, key_file=choice.key_file, passphrase=choice.passphrase, recipients=recipients
    )
    ledger = OrderLedgerWriter.create(
        path,
        RESERVED_ORDER_ID,
        host,
        vault.key,
        authority=None,
        now_us=now_us(),
        memory=signer_memory(vault, choice),
    )
    ledger.discard_uncommitted()  # of an attempt that a crash ended: a vault is made once
    record_event(
        ledger,
        now_us(),
        actor(),
        "vault.created",
        {"vault_id": vault.config.vault_id.hex(), "recipients": list(recipients)},
    )
    for setting, value_us in settings.items():
        record_event(
            ledger, now_us(), actor(), CHANGED, {"name": setting, "value_us": str(value_us), "request": None}
        )
    ledger.seal(now_us())
    ledger.close()
    return vault


def _unfinished_vault(
    path: Path, host: str, choice: KeyChoice, recipients: Sequence[str]
) -> OpenedVault | None:
    """Open a vault that the same command began to make and did not finish; None where there is none."""
    try:
        vault = open_vault(path, key_file=choice.key_file, passphrase=choice.passphrase)
    except (InputError, IntegrityError):
        return None
    if (vault.config.host, vault.config.recipients) != (host, tuple(recipients)):
        return None
    folder = order_folder(path, RESERVED_ORDER_ID)
    if (folder / "secrets").exists():
        ledger = OrderLedger(path, RESERVED_ORDER_ID, f"{host}/po/{RESERVED_ORDER_ID}", vault.key)
        if any(True for _ in ledger.manifests()):
            return None
    return vault
