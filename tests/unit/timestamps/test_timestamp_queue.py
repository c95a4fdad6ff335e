"""Tokens that are still to be had: the file, and asking for them."""

import base64
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import FormatError, TimestampAnswerWrong, TimestampUnavailable
from scelle.timestamps.queue import Pending, parse_pending, submit
from scelle.timestamps.testing import ScriptedAuthority

TEXT = b"log.example.org/po/ec-2026-0108\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
PENDING = Pending(TEXT, "item-zero", 1_767_880_800_000_000)
ENCODED = (
    b'{"format":"scelle/pending-token/v1","reason":"item-zero","since":1767880800000000,"text":'
    b'"log.example.org/po/ec-2026-0108\\n3\\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\\n","text-sha256":"'
    + base64.b64encode(sha256(TEXT).digest())
    + b'"}\n'
)


def test_the_file_has_these_bytes() -> None:
    assert PENDING.encode() == ENCODED
    assert parse_pending(ENCODED) == PENDING
    assert PENDING.text_digest == sha256(TEXT).digest()
    assert PENDING.file_name == sha256(TEXT).hexdigest() + ".json"


@given(
    size=st.integers(0, 2**63 - 1),
    reason=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
    since_us=st.integers(-(2**63), 2**63 - 1),
)
def test_what_is_written_is_read_back(size: int, reason: str, since_us: int) -> None:
    text = f"log.example.org/po/a\n{size}\n{base64.b64encode(bytes(32)).decode()}\n".encode()
    pending = Pending(text, reason, since_us)
    assert parse_pending(pending.encode()) == pending


def test_no_other_bytes_are_read() -> None:
    for place in range(len(ENCODED)):
        for changed in (ENCODED[:place], ENCODED[:place] + b" " + ENCODED[place:]):
            with pytest.raises(FormatError):
                parse_pending(changed)


def changed(**fields: object) -> bytes:
    merged = json.loads(ENCODED) | fields
    kept = {key: value for key, value in merged.items() if value is not ...}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "scelle/pending-token/v2"},
        {"format": 1},
        {"more": 1},
        {"reason": ...},
        {"reason": "Item zero"},
        {"reason": "-"},
        {"reason": 1},
        {"since": "1"},
        {"since": True},
        {"since": 2**63},
        {"since": None},
        {"text": "log.example.org/po/a\n3\n"},
        {"text": TEXT.decode() + "extension\n"},
        {"text": TEXT.decode().replace("3", "4")},
        {"text": "é"},
        {"text": ["a"]},
        {"text-sha256": base64.b64encode(bytes(32)).decode()},
        {"text-sha256": base64.b64encode(bytes(31)).decode()},
        {"text-sha256": "no base64"},
    ],
)
def test_a_file_that_says_something_else_is_refused(fields: dict[str, object]) -> None:
    assert changed() == ENCODED
    with pytest.raises(FormatError):
        parse_pending(changed(**fields))


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"null\n", b"[]\n", b'"x"\n', b"{}\n", b"\xff\n", ENCODED + b"\n"]
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_pending(data)


def test_an_authority_that_is_away_leaves_the_text_queued() -> None:
    authority = ScriptedAuthority([TimestampUnavailable("away")])
    for _ in range(2):
        with pytest.raises(TimestampUnavailable):
            submit(PENDING, authority)
    assert authority.asked == [PENDING.text_digest] * 2


@pytest.mark.parametrize("answer", [b"", b"<html>", b"\x30\x03\x02\x01\x00"])
def test_an_answer_that_is_no_token_is_never_taken(answer: bytes) -> None:
    with pytest.raises(TimestampAnswerWrong):
        submit(PENDING, ScriptedAuthority([answer]))
