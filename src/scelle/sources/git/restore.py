"""Write a bare repository from the objects and ref positions that were sealed of another."""

import os
import re
import zlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from hashlib import new as new_hash
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from scelle.errors import InputError, IntegrityError, StorageFailed
from scelle.formats.tokens import shown
from scelle.formats.values import decode_value
from scelle.sources.git.command import Answer, Git
from scelle.sources.git.reflogs import split_worktree
from scelle.sources.git.schemas import OBJECT_V1, OBJECTS, REF_V1, REFS

_PACK_TYPES: Final = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_PACK_HEAD: Final = b"PACK" + (2).to_bytes(4, "big")
_PACK: Final = "objects/pack/pack-restored.pack"
_COUNT_AT: Final = len(_PACK_HEAD)
_COPY_BYTES: Final = 1 << 20
_PLAIN_NAME: Final = re.compile(rb"refs(/[A-Za-z0-9][A-Za-z0-9_-]*)+")
"""Names that git takes for certain: it need not be asked for each of a hundred thousand."""
_NEVER_PRUNED: Final = (
    "gc.auto=0",
    "gc.pruneExpire=never",
    "gc.reflogExpire=never",
    "gc.reflogExpireUnreachable=never",
)


class GitObject(NamedTuple):
    """Carry an object to write: `kind` is commit, tree, blob or tag, `oid` its id in hex, `pieces` its content."""

    kind: str
    oid: str
    size_bytes: int
    pieces: Iterable[bytes]


class RefPosition(NamedTuple):
    """Carry where a ref stood: on an object, or following another ref."""

    name: bytes
    target: str | None
    symref: bytes | None = None


class Restored(NamedTuple):
    """Count what was written.

    `without_place` names positions that a bare repository has no place for. `failed` pairs objects with the reason why
    they are not in it; `broken` names refs that are not in it, because nothing stands where they stood or because git
    takes no such name.
    """

    objects: int
    refs: int
    without_place: tuple[bytes, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    broken: tuple[bytes, ...] = ()


def restore(
    records: Iterable[GitObject | RefPosition],
    to: Path,
    object_format: str = "sha1",
    shallow: Sequence[str] = (),
) -> Restored:
    """Write a bare repository to the folder `to`, which is not there yet or is empty.

    Every object is written, also those that no ref leads to, and the repository is set never to remove any. Give one
    position of each ref; `shallow` are the commits whose parents the source's clone did not have. What is established:
    each content has its id, and each ref that is written stands on an object that is there. An object whose content
    cannot be had (its pieces raise IntegrityError), or is not that of its id, is left out and named, and so is a ref
    that stood on it. `git fsck --full` accepts the result where it accepted the source and nothing was left out.
    Reflogs are not written: entries name objects that git removed long ago.

    Raises InputError for a folder that is in use and for two positions of one ref, IntegrityError where git does not
    take what was written, SourceUnreadable without git, and StorageFailed where the folder cannot be written.
    """
    git = _new_repository(to, object_format)
    try:
        written = _write_objects(records, to, object_format)
    except OSError as error:
        raise StorageFailed(
            f"{shown(str(to))} cannot be written ({error.strerror}): make room, then restore anew"
        ) from error
    if written.oids:
        _must(git.run("index-pack", _PACK), "the objects cannot be packed")
    if shallow:
        (to / "shallow").write_text("".join(f"{oid}\n" for oid in shallow), encoding="ascii")
    kept, without_place = _parted(written.positions)
    whole, broken = _standing(git, kept, written.oids)
    _write_refs(git, whole)
    return Restored(len(written.oids), len(whole), without_place, tuple(written.failed), broken)


def complaints(to: Path) -> list[str]:
    """Return what `git fsck --full` says is wrong with a repository that was restored; nothing when all is well."""
    answer = Git(os.fsencode(to.absolute()), "restored").run(
        "fsck", "--full", "--no-dangling", "--no-progress"
    )
    said = (answer.errors + answer.out).decode("utf-8", "replace").splitlines()
    return [shown(line) for line in said if not line.startswith("notice:")] or (
        [answer.complaint] if answer.code else []
    )


def restorable(
    member: str, values: Sequence[bytes], pieces: Iterable[bytes] = ()
) -> GitObject | RefPosition | None:
    """Make what `restore` takes of a sealed record: its values from field 2 on, and the pieces of its content.

    Gives None for records of the other members.
    """
    if member == OBJECTS:
        field = _fields(OBJECT_V1.field_number, values)
        return GitObject(field("type"), field("native_id"), field("size"), pieces)
    if member == REFS:
        field = _fields(REF_V1.field_number, values)
        raw = field("raw")
        symref = field("symref")
        if raw is not None:
            name, _, followed = raw.partition(b"\n")
            return RefPosition(name, field("target"), followed or None)
        return RefPosition(field("native_id").encode(), field("target"), symref.encode() if symref else None)
    return None


def _fields(number_of: Any, values: Sequence[bytes]) -> Any:
    return lambda name: decode_value(values[number_of(name) - 2])[1]


def refuse_folder(to: Path) -> None:
    """Raise InputError for a place where no repository can be written: a link, a file, a folder with anything in it."""
    if to.is_symlink() or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise InputError(
            f"{shown(str(to))} is in use: name a folder that is not there yet, or an empty one, and "
            "remove what an interrupted restore left there"
        )


def _new_repository(to: Path, object_format: str) -> Git:
    refuse_folder(to)
    to.mkdir(parents=True, exist_ok=True)
    git = Git(os.fsencode(to.absolute()), "restored")
    options = ("--quiet", "--bare", "--template=", f"--object-format={object_format}")
    _must(git.run("init", *options), "git cannot make a repository")
    for setting in _NEVER_PRUNED:
        name, _, value = setting.partition("=")
        _must(git.run("config", name, value), "git cannot be set up")
    return git


class _Written:
    """Gather what came of the records: the ids in the pack, the ref positions, and what failed."""

    def __init__(self) -> None:
        self.oids: set[bytes] = set()
        self.positions: list[RefPosition] = []
        self.failed: list[tuple[str, str]] = []


def _write_objects(records: Iterable[GitObject | RefPosition], to: Path, object_format: str) -> _Written:
    """Write one pack of all objects; gather the ref positions that come with them."""
    found = _Written()
    place = to / _PACK
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w+b") as pack:
        pack.write(_PACK_HEAD + bytes(4))
        for record in records:
            if isinstance(record, RefPosition):
                found.positions.append(record)
            elif bytes.fromhex(record.oid) not in found.oids:
                _try_object(pack, record, object_format, found)
        pack.seek(_COUNT_AT)
        pack.write(len(found.oids).to_bytes(4, "big"))
        pack.write(_trailer(pack, object_format))
    if not found.oids:
        place.unlink()
    return found


def _try_object(pack: IO[bytes], each: GitObject, object_format: str, found: _Written) -> None:
    """Write an object, or take back what was begun of it and say why."""
    start = pack.tell()
    try:
        _write_object(pack, each, object_format)
    except IntegrityError as error:
        pack.seek(start)
        pack.truncate()
        found.failed.append((each.oid, str(error)))
    else:
        found.oids.add(bytes.fromhex(each.oid))


def _write_object(pack: IO[bytes], each: GitObject, object_format: str) -> None:
    if each.kind not in _PACK_TYPES:
        raise IntegrityError(f"object {each.oid} is a {shown(each.kind)}: git has no such objects")
    digest: Any = new_hash(object_format, usedforsecurity=False)
    digest.update(f"{each.kind} {each.size_bytes}\0".encode("ascii"))
    squeeze = zlib.compressobj()
    pack.write(_pack_entry_head(_PACK_TYPES[each.kind], each.size_bytes))
    for piece in each.pieces:
        digest.update(piece)
        pack.write(squeeze.compress(piece))
    pack.write(squeeze.flush())
    if digest.hexdigest() != each.oid:
        raise IntegrityError(
            f"the content of object {each.oid} is not that of its id: nothing can be restored from it"
        )


def _pack_entry_head(kind: int, size_bytes: int) -> bytes:
    """Write type and size: 4 bits of the size beside the type, then 7 at a time, lowest first (gitformat-pack)."""
    head = bytearray()
    byte, size_bytes = kind << 4 | size_bytes & 15, size_bytes >> 4
    while size_bytes:
        head.append(byte | 0x80)
        byte, size_bytes = size_bytes & 0x7F, size_bytes >> 7
    head.append(byte)
    return bytes(head)


def _trailer(pack: IO[bytes], object_format: str) -> bytes:
    """Give the digest of a whole pack and leave its file at the end."""
    digest: Any = new_hash(object_format, usedforsecurity=False)
    pack.seek(0)
    while piece := pack.read(_COPY_BYTES):
        digest.update(piece)
    result: bytes = digest.digest()
    return result


def _standing(
    git: Git, positions: Sequence[RefPosition], oids: Container[bytes]
) -> tuple[list[RefPosition], tuple[bytes, ...]]:
    """Part the refs that can be written from those that stand on nothing, or whose names cannot be.

    A branch that was deleted may stand in the way of a newer one below its name: of two such the later given counts.
    """
    whole: list[RefPosition] = []
    broken: list[bytes] = []
    names: set[bytes] = set()
    folders: set[bytes] = set()
    for ref in reversed(positions):
        above = set(_above(ref.name))
        stands = ref.symref is not None or (ref.target is not None and bytes.fromhex(ref.target) in oids)
        has_place = ref.name not in folders and not above & names
        if stands and has_place and all(_is_name(git, each) for each in (ref.name, ref.symref) if each):
            whole.append(ref)
            names.add(ref.name)
            folders |= above
        else:
            broken.append(ref.name)
    return whole[::-1], tuple(sorted(broken))


def _above(name: bytes) -> Iterator[bytes]:
    """Give the folders in which a ref of that name lies."""
    at = name.find(b"/")
    while at >= 0:
        yield name[:at]
        at = name.find(b"/", at + 1)


def _is_name(git: Git, name: bytes) -> bool:
    return (
        name == b"HEAD"
        or _PLAIN_NAME.fullmatch(name) is not None
        or not git.run("check-ref-format", name).code
    )


def _write_refs(git: Git, refs: Sequence[RefPosition]) -> None:
    """Write all positions: those on objects in one transaction, then those that follow another ref."""
    direct = [ref for ref in refs if ref.symref is None]
    # HEAD by itself: it may lead, freshly made, to a branch that is written too, and git refuses both at once.
    for together in (
        [ref for ref in direct if ref.name != b"HEAD"],
        [ref for ref in direct if ref.name == b"HEAD"],
    ):
        given = b"".join(_commands(together))
        _must(git.run("update-ref", "--no-deref", "--stdin", "-z", given=given), "refs cannot be written")
    for ref in refs:
        if ref.symref is not None:
            _must(git.run("symbolic-ref", ref.name, ref.symref), f"{shown(ref.name)} cannot be written")


def _commands(refs: Iterable[RefPosition]) -> Iterator[bytes]:
    for ref in refs:
        if ref.target is not None:
            yield b"update %b\0%b\0\0" % (ref.name, ref.target.encode("ascii"))


def _parted(positions: Sequence[RefPosition]) -> tuple[list[RefPosition], tuple[bytes, ...]]:
    """Part what a bare repository can hold from what belongs to other worktrees and to unfinished commands."""
    kept: list[RefPosition] = []
    without_place: list[bytes] = []
    for ref in positions:
        is_common = not split_worktree(ref.name)[0] and (ref.name == b"HEAD" or ref.name.startswith(b"refs/"))
        if is_common:
            kept.append(ref)
        else:
            without_place.append(ref.name)
    counted = Counter(ref.name for ref in kept)
    twice = next((name for name, count in counted.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"ref {shown(twice)} has several positions: give one, the newest")
    return kept, tuple(without_place)


def _must(answer: Answer, what: str) -> None:
    if answer.code:
        raise IntegrityError(f"{what}: {answer.complaint}")
