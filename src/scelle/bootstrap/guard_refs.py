"""Say of what a refusal was that a guard in a database gave: its refs are keyed there, and are none of the vault's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from scelle.bootstrap.guard_claims import accounts_of, asked_since, claiming, guarded_sources
from scelle.bootstrap.guard_databases import asked_of
from scelle.bootstrap.session import Session
from scelle.errors import ItemUnknown

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from psycopg import Connection

_REF: Final = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Referred:
    """What a database's guard refused under a ref: clauses that name the row's account, by order; else tables."""

    ref: str
    source: str
    clauses: tuple[tuple[str, str], ...]
    objects: tuple[str, ...]
    orders: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the answer as `why --json` prints it."""
        return {
            "ref": self.ref,
            "source": self.source,
            "held": True,
            "refused_by": "database",
            "orders": [{"order": order, "clause": clause} for order, clause in self.clauses],
            "objects": list(self.objects),
            "guarded_by": list(self.orders),
        }

    def lines(self) -> list[str]:
        """Return the answer for people."""
        lines = [f"{self.ref}: refused by the guard in the database of {self.source}"]
        lines += [f"  an account of order {order}, clause {clause}" for order, clause in self.clauses]
        lines += [f"  {each}: a row without an account, or a change of the table" for each in self.objects]
        return [*lines, f"  orders guarded there that you may know of: {', '.join(self.orders)}"]


def refused_in_database(session: Session, ref: str, source: str | None) -> Referred | None:
    """Look a ref up in the guard of a source's database; None where it can be none of those.

    Only orders that the session sees are looked at. Raises ItemUnknown where nothing of theirs has this ref.
    """
    orders = [] if source is None or not _REF.fullmatch(ref) else _seen(session, source)
    if source is None or not orders:
        return None
    from scelle.guard.postgres.holding import objects_of_ref  # the driver is an extra

    clauses = asked_of(session, source, lambda connection: list(_clauses(session, connection, ref, source)))
    objects = asked_of(session, source, partial(objects_of_ref, ref=ref))
    if not clauses and not objects:
        raise ItemUnknown(
            f"{ref} is no ref that the guard in the database of {source} gives to an account or a table that you may "
            "know of: it may be of another database, or of an account that is held no more"
        )
    return Referred(ref, source, tuple(clauses), tuple(objects), tuple(orders))


def where_else(session: Session, ref: str) -> str:
    """Say where a ref that the vault did not give may come from; nothing where no database is guarded, to be seen."""
    names = [name for name in guarded_sources(session) if _seen(session, name)] if _REF.fullmatch(ref) else []
    asks = " or ".join(f"`scelle why {ref} --source {name}`" for name in names)
    return f"; a guard in a database gives refs of its own: {asks}" if names else ""


def _seen(session: Session, source: str) -> list[str]:
    return [order for order in asked_since(session, source) if session.sees(order)]


def _clauses(
    session: Session, connection: "Connection[Any]", ref: str, source: str
) -> Iterator[tuple[str, str]]:
    from scelle.guard.postgres.holding import is_of_accounts  # the driver is an extra

    for order, clauses in claiming(session, source):
        for clause in clauses if session.sees(order) else ():
            if is_of_accounts(connection, ref, accounts_of(session, clause)):
                yield order, clause.id
