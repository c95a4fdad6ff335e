"""Describe the three shapes of a generation service's records: events, bundles, checks."""

from typing import Final

from scelle.formats.schema import Field, Schema
from scelle.sources.interfaces import Member
from scelle.sources.json_values import JSON_TEXT

EVENT: Final = "ai.event"
BUNDLE: Final = "ai.bundle"
CHECK: Final = "ai.check"

_HEAD: Final = (Field("time", "t"), Field("seq", "i"), Field("account", "s"), Field("native_id", "s"))


def _texts(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "s") for name in names)


TYPED: Final = (
    ("model_version", "s"),
    ("bundle_digest", "s"),
    ("prompt", "s"),
    ("decision", "s"),
    ("scores", JSON_TEXT),
    ("outputs", JSON_TEXT),
    ("post", "s"),
    ("recommender_version", "s"),
    ("impressions", "i"),
    ("diff", JSON_TEXT),
    ("approver", "s"),
    ("surfaces", JSON_TEXT),
    ("reason", "s"),
)
"""Members of an event that have a field of their own and are no dimension, and its type.

Structures keep their JSON text, because scores such as 0.94 are no exact doubles (ledger.md §2, type `j`).
"""

EVENT_V1: Final = Schema(
    "scelle.ai.event",
    1,
    (
        "source",
        "account",
        "native",
        "attempt",
        "kind",
        "model",
        "surface",
        "conversation",
        "safeguard",
        "config",
    ),
    (
        *_HEAD,
        *_texts("attempt", "kind", "model", "surface", "conversation", "safeguard", "config", "format", "ts"),
        *(Field(name, "s" if letter == JSON_TEXT else letter) for name, letter in TYPED),
        Field("schema_url", "s"),
        Field("more", "j"),
        Field("more_text", "s"),
        Field("raw_only", "j"),
        Field("raw", "s"),
        Field("whole", "h"),
        Field("origin", "j"),
    ),
)
EVENT_WHOLE: Final = EVENT_V1.field_number("whole") or 0
"""The place of `whole` among the fields of EVENT_V1."""

BUNDLE_V1: Final = Schema(
    "scelle.ai.bundle",
    1,
    ("source", "account", "native", "kind", "digest", "canonical", "safeguard"),
    (
        *_HEAD,
        *_texts("kind", "digest", "canonical", "safeguard", "media_type"),
        Field("content", "h"),
        Field("time_basis", "s"),
        Field("meta", "j"),
    ),
)
BUNDLE_CONTENT: Final = BUNDLE_V1.field_number("content") or 0
"""The place of `content` among the fields of BUNDLE_V1."""

CHECK_V1: Final = Schema(
    "scelle.ai.check",
    1,
    ("source", "account", "native", "attempt", "kind", "config"),
    (
        *_HEAD,
        *_texts("attempt", "kind", "config", "severity", "message"),
        Field("count", "i"),
        Field("body", "j"),
    ),
)

MEMBERS: Final = (
    Member(
        EVENT,
        EVENT_V1,
        notes=("time: ts; OTLP: the start of a span, the time of a log record; CAP-SRP: Timestamp",),
    ),
    Member(BUNDLE, BUNDLE_V1, notes=("time: the file's mtime",)),
    Member(CHECK, CHECK_V1, notes=("time: the attempt's, or the newest event's",)),
)
