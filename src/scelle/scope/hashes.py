"""Hold the SHA-256 that a list of a clause names, and say how the list was read.

The file: one SHA-256 a line in hex of either case, lines ended by LF or CR LF. Blank lines and lines that begin with
``#`` are passed over and counted, and so are repetitions. Whatever else stands in a line is refused, and not repeated:
it may be a hash, or a name, that nobody should read in a message.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Final

from scelle.errors import AccountsNotLoaded, ClauseWrong
from scelle.scope.accounts import AccountSet, ReadContent, whole_lines

_BOM: Final = b"\xef\xbb\xbf"
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_BLANK: Final = b" \t"


@dataclass(frozen=True, slots=True)
class HashesFile:
    """Describe a list of hashes as it is sealed with its clause; ``ids`` are what a pass asks.

    ``digest`` is the SHA-256 of the file's bytes, which the order keeps as a document of its own. ``hashes`` are
    distinct; hashes + duplicates + blanks = lines, where blanks are also comments. ``ids`` is None where the file was
    not read again yet (``scope.model.load_accounts``); it takes no part in equality. It is an ``AccountSet`` of the
    hashes in lower-case hex: over 100,000 of them a document that is not listed is taken for one that is with
    probability n / 2^64, and none that is listed is ever missed.
    """

    kind: ClassVar[str] = "hashes-file"

    name: str
    digest: bytes
    size_bytes: int
    hashes: int
    duplicates: int
    blanks: int
    ids: AccountSet | None = field(default=None, compare=False, repr=False)

    def lists(self, digest: bytes) -> bool:
        """Tell whether a content of this SHA-256 is listed; raise AccountsNotLoaded."""
        if self.ids is None:
            raise AccountsNotLoaded(
                f"restricted_hashes: the hashes of {self.name!a} were not read from the vault"
            )
        return digest.hex() in self.ids


def read_hashes(name: str, pieces: Iterable[bytes]) -> HashesFile:
    """Read a list of hashes from its bytes; raise ClauseWrong, naming the line and nothing that stands in it.

    Up to 100,000 hashes are kept whole, of more 8 bytes each.
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

    for block in whole_lines(seen(), "hash"):
        text = block.removeprefix(_BOM) if lines == 0 else block
        found = _hashes(text.removesuffix(b"\n").split(b"\n"), lines)
        lines += text.count(b"\n") + (not text.endswith(b"\n"))
        named += len(found)
        ids.add(found)
    ids.settle()
    if not named:
        raise ClauseWrong("lists no hash; give one SHA-256 in hex a line")
    return HashesFile(
        name, hasher.digest(), size_bytes, len(ids), named - len(ids), blanks=lines - named, ids=ids
    )


def _hashes(lines: list[bytes], lines_before: int) -> list[bytes]:
    """Return the hashes of some lines in lower case."""
    found = []
    for number, line in enumerate(lines, lines_before + 1):
        text = line.removesuffix(b"\r").strip(_BLANK)
        if _HEX.fullmatch(text) is not None:
            found.append(text.lower())
        elif text and text[:1] != b"#":
            raise ClauseWrong(f"line {number}: {_what_is_wrong(text)}")
    return found


def _what_is_wrong(text: bytes) -> str:
    """Say what a line has instead of a SHA-256, without repeating it."""
    if _HEX.match(text) is not None and text[64:65] in (b" ", b"\t"):
        return "something behind the hash; give the 64 hex digits alone, comments in lines of their own (#)"
    if re.fullmatch(rb"[0-9A-Fa-f]+", text) is not None:
        return f"{len(text)} hex digits; a SHA-256 has 64"
    return "no SHA-256 in hex; give 64 hex digits, or begin a comment with #"


def reread_hashes(sealed: HashesFile, read: ReadContent) -> HashesFile:
    """Return the sealed list with its hashes, read again from the bytes that the order keeps.

    Raises ClauseWrong where the bytes are not those that were sealed.
    """
    found = read_hashes(sealed.name, read(sealed.digest))
    if found != sealed:
        raise ClauseWrong(
            f"restricted_hashes: the kept bytes of {sealed.name!a} give {found.hashes} hashes, sealed were "
            f"{sealed.hashes}; verify the vault"
        )
    return found
