"""Prove one record alone: a C2SP tlog-proof of its manifest, with the record in the extra line (ledger.md §11).

It shows that this order's log holds the record, and nothing of its neighbours: the path in R is made of hashes that
their record keys blind, and the index is not touched.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.capture.identity import ItemNames
from scelle.errors import RecordNotAsSealed, RequestWrong
from scelle.formats.compartments import is_closed, leaf_of_closed, with_nulls
from scelle.formats.entries import Erase, Segment
from scelle.formats.lines import FieldsRecord, OpenField, RecordLine, WholeRecord
from scelle.formats.openings import Opening, TlogProof
from scelle.formats.records import field_leaf, field_salt
from scelle.formats.schema import Schema
from scelle.formats.tokens import is_family_member, shown
from scelle.ledger.rows import Row
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.merkle.proofs import inclusion_path, root_from_inclusion
from scelle.productions.copies import Copies
from scelle.productions.interfaces import Progress
from scelle.productions.model import RAW, RESTRICTED, checked_code
from scelle.productions.plan import listed
from scelle.productions.scratch import refuse_taken
from scelle.release.quarantine import refuse_quarantined
from scelle.vault import durable
from scelle.vault.keys import VaultKey

_ITEM: Final = re.compile(r"i[a-z2-7]{26}")
_PLACE: Final = re.compile(r"([a-z0-9][a-z0-9._-]*(?:/[0-9]+)?):([0-9]{1,19})")
_KEY_FIELDS: Final = 2
_TOLD_EVERY: Final = 8192


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a record lies: its manifest, with its log index, and its sequence number."""

    at: int
    manifest: Segment
    seq: int


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Say what was disclosed: of which log source and number, in a log of which size, which fields closed."""

    source: str
    seq: int
    log_index: int
    size: int
    fields: int
    redacted: tuple[tuple[str, str], ...]
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the report as `disclose --json` prints it and the disclosure event seals it."""
        return asdict(self) | {"redacted": dict(self.redacted)}


def disclose(
    ledger: OrderLedger,
    vault_key: VaultKey,
    item: str,
    *,
    out: Path,
    redact: Mapping[str, str],
    source_names: Mapping[str, str],
    progress: Progress,
    before_publishing: Callable[[Disclosure], None] = lambda report: None,
) -> Disclosure:
    """Write the proof of one record of the published log to `out`.

    `item` is an item's id, or ALIAS:SEQ; `redact` maps fields that are left closed to the codes of the reasons, which
    the proof itself does not carry; `source_names` are what people call log sources, by alias; `before_publishing` is
    told the report while the proof has no name yet. The proof stands on the checkpoint published when this begins.

    Atomic, and nothing in the vault or the log is changed. Raises `RequestWrong` where there is no such record, it was
    erased, or a field cannot be closed; `ItemQuarantined`; `PackageNameRefused`; `RecordNotAsSealed`.
    """
    refuse_taken(out)
    place = find_record(ledger, vault_key, item, source_names, progress)
    _refuse_erased(ledger, place)
    refuse_quarantined(ledger, (place.at, place.seq), f"record {place.manifest.source}:{place.seq}")
    data, fields, closed = prove_record(ledger, place, redact)
    report = Disclosure(
        source=place.manifest.source,
        seq=place.seq,
        log_index=place.at,
        size=ledger.log.size,
        fields=fields,
        redacted=tuple(sorted(closed.items())),
        bytes=len(data),
        sha256=sha256(data).hexdigest(),
    )
    before_publishing(report)
    refuse_taken(out)
    durable.write_file(out, data)
    return report


def find_record(
    ledger: OrderLedger, vault_key: VaultKey, item: str, source_names: Mapping[str, str], progress: Progress
) -> Place:
    """Find a record by its item id, the first one of it, or by ALIAS:SEQ; raise `RequestWrong` where there is none.

    No list of ids is kept, so an id costs a scan over the rows of all segments.
    """
    match = _PLACE.fullmatch(item)
    if match is not None:
        return _by_number(ledger, match[1], int(match[2]))
    if _ITEM.fullmatch(item) is None:
        raise RequestWrong(
            f"{shown(item)} is neither an item's id (i and 26 characters) nor ALIAS:SEQ, for instance s0001:17"
        )
    return _by_id(ledger, vault_key, item, source_names, progress)


def _by_number(ledger: OrderLedger, alias: str, seq: int) -> Place:
    known = {manifest.source for _, manifest in ledger.manifests()}
    for at, manifest in ledger.manifests():
        if manifest.source == alias and manifest.seq[0] <= seq < manifest.seq[1]:
            return Place(at, manifest, seq)
    if alias in known:
        count = max(manifest.seq[1] for _, manifest in ledger.manifests() if manifest.source == alias)
        raise RequestWrong(f"{alias} has {count} sealed records, from 0: there is no {alias}:{seq}")
    members = {each for each in known if is_family_member(each, alias)}
    raise RequestWrong(f"the log has no source {shown(alias)}: it has {listed(members or known)}")


def _by_id(
    ledger: OrderLedger, vault_key: VaultKey, item: str, source_names: Mapping[str, str], progress: Progress
) -> Place:
    segments = [(at, manifest) for at, manifest in ledger.manifests() if manifest.records]
    total = sum(manifest.records for _, manifest in segments)
    before = 0
    for at, manifest in segments:
        alias = manifest.source
        name = source_names.get(alias.partition("/")[0], alias)
        names = ItemNames(vault_key, name, ledger.schema(manifest.schema))
        with closing(ledger.segment(manifest)) as reader:
            for number, row in enumerate(reader.rows()):
                if number % _TOLD_EVERY == 0:
                    progress("records", before + number, total)
                if names.name(row) == item:
                    progress("records", total, total)
                    return Place(at, manifest, row.seq)
        before += manifest.records
    progress("records", total, total)
    raise RequestWrong(
        f"no sealed record of order {ledger.order} is item {item}: compare it, or give ALIAS:SEQ"
    )


def _refuse_erased(ledger: OrderLedger, place: Place) -> None:
    position = place.seq - place.manifest.seq[0]
    for entry in ledger.entries:
        if isinstance(entry, Erase) and (entry.segment[0], entry.record[0]) == (place.at, position):
            raise RequestWrong(
                f"record {place.manifest.source}:{place.seq} was erased: nothing of it can be shown"
            )


def prove_record(
    ledger: OrderLedger, place: Place, redact: Mapping[str, str]
) -> tuple[bytes, int, dict[str, str]]:
    """Return the proof, the number of fields, and the closed ones with their codes.

    Raises `RecordNotAsSealed` where the row does not lead to the root that the log committed to.
    """
    manifest, schema = place.manifest, ledger.schema(place.manifest.schema)
    closed = _closed_fields(schema, manifest.profile, redact)
    position = place.seq - manifest.seq[0]
    with closing(ledger.segment(manifest)) as reader:
        row = reader.row(place.seq)
        path = inclusion_path(reader.hashes(0, manifest.records), position)
    values = row.split_values()
    closed |= {j: RESTRICTED for j, value in enumerate(values) if is_closed(value)}
    Copies(schema, closed).refuse(with_nulls(values))
    line = _opened(row, place.at, position, manifest.profile, set(closed))
    _check_path(reader, line, path)
    opening = Opening(
        entry=ledger.log.entries[place.at],
        index=position,
        of=manifest.records,
        proof=tuple(path),
        record=line,
        schema=schema.encode(),
    )
    log_path = tuple(inclusion_path(bytes(ledger.log.leaves), place.at))
    proof = TlogProof(place.at, log_path, ledger.log.note, opening.encode())
    names = {schema.fields[j].name: code for j, code in closed.items()}
    return proof.encode(), len(schema.fields), names


def _closed_fields(schema: Schema, profile: int, redact: Mapping[str, str]) -> dict[int, str]:
    """Return the numbers of the fields that stay closed, `raw` with any other, each with its code."""
    names = [each.name for each in schema.fields]
    for name, code in redact.items():
        checked_code(code)
        if name not in names:
            raise RequestWrong(f"the record has no field {shown(name)}; it has {listed(names)}")
        if names.index(name) < _KEY_FIELDS:
            raise RequestWrong(f"field {name} says which record it is and is never redacted: ask without it")
    if redact and profile == 0:
        raise RequestWrong(
            "a record of profile 0 is disclosed whole or not at all: nothing of it can be redacted"
        )
    closed = {names.index(name): code for name, code in redact.items()}
    if closed and RAW in names:
        closed.setdefault(names.index(RAW), RAW)
    return closed


def _opened(row: Row, at: int, position: int, profile: int, closed: set[int]) -> RecordLine:
    salt, values = row.record_key[:16], row.split_values()
    if profile == 0:
        return WholeRecord(at, position, salt, tuple(values))
    shown_fields: list[OpenField | bytes] = []
    for j, value in enumerate(values):
        own = field_salt(salt, j)
        if is_closed(value):
            shown_fields.append(leaf_of_closed(value))
        else:
            shown_fields.append(field_leaf(own, value) if j in closed else OpenField(own, value))
    return FieldsRecord(at, position, tuple(shown_fields))


def _check_path(reader: SegmentReader, line: RecordLine, path: Sequence[bytes]) -> None:
    manifest = reader.manifest
    if root_from_inclusion(manifest.records, line.pos, line.rc(), path) != manifest.record_root:
        raise RecordNotAsSealed(
            f"{reader.folder}: record {manifest.source}:{manifest.seq[0] + line.pos} does not lead to the record "
            "root of the manifest: nothing was disclosed; run `scelle verify`"
        )
