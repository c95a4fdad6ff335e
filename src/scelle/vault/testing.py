"""Check that a backend keeps its word, and make one that fails on purpose.

`CONFORMANCE` is the suite that every backend passes; tests/conformance/test_backends.py runs it.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from scelle.errors import BlobExists, BlobMissing, InputError, ScelleError, StorageError
from scelle.vault.interfaces import Backend, Buffer, ReadableBlob, WritableBlob

Check: TypeAlias = Callable[[Backend], None]


def _expect(claim: bool, what: str) -> None:
    if not claim:
        raise AssertionError(what)


def _refused(error: type[ScelleError], act: Callable[[], object], what: str) -> None:
    try:
        act()
    except error:
        return
    raise AssertionError(f"not refused: {what}")


def _sealed(backend: Backend, name: str, data: bytes) -> None:
    blob = backend.create(name)
    blob.write(data)
    blob.seal()


def _content(backend: Backend, name: str) -> bytes:
    blob = backend.open(name)
    try:
        return blob.pread(0, blob.size)
    finally:
        blob.close()


def sealed_blob_reads_back(backend: Backend) -> None:
    """Read what was written, whole, in parts, and beyond the end."""
    blob = backend.create("packs/ab/one.pack")
    _expect(blob.name == "packs/ab/one.pack", "a blob knows its name")
    _expect(blob.write(b"hello ") == 0 and blob.write(memoryview(b"world")) == 6, "write returns offsets")
    _expect(blob.tell() == 11, "tell counts bytes")
    blob.seal()
    reader = backend.open("packs/ab/one.pack")
    _expect(reader.size == 11, "size")
    _expect(reader.pread(0, 11) == b"hello world" and reader.pread(6, 5) == b"world", "content")
    _expect(reader.pread(9, 100) == b"ld" and reader.pread(11, 1) == b"", "reading stops at the end")
    reader.close()
    reader.close()


def sealed_blob_is_write_once(backend: Backend) -> None:
    """Refuse to begin a name that is taken, whichever way, and leave the first bytes alone."""
    _sealed(backend, "packs/ab/one.pack", b"first")
    _refused(BlobExists, lambda: backend.create("packs/ab/one.pack"), "create over a sealed blob")
    _refused(BlobMissing, lambda: backend.resume("packs/ab/one.pack", 0), "resume of a sealed blob")
    _refused(InputError, lambda: backend.replace("packs/ab/one.pack", b"second"), "replace of a pack")
    _expect(_content(backend, "packs/ab/one.pack") == b"first", "the first bytes stay")


def sealed_blob_takes_no_more(backend: Backend) -> None:
    """Refuse to write to a blob after it was sealed."""
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"first")
    blob.seal()
    _refused(StorageError, lambda: blob.write(b"more"), "write after seal")
    blob.abandon()
    blob.close()
    _expect(_content(backend, "packs/ab/one.pack") == b"first", "abandon after seal does nothing")


def unfinished_blob_is_apart(backend: Backend) -> None:
    """List an unfinished blob as such only, let it be read, and refuse a second one."""
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"abc")
    blob.sync()
    _expect(backend.unfinished("packs/") == ["packs/ab/one.pack"], "unfinished is listed")
    _expect(backend.list("packs/") == [] and not backend.exists("packs/ab/one.pack"), "and is not sealed")
    _expect(_content(backend, "packs/ab/one.pack") == b"abc", "it can be read")
    _refused(BlobExists, lambda: backend.create("packs/ab/one.pack"), "create over an unfinished blob")
    blob.seal()
    _expect(backend.unfinished("packs/") == [], "sealed is not unfinished")
    _expect(
        backend.list("packs/") == ["packs/ab/one.pack"] and backend.exists("packs/ab/one.pack"), "but sealed"
    )


def unfinished_blob_goes_on(backend: Backend) -> None:
    """Let go of a blob and go on with it, cut to a size, never beyond its end."""
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"abcdef")
    blob.close()
    blob.close()
    _refused(BlobMissing, lambda: backend.resume("packs/ab/one.pack", 7), "resume beyond the end")
    again = backend.resume("packs/ab/one.pack", 4)
    _expect(again.tell() == 4, "cut")
    again.write(b"XY")
    again.seal()
    _expect(_content(backend, "packs/ab/one.pack") == b"abcdXY", "the tail was dropped")


def abandoned_blob_is_gone(backend: Backend) -> None:
    """Drop an unfinished blob so that its name is free again."""
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"abc")
    blob.abandon()
    blob.abandon()
    _expect(backend.unfinished("") == [] and backend.list("") == [], "nothing is left")
    _refused(BlobMissing, lambda: backend.open("packs/ab/one.pack"), "open of an abandoned blob")
    _sealed(backend, "packs/ab/one.pack", b"new")


def reader_survives_sealing(backend: Backend) -> None:
    """Keep an open reader usable while the blob grows and is sealed."""
    blob = backend.create("packs/ab/one.pack")
    blob.write(b"abc")
    reader = backend.open("packs/ab/one.pack")
    _expect(reader.size == 3, "size when opened")
    blob.write(b"def")
    blob.seal()
    _expect(reader.pread(0, 3) == b"abc", "still readable")
    reader.close()


def removed_blob_is_gone(backend: Backend) -> None:
    """Remove blobs of both states, and nothing else; twice is as once."""
    _sealed(backend, "packs/ab/one.pack", b"1")
    _sealed(backend, "packs/ab/two.pack", b"2")
    backend.create("packs/ab/three.pack").close()
    for _ in range(2):
        backend.remove("packs/ab/one.pack")
        backend.remove("packs/ab/three.pack")
    _expect(backend.list("") == ["packs/ab/two.pack"] and backend.unfinished("") == [], "two is left")


def keys_are_replaced_whole(backend: Backend) -> None:
    """Replace a keys blob, whether it is there or not; the same bytes twice are as once."""
    backend.replace("packs/ab/one.keys", b"old and long")
    backend.replace("packs/ab/one.keys", b"new")
    backend.replace("packs/ab/one.keys", b"new")
    _expect(_content(backend, "packs/ab/one.keys") == b"new", "the new bytes, and only these")
    _sealed(backend, "packs/ab/two.keys", b"sealed")
    backend.replace("packs/ab/two.keys", bytearray(b"replaced"))
    _expect(_content(backend, "packs/ab/two.keys") == b"replaced", "sealed keys can be replaced")
    _expect(backend.list("packs/") == ["packs/ab/one.keys", "packs/ab/two.keys"], "no other traces")


def names_are_listed_by_prefix(backend: Backend) -> None:
    """List names by any prefix, sorted, also part of a component."""
    for name in ("packs/b/2.pack", "packs/a/1.pack", "packs/ab/3.pack", "other/x"):
        _sealed(backend, name, b"")
    _expect(backend.list("packs/") == ["packs/a/1.pack", "packs/ab/3.pack", "packs/b/2.pack"], "by folder")
    _expect(backend.list("packs/a") == ["packs/a/1.pack", "packs/ab/3.pack"], "by part of a name")
    _expect(backend.list("nothing/") == [] and len(backend.list("")) == 4, "none and all")
    _expect(_content(backend, "other/x") == b"", "an empty blob")


def missing_blob_is_said_so(backend: Backend) -> None:
    """Say that a blob is missing, by error or answer, never by empty bytes."""
    _refused(BlobMissing, lambda: backend.open("packs/ab/none.pack"), "open of nothing")
    _refused(BlobMissing, lambda: backend.resume("packs/ab/none.pack", 0), "resume of nothing")
    _expect(not backend.exists("packs/ab/none.pack"), "exists of nothing")
    backend.remove("packs/ab/none.pack")


def bad_names_are_refused(backend: Backend) -> None:
    """Refuse names that could leave the store, or that another store could not keep."""
    for name in BAD_NAMES:
        _refused(InputError, lambda name=name: backend.create(name), f"create {name!a}")  # type: ignore[misc]
        _refused(InputError, lambda name=name: backend.open(name), f"open {name!a}")  # type: ignore[misc]
        _refused(InputError, lambda name=name: backend.remove(name), f"remove {name!a}")  # type: ignore[misc]


BAD_NAMES: Final = (
    "",
    "/etc/x",
    "../x",
    "a/../b",
    "a//b",
    "a/",
    ".hidden",
    "A",
    "a b",
    "a\nb",
    "é",
    "a/.b",
    "a..b",
)

CONFORMANCE: Final[Sequence[Check]] = (
    sealed_blob_reads_back,
    sealed_blob_is_write_once,
    sealed_blob_takes_no_more,
    unfinished_blob_is_apart,
    unfinished_blob_goes_on,
    abandoned_blob_is_gone,
    reader_survives_sealing,
    removed_blob_is_gone,
    keys_are_replaced_whole,
    names_are_listed_by_prefix,
    missing_blob_is_said_so,
    bad_names_are_refused,
)


class FailingBackend:
    """Pass everything on to `inner`, but fail at one of the steps that change something.

    `steps` counts them (create, write, sync, seal, abandon, resume, replace, remove). Step number `fail_at`
    raises `error`; a write leaves `torn_bytes` of its data behind. All later steps fail as well: the disk
    stays full.
    """

    def __init__(self, inner: Backend, fail_at: int, error: StorageError, torn_bytes: int = 0) -> None:
        self.inner, self.fail_at, self.error, self.torn_bytes = inner, fail_at, error, torn_bytes
        self.steps = 0

    def step(self, write: Callable[[Buffer], object] | None = None, data: Buffer = b"") -> None:
        """Count one step, and fail if it is time."""
        self.steps += 1
        if self.steps >= self.fail_at:
            if write is not None and self.steps == self.fail_at and self.torn_bytes:
                write(bytes(data)[: self.torn_bytes])
            raise self.error

    def create(self, name: str) -> WritableBlob:
        """Begin a blob; see `Backend.create`."""
        self.step()
        return _FailingWriter(self, self.inner.create(name))

    def resume(self, name: str, size: int) -> WritableBlob:
        """Go on with an unfinished blob; see `Backend.resume`."""
        self.step()
        return _FailingWriter(self, self.inner.resume(name, size))

    def open(self, name: str) -> ReadableBlob:
        """Open a blob to read; see `Backend.open`."""
        return self.inner.open(name)

    def exists(self, name: str) -> bool:
        """Say whether `name` is sealed."""
        return self.inner.exists(name)

    def replace(self, name: str, data: Buffer) -> None:
        """Replace a small blob; see `Backend.replace`."""
        self.step()
        self.inner.replace(name, data)

    def remove(self, name: str) -> None:
        """Destroy a blob; see `Backend.remove`."""
        self.step()
        self.inner.remove(name)

    def unfinished(self, prefix: str) -> list[str]:
        """List unfinished blobs; see `Backend.unfinished`."""
        return self.inner.unfinished(prefix)

    def list(self, prefix: str) -> list[str]:
        """List sealed blobs; see `Backend.list`."""
        return self.inner.list(prefix)


class _FailingWriter:
    def __init__(self, backend: FailingBackend, inner: WritableBlob) -> None:
        self._backend, self._inner = backend, inner

    @property
    def name(self) -> str:
        return self._inner.name

    def write(self, data: Buffer) -> int:
        self._backend.step(self._inner.write, data)
        return self._inner.write(data)

    def tell(self) -> int:
        return self._inner.tell()

    def sync(self) -> None:
        self._backend.step()
        self._inner.sync()

    def seal(self) -> None:
        self._backend.step()
        self._inner.seal()

    def abandon(self) -> None:
        self._backend.step()
        self._inner.abandon()

    def close(self) -> None:
        self._inner.close()
