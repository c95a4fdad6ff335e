"""Make the benchmark corpora: the same bytes for the same scale, on every machine, without a network.

Three shapes, each hard on another part of a vault:

* **S** small text: 100,000 files (txt, json, eml) of 1 to 30 KB, log-normal, every tenth an exact
  duplicate. What a file costs, not what a byte costs.
* **M** office-like: 4,000 files (docx, pdf, xlsx, pptx) of 50 KB to 2 MB: a deflated part, a readable part,
  an incompressible rest, every fifth an exact duplicate.
* **L** media: 8 files of 256 MB of random bytes. Hashing and encryption alone.

Words follow Zipf's law over an invented vocabulary. ``python -m benchmarks.corpora OUT S M L --scale 0.1``.
"""

import argparse
import functools
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

COMMON_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
which one you were her all she there would their we him been has when who will more no if out so said what
up its about into than them can only other new some could time
"""
SYLLABLES = """
ka re mo ti sul ven dor pal ist ent con per form ance leg doc ser vice cus tod hold ret rec ord pro duct ack
sta tus man age line tech acc ount week port fold sched ule
"""
VOCABULARY_WORDS = 20_000
POOL_WORDS = 400_000
MEDIA_FILE_BYTES = 256 << 20
MEDIA_BLOCK_BYTES = 8 << 20
SMALL_KINDS = ("txt", "json", "eml")
OFFICE_KINDS = ("docx", "pdf", "xlsx", "pptx")


@functools.cache
def vocabulary() -> list[str]:
    """Return the words, the most frequent first."""
    draw = random.Random(7)
    words = COMMON_WORDS.split()
    syllables = SYLLABLES.split()
    seen = set(words)
    while len(words) < VOCABULARY_WORDS:
        word = "".join(draw.choice(syllables) for _ in range(draw.randint(1, 4)))
        if word not in seen:
            seen.add(word)
            words.append(word)
    return words


@functools.cache
def cumulative_weights() -> list[float]:
    """Return Zipf weights of the vocabulary, summed from the left as `random.choices` wants them."""
    return list(itertools.accumulate(1.0 / (rank + 3) for rank in range(VOCABULARY_WORDS)))


def word_pool(seed: int) -> list[str]:
    """Return a long run of words from which one part of a corpus cuts its texts."""
    return random.Random(seed).choices(vocabulary(), cum_weights=cumulative_weights(), k=POOL_WORDS)


def prose(draw: random.Random, pool: list[str], size_bytes: int) -> str:
    """Return some `size_bytes` of text; every twelfth word is fresh, so that texts share no long runs."""
    count = size_bytes // 6
    start = draw.randrange(len(pool) - count - 1)
    words = pool[start : start + count]
    for _ in range(max(1, count // 12)):
        words[draw.randrange(count)] = draw.choice(vocabulary())
    for place in range(9, count, 17):
        words[place] += ".\n" if place % 3 == 0 else ","
    return " ".join(words)


def small_document(draw: random.Random, pool: list[str], number: int) -> bytes:
    """Return one file of corpus S."""
    body = prose(draw, pool, int(min(20_480, max(1_024, draw.lognormvariate(8.85, 0.65)))))
    match SMALL_KINDS[number % 3]:
        case "json":
            fields = {"id": number, "author": draw.choice(vocabulary()), "ts": 1.7e9 + number}
            return json.dumps(fields | {"tags": draw.sample(vocabulary(), 4), "body": body}).encode()
        case "eml":
            return (small_mail_header(draw, pool, number) + body).encode()
        case _:
            return body.encode()


def small_mail_header(draw: random.Random, pool: list[str], number: int) -> str:
    """Return the header of one message, with the empty line that ends it."""
    return (
        f"From: {draw.choice(vocabulary())}@example.com\r\nTo: {draw.choice(vocabulary())}@example.org\r\n"
        f"Message-ID: <{draw.getrandbits(96):x}@mx.example.org>\r\n"
        f"Date: Mon, {1 + number % 28} Jan 2024 10:{number % 60:02d}:00 +0000\r\n"
        f"Subject: {' '.join(prose(draw, pool, 60).split())[:60]}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )


def office_document(draw: random.Random, pool: list[str], number: int) -> bytes:
    """Return one file of corpus M: a deflated part, a readable part, the rest incompressible."""
    del number
    size_bytes = int(min(2_000_000, max(50_000, draw.lognormvariate(12.95, 0.75))))
    markup = f"<w:p><w:t>{prose(draw, pool, min(int(size_bytes * 0.15) * 3, 120_000))}</w:t></w:p>"
    head = (
        b"PK\x03\x04"
        + zlib.compress(markup.encode(), 1)
        + b"<?xml meta/>"
        + prose(draw, pool, 4_000).encode()
    )
    return head + draw.randbytes(max(0, size_bytes - len(head)))


@dataclass(frozen=True, slots=True)
class Shape:
    """How one corpus of documents is laid out: `parts` directories of `files_per_part` files."""

    parts: int
    files_per_part: int
    kinds: tuple[str, ...]
    seed: int
    duplicate_share: float
    memory: int
    document: Callable[[random.Random, list[str], int], bytes]


SHAPES = {
    "S": Shape(100, 1_000, SMALL_KINDS, 1_000, 0.10, 200, small_document),
    "M": Shape(20, 200, OFFICE_KINDS, 5_000, 0.20, 40, office_document),
}
MEDIA_FILES = 8


def documents(shape: Shape, part: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file of one part; a duplicate repeats one of the last files."""
    draw = random.Random(shape.seed + part)
    pool = word_pool(shape.seed * 2 + part)
    recent: list[bytes] = []
    for number in range(part * shape.files_per_part, (part + 1) * shape.files_per_part):
        if recent and draw.random() < shape.duplicate_share:
            data = draw.choice(recent)
        else:
            data = shape.document(draw, pool, number)
            recent = [*recent[-shape.memory + 1 :], data]
        yield f"{number:06d}.{shape.kinds[number % len(shape.kinds)]}", data


def make_part(out: Path, corpus: str, part: int) -> None:
    """Write one directory of S or M."""
    folder = out / corpus / f"{part:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in documents(SHAPES[corpus], part):
        (folder / name).write_bytes(data)


def make_media(out: Path, number: int) -> None:
    """Write one file of L."""
    (out / "L").mkdir(parents=True, exist_ok=True)
    draw = random.Random(9_000 + number)
    with (out / "L" / f"media{number}.mp4").open("wb") as file:
        for _ in range(MEDIA_FILE_BYTES // MEDIA_BLOCK_BYTES):
            file.write(draw.randbytes(MEDIA_BLOCK_BYTES))


def scaled(count: int, scale: float) -> int:
    """Return `count` times `scale`, at least one."""
    return max(1, round(count * scale))


def make_corpus(out: Path, corpus: str, scale: float) -> Path:
    """Make one corpus unless it is there already, and return its directory.

    A file `<corpus>.done` beside the directory holds the scale; it is written last, so that a corpus that was
    left half-made is made again.
    """
    done = out / f"{corpus}.done"
    if done.exists() and done.read_text() == f"{scale}\n":
        return out / corpus
    with ProcessPoolExecutor(2) as workers:
        jobs: list[Future[None]]
        if corpus == "L":
            jobs = [workers.submit(make_media, out, number) for number in range(scaled(MEDIA_FILES, scale))]
        else:
            parts = scaled(SHAPES[corpus].parts, scale)
            jobs = [workers.submit(make_part, out, corpus, part) for part in range(parts)]
        for job in jobs:
            job.result()
    done.write_text(f"{scale}\n")
    return out / corpus


def main() -> None:
    """Make the corpora that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corpora", description="Make benchmark corpora."
    )
    parser.add_argument("out", type=Path, help="directory that receives S/, M/ and L/")
    parser.add_argument("corpora", nargs="*", choices=["S", "M", "L"], default=["S", "M", "L"])
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    for corpus in arguments.corpora:
        print(make_corpus(arguments.out, corpus, arguments.scale))


if __name__ == "__main__":
    main()
