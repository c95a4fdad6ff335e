"""Encrypt free text to counsel alone: the counsel compartment of the vault's own log.

A note is age-encrypted to the key of each counsel of that moment before it is sealed: neither the vault's key nor the
log shows more than that somebody wrote something, and how long it is. What it is about stands inside, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyrage

from scelle.errors import NoteWrong, OperatorKeyRefused
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.operators.keys import OperatorKey
from scelle.operators.model import Operator, Role

NOTE: Final = "note"
NOTE_MAX_CHARACTERS: Final = 100_000
_DEPTH: Final = 2
_PADDED_BYTES: Final = 1024
"""Texts are filled up to a multiple of this, so that their length says little."""


@dataclass(frozen=True, slots=True)
class Note:
    """A free text, and what it is about, where that was said: an order, a request."""

    text: str
    about: str | None = None


def check_note(text: str) -> str:
    """Return a text that can be a note; raise NoteWrong."""
    if not text.strip() or len(text) > NOTE_MAX_CHARACTERS:
        raise NoteWrong(f"a note has 1 to {NOTE_MAX_CHARACTERS} characters, this one {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NoteWrong("a note is UTF-8: save it as UTF-8") from None
    return text


def note_body(note: Note, operators: Iterable[Operator]) -> dict[str, Any]:
    """Return the body of the event `note`: encrypted to every counsel among `operators`, plain where there is none."""
    recipients = [each.recipient for each in operators if each.role is Role.COUNSEL]
    if not recipients:
        return {"text": note.text, "about": note.about}
    plain = canonical_json({"about": note.about, "text": note.text})
    plain += b" " * (-len(plain) % _PADDED_BYTES)
    keys = [pyrage.x25519.Recipient.from_str(each) for each in recipients]
    return {"age": pyrage.encrypt(plain, keys).hex(), "readers": len(keys)}


def read_note(body: Mapping[str, Any], key: OperatorKey | None) -> Note | None:
    """Return a note as `note_body` made it; None where `key` cannot open it, or it is none."""
    if "text" in body:
        return Note(str(body["text"]), body.get("about"))
    if key is None:
        return None
    try:
        plain = key.decrypt(bytes.fromhex(str(body["age"])))
    except (OperatorKeyRefused, KeyError, ValueError):
        return None
    said = parse_json_strict(plain.rstrip(b" "), _DEPTH)
    return Note(str(said["text"]), said["about"])
