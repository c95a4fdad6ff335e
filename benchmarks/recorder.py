"""Measure what the recording proxy adds to a generator: time at the 95th percentile, and requests a second.

``python -m benchmarks.recorder [--requests N] [--clients N] [--folder DIR]``. The generator is the tests' stub, which
draws a picture of a few hundred bytes; generator, proxy, the process that seals and the clients share this machine's
cores. *Gated* is the same with a guardrail: the shipped policy over assigned values, in a process, and a list
of hashes. Beside it stands what a bare write and `fsync` take there: each request waits for two of them at least.

The goals: 10 ms or less added at the 95th percentile at 50 requests a second, and 200 requests a second with nothing
lost.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from tests.integration.gated_platform import AS_BEFORE, NOBODY, guardrail, shape
from tests.integration.recorded_platform import Platform

ADDED_P95_MS = 10.0
RATE = 200.0
_CALM_RATE = 50.0
_PICTURES = 50


def fsync_ms(folder: Path, times: int = 100) -> list[float]:
    """Return what an append of 1,000 bytes with `fsync` takes, in milliseconds, sorted."""
    found = []
    with (folder / "probe").open("ab") as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(b"x" * 1000)
            file.flush()
            os.fsync(file.fileno())
            found.append((time.perf_counter() - started) * 1e3)
    return sorted(found)


async def load(url: str, requests: int, clients: int, rate: float | None) -> tuple[list[float], float]:
    """Send requests from several clients, at a rate or as fast as it goes; return times (ms, sorted) and the rate."""
    times: list[float] = []
    left = iter(range(requests))
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session:

        async def one() -> None:
            for number in left:
                if rate is not None:
                    await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                begun = time.perf_counter()
                body = {"model": "shapes-1", "prompt": f"a square, number {number % _PICTURES}"}
                async with session.post(f"{url}/images/generations", json=body) as answer:
                    await answer.read()
                    assert answer.status == 200, answer.status
                times.append((time.perf_counter() - begun) * 1e3)

        await asyncio.gather(*(one() for _ in range(clients)))
    return sorted(times), requests / (time.perf_counter() - started)


def percentile(times: list[float], share: float) -> float:
    """Return the time that a share of the requests took at most."""
    return times[min(len(times) - 1, int(len(times) * share))]


def measure(folder: Path, requests: int, clients: int) -> bool:
    """Print the figures; tell whether the goals were met."""
    probe = fsync_ms(folder)
    print(
        f"write and fsync of 1 kB: median {statistics.median(probe):.2f} ms, p95 {percentile(probe, 0.95):.2f} ms"
    )
    platform = Platform(folder)
    try:
        direct = f"{platform.upstream}/v1"
        proxy = platform.proxy("--every", "3600")
        asyncio.run(load(direct, 100, 4, None))
        asyncio.run(load(proxy.url, 100, 4, None))
        calm = [asyncio.run(load(url, requests, 8, _CALM_RATE))[0] for url in (direct, proxy.url)]
        fast = [asyncio.run(load(url, requests, clients, None))[1] for url in (direct, proxy.url)]
        report = proxy.end()
        gated = measure_gated(platform, requests, clients)
    finally:
        platform.stop()
    p50, p95 = ([percentile(each, share) for each in calm] for share in (0.5, 0.95))
    added = p95[1] - p95[0]
    for name, (before, after) in (("median", p50), ("p95", p95)):
        print(f"{name} at {_CALM_RATE:.0f} requests/s: direct {before:.2f} ms, recorded {after:.2f} ms")
    print(
        f"added at p95: {added:.2f} ms (goal {ADDED_P95_MS:.0f}), {added / percentile(probe, 0.95):.1f} x an fsync"
    )
    print(
        f"requests/s with {clients} clients: direct {fast[0]:.0f}, recorded {fast[1]:.0f} (goal {RATE:.0f}), "
        f"ratio {fast[1] / fast[0]:.2f}"
    )
    print(
        f"gated: median {gated[0] - p50[0]:.2f} ms and p95 {gated[1] - p95[0]:.2f} ms more than direct, "
        f"{gated[2]:.0f} requests/s"
    )
    print(f"lost {report['lost']}, unserved {report['unserved']}, events {report['events']}")
    return added <= ADDED_P95_MS and fast[1] >= RATE and report["lost"] == report["unserved"] == 0


def measure_gated(platform: Platform, requests: int, clients: int) -> tuple[float, float, float]:
    """Return median and p95 (ms) at the calm rate, and the requests a second, behind a gate that lets all through."""
    prompts = {f"a square, number {number}": NOBODY for number in range(_PICTURES)}
    pictures = {shape(number): AS_BEFORE for number in range(_PICTURES)}
    gate = Path(guardrail(platform, prompts, pictures))
    (platform.folder / "empty.txt").write_text("scelle-hashes/1 own-prior-block\n")
    gate.write_text(
        gate.read_text().replace("at_once: 1", "at_once: 2") + "  - {use: hashes, lists: [empty.txt]}\n"
    )
    proxy = platform.proxy("--gate", str(gate), "--every", "3600", surface="gated")
    asyncio.run(load(proxy.url, 100, 4, None))
    times = asyncio.run(load(proxy.url, requests, 8, _CALM_RATE))[0]
    fast = asyncio.run(load(proxy.url, requests, clients, None))[1]
    proxy.end()
    return percentile(times, 0.5), percentile(times, 0.95), fast


def main() -> int:
    """Return 0 where the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        is_met = measure(Path(folder), chosen.requests, chosen.clients)
    print(f"goals: {'met' if is_met else 'missed'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
