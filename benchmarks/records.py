"""Seal millions of rows, answer one account, and select rows beside DuckDB and grep, in one run.

``python -m benchmarks.records --records 1000000 --work DIR``. The corpus R is JSONL of an invented AI image service,
about 340 bytes a row, the same on every machine. Processor time is that of each command's whole process tree;
what is not installed is skipped with a word.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.corpora import vocabulary
from benchmarks.measure import Command, StepFailed, Usage, run, tree_size

ORDER: Final = "bench-r"
FILES: Final = 20
YEAR_US: Final = 365 * 86_400_000_000
START_US: Final = 1_735_689_600_000_000
MODELS: Final = ("sdxl-turbo", "imagine-2", "imagine-2-hd", "flux-lite")
DECISIONS: Final = (*("allow",) * 17, "block", "review", "rewrite")
PATTERN: Final = "portfolio|stack"
SCHEMA: Final = """\
[schema]
name = "images"
time = "ts"
time_unit = "us"
id = "id"
account = "user"
profile = {profile}
[fields]
ts = "i"
prompt = "s"
model = "s"
safeguard = "s"
output_sha256 = "s"
"""
TOML: Final = """\
[order]
id = "bench-r"
matter = "bench"
type = "internal"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "A benchmark"
reference = "BENCH/R"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
zone = "UTC"
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "all"
sources = ["images"]
"""
SELECTING: Final = """\
from = 2025-03-01
to = 2025-06-01
accounts_file = "users.txt"
[clause.match]
prompt = "portfolio|stack"
"""


ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1"}
DUCKDB: Final = """
import duckdb
duckdb.sql("SET threads = 1")
rows = duckdb.sql('''SELECT * FROM read_parquet('{files}') WHERE ts >= 1740787200000000 AND ts < 1748736000000000
    AND regexp_matches(prompt, 'portfolio|stack')
    AND "user" IN (SELECT column0 FROM read_csv('{users}', header = false))''').fetchall()
print(len(rows))
"""
POLARS: Final = """
import polars as pl
users = open('{users}').read().split()
rows = pl.scan_parquet('{files}').filter((pl.col('ts') >= 1740787200000000) & (pl.col('ts') < 1748736000000000)
    & pl.col('user').is_in(users) & pl.col('prompt').str.contains('portfolio|stack')).collect()
print(len(rows))
"""
"""The selection of `SELECTING`, by peers, which give the rows themselves."""


def write_corpus(folder: Path, records: int) -> None:
    """Write R: `FILES` files of rows spread evenly over a year, and 10,000 users in users.txt beside the folder."""
    folder.mkdir(parents=True)
    words = vocabulary()
    for number in range(FILES):
        draw = random.Random(7000 + number)
        pool = draw.choices(words, k=50_000)
        each = records // FILES
        with (folder / f"part{number:02d}.jsonl").open("w", buffering=1 << 20) as file:
            for n in range(number * each, (number + 1) * each):
                at = draw.randrange(len(pool) - 30)
                prompt = " ".join(pool[at : at + 6 + draw.randrange(20)])
                file.write(
                    f'{{"id":"img_{n:012d}","ts":{START_US + n * YEAR_US // records},'
                    f'"user":"u{draw.randrange(1_000_000):07d}","prompt":"{prompt}","model":"{draw.choice(MODELS)}",'
                    f'"safeguard":"{draw.choice(DECISIONS)}","output_sha256":"{draw.getrandbits(256):064x}"}}\n'
                )
    draw = random.Random(7)
    users = "".join(f"u{draw.randrange(1_000_000):07d}\n" for _ in range(10_000))
    (folder.parent / "users.txt").write_text(users)


class Bench:
    """Run the commands of one vault and remember what they took."""

    def __init__(self, work: Path, records: int, profile: int, workers: int) -> None:
        self.work, self.records = work, records
        self.home = work / f"profile{profile}-{workers}"
        self.home.mkdir()
        (self.home / "keys").mkdir()
        (self.home / "images.toml").write_text(SCHEMA.format(profile=profile))
        (self.home / "order.toml").write_text(TOML)
        self.environment = {
            "SCELLE_VAULT": str(self.home / "vault"),
            "SCELLE_KEY_FILE": str(self.home / "keys"),
        }

    def scelle(self, *arguments: str) -> Usage:
        """Run one command of the `scelle` beside this interpreter."""
        program = str(Path(sys.executable).with_name("scelle"))
        return run(Command((program, *arguments), None, self.environment), self.home / "log")

    def begin(self) -> None:
        """Make the vault and take the order in."""
        keys = str(self.home / "keys")
        self.scelle("init", str(self.home / "vault"), "--host", "platform.example", "--key-file", keys)
        schema = str(self.home / "images.toml")
        self.scelle("source", "add", "images", f"records://{self.work / 'R'}", "--schema", schema)
        self.scelle("order", "add", str(self.home / "order.toml"))


def show(what: str, usage: Usage, note: str = "") -> None:
    """Print one line of the table."""
    peak = usage.peak_bytes / (1 << 20)
    print(f"| {what} | {usage.cpu_s:.2f} | {usage.wall_s:.2f} | {peak:.0f} | {note} |", flush=True)


def sealing(bench: Bench, profile: int, workers: int) -> None:
    """Seal everything, pass again, answer and find one account."""
    bench.begin()
    start = bench.scelle("source", "list").cpu_s
    usage = bench.scelle("preserve", ORDER, "--workers", str(workers))
    rate = bench.records / max(usage.cpu_s - start, 0.001)
    what = f"preserve, profile {profile}" + (f", {workers} worker" if workers else "")
    show(what, usage, f"{rate:,.0f} records a CPU second, {bench.records / usage.wall_s:,.0f} a second")
    if workers:
        return
    show("preserve again, unchanged", bench.scelle("preserve", ORDER))
    trust, package = bench.home / "trust.json", bench.home / "one.scelle"
    bench.scelle("order", "trust", ORDER, "--to", str(trust))
    account = (bench.work / "users.txt").read_text().split()[0]
    show("produce one account", bench.scelle("produce", ORDER, "--account", account, "--to", str(package)))
    program = str(Path(sys.executable).with_name("scelle-verify"))
    show("scelle-verify", run(Command((program, str(package), "--trust", str(trust))), bench.home / "log"))
    show("find one account", bench.scelle("find", ORDER, f'account = "{account}"', "--json"))
    vault = tree_size(bench.home / "vault")[1] / (1 << 20)
    corpus = tree_size(bench.work / "R")[1] / (1 << 20)
    print(f"| size of the vault | | | | {vault:.0f} MiB of {corpus:.0f} MiB |")


def write_parquet(work: Path) -> None:
    """Write R as Parquet beside itself, one file for each of its own, in row groups of 100,000."""
    from pyarrow import json as arrow_json  # a benchmark of its own
    from pyarrow import parquet

    (work / "P").mkdir()
    for path in sorted((work / "R").glob("*.jsonl")):
        table = arrow_json.read_json(path)
        parquet.write_table(table, work / "P" / f"{path.stem}.parquet", row_group_size=100_000)


def selecting(bench: Bench) -> None:
    """Select a period, 10,000 accounts and a pattern from the same Parquet: our preview, DuckDB, polars; and grep."""
    write_parquet(bench.work)
    (bench.home / "users.txt").write_text((bench.work / "users.txt").read_text())
    schema = str(bench.home / "images.toml")
    bench.scelle("source", "add", "table", f"records://{bench.work / 'P'}", "--schema", schema)
    text = TOML.replace('id = "bench-r"', 'id = "bench-s"').replace('["images"]', '["table"]') + SELECTING
    (bench.home / "order.toml").write_text(text)
    bench.scelle("order", "add", str(bench.home / "order.toml"))
    start = bench.scelle("source", "list").cpu_s
    (bench.home / "log").unlink()
    ours = bench.scelle("preview", "bench-s", "--json")
    (found,) = json.loads((bench.home / "log").read_text())["sources"].values()
    show("select by preview", ours, f"{found['covered']} rows; {start:.2f} s of it is starting")
    python = with_peers(bench.work)
    files, users = str(bench.work / "P" / "*.parquet"), str(bench.work / "users.txt")
    for name, program in (("DuckDB", DUCKDB), ("polars", POLARS)):
        if python is None:
            print(f"| select by {name} | | | | skipped: it cannot be installed here |")
            continue
        peer = run(
            Command((python, "-c", program.format(files=files, users=users)), None, ONE_THREAD),
            bench.home / "log",
        )
        show(
            f"select by {name}",
            peer,
            f"ours takes {(ours.cpu_s - start) / peer.cpu_s:.2f} times as much",
        )
    if shutil.which("grep") is None:
        print("| pattern by grep | | | | skipped: not installed |")
        return
    shell = f"grep -chE '{PATTERN}' {bench.work / 'R' / '*.jsonl'}"
    show("pattern alone by grep -E", run(Command(("sh", "-c", shell)), bench.home / "log"))


def with_peers(work: Path) -> str | None:
    """Return a Python that has DuckDB and polars, made for it; None where it cannot be."""
    python = work / "peers" / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(work / "peers")], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "-q", "duckdb", "polars"]
        subprocess.run(install, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(python)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="where corpus and vaults go (default: a temporary folder)")
    given = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="scelle-bench-records-", dir=given.work))
    try:
        write_corpus(work / "R", given.records)
        print(json.dumps({"records": given.records, "python": sys.version.split()[0]}))
        print("| step | CPU s | wall s | peak MiB | |\n|---|---|---|---|---|")
        for profile, workers in ((1, 1), (1, 0), (0, 0)):
            bench = Bench(work, given.records, profile, workers)
            sealing(bench, profile, workers)
        selecting(bench)
    except StepFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
