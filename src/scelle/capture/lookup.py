"""Look sealed states up by what is kept beside their rows: in the catalog, and in the segments of other orders."""

import struct
from array import array
from base64 import b32encode
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import blake2b
from typing import Final

from scelle.capture.record_rows import RECORD_SIDES
from scelle.capture.store import DOCUMENT_SIDES, KEY_BYTES, order_key
from scelle.ledger.search import Tombstones, frames_of, tombstones
from scelle.ledger.segments import SegmentReader
from scelle.ledger.service import OrderLedger
from scelle.vault.catalog import Catalog
from scelle.vault.keys import VaultKey
from scelle.vault.sql import load_queries

_QUERIES: Final = load_queries("scelle.capture")
_KEY: Final = struct.Struct(">Q").unpack_from
_SEQ_AT: Final = 18
"""Where in a row's values the sequence number's eight bytes stand."""


def find_version(catalog: Catalog, vault_key: VaultKey, order: str, alias: str, item_id: str) -> int | None:
    """Return the sequence number of the newest record of a document, where that one has this item id.

    The catalog is derived and may be of another state of the log: who asks compares the row. It knows no older version.
    """
    state = blake2b(key=vault_key.derive("item-ids"), digest_size=17)
    with catalog.access() as connection:
        for item, version, seq in connection.execute(
            _QUERIES["versions"], (order_key(vault_key, order), alias)
        ):
            digest = state.copy()
            digest.update(item + version)
            if "i" + b32encode(digest.digest()).decode().lower()[:26] == item_id:
                return int(seq)
    return None


def state_key(side: bytes) -> int | None:
    """Return 64 bits that are the same for one state of one item in every order; None for a row that is no item's.

    They are made of the keyed hashes that capture keeps beside a row. Two other states share them with a probability of
    2^-64: then one is taken for the other, which can only keep more.
    """
    if len(side) in DOCUMENT_SIDES:
        return int(_KEY(side, 0)[0] ^ _KEY(side, 2 * KEY_BYTES)[0])
    if len(side) in RECORD_SIDES:
        return int(_KEY(side, 8)[0] ^ _KEY(side, 16)[0])
    return None


class SealedStateSet:
    """Hold the states that an order's log has sealed: 8 bytes for each, sorted."""

    def __init__(self, keys: Iterable[int]) -> None:
        self._keys = array("Q", sorted(array("Q", keys)))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, int):
            return False
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key


def sealed_state_set(
    ledger: OrderLedger, progress: Callable[[int], None] = lambda rows: None
) -> SealedStateSet:
    """Read the states that an order's published log holds, those under a tombstone left out; one walk over its rows."""
    erased = tombstones(ledger.entries)
    keys = array("Q")
    for at, manifest in ledger.manifests():
        if manifest.records:
            with closing(ledger.segment(manifest)) as reader:
                keys.extend(_keys_of(reader, erased.get(at, Tombstones())))
            progress(len(keys))
    return SealedStateSet(keys)


def _keys_of(reader: SegmentReader, erased: Tombstones) -> Iterable[int]:
    low = reader.manifest.seq[0]
    gone = {low + place for place in erased.records}
    for frame in frames_of(reader):
        plain = frame.plain
        for values_at, side_at, stop in frame.spans():
            key = state_key(plain[side_at + 2 : stop])
            if key is None:
                continue
            if gone and int.from_bytes(plain[values_at + _SEQ_AT : values_at + _SEQ_AT + 8], "big") in gone:
                continue
            yield key
