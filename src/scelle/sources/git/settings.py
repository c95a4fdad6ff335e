"""Read a repository's configuration, and keep of it what says how it is read, and no secret."""

import re
from typing import Final

from scelle.errors import ItemUnreadable
from scelle.sources.git.place import Repository
from scelle.sources.interfaces import native_text

_CORE: Final = frozenset((
    "autocrlf", "bare", "eol", "filemode", "ignorecase", "logallrefupdates", "precomposeunicode",
    "repositoryformatversion", "sharedrepository", "sparsecheckout", "symlinks", "worktree",
))  # fmt: skip
_OF_A_REMOTE: Final = frozenset(("fetch", "mirror", "partialclonefilter", "promisor", "push", "tagopt"))
_URLS: Final = frozenset(("pushurl", "url"))
_LEFT_OUT: Final = "(left out: it may carry a secret)"

_WITH_SCHEME: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^/@]*@)?(?P<rest>[^@?#]*)(?:[?#].*)?", re.DOTALL
)
_LIKE_SCP: Final = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+:(?!:)[^@?#:]*")
_PATH: Final = re.compile(r"[^@?#:]*")


def settings(repository: Repository) -> dict[str, list[str]]:
    """Give the settings that say how the repository is made and whence it came: `core`, `extensions`, remotes.

    Everything else is left out, because a value may be a secret: hooks, headers, credentials, commands.
    """
    if not repository.tree.is_there(b"config"):  # git can do without
        return {}
    answer = repository.git.run(
        "config", "--file", repository.path + b"/config", "--no-includes", "--list", "-z"
    )
    if answer.code:
        raise ItemUnreadable(f"git cannot read the configuration: {answer.complaint}", "configuration")
    kept: dict[str, list[str]] = {}
    for pair in answer.out.split(b"\0"):
        name, _, value = pair.partition(b"\n")
        shown_value = _kept(native_text(name), native_text(value))
        if shown_value is not None:
            kept.setdefault(native_text(name), []).append(shown_value)
    return kept


def without_secret(url: str) -> str:
    """Give a remote's URL without user, password, query and fragment; a form that is not well known, not at all."""
    match = _WITH_SCHEME.fullmatch(url)
    if match is not None:
        return match["scheme"] + match["rest"]
    return url if _LIKE_SCP.fullmatch(url) or _PATH.fullmatch(url) else _LEFT_OUT


def _kept(name: str, value: str) -> str | None:
    section, _, rest = name.partition(".")
    middle, _, key = rest.rpartition(".")
    if section == "extensions" or (section == "core" and rest in _CORE):
        return value
    if section != "remote" or re.fullmatch(r"[\w./+-]+", middle) is None or "//" in middle:
        return None  # a remote may be named by its URL
    if key in _URLS:
        return without_secret(value)
    return value if key in _OF_A_REMOTE else None
