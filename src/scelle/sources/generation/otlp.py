"""Map OpenTelemetry's log records and spans to events: OTLP in JSON, the GenAI conventions, read leniently.

The conventions are in development and change: what is not known here stays readable in `more` and exact in `raw`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from scelle.formats.values import UNDATED
from scelle.sources.event_times import number_us
from scelle.sources.generation.entries import OTLP, Entry, Spot, bad_entry
from scelle.sources.generation.walking import ByteCounter, Part, first_place, parts
from scelle.sources.interfaces import BadRecord
from scelle.sources.json_values import DecimalToken, IntegerToken, SourceRow, json_object, structure
from scelle.sources.unfit import Unfit

ROOTS: Final = ("resourceLogs", "resourceSpans")
STARTS: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"resource(?:Logs|Spans)"')
"""How a document of the kind begins, as a rule: then it is not built in memory to look into it."""
DEPTH: Final = 5
"""The levels from the document down to one record: a list, a resource, its scopes, a scope, its records."""

_SCOPES: Final = ("scopeLogs", "scopeSpans")
_RECORDS: Final = ("logRecords", "spans")
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_INFERENCE: Final = frozenset(["chat", "text_completion", "generate_content", "embeddings"])
_EVENTS: Final = {
    "gen_ai.evaluation.result": "reviewed",
    "gen_ai.user.message": "requested",
    "gen_ai.choice": "completed",
}
_ALWAYS_ON: Final = frozenset(["always_on", "parentbased_always_on", "1", "1.0", "100", "true", "on"])
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,14}")


class _Around(NamedTuple):
    """What the records of one scope have in common."""

    resource: dict[str, Any]
    scope: dict[str, Any]
    schema_url: str | None


def otlp_entries(text: str, spot: Spot) -> Iterator[Entry | BadRecord]:
    """Yield the records of a document, in its order; `spot` is where the document begins.

    Raises ValueError where it is no JSON. What stands behind the document is not looked at.
    """
    counter = ByteCounter(text)
    number = 0
    for found in _scopes(text):
        for part in (found.at,) if isinstance(found, _Odd) else parts(text, found.records.start):
            number += 1
            here = spot._replace(offset=spot.offset + counter.before(part.start), number=number)
            if isinstance(found, _Odd):
                yield bad_entry(here, Unfit("schema-mismatch", f"{found.what}: see docs/generation.md"))
                continue
            raw = text[part.start : part.end]
            try:
                yield _entry(json_object(raw), raw, here, found.around, is_span=found.root == "resourceSpans")
            except Unfit as fault:
                yield bad_entry(here, fault)


def plain(value: Any) -> Any:
    """Give what an OTLP AnyValue says as plain JSON without loss: integers over 15 digits and bytes as text."""
    if not isinstance(value, dict):
        return _number(value)
    for name, inner in value.items():
        match name:
            case "stringValue" | "bytesValue" | "boolValue":
                return inner
            case "intValue":
                return _number(IntegerToken(inner))
            case "doubleValue":
                return _number(inner)
            case "arrayValue" if isinstance(inner, dict):
                return [plain(each) for each in _list(inner.get("values"))]
            case "kvlistValue" if isinstance(inner, dict):
                return flat(inner.get("values"))
    return None


def flat(attributes: Any) -> dict[str, Any]:
    """Give a list of attributes by name; of two with one name the last."""
    return {
        each["key"]: plain(each.get("value"))
        for each in _list(attributes)
        if isinstance(each, dict) and type(each.get("key")) is str
    }


# --- the document


class _Records(NamedTuple):
    """A list of records, and what they have in common."""

    root: str
    records: Part
    around: _Around


class _Odd(NamedTuple):
    """What stands where OTLP has a list or an object, and is none: how many records it was is not known."""

    at: Part
    what: str


def _scopes(text: str) -> Iterator[_Records | _Odd]:
    """Yield the records of every scope; each level is gone into as deep as its records lie, and no deeper.

    A list that stands twice in one object is read twice: nothing says which of the two was meant.
    """
    for root in _lists(text, list(parts(text, first_place(text), DEPTH)), ROOTS):
        if isinstance(root, _Odd):
            yield root
            continue
        for each in parts(text, root.start, DEPTH - 1):
            if text[each.start] == "{":
                yield from _of_resource(text, root.key or "", each)
            else:
                yield _Odd(each, "a resource is an object")


def _of_resource(text: str, root: str, place: Part) -> Iterator[_Records | _Odd]:
    own = list(parts(text, place.start, DEPTH - 2))
    by_key = {part.key: part for part in own}
    resource, url = _object(text, by_key.get("resource")), _text(text, by_key.get("schemaUrl"))
    around = _Around(flat(resource.get("attributes")), {}, url)
    for scopes in _lists(text, own, _SCOPES):
        if isinstance(scopes, _Odd):
            yield scopes
            continue
        for scope in parts(text, scopes.start, DEPTH - 3):
            if text[scope.start] == "{":
                yield from _of_scope(text, root, scope, around)
            else:
                yield _Odd(scope, "a scope is an object")


def _of_scope(text: str, root: str, place: Part, around: _Around) -> Iterator[_Records | _Odd]:
    own = list(parts(text, place.start, DEPTH - 4))
    by_key = {part.key: part for part in own}
    said = _object(text, by_key.get("scope"))
    names = {name: said[name] for name in ("name", "version") if type(said.get(name)) is str}
    url = _text(text, by_key.get("schemaUrl")) or around.schema_url
    for records in _lists(text, own, _RECORDS):
        if isinstance(records, _Odd):
            yield records
        else:
            yield _Records(root, records, _Around(around.resource, names, url))


def _lists(text: str, own: Sequence[Part], names: tuple[str, ...]) -> Iterator[Part | _Odd]:
    """Yield the lists of these names in the order of the text, also the one of a name that stands twice."""
    for found in own:
        if found.key in names and not text.startswith("null", found.start):  # null is OTLP's empty list
            yield found if text[found.start] == "[" else _Odd(found, f"{found.key} is a list")


def _object(text: str, part: Part | None) -> SourceRow:
    if part is None or text[part.start] != "{":
        return {}
    try:
        return json_object(text[part.start : part.end])
    except Unfit:  # a key that stands twice: the records say their own
        return {}


def _text(text: str, part: Part | None) -> str | None:
    if part is None or text[part.start] != '"':
        return None
    return json.loads(text[part.start : part.end]) or None


# --- one record


def _entry(said: SourceRow, raw: str, spot: Spot, around: _Around, *, is_span: bool) -> Entry:
    attributes = flat(said.get("attributes"))
    sampling = _sampling(said, attributes, around.resource, is_span=is_span)
    time = said.get("startTimeUnixNano") if is_span else said.get("timeUnixNano")
    if not is_span and _is_zero(time):
        time = said.get("observedTimeUnixNano")
    row: SourceRow = {"event": _kind(said, attributes, is_span=is_span)}
    trace, span = said.get("traceId"), said.get("spanId")
    if trace and span and isinstance(trace, str) and isinstance(span, str):
        row["attempt_id"] = f"{trace}-{span}"
        if is_span:
            row["event_id"] = row["attempt_id"]
    if not _is_zero(time):
        row["ts"] = str(time)
    _fill(row, said, attributes, around)
    if sampling:
        row["sampling"] = sampling
    return Entry(row, OTLP, raw.encode(), spot, _time_us(time), around.schema_url, sampling, said)


def _fill(row: SourceRow, said: SourceRow, attributes: dict[str, Any], around: _Around) -> None:
    get = attributes.get
    service = around.resource.get("service.name")
    roles = {
        "account": _first(attributes, "enduser.id", "user.id", "enduser.pseudo.id"),
        "model": _first(attributes, "gen_ai.response.model", "gen_ai.request.model"),
        "surface": get("scelle.surface") or service,
        "conversation": get("gen_ai.conversation.id"),
        "safeguard_version": get("scelle.safeguard_version"),
        "config_digest": get("scelle.config_digest"),
        "prompt": get("gen_ai.input.messages"),
        "outputs": get("gen_ai.output.messages"),
        "decision": get("gen_ai.guardrail.verdict.type"),
        "reason": _first(attributes, "error.type", "gen_ai.guardrail.verdict.reason"),
    }
    row.update((name, value) for name, value in roles.items() if value is not None)
    rest = {"attributes": attributes, "resource": around.resource, "scope": around.scope}
    row.update((name, value) for name, value in rest.items() if value)
    for name in ("name", "eventName", "endTimeUnixNano", "traceState"):
        if type(said.get(name)) is str:
            row[name] = said[name]
    if (body := plain(said.get("body"))) is not None:
        row["body"] = body


def _kind(said: SourceRow, attributes: Mapping[str, Any], *, is_span: bool) -> str:
    name = _word(said.get("eventName")) or _word(attributes.get("event.name"))
    operation = _word(attributes.get("gen_ai.operation.name"))
    if "gen_ai.guardrail.verdict.type" in attributes or operation == "run_guardrail":
        return "decided"
    if name in _EVENTS:
        return _EVENTS[name]
    if name == _DETAILS or (is_span and operation in _INFERENCE):
        return _outcome(said, attributes)
    return f"otel.{name or operation or ('span' if is_span else 'log')}"


def _word(value: Any) -> str:
    """Give a name that is text; a list or an object stays where it is, and names nothing."""
    return value if type(value) is str else ""


def _outcome(said: SourceRow, attributes: Mapping[str, Any]) -> str:
    reasons = attributes.get("gen_ai.response.finish_reasons")
    if "content_filter" in (reasons if isinstance(reasons, list) else [reasons]):
        return "refused"
    status = said.get("status")
    code = str(status.get("code")) if isinstance(status, dict) else ""
    return "failed" if code in ("2", "STATUS_CODE_ERROR") or "error.type" in attributes else "completed"


def _sampling(
    said: SourceRow, attributes: Mapping[str, Any], resource: Mapping[str, Any], *, is_span: bool
) -> str:
    """Say why a record may not stand for all that happened; empty where nothing says so."""
    flags = said.get("flags")
    if is_span and isinstance(flags, IntegerToken) and len(flags) < 12 and not int(flags) & 1:
        return "flags say that the span was not sampled"
    for where, names in (("span" if is_span else "log record", attributes), ("resource", resource)):
        for name, value in names.items():
            if "sampl" in name.lower() and value is not None and str(value).lower() not in _ALWAYS_ON:
                return f"{where} attribute {name}"
    state = said.get("traceState")
    found = re.search(r"(?:^|[=,;])th:([0-9a-f]+)", state) if isinstance(state, str) else None
    return "traceState has a sampling threshold" if found and found[1].strip("0") else ""


# --- values


def _number(value: Any) -> Any:
    """Give a number that any reader understands alike as it is, and another one as text."""
    if isinstance(value, IntegerToken):
        return value if _INTEGER.fullmatch(value) else str(value)
    if isinstance(value, DecimalToken):
        try:
            structure(value)
        except Unfit:
            return str(value)
    return value if value is None or isinstance(value, (str, bool)) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(attributes: Mapping[str, Any], *names: str) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _is_zero(time: Any) -> bool:
    """Say whether a time is missing: OTLP writes 0 for "unknown"."""
    return time is None or (isinstance(time, str) and not time.strip("0"))


def _time_us(time: Any) -> int:
    if _is_zero(time):
        return UNDATED
    if not isinstance(time, str) or not re.fullmatch(r"-?[0-9]{1,30}", time):
        raise Unfit("time-unreadable", "a time of OTLP is a number of nanoseconds since 1970", "timeUnixNano")
    return number_us(time, "ns")
