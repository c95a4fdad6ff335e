"""Find the repository that a source's root names; never one further up."""
# pathlib does not know paths that are bytes.
# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH119

import os
from dataclasses import dataclass

from scelle.errors import ItemError, SourceMissing, SourceUnreadable
from scelle.formats.tokens import shown
from scelle.sources.git.command import Git
from scelle.sources.tree import Tree

_POINTER = b"gitdir: "
_POINTER_MAX = 64 * 1024
_LEVELS_MAX = 64
_ANSWERS_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Repository:
    """Hold a repository as git opened it: its common directory, whatever worktree the root names."""

    git: Git
    tree: Tree
    source: str
    object_format: str

    @property
    def path(self) -> bytes:
        """Give the directory that holds objects, refs and configuration."""
        return self.git.git_dir

    @property
    def oid_digits(self) -> int:
        """Give the length of an object's id in hex."""
        return 64 if self.object_format == "sha256" else 40

    def tree_below(self, path: bytes) -> Tree | None:
        """Give the tree of a directory of the repository, or None where it has none of that name."""
        place = os.path.join(self.path, path)
        return Tree(place, self.source) if os.path.isdir(place) else None

    def file(self, path: bytes) -> bytes | None:
        """Read a file of the repository of at most 8 MiB; None where there is none that can be read."""
        try:
            return self.tree.read_file(path).data
        except ItemError:
            return None


def open_repository(root: bytes, source: str) -> Repository:
    """Find the repository at `root`: a worktree, a bare repository, a linked worktree or a submodule.

    Raises SourceMissing where there is nothing, and SourceUnreadable where git cannot read what is there.
    """
    Tree(root, source).test()
    git_dir = _common_directory(_git_directory(root, source))
    _refuse_pipes(git_dir, root, source)
    git = Git(git_dir, source, work_tree=git_dir)
    answer = git.run("rev-parse", "--show-object-format", timeout_s=_ANSWERS_WITHIN_S)
    object_format = answer.out.decode("ascii", "replace").strip()
    if answer.code or not object_format:
        raise _unreadable(root, source, f"git cannot read it: {answer.complaint}")
    return Repository(git, Tree(git_dir, source), source, object_format)


def _git_directory(root: bytes, source: str) -> bytes:
    inner = os.path.join(root, b".git")
    if os.path.isfile(inner):
        return _pointed_at(inner, root, source)
    for place in (inner, root):
        if _is_git_directory(place):
            return place
    raise _unreadable(root, source, "it is no git repository: name its worktree or its bare directory")


def _pointed_at(pointer: bytes, root: bytes, source: str) -> bytes:
    data = Tree(pointer, source).read_file(os.path.basename(pointer)).data or b""
    if not data.startswith(_POINTER) or len(data) > _POINTER_MAX:
        raise _unreadable(root, source, "its file .git names no directory")
    target = os.path.join(root, data[len(_POINTER) :].rstrip(b"\r\n"))
    if not os.path.isdir(target):
        raise SourceMissing(
            f"the git directory that {shown(os.fsdecode(pointer))}, source {shown(source)}, names is not there"
        )
    return os.path.realpath(target)


def _is_git_directory(place: bytes) -> bool:
    head = os.path.join(place, b"HEAD")
    has_head = os.path.lexists(head)
    return has_head and all(os.path.isdir(os.path.join(place, name)) for name in (b"objects", b"refs"))


def _common_directory(git_dir: bytes) -> bytes:
    """Give the directory that a linked worktree shares with the others; of any other, itself."""
    place = os.path.join(git_dir, b"commondir")
    if not os.path.isfile(place):
        return git_dir
    with open(place, "rb") as file:  # noqa: PTH123
        shared = file.read(_POINTER_MAX).rstrip(b"\r\n")
    return os.path.realpath(os.path.join(git_dir, shared))


def _refuse_pipes(git_dir: bytes, root: bytes, source: str) -> None:
    """Refuse a repository in which git would wait for ever: a pipe, socket or device in the place of a file.

    Whoever writes to a repository could so keep a pass from ending. Looked at is what git reads here: the files at
    the top, refs, objects, and what `info` says.
    """
    for name in (b"", b"info", b"refs", b"objects"):
        found = _pipe_below(os.path.join(git_dir, name), _LEVELS_MAX if name in (b"refs", b"objects") else 0)
        if found is not None:
            raise _unreadable(
                root, source, f"{shown(os.fsdecode(found))} is no file, and git would wait for it: remove it"
            )


def _pipe_below(folder: bytes, levels: int) -> bytes | None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found = _pipe_below(entry.path, levels - 1) if levels else None
                elif entry.is_file() or not os.path.exists(entry.path) or os.path.isdir(entry.path):
                    found = None
                else:
                    found = entry.path
                if found is not None:
                    return found
    except OSError:  # git, or the walk that reads them, will say why
        pass
    return None


def _unreadable(root: bytes, source: str, why: str) -> SourceUnreadable:
    return SourceUnreadable(f"{shown(os.fsdecode(root))}, source {shown(source)}: {why}")
