"""Tell from an order's own acts how far its disposal went: what then is gone is no fault, and what is not is one."""

from enum import Enum
from pathlib import Path

from scelle.errors import ScelleError
from scelle.fsck.logs import LogFacts
from scelle.ledger.destroying import BEGUN, DISPOSED
from scelle.ledger.events import events
from scelle.ledger.service import OrderLedger
from scelle.vault.keys import VaultKey


class Disposal(Enum):
    """How far the disposal of an order went."""

    NONE = "none"
    """Nothing of it may be gone, even where the log has a release: no act stands behind that."""
    BEGUN = "begun"
    """Its rows and contents are going."""
    DONE = "done"
    """Its certificate is sealed: they are gone."""


def disposal_of(vault: Path, key: VaultKey, facts: LogFacts) -> Disposal:
    """Read how far an order's disposal went; under no release there is none.

    Acts that cannot be read are named by the examination of their segment. Then it counts as begun, so that what is
    gone is not named once more, record by record.
    """
    if not facts.is_released:
        return Disposal.NONE
    try:
        ledger = OrderLedger(vault, facts.order, facts.origin, key)
        kinds = {event.kind for event in events(ledger, BEGUN, DISPOSED)}
    except (ScelleError, OSError):
        return Disposal.BEGUN
    if DISPOSED in kinds:
        return Disposal.DONE
    return Disposal.BEGUN if BEGUN in kinds else Disposal.NONE
