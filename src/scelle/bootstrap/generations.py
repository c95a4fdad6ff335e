"""Rebuild one recorded generation from what is sealed: what ran, what was decided, and whether it is so again."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from scelle.bootstrap.readable import readable_orders, refuse_disposed
from scelle.bootstrap.reads import note_shown
from scelle.bootstrap.session import Session
from scelle.errors import GenerationUnknown, InputError, PolicyWrong, QueryWrong, StorageError
from scelle.find.items import ItemRows, SealedRow
from scelle.find.service import find
from scelle.formats.values import Content, Value, decode_value
from scelle.ledger.service import OrderLedger
from scelle.orders.service import SealedOrder, sealed_order
from scelle.safeguards.gate.bundle import Bundle
from scelle.safeguards.guardrail.replay import Replayed, bundle_of, from_factors, from_inputs
from scelle.safeguards.recorder.model import DECIDED, OUTCOMES, REQUESTED, ROLLED_OUT
from scelle.sources.generation.schemas import BUNDLE, EVENT

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
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
    replays: dict[str, Replayed] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Event]:
        """Return the events of some kinds, in their order."""
        return [each for each in self.events if each.get("event") in kinds]

    @property
    def is_same(self) -> bool | None:
        """Tell whether what was decided is decided again; None where nothing was decided."""
        if not self.of(DECIDED):
            return None
        return (
            bool(self.replays)
            and all(each.is_same is not False for each in self.replays.values())
            and (self.replays["factors"].is_same is True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as `generation show --json` prints it."""
        asked = next(iter(self.of(REQUESTED)), {})
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


def show_generation(session: Session, attempt: str, order: str | None) -> Generation:
    """Rebuild an attempt from its sealed record, and decide its input stage again.

    `order` narrows where it is looked for; else every order that may be read is. That somebody asked is kept before
    anything is shown. Raises GenerationUnknown where no order has it, and InputError for what is no id.
    """
    if _ID.fullmatch(attempt) is None:
        raise InputError(
            "a generation is named by the id that X-Scelle-Record gave: letters, digits and . _ : -"
        )
    if order is not None:
        refuse_disposed(session, order)
    for name in [order] if order is not None else readable_orders(session):
        found = _generation(session, name, attempt)
        if found is not None:
            asked = sha256(attempt.encode()).hexdigest()
            note_shown(session, name, "generation show", attempt_sha256=asked)
            _replay(_Sealed(session, name), found)
            return found
    raise GenerationUnknown(
        f"no generation {attempt} is sealed here: `scelle preserve` seals what is recorded; compare the id"
    )


class _Sealed:
    """Read rows and contents of one order."""

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
        except QueryWrong:
            return
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


def _generation(session: Session, order: str, attempt: str) -> Generation | None:
    sealed = _Sealed(session, order)
    rows = list(sealed.events(f'attempt = "{attempt}"'))
    if not rows:
        return None
    rows.sort(key=lambda each: (each[2].get("seq") or 0, str(each[2].get("ts"))))
    events = [event for _, _, event in rows]
    digest = next((each["bundle_digest"] for each in events if each.get("bundle_digest")), None)
    config = next((each["config_digest"] for each in events if each.get("config_digest")), None)
    rolled_out = _rolled_out(sealed, digest)
    policy = re.search(r"policy-([0-9a-f]{64})", str(rolled_out.get("policy_file")))
    return Generation(
        attempt,
        order,
        rows[0][1],
        events,
        [place for place, _, _ in rows],
        sealed.document(config),
        sealed.document(digest),
        sealed.document(policy[1] if policy else None),
    )


def _rolled_out(sealed: _Sealed, bundle_digest: str | None) -> Event:
    """Return the event by which a bundle came into force; an empty one where none is sealed."""
    if bundle_digest is None:
        return {}
    found = sealed.events(f'kind = "{ROLLED_OUT}"')
    return next((event for _, _, event in found if event.get("bundle_digest") == bundle_digest), {})


def _replay(sealed: _Sealed, found: Generation) -> None:
    """Decide the input stage again."""
    decided = next((each for each in found.of(DECIDED) if each.get("stage") == "input"), None)
    if decided is None:
        return
    bundle = _bundle(found)
    if isinstance(bundle, str):
        found.replays["factors"] = Replayed(None, bundle)
        return
    found.replays["factors"] = from_factors(decided, bundle)
    requested = next(iter(found.of(REQUESTED)), None)
    if requested is not None:
        contents: Callable[[str], bytes | None] = lambda digest: sealed.document(digest).data  # noqa: E731
        rolled_out = _rolled_out(sealed, found.bundle.digest)
        found.replays["inputs"] = from_inputs(decided, requested, bundle, rolled_out, contents)


def _bundle(found: Generation) -> Bundle | str:
    """Build the sealed bundle again, or say why that cannot be."""
    if found.bundle.data is None or found.policy.data is None:
        return "bundle-not-sealed" if found.bundle.data is None else "policy-not-sealed"
    try:
        return bundle_of(json.loads(found.bundle.data), found.policy.data)
    except (PolicyWrong, ValueError) as error:
        return f"bundle-not-readable: {error}"
