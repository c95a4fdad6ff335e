"""Map CAP-SRP events to Scellé's, and check their chain.

Two forms are known: that of the specification (VSO-CAP-SPEC-001 v1.0, names such as `EventID`), and that of its
reference implementation (names such as `event_id`). docs/generation.md says what stands where and what is unverified.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scelle.errors import FormatError
from scelle.formats.canonical_json import canonical_json
from scelle.sources.generation.entries import CAP, Entry, Spot, identifier
from scelle.sources.json_values import SourceRow
from scelle.sources.unfit import Unfit

KINDS: Final = {
    "GEN_ATTEMPT": "requested",
    "GEN": "completed",
    "GEN_DENY": "refused",
    "GEN_ERROR": "failed",
    "GEN_WARN": "completed",
    "GEN_QUARANTINE": "completed",
    "GEN_ESCALATE": "decided",
    "EXPORT": "delivered",
    "INGEST": "cap.INGEST",
    "TRAIN": "cap.TRAIN",
    "AUDIT_ANCHOR": "cap.AUDIT_ANCHOR",
    "POLICY_VERSION": "policy.rolled_out",
    "ACCOUNT_ACTION": "cap.ACCOUNT_ACTION",
    "LAW_ENFORCEMENT_REFERRAL": "cap.LAW_ENFORCEMENT_REFERRAL",
}
OUTCOMES: Final = frozenset(["GEN", "GEN_DENY", "GEN_ERROR", "GEN_WARN", "GEN_QUARANTINE", "GEN_ESCALATE"])

_SPECIFIED: Final = {
    "EventID": "event_id",
    "AttemptID": "attempt_id",
    "Timestamp": "ts",
    "ActorHash": "account",
    "SessionID": "conversation",
    "PolicyVersion": "safeguard_version",
    "ModelVersion": "model_version",
    "ModelDecision": "decision",
    "RefusalReason": "reason",
}
_IMPLEMENTED: Final = {
    "event_id": "event_id",
    "attempt_id": "attempt_id",
    "timestamp": "ts",
    "session_id": "conversation",
    "policy_version": "safeguard_version",
    "model_id": "model",
    "denial_reason": "reason",
}
_NOT_HASHED: Final = frozenset(["EventHash", "Signature", "current_hash", "signature"])
_GENESIS: Final = frozenset(["", "sha256:" + "0" * 64])


def is_cap(row: SourceRow) -> bool:
    """Say whether an object looks like a CAP-SRP event."""
    return "EventType" in row or "event_type" in row


def cap_entry(said: SourceRow, raw: bytes, spot: Spot, key: str | None) -> Entry:
    """Give the entry of an event; raises Unfit (`unknown-event`, `attempt-missing`)."""
    is_specified = "EventType" in said
    type_name = "EventType" if is_specified else "event_type"
    names = _SPECIFIED if is_specified else _IMPLEMENTED
    kind = said[type_name]
    if type(kind) is not str or kind not in KINDS:
        raise Unfit("unknown-event", f"the events of CAP-SRP are {', '.join(KINDS)}", type_name)
    row: SourceRow = {names.get(name, name): value for name, value in said.items()}
    row["event"] = KINDS[kind]
    row["model"] = _model(said) or row.get("model")
    if kind == "GEN_ATTEMPT":
        row["attempt_id"] = row.get("event_id")
    attempt = identifier(row.get("attempt_id"))
    if attempt is None and kind in OUTCOMES | {"GEN_ATTEMPT"} and kind != "GEN":
        missing = "EventID" if kind == "GEN_ATTEMPT" else "AttemptID"
        raise Unfit("attempt-missing", f"an event of this kind names its attempt: write {missing}", missing)
    if row.get("attempt_id") == "":
        row["attempt_id"] = None
    return Entry(
        row, CAP, raw, spot, said=said, key=key, is_attempt=kind == "GEN_ATTEMPT",
        is_outcome=kind in OUTCOMES and attempt is not None,
    )  # fmt: skip


def _model(said: SourceRow) -> object:
    """Give the model's id; the events of attempts name its version alone, which then stands for it."""
    context = said.get("ModelContext")
    if isinstance(context, dict) and context.get("ModelID"):
        return context["ModelID"]
    return said.get("ModelVersion")


# --- the chain


class ChainFault(NamedTuple):
    """Name what is wrong with an event's place in its chain: a code, and words."""

    kind: str
    chain: str
    message: str


@dataclass(slots=True)
class _Chain:
    last_hash: str | None = None
    events: int = 0
    unhashed: int = 0
    unsigned: int = 0
    unproven: int = 0
    """Signatures that no known key could check."""


class Chains:
    """Follow the chains of CAP-SRP events in the order in which they are read; memory: a few words a chain."""

    def __init__(self) -> None:
        self._chains: dict[str, _Chain] = {}

    def take(self, entry: Entry) -> Iterator[ChainFault]:
        """Follow one event, and yield what is wrong with it."""
        said = entry.said or {}
        is_specified = "EventType" in said
        name = identifier(said.get("ChainID")) if is_specified else None
        name = name and name.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
        chain_id = name or f"file {entry.spot.file.shown}"
        chain = self._chains.setdefault(chain_id, _Chain())
        own = identifier(said.get("EventHash" if is_specified else "current_hash"))
        before = identifier(said.get("PrevHash" if is_specified else "previous_hash")) or ""
        if chain.events == 0:
            if before not in _GENESIS:
                yield ChainFault(
                    "cap-chain-start-missing", chain_id, "the first event here names one before it"
                )
        elif chain.last_hash is not None and before != chain.last_hash:
            yield ChainFault(
                "cap-chain-broken", chain_id, "the hash of the event before it is another than it says"
            )
        chain.events += 1
        chain.last_hash = own
        if own is None:
            chain.unhashed += 1
            return
        if own not in event_hashes(entry.raw):
            yield ChainFault("cap-hash-wrong", chain_id, "its own hash is not that of its members")
        yield from self._signature(entry, said, own, chain, chain_id)

    def ends(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield each chain with its numbers: events, without hash, without signature, signature not checked."""
        for chain_id, chain in sorted(self._chains.items()):
            yield (
                chain_id,
                {
                    "events": chain.events,
                    "signatures_not_checked": chain.unproven,
                    "without_hash": chain.unhashed,
                    "without_signature": chain.unsigned,
                },
            )

    @staticmethod
    def _signature(
        entry: Entry, said: SourceRow, own: str, chain: _Chain, chain_id: str
    ) -> Iterator[ChainFault]:
        signature = identifier(said.get("Signature") or said.get("signature"))
        if signature is None:
            chain.unsigned += 1
        elif entry.key is None:
            chain.unproven += 1
        elif not is_signed(own, signature, entry.key):
            yield ChainFault(
                "cap-signature-wrong", chain_id, "its signature is not of the key that its file names"
            )


def event_hashes(raw: bytes) -> frozenset[str]:
    """Compute the hashes that an event may have; none where it has no canonical form: a number of over 4,300 digits.

    Specification: RFC 8785 of all members but EventHash and Signature (§8.2), or what the program beside its test
    vectors (test-vectors/hash) writes, which differs for some numbers. Reference implementation: Python's sorted
    compact ASCII JSON of all members but current_hash and signature.
    """
    try:
        members = json.loads(raw)
    except (ValueError, RecursionError):
        return frozenset()
    kept = {name: value for name, value in members.items() if name not in _NOT_HASHED}
    is_specified = "EventType" in members
    contents = [_dumped(kept, is_ascii=not is_specified)]
    if is_specified:
        doubles = json.loads(raw, parse_int=float)
        try:
            contents.append(canonical_json({name: doubles[name] for name in kept}))
        except (FormatError, RecursionError):  # half a surrogate pair, a number beyond a double
            contents.append(b"")
    return frozenset("sha256:" + sha256(content).hexdigest() for content in contents if content)


def _dumped(value: SourceRow, *, is_ascii: bool) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=is_ascii)
    return text.encode("utf-8", "surrogatepass")


def is_signed(event_hash_text: str, signature: str, key_base64: str) -> bool:
    """Check an Ed25519 signature over the hash's text (reference implementation) or its 32 bytes (§8.3)."""
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(key_base64, validate=True))
        signed = b64decode(signature.removeprefix("ed25519:"), validate=True)
        digest = bytes.fromhex(event_hash_text.removeprefix("sha256:"))
    except ValueError:
        return False
    for message in (event_hash_text.encode(), digest):
        try:
            key.verify(signed, message)
        except InvalidSignature:
            continue
        return True
    return False
