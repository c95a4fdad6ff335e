"""Measure what sealing a record costs in the ledger: append (commit, tag, encrypt), then close (sort, hash, sign off).

``python -m benchmarks.sealing [--records 200000] [--profile 0 --profile 1]``. Reading and parsing are not in it, nor is
the disk: processor time counts. Each profile runs in a process of its own, so that its memory is its own too.
"""

import argparse
import itertools
import multiprocessing
import random
import resource
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from scelle.formats.schema import Field, Schema
from scelle.formats.values import integer_value, text_value
from scelle.ledger.segments import MAX_RECORDS, SegmentHead, SegmentWriter
from scelle.vault.keys import VaultKey

SCHEMA = Schema(
    "benchmark.posts",
    1,
    ("source", "account", "model"),
    tuple(
        Field(name, kind)
        for name, kind in (
            ("time", "t"), ("seq", "i"), ("account", "s"), ("model", "s"), ("id", "s"), ("surface", "s"),
            ("tokens", "i"), ("decision", "s"), ("prompt", "s"),
        )
    ),
)  # fmt: skip
LIMITS_US = {0: 9.0, 1: 25.0}
"""What 50,000 and 20,000 records a second and core leave to sealing beside parsing."""
START_US = 1_767_225_600_000_000
SIDE = bytes(range(56))
KINDS = 20_000
ACCOUNTS = 10_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What sealing took: microseconds of processor time a record, what one SHA-256 of 65 bytes took meanwhile, and the
    largest memory of the process.
    """

    append_us: float
    close_us: float
    hash_us: float
    start_bytes: int
    peak_bytes: int

    @property
    def total_us(self) -> float:
        """Sum both parts."""
        return self.append_us + self.close_us


def kinds(seed: int = 1) -> list[list[bytes]]:
    """Make values of fields 2 and on: 230 bytes each, accounts that repeat, a model out of six."""
    drawn = random.Random(seed)
    words = [
        "harbour",
        "boat",
        "lantern",
        "meadow",
        "violet",
        "copper",
        "winter",
        "library",
        "orchard",
        "signal",
    ]
    return [
        [
            text_value(f"account:u{drawn.randrange(ACCOUNTS)}"),
            text_value(f"model-{drawn.randrange(6)}"),
            text_value(f"post-{number:012d}-{drawn.getrandbits(64):016x}"),
            text_value(drawn.choice(["web", "app", "api"])),
            integer_value(drawn.randrange(4000)),
            text_value(drawn.choice(["allowed", "refused", "rewritten"])),
            text_value(" ".join(drawn.choices(words, k=16))),
        ]
        for number in range(KINDS)
    ]  # fmt: skip


def keys(count: int) -> Iterator[bytes]:
    """Draw record keys, 1,024 at a time."""
    for start in range(0, count, 1024):
        drawn = secrets.token_bytes(32 * min(1024, count - start))
        yield from [drawn[at : at + 32] for at in range(0, len(drawn), 32)]


def seal(count: int, profile: int, folder: Path) -> Figures:
    """Append `count` records to one segment, close it, and say what it took."""
    rests = kinds()
    head = SegmentHead(SCHEMA.digest.hex(), profile, 0, START_US, START_US)
    writer = SegmentWriter.start(
        folder,
        origin="platform.example/po/o1",
        alias="s0001",
        number=0,
        head=head,
        schema=SCHEMA,
        tag_key=bytes(range(32)),
        vault_key=VaultKey.generate(),
    )
    start_bytes, hash_before_us = peak_bytes(), hash_us()
    started = time.process_time()
    append = writer.append
    for number, (key, rest) in enumerate(zip(keys(count), itertools.cycle(rests), strict=False)):
        append(key, START_US + 1000 * number + (number * 7919) % 5000, rest, SIDE)
    writer.flush()
    appended = time.process_time()
    writer.close(order="o1", watermark_to=START_US + 1, previous=None, anchor=None)
    closed = time.process_time()
    per_record = 1e6 / count
    return Figures(
        (appended - started) * per_record,
        (closed - appended) * per_record,
        (hash_before_us + hash_us()) / 2,
        start_bytes,
        peak_bytes(),
    )


def hash_us(count: int = 100_000) -> float:
    """Measure one SHA-256 of 65 bytes: it tells how busy the machine is, and is half of what sealing costs."""
    started, data = time.process_time(), bytes(65)
    for _ in range(count):
        sha256(data).digest()
    return (time.process_time() - started) * 1e6 / count


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seal_apart(count: int, profile: int) -> Figures:
    """Measure in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, context.Pool(1) as pool:
        return pool.apply(seal, (count, profile, Path(folder)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures beside their limits."""
    parser = argparse.ArgumentParser(description="Measure what sealing a record costs.")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--profile", type=int, action="append", choices=(0, 1))
    options = parser.parse_args(arguments)
    if not 1 <= options.records <= MAX_RECORDS:
        parser.error(f"--records is 1 to {MAX_RECORDS}")
    for profile in options.profile or (0, 1):
        figures = seal_apart(options.records, profile)
        limit = LIMITS_US[profile]
        print(
            f"profile {profile}, {options.records:,} records, {len(SCHEMA.fields)} fields, "
            f"{len(SCHEMA.dimensions)} dimensions: append {figures.append_us:.2f} + close {figures.close_us:.2f} = "
            f"{figures.total_us:.2f} us/record (goal {limit:g}, {'met' if figures.total_us < limit else 'missed'}), "
            f"as long as {figures.total_us / figures.hash_us:.0f} SHA-256 of 65 bytes ({figures.hash_us:.2f} us each); "
            f"peak {figures.peak_bytes / 1e6:.0f} MB, {figures.start_bytes / 1e6:.0f} MB before the first record"
        )


if __name__ == "__main__":
    main()
