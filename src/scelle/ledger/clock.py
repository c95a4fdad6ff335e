"""Compare the machine's clock with the last commit that the vault's logs show.

A time that is once sealed stays: a watermark in the future says for ever that a source was captured up to then. So a
clock that ran far ahead is refused before anything is sealed, and one that ran back is said aloud: watermarks go on
from the last one (ledger.md §4), whatever the clock says.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from scelle.errors import ClockAhead, FormatError, InputError
from scelle.formats.notes import ML_DSA_44, PAYLOAD_BYTES, parse_note
from scelle.ledger.model import LogState

CONFIRMED_BY: Final = "SCELLE_TODAY"
_FIRST_US: Final = 1_767_225_600_000_000  # 2026-01-01: no Scellé is older
_DAY_S: Final = 86_400
AHEAD_MAX_US: Final = 92 * _DAY_S * 1_000_000
BACK_MAX_US: Final = 5 * 60 * 1_000_000


def newest_commit_us(vault: Path) -> int | None:
    """Return the newest time that a published checkpoint of any log says, in microseconds; None without one.

    Claimed, not verified: what cannot be read is passed over, and named by `verify`.
    """
    return max(
        (time for each in (vault / "po").glob("*/log/checkpoint") for time in _times(each)), default=None
    )


def _times(checkpoint: Path) -> list[int]:
    try:
        signatures = parse_note(checkpoint.read_bytes()).signatures
    except (OSError, FormatError):
        return []
    times = [
        int.from_bytes(line.payload[:8], "big")
        for line in signatures
        if len(line.payload) == PAYLOAD_BYTES[ML_DSA_44]
    ]
    return [seconds * 1_000_000 for seconds in times]


def check_clock(now_us: int, newest_us: int | None, confirmed: str | None) -> None:
    """Raise `ClockAhead` where the clock is far ahead of what was sealed last.

    `confirmed` is the date (UTC) on which a person has compared the clock, and lets it pass on that day. Without a
    commit to compare with, a clock before 2026 is refused.
    """
    if newest_us is None:
        if now_us < _FIRST_US:
            raise ClockAhead(f"the clock of this machine says {_text(now_us)}: set it first")
        return
    if now_us - newest_us > AHEAD_MAX_US and not _is_confirmed(now_us, confirmed):
        raise ClockAhead(
            f"the clock of this machine says {_text(now_us)}, and the vault was last written to at "
            f"{_text(newest_us)}: set the clock; if it is right, say so with {CONFIRMED_BY}={_text(now_us)[:10]}"
        )


def clock_behind(state: LogState, now_us: int) -> str | None:
    """Say that the clock has not reached what a log says of itself; None where it has."""
    newest_us = max(
        (chain.watermark for chain in state.chains.values() if chain.watermark is not None), default=now_us
    )
    if newest_us - now_us <= BACK_MAX_US:
        return None
    return (
        f"the clock of this machine says {_text(now_us)}, and this log says that it was written to at "
        f"{_text(newest_us)}: one of them is wrong; until the clock has passed that time, the log does not tell when "
        "a source was looked at"
    )


def _is_confirmed(now_us: int, confirmed: str | None) -> bool:
    if confirmed is None:
        return False
    try:
        day = date.fromisoformat(confirmed)
    except ValueError:
        raise InputError(f"{CONFIRMED_BY}={confirmed!a}: write today's date, as 2026-01-08") from None
    return datetime.fromtimestamp(now_us / 1_000_000, UTC).date() == day


def _text(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_us // 1_000_000} seconds from 1970"
