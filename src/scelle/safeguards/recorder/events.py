"""Say what was asked and what came of it, as the fields of an event (docs/recorder.md); keep what they name."""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs as parse_query

from scelle.safeguards.recorder.bodies import Body, Parsed, Part, media_type_of, parse_request
from scelle.safeguards.recorder.contents import Bytes, ContentStore, Held
from scelle.safeguards.recorder.model import REQUESTED

BODY: Final = "body"
"""Stands in `account_by` where nobody but the body itself says whose the request is."""
INLINE_MAX: Final = 64 << 10
"""A request that is text and no longer stands in its event; a longer one, or other bytes, are a content."""
PROMPT_MAX: Final = 4 << 20
_UNDERSTOOD: Final = frozenset(["b64_json", "url", "revised_prompt"])
_WORD_MAX: Final = 1024
_ADDRESS: Final = re.compile(r"\s*(?:https?:|data:|//)", re.IGNORECASE)
_REVISED_MAX: Final = 8192
UNDERSTOOD_MAX: Final = 16 << 10
"""So many bytes of an answer may be something else than its outputs; in more there could be another picture."""
_PARAMS: Final = (
    "n", "size", "quality", "background", "output_format", "output_compression", "moderation", "stream",
    "partial_images", "input_fidelity", "style", "response_format",
)  # fmt: skip
_PNG_HEAD: Final = 24


@dataclass(slots=True)
class Told:
    """An event's fields, and the contents that they name."""

    event: dict[str, Any]
    contents: list[Held] = field(default_factory=list)


def new_attempt() -> str:
    """Draw the id of an attempt."""
    return f"r{secrets.token_hex(16)}"


def requested(
    store: ContentStore,
    attempt: str,
    endpoint: str,
    content_type: str,
    body: Body,
    said: Mapping[str, Any],
) -> Told:
    """Tell what was asked. The body is kept as it came before anything looks into it; raises StorageError.

    `said` are fields that the caller knows (account, conversation ..); what the body says of the same comes second.
    """
    told = Told({"event": REQUESTED, "attempt_id": attempt, **said, "endpoint": endpoint})
    told.event["request"] = _raw(told, store, content_type, body)
    with body.view() as view:
        parsed = parse_request(content_type, view)
        try:
            _understood(told, store, endpoint, parsed)
        finally:
            for part in parsed.parts:
                if isinstance(part.data, memoryview):
                    part.data.release()  # a mapped file closes only without views
    return told


def _raw(told: Told, store: ContentStore, content_type: str, body: Body) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "sha256": body.digest,
        "bytes": body.size_bytes,
        "content_type": content_type[:300],
    }
    if body.is_in_memory and body.size_bytes <= INLINE_MAX:
        with body.view() as view:
            try:
                raw["text"] = bytes(view).decode()
            except UnicodeDecodeError:
                told.contents.append(body.keep())
    else:
        told.contents.append(body.keep())
    return raw


def _understood(told: Told, store: ContentStore, endpoint: str, parsed: Parsed) -> None:
    event, fields = told.event, parsed.fields
    model, user, prompt = fields.get("model"), fields.get("user"), fields.get("prompt")
    if isinstance(model, str) and len(model) <= 1000:
        event["model"] = model
    if isinstance(user, str) and 0 < len(user) <= 1000 and "account" not in event:
        event |= {"account": user, "account_by": BODY}
    if isinstance(prompt, str):
        raw = prompt.encode("utf-8", "surrogatepass")
        event["prompt_sha256"] = sha256(raw).hexdigest()
        event["prompt"] = prompt if len(raw) <= PROMPT_MAX else None
        if event["prompt"] is None:
            event["problem"] = "a prompt that is too long to be read"
    event["params"] = {name: fields[name] for name in _PARAMS if _is_plain(fields.get(name))}
    event["references"] = [_reference(told, store, part) for part in parsed.parts]
    event["op"] = operation(endpoint, event["references"])
    if parsed.problem is not None:
        event["problem"] = parsed.problem
    elif "prompt" in parse_query(str(event.get("query", ""))):
        event["problem"] = "a prompt stands in the address, too"  # who reads it elsewhere may take that one


def operation(endpoint: str, references: list[dict[str, Any]]) -> str:
    """Name what is asked for: t2i, edit, inpaint (there is a mask) or compose (more than one picture)."""
    if not endpoint.endswith("/edits"):
        return "t2i"
    if any(each["field"] == "mask" for each in references):
        return "inpaint"
    return "compose" if len(references) > 1 else "edit"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= 200)


def _reference(told: Told, store: ContentStore, part: Part) -> dict[str, Any]:
    found: dict[str, Any] = {"field": part.field, **part.said}
    if part.place is not None:
        found["place"] = part.place
    if part.data is not None:
        found |= kept(told, store, part.data)
    return found


def kept(told: Told, store: ContentStore, data: Bytes) -> dict[str, Any]:
    """Keep bytes and say what they are: the digest by which the content is found, size, and what they begin like."""
    held = store.keep(data)
    told.contents.append(held)
    media_type = media_type_of(data)
    found: dict[str, Any] = {"sha256": held.digest, "bytes": held.size_bytes, "media_type": media_type}
    if media_type == "image/png" and len(data) >= _PNG_HEAD:
        found["px"] = [int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")]
    return found


def answer_of(data: bytes) -> Any:
    """Read a generator's answer; None where it is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def answered(store: ContentStore, data: bytes, answer: Any, status: int) -> Told:
    """Tell what came back: the outputs that are in it, or where they are, else the bytes; raises StorageError."""
    told = Told({"response": {"status": status, "sha256": sha256(data).hexdigest(), "bytes": len(data)}})
    entries = list(_entries(answer))
    outputs = [output(told, store, each) for each in entries]
    told.event["outputs"] = outputs
    beside = unread_bytes(answer) if isinstance(answer, dict) else len(data)
    if beside > (UNDERSTOOD_MAX if isinstance(answer, dict) else _WORD_MAX):  # it may be a picture
        told.event["problem"] = "more-than-outputs" if outputs else "not-understood"
    if data and (
        not outputs or "problem" in told.event
    ):  # it is not, or not all, understood: it is kept whole
        told.event["response"] |= kept(told, store, data)
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if isinstance(usage, dict):
        told.event["usage"] = usage
    return told


def unread_bytes(answer: Any) -> int:
    """Count what is in an answer, or an event of a stream, beside the outputs that are understood: it may be a picture.

    One text, or name, of more than 1,024 characters, or that begins as an address does, counts as `UNDERSTOOD_MAX` and
    more: no word is so long.
    """
    if not isinstance(answer, dict):
        return len(json.dumps(answer))
    entries = answer.get("data")
    listed = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    waiting: list[Any] = [{**answer, "data": None if listed else entries}, *listed]
    is_known, total = len(waiting), 0
    for place, found in enumerate(waiting):  # grows while it is walked
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            known = _UNDERSTOOD if place < is_known else frozenset[str]()
            total += sum(_text_bytes(name) for name in found)
            waiting += [value for name, value in found.items() if not _is_understood(name, value, known)]
        elif isinstance(found, str):
            total += _text_bytes(found)
        else:
            total += len(str(found))
    return total


def _is_understood(name: str, value: Any, known: frozenset[str]) -> bool:
    if name not in known or not isinstance(value, str):
        return False
    return name != "revised_prompt" or len(value) <= _REVISED_MAX


def _text_bytes(text: str) -> int:
    return UNDERSTOOD_MAX + 1 if len(text) > _WORD_MAX or _ADDRESS.match(text) else len(text)


def _entries(answer: Any) -> Iterator[dict[str, Any]]:
    data = answer.get("data") if isinstance(answer, dict) else None
    for each in data if isinstance(data, list) else ():
        entry = each if isinstance(each, dict) else {}
        yield entry
        if "b64_json" in entry and "url" in entry:  # two outputs in one
            yield {"url": entry["url"]}


def output(told: Told, store: ContentStore, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Keep one output and say what it is; one that is only named by a URL has that."""
    text, found = entry.get("b64_json"), dict[str, Any]()
    if isinstance(text, str):
        try:
            found = kept(told, store, base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            found = {**kept(told, store, text.encode("utf-8", "surrogatepass")), "problem": "no-base64"}
    elif isinstance(url := entry.get("url"), str):
        found = {"url": url[:8192]}
    else:
        found = {"problem": "no-output"}
    if isinstance(revised := entry.get("revised_prompt"), str):
        found["revised_prompt"] = revised[:PROMPT_MAX]
    return found


def fetched(told: Told, store: ContentStore, found: dict[str, Any], data: bytes) -> None:
    """Keep what a URL among the outputs led to; raises StorageError."""
    found |= kept(told, store, data)
