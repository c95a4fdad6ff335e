"""Permit a deletion in two phases, for application code that asks by a command: ask for a token, then confirm it.

Between both the application takes its own lock on the item. The guard decides each time; what the token adds is that
whoever widens what is held waits until it is over, so that a deletion which was confirmed in time is never overtaken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from scelle.bootstrap.guarding import Answer, may_delete
from scelle.bootstrap.session import Session
from scelle.errors import InputError
from scelle.guard.leases import LIFE_MAX_S, LIFE_S, Lease, asked_digest, is_token, note_lease, read_lease

_SECOND_US: Final = 1_000_000


class WhyNot(StrEnum):
    """Why a token is not confirmed."""

    HELD = "held"
    """The only one of a question without a token, too."""
    LATE = "late"
    """Its life is over."""
    UNKNOWN = "unknown"
    """The vault has no such token: it is over and was taken away, was changed, or never given."""
    OTHER = "other"
    """It was given for other items, another source, account or time."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What the guard says of items, and why they may not be deleted; None where they may.

    ``token`` is what was asked for or confirmed, ``expires_us`` until when it permits anything, in microseconds.
    """

    answers: tuple[Answer, ...]
    why: WhyNot | None
    token: str | None = None
    expires_us: int | None = None


def decide(
    session: Session,
    source: str,
    natives: Sequence[bytes],
    *,
    account: str | None = None,
    time_us: int | None = None,
) -> Permission:
    """Decide over items without a token; raises what `may_delete` raises."""
    answers = tuple(may_delete(session, source, natives, account=account, time_us=time_us))
    return Permission(answers, WhyNot.HELD if any(each.held for each in answers) else None)


def ask_permission(
    session: Session,
    source: str,
    natives: Sequence[bytes],
    *,
    account: str | None = None,
    time_us: int | None = None,
    life_s: int = LIFE_S,
) -> Permission:
    """Decide over items, and give a token where none is held, which lives for `life_s` seconds, 1 to LIFE_MAX_S.

    Raises what `may_delete` raises, and StorageError.
    """
    if not 1 <= life_s <= LIFE_MAX_S:
        raise InputError(f"a token lives for 1 to {LIFE_MAX_S} seconds, not {life_s}")
    decided = decide(session, source, natives, account=account, time_us=time_us)
    if decided.why is not None:
        return decided
    made_us = session.now_us()
    asked = asked_digest(source, natives, account, time_us)
    lease = Lease(asked, made_us, made_us + life_s * _SECOND_US)
    token = note_lease(session.path, session.key, lease)
    return replace(decided, token=token, expires_us=lease.expires_us)


def confirm_permission(
    session: Session,
    source: str,
    natives: Sequence[bytes],
    token: str,
    *,
    account: str | None = None,
    time_us: int | None = None,
) -> Permission:
    """Decide anew over the items of a token, right before they are deleted: by `expires_us` that must be over.

    A token may be confirmed again while it lives. Raises what `may_delete` raises, and InputError for what is no token.
    """
    if not is_token(token):
        raise InputError("what is to be confirmed is no token: give the one that `may-delete --token` gave")
    lease = read_lease(session.path, session.key, token)  # first: a new claim waits for what is there by then
    decided = decide(session, source, natives, account=account, time_us=time_us)
    if decided.why is not None:
        return replace(decided, token=token)
    if lease is None:
        return replace(decided, token=token, why=WhyNot.UNKNOWN)
    if lease.asked != asked_digest(source, natives, account, time_us):
        return replace(decided, token=token, why=WhyNot.OTHER)
    if lease.is_over(session.now_us()):
        return replace(decided, token=token, why=WhyNot.LATE)
    return replace(decided, token=token, expires_us=lease.expires_us)
