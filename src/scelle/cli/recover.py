"""`scelle recover`: go on after a snapshot was restored, in the open."""

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, utc
from scelle.operators.model import Power


def recover(
    order: OrderArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a restored lock forward to the published checkpoint, and record the gap.

    Only where every published entry is still there: a log that lost entries it has shown must first be
    restored from escrow. ORDER may be `vault`, the vault's own log.

    Example: scelle recover ec-2026-0108
    """
    from scelle.bootstrap import recover_log  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        now_us = session.now_us()
        moved = recover_log(session, order, now_us)
    document = {"order": order, "from_size": moved.old_size, "to_size": moved.new_size, "at": utc(now_us)}
    line = (
        f"lock of {order} moved from size {moved.old_size} to {moved.new_size}; the gap is in the log"
        if moved.new_size != moved.old_size
        else f"nothing to recover: the lock of {order} agrees with what was shown"
    )
    emit(document, [line], as_json)
