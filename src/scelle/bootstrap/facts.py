"""Read what the guard needs of a vault: its sources, and what is known of an item of theirs, live or sealed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scelle.bootstrap.session import Session
from scelle.capture.store import ItemKeys
from scelle.find.holders import account_of, custodian_of
from scelle.formats.compartments import is_restricted_row
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.formats.tokens import UNDATED
from scelle.formats.values import NULL
from scelle.guard.model import Facts, Readings
from scelle.guard.service import Guard, with_loaded_accounts
from scelle.ledger.events import events
from scelle.ledger.rows import Row
from scelle.orders.lifecycle import Life
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.sources.interfaces import native_text
from scelle.sources.model import SourceSpec
from scelle.sources.places import NAMED_BY_PATH, Name, Places
from scelle.sources.registry import KINDS, sources_of

_KINDS: Final = ("account:", "handle:", "operator:", "custodian:")
_DOCUMENTS: Final = ("files", "mbox", "maildir", "eml")
_TIME, _HOLDER, _MEDIA_TYPE = 0, 2, 4
_BODY: Final = 5


def guard_over(session: Session, lives: Mapping[str, Life]) -> Guard:
    """Return the guard over some orders; a file of accounts that cannot be read holds everybody's items."""

    def read(digest: bytes) -> Iterable[bytes]:
        return session.packs.read(digest)  # the packs are not opened where no clause names a file

    return Guard(with_loaded_accounts(lives, read), session.key)


def guarded_sources(session: Session) -> dict[str, SourceSpec]:
    """Return every source that the vault ever had, as it was last: one that was removed may still be held."""
    return sources_of(events(session.ledger(RESERVED_ORDER_ID), *KINDS), with_removed=True)


@dataclass(frozen=True, slots=True)
class LiveItem:
    """An item of a live source as somebody asked about it: every name that it may have, and every reading of it.

    ``names`` and ``readings`` begin with the name under which it is sealed, where that is known: its ref is the item's.
    """

    names: tuple[Name, ...]
    readings: Readings

    @property
    def source(self) -> str:
        """Return the source of the first name."""
        return self.names[0].spec.name

    @property
    def native(self) -> bytes:
        """Return the native id of the first name."""
        return self.names[0].native

    @property
    def is_restricted(self) -> bool:
        """Tell whether a source that may have it is restricted: then nothing may be written that names it."""
        return any(name.spec.restricted for name in self.names)


def live_item(
    places: Places, spec: SourceSpec, native: bytes, account: str | None = None, time_us: int | None = None
) -> LiveItem:
    """Return what is known of an item of a live source, however its id is spelled and whichever source has it, too."""
    return named_item(spec, places.names_of(spec, native), account, time_us)


def named_item(
    spec: SourceSpec, names: tuple[Name, ...], account: str | None = None, time_us: int | None = None
) -> LiveItem:
    """Return what is known of an item by its names. What was told of it is told of an item as `spec` offers it.

    Another kind of source has another time, and what it takes from a file may be of many accounts.
    """
    readings: list[Facts] = []
    for name in names:
        is_same = name.spec.scheme == spec.scheme
        is_document = spec.scheme in _DOCUMENTS and name.spec.scheme in _DOCUMENTS
        readings += _facts(name, account if is_same or is_document else None, time_us if is_same else None)
    return LiveItem(names, readings)


def _facts(name: Name, account: str | None, time_us: int | None) -> Readings:
    """Return what is known of an item under one name, in every way in which it may be read.

    `account` is whose the caller says it is, with its kind or without. A document is also its source's holder's. A
    record whose account nobody names may be anybody's.
    """
    spec = name.spec
    holders = [] if account is None else _holders(account)
    if spec.scheme in _DOCUMENTS or (account is not None and spec.holder is not None):
        holders.append((spec.custodian, spec.account))
    time = UNDATED if time_us is None else time_us
    return [
        Facts(spec.name, name.native, name.path, time, "", custodian, account_name)
        for custodian, account_name in holders or [(None, None)]
    ]


def _holders(account: str) -> list[tuple[str | None, str | None]]:
    """Return custodian and account as which a name may be read: behind its kind, and as it is."""
    found: list[tuple[str | None, str | None]] = [(None, account)]
    if account.startswith(_KINDS):
        found.insert(0, (custodian_of(account), account_of(account)))
    return found


def row_facts(spec: SourceSpec | None, source: str, schema: Schema, row: Row) -> Facts:
    """Return what is known of a sealed row; `spec` is its source as the order or the vault names it."""
    values = row.split_values()
    number = schema.field_number("native_id")
    native = b"" if number is None or values[number] == NULL else values[number][_BODY:]
    time_us = int.from_bytes(values[_TIME][_BODY:], "big", signed=True)
    if schema.digest != DOCUMENT_V1.digest:
        custodian, account = (None, None) if spec is None else (spec.custodian, spec.account)
        return Facts(source, native, None, time_us, "", custodian, account, schema, values[2:])
    holder = None if values[_HOLDER] == NULL else values[_HOLDER][_BODY:].decode()
    is_named = (
        not is_restricted_row(values) and b"%" not in native
    )  # else it may be another one's than the bytes
    is_path = spec is not None and spec.scheme in NAMED_BY_PATH and is_named
    return Facts(
        source,
        native,
        native if is_path else None,
        time_us,
        values[_MEDIA_TYPE][_BODY:].decode(),
        custodian_of(holder),
        account_of(holder),
    )


def row_readings(places: Places, spec: SourceSpec | None, source: str, schema: Schema, row: Row) -> Readings:
    """Return what is known of a sealed row's item, under its own source and under others over the same place."""
    facts = row_facts(spec, source, schema, row)
    if spec is None or not places.overlapping(spec):
        return [facts]
    values = row.split_values()
    hidden = schema.digest == DOCUMENT_V1.digest and is_restricted_row(values)
    names = places.hidden(spec, facts.native) if hidden else places.names_of(spec, facts.native)
    holder = None if values[_HOLDER] == NULL else values[_HOLDER][_BODY:].decode()
    live = named_item(spec, names, holder, facts.time_us).readings
    return [facts, *(each for each in live if each.source != source)]


def written_name(session: Session, source: str, native: bytes, *, restricted: bool) -> str:
    """Return the native id of an item as text, as it may be written anywhere; a restricted one's stand-in."""
    return ItemKeys(session.key, source).shadow(native) if restricted else native_text(native)
