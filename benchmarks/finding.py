"""Measure how long `find` takes over records of one order, sealed in this run: warm, from an open ledger.

``python -m benchmarks.finding [--records 200000] [--segment 200000] [--folder DIR]``. Building comes first and is not
counted; with a folder that was built before it is left out. The goal is one account over 5 x 2^20 records in less than
two seconds; each query runs twice, the second run counts.
"""

import argparse
import random
import secrets
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from scelle.find.service import Hits, find
from scelle.formats.schema import Field, Schema
from scelle.formats.values import NULL, bytes_value, integer_value, text_value
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.vault.keys import VaultKey

SCHEMA = Schema(
    "posts",
    1,
    ("source", "account", "model"),
    tuple(
        Field(name, kind)
        for name, kind in (
            ("time", "t"), ("seq", "i"), ("account", "s"), ("model", "s"), ("native_id", "s"), ("tokens", "i"),
            ("prompt", "s"), ("raw", "x"),
        )
    ),
)  # fmt: skip
ORDER, HOST, ALIAS = "o1", "platform.example", "s0001"
KEY = VaultKey(bytes(range(32)))
START_US = 1_767_225_600_000_000
STEP_US = 500_000
ACCOUNTS = 10_000
LIMIT_S = 2.0
GOAL_RECORDS = 5 << 20
WORDS = ("harbour", "boat", "lantern", "meadow", "violet", "copper", "winter", "library", "orchard", "signal")
QUERIES = (
    'account = "u17"',
    'account = "u17" and time >= "2026-01-01" and time < "2026-01-02"',
    'account in ("u17", "u18", "u19") and model = "model-3"',
    'time >= "2026-01-01" and time < "2026-01-02"',
    'model = "model-3"',
    "tokens = 17",
)


def build(folder: Path, records: int, segment: int) -> None:
    """Seal `records` records of 330 bytes, `segment` of them together; accounts follow no order."""
    drawn = random.Random(1)
    ledger = OrderLedgerWriter.create(folder, ORDER, HOST, KEY, authority=None, now_us=START_US)
    for number in range(records):
        prompt = " ".join(drawn.choices(WORDS, k=8))
        values = [
            text_value(f"account:u{drawn.randrange(ACCOUNTS)}"),
            text_value(f"model-{drawn.randrange(6)}") if drawn.random() < 0.99 else NULL,
            text_value(f"post-{number:012d}"),
            integer_value(drawn.randrange(4000)),
            text_value(prompt),
            bytes_value(f'{{"id":"post-{number:012d}","prompt":"{prompt}","nonce":"{drawn.getrandbits(160):040x}"}}'.encode()),
        ]  # fmt: skip
        writer = ledger.writer(ALIAS, SCHEMA, START_US)
        writer.append(secrets.token_bytes(32), START_US + number * STEP_US, values, bytes(32))
        if writer.records == segment:
            ledger.seal(START_US + number + 1)
    ledger.seal(START_US + records + 1)
    ledger.close()


def measured(ledger: OrderLedger, query: str) -> tuple[float, float, Hits]:
    """Run a query twice; return the second run's seconds, by the clock and of the processor, and what it found."""
    for _ in range(2):
        started, started_cpu = time.perf_counter(), time.process_time()
        found = find(ledger, query, zone=UTC, names={ALIAS: "posts"}, vault_key=KEY)
        took_s, took_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    return took_s, took_cpu_s, found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and what they are extrapolated to the goal's records."""
    parser = argparse.ArgumentParser(description="Measure `find`.")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--segment", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "po" / ORDER / "log" / "checkpoint").exists():
            started = time.perf_counter()
            build(folder, options.records, options.segment)
            print(f"built in {time.perf_counter() - started:.1f} s (not counted)")
        started = time.perf_counter()
        ledger = OrderLedger(folder, ORDER, f"{HOST}/po/{ORDER}", KEY)
        print(f"ledger opened in {time.perf_counter() - started:.3f} s")
        records = sum(manifest.records for _, manifest in ledger.manifests())
        for query in QUERIES:
            took_s, took_cpu_s, found = measured(ledger, query)
            scale = GOAL_RECORDS / records
            print(f"{query}: {found.count} of {records}")
            print(f"    {took_s:.3f} s, {took_cpu_s:.3f} s of processor time")
            print(
                f"    at {GOAL_RECORDS} records: {took_s * scale:.2f} s, {took_cpu_s * scale:.2f} s of processor time"
            )
    print(f"goal: `{QUERIES[0]}` over {GOAL_RECORDS} records in less than {LIMIT_S} s")


if __name__ == "__main__":
    main()
