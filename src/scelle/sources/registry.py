"""Name sources for a whole vault: who holds what, and where; sealed as events of the vault's own log."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from scelle.errors import (
    InputError,
    SourceNameTaken,
    SourceNameUnknown,
    SourceNameWrong,
    SourceOverlapsVault,
    SourceRestricted,
)
from scelle.ledger.events import Event, events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.sources.addresses import is_database, local_root
from scelle.sources.model import SourceSpec, StreamChoices, choices_from_json, spec_from_json
from scelle.sources.urls import open_source

IDENTIFIER_MAX = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ADDED, REMOVED, SCHEMA = "source.added", "source.removed", "source.schema"
RESTRICTED = "source.restricted"
STREAM = "source.stream"
KINDS = (ADDED, REMOVED, SCHEMA, RESTRICTED, STREAM)
"""The events of the vault's own log that say something of sources."""


def check_name(name: str) -> str:
    """Return `name`; raise `SourceNameWrong` when a log or a clause could not carry it."""
    if _NAME.fullmatch(name) is None or name.startswith("scelle."):
        raise SourceNameWrong(
            f"source name {name!r}: use lower-case letters, digits, '.', '_' and '-', at most 63 of them"
        )
    return name


def check_identifier(text: str, what: str) -> str:
    """Return `text`; raise `SourceNameWrong` when no sealed record could carry it as an identifier."""
    if not text or len(text) > IDENTIFIER_MAX or not text.isprintable():
        raise SourceNameWrong(
            f"{what}: use 1 to {IDENTIFIER_MAX} printable characters in UTF-8, not {text[:40]!a}"
        )
    return text


def refuse_own_folders(spec: SourceSpec, vault: Path, keys: Path | None) -> None:
    """Raise `SourceOverlapsVault` where a source would offer the vault's own files, or its key.

    Sealing them would hand the key to whoever gets a package, and grow the vault by itself at every pass.
    """
    place_bytes = local_root(spec)
    if place_bytes is None:
        return
    root = Path(os.fsdecode(place_bytes)).resolve()
    for what, folder in (("the vault", vault), ("the folder of the vault's key", keys)):
        place = None if folder is None else folder.resolve()
        if place is not None and (place.is_relative_to(root) or root.is_relative_to(place)):
            raise SourceOverlapsVault(
                f"source {spec.name}: {root} and {what}, {place}, lie inside each other: move one of them"
            )


def named_sources(ledger: OrderLedger) -> dict[str, SourceSpec]:
    """Return the sources of the vault by name, from its own log."""
    return sources_of(events(ledger, *KINDS))


def sources_of(history: Iterable[Event], *, with_removed: bool = False) -> dict[str, SourceSpec]:
    """Fold events of the vault's own log: the sources by name, as they were last.

    A name that stood for a restricted source stands for a restricted one for ever, also after it was removed.
    """
    found: dict[str, SourceSpec] = {}
    gone: set[str] = set()
    for event in history:
        name = event.body["name"] if event.kind in KINDS else None
        if event.kind == ADDED:
            spec = spec_from_json(event.body)
            found[spec.name] = replace(
                spec, restricted=spec.restricted or (spec.name in found and found[spec.name].restricted)
            )
            gone.discard(spec.name)
        elif event.kind == REMOVED:
            gone.add(str(name))
        elif name in found and event.kind == SCHEMA:
            found[name] = replace(found[name], schema=event.body["schema"])
        elif name in found and event.kind == RESTRICTED:
            found[name] = replace(found[name], restricted=True)
        elif name in found and event.kind == STREAM:
            found[name] = replace(found[name], stream=choices_from_json(event.body))
    return found if with_removed else {name: spec for name, spec in found.items() if name not in gone}


def add_source(ledger: OrderLedgerWriter, spec: SourceSpec, now_us: int, actor: str) -> None:
    """Seal a new source, or that one which is there is restricted from now on: it tightens, so one person does it.

    Raises `SourceNameTaken` where the name stands for another already, and `SourceRestricted` where something that was
    restricted would become open: the same name again, or the same place under another.
    """
    check_name(spec.name)
    ever = sources_of(events(ledger, *KINDS), with_removed=True)
    known = named_sources(ledger).get(spec.name)
    if not spec.restricted:
        _refuse_open(spec, ever)
    if known is None:
        record_event(ledger, now_us, actor, ADDED, spec.to_json())
    elif _is_known_openly(spec, known):
        record_event(ledger, now_us, actor, RESTRICTED, {"name": spec.name})
    else:
        raise SourceNameTaken(
            f"source {spec.name} is there already ({known.url}): choose another name, or remove it first"
        )
    ledger.seal(now_us)


def _is_known_openly(spec: SourceSpec, known: SourceSpec) -> bool:
    """Tell whether `spec` is the source that is there, and differs only in that it is restricted."""
    same = replace(spec, schema=spec.schema or known.schema, restricted=False, stream=known.stream)
    return spec.restricted and not known.restricted and same == known


def _refuse_open(spec: SourceSpec, ever: Mapping[str, SourceSpec]) -> None:
    for other in ever.values():
        if other.restricted and (other.name == spec.name or _place(spec) == _place(other)):
            what = "is" if other.name == spec.name else f"is the place of {other.name}, which is"
            raise SourceRestricted(
                f"source {spec.name} {what} restricted, and stays so: what it covers goes into the compartment; give "
                "--restricted, or another place under another name"
            )


def _place(spec: SourceSpec) -> bytes:
    """Return where a source is, whatever its kind."""
    root = local_root(spec)
    return spec.url.encode() if root is None else os.path.realpath(root)


def set_schema(ledger: OrderLedgerWriter, name: str, schema: str, now_us: int, actor: str) -> None:
    """Seal that a source of records is read by another schema file from now on; raises InputError."""
    spec = replace(known_source(named_sources(ledger), name), schema=schema)
    open_source(spec)  # refuses a schema that cannot be used, and a source that takes none
    record_event(ledger, now_us, actor, SCHEMA, {"name": name, "schema": schema})
    ledger.seal(now_us)


def set_stream(
    ledger: OrderLedgerWriter, name: str, choices: StreamChoices, now_us: int, actor: str
) -> SourceSpec:
    """Seal what is chosen for a database's stream of changes from now on, and return the source; raises InputError."""
    spec = known_source(named_sources(ledger), name)
    if not is_database(spec.url) or spec.shards is not None:
        raise InputError(
            f"source {name} has no stream of changes: only one database of postgresql:// is watched so"
        )
    if choices.drops_slot and choices.wal_cap_bytes is None:
        raise InputError(
            f"source {name}: no cap is set beyond which its slot could be dropped: give --wal-cap"
        )
    record_event(ledger, now_us, actor, STREAM, {"name": name, **choices.to_json()})
    ledger.seal(now_us)
    return replace(spec, stream=choices)


def remove_source(ledger: OrderLedgerWriter, name: str, now_us: int, actor: str) -> None:
    """Seal that a source is no longer used for new orders; what was sealed from it stays."""
    spec = known_source(named_sources(ledger), name)
    record_event(ledger, now_us, actor, REMOVED, {"name": spec.name})
    ledger.seal(now_us)


def known_source(sources: Mapping[str, SourceSpec], name: str) -> SourceSpec:
    """Return the source `name`; raise `SourceNameUnknown` naming those that are there."""
    if name not in sources:
        there = ", ".join(sorted(sources)) or "none yet"
        raise SourceNameUnknown(f"no source is named {name!r} (there are: {there}): see `scelle source list`")
    return sources[name]


def order_sources(history: Iterable[Event]) -> Iterator[tuple[str, SourceSpec]]:
    """Yield (alias, source) of the sources that an order's events name, in alias order."""
    for event in history:
        if event.kind == "source":
            yield event.body["alias"], spec_from_json(event.body)


def holders_of(history: Iterable[Event]) -> set[str]:
    """Return the identifiers, with their kind, of those whom an order's events name as holders of its sources."""
    holders = {spec.holder for _, spec in order_sources(history)}
    return {holder for holder in holders if holder is not None}
