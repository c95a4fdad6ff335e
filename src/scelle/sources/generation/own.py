"""Check events of Scellé's own JSONL: they have their names already."""

from typing import Final

from scelle.sources.generation.entries import OWN, Entry, Spot
from scelle.sources.generation.model import KINDS, OF_AN_ATTEMPT, OUTCOMES
from scelle.sources.json_values import SourceRow
from scelle.sources.unfit import Unfit

_KINDS: Final = frozenset(KINDS)


def own_entry(row: SourceRow, raw: bytes, spot: Spot) -> Entry:
    """Give the entry of an event; raises Unfit (`unknown-event`, `attempt-missing`)."""
    kind = row["event"]
    if type(kind) is not str or kind not in _KINDS:
        raise Unfit("unknown-event", f"the events are {', '.join(KINDS)}", "event")
    if kind in OF_AN_ATTEMPT and row.get("attempt_id") in (None, ""):
        raise Unfit(
            "attempt-missing", "an event of this kind names its attempt: write attempt_id", "attempt_id"
        )
    return Entry(row, OWN, raw, spot, is_attempt=kind == "requested", is_outcome=kind in OUTCOMES)
