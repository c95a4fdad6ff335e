"""Judge the entries of a log by the rules that bind them to one another (pure; ledger.md §4, §5, §8)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.formats.entries import (
    Count,
    End,
    Entry,
    Erase,
    Gap,
    Genesis,
    Keys,
    Release,
    Request,
    Segment,
    consent_message,
    entry_faults,
    split_authority_sig,
)
from scelle.formats.notes import VerifierKey
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import make_origin

Fault: TypeAlias = tuple[str, str]
"""The code of a finding, and what is wrong."""

_DOCUMENT_PROFILE: Final = 1


@dataclass(frozen=True, slots=True)
class Chain:
    """Where one log source stands.

    `last` is None after an entry that could not be read: anything may follow.
    """

    last: Segment | None = None
    leaf: bytes = b""
    ended: bool = False
    is_known: bool = True


class Anchor(NamedTuple):
    """Say which entry names which token (SHA-256 of its file)."""

    entry: int
    digest: bytes


@dataclass(slots=True)
class LogRules:
    """Take the entries of one log in order and say what is wrong with each.

    `dimensions` tells how many dimensions the schema of a digest has, as far as it is known. After a
    damaged entry (`skip`) the rules go on with what follows, without a second finding for the same fault.
    """

    order: str
    origin: str
    dimensions: Callable[[bytes], int | None]
    chains: dict[str, Chain] = field(default_factory=dict)
    manifests: dict[int, tuple[Segment, bytes]] = field(default_factory=dict)
    anchors: list[Anchor] = field(default_factory=list)
    genesis: Genesis | None = None
    is_released: bool = False
    erased: list[Erase] = field(default_factory=list)
    """The tombstones that name a record of an earlier manifest, and one place in each block of its index."""
    _genesis_leaf: bytes = b""
    _authority: dict[int, VerifierKey] = field(default_factory=dict)
    _gaps: dict[int, str] = field(default_factory=dict)
    _erased: set[tuple[int, int]] = field(default_factory=set)
    _erased_places: set[tuple[int, int]] = field(default_factory=set)
    _is_live: bool = True
    _is_broken: bool = False

    def skip(self) -> None:
        """Go over an entry that cannot be believed: whatever follows may continue it."""
        self.chains = {alias: Chain(is_known=False) for alias in self.chains}
        self._is_broken = True

    def take(self, index: int, entry: Entry, data: bytes, leaf: bytes) -> Iterator[Fault]:
        """Yield what is wrong with the entry at `index`, whose bytes are `data`."""
        for fault in entry_faults(entry):
            yield "log.format", fault
        if entry.order != self.order:
            yield "log.chain", f"it is an entry of order {entry.order}"
        if (index == 0) != isinstance(entry, Genesis):
            yield "log.chain", "genesis is entry 0, and only entry 0"
        yield from self._rules_of(index, entry, data, leaf)

    def _rules_of(self, index: int, entry: Entry, data: bytes, leaf: bytes) -> Iterator[Fault]:
        match entry:
            case Genesis():
                yield from self._genesis(entry, leaf)
            case Segment():
                yield from self._segment(index, entry, leaf)
            case Gap():
                yield from self._gap(index, entry)
            case End():
                yield from self._end(entry)
            case Erase():
                yield from self._erase(entry)
                yield from self._consent(entry.authority_sig, data)
                yield from self._may_erase(entry)
            case Release():
                faults = list(self._consent(entry.authority_sig, data))
                self.is_released = True
                if not self._authority or (entry.authority_sig is not None and not faults):
                    self._is_live = False
                yield from faults
            case Keys():
                yield from self._consent(entry.authority_sig, data)
                yield from self._keys(entry)
            case Count() | Request():
                return

    def _genesis(self, entry: Genesis, leaf: bytes) -> Iterator[Fault]:
        if self.genesis is not None:
            return  # said already: genesis is only entry 0
        self.genesis, self._genesis_leaf = entry, leaf
        if entry.authority is not None:
            self._authority = {entry.authority.key_id: entry.authority}
        if make_origin(entry.host, entry.order) != self.origin:
            yield "log.chain", f"host and order do not give the origin {self.origin}"

    def _segment(self, index: int, entry: Segment, leaf: bytes) -> Iterator[Fault]:
        chain = self.chains.get(entry.source) or Chain(is_known=not self._is_broken)
        self.chains[entry.source] = Chain(entry, leaf)
        self.manifests[index] = (entry, leaf)
        if entry.anchor is not None:
            self.anchors.append(Anchor(index, entry.anchor))
        for is_right, what in _continuity(entry, chain):
            if not is_right:
                yield "log.chain", f"segment {entry.source} {entry.number}: {what}"
        dimensions = self.dimensions(entry.schema)
        if entry.records and dimensions is not None and entry.index_size != entry.records * dimensions:
            yield "log.chain", f"segment {entry.source} {entry.number}: index-size is not N x {dimensions}"
        if entry.schema == DOCUMENT_V1.digest and entry.profile != _DOCUMENT_PROFILE:
            yield "log.chain", f"segment {entry.source} {entry.number}: documents are sealed in profile 1"

    def _gap(self, index: int, entry: Gap) -> Iterator[Fault]:
        if self.chains.get(entry.source, Chain()).ended:
            yield "log.chain", f"a gap of {entry.source} after its end"
        if entry.interval[1] is None:
            self._gaps[index] = entry.source
        if (
            entry.closes is not None
            and self._gaps.pop(entry.closes, None) != entry.source
            and not self._is_broken
        ):
            yield "log.chain", f"it closes entry {entry.closes}, which is no open gap of {entry.source}"

    def _end(self, entry: End) -> Iterator[Fault]:
        chain = self.chains.get(entry.source, Chain())
        last = None if chain.last is None else chain.last.number
        if chain.ended:
            yield "log.chain", f"a second end of {entry.source}"
        elif entry.after != last and chain.is_known and not self._is_broken:
            yield "log.chain", f"{entry.source} ends after {entry.after}, its last segment is {last}"
        self.chains[entry.source] = Chain(chain.last, chain.leaf, ended=True)

    def _erase(self, entry: Erase) -> Iterator[Fault]:
        named = self.manifests.get(entry.segment[0])
        if named is None or named[1] != entry.segment[1]:
            if not self._is_broken:
                yield "log.chain", f"it names entry {entry.segment[0]}, which is no such manifest before it"
            return
        manifest, records = named[0], named[0].records
        place = (entry.segment[0], entry.record[0])
        blocks = [position // records for position in entry.index] if records else []
        if entry.record[0] >= records:
            yield "log.chain", f"segment {manifest.source} {manifest.number} has no record {entry.record[0]}"
        elif blocks != list(range(manifest.index_size // records)):
            yield "log.chain", "it does not name one index position in each block"
        elif place in self._erased:
            yield "log.chain", "a second tombstone for one record"
        elif not self._erased_places.isdisjoint({(entry.segment[0], each) for each in entry.index}):
            yield "log.chain", "an index position that another tombstone names"
        else:
            self.erased.append(entry)
        self._erased.add(place)
        self._erased_places.update((entry.segment[0], each) for each in entry.index)

    def _may_erase(self, entry: Erase) -> Iterator[Fault]:
        """Say where nobody could allow a tombstone (ledger.md §8); whether a paper allows it, only reading it tells."""
        if self._is_live and self.genesis is not None and not self._is_broken:
            if entry.basis == "release":
                yield "log.consent", "a tombstone on the basis of a release, and the order lives"
            elif not self._authority:
                yield "log.consent", "a tombstone before the release of an order that names no authority"

    def _consent(self, signature: bytes | None, data: bytes) -> Iterator[Fault]:
        if signature is None:
            return
        key_id, payload = split_authority_sig(signature)
        key = self._authority.get(key_id)
        if key is None:
            yield "log.consent", "authority-sig is by a key that is not the authority's"
            return
        message = consent_message(self.origin, self._genesis_leaf, data)
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(payload, message)
        except InvalidSignature:
            yield "log.consent", "authority-sig is not over this entry"

    def _keys(self, entry: Keys) -> Iterator[Fault]:
        if entry.role == "log":
            yield "log.chain", "it rotates a key of the log, which this version neither does nor follows"
        elif entry.add is not None and entry.retire is not None:
            if self._authority.pop(entry.retire.key_id, None) is None:
                yield "log.chain", "it retires a key that is not the authority's"
            self._authority[entry.add.key_id] = entry.add


def _continuity(entry: Segment, chain: Chain) -> Iterator[tuple[bool, str]]:
    """Yield each rule that binds a manifest to the one before it, and whether it is kept."""
    yield not chain.ended, "it stands after the end of its source"
    if not chain.is_known:
        return
    last = chain.last
    if last is None:
        yield entry.number == 0, "number does not start at 0"
        yield entry.prev is None, "prev names a manifest before the first"
        return
    yield entry.number == last.number + 1, f"number follows on {last.number}"
    yield entry.seq[0] == last.seq[1], f"seq starts at {entry.seq[0]}, the last one ended at {last.seq[1]}"
    yield entry.prev == chain.leaf, "prev is not the manifest before"
    yield entry.watermark[0] == last.watermark[1], "watermark does not tile"
    yield entry.position[0] == last.position[1], "position does not repeat the last one"
    same = (entry.schema, entry.profile) == (last.schema, last.profile)
    yield same, "schema or profile changed within an alias"


def anchor_faults(anchors: Sequence[Anchor], tokens: Mapping[bytes, int]) -> Iterator[tuple[int, str]]:
    """Yield (log index, fault) of each wrong anchor; `tokens` gives the checkpoint's size by a token's
    SHA-256."""
    for anchor in anchors:
        size = tokens.get(anchor.digest)
        if size is None:
            yield anchor.entry, "the token that it names is missing, or no longer as it was"
        elif size > anchor.entry:
            yield anchor.entry, f"the token that it names is over a later checkpoint, of size {size}"
