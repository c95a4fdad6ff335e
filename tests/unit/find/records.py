"""A ledger of records and documents of all kinds, and the naive list of what is in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.find.service import Hits, find
from scelle.formats.canonical_json import canonical_json
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1, Field, Schema
from scelle.formats.values import NULL, UNDATED, content_value, encode_value, structure_value, text_value
from scelle.ledger import search, segments
from scelle.ledger.service import EVENTS_SOURCE, ORDER_SOURCE, Looked, OrderLedgerWriter
from scelle.vault.keys import VaultKey

KEY = VaultKey(bytes(range(32)))
START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY_US = 86_400_000_000
ORDER = "o1"
NAMES = {"s0001": "docs", "s0002": "posts", "s0003": "logins"}
FRAME_ROWS = 7

POSTS = Schema(
    "posts",
    1,
    ("source", "account", "model", "native"),
    tuple(
        Field(name, letter)
        for name, letter in (
            ("time", "t"), ("seq", "i"), ("account", "s"), ("model", "s"), ("native_id", "s"), ("tokens", "i"),
            ("score", "d"), ("price", "D"), ("flagged", "b"), ("raw", "x"), ("more", "j"), ("User ID", "s"),
            ("edited", "t"),
        )
    ),
)  # fmt: skip
LOGINS = Schema(
    "logins",
    1,
    ("source", "account"),
    tuple(
        Field(name, letter)
        for name, letter in (("at", "t"), ("seq", "i"), ("user", "s"), ("tokens", "s"), ("native_id", "s"))
    ),
)


@dataclass
class Known:
    """One record as a test knows it: decoded values by the names that queries use."""

    alias: str
    seq: int
    time_us: int | None
    identifier: str | None
    values: Mapping[str, Any]

    @property
    def source(self) -> str:
        return NAMES.get(self.alias.partition("/")[0], self.alias)


@dataclass(repr=False)
class World:
    """A ledger being filled."""

    folder: Path
    records: list[Known] = field(default_factory=list)
    now_us: int = START_US

    def __post_init__(self) -> None:
        self.ledger = OrderLedgerWriter.create(
            self.folder, ORDER, "platform.example", KEY, authority=None, now_us=START_US
        )

    def post(
        self, time_us: int | None, identifier: str | None, alias: str = "s0002/1", **given: Any
    ) -> Known:
        values = {"model": None, "native_id": "p", "tokens": None, "score": None, "price": None, "flagged": None,
                  "raw": None, "more": None, "User ID": None, "edited": None, **given}  # fmt: skip
        encoded = [_encoded(values[each.name], each.type) for each in POSTS.fields[3:]]
        return self._append(alias, POSTS, time_us, identifier, encoded, values)

    def login(self, time_us: int | None, identifier: str | None, tokens: str | None = None) -> Known:
        values = {"tokens": tokens, "native_id": "l", "user": identifier}
        encoded = [_encoded(tokens, "s"), text_value("l")]
        return self._append("s0003/1", LOGINS, time_us, identifier, encoded, values)

    def document(
        self,
        native: str,
        time_us: int | None = START_US,
        identifier: str | None = "custodian:staff-017@example.org",
        alias: str = "s0001",
        media_type: str = "text/plain",
    ) -> Known:
        data = native.encode()
        content = content_value(sha256(data).digest(), len(data))
        meta = {"mode": 420, "headers": [{"name": "subject", "value": f"about {native}"}]}
        encoded = [text_value(native), text_value(media_type), content, content, text_value("mtime"),
                   structure_value(canonical_json(meta))]  # fmt: skip
        values = {"native_id": native, "media_type": media_type, "content": sha256(data).hexdigest(),
                  "size": len(data)}  # fmt: skip
        return self._append(alias, DOCUMENT_V1, time_us, identifier, encoded, values)

    def event(self, kind: str) -> Known:
        encoded = [text_value(kind), structure_value(b"{}")]
        return self._append(EVENTS_SOURCE, EVENT_V1, self.now_us, "operator:op-1", encoded, {"kind": kind})

    def seal(self) -> None:
        self.now_us += 1_000_000
        self.ledger.seal(self.now_us)

    def find(self, query: str, limit: int = 1000, zone: tzinfo = UTC, **options: Any) -> Hits:
        return find(self.ledger, query, zone=zone, names=NAMES, vault_key=KEY, limit=limit, **options)

    def naive(self, passes: Callable[[Known], bool], *, reserved: bool = False) -> list[Known]:
        """Give the matches in the order in which `find` gives them."""
        found = [
            each
            for each in self.records
            if (reserved or not each.alias.startswith("scelle.")) and passes(each)
        ]
        return sorted(found, key=lambda each: (each.alias, each.seq))

    def _append(
        self,
        alias: str,
        schema: Schema,
        time_us: int | None,
        identifier: str | None,
        encoded: list[bytes],
        values: Mapping[str, Any],
    ) -> Known:
        writer = self.ledger.writer(alias, schema, self.now_us)
        seq = writer.append(
            sha256(f"{alias} {len(self.records)}".encode()).digest(),
            UNDATED if time_us is None else time_us,
            [NULL if identifier is None else text_value(identifier), *encoded],
        )
        self.records.append(Known(alias, seq, time_us, identifier, values))
        return self.records[-1]


def _encoded(value: Any, letter: str) -> bytes:
    if value is None:
        return encode_value("t", UNDATED) if letter == "t" else NULL
    if letter == "j":
        return structure_value(canonical_json(value))
    return encode_value(letter, str(value) if isinstance(value, Decimal) else value)


def shape(hits: Hits) -> list[tuple[str, str | None, str | None]]:
    """Give what a test compares items by."""
    return [(each.source, each.account, each.time) for each in hits.items]


def shape_of(known: list[Known]) -> list[tuple[str, str | None, str | None]]:
    return [(each.source, each.identifier, time_text(each.time_us)) for each in known]


def time_text(time_us: int | None) -> str | None:
    if time_us is None:
        return None
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + (
        f"{time_us % 1_000_000:06d}Z"
    )


@contextmanager
def small_frames() -> Iterator[None]:
    """Let frames hold seven rows, so that a small ledger has many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (segments, search):
            patch.setattr(module, "FRAME_ROWS", FRAME_ROWS)
        patch.setattr(segments, "ROW_FRAME_ROWS", FRAME_ROWS)
        yield


def filled(folder: Path) -> World:
    """Make a ledger with several segments of several sources."""
    world = World(folder)
    world.document("order.pdf", alias=ORDER_SOURCE, identifier=None)
    world.event("received")
    world.event("clause")
    models = ["m-1", "m-2", "m-\u00e9", "", None]
    holders = [
        "account:u1",
        "account:u2",
        "handle:@a",
        None,
        "custodian:u1",
        "account:",
        "custodian:staff-017@example.org",
    ]
    for number in range(60):
        time_us = None if number % 9 == 4 else START_US + (number - 20) * DAY_US // 4
        world.post(
            time_us,
            holders[number % 7],
            model=models[number % 5],
            native_id=f"p-{number % 13}",
            tokens=None if number % 8 == 3 else number % 4,
            score=[None, 0.1, -0.0, 2.5, float("nan")][number % 5],
            price=[None, Decimal("0.10"), Decimal("1e3"), Decimal("-7")][number % 4],
            flagged=[None, True, False][number % 3],
            raw=[None, b"a red boat", b"\xffred"][number % 3],
            more=[None, {"prompt": "a boat", "n": number % 4, "on": True}, {"list": [1, {"k": "v"}]}][number % 3],
            edited=None if number % 2 else START_US + number * DAY_US,
            **{"User ID": f"U {number % 3}"},
        )  # fmt: skip
        if number % 25 == 24:
            world.seal()
    for number in range(20):
        world.login(START_US + number * DAY_US, holders[number % 5], tokens=[None, "1", "x"][number % 3])
        world.document(f"notes/{number % 6}.txt", None if number == 7 else START_US + number * DAY_US // 2,
                       media_type=["text/plain", "application/pdf"][number % 2])  # fmt: skip
    world.seal()
    world.ledger.seal(world.now_us + 1, looked=[Looked("s0004", DOCUMENT_V1)])
    return world
