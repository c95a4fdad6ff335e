"""Read where every ref stands: branches, tags, notes, HEAD and its sisters, also those of linked worktrees."""
# pathlib does not know paths that are bytes.
# ruff: noqa: PTH118

import os
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from scelle.errors import ItemChanged, ItemError, ItemUnreadable
from scelle.formats.tokens import shown
from scelle.formats.values import NULL, bytes_value, text_value
from scelle.sources.git.place import Repository
from scelle.sources.git.reflogs import last_move
from scelle.sources.git.schemas import REFS
from scelle.sources.interfaces import UNDATED, BadRecord, Kind, Record, Trouble, native_text

_FORMAT: Final = "--format=%(refname)%00%(objectname)%00%(symref)"
_TOP_NAME: Final = re.compile(rb"[A-Z_]+")
_OID: Final = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?)(?![0-9a-f])")
_SYMREF: Final = re.compile(rb"ref:\s*(\S.*?)\s*", re.DOTALL)


class Ref(NamedTuple):
    """Carry a ref's position: the object it stands on, and the ref that it follows, if any."""

    name: bytes
    target: bytes | None
    symref: bytes | None


class _Target(NamedTuple):
    kind: bytes
    peeled: bytes | None


def ref_records(repository: Repository, account: str | None) -> Iterator[Record | BadRecord]:
    """Make a record of every ref's position, and name those that cannot be read or stand on nothing.

    Raises ItemUnreadable where git cannot list refs at all.
    """
    refs, bad = _all_refs(repository)
    targets = _targets(repository, sorted({ref.target for ref in refs if ref.target is not None}))
    for ref in refs:
        target = targets.get(ref.target) if ref.target is not None else None
        yield _record(repository, ref, target, account)
        if ref.target is not None and target is None:
            yield BadRecord(
                native_text(ref.name),
                "object-missing",
                f"it stands on {ref.target.decode()}, which cannot be read",
            )
    yield from bad


def _all_refs(repository: Repository) -> tuple[list[Ref], list[BadRecord]]:
    listed = {ref.name: ref for ref in _listed_by_git(repository)}
    refs, bad = list(listed.values()), []
    for path in _files(repository):
        if isinstance(path, Trouble):
            bad.append(BadRecord(native_text(path.native), path.cause, "it could not be listed"))
        elif path not in listed:
            ref = _read_loose(repository, path, listed)
            (refs if isinstance(ref, Ref) else bad).append(ref)  # type: ignore[arg-type]
    return sorted(refs), sorted(bad)


def _listed_by_git(repository: Repository) -> Iterator[Ref]:
    answer = repository.git.run("for-each-ref", _FORMAT)
    if answer.code:
        raise ItemUnreadable(
            f"git cannot list refs ({answer.complaint}): run `git fsck` there", "listing-failed"
        )
    for line in answer.out.split(b"\n"):
        if line:
            name, target, symref = line.split(b"\0")
            yield Ref(name, target, symref or None)


def _files(repository: Repository) -> Iterator[bytes | Trouble]:
    """Name the files that are refs: git lists neither HEAD and its sisters, nor what leads nowhere, nor what other
    worktrees have of their own.
    """
    yield from _files_below(repository, b"")
    for worktree in sorted(repository.tree.names(b"worktrees")):
        yield from _files_below(repository, b"worktrees/" + worktree + b"/")


def _files_below(repository: Repository, prefix: bytes) -> Iterator[bytes | Trouble]:
    for name in sorted(repository.tree.names(prefix.rstrip(b"/"))):
        if _TOP_NAME.fullmatch(name) and (name == b"HEAD" or name.endswith((b"_HEAD", b"_MERGE"))):
            yield prefix + name
    tree = repository.tree_below(prefix + b"refs")
    for each in tree.walk() if tree else ():
        path = prefix + b"refs/" + each.path
        if isinstance(each, Trouble):
            yield Trouble(path, path, each.cause)
        elif each.kind is not Kind.SPECIAL and not path.endswith(b".lock"):
            yield path


def _read_loose(repository: Repository, path: bytes, listed: dict[bytes, Ref]) -> Ref | BadRecord:
    try:
        data = _content(repository, path)
    except ItemError as error:
        return BadRecord(native_text(path), error.cause, str(error))
    symref = _SYMREF.fullmatch(data)
    if symref is not None:
        followed = _followed(repository, path, symref[1], listed)
        return Ref(path, followed, symref[1])
    target = _OID.match(data)
    if target is not None:
        return Ref(path, target[1], None)
    return BadRecord(
        native_text(path), "ref-broken", f"{shown(data[:64])} is neither an object's id nor a ref's name"
    )


def _content(repository: Repository, path: bytes) -> bytes:
    """Read a ref's file. A symbolic link is how git wrote HEAD before 2005; some tools still do."""
    try:
        return b"ref: " + repository.tree.read_link(path)[0]
    except ItemChanged:  # it is no link
        return repository.tree.read_file(path).data or b""


def _followed(repository: Repository, path: bytes, symref: bytes, listed: dict[bytes, Ref]) -> bytes | None:
    """Give the object that a symbolic ref leads to; None where it leads nowhere: a branch not born yet."""
    if symref in listed:
        return listed[symref].target
    answer = repository.git.run("rev-parse", "--verify", "--quiet", "--end-of-options", path)
    target = _OID.match(answer.out)
    return target[1] if target is not None and not answer.code else None


def _targets(repository: Repository, oids: Sequence[bytes]) -> dict[bytes, _Target]:
    """Ask what stands at each id, and where the tags among them lead in the end; missing ones are left out."""
    kinds = {oid: kind for oid, (_, kind) in _checked(repository, oids, b"").items()}
    tags = [oid for oid in oids if kinds.get(oid) == b"tag"]
    peeled = _checked(repository, tags, b"^{}")
    return {oid: _Target(kind, peeled[oid][0] if oid in peeled else None) for oid, kind in kinds.items()}


def _checked(
    repository: Repository, oids: Sequence[bytes], suffix: bytes
) -> dict[bytes, tuple[bytes, bytes]]:
    found: dict[bytes, tuple[bytes, bytes]] = {}
    asked = 0
    while asked < len(oids):
        questions = b"".join(oid + suffix + b"\n" for oid in oids[asked:])
        answer = repository.git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", given=questions)
        lines = answer.out.splitlines()
        for oid, line in zip(oids[asked:], lines, strict=False):
            words = line.split(b" ")
            if len(words) == 2 and words[1] != b"missing":
                found[oid] = (words[0], words[1])
        # Older versions of git give up at an object that a partial clone lacks, since they may not fetch it.
        asked += len(lines) + 1 if answer.code else len(oids)
    return found


def _record(repository: Repository, ref: Ref, target: _Target | None, account: str | None) -> Record:
    time_us, moved = _last_moved(repository, ref)
    texts = (
        native_text(ref.name),
        ref.target.decode("ascii") if ref.target is not None else None,
        target.kind.decode("ascii") if target is not None else None,
        target.peeled.decode("ascii") if target is not None and target.peeled is not None else None,
        native_text(ref.symref) if ref.symref is not None else None,
        "none" if time_us == UNDATED else "reflog",
    )
    raw = ref.name + b"\n" + (ref.symref or b"")
    values = [NULL if text is None else text_value(text) for text in (account, *texts)]
    values.append(NULL if _is_utf8(raw) else bytes_value(raw))
    # The last move belongs to the version: a ref that moved away and back again has moved. A server keeps no reflog:
    # there the file tells when it was written, and packing branches makes a new version of each. Not so of tags: no
    # repository keeps their reflogs, there are many of them, and they are not meant to move.
    if not ref.name.startswith(b"refs/tags/"):
        moved = moved or _written(repository, ref.name)
    version = sha256(b"\n".join((ref.target or b"", ref.symref or b"", moved))).digest()
    return Record(REFS, ref.name, time_us, account, values, version, len(raw) + repository.oid_digits)


def _last_moved(repository: Repository, ref: Ref) -> tuple[int, bytes]:
    """Give the time and the line of the reflog entry that brought a ref where it stands."""
    move = last_move(repository, ref.name)
    if move is None or move[0].new != ref.target:
        return UNDATED, b""
    return move[0].time_us, move[1]


def _written(repository: Repository, name: bytes) -> bytes:
    """Give when the file that holds a ref's position was last written."""
    for place in (name, b"packed-refs"):
        try:
            return b"%d" % os.lstat(os.path.join(repository.path, place)).st_mtime_ns
        except OSError:
            continue
    return b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
