"""Judge the content packs: every object's SHA-256, and size and chunk root of each record that needs it.

Nothing that comes out of here tells which order needs a content that no record of the run names.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

from scelle.errors import StorageError
from scelle.formats.records import ChunkRoot, chunk_root
from scelle.fsck.rows import WANT_BYTES, Want, parse_want
from scelle.vault.frames import LARGE, FrameCoder, FrameDamage, pack_name
from scelle.vault.keys import VaultKey
from scelle.vault.posix import PosixBackend
from scelle.vault.reading import FrameView, LargeObject, PackFile
from scelle.vault.scanning import PackFault, PieceSink, ScannedObject, scan_pack

OBJECT_BYTES: Final = 56
"""What is said of each object for the catalog: SHA-256, frame offset, start in the frame, size."""

_BUCKET_BITS: Final = 20
_DESTROYED: Final = "vault.frame_key_destroyed"


class WantTable:
    """Find the wants of a content by its SHA-256: flat, sorted, 96 bytes each, however many there are."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        wants = sorted(
            chunk[at : at + WANT_BYTES] for chunk in chunks for at in range(0, len(chunk), WANT_BYTES)
        )
        self._flat = b"".join(wants)
        bits = min(len(wants).bit_length(), _BUCKET_BITS)
        self._shift = 32 - bits
        counts = array("Q", [0]) * (1 << bits)
        for want in wants:
            counts[self._bucket(want)] += 1
        self._starts = array("Q", accumulate(counts, initial=0))

    def _bucket(self, digest: bytes) -> int:
        return int.from_bytes(digest[:4], "big") >> self._shift

    def __len__(self) -> int:
        return len(self._flat) // WANT_BYTES

    def __getitem__(self, number: int) -> Want:
        return parse_want(self._flat[number * WANT_BYTES : (number + 1) * WANT_BYTES])

    def numbers_of(self, digest: bytes) -> list[int]:
        """Give the numbers of the wants of a content."""
        bucket, flat = self._bucket(digest), self._flat
        return [
            number
            for number in range(self._starts[bucket], self._starts[bucket + 1])
            if flat[number * WANT_BYTES : number * WANT_BYTES + 32] == digest
        ]


class PackTask(NamedTuple):
    """Ask for one pack; `is_sample` reads only the frames that hold what is wanted."""

    vault: Path
    vault_key: VaultKey
    pack_id: str
    is_sample: bool


class WantFault(NamedTuple):
    """Say what is wrong with a content for the record that wants it."""

    number: int
    code: str
    detail: str


@dataclass(slots=True)
class PackAnswer:
    """What one pack gave: the numbers of the wants that it met, and everything that is wrong.

    `objects` has 56 bytes for each intact object. `contents` and `bytes` count those that a record wants,
    `unnamed` the others.
    """

    pack_id: str
    met: list[int] = field(default_factory=list)
    want_faults: list[WantFault] = field(default_factory=list)
    faults: list[PackFault] = field(default_factory=list)
    destroyed: int = 0
    objects: bytearray = field(default_factory=bytearray)
    unnamed: int = 0
    contents: int = 0
    bytes: int = 0


def judge_pack(task: PackTask, wants: WantTable) -> PackAnswer:
    """Read one pack and judge its contents; runs in a worker process."""
    judgement = _PackJudgement(task, wants)
    if task.is_sample:
        judgement.sample()
    else:
        judgement.scan()
    return judgement.answer


class _PackJudgement:
    def __init__(self, task: PackTask, wants: WantTable) -> None:
        self._task, self._wants = task, wants
        self._backend = PosixBackend(task.vault)
        self.answer = PackAnswer(task.pack_id)
        self._check: _ContentCheck | None = None
        self._frame_offset = self._start = -1

    def scan(self) -> None:
        """Read the whole pack."""
        answer = self.answer
        for result in scan_pack(self._backend, self._task.vault_key, self._task.pack_id, self._expect):
            if isinstance(result, ScannedObject):
                self._take(result)
            elif result.code == _DESTROYED:
                answer.destroyed += 1
            else:
                answer.faults.append(result)

    def _expect(self, digest: bytes, size: int) -> PieceSink | None:
        numbers = self._wants.numbers_of(digest)
        self._check = _ContentCheck(self._wants, numbers, size) if numbers else None
        return None if self._check is None else self._check.feed

    def _take(self, found: ScannedObject) -> None:
        if found.offset != self._frame_offset:
            self._frame_offset, self._start = found.offset, 0
        answer = self.answer
        answer.objects += b"".join((
            found.digest,
            found.offset.to_bytes(8, "big"),
            self._start.to_bytes(8, "big"),
            found.size.to_bytes(8, "big"),
        ))  # fmt: skip
        self._start += found.size
        self._settle(found.size)

    def _settle(self, size: int) -> None:
        answer, check = self.answer, self._check
        if check is None:
            answer.unnamed += 1
            return
        answer.contents += 1
        answer.bytes += size
        answer.met.extend(check.numbers)
        answer.want_faults += check.faults()

    def sample(self) -> None:
        """Read only the frames whose own tables name a content that is wanted."""
        task = self._task
        try:
            file = PackFile(self._backend, task.vault_key, task.pack_id)
        except StorageError as error:
            self._fault("vault.pack_unreadable", None, 0, str(error))
            return
        coder = FrameCoder(task.vault_key)
        try:
            for offset, table in file.tables():
                if any(self._wants.numbers_of(digest) for digest, _ in table):
                    self._sample_frame(file, coder, offset)
        except StorageError as error:
            self._fault("vault.pack_unreadable", None, 0, str(error))
        finally:
            file.close()

    def _sample_frame(self, file: PackFile, coder: FrameCoder, offset: int) -> None:
        try:
            if file.header_at(offset)[0].kind == LARGE:
                large = LargeObject(file)
                self._sampled(large.digest, large.size, large.pieces(), offset)
                return
            view = FrameView(file, offset)
            table = view.table()
            plain = view.body(coder, table)
        except FrameDamage as damage:
            self._fault(damage.code, None, offset, str(damage))
            return
        start = 0
        for digest, size in table:
            self._sampled(digest, size, iter((plain[start : start + size],)), offset)
            start += size

    def _sampled(self, digest: bytes, size: int, pieces: Iterator[bytes], offset: int) -> None:
        sink = self._expect(digest, size)
        if sink is None:
            return
        hasher = sha256()
        for piece in pieces:
            hasher.update(piece)
            sink(piece)
        if hasher.digest() == digest:
            self._settle(size)
        else:
            self._fault("vault.content_digest", None, offset, "an object has another SHA-256")

    def _fault(self, code: str, frame: int | None, offset: int, detail: str) -> None:
        pack_id = self._task.pack_id
        self.answer.faults.append(PackFault(code, pack_id, pack_name(pack_id), frame, offset, detail))


class _ContentCheck:
    """Compare one content with every record that wants it, as its pieces come by."""

    def __init__(self, table: WantTable, numbers: Sequence[int], size: int) -> None:
        self.numbers = numbers
        self._wants = [table[number] for number in numbers]
        self._size = size
        self._roots: list[bytes | None] | None = None
        self._streams: list[ChunkRoot | None] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece; a content that comes whole needs no state."""
        if len(piece) == self._size and self._roots is None:
            self._roots = [
                None if want.root is None else chunk_root(want.salt, piece) for want in self._wants
            ]
            return
        if not self._streams:
            self._streams = [None if want.root is None else ChunkRoot(want.salt) for want in self._wants]
        for stream in self._streams:
            if stream is not None:
                stream.update(piece)

    def faults(self) -> Iterator[WantFault]:
        """Yield what differs, for each record that wants the content."""
        for number, want, root in zip(self.numbers, self._wants, self._given_roots(), strict=True):
            if want.size != self._size:
                detail = f"its content has {self._size} bytes, the record says {want.size}"
                yield WantFault(number, "content.size", detail)
            elif root != want.root:
                yield WantFault(number, "content.chunks", "its content leads to another chunk root")

    def _given_roots(self) -> list[bytes | None]:
        if self._roots is not None:
            return self._roots
        if self._streams:
            return [None if stream is None else stream.digest() for stream in self._streams]
        return [None if want.root is None else chunk_root(want.salt, b"") for want in self._wants]
