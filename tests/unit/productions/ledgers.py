"""Small ledgers for productions: sources, schemas and profiles of all kinds, and the shipped verifier."""

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.formats.canonical_json import canonical_json
from scelle.formats.entries import Erase, authority_sig, consent_message
from scelle.formats.entries import Request as RequestEntry
from scelle.formats.notes import COSIGNATURE_V1, make_vkey
from scelle.formats.packages import Trust
from scelle.formats.records import chunk_root
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Field, Schema
from scelle.formats.values import NULL, UNDATED, content_value, encode_value, structure_value, text_value
from scelle.ledger.service import EVENTS_SOURCE, ORDER_SOURCE, Looked, OrderLedgerWriter
from scelle.merkle.hashing import leaf_hash
from scelle.productions.model import ProductionReport, Request, query_for
from scelle.productions.service import produce
from scelle.productions.testing import MemoryContents
from scelle.productions.trust import trust_for
from scelle.vault.keys import VaultKey

VERIFIER = Path(__file__).parents[3] / "src/scelle/verify/scelle_verify.py"
KEY = VaultKey(bytes(range(32)))
START_US = 1_770_000_000_000_000
HOUR_US = 3_600_000_000
ORDER = "o1"
AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
AUTHORITY_KEY = make_vkey("authority.example/seal", COSIGNATURE_V1, AUTHORITY.public_key().public_bytes_raw())

CHAT = Schema(
    "chat",
    1,
    ("source", "account", "model"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("model", "s"),
        Field("text", "s"),
        Field("picture", "h"),
        Field("sketch", "h"),
        Field("raw", "x"),
    ),
)
LOGIN = Schema(
    "login",
    1,
    ("source", "account"),
    (Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("ip", "s"), Field("scan", "h")),
)
PROMPT = Schema(
    "prompt",
    1,
    ("source", "account", "model", "surface"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("model", "s"),
        Field("surface", "s"),
        Field("native_id", "s"),
        Field("prompt", "s"),
        Field("origin", "j"),
    ),
)
"""A shape as sources of records give it: two dimensions more, and where each record was read."""


@dataclass
class Sealed:
    """One record as a test knows it."""

    alias: str
    seq: int
    time_us: int
    account: str | None
    native: str | None = None


@dataclass
class Small:
    """A ledger being filled, and a naive list of what is in it."""

    folder: Path
    with_authority: bool = False
    contents: MemoryContents = field(default_factory=MemoryContents)
    records: list[Sealed] = field(default_factory=list)
    now_us: int = START_US

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = OrderLedgerWriter.create(
            self.folder / "vault",
            ORDER,
            "platform.example",
            KEY,
            authority=AUTHORITY_KEY if self.with_authority else None,
            now_us=START_US,
        )

    def document(
        self,
        alias: str,
        time_us: int,
        data: bytes,
        native: str = "notes/a.txt",
        account: str | None = "custodian:staff-017@example.org",
        media_type: str = "text/plain",
        meta: Mapping[str, Any] | None = None,
    ) -> Sealed:
        digest = self.contents.put(data)
        key = secrets.token_bytes(32)
        values = [
            _text(account),
            text_value(native),
            text_value(media_type),
            content_value(digest, len(data)),
            content_value(chunk_root(key[:16], data), len(data)),
            text_value("mtime" if time_us != UNDATED else "none"),
            structure_value(canonical_json(dict(meta or {"mode": 420}))),
        ]
        writer = self.ledger.writer(alias, DOCUMENT_V1, self.now_us)
        seq = writer.append(key, time_us, values)
        return self._note(alias, seq, time_us, account, native)

    def chat(
        self,
        alias: str,
        time_us: int,
        account: str | None,
        text: str = "hello",
        pictures: Sequence[bytes | None] = (None, None),
        profile: int = 1,
        model: str | None = "m-1",
    ) -> Sealed:
        shown = [
            NULL if data is None else content_value(self.contents.put(data), len(data)) for data in pictures
        ]
        values = [
            _text(account),
            _text(model),
            text_value(text),
            *shown,
            encode_value("x", b"raw " + text.encode()),
        ]
        writer = self.ledger.writer(alias, CHAT, self.now_us, profile)
        seq = writer.append(secrets.token_bytes(32), time_us, values)
        return self._note(alias, seq, time_us, account)

    def prompt(
        self,
        alias: str,
        time_us: int,
        account: str | None,
        model: str | None,
        native: str | None = "p-1",
        prompt: str = "a red boat",
        origin: int = 1,
        profile: int = 1,
    ) -> Sealed:
        values = [
            _text(account),
            _text(model),
            _text("web"),
            _text(native),
            text_value(prompt),
            structure_value(canonical_json({"line": origin})),
        ]
        writer = self.ledger.writer(alias, PROMPT, self.now_us, profile)
        seq = writer.append(secrets.token_bytes(32), time_us, values)
        return self._note(alias, seq, time_us, account, native)

    def login(self, alias: str, time_us: int, account: str | None, ip: str = "192.0.2.1") -> Sealed:
        writer = self.ledger.writer(alias, LOGIN, self.now_us)
        seq = writer.append(secrets.token_bytes(32), time_us, [_text(account), text_value(ip), NULL])
        return self._note(alias, seq, time_us, account)

    def event(self, kind: str, body: Mapping[str, Any]) -> Sealed:
        writer = self.ledger.writer(EVENTS_SOURCE, EVENT_V1, self.now_us)
        values = [text_value("operator:op-1"), text_value(kind), structure_value(canonical_json(dict(body)))]
        seq = writer.append(secrets.token_bytes(32), self.now_us, values)
        return self._note(EVENTS_SOURCE, seq, self.now_us, "operator:op-1")

    def item_zero(self, data: bytes = b"order") -> Sealed:
        return self.document(ORDER_SOURCE, self.now_us, data, "order", None, "application/pdf")

    def _note(
        self, alias: str, seq: int, time_us: int, account: str | None, native: str | None = None
    ) -> Sealed:
        record = Sealed(alias, seq, time_us, account, native)
        self.records.append(record)
        return record

    def seal(self, looked: Sequence[Looked] = ()) -> None:
        self.now_us += HOUR_US // 6
        self.ledger.seal(self.now_us, looked=looked)

    def ask(self, request: Request) -> None:
        """Log a request as the caller of `produce` does."""
        digest = sha256(query_for(request, ORDER).encode()).digest()
        self.now_us += 1_000_000
        self.ledger.seal(self.now_us, entries=[RequestEntry(ORDER, digest)])

    def erase(self, record: Sealed, places: Sequence[int], rc: bytes) -> None:
        """Put a tombstone with the authority's consent into the log; the files stay as they are."""
        index = next(
            at
            for at, manifest in self.ledger.manifests()
            if manifest.source == record.alias and manifest.seq[0] <= record.seq < manifest.seq[1]
        )
        manifest = self.ledger.log.entries[index]
        lo = next(m.seq[0] for at, m in self.ledger.manifests() if at == index)
        entry = Erase(
            order=ORDER,
            segment=(index, leaf_hash(manifest)),
            record=(record.seq - lo, rc),
            index=tuple(places),
            ground="consent",
            time=self.now_us,
            basis="consent",
            document=None,
            authority_sig=bytes(68),
        )
        message = consent_message(self.ledger.origin, self.ledger.state.genesis_leaf, entry.encode())
        signature = authority_sig(AUTHORITY_KEY, AUTHORITY.sign(message))
        self.now_us += 1_000_000
        self.ledger.seal(self.now_us, entries=[replace(entry, authority_sig=signature)])

    def produce(self, request: Request, name: str = "p.scelle", **options: Any) -> ProductionReport:
        settings: dict[str, Any] = {"prefix": "SCL", "first_number": 1, **options}
        return produce(self.ledger, self.contents, request, out=self.folder / name, **settings)

    def trust(self, **options: Any) -> Trust:
        return trust_for(self.ledger, **options)


def _text(text: str | None) -> bytes:
    return NULL if text is None else text_value(text)


@dataclass
class Verdict:
    """What the single-file verifier said."""

    exit_code: int
    report: dict[str, Any]

    @property
    def codes(self) -> list[str]:
        return [finding["code"] for finding in self.report["findings"]]


def verify(small: Small, request: Request, name: str = "p.scelle", *arguments: str) -> Verdict:
    """Run the shipped verifier as the authority does: isolated, with its own trust and query."""
    trust, query = small.folder / "trust.json", small.folder / "query.json"
    trust.write_bytes(small.trust().encode())
    query.write_bytes(query_for(request, ORDER).encode())
    command = [sys.executable, "-I", str(VERIFIER), str(small.folder / name), "--trust", str(trust)]
    done = subprocess.run(
        [*command, "--query", str(query), "--json", *arguments], capture_output=True, check=False, timeout=120
    )
    assert done.stdout, done.stderr.decode()
    return Verdict(done.returncode, json.loads(done.stdout))


def verify_opening(small: Small, data: bytes) -> Verdict:
    """Let the shipped verifier judge the proof of one record, in a clean process."""
    trust, opening = small.folder / "trust.json", small.folder / "judged.proof"
    trust.write_bytes(small.trust().encode())
    opening.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), "--opening", str(opening), "--trust", str(trust), "--json"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr.decode()
    return Verdict(done.returncode, json.loads(done.stdout))


def member(small: Small, path: str, name: str = "p.scelle") -> bytes:
    with ZipFile(small.folder / name) as archive:
        return archive.read(path)


def lines(small: Small, path: str, name: str = "p.scelle") -> list[dict[str, Any]]:
    return [json.loads(line) for line in member(small, path, name).splitlines()]


def members(small: Small, name: str = "p.scelle") -> list[str]:
    with ZipFile(small.folder / name) as archive:
        return archive.namelist()
