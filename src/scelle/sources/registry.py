"""Name sources for a whole vault: who holds what, and where; sealed as events of the vault's own log."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from scelle.errors import SourceNameTaken, SourceNameUnknown, SourceNameWrong, SourceOverlapsVault
from scelle.ledger.events import Event, events, record_event
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.sources.addresses import local_root
from scelle.sources.model import SourceSpec, spec_from_json
from scelle.sources.urls import open_source

IDENTIFIER_MAX = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ADDED, REMOVED, SCHEMA = "source.added", "source.removed", "source.schema"


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
    found: dict[str, SourceSpec] = {}
    for event in events(ledger):
        if event.kind == ADDED:
            found[event.body["name"]] = spec_from_json(event.body)
        elif event.kind == REMOVED:
            found.pop(event.body["name"], None)
        elif event.kind == SCHEMA and event.body["name"] in found:
            name = event.body["name"]
            found[name] = replace(found[name], schema=event.body["schema"])
    return found


def add_source(ledger: OrderLedgerWriter, spec: SourceSpec, now_us: int, actor: str) -> None:
    """Seal a new source; raise `SourceNameTaken` where the name stands for another already."""
    check_name(spec.name)
    known = named_sources(ledger).get(spec.name)
    if known is not None:
        raise SourceNameTaken(
            f"source {spec.name} is there already ({known.url}): choose another name, or remove it first"
        )
    record_event(ledger, now_us, actor, ADDED, spec.to_json())
    ledger.seal(now_us)


def set_schema(ledger: OrderLedgerWriter, name: str, schema: str, now_us: int, actor: str) -> None:
    """Seal that a source of records is read by another schema file from now on; raises InputError."""
    spec = replace(known_source(named_sources(ledger), name), schema=schema)
    open_source(spec)  # refuses a schema that cannot be used, and a source that takes none
    record_event(ledger, now_us, actor, SCHEMA, {"name": name, "schema": schema})
    ledger.seal(now_us)


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
