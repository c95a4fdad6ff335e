"""Part identifiers of dimension account into their kind and what stands behind it (ledger.md §2; pure)."""

from typing import Final

from scelle.find.model import ACCOUNT, CUSTODIAN

ANYBODY: Final = "anybody"
_CUSTODIAN_KIND: Final = "custodian:"
_ACCOUNT_KINDS: Final = ("account:", "handle:", "operator:")


def is_custodians(identifier: str) -> bool:
    """Say whether a record is of a custodian."""
    return identifier.startswith(_CUSTODIAN_KIND)


def account_of(identifier: str | None) -> str | None:
    """Return the identifier without its kind; None for a custodian's and for nobody's."""
    if identifier is None or is_custodians(identifier):
        return None
    kind = next((kind for kind in _ACCOUNT_KINDS if identifier.startswith(kind)), "")
    return identifier[len(kind) :]


def custodian_of(identifier: str | None) -> str | None:
    """Return the identifier of a custodian without its kind; None for an account's and for nobody's."""
    if identifier is None or not is_custodians(identifier):
        return None
    return identifier[len(_CUSTODIAN_KIND) :]


def name_of(identifier: str | None) -> str | None:
    """Return the identifier without its kind, whichever that is: for a field under the name its source gave it."""
    custodian = custodian_of(identifier)
    return account_of(identifier) if custodian is None else custodian


HOLDERS: Final = {ACCOUNT: account_of, CUSTODIAN: custodian_of, ANYBODY: name_of}
"""What reads an identifier, by who is asked for."""


def identifiers_of(holder: str, name: str) -> tuple[str, ...]:
    """List the identifiers that a holder reads as `name`: exactly those, whatever their kind."""
    accounts = () if holder == CUSTODIAN else tuple(kind + name for kind in _ACCOUNT_KINDS)
    custodians = () if holder == ACCOUNT else (_CUSTODIAN_KIND + name,)
    is_bare = holder != CUSTODIAN and not name.startswith((_CUSTODIAN_KIND, *_ACCOUNT_KINDS))
    return (*accounts, *custodians, *((name,) if is_bare else ()))
