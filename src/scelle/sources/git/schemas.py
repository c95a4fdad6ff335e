"""Describe the four shapes of a repository's records: objects, ref positions, reflog entries, the repository."""

from typing import Final

from scelle.formats.schema import Field, Schema
from scelle.sources.interfaces import Member

OBJECTS: Final = "objects"
REFS: Final = "refs"
REFLOG: Final = "reflog"
REPOSITORY: Final = "repository"

NOT_IN_A_CLONE: Final = (
    "Branches and tags deleted on a server before this pass are in no clone of it: nothing here shows them."
)

_HEAD: Final = (Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("native_id", "s"))

OBJECT_V1: Final = Schema(
    "scelle.git.object",
    1,
    ("source", "account", "native", "type"),
    (
        *_HEAD,
        Field("type", "s"),
        Field("size", "i"),
        Field("media_type", "s"),
        Field("content", "h"),
        Field("time_basis", "s"),
        Field("meta", "j"),
    ),
)
OBJECT_CONTENT: Final = 7
"""The place of `content` among the fields of OBJECT_V1."""

REF_V1: Final = Schema(
    "scelle.git.ref",
    1,
    ("source", "account", "native"),
    (
        *_HEAD,
        Field("target", "s"),
        Field("target_type", "s"),
        Field("peeled", "s"),
        Field("symref", "s"),
        Field("time_basis", "s"),
        Field("raw", "x"),
    ),
)
REFLOG_V1: Final = Schema(
    "scelle.git.reflog",
    1,
    ("source", "account", "native", "ref"),
    (
        *_HEAD,
        Field("ref", "s"),
        Field("line", "i"),
        Field("old", "s"),
        Field("new", "s"),
        Field("who", "s"),
        Field("message", "s"),
        Field("raw", "x"),
    ),
)
REPOSITORY_V1: Final = Schema(
    "scelle.git.repository",
    1,
    ("source", "account", "native"),
    (
        *_HEAD,
        Field("head", "s"),
        Field("object_format", "s"),
        Field("bare", "b"),
        Field("shallow", "b"),
        Field("partial", "b"),
        Field("config", "j"),
        Field("state", "j"),
        Field("unseen", "j"),
    ),
)

MEMBERS: Final = (
    Member(REPOSITORY, REPOSITORY_V1, notes=("time: none", NOT_IN_A_CLONE)),
    Member(
        REFS,
        REF_V1,
        notes=("time: the last entry of the ref's reflog where it names the position, else none",),
    ),
    Member(REFLOG, REFLOG_V1, notes=("time: the entry's",)),
    Member(
        OBJECTS,
        OBJECT_V1,
        notes=("time: of a commit the committer's, of a tag the tagger's, of trees and blobs none",),
    ),
)
