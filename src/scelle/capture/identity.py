"""Give items their ids: the same in every order, meaningless outside the vault (product.md)."""

from base64 import b32encode
from hashlib import blake2b, sha256
from typing import Final

from scelle.capture.store import ItemKeys, parse_side
from scelle.formats.schema import DOCUMENT_V1, Schema
from scelle.ledger.rows import Row
from scelle.vault.keys import VaultKey

NATIVE_ID: Final = "native_id"
ORIGIN: Final = "origin"
_SEQ: Final = 1
_ID_CHARACTERS: Final = 26


class ItemNames:
    """Give the ids of one source's items as they lie in its segments; its keys are derived once.

    A document's id is made of what capture keeps beside its row. A record's is made of its values: native id, and a
    version of everything but its sequence number and the place where it was read (field `origin`), so that two equal
    records of a source are one item.
    """

    def __init__(self, vault_key: VaultKey, source_name: str, schema: Schema) -> None:
        self._keys = ItemKeys(vault_key, source_name)
        self._digest = blake2b(key=vault_key.derive("item-ids"), digest_size=17)
        self._is_document = schema.digest == DOCUMENT_V1.digest
        self._native = schema.field_number(NATIVE_ID)
        self._left_out = {_SEQ, schema.field_number(ORIGIN)}

    def name(self, row: Row) -> str | None:
        """Return a row's item id; None where the source gave it no native id: an event, for instance."""
        found = parse_side(row) if self._is_document else None
        if found is not None:
            return self._text(found[0], found[1].version)
        if self._native is None:
            return None
        values = row.split_values()
        native = values[self._native]
        if native[:1] == b"n":
            return None
        state = b"".join([value for j, value in enumerate(values) if j not in self._left_out])
        return self._text(self._keys.item(native[5:]), self._keys.version(sha256(state).digest(), b""))

    def _text(self, item: bytes, version: bytes) -> str:
        state = self._digest.copy()
        state.update(item + version)
        return "i" + b32encode(state.digest()).decode().lower()[:_ID_CHARACTERS]


def item_id_of_row(vault_key: VaultKey, source_name: str, schema: Schema, row: Row) -> str | None:
    """Return the item id of one row of the source `source_name`, None where it has none; see `ItemNames`."""
    return ItemNames(vault_key, source_name, schema).name(row)
