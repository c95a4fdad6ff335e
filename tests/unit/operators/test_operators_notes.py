import json

import pytest

from scelle.errors import NoteWrong
from scelle.operators.model import Role
from scelle.operators.notes import Note, check_note, note_body, read_note

from .log import Log

NOTE = Note("The second reading ends later", "o1")


def test_counsel_read_a_note_and_nobody_else_does() -> None:
    log = Log()
    for name in ("alice", "bob"):
        log.add(name)
    log.add("rita", Role.REVIEWER)
    body = note_body(NOTE, log.people.operators.values())
    assert "reading" not in json.dumps(body)
    assert "o1" not in json.dumps(body).replace(body["age"], "")
    assert b"reading" not in bytes.fromhex(body["age"])
    assert [read_note(body, log.keys[name]) for name in ("alice", "bob", "rita")] == [NOTE, NOTE, None]
    assert read_note(body, None) is None


def test_the_length_of_a_note_tells_little() -> None:
    log = Log()
    alice = log.add("alice")
    operators = log.people.operators.values()
    for count, size in ((1, 1024), (900, 1024), (1024, 2048)):
        body = note_body(Note("x" * count), operators)
        assert len(alice.decrypt(bytes.fromhex(body["age"]))) == size


def test_without_counsel_a_note_is_sealed_as_every_other_row() -> None:
    body = note_body(NOTE, ())
    assert read_note(body, None) == NOTE


@pytest.mark.parametrize("text", ["", "  \n", "x" * 100_001, "\ud800"])
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteWrong):
        check_note(text)
