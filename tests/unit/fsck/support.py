"""Small vaults made by the real writers, and ways to hurt them."""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from scelle.formats.canonical_json import canonical_json
from scelle.formats.compartments import CompartmentTail, restricted_meta
from scelle.formats.entries import Count, Entry, Erase, Gap, Release, Segment, parse_entry
from scelle.formats.records import chunk_root
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import NULL, Content, content_value, structure_value, text_value
from scelle.fsck.catalog import catalog_tables
from scelle.fsck.frames import frame_context
from scelle.fsck.model import Finding, VerifyReport
from scelle.fsck.service import verify
from scelle.ledger.erasing import Target, erase, finish_erasure
from scelle.ledger.events import record_event
from scelle.ledger.frames import FrameWriter
from scelle.ledger.log import LogReader, LogWriter
from scelle.ledger.rows import Row
from scelle.ledger.service import ORDER_SOURCE, Looked, OrderLedger, OrderLedgerWriter
from scelle.ledger.signing import OrderSecrets, Signer
from scelle.vault.catalog import CATALOG_NAME, create_catalog
from scelle.vault.contents import CatalogContentIndex
from scelle.vault.durable import AppendFile
from scelle.vault.keys import VaultKey
from scelle.vault.packs import PackStore
from scelle.vault.posix import PosixBackend
from scelle.vault.service import create_vault

HOST = "platform.example"
ORDER = "o-1"
START_US = 1_770_000_000_000_000
HOUR_US = 3_600_000_000
META = {"kind": "file", "mode": "100644", "xattrs": []}
DOCUMENTS: Mapping[str, bytes] = {
    "docs/a.txt": b"a red boat\n" * 20,
    "docs/b.txt": b"a harbour\n" * 30,
    "docs/empty": b"",
    "docs/mére.bin": bytes(range(256)) * 8,
}


@dataclass
class Made:
    """A vault that was made, closed, and may be hurt."""

    path: Path
    key: VaultKey

    def verify(self, **options: object) -> VerifyReport:
        """Verify it in this process."""
        return verify(self.path, self.key, **{"workers": 1, **options})  # type: ignore[arg-type]

    def order(self, order: str = ORDER) -> Path:
        return self.path / "po" / order

    def log(self, order: str = ORDER) -> Path:
        return self.order(order) / "log"

    def segment(self, alias: str = "s0001", number: int | str = 0, order: str = ORDER) -> Path:
        return self.order(order) / "seg" / alias / str(number)


@contextmanager
def writing(made: Made, order: str = ORDER) -> Iterator[tuple[OrderLedgerWriter, PackStore]]:
    """Open ledger and packs of a vault for writing, as a command does."""
    path = made.path / CATALOG_NAME
    catalog = create_catalog(path, catalog_tables(made.key.vault_id))
    packs = PackStore(
        PosixBackend(made.path), made.key, CatalogContentIndex(catalog, made.key), background=False
    )
    packs.recover()
    ledger = OrderLedgerWriter.create(made.path, order, HOST, made.key, authority=None, now_us=START_US)
    try:
        yield ledger, packs
    finally:
        packs.close()
        ledger.close()
        catalog.close()


def add_document(
    ledger: OrderLedgerWriter,
    packs: PackStore,
    native: str,
    data: bytes,
    *,
    alias: str = "s0001",
    time_us: int = START_US - HOUR_US,
    keep: bool = True,
    account: str | None = "custodian:staff-017@example.org",
) -> bytes:
    """Put a document into the packs and append its record; return the record key."""
    record_key, digest = secrets.token_bytes(32), sha256(data).digest()
    if keep:
        packs.put(data, digest)
    meta = META if keep else {**META, "keep": "digest"}
    values = [
        NULL if account is None else text_value(account),
        text_value(native),
        text_value("text/plain"),
        content_value(digest, len(data)),
        content_value(chunk_root(record_key[:16], data), len(data)),
        text_value("mtime"),
        structure_value(canonical_json(meta)),
    ]
    ledger.writer(alias, DOCUMENT_V1, START_US).append(record_key, time_us, values, b"side")
    return record_key


def add_restricted(ledger: OrderLedgerWriter, packs: PackStore, ciphertext: bytes) -> None:
    """Put a ciphertext into the packs and append the record of a restricted document that names it."""
    digest, tail = sha256(ciphertext).digest(), CompartmentTail(bytes(16), bytes(16), bytes(32), bytes(32), 9)
    packs.put(ciphertext, digest)
    values = [
        NULL,
        text_value("restricted:r"),
        NULL,
        *tail.closed_values(),
        text_value("mtime"),
        structure_value(restricted_meta(Content(digest, len(ciphertext)), is_kept=True)),
    ]
    writer = ledger.writer("s0001", DOCUMENT_V1, START_US)
    writer.append(secrets.token_bytes(32), START_US - HOUR_US, values, b"side")


def make_vault(
    folder: Path,
    documents: Mapping[str, bytes] = DOCUMENTS,
    *,
    order: str = ORDER,
    recipients: Sequence[str] = (),
    fill: Callable[[OrderLedgerWriter, PackStore], None] | None = None,
) -> Made:
    """Make a vault with one order: item zero, two passes of documents, events, a gap and a count."""
    opened = create_vault(folder / "vault", host=HOST, key_file=folder / "the.key", recipients=recipients)
    made = Made(opened.path, opened.key)
    add_order(made, documents, order=order, fill=fill)
    return made


def add_order(
    made: Made,
    documents: Mapping[str, bytes] = DOCUMENTS,
    *,
    order: str = ORDER,
    fill: Callable[[OrderLedgerWriter, PackStore], None] | None = None,
) -> None:
    """Add an order with its documents to a vault."""
    with writing(made, order) as (ledger, packs):
        add_document(ledger, packs, "order.pdf", b"an invented order\n", alias=ORDER_SOURCE, account=None)
        record_event(ledger, START_US, "op-1", "received", {"reference": "R/1"})
        packs.sync()
        ledger.seal(START_US + 1)
        for number, (native, data) in enumerate(documents.items()):
            add_document(ledger, packs, native, data, time_us=START_US - number * HOUR_US)
        if fill is not None:
            fill(ledger, packs)
        record_event(ledger, START_US + 2, "op-1", "pass", {"offered": len(documents)})
        packs.sync()
        entries: list[Entry] = [
            Gap(order, "s0001", (START_US, START_US + 5), "vanished-while-read", 1, None),
            Count(order, "s0001", (START_US, START_US + 5), 4, 4, 0, 0, 0, "files"),
        ]
        ledger.seal(START_US + 10, looked=[Looked("s0002", DOCUMENT_V1)], entries=entries)


def codes(report: VerifyReport) -> list[str]:
    """List the codes of the findings."""
    return [finding.code for finding in report.findings]


def only(report: VerifyReport, code: str) -> Finding:
    """Return the one finding of a code."""
    found = [finding for finding in report.findings if finding.code == code]
    assert len(found) == 1, report.findings
    return found[0]


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file, whatever its mode."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    overwrite(path, bytes(data))


def overwrite(path: Path, data: bytes) -> None:
    """Write a file, whatever its mode."""
    path.chmod(0o600)
    path.write_bytes(data)


def evidence_files(made: Made) -> list[Path]:
    """List the files of which every byte is evidence (docs/formats/ledger-files.md, docs/formats/vault.md)."""
    derived = ("catalog.db", "writer.lock", "lock.db", "head")
    return sorted(
        path
        for path in made.path.rglob("*")
        if path.is_file() and path.name not in derived and not path.name.startswith(CATALOG_NAME)
    )


def relative(made: Made, path: Path) -> str:
    return str(path.relative_to(made.path))


def names(report: VerifyReport, what: str) -> bool:
    """Tell whether some finding names a file or an item."""
    return any(what in finding.subject or what in finding.detail for finding in report.findings)


# -- what who has every key can do


def plain_rows(made: Made, alias: str = "s0001", number: int = 0) -> list[Row]:
    """Open the rows of a segment."""
    ledger = OrderLedger(made.path, ORDER, f"{HOST}/po/{ORDER}", made.key)
    manifest = next(m for _, m in ledger.manifests() if (m.source, m.number) == (alias, number))
    reader = ledger.segment(manifest)
    rows = list(reader.rows())
    reader.close()
    return rows


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Write rows as a frame's plaintext."""
    return b"".join(
        row.record_key
        + len(row.values).to_bytes(4, "big")
        + row.values
        + len(row.side).to_bytes(2, "big")
        + row.side
        for row in rows
    )


def reseal(
    made: Made,
    rows: Sequence[bytes],
    index: Sequence[bytes] | None = None,
    alias: str = "s0001",
    number: int = 0,
) -> None:
    """Write frames of rows and index anew, under new keys, as the holder of the vault's key can."""
    folder = made.segment(alias, number)
    if index is None:
        ledger = OrderLedger(made.path, ORDER, f"{HOST}/po/{ORDER}", made.key)
        manifest = next(m for _, m in ledger.manifests() if (m.source, m.number) == (alias, number))
        reader = ledger.segment(manifest)
        index = [b"".join(reader.index_keys(dimension)) for dimension in (1, 2, 3)]
        reader.close()
    for name in ("rows", "index", "keys"):
        (folder / name).unlink()
    keys = AppendFile(folder / "keys")
    for name, plains in (("rows", rows), ("index", index)):
        frames = AppendFile(folder / name)
        context = frame_context(f"{HOST}/po/{ORDER}", alias, number, name)
        writer = FrameWriter(frames, keys, made.key, context, 0)
        for plain in plains:
            writer.write(plain)
        frames.close()
    keys.close()


def log_entries(made: Made, order: str = ORDER) -> list[bytes]:
    """Read the entries of an order's log."""
    return list(LogReader(made.log(order), f"{HOST}/po/{order}").entries)


def forge_log(made: Made, entries: Sequence[bytes], order: str = ORDER) -> None:
    """Make the log anew from other entries, signed with the order's own keys."""
    origin = f"{HOST}/po/{order}"
    log = made.log(order)
    order_secrets = OrderSecrets.opened(origin, (made.order(order) / "secrets").read_bytes(), made.key)
    for name in ("tile", "staging"):
        shutil.rmtree(log / name)
    for name in ("lock.db", "checkpoint"):
        (log / name).unlink()
    writer = LogWriter(log, Signer(order_secrets))
    writer.commit(entries, START_US)
    writer.close()


def erase_records(made: Made, *seqs: int, alias: str = "s0001") -> None:
    """Let go of the order, and erase some records of its first segment of a log source, as a command does."""
    with writing(made) as (ledger, _):
        paper = next(m for _, m in ledger.manifests() if m.source == ORDER_SOURCE)
        reader = ledger.segment(paper)
        document = reader.hashes(0, 1)
        reader.close()
        if not any(isinstance(entry, Release) for entry in ledger.entries):
            ledger.commit_entries([Release(ORDER, "lifted", START_US, document, None)], START_US + 40)
        at = next(index for index, m in ledger.manifests() if m.source == alias)
        erase(
            ledger,
            made.key,
            [Target(at, seq) for seq in seqs],
            ground="court-order",
            basis="release",
            document=document,
            signatures={},
            now_us=START_US + 50,
        )
        finish_erasure(ledger)


def with_old_files(made: Made, *seqs: int) -> None:
    """Erase records, and put the files from before back, as from a copy."""
    names = ("rows", "index", "keys")
    before = {name: (made.segment() / name).read_bytes() for name in names}
    erase_records(made, *seqs)
    for name, data in before.items():
        overwrite(made.segment() / name, data)


def with_other_tombstones(made: Made, change: Callable[[Erase], Erase | None]) -> None:
    """Erase a record, and let the log, under a valid signature, say something else of it."""
    erase_records(made, 1)
    entries = []
    for data in log_entries(made):
        entry = parse_entry(data)
        changed = change(entry) if isinstance(entry, Erase) else entry
        if changed is not None:
            entries.append(changed.encode())
    forge_log(made, entries)


def forge_manifest(made: Made, change: Callable[[Segment], Segment]) -> None:
    """Change the manifest of the first segment of documents, under a valid signature."""
    entries = log_entries(made)
    for index, data in enumerate(entries):
        entry = parse_entry(data)
        if isinstance(entry, Segment) and (entry.source, entry.number) == ("s0001", 0):
            entries[index] = change(entry).encode()
    forge_log(made, entries)


def index_blocks(made: Made) -> list[bytes]:
    """Read the sort keys of the first segment of documents, dimension by dimension."""
    ledger = OrderLedger(made.path, ORDER, f"{HOST}/po/{ORDER}", made.key)
    manifest = next(m for _, m in ledger.manifests() if m.source == "s0001" and m.records)
    reader = ledger.segment(manifest)
    blocks = [b"".join(reader.index_keys(dimension)) for dimension in (1, 2, 3)]
    reader.close()
    return blocks


def with_value(row: Row, field: int, value: bytes) -> Row:
    """Give a row with another value in one field."""
    values = row.split_values()
    values[field] = value
    return replace(row, values=b"".join(values))
