"""Hold the accounts that a file names, up to some 10 million, and say how the file was read.

The file: one identifier a line, UTF-8, lines ended by LF or CR LF. Blank lines and repeated identifiers are
passed over and counted. Whatever else could be read in two ways is refused with its line.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import ClassVar, Final

from scelle.errors import ClauseWrong

EXACT_MAX: Final = 100_000
"""Up to so many identifiers are kept as they are; more are kept as 64 bits of their hash."""
IDENTIFIER_MAX_BYTES: Final = 4000
_BUCKET_SHIFT: Final = 64 - 12
_BLOCK_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EDGE: Final = re.compile(rb"(?m)^[ \t]+\S|\S[ \t]+$")


class AccountSet:
    """Hold identifiers: exactly up to ``EXACT_MAX``, above it 8 bytes each, sorted, in 4,096 buckets.

    Above ``EXACT_MAX`` an identifier stands for the first 64 bits of its BLAKE2b. One that was not named is
    then taken for a named one with probability n / 2^64: for 10 million names 5.4e-13 for each account asked
    about, so that among 100 million other accounts one is wrongly kept with probability 5.4e-5. The error has
    one direction: too much is kept, nothing that was named is ever missed. The hash has no key, so that the
    same file covers the same accounts on every pass and for everyone who repeats it.
    """

    __slots__ = ("_buckets", "_exact", "_size")

    def __init__(self, identifiers: Iterable[bytes] = ()) -> None:
        self._exact: set[bytes] = set()
        self._buckets: list[array[int]] | None = None
        self._size = 0
        self.add(identifiers)

    def add(self, identifiers: Iterable[bytes]) -> None:
        """Take identifiers in UTF-8; ``settle`` must follow before the set is asked."""
        if self._buckets is None:
            self._exact.update(identifiers)
            if len(self._exact) <= EXACT_MAX:
                return
            self._buckets = [array("Q") for _ in range(1 << 64 - _BUCKET_SHIFT)]
            identifiers, self._exact = self._exact, set()
        buckets = self._buckets
        for number in _hashes(identifiers):
            buckets[number >> _BUCKET_SHIFT].append(number)

    def settle(self) -> None:
        """Sort what was taken, and drop repetitions; one bucket at a time, so that memory stays flat."""
        if self._buckets is None:
            self._size = len(self._exact)
            return
        self._size = 0
        for place, bucket in enumerate(self._buckets):
            self._buckets[place] = array("Q", sorted(set(bucket)))
            self._size += len(self._buckets[place])

    def exact(self) -> frozenset[bytes] | None:
        """Return the identifiers, or None where only their hashes are kept."""
        return frozenset(self._exact) if self._buckets is None else None

    def __len__(self) -> int:
        return self._size

    def __contains__(self, identifier: object) -> bool:
        if not isinstance(identifier, str):
            return False
        name = identifier.encode("utf-8", "surrogatepass")
        if self._buckets is None:
            return name in self._exact
        number = int.from_bytes(blake2b(name, digest_size=8).digest(), _ORDER)
        bucket = self._buckets[number >> _BUCKET_SHIFT]
        place = bisect_left(bucket, number)
        return place < len(bucket) and bucket[place] == number


_ORDER: Final = "little" if array("H", [1]).tobytes()[0] else "big"  # as array reads bytes on this machine


def _hashes(identifiers: Iterable[bytes]) -> "array[int]":
    numbers = array("Q")
    numbers.frombytes(b"".join([blake2b(name, digest_size=8).digest() for name in identifiers]))
    return numbers


@dataclass(frozen=True, slots=True)
class AccountsFile:
    """Describe a file of accounts as it is sealed with its clause; ``ids`` are what a pass asks.

    ``digest`` is the SHA-256 of the file's bytes, which the order keeps as a document of its own. ``accounts``
    are distinct; accounts + duplicates + blanks = lines. ``ids`` is None where the file was not read again yet
    (``load_accounts``); it takes no part in equality. ``kind`` is what the order's paper says that it is.
    """

    kind: ClassVar[str] = "accounts-file"

    name: str
    digest: bytes
    size_bytes: int
    accounts: int
    duplicates: int
    blanks: int
    ids: AccountSet | None = field(default=None, compare=False, repr=False)


def read_accounts(name: str, pieces: Iterable[bytes]) -> AccountsFile:
    """Read a file of accounts from its bytes; raise ClauseWrong, naming the line.

    Some 8 bytes for each identifier, and 20 MiB, are needed, however large the file.
    """
    hasher = sha256()
    size_bytes = lines = named = 0
    ids = AccountSet()

    def seen() -> Iterator[bytes]:
        nonlocal size_bytes
        for piece in pieces:
            hasher.update(piece)
            size_bytes += len(piece)
            yield piece

    for block in whole_lines(seen(), "identifier"):
        text = block.removeprefix(_BOM) if lines == 0 else block
        text = text.replace(b"\r\n", b"\n")
        _check_block(text, lines)
        lines += text.count(b"\n") + (not text.endswith(b"\n"))
        found = list(filter(None, map(bytes.strip, text.split(b"\n"))))
        named += len(found)
        ids.add(found)
    ids.settle()
    if not named:
        raise ClauseWrong("names no account; give one identifier a line")
    return AccountsFile(
        name, hasher.digest(), size_bytes, len(ids), named - len(ids), blanks=lines - named, ids=ids
    )


def whole_lines(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """Cut the bytes into blocks of about 1 MiB that end where a line ends; raise ClauseWrong for a longer line."""
    left = b""
    lines = 0
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK_BYTES):
            left += piece[start : start + _BLOCK_BYTES]
            end = left.rfind(b"\n") + 1
            if end:
                yield left[:end]
                lines += left.count(b"\n", 0, end)
                left = left[end:]
            if len(left) > _BLOCK_BYTES:
                raise ClauseWrong(f"line {lines + 1}: longer than 1 MiB; give one {what} a line")
    if left:
        yield left


def _check_block(block: bytes, lines_before: int) -> None:
    """Refuse what could be read in two ways; `block` has LF line ends only."""

    def refuse(at: int, said: str) -> ClauseWrong:
        line = lines_before + block.count(b"\n", 0, at) + 1
        return ClauseWrong(f"line {line}: {said}")

    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(error.start, "not UTF-8; save the file as UTF-8") from error
    if found := _CONTROL.search(block):
        raise refuse(found.start(), f"has the control character U+{block[found.start()]:04X}; take it out")
    if b"\r" in block:
        raise refuse(block.index(b"\r"), "a CR without LF; end lines with LF or CR LF")
    if (b" " in block or b"\t" in block) and (found := _EDGE.search(block)):
        raise refuse(found.start(), "a space at an end of an identifier; take it out")
    if not block.isascii():  # other spaces and line ends than those above
        for number, text in enumerate(block.decode("utf-8").split("\n")):
            if text != text.strip():
                raise ClauseWrong(
                    f"line {lines_before + number + 1}: a space at an end of an identifier; take it out"
                )
    if max(map(len, block.split(b"\n"))) > IDENTIFIER_MAX_BYTES:
        at = next(m.start() for m in re.finditer(rb"[^\n]{%d}" % (IDENTIFIER_MAX_BYTES + 1), block))
        raise refuse(at, f"longer than {IDENTIFIER_MAX_BYTES} bytes; give one identifier a line")


ReadContent = Callable[[bytes], Iterable[bytes]]
"""Give the pieces of a content by its SHA-256, as the vault does."""


def reread_accounts(sealed: AccountsFile, read: ReadContent) -> AccountsFile:
    """Return the sealed file with its identifiers, read again from the bytes that the order keeps.

    Raises ClauseWrong where the bytes are not those that were sealed.
    """
    found = read_accounts(sealed.name, read(sealed.digest))
    if found != sealed:
        raise ClauseWrong(
            f"accounts_file: the kept bytes of {sealed.name!a} give {found.accounts} accounts, sealed were "
            f"{sealed.accounts}; verify the vault"
        )
    return found
