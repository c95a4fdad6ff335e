"""Read the files that come with an order, each whole, or refused in one line: its own, letters, lists."""

import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from scelle.errors import (
    ClauseWrong,
    InputError,
    OrderAccountsUnreadable,
    OrderDocumentUnreadable,
    OrderFileUnreadable,
    OrderHashesUnreadable,
    OrderNotToml,
)
from scelle.orders.tables import Table, checked_text
from scelle.scope.accounts import AccountsFile, read_accounts
from scelle.scope.hashes import HashesFile, read_hashes
from scelle.scope.model import shown_path

FILE_MAX_BYTES: Final = 1 << 20
DOCUMENT_MAX_BYTES: Final = 1 << 30
ACCOUNTS_MAX_BYTES: Final = 1 << 30
HASHES_MAX_BYTES: Final = 1 << 30
"""Some 16 million hashes."""
_PIECE_BYTES: Final = 1 << 20
_WHAT_TO_GIVE: Final = {OrderAccountsUnreadable: "the accounts", OrderHashesUnreadable: "the hashes"}


ListFile = AccountsFile | HashesFile
"""What a clause names by a file that the order keeps: accounts, or hashes."""
_File = TypeVar("_File", AccountsFile, HashesFile)


class ListPaper(Protocol):
    """A file that clauses name: what was read from it, and its bytes once more."""

    @property
    def file(self) -> ListFile:
        """Return what was read."""

    def pieces(self) -> Iterator[bytes]:
        """Give its bytes once more; raise OrderAccountsUnreadable or OrderHashesUnreadable."""


@dataclass(frozen=True, slots=True)
class AccountsOnDisk:
    """A file of accounts where it lies, and what was read from it."""

    path: Path
    file: AccountsFile

    def pieces(self) -> Iterator[bytes]:
        """Give its bytes once more; raise OrderAccountsUnreadable where it cannot be read."""
        shown = shown_path(os.fsencode(self.path))
        return stream_regular(self.path, ACCOUNTS_MAX_BYTES, shown, OrderAccountsUnreadable)


@dataclass(frozen=True, slots=True)
class HashesOnDisk:
    """A list of hashes where it lies, and what was read from it."""

    path: Path
    file: HashesFile

    def pieces(self) -> Iterator[bytes]:
        """Give its bytes once more; raise OrderHashesUnreadable where it cannot be read."""
        shown = shown_path(os.fsencode(self.path))
        return stream_regular(self.path, HASHES_MAX_BYTES, shown, OrderHashesUnreadable)


class Papers:
    """The files of accounts and of hashes of one order: each is read once, however many clauses name it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, AccountsFile] = {}
        self._hashes: dict[Path, HashesFile] = {}

    def read(self, table: Table) -> AccountsFile | None:
        """Read the accounts that a clause names by a file, if it does; raise OrderAccountsUnreadable."""
        return self._file(table, "accounts_file", read_accounts, self._read, OrderAccountsUnreadable)

    def read_hashes(self, table: Table) -> HashesFile | None:
        """Read the list of hashes that a clause names, if it names one; raise OrderHashesUnreadable."""
        return self._file(table, "restricted_hashes", read_hashes, self._hashes, OrderHashesUnreadable)

    def found(self) -> tuple[ListPaper, ...]:
        """Return what was read, equal bytes of a kind once."""
        accounts = {file.digest: AccountsOnDisk(path, file) for path, file in self._read.items()}
        hashes = {file.digest: HashesOnDisk(path, file) for path, file in self._hashes.items()}
        return (*accounts.values(), *hashes.values())

    def _file(
        self,
        table: Table,
        key: str,
        reader: Callable[[str, Iterator[bytes]], _File],
        known: dict[Path, _File],
        error: type[InputError],
    ) -> _File | None:
        name = table.optional_text(key)
        if name is None:
            return None
        path = self._folder / name
        if path not in known:
            shown = f"{table.at(key)}: {shown_path(os.fsencode(name))}"
            limit_bytes = ACCOUNTS_MAX_BYTES if error is OrderAccountsUnreadable else HASHES_MAX_BYTES
            try:
                known[path] = reader(path.name, stream_regular(path, limit_bytes, shown, error))
            except ClauseWrong as wrong:
                raise error(f"{shown}, {wrong}") from wrong
        return known[path]


def read_accounts_file(path: Path) -> AccountsOnDisk:
    """Read a file of accounts by itself; raise OrderAccountsUnreadable."""
    shown = shown_path(os.fsencode(path))
    try:
        pieces = stream_regular(path, ACCOUNTS_MAX_BYTES, shown, OrderAccountsUnreadable)
        return AccountsOnDisk(path, read_accounts(path.name, pieces))
    except ClauseWrong as error:
        raise OrderAccountsUnreadable(f"{shown}, {error}") from error


def read_letter(path: Path) -> tuple[str, bytes]:
    """Read the letter of an act on an order: its name and bytes; raise OrderDocumentUnreadable, OrderValueWrong."""
    shown = shown_path(os.fsencode(path))
    return checked_text(path.name, shown), read_regular(
        path, DOCUMENT_MAX_BYTES, shown, OrderDocumentUnreadable
    )


def named_document(table: Table, folder: Path) -> tuple[bytes | None, str | None]:
    """Read the document that a table names: its bytes and name, or nothing; raise OrderDocumentUnreadable."""
    name = table.optional_text("document")
    if name is None:
        return None, None
    shown = f"{table.at('document')}: {shown_path(os.fsencode(name))}"
    data = read_regular(folder / name, DOCUMENT_MAX_BYTES, shown, OrderDocumentUnreadable)
    return data, Path(name).name


def read_regular(path: Path, limit_bytes: int, shown: str, error: type[InputError]) -> bytes:
    """Return the bytes of a regular file that is not empty and not larger than the limit."""
    return b"".join(stream_regular(path, limit_bytes, shown, error))


def stream_regular(path: Path, limit_bytes: int, shown: str, error: type[InputError]) -> Iterator[bytes]:
    """Give the bytes of a regular file that is not empty and not larger than the limit, in pieces."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
    except (OSError, ValueError) as cause:
        said = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise error(f"{shown}: cannot be read ({said}); give a file that is there and readable") from cause
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise error(f"{shown}: is {kind}; give a file")
    what = _WHAT_TO_GIVE.get(error, "the order")
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        size_bytes = found.st_size if found.st_size > limit_bytes else 0
        while size_bytes <= limit_bytes and (piece := _read(stream.read, shown, error)):
            size_bytes += len(piece)
            yield piece
    if size_bytes > limit_bytes:
        raise error(f"{shown}: larger than {limit_bytes >> 20} MiB; give {what} alone")
    if not size_bytes:
        raise error(f"{shown}: is empty; give {what}")


def _read(read: Callable[[int], bytes], shown: str, error: type[InputError]) -> bytes:
    try:
        return read(_PIECE_BYTES)
    except OSError as cause:
        raise error(f"{shown}: cannot be read ({cause.strerror}); try another copy") from cause


def parse_toml(data: bytes, file: str) -> Mapping[str, object]:
    """Return the tables of a TOML file; raise OrderFileUnreadable or OrderNotToml, with the line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise OrderFileUnreadable(f"{file}, line {line}: not UTF-8; save the file as UTF-8") from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise OrderNotToml(f"{file}: nested too deep; correct the file") from error
    except ValueError as error:  # TOMLDecodeError is one; so is a number of too many digits
        raise OrderNotToml(f"{file}: not TOML: {' '.join(str(error).split())}; correct the file") from error
