"""Take orders in and show them: the order's document sealed as item zero, its clauses as events."""

import mimetypes
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from scelle.errors import (
    InputError,
    LogDamaged,
    OrderAccountsUnreadable,
    OrderExists,
    OrderHashesUnreadable,
    OrderUnknown,
)
from scelle.formats.canonical_json import canonical_json
from scelle.formats.notes import VerifierKey, parse_vkey
from scelle.formats.records import ChunkRoot, chunk_root
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import shown
from scelle.formats.values import NULL, content_value, structure_value, text_value
from scelle.ledger.events import Event, events, record_event
from scelle.ledger.service import (
    ORDER_SOURCE,
    OrderLedger,
    OrderLedgerWriter,
    SignerMemory,
)
from scelle.orders.intake import OrderFile
from scelle.orders.lifecycle import Life, life_of
from scelle.orders.model import RESERVED_ORDER_ID, Order
from scelle.orders.papers import ListPaper
from scelle.orders.sealed import order_to_json
from scelle.orders.standing import standing
from scelle.scope.hashes import HashesFile
from scelle.scope.model import Clause, load_accounts
from scelle.scope.sealed import clause_to_json
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore


@dataclass(frozen=True, slots=True)
class SealedOrder:
    """An order as its own log tells it."""

    life: Life
    clauses: tuple[Clause, ...]
    aliases: Mapping[str, str]
    received: Event

    @property
    def order(self) -> Order:
        """Return the order's terms as they stand now."""
        return self.life.order

    @property
    def source_names(self) -> dict[str, str]:
        """Return what people call the order's sources, by alias."""
        return {alias: name for name, alias in self.aliases.items()}

    def alias_of(self, name: str) -> str:
        """Return the alias of the source that people call `name`; raises InputError."""
        if name not in self.aliases:
            there = ", ".join(sorted(self.aliases)) or "none"
            raise InputError(f"order {self.order.id} has no source {name!r}: its sources are {there}")
        return self.aliases[name]


def order_ids(vault: Path) -> list[str]:
    """List the orders of a vault; the vault's own log is none."""
    folder = vault / "po"
    if not folder.is_dir():
        return []
    taken_in = (path.name for path in folder.iterdir() if published_size(path) > 1)
    return sorted(name for name in taken_in if name != RESERVED_ORDER_ID)


def published_size(folder: Path) -> int:
    """Return the size that the checkpoint of an order's folder claims, 0 without one; one is only a genesis."""
    path = folder / "log" / "checkpoint"
    if not path.exists():
        return 0
    lines = path.read_bytes().split(b"\n", 2)
    return (
        int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else 2
    )  # what is damaged is shown, not hidden


def unknown_order(order: str) -> OrderUnknown:
    """Return what is said of an order that is not there, and of one that stands behind a wall."""
    return OrderUnknown(f"no order has the id {shown(order)}: see `scelle order list`")


def add_order(
    vault: Path,
    host: str,
    vault_key: VaultKey,
    packs: PackStore,
    order_file: OrderFile,
    sources: Mapping[str, Mapping[str, object]],
    *,
    now_us: int,
    actor: str,
    memory: SignerMemory | None = None,
) -> OrderLedgerWriter:
    """Open the order's log, seal its document as item zero, its terms, clauses and sources as events.

    `sources` are the sealed forms of the sources that its clauses name. A crash before the one commit leaves
    a genesis without item zero: adding the order again drops what that attempt left uncommitted, and begins it
    once. Raises `OrderExists`, and `OrderAccountsUnreadable` or
    `OrderHashesUnreadable` where a file that clauses name changed since it was read.
    """
    order = order_file.order
    authority = parse_vkey(order.authority_key) if order.authority_key else None
    ledger = OrderLedgerWriter.create(
        vault, order.id, host, vault_key, authority=authority, now_us=now_us, memory=memory
    )
    if any(manifest.source == ORDER_SOURCE for _, manifest in ledger.manifests()):
        ledger.close()
        raise OrderExists(f"order {order.id} is there already: `scelle order show {order.id}`")
    genesis = ledger.state.genesis
    if genesis is not None and genesis.authority != authority:
        ledger.close()
        raise OrderExists(
            f"order {order.id} was begun with another authority_key, which its log names for ever: give the "
            "order another id"
        )
    ledger.discard_uncommitted()  # of an attempt that a crash ended
    try:
        _seal_papers(ledger, packs, order_file, now_us)
    except (OrderAccountsUnreadable, OrderHashesUnreadable):
        ledger.close()  # as after a crash: what was begun is dropped when the order is added again
        raise
    record_event(ledger, now_us, actor, "received", order_to_json(order))
    for clause in order_file.clauses:
        record_event(ledger, now_us, actor, "clause", clause_to_json(clause))
    for number, name in enumerate(_named(order_file.clauses), 1):
        record_event(ledger, now_us, actor, "source", {"alias": f"s{number:04d}", **sources[name]})
    packs.sync()
    ledger.seal(now_us)
    return ledger


def _named(clauses: tuple[Clause, ...]) -> list[str]:
    names: list[str] = []
    for clause in clauses:
        names += [name for name in clause.sources if name not in names]
    return names


def _seal_papers(ledger: OrderLedgerWriter, packs: PackStore, order_file: OrderFile, now_us: int) -> None:
    """Seal the order's document as sequence 0 of `scelle.order`, the TOML bytes as given, the files of accounts."""
    papers = [("order.toml", order_file.toml_bytes)]
    if order_file.document is not None and order_file.document_name is not None:
        papers.insert(0, (order_file.document_name, order_file.document))
    received_us = order_file.order.received.at_us
    for name, data in papers:
        seal_paper(ledger, packs, name, data, now_us, received_us)
    seal_accounts(ledger, packs, order_file.accounts, now_us, received_us)


def seal_paper(
    ledger: OrderLedgerWriter,
    packs: PackStore,
    name: str,
    data: bytes,
    now_us: int,
    received_us: int | None = None,
) -> dict[str, object]:
    """Append a paper of the order to `scelle.order`, and say how an event names it; sealed with the next `seal`."""
    writer = ledger.writer(ORDER_SOURCE, DOCUMENT_V1, now_us)
    key, digest = secrets.token_bytes(32), sha256(data).digest()
    packs.put(data, digest)
    values = _paper_values(name, digest, chunk_root(key[:16], data), len(data), "order-paper")
    seq = writer.append(key, now_us if received_us is None else received_us, values)
    return {"name": name, "seq": seq, "sha256": digest.hex()}


def paper_commitment(ledger: OrderLedger, seq: int) -> bytes:
    """Return the commitment of a paper of the order by its sequence number; raise LogDamaged where none is sealed."""
    for _, manifest in ledger.manifests():
        if manifest.source == ORDER_SOURCE and manifest.seq[0] <= seq < manifest.seq[1]:
            with closing(ledger.segment(manifest)) as reader:
                return reader.hashes(seq - manifest.seq[0], seq - manifest.seq[0] + 1)
    raise LogDamaged(f"order {ledger.order} has no paper {seq}: run `scelle verify`")


def keep_paper(
    ledger: OrderLedgerWriter, packs: PackStore, name: str, data: bytes, now_us: int
) -> dict[str, object]:
    """Append a paper and make it durable, before an event that names it: a crash leaves a paper without an event."""
    named = seal_paper(ledger, packs, name, data, now_us)
    packs.sync()
    ledger.flush()
    return named


def seal_accounts(
    ledger: OrderLedgerWriter,
    packs: PackStore,
    papers: Sequence[ListPaper],
    now_us: int,
    received_us: int | None = None,
) -> None:
    """Append files of accounts and hashes to `scelle.order`; sealed with the next `seal`. Raises as `add_order`."""
    for paper in papers:
        writer = ledger.writer(ORDER_SOURCE, DOCUMENT_V1, now_us)
        key, file = secrets.token_bytes(32), paper.file
        root = _keep_accounts(packs, paper, key[:16])
        values = _paper_values(file.name, file.digest, root, file.size_bytes, file.kind)
        writer.append(key, now_us if received_us is None else received_us, values)


def _keep_accounts(packs: PackStore, paper: ListPaper, record_salt: bytes) -> bytes:
    """Keep the bytes of a file of accounts or hashes; return their chunk root.

    They are read once more, since they need not fit into memory; other bytes than those that were read before
    are refused, and lie in the packs without a name.
    """
    chunks = ChunkRoot(record_salt)

    def passing() -> Iterator[bytes]:
        for piece in paper.pieces():
            chunks.update(piece)
            yield piece

    digest, _, _ = packs.put_stream(passing())
    if digest != paper.file.digest:
        is_hashes = paper.file.kind == HashesFile.kind
        raise (OrderHashesUnreadable if is_hashes else OrderAccountsUnreadable)(
            f"{paper.file.name!a}: changed while the order was taken in; add the order again"
        )
    return chunks.digest()


def _paper_values(name: str, digest: bytes, root: bytes, size_bytes: int, kind: str) -> list[bytes]:
    """Return fields 2 and on of a document of the order."""
    media_type = "application/toml" if name.endswith(".toml") else mimetypes.guess_type(name)[0]
    return [
        NULL,
        text_value(name),
        text_value(media_type or "application/octet-stream"),
        content_value(digest, size_bytes),
        content_value(root, size_bytes),
        text_value("received"),
        structure_value(canonical_json({"kind": kind})),
    ]


def sealed_order(ledger: OrderLedger) -> SealedOrder:
    """Read an order from its own log; `with_accounts` reads the files that its clauses name.

    With a backing only what two people stand behind loosens (`orders.standing`).
    """
    sealed = list(events(ledger))
    if ledger.backing is not None:
        sealed = standing(sealed, ledger.backing.asked).events
    life = life_of(sealed)
    if life is None:
        raise OrderUnknown(
            f"order {ledger.order} was never completely taken in: `scelle order add` its file again"
        )
    aliases = {
        str(event.body["name"]): str(event.body["alias"]) for event in sealed if event.kind == "source"
    }
    received = next(event for event in sealed if event.kind == "received")
    return SealedOrder(life, life.active_clauses, aliases, received)


def with_accounts(sealed: SealedOrder, packs: PackStore) -> SealedOrder:
    """Return the order with the accounts and hashes that its clauses name by files, read from the vault; for passes.

    Raises ClauseWrong where a kept file is not what was sealed, and what `PackStore.read` raises.
    """
    return replace(sealed, clauses=load_accounts(sealed.clauses, packs.read))


def authority_key(order: Order) -> VerifierKey | None:
    """Return the authority's key, where the order names one."""
    return parse_vkey(order.authority_key) if order.authority_key else None
