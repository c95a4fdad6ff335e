"""Measure what one account's range proof costs in a full segment: to make it with what productions use, and to verify
it with the shipped verifier.

``python -m benchmarks.proofs [--records 1048576] [--profile 1] [--accounts 200] [--folder KEPT]``. Warm: the reader is
open, its files are in memory, and the nodes of both trees were checked against the roots. The *range proof* is what
shows that nothing is left out: the search in the sorted index, its leaves and the subtrees outside. The *line* is what
a package has of it: beside that every hit opened, with its path to the record root.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from benchmarks.sealing import ACCOUNTS, SCHEMA, SIDE, START_US, keys, kinds
from scelle.formats.entries import Segment, parse_entry
from scelle.formats.index import inner, tag, u2, u3
from scelle.formats.lines import FarNeighbour, Hit, Neighbour, RangeLine
from scelle.formats.tokens import INT64_MAX, TIME_MIN
from scelle.ledger.search import IndexBlock
from scelle.ledger.segments import MAX_RECORDS, SegmentHead, SegmentReader, SegmentWriter, parse_sort_key
from scelle.merkle.hashing import HASH_BYTES
from scelle.productions.search import FoundRange, RecordHashes, SegmentTree, find_range
from scelle.vault.keys import VaultKey
from scelle.verify import scelle_verify as verifier

LIMIT_MS: Final = 5.0
ORIGIN: Final = "platform.example/po/o1"
TAG_KEY: Final = bytes(range(32))
KEY: Final = VaultKey(bytes(range(1, 33)))
ORDINAL: Final = 2
"""Dimension account among source, account and model."""
WINDOW: Final = (TIME_MIN, INT64_MAX + 1)

Answer = TypeVar("Answer")


def build(count: int, profile: int, folder: Path) -> Segment:
    """Seal `count` records in one segment; the manifest is kept beside it, so that a folder serves twice."""
    kept = folder / "manifest"
    if not kept.exists():
        head = SegmentHead(SCHEMA.digest.hex(), profile, 0, START_US, START_US)
        writer = SegmentWriter.start(
            folder,
            origin=ORIGIN,
            alias="s0001",
            number=0,
            head=head,
            schema=SCHEMA,
            tag_key=TAG_KEY,
            vault_key=KEY,
        )
        rests, drawn = kinds(), random.Random(3)
        for number, key in enumerate(keys(count)):
            time_us = START_US + 1000 * number + (number * 7919) % 5000
            writer.append(key, time_us, rests[drawn.randrange(len(rests))], SIDE)
        manifest = writer.close(order="o1", watermark_to=START_US + 1, previous=None, anchor=None)
        kept.write_bytes(manifest.encode())
    found = parse_entry(kept.read_bytes())
    if not isinstance(found, Segment):
        raise SystemExit(f"{kept} is no manifest: name another folder")
    return found


@dataclass(slots=True)
class Timed:
    """Collect what a step took, by the clock and of the processor (milliseconds)."""

    name: str
    has_goal: bool = False
    wall_ms: list[float] | None = None
    cpu_ms: list[float] | None = None

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Do the work once and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        answer = work()
        self.cpu_ms = [*(self.cpu_ms or []), 1e3 * (time.process_time() - cpu)]
        self.wall_ms = [*(self.wall_ms or []), 1e3 * (time.perf_counter() - wall)]
        return answer

    def row(self) -> str:
        """Write one row of the table."""
        wall, cpu = sorted(self.wall_ms or [0.0]), sorted(self.cpu_ms or [0.0])
        figures = [figure for each in (wall, cpu) for figure in (statistics.median(each), _p95(each))]
        goal = ("met" if figures[-1] < LIMIT_MS else "missed") if self.has_goal else ""
        return f"{self.name:<42}" + "".join(f"{figure:10.3f}" for figure in figures) + f"  {goal}"


def _p95(ascending: Sequence[float]) -> float:
    return ascending[int(0.95 * (len(ascending) - 1))]


class Prover:
    """Answer for accounts from one open segment."""

    def __init__(self, reader: SegmentReader) -> None:
        manifest = reader.manifest
        nodes = reader.nodes()
        if nodes is None and manifest.records >= 1 << 16:
            raise SystemExit(f"{reader.folder} has no `nodes`: seal it again")
        of_records, of_index = nodes or (None, None)
        self.reader, self.manifest = reader, manifest
        self.block = IndexBlock(reader, ORDINAL, set())
        self.index = SegmentTree(reader, manifest.records, manifest.index_size, manifest.index_root, of_index)
        self.records = RecordHashes(reader, of_records, 1)

    def search(self, account: str) -> FoundRange:
        """Find the entries of an account."""
        return find_range(self.block, tag(TAG_KEY, "account", account), WINDOW)

    def prove(self, found: FoundRange) -> tuple[int, bytes, tuple[bytes, ...]]:
        """Read the leaves of a range with its neighbours, and the subtrees outside."""
        lo, hi = found.first - found.has_left, found.stop + found.has_right
        return lo, self.index.leaves(lo, hi), self.index.range_proof(lo, hi)

    def range_proof(self, account: str) -> tuple[int, bytes, tuple[bytes, ...]]:
        """Search and prove."""
        return self.prove(self.search(account))

    def line(self, account: str) -> bytes:
        """Write the whole line of a package: hits with salts from their rows and paths to the record root."""
        found = self.search(account)
        lo, _, proof = self.prove(found)
        hits = tuple(self._hit(rank) for rank in range(found.lo, found.hi))
        left = self._neighbour(account, found.lo - 1) if found.has_left else None
        right = self._neighbour(account, found.hi) if found.has_right else None
        return RangeLine(0, lo, hits, left, right, proof, "dated").encode()

    def rows(self, found: FoundRange) -> int:
        """Read the rows of a range in capture order; count them."""
        seqs = sorted(parse_sort_key(self.block.key(rank))[2] for rank in range(found.lo, found.hi))
        return len([self.reader.row(seq) for seq in seqs])

    def paths(self, found: FoundRange) -> int:
        """Lead every hit to the record root; count the hashes."""
        seqs = (parse_sort_key(self.block.key(rank))[2] for rank in range(found.lo, found.hi))
        return sum(len(self.records.path(seq)) for seq in seqs)

    def _hit(self, rank: int) -> Hit:
        _, time_us, seq = parse_sort_key(self.block.key(rank))
        salt = self.reader.row(seq).record_key[16:]
        return Hit(salt, time_us, seq, self.records.commitment(seq), self.records.path(seq))

    def _neighbour(self, account: str, rank: int) -> Neighbour:
        other, time_us, seq = parse_sort_key(self.block.key(rank))
        own = tag(TAG_KEY, "account", account)
        salt = self.reader.row(seq).record_key[16:]
        below = inner(salt, time_us, seq, self.records.commitment(seq))
        if other[0] != own[0]:
            return FarNeighbour(other[:1], u2(other, u3(other, below)))
        return FarNeighbour(other[:2], u3(other, below)) if other[1] != own[1] else FarNeighbour(other, below)


class Checker:
    """Verify with the shipped verifier: the range root alone, and whole lines."""

    def __init__(self, manifest: Segment) -> None:
        self._entry = verifier.parse_entry(0, manifest.encode())
        self._trust = verifier.Trust([], [], b"", None, [], "o1", ORIGIN, 0, TAG_KEY, "")

    def range_root(self, lo: int, leaves: bytes, proof: Sequence[bytes]) -> None:
        """Lead leaves and subtrees to the root in the manifest; end the benchmark where they do not."""
        segment = verifier.Segment(self._entry)
        hashes = [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]
        if verifier.range_root(segment.index_size, lo, hashes, list(proof)) != segment.index_root:
            raise SystemExit("a range proof does not lead to the index root")

    def line(self, account: str, data: bytes) -> None:
        """Examine one line of proofs.jsonl as `scelle-verify` does; end the benchmark where it finds something."""
        findings = verifier.Findings()
        exam = verifier.Examination(cast(Any, None), findings, self._trust, None, [], [])
        query = verifier.Query(b"", "account", None, None, "o1", {}, "C", account)
        run, shown = verifier.Run("dated", verifier.window_of(query, "dated")), verifier.Shown()
        segment = verifier.Segment(self._entry)
        verifier.RangeLine(exam, query, segment, ORDINAL, run, shown, "line").check(json.loads(data))
        if findings.count:
            raise SystemExit(f"a line was refused: {findings.listed[0]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: median and 95th percentile by the clock and of the processor, which other work disturbs less."""
    parser = argparse.ArgumentParser(description="Measure range proofs in a full segment.")
    parser.add_argument("--records", type=int, default=MAX_RECORDS)
    parser.add_argument("--profile", type=int, choices=(0, 1), default=1)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the segment here, and use it again")
    options = parser.parse_args(arguments)
    if not 1000 <= options.records <= MAX_RECORDS:
        parser.error(f"--records is 1000 to {MAX_RECORDS}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        started = time.perf_counter()
        manifest = build(options.records, options.profile, folder)
        print(f"segment made, or found, in {time.perf_counter() - started:.1f} s (not counted)")
        reader = SegmentReader(folder / "0", origin=ORIGIN, manifest=manifest, schema=SCHEMA, vault_key=KEY)
        report(reader, options.profile, options.accounts)
        reader.close()


def report(reader: SegmentReader, profile: int, count: int) -> None:
    """Measure `count` accounts, each step once, after one account that is not counted."""
    manifest = reader.manifest
    opening = Timed("open: nodes of both trees led to the roots")
    prover = opening.run(lambda: Prover(reader))
    checker = Checker(manifest)
    accounts = [f"account:u{each}" for each in random.Random(5).sample(range(ACCOUNTS), count)]
    checker.line(accounts[0], prover.line(accounts[0]))
    search, prove = Timed("  search in the sorted index"), Timed("  leaves and subtrees outside")
    make, verify = Timed("make the range proof", True), Timed("verify the range proof", True)
    rows, paths = (
        Timed("  rows of all hits, for their salts"),
        Timed("  paths of all hits to the record root"),
    )
    line, check = Timed("make the line: all of this"), Timed("verify the line")
    hits, sizes = [], []
    for account in accounts:
        proof = make.run(lambda account=account: prover.range_proof(account))  # type: ignore[misc]
        verify.run(lambda proof=proof: checker.range_root(*proof))  # type: ignore[misc]
    for account in accounts:
        found = search.run(lambda account=account: prover.search(account))  # type: ignore[misc]
        prove.run(lambda found=found: prover.prove(found))  # type: ignore[misc]
        rows.run(lambda found=found: prover.rows(found))  # type: ignore[misc]
        paths.run(lambda found=found: prover.paths(found))  # type: ignore[misc]
        hits.append(found.hi - found.lo)
    for account in accounts:
        data = line.run(lambda account=account: prover.line(account))  # type: ignore[misc]
        check.run(lambda account=account, data=data: checker.line(account, data))  # type: ignore[misc]
        sizes.append(len(data))
    print(
        f"profile {profile}, {manifest.records:,} records, {len(SCHEMA.dimensions)} dimensions, {count} accounts of "
        f"{statistics.median(hits):.0f} hits (median), lines of {statistics.median(sizes) / 1024:.0f} KiB; "
        f"goal {LIMIT_MS:g} ms of processor time at the 95th percentile"
    )
    print(f"{'milliseconds':<42}{'median':>10}{'p95':>10}{'cpu':>10}{'cpu p95':>10}  goal")
    for each in (opening, make, search, prove, verify, line, rows, paths, check):
        print(each.row())


if __name__ == "__main__":
    main()
