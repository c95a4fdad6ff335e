"""Draft what a package shows of each hit: nothing, or its fields, contents and load-file cells.

Drafts are made in capture order, the order in which rows and contents lie in the vault; lines are written in
the order of the package. A draft holds nothing that the package does not show.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

from scelle.errors import RecordNotAsSealed
from scelle.formats.canonical_json import canonical_json_int
from scelle.formats.compartments import is_closed, is_restricted_row, leaf_of_closed, with_nulls
from scelle.formats.lines import LINE_MAX_BYTES
from scelle.formats.packages import Query
from scelle.formats.records import commitment_of_leaves, field_leaf, field_salt, record_commitment
from scelle.formats.schema import DOCUMENT_V1
from scelle.ledger.rows import Row
from scelle.productions.copies import Copies
from scelle.productions.extensions import UNKNOWN, extension_of
from scelle.productions.items import Shelf
from scelle.productions.loadfile import REDACTED, safe_cell, time_cell
from scelle.productions.model import KEPT_IN_PLACE, RAW, RESTRICTED, RecordView, Withholding, checked_code
from scelle.productions.plan import Task

_CHUNKS: Final = "chunks"
_META: Final = "meta"
_KEEP_MARK: Final = b'"keep":"digest"'


class Item(NamedTuple):
    """One content of a produced record: delivered (where it waits), or left out (`code`)."""

    field: str
    digest: bytes
    size_bytes: int
    extension: str
    code: str | None
    crc32: int
    offset: int


class Draft(NamedTuple):
    """What is shown of one hit. `code` set: nothing but its index entry.

    `shown` is the JSON of `v` (and of `k` before it, in profile 0); `redacted` pairs fields with codes;
    `cells` are the load file's cells for the record.
    """

    rc: bytes
    code: str | None
    shown: str
    redacted: tuple[tuple[str, str], ...]
    items: tuple[Item, ...]
    cells: str

    def pack(self) -> bytes:
        """Write the draft for a scratch file."""
        items = [(*item[:1], item.digest.hex(), *item[2:]) for item in self.items]
        return json.dumps([self.rc.hex(), self.code, self.shown, self.redacted, items, self.cells]).encode()

    @classmethod
    def unpack(cls, data: bytes) -> "Draft":
        """Read a draft from a scratch file of this process."""
        rc, code, shown, redacted, items, cells = json.loads(data)
        return cls(
            bytes.fromhex(rc),
            code,
            shown,
            tuple((name, why) for name, why in redacted),
            tuple(Item(name, bytes.fromhex(digest), *rest) for name, digest, *rest in items),
            cells,
        )


class Drafter:
    """Make the drafts of one segment's records."""

    def __init__(
        self, task: Task, query: Query, withholding: Withholding, shelf: Shelf, source_name: str = ""
    ) -> None:
        self._task, self._withholding, self._shelf = task, withholding, shelf
        self._profile = task.manifest.profile
        fields = task.schema.fields
        closed = {j: query.redact[each.name] for j, each in enumerate(fields) if each.name in query.redact}
        if closed:
            closed |= {j: RAW for j, each in enumerate(fields) if each.name == RAW}
        self._closed = closed
        self._copies = Copies(task.schema, closed)
        self._redacted = tuple(sorted((fields[j].name, code) for j, code in closed.items()))
        is_document = task.schema.digest == DOCUMENT_V1.digest
        self._is_document = is_document
        contents = [
            (each.name, j)
            for j, each in enumerate(fields)
            if each.type == "h" and j not in closed and not (is_document and each.name == _CHUNKS)
        ]
        self._contents = sorted(contents)
        numbers = {each.name: j for j, each in enumerate(fields)}
        self._meta = numbers.get(_META)
        self._media_type = numbers.get("media_type") if numbers.get("media_type") not in closed else None
        self._cell_fields = [numbers.get(name) for name in ("native_id", "account", "media_type")]
        self._time_basis = numbers.get("time_basis")
        self._source_name = safe_cell(source_name)

    def draft(self, row: Row, position: int) -> Draft:
        """Draft one record; `position` is its place in X (in R where the segment is answered whole).

        Raises `ContentNotAsSealed` where the vault does not give what was sealed.
        """
        values = row.split_values()
        if self._profile == 0:
            return self._draft_whole(row, values, position)
        if self._is_document and is_restricted_row(values):
            return self._draft_restricted(row, values, position)
        salt, closed = row.record_key[:16], self._closed
        leaves: list[bytes] = []
        parts: list[str] = []
        for j, value in enumerate(values):
            own = field_salt(salt, j)
            leaf = field_leaf(own, value)
            leaves.append(leaf)
            if j in closed:
                parts.append(f'"{leaf.hex()}"')
            else:
                parts.append(f'["{own.hex()}","{b64encode(value).decode()}"]')
        rc = commitment_of_leaves(leaves)
        view = self._view(row, values, position)
        code = self._withheld(view)
        if code is not None:
            return Draft(rc, code, "", (), (), "")
        self._copies.refuse(values)
        return Draft(
            rc, None, ",".join(parts), self._redacted, self._items(view), self._cells(row, values, position)
        )

    def _draft_restricted(self, row: Row, values: Sequence[bytes], position: int) -> Draft:
        """Draft a record whose content lies in the compartment: what the vault cannot read stays closed.

        The salts of the closed values lie there, too, so that their leaf hashes are all there is to show.
        """
        salt, closed = row.record_key[:16], dict(self._closed)
        leaves: list[bytes] = []
        parts: list[str] = []
        for j, value in enumerate(values):
            own = field_salt(salt, j)
            is_shut = is_closed(value)
            leaves.append(leaf_of_closed(value) if is_shut else field_leaf(own, value))
            if is_shut:
                closed.setdefault(j, RESTRICTED)
            if j in closed:
                parts.append(f'"{leaves[j].hex()}"')
            else:
                parts.append(f'["{own.hex()}","{b64encode(value).decode()}"]')
        rc, opened = commitment_of_leaves(leaves), with_nulls(values)
        code = self._withheld(self._view(row, opened, position))
        if code is not None:
            return Draft(rc, code, "", (), (), "")
        self._copies.refuse(opened)
        fields = self._task.schema.fields
        redacted = tuple(sorted((fields[j].name, code) for j, code in closed.items()))
        return Draft(rc, None, ",".join(parts), redacted, (), self._cells(row, opened, position))

    def _draft_whole(self, row: Row, values: Sequence[bytes], position: int) -> Draft:
        """Draft a record of profile 0, which is shown whole or not at all."""
        rc = record_commitment(0, row.record_key[:16], values)
        view = self._view(row, values, position)
        code = self._withheld(view)
        if code is None and self._closed:
            code = self._closed[min(self._closed)]
        if code is not None:
            return Draft(rc, code, "", (), (), "")
        joined = len(values).to_bytes(2, "big") + b"".join(values)
        shown = f'"k":"{row.record_key[:16].hex()}",{b64encode(joined).decode()}'
        return Draft(rc, None, shown, (), self._items(view), self._cells(row, values, position))

    def _view(self, row: Row, values: Sequence[bytes], position: int) -> RecordView:
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        task = self._task
        return RecordView(task.at, position, task.manifest.source, row.seq, time_us, task.schema, values)

    def _withheld(self, view: RecordView) -> str | None:
        rule = self._withholding.record
        code = None if rule is None else rule(view)
        return None if code is None else checked_code(code)

    def _items(self, view: RecordView) -> tuple[Item, ...]:
        return tuple(
            self._item(view, name, view.values[j]) for name, j in self._contents if view.values[j][:1] == b"h"
        )

    def _item(self, view: RecordView, name: str, value: bytes) -> Item:
        digest, size_bytes = value[5:37], int.from_bytes(value[37:], "big")
        code = self._left_out(view, name)
        if code is not None:
            return Item(name, digest, size_bytes, "", code, 0, 0)
        media_type = b"" if self._media_type is None else view.values[self._media_type]
        extension = extension_of(media_type[5:].decode()) if media_type else UNKNOWN
        crc32, offset = self._shelf.put(digest, size_bytes, partial(_where, view, name))
        return Item(name, digest, size_bytes, extension, None, crc32, offset)

    def _left_out(self, view: RecordView, name: str) -> str | None:
        """Give the code for which a content is not delivered.

        A content that its clause left in place is never looked for in the vault: that it is there would be
        the doing of another order, which this authority must not see (product.md, promise 8).
        """
        if self._is_document and self._meta is not None and _is_kept_in_place(view.values[self._meta]):
            return KEPT_IN_PLACE
        rule = self._withholding.content
        code = None if rule is None else rule(view, name)
        return None if code is None else checked_code(code)

    def _cells(self, row: Row, values: Sequence[bytes], position: int) -> str:
        native, account, media_type = (self._cell(values, j) for j in self._cell_fields)
        time_us = int.from_bytes(values[0][5:], "big", signed=True)
        basis, source = self._cell(values, self._time_basis), self._task.manifest.source
        return '","'.join((
            native, account, media_type, time_cell(time_us), basis, source, self._source_name, str(row.seq),
            str(self._task.at), str(position),
        ))  # fmt: skip

    def _cell(self, values: Sequence[bytes], number: int | None) -> str:
        if number is None:
            return ""
        if number in self._closed:
            return REDACTED
        value = values[number]
        return safe_cell(value[5:].decode()) if value[:1] == b"s" else ""


def _is_kept_in_place(meta: bytes) -> bool:
    if _KEEP_MARK not in meta:
        return False
    document = json.loads(meta[5:])
    return isinstance(document, dict) and document.get("keep") == "digest"


def _where(view: RecordView, name: str) -> str:
    native = view.native
    called = "" if native is None else f" ({native!a})"
    return f"{name} of record {view.seq} of {view.source}{called}"


def record_line(at: int, position: int, profile: int, shown: str, paths: Sequence[tuple[str, str]]) -> bytes:
    """Write a line of records.jsonl as `RecordLine.encode` does; `paths` pairs fields with members.

    Raises `RecordNotAsSealed` where the line would be over 64 MiB.
    """
    if len(paths) == 1:  # nearly always
        item = f'{{{_quoted(paths[0][0])}:"{paths[0][1]}"}}'
    else:
        item = canonical_json_int(dict(paths)).decode()
    if profile == 1:
        line = f'{{"at":{at},"item":{item},"p":1,"pos":{position},"v":[{shown}]}}\n'.encode()
    else:
        salt, _, values = shown.partition(",")
        line = f'{{"at":{at},"item":{item},{salt},"p":0,"pos":{position},"v":"{values}"}}\n'.encode()
    if len(line) > LINE_MAX_BYTES:
        raise RecordNotAsSealed(
            f"entry {at} position {position}: its line would be over 64 MiB (ledger.md §11)"
        )
    return line


@lru_cache(maxsize=256)
def _quoted(name: str) -> str:
    return canonical_json_int(name).decode()
