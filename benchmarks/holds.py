"""Measure the guard in-process: 20 active orders that name one million accounts between them.

``python -m benchmarks.holds [--orders 20] [--accounts 1000000] [--asked 40000]``. Each question is timed by itself, on
accounts drawn at random, half of them held. Two shapes: every order names accounts of its own, by a file; and all of
them name the same file of all accounts, so that every held item is held by all. *why* is what `why` decides once the
item was found: the holds of a sealed record, with its values, and the earliest day. *decide over a file* also finds
out, for an id of a tree of files below this machine's temporary folder, what else the file may be called
(`sources.places`).
"""

import argparse
import gc
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from scelle.bootstrap.facts import live_item
from scelle.formats.schema import Field, Schema
from scelle.formats.values import text_value
from scelle.guard import Facts, Guard
from scelle.guard.why import earliest_release
from scelle.orders.lifecycle import ClauseLife, Life, Term
from scelle.orders.model import Moment, Order
from scelle.orders.types import Notify, OrderType, Temporal
from scelle.scope.accounts import AccountsFile, read_accounts
from scelle.scope.model import Clause
from scelle.sources.model import SourceSpec
from scelle.sources.places import Places
from scelle.vault.keys import VaultKey

_Asked = TypeVar("_Asked")
LIMIT_US: Final = 1000.0
START_US: Final = 1_767_225_600_000_000
YEAR_US: Final = 365 * 86_400_000_000
KEY: Final = VaultKey(bytes(range(1, 33)))
SOURCE: Final = "posts"
POSTS: Final = Schema(
    "posts",
    1,
    ("source", "account", "native"),
    (
        Field("time", "t"),
        Field("seq", "i"),
        Field("account", "s"),
        Field("native_id", "s"),
        Field("text", "s"),
    ),
)


def accounts_file(numbers: Sequence[int]) -> AccountsFile:
    """Read a file of accounts as the vault does."""
    return read_accounts("accounts.txt", ("".join(f"u{n}\n" for n in numbers).encode(),))


def lives(count: int, accounts: int, *, is_shared: bool) -> dict[str, Life]:
    """Make the lives of `count` orders, each with a clause over accounts, one over documents, and a stopped one."""
    whole = accounts_file(range(accounts)) if is_shared else None
    share = accounts // count
    received = Moment("2026-01-08", START_US)
    found = {}
    for number in range(count):
        until = Moment("2027-01-08", START_US + YEAR_US + number)
        order = Order(
            f"o{number:02d}", "m", OrderType.INTERNAL, "a", "b", "r", received, received, "UTC", Temporal.BOTH,
            Notify.PERMITTED, until=until,
        )  # fmt: skip
        own = whole or accounts_file(range(number * share, (number + 1) * share))
        clauses = (
            Clause("accounts", (SOURCE,), accounts_file=own, period_from_us=0),
            Clause("documents", ("docs",), paths=("policies/**", f"teams/{number}/**")),
            Clause("narrowed", (SOURCE,), accounts=(f"u{number}",), period_to_us=START_US),
        )
        grown = [ClauseLife(clause, START_US) for clause in clauses[:2]]
        found[order.id] = Life(
            order,
            (Term(START_US, order),),
            (*grown, ClauseLife(clauses[2], START_US, START_US + 1)),
            frozenset(),
        )
    return found


def told_item(account: int) -> Facts:
    """Make what an application tells of a record that it wants to delete."""
    return Facts(SOURCE, b"p%d" % account, time_us=START_US + account, account=f"u{account}")


def sealed_item(account: int) -> Facts:
    """Make what is known of a sealed record."""
    values = [text_value(f"account:u{account}"), text_value(f"p{account}"), text_value("a red boat")]
    return Facts(SOURCE, b"p%d" % account, time_us=START_US + account, schema=POSTS, values=values)


def timed(ask: Callable[[_Asked], object], items: Sequence[_Asked]) -> list[float]:
    """Ask for each item once; return what each question took, in microseconds, ascending."""
    clock, took = time.perf_counter_ns, []
    for item in items:
        started = clock()
        ask(item)
        took.append((clock() - started) / 1000)
    return sorted(took)


def row(name: str, took: Sequence[float]) -> str:
    """Write one row of the table."""
    last = len(took) - 1
    p50, p99, p999 = (took[int(share * last)] for share in (0.5, 0.99, 0.999))
    goal = "met" if p99 < LIMIT_US else "missed"
    return f"{name:<34}{p50:>9.1f}{p99:>9.1f}{p999:>9.1f}{took[-1]:>10.1f}  {goal}"


def resident_mib() -> float:
    """Return the memory of this process now (MiB), where the system tells it; else the most that it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def files_decided(guard: Guard, asked: int) -> list[tuple[str, list[float]]]:
    """Time questions about files by ids as they are sealed, and through a link; two sources over the same tree."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = [f"teams/{number % 40}/2026/notes/minutes-{number}.txt" for number in range(200)]
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"minutes")
        (root / "groups").symlink_to("teams")
        specs = {each: SourceSpec(each, f"files://{root}") for each in ("docs", "again")}
        places, found = Places(specs), []

        def ask(native: bytes) -> None:
            guard.decide(*live_item(places, specs["docs"], native, None, START_US).readings)

        for label, folder in (("decide over a file", "teams"), ("decide over a file, by a link", "groups")):
            natives = [path.replace("teams", folder, 1).encode() for path in paths]
            found.append((label, timed(ask, [natives[number % len(natives)] for number in range(asked)])))
        return found


def measure(name: str, orders: Mapping[str, Life], accounts: int, asked: int) -> None:
    """Print a table for one shape."""
    gc.collect()
    before, started = resident_mib(), time.perf_counter()
    guard = Guard(orders, KEY)
    made_s = time.perf_counter() - started
    drawn = random.Random(7)
    held = [drawn.randrange(accounts) for _ in range(asked // 2)]
    free = [accounts + drawn.randrange(accounts) for _ in range(asked // 2)]
    for number in (*held[:1000], *free[:1000]):  # what a process does before it is asked in earnest
        guard.decide(told_item(number))
    sealed_in = tuple(orders)[:3]

    def why(facts: Facts) -> int | None:
        return earliest_release(guard.holds_of(facts, sealed_in=sealed_in), START_US)

    if not all(guard.decide(told_item(n)).held for n in held[:100]) or guard.decide(told_item(free[0])).held:
        sys.exit("the guard's answers are wrong: nothing was measured")
    print(
        f"\n{name}: {len(orders)} orders, {accounts:,} accounts, {asked:,} questions; compiled in {made_s:.2f} s"
    )
    print(f"{'microseconds':<34}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>10}  goal: p99 < {LIMIT_US:g}")
    print(row("decide, held", timed(guard.decide, [told_item(n) for n in held])))
    print(row("decide, not held", timed(guard.decide, [told_item(n) for n in free])))
    for name, took in files_decided(guard, asked // 4):
        print(row(name, took))
    print(row("why, sealed in 3, held", timed(why, [sealed_item(n) for n in held])))
    print(row("why, sealed in 3, covered by none", timed(why, [sealed_item(n) for n in free])))
    print(
        f"memory: {resident_mib() - before:.0f} MiB more since the accounts were read, {resident_mib():.0f} in all"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both shapes."""
    parser = argparse.ArgumentParser(description="Measure the guard in-process.")
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=40_000)
    options = parser.parse_args(arguments)
    if options.orders < 3 or options.accounts < options.orders or options.asked < 2000:
        parser.error("at least 3 orders, an account for each, and 2000 questions")
    for name, is_shared in (("accounts of its own", False), ("the same accounts", True)):
        before, started = resident_mib(), time.perf_counter()
        orders = lives(options.orders, options.accounts, is_shared=is_shared)
        took, more = time.perf_counter() - started, resident_mib() - before
        measure(f"each order names {name}", orders, options.accounts, options.asked)
        print(f"the files of accounts: read in {took:.1f} s, {more:.0f} MiB")
        del orders


if __name__ == "__main__":
    main()
