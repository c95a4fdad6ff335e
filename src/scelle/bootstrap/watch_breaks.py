"""Tell what broke a stream since it was whole, and how much can be lost by that (pure)."""

from typing import TYPE_CHECKING, Final

from scelle.capture.watch_state import WatchState

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is watched
    from scelle.sources.postgres.slots import Server
    from scelle.sources.postgres.watched import Standing

NOT_PUBLISHED: Final = "table-not-published"
MOVED_AWAY: Final = "table-moved-away"
LEFT_OUT: Final = (NOT_PUBLISHED, MOVED_AWAY)
"""What only the database's people may be able to mend: a watch sees no breach any more, and the gap is open still."""
SLOT_MISSING: Final = "slot-missing"
_ROW_WAL_BYTES: Final = 8


def breach_of(state: WatchState, standing: "Standing") -> str | None:
    """Return the code of what broke the stream since `state`; None where it goes on without a gap."""
    from scelle.sources.postgres.slots import LOST  # the driver is an extra

    slot, server = standing.slot, standing.server
    if server.system_id != state.system_id:
        return "other-server"
    if server.lsn < state.confirmed:
        return "server-set-back"
    if server.timeline != state.timeline:  # what comes now may stand where other changes stood
        return "server-promoted"
    if slot is None:
        return SLOT_MISSING
    if slot.wal_status == LOST:
        return "slot-lost"
    if slot.confirmed_lsn > state.confirmed:
        return "slot-recreated"
    if standing.altered:
        return "publication-altered"
    if standing.loosened:
        return "identity-loosened"
    if standing.unpublished:
        return NOT_PUBLISHED
    if standing.strays:
        return MOVED_AWAY
    return None


def lost_at_most(before: WatchState, server: "Server") -> int | None:
    """Return how many rows can have been written since a stream was whole, by the WAL since.

    A row takes at least 8 bytes there (the header of a tuple in a multi-insert record). The server's own counts would
    be nearer, but they come late: a bound may not be too low. None where the WAL is another server's, or was set back.
    """
    is_same = before.system_id == server.system_id and before.confirmed <= server.lsn
    return (server.lsn - before.confirmed) // _ROW_WAL_BYTES if is_same else None
