"""Show an order's checkpoints to others: a time-stamp authority, keepers of escrow folders."""

from dataclasses import dataclass, replace
from pathlib import Path

from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.errors import InputError
from scelle.formats.checkpoints import Checkpoint
from scelle.ledger.events import events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.ledger.witness import Witnesses


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Where an order's checkpoints go: a time-stamp authority, escrow folders."""

    tsa: str | None = None
    escrow: tuple[str, ...] = ()


def witnesses(ledger: OrderLedger) -> Witnesses:
    """Return what shows this log's checkpoints to others."""
    return Witnesses(ledger.log)


def show_to_witnesses(
    session: Session, ledger: OrderLedger, reason: str | None, settings: WitnessSettings
) -> list[str]:
    """Deposit and time-stamp the newest checkpoint as the order's settings say; return warnings.

    What cannot be reached now is queued and never fails the command: `status` says since when nobody else has
    seen the log.
    """
    warnings, now_us = [], session.now_us()
    shown = witnesses(ledger)
    if settings.tsa is not None:
        from scelle.timestamps.rfc3161 import Rfc3161Authority  # start-up time: needs TLS and ASN.1

        due = reason or ("daily" if shown.is_token_due(now_us) else None)
        if due is not None:
            shown.want_token(due, now_us)
        _, trouble = shown.fetch_tokens(Rfc3161Authority(settings.tsa), now_us)
        if trouble is not None:
            warnings.append(f"time-stamp queued: {trouble}")
    for directory in settings.escrow:
        if not Path(directory).is_dir():
            warnings.append(f"escrow folder {directory} is not there: nothing was deposited")
            continue
        shown.deposit(Path(directory), now_us)
    return warnings


def witness_settings(ledger: OrderLedger) -> WitnessSettings:
    """Return the newest settings sealed for this order."""
    settings = WitnessSettings()
    for event in events(ledger, "witnesses"):
        settings = WitnessSettings(tsa=event.body["tsa"], escrow=tuple(event.body["escrow"]))
    return settings


def set_witnesses(session: Session, ledger: OrderLedgerWriter, settings: WitnessSettings) -> None:
    """Seal where this order's checkpoints go from now on."""
    body = {"tsa": settings.tsa, "escrow": list(settings.escrow)}
    record_event(ledger, session.now_us(), session.actor, "witnesses", body)
    ledger.seal(session.now_us())


def timestamp_now(session: Session, ledger: OrderLedgerWriter, tsa: str | None) -> list[str]:
    """Ask for a token over the newest checkpoint and for all that are queued; return warnings."""
    from scelle.timestamps.rfc3161 import checked_address  # start-up time: needs TLS and ASN.1

    settings = witness_settings(ledger)
    if tsa is not None and tsa != settings.tsa:
        checked_address(tsa)
        settings = replace(settings, tsa=tsa)
        set_witnesses(session, ledger, settings)
    if settings.tsa is None:
        raise InputError(f"order {ledger.order} has no time-stamp authority: give one with --tsa URL")
    return show_to_witnesses(session, ledger, "asked", settings)


def add_escrow(session: Session, ledger: OrderLedgerWriter, directory: Path) -> tuple[Checkpoint, list[str]]:
    """Deposit the log in `directory`, now and after every later change; in the other folders as well.

    Return the checkpoint that lies there now, and warnings about the other folders.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder: make it, or mount it, first")
    refuse_in_vault(session, directory)
    place = str(directory.resolve())
    settings = witness_settings(ledger)
    witnesses(ledger).deposit(Path(place), session.now_us())  # refuses before anything is sealed
    if place not in settings.escrow:
        settings = replace(settings, escrow=(*settings.escrow, place))
        set_witnesses(session, ledger, settings)
    warnings = show_to_witnesses(session, ledger, None, replace(settings, tsa=None))
    return ledger.checkpoint, warnings
