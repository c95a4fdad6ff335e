"""Judge the content packs: every object's SHA-256, and size and chunk root of each record that needs it.

Nothing that comes out of here tells which order needs a content that no record of the run names.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from scelle.errors import StorageError
from scelle.formats.records import CHUNK_BYTES, ChunkRoot, chunk_root
from scelle.fsck.files import Unreadable, read_file
from scelle.fsck.rows import NO_ROOT, WANT_BYTES, WANT_ROOT, WANT_SALT, WANT_SIZE, Want, parse_want
from scelle.vault.frames import (
    KEYS_HEADER_BYTES,
    LARGE,
    FrameCoder,
    FrameDamage,
    keys_name,
    pack_identity,
    pack_name,
)
from scelle.vault.keys import VaultKey
from scelle.vault.posix import UNFINISHED_SUFFIX, PosixBackend
from scelle.vault.reading import FrameView, LargeObject, PackFile
from scelle.vault.scanning import PackFault, PieceSink, ScannedObject, scan_pack

_OBJECT: Final = Struct(">32sQQQ")
OBJECT_BYTES: Final = _OBJECT.size
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

    def raw(self, number: int) -> bytes:
        """Give the 96 bytes of a want."""
        return self._flat[number * WANT_BYTES : (number + 1) * WANT_BYTES]

    def __getitem__(self, number: int) -> Want:
        return parse_want(self.raw(number))

    def numbers_of(self, digest: bytes) -> list[int]:
        """Give the numbers of the wants of a content."""
        bucket, starts, is_at, found = self._bucket(digest), self._starts, self._flat.startswith, []
        for number in range(starts[bucket], starts[bucket + 1]):
            if is_at(digest, number * WANT_BYTES):
                found.append(number)  # mostly there is one: a comprehension takes longer to begin
        return found


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
        self._numbers: list[int] = []
        self._whole = b""
        self._stream: _StreamCheck | None = None
        self._frame_offset = self._start = -1

    def scan(self) -> None:
        """Read the whole pack."""
        answer = self.answer
        self._check_unfinished_keys()
        for result in scan_pack(self._backend, self._task.vault_key, self._task.pack_id, self._expect):
            if isinstance(result, ScannedObject):
                self._take(result)
            elif result.code == _DESTROYED:
                answer.destroyed += 1
            else:
                answer.faults.append(result)

    def _check_unfinished_keys(self) -> None:
        """Compare the header of a keys file that is not finished: a scan looks at those of finished packs only."""
        pack_id = self._task.pack_id
        path = self._task.vault / f"{keys_name(pack_id)}{UNFINISHED_SUFFIX}"
        try:
            head = read_file(path)[:KEYS_HEADER_BYTES]
        except Unreadable:
            return  # it is finished; or the scan says that there is none
        if head and not pack_identity(self._task.vault_key.vault_id, pack_id).keys_header.startswith(head):
            detail = "its header is not as it was written"
            fault = PackFault(
                "vault.keys_damaged", pack_id, keys_name(pack_id) + UNFINISHED_SUFFIX, None, 0, detail
            )
            self.answer.faults.append(fault)

    def _expect(self, digest: bytes, size: int) -> PieceSink | None:
        """Say where the pieces of the next content go: nowhere, where no record wants it."""
        self._numbers = self._wants.numbers_of(digest)
        self._whole, self._stream = b"", None
        if not self._numbers:
            return None
        if size <= CHUNK_BYTES:
            return self._keep
        self._stream = _StreamCheck([self._wants[number] for number in self._numbers])
        return self._stream.feed

    def _keep(self, piece: bytes) -> None:
        self._whole = self._whole + piece if self._whole else piece

    def _take(self, found: ScannedObject) -> None:
        if found.offset != self._frame_offset:
            self._frame_offset, self._start = found.offset, 0
        self.answer.objects += _OBJECT.pack(found.digest, found.offset, self._start, found.size)
        self._start += found.size
        self._settle(found.size)

    def _settle(self, size: int) -> None:
        """Compare an intact content with every record that wants it."""
        answer = self.answer
        if not self._numbers:
            answer.unnamed += 1
            return
        answer.contents += 1
        answer.bytes += size
        answer.met += self._numbers
        size_bytes = size.to_bytes(8, "big")
        for place, number in enumerate(self._numbers):
            want = self._wants.raw(number)
            if want[WANT_SIZE] != size_bytes:
                detail = f"its content has {size} bytes, the record says {parse_want(want).size}"
                answer.want_faults.append(WantFault(number, "content.size", detail))
            elif want[WANT_ROOT] != NO_ROOT and want[WANT_ROOT] != self._root(place, want[WANT_SALT]):
                detail = "its content leads to another chunk root"
                answer.want_faults.append(WantFault(number, "content.chunks", detail))

    def _root(self, place: int, record_salt: bytes) -> bytes:
        return chunk_root(record_salt, self._whole) if self._stream is None else self._stream.root(place)

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


class _StreamCheck:
    """Compute the chunk root of a content as its pieces come by, for each record that wants it."""

    def __init__(self, wants: Sequence[Want]) -> None:
        self._roots = [ChunkRoot(want.salt) for want in wants]

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        for root in self._roots:
            root.update(piece)

    def root(self, place: int) -> bytes:
        """Give the root for one of the wants."""
        return self._roots[place].digest()
