"""Describe a repository as a whole: what it is, what it borrows, and what of its history is not in it."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import NULL, boolean_value, structure_value, text_value
from scelle.sources.git.place import Repository
from scelle.sources.git.schemas import NOT_IN_A_CLONE, REPOSITORY
from scelle.sources.git.settings import settings
from scelle.sources.interfaces import UNDATED, Record, native_text

_LISTED_MAX: Final = 10_000
"""Entries of one list of `state`; `count` says how many there are."""
_SUBMODULE_LEVELS: Final = 8
_TRUE: Final = ("true", "yes", "on", "1", "")  # a name without a value is true to git
_NATIVE: Final = b"repository"
_COUNTS: Final = {b"count": "loose", b"in-pack": "packed", b"packs": "packs", b"garbage": "garbage"}


class _State(NamedTuple):
    shallow: list[bytes]
    partial: bool
    alternates: list[bytes]
    grafts: list[bytes]
    worktrees: list[bytes]
    submodules: list[bytes]
    counts: dict[str, int]


def repository_record(repository: Repository, account: str | None) -> Record:
    """Make the one record of a repository as a whole; raises ItemUnreadable where its configuration cannot be read."""
    kept = settings(repository)
    state = _state(repository, kept)
    head = repository.file(b"HEAD")
    values = [
        NULL if account is None else text_value(account),
        text_value(native_text(_NATIVE)),
        NULL if head is None else text_value(native_text(head.rstrip(b"\n"))),
        text_value(repository.object_format),
        boolean_value(kept.get("core.bare", ["false"])[-1].lower() in _TRUE),
        boolean_value(bool(state.shallow)),
        boolean_value(state.partial),
        structure_value(canonical_json(kept)),
        structure_value(canonical_json(_state_json(state))),
        structure_value(canonical_json(list(_unseen(state)))),
    ]
    size_bytes = sum(map(len, values))
    return Record(
        REPOSITORY, _NATIVE, UNDATED, account, values, sha256(b"".join(values)).digest(), size_bytes
    )


def stored_bytes(repository: Repository) -> int:
    """Give the size of the repository's object store on disk, rounded to KiB as git counts it."""
    counted = _count_objects(repository)
    return 1024 * (counted.get(b"size", 0) + counted.get(b"size-pack", 0))


def _state(repository: Repository, kept: dict[str, list[str]]) -> _State:
    counted = _count_objects(repository)
    return _State(
        _lines(repository, b"shallow"),
        _is_partial(repository, kept),
        _lines(repository, b"objects/info/alternates"),
        _lines(repository, b"info/grafts"),
        sorted(repository.tree.names(b"worktrees")),
        sorted(_submodules(repository, b"modules", _SUBMODULE_LEVELS)),
        {name: counted.get(key, 0) for key, name in _COUNTS.items()},
    )


def _state_json(state: _State) -> dict[str, Any]:
    lists = {
        "shallow": state.shallow,
        "alternates": state.alternates,
        "grafts": state.grafts,
        "worktrees": state.worktrees,
        "submodules": state.submodules,
    }
    return {"counts": state.counts, **{name: _listed(lines) for name, lines in lists.items()}}


def _listed(lines: list[bytes]) -> dict[str, Any]:
    return {"count": len(lines), "listed": [native_text(line) for line in lines[:_LISTED_MAX]]}


def _unseen(state: _State) -> Iterator[str]:
    """Say what nobody can see in this clone, and what this source does not read."""
    yield NOT_IN_A_CLONE
    if state.shallow:
        yield f"This clone is shallow: what came before {len(state.shallow)} commits was never fetched."
    if state.partial:
        yield "This is a partial clone: objects that were never fetched are not here, and are not fetched now."
    if state.alternates:
        yield "Objects are borrowed from other repositories: they are read with the others, their refs are not."
    if state.grafts:
        yield "A file of grafts changes what git shows as history: commits are kept as they were made."
    if state.submodules:
        yield "Submodules are repositories of their own: each needs a source of its own."
    yield "Working trees, the index and hooks are not read: a source of files reads them. Staged contents are objects."


def _lines(repository: Repository, path: bytes) -> list[bytes]:
    return [
        line for line in (repository.file(path) or b"").splitlines() if line and not line.startswith(b"#")
    ]


def _is_partial(repository: Repository, kept: dict[str, list[str]]) -> bool:
    if any(name == "extensions.partialclone" or name.endswith(".promisor") for name in kept):
        return True
    return any(name.endswith(b".promisor") for name in repository.tree.names(b"objects/pack"))


def _submodules(repository: Repository, path: bytes, levels: int) -> Iterator[bytes]:
    """Name the submodules whose repositories lie in this one; their names may have slashes."""
    for name in repository.tree.names(path):
        place = path + b"/" + name
        if repository.tree.is_there(place + b"/HEAD"):
            yield place.partition(b"/")[2]
        elif levels:
            yield from _submodules(repository, place, levels - 1)


def _count_objects(repository: Repository) -> dict[bytes, int]:
    pairs = (line.split(b": ") for line in repository.git.run("count-objects", "-v").out.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
