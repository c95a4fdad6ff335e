"""`scelle key`: prove that the vault key can be restored."""

from pathlib import Path
from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit

app = typer.Typer(
    help="Prove that the vault key can be restored.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("drill")
def drill(
    identity: Annotated[Path, typer.Option(metavar="FILE", help="The age identity file of a recipient.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the vault key with a recipient's identity, compare it, and seal that it worked.

    Example: scelle key drill --identity recovery.txt
    """
    from scelle.ledger.events import record_event  # start-up time of --help
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.vault.recovery import prove_recovery
    from scelle.vault.service import read_config

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        proof = prove_recovery(vault, read_config(vault), identity)
        ledger = session.writer(RESERVED_ORDER_ID)
        record_event(ledger, session.now_us(), session.actor, "key.drill", {"recipient": proof.recipient})
        ledger.seal(session.now_us())
    document = {"restored": True, "vault_id": proof.vault_id.hex(), "recipient": proof.recipient}
    emit(document, [f"the vault key was restored with {proof.recipient}"], as_json)
