"""Rebuild one recorded generation from what is sealed: what ran, what was decided, and whether it is so again."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from scelle.bootstrap.readable import readable_orders, refuse_disposed
from scelle.bootstrap.reads import note_shown
from scelle.bootstrap.recording import source_folder
from scelle.bootstrap.session import Session
from scelle.errors import GenerationUnknown, InputError, PolicyWrong, QueryWrong, StorageError
from scelle.find.items import ItemRows, SealedRow
from scelle.find.service import find
from scelle.formats.values import Content, Value, decode_value
from scelle.ledger.service import OrderLedger
from scelle.orders.service import SealedOrder, sealed_order
from scelle.safeguards.detectors.workers import Program
from scelle.safeguards.gate.bundle import Bundle
from scelle.safeguards.guardrail.model import Asked
from scelle.safeguards.guardrail.replay import (
    Replayed,
    bundle_of,
    contradictions,
    from_factors,
    from_inputs,
)
from scelle.safeguards.recorder.bodies import parse_request
from scelle.safeguards.recorder.model import (
    DECIDED,
    OUTCOMES,
    REMOVED,
    REQUESTED,
    ROLLED_OUT,
    TAKEDOWNS,
    Mode,
)
from scelle.safeguards.recorder.spool import Spool
from scelle.sources.generation.schemas import BUNDLE, EVENT

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_REASON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POST_MAX: Final = 500
_ROWS_MAX: Final = 10_000
_DOCUMENT_MAX_BYTES: Final = 1 << 20
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A document that a record names by its digest: sealed (its bytes), `missing`, or `not-named`."""

    digest: str | None
    data: bytes | None = None

    @property
    def state(self) -> str:
        """Tell whether it is sealed."""
        return "not-named" if self.digest is None else "missing" if self.data is None else "sealed"

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed: JSON as what it says, other bytes by their digest alone."""
        document = None
        if self.data is not None and len(self.data) <= _DOCUMENT_MAX_BYTES:
            try:
                document = json.loads(self.data)
            except (ValueError, RecursionError):
                document = None
        return {"digest": self.digest, "state": self.state, "document": document}


@dataclass(slots=True)
class Generation:
    """One attempt as it is sealed under an order: its events by number, and what they name."""

    id: str
    order: str
    source: str
    events: list[Event]
    places: list[str]
    config: Named
    bundle: Named
    policy: Named
    rolled_out: Event
    """The event by which the bundle came into force; an empty one where none is sealed."""
    replays: dict[str, Replayed] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Event]:
        """Return the events of some kinds, in their order."""
        return [each for each in self.events if each.get("event") in kinds]

    @property
    def asked(self) -> Event:
        """Return what was asked; a prompt that was undecided then is told by a later event of the attempt."""
        requested = next(iter(self.of(REQUESTED)), {})
        prompt = next((each["prompt"] for each in self.events if each.get("prompt") is not None), None)
        return {**requested, "prompt": prompt}

    @property
    def is_same(self) -> bool | None:
        """Tell whether what was decided is decided again; None where it cannot be told, or nothing was decided."""
        found = [each.is_same for each in self.replays.values()]
        if False in found:
            return False
        return True if found and found[0] is True else None

    def to_json(self) -> dict[str, Any]:
        """Return it as `generation show --json` prints it."""
        asked = self.asked
        ends = self.of(*OUTCOMES)
        bundle = self.bundle.to_json()
        document = bundle["document"] or {}
        return {
            "id": self.id,
            "order": self.order,
            "source": self.source,
            "surface": asked.get("surface"),
            "request": {
                name: asked.get(name)
                for name in ("ts", "op", "model", "prompt", "params", "account", "conversation", "references")
            },
            "configuration": self.config.to_json(),
            "model": asked.get("model"),
            "bundle": bundle,
            "policy": {"name": (document.get("policy") or {}).get("id"), "state": self.policy.state},
            "detectors": document.get("detectors"),
            "thresholds": document.get("thresholds"),
            "decisions": [each["record"] for each in self.of(DECIDED) if "record" in each],
            "outcome": ends[0].get("event") if len(ends) == 1 else None,
            "outcomes": len(ends),
            "outputs": [output for each in ends for output in each.get("outputs") or ()],
            "delivered": sum(len(each.get("outputs") or ()) for each in self.of("delivered")),
            "events": [
                {"event": each.get("event"), "ts": each.get("ts"), "seq": each.get("seq"), "place": place}
                for each, place in zip(self.events, self.places, strict=True)
            ],
            "replay": {
                "stage": "input",
                "same": self.is_same,
                **{name: each.to_json() for name, each in self.replays.items()},
            },
        }


def show_generation(
    session: Session, attempt: str, order: str | None, installed: Sequence[Program] = ()
) -> Generation:
    """Rebuild an attempt from its sealed record, and decide its input stage again, by `installed` detectors if given.

    `order` narrows where it is looked for; else every order that may be read is. That somebody asked is kept before
    anything is shown. Raises GenerationUnknown where no order has it, and InputError for what is no id.
    """
    sealed, found = _find(session, attempt, order, "generation show")
    _replay(sealed, found, installed)
    return found


def _find(session: Session, attempt: str, order: str | None, what: str) -> "tuple[_Sealed, Generation]":
    """Find a generation, and keep that somebody asked; raises as `show_generation`."""
    if _ID.fullmatch(attempt) is None:
        raise InputError(
            "a generation is named by the id that X-Scelle-Record gave: letters, digits and . _ : -"
        )
    if order is not None:
        refuse_disposed(session, order)
    for name in [order] if order is not None else readable_orders(session):
        sealed = _Sealed(session, name)
        found = _generation(sealed, attempt)
        if found is not None:
            note_shown(session, name, what, attempt_sha256=sha256(attempt.encode()).hexdigest())
            return sealed, found
    raise GenerationUnknown(
        f"no generation {attempt} is sealed here: `scelle preserve` seals what is recorded; compare the id"
    )


@dataclass(frozen=True, slots=True)
class TakeDown:
    """Whether what is to be removed is preserved: outputs (digests) that are and are not; where its event stands."""

    id: str
    order: str
    source: str
    preserved: tuple[str, ...]
    missing: tuple[str, ...]
    receipt: str | None

    @property
    def may_be_removed(self) -> bool:
        """Tell whether removing it destroys no evidence."""
        return self.receipt is not None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed."""
        return {
            "id": self.id,
            "order": self.order,
            "source": self.source,
            "may_be_removed": self.may_be_removed,
            "preserved": list(self.preserved),
            "missing": list(self.missing),
            "recorded": self.receipt,
        }


def take_down(session: Session, attempt: str, order: str | None, post: str, reason: str) -> TakeDown:
    """See that a generation and each of its outputs is sealed, and record that it is removed: preserve, then remove.

    The `removed` event is durable in the source's folder when this returns; the next pass seals it. Nothing is removed
    here: the platform does that next. Raises as `show_generation`, InputError for a reason or post of another form, and
    StorageError.
    """
    if _REASON.fullmatch(reason) is None:
        raise InputError("--reason is a code: letters, digits and . _ -, at most 64; no words of a person")
    if not 0 < len(post) <= _POST_MAX or not post.isprintable():
        raise InputError(f"--post names what is removed in 1 to {_POST_MAX} characters that can be printed")
    sealed, found = _find(session, attempt, order, "generation take-down")
    outputs = [each for event in found.of("delivered", *OUTCOMES) for each in event.get("outputs") or ()]
    digests = sorted({str(each.get("sha256")) for each in outputs})
    missing = tuple(each for each in digests if not _is_whole(sealed.document(each)))
    preserved = tuple(each for each in digests if each not in missing)
    receipt = None
    if not missing and preserved:
        root = source_folder(session, found.source)
        event = {"event": REMOVED, "attempt_id": attempt, "post": post, "reason": reason}
        with Spool(root, TAKEDOWNS, Mode.BLOCK) as spool:
            receipt = (
                spool.put({**event, "outputs": [{"sha256": each} for each in preserved]}).result().receipt
            )
    return TakeDown(attempt, found.order, found.source, preserved, missing, receipt)


def _is_whole(found: Named) -> bool:
    return found.data is not None and sha256(found.data).hexdigest() == found.digest


class _Sealed:
    """Read rows and contents of one order, by `find`: it leaves out what is quarantined."""

    def __init__(self, session: Session, order: str) -> None:
        self.order, self._session = order, session
        self._ledger: OrderLedger = session.order_ledger(order)
        self._sealed: SealedOrder = sealed_order(self._ledger)
        self._rows = ItemRows(self._ledger, self._sealed.source_names, session.key)

    def rows(self, query: str) -> Iterator[tuple[str, SealedRow]]:
        """Yield the rows that a query finds, with their places; none where no source has such fields."""
        try:
            hits = find(
                self._ledger,
                query,
                zone=self._sealed.order.tz(),
                names=self._sealed.source_names,
                vault_key=self._session.key,
                limit=_ROWS_MAX,
            )
        except QueryWrong:  # no source of this order has such fields
            return
        if hits.count > _ROWS_MAX:
            raise InputError(f"more than {_ROWS_MAX} records answer {query!a}: use `scelle find`")
        for each in hits.items:
            alias, _, seq = each.place.rpartition(":")
            row = self._rows.at(alias, int(seq))
            if row is not None:
                yield each.place, row

    def events(self, query: str) -> Iterator[tuple[str, str, Event]]:
        """Yield the events that a query finds: place, source, and what was recorded."""
        for place, row in self.rows(query):
            raw = self._text(row, "raw") if row.schema.name == _NAMES[EVENT] else None
            if raw is not None:
                try:
                    event = json.loads(raw)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield place, row.source, event

    def document(self, digest: str | None) -> Named:
        """Return the document or content that has a digest."""
        matched = _DIGEST.fullmatch(digest or "")
        if matched is None:
            return Named(digest)
        for _, row in self.rows(f'digest = "{matched[1]}" or canonical = "{matched[1]}"'):
            data = self._content(row, "content") if row.schema.name == _NAMES[BUNDLE] else None
            if data is not None:
                return Named(digest, data)
        return Named(digest)

    def _value(self, row: SealedRow, name: str) -> Value:
        number = row.schema.field_number(name)
        return None if number is None else decode_value(row.row.split_values()[number])[1]

    def _text(self, row: SealedRow, name: str) -> str | None:
        value = self._value(row, name)
        if isinstance(value, str):
            return value
        whole = self._content(row, "whole")
        return None if whole is None else whole.decode("utf-8", "replace")

    def _content(self, row: SealedRow, name: str) -> bytes | None:
        value = self._value(row, name)
        if not isinstance(value, Content):
            return None
        try:
            return self._session.packs.read_bytes(value.digest)
        except StorageError:
            return None


_NAMES: Final = {EVENT: "scelle.ai.event", BUNDLE: "scelle.ai.bundle"}


def _generation(sealed: _Sealed, attempt: str) -> Generation | None:
    rows = list(sealed.events(f'attempt = "{attempt}"'))
    if not rows:
        return None
    own = next((event.get("surface") for _, _, event in rows if event.get("event") == REQUESTED), None)
    rows.sort(
        key=lambda each: (each[2].get("surface") != own, _number(each[2].get("seq")), str(each[2].get("ts")))
    )
    events = [event for _, _, event in rows]
    digest = next((each["bundle_digest"] for each in events if each.get("bundle_digest")), None)
    config = next((each["config_digest"] for each in events if each.get("config_digest")), None)
    rolled_out = _rolled_out(sealed, digest)
    policy = re.search(r"policy-([0-9a-f]{64})", str(rolled_out.get("policy_file")))
    return Generation(
        attempt,
        sealed.order,
        rows[0][1],
        events,
        [place for place, _, _ in rows],
        sealed.document(config),
        sealed.document(digest),
        sealed.document(policy[1] if policy else None),
        rolled_out,
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _rolled_out(sealed: _Sealed, bundle_digest: str | None) -> Event:
    """Return an event by which a bundle came into force; an empty one where none is sealed."""
    matched = _DIGEST.fullmatch(bundle_digest or "")
    if matched is None:
        return {}
    found = sealed.events(f'kind = "{ROLLED_OUT}" and bundle_digest = "{matched[1]}"')
    return next((event for _, _, event in found), {})


def _replay(sealed: _Sealed, found: Generation, installed: Sequence[Program]) -> None:
    """Decide the input stage again."""
    decided = next((each for each in found.of(DECIDED) if each.get("stage") == "input"), None)
    if decided is None:
        return
    bundle = _bundle(found)
    if isinstance(bundle, str):
        found.replays["factors"] = Replayed(None, bundle)
        return
    found.replays["factors"] = from_factors(decided, bundle)
    against = contradictions(
        [found.asked, *found.of(DECIDED, *OUTCOMES, "delivered")], _body(sealed, found.asked)
    )
    found.replays["record"] = Replayed(not against, None, None, against)
    if found.of(REQUESTED):
        found.replays["inputs"] = from_inputs(
            decided,
            found.asked,
            bundle,
            found.rolled_out,
            lambda digest: sealed.document(digest).data,
            installed,
        )


def _body(sealed: _Sealed, asked: Event) -> Asked | None:
    """Read the sealed body of a request again, as it came; None where it is not sealed openly."""
    raw = asked.get("request") or {}
    text = raw.get("text")
    data = text.encode() if isinstance(text, str) else sealed.document(raw.get("sha256")).data
    if data is None or sha256(data).hexdigest() != raw.get("sha256"):
        return None
    parsed = parse_request(str(raw.get("content_type")), memoryview(bytearray(data)))
    references = [
        {"field": each.field, "sha256": sha256(each.data).hexdigest()}
        if each.data is not None
        else {"field": each.field}
        for each in parsed.parts
    ]
    return Asked.of({"prompt": parsed.fields.get("prompt"), "references": references})


def _bundle(found: Generation) -> Bundle | str:
    """Build the sealed bundle again, or say why that cannot be."""
    if found.bundle.data is None or found.policy.data is None:
        return "bundle-not-sealed" if found.bundle.data is None else "policy-not-sealed"
    try:
        return bundle_of(json.loads(found.bundle.data), found.policy.data)
    except (PolicyWrong, ValueError) as error:
        return f"bundle-not-readable: {error}"
