"""Write and read the JSON documents of a production: trust, policy and query (ledger.md §11)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from scelle.errors import FormatError
from scelle.formats.canonical_json import JsonObject, canonical_json_int, parse_json_strict
from scelle.formats.notes import COSIGNATURE_V1, ED25519, ML_DSA_44, VerifierKey, parse_vkey
from scelle.formats.tokens import (
    DIGEST_BYTES,
    INT64_MAX,
    TIME_MAX,
    TIME_MIN,
    base64_text,
    checked_width,
    is_code,
    is_order_id,
    parse_base64,
    parse_hex,
    parse_origin,
    shown,
)

Item = TypeVar("Item")

TRUST_FORMAT: Final = "scelle/trust/v1"
QUERY_FORMAT: Final = "scelle/query/v1"
TAG_KEY_BYTES: Final = 32
KEYS_MAX: Final = 1000
STRENGTHS: Final = ("A", "B", "C")
_POLICY_KEYS: Final = [
    "authority",
    "cosigners",
    "format",
    "genesis",
    "log",
    "order",
    "origin",
    "quorum",
    "verifier_sha256",
]
_TRUST_KEYS: Final = sorted([*_POLICY_KEYS, "held", "tagkey"])
_QUERY_KEYS: Final = ["dimension", "format", "from", "order", "redact", "strength", "until", "value"]


@dataclass(frozen=True, slots=True)
class Held:
    """Hold the size and root of a checkpoint that the authority already has."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """Say whom to believe about one order's log, without the tag key; a package has it as policy.json."""

    authority: tuple[VerifierKey, ...]
    cosigners: tuple[VerifierKey, ...]
    genesis: bytes
    log: tuple[VerifierKey, VerifierKey]
    order: str
    origin: str
    quorum: int
    verifier_sha256: bytes

    def __post_init__(self) -> None:
        if [key.type for key in self.log] != [ED25519, ML_DSA_44]:
            raise FormatError(
                "log keys must be one Ed25519 (type 1) and one ML-DSA-44 key (type 6), in that order"
            )
        if any(key.name != self.origin for key in self.log):
            raise FormatError(f"log keys must be named by the origin {shown(self.origin)}")
        if any(key.type != COSIGNATURE_V1 for key in self.authority):
            raise FormatError("authority keys must be of type 4")
        for keys in (self.authority, self.cosigners):
            if len(set(keys)) != len(keys) or len(keys) > KEYS_MAX:
                raise FormatError(f"authority and cosigners: a key stands twice, or more than {KEYS_MAX} do")
        if not is_order_id(self.order) or parse_origin(self.origin)[1] != self.order:
            raise FormatError(f"origin {shown(self.origin)} is not that of order {shown(self.order)}")
        if not 0 <= self.quorum <= KEYS_MAX:
            raise FormatError(f"quorum {self.quorum} is outside 0 to {KEYS_MAX}")
        checked_width(self.genesis, DIGEST_BYTES, "genesis leaf hash")
        checked_width(self.verifier_sha256, DIGEST_BYTES, "verifier_sha256")

    def encode(self) -> bytes:
        """Write policy.json, with its line end."""
        return canonical_json_int(_policy_document(self)) + b"\n"


@dataclass(frozen=True, slots=True)
class Trust:
    """Hold what an authority is given once for an order: policy, tag key, and the checkpoint it holds."""

    policy: Policy
    tagkey: bytes = field(repr=False)
    held: Held | None = None

    def __post_init__(self) -> None:
        checked_width(self.tagkey, TAG_KEY_BYTES, "tag key")
        if self.held is not None:
            checked_width(self.held.root, DIGEST_BYTES, "held root")

    def encode(self) -> bytes:
        """Write trust.json, with its line end."""
        held = self.held and {"root": base64_text(self.held.root), "size": self.held.size}
        return (
            canonical_json_int(_policy_document(self.policy) | {"held": held, "tagkey": self.tagkey.hex()})
            + b"\n"
        )


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for all records of one identifier in one dimension with from <= time < until, in microseconds.

    Strength A is for whole sources only: dimension `source`, no window.
    """

    order: str
    dimension: str
    value: str
    strength: str
    from_us: int | None = None
    until_us: int | None = None
    redact: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_order_id(self.order) or not self.dimension or self.strength not in STRENGTHS:
            raise FormatError(f"query of order {shown(self.order)}: order, dimension or strength is not one")
        for time in (self.from_us, self.until_us):
            if time is not None and not TIME_MIN <= time <= TIME_MAX:
                raise FormatError(f"query: time {time} is outside -2^63+1 to 2^63-1")
        if self.from_us is not None and self.until_us is not None and self.from_us >= self.until_us:
            raise FormatError("query: from is not before until")
        if self.strength == "A" and (
            self.dimension != "source" or (self.from_us, self.until_us) != (None, None)
        ):
            raise FormatError("query: strength A is for dimension source without from and until")
        for name, code in self.redact.items():
            if not name or not is_code(code):
                raise FormatError(f"query: redact {shown(name)} has no code of the form [a-z0-9-]+")

    def encode(self) -> bytes:
        """Write query.json, with its line end; its SHA-256 is what a request entry names."""
        document = {
            "dimension": self.dimension,
            "format": QUERY_FORMAT,
            "from": self.from_us,
            "order": self.order,
            "redact": dict(self.redact),
            "strength": self.strength,
            "until": self.until_us,
            "value": self.value,
        }
        return canonical_json_int(document) + b"\n"


def parse_trust(data: bytes) -> Trust:
    """Read trust.json strictly."""
    document = read_document(data, _TRUST_KEYS, TRUST_FORMAT)
    held = None if document["held"] is None else _parse_held(document["held"])
    return Trust(_parse_policy(document), parse_hex(text_of(document["tagkey"]), TAG_KEY_BYTES), held)


def parse_policy(data: bytes) -> Policy:
    """Read policy.json strictly."""
    return _parse_policy(read_document(data, _POLICY_KEYS, TRUST_FORMAT))


def parse_query(data: bytes) -> Query:
    """Read query.json strictly."""
    document = read_document(data, _QUERY_KEYS, QUERY_FORMAT)
    redact = document["redact"]
    if not isinstance(redact, dict) or not all(isinstance(code, str) for code in redact.values()):
        raise FormatError("query.json: redact must map fields to codes")
    return Query(
        order=text_of(document["order"]),
        dimension=text_of(document["dimension"]),
        value=text_of(document["value"]),
        strength=text_of(document["strength"]),
        from_us=_optional_integer(document["from"]),
        until_us=_optional_integer(document["until"]),
        redact=redact,
    )


def read_document(data: bytes, keys: list[str], format: str | None = None) -> JsonObject:
    """Read one JSON document of the package profile that ends in one LF and has exactly `keys`, sorted."""
    if data[-1:] != b"\n":
        raise FormatError("JSON document does not end in a line end")
    document = with_keys(parse_json_strict(data[:-1]), keys)
    if format is not None and document["format"] != format:
        raise FormatError(f"format is {shown(document['format'])}, must be {format}")
    return document


def with_keys(document: Any, keys: list[str]) -> JsonObject:
    """Give `document` back if it is a JSON object with exactly `keys`, which are sorted."""
    if not isinstance(document, dict) or list(document) != keys:
        raise FormatError(f"JSON object must have exactly the keys {', '.join(keys)}")
    return document


def text_of(value: Any) -> str:
    """Give `value` back if it is text."""
    if not isinstance(value, str):
        raise FormatError(f"{shown(value)} stands where text must")
    return value


def integer_of(value: Any, low: int = 0, high: int = INT64_MAX) -> int:
    """Give `value` back if it is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise FormatError(f"{shown(value)} stands where a number from {low} to {high} must")
    return value


def list_of(value: Any, read: Callable[[Any], Item]) -> tuple[Item, ...]:
    """Read every element of a JSON list."""
    if not isinstance(value, list):
        raise FormatError(f"{shown(value)} stands where a list must")
    return tuple(map(read, value))


def _optional_integer(value: Any) -> int | None:
    return None if value is None else integer_of(value, TIME_MIN, TIME_MAX)


def _policy_document(policy: Policy) -> JsonObject:
    return {
        "authority": [key.text() for key in policy.authority],
        "cosigners": [key.text() for key in policy.cosigners],
        "format": TRUST_FORMAT,
        "genesis": base64_text(policy.genesis),
        "log": [key.text() for key in policy.log],
        "order": policy.order,
        "origin": policy.origin,
        "quorum": policy.quorum,
        "verifier_sha256": policy.verifier_sha256.hex(),
    }


def _parse_policy(document: JsonObject) -> Policy:
    log = list_of(document["log"], _parse_key)
    if len(log) != 2:
        raise FormatError("log keys must be two: Ed25519 and ML-DSA-44")
    return Policy(
        authority=list_of(document["authority"], _parse_key),
        cosigners=list_of(document["cosigners"], _parse_key),
        genesis=parse_base64(text_of(document["genesis"]), DIGEST_BYTES),
        log=(log[0], log[1]),
        order=text_of(document["order"]),
        origin=text_of(document["origin"]),
        quorum=integer_of(document["quorum"]),
        verifier_sha256=parse_hex(text_of(document["verifier_sha256"]), DIGEST_BYTES),
    )


def _parse_key(value: Any) -> VerifierKey:
    return parse_vkey(text_of(value))


def _parse_held(value: Any) -> Held:
    document = with_keys(value, ["root", "size"])
    return Held(integer_of(document["size"]), parse_base64(text_of(document["root"]), DIGEST_BYTES))
