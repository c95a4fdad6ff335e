"""Restore a sealed git repository, and seal that this was done."""

import os
from pathlib import Path

from scelle.bootstrap.custody import show_to_witnesses, witness_settings
from scelle.bootstrap.readable import refuse_disposed
from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.ledger.events import record_event
from scelle.orders.service import sealed_order
from scelle.release.quarantine import quarantined
from scelle.restore.repositories import RestoredRepository, check_repository, restore_repository
from scelle.sources.git.restore import refuse_folder


def restore_git(
    session: Session, order: str, source: str, to: Path, *, with_deleted: bool
) -> tuple[RestoredRepository, list[str]]:
    """Seal that a repository is restored, then write it; return the report and warnings.

    Sealed first: a crash in between leaves an event without a repository, never a repository that nobody knows of.
    """
    refuse_in_vault(session, to)
    refuse_folder(to)
    refuse_disposed(session, order)
    ledger = session.order_writer(order)
    alias = sealed_order(ledger).alias_of(source)
    check_repository(ledger, alias)
    name = os.fsencode(to.name).decode("utf-8", "backslashreplace")
    record_event(ledger, session.now_us(), session.actor, "git.restored", {"source": alias, "folder": name})
    ledger.seal(session.now_us())
    warnings = show_to_witnesses(session, ledger, None, witness_settings(ledger))
    left_out = quarantined(ledger)
    if left_out:
        warnings.append("what is quarantined was left out, and whatever needs it is listed as failed")
    report = restore_repository(
        ledger, session.packs, alias, to, with_deleted=with_deleted, left_out=left_out
    )
    return report, warnings
