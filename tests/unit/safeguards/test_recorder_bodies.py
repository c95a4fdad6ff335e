"""Requests, answers and streams are taken apart leniently: what a client or a generator sends never raises."""

import json
import time
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import StorageFull
from scelle.safeguards.recorder import events as recorder_events
from scelle.safeguards.recorder.bodies import Body, media_type_of, parse_request
from scelle.safeguards.recorder.contents import ContentStore, Writing
from scelle.safeguards.recorder.events import answer_of, answered, requested
from scelle.safeguards.recorder.model import outcome_of
from scelle.safeguards.recorder.streams import EventSplitter, event_data


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    made = ContentStore(tmp_path)
    made.prepare()
    return made


def form(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    written = [b'--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n' % (boundary.encode(), head.encode(), data)
               for head, data in parts]  # fmt: skip
    return b"".join(written) + b"--%b--\r\n" % boundary.encode()


def asked(store: ContentStore, data: bytes, content_type: str, memory_max: int = 1 << 20) -> dict[str, Any]:
    body = Body(store, memory_max=memory_max)
    for at in range(0, len(data), 7919):
        body.write(data[at : at + 7919])
    told = requested(store, "a1", "/v1/images/edits", content_type, body, {})
    for each in told.contents:
        each.sync()
    return told.event


@given(
    st.binary(max_size=400),
    st.sampled_from(["application/json", "multipart/form-data; boundary=b", "", "text/x"]),
)
def test_no_body_raises(data: bytes, content_type: str) -> None:
    parse_request(content_type, memoryview(bytearray(data)))


@given(st.lists(st.tuples(st.sampled_from(["prompt", "image", "image[]", "mask", "n"]), st.binary(max_size=60)),
                min_size=1, max_size=6))  # fmt: skip
def test_every_part_of_a_form_is_found(parts: list[tuple[str, bytes]]) -> None:
    safe = [(name, data.replace(b"\r\n--frontier", b"")) for name, data in parts]
    body = form(*[(f'name="{name}"', data) for name, data in safe], boundary="frontier")
    parsed = parse_request("multipart/form-data; boundary=frontier", memoryview(bytearray(body)))
    pictures = [(name.removesuffix("[]"), data) for name, data in safe if name.startswith(("image", "mask"))]
    assert [(each.field, bytes(each.data or b"")) for each in parsed.parts] == pictures
    assert set(parsed.fields) == {name for name, _ in safe if name in ("prompt", "n")}


@pytest.mark.parametrize("memory_max", [1 << 20, 100])
def test_a_form_of_16_references_in_memory_or_in_a_file(store: ContentStore, memory_max: int) -> None:
    pictures = [b"\x89PNG\r\n\x1a\n" + bytes([n]) * 5000 for n in range(16)]
    parts = [(f'name="image[]"; filename="{n}.png"', each) for n, each in enumerate(pictures)]
    data = form(('name="prompt"', b"in a coat"), *parts, ('name="mask"; filename="m.png"', b"m"))
    event = asked(store, data, "multipart/form-data; boundary=b", memory_max)
    assert [each["sha256"] for each in event["references"][:16]] == [
        sha256(each).hexdigest() for each in pictures
    ]
    assert (event["op"], event["prompt"], "problem" in event) == ("inpaint", "in a coat", False)
    digest = event["request"]["sha256"]
    assert digest == sha256(data).hexdigest()
    assert (store.folder / digest[:2] / digest).read_bytes() == data


def test_a_bomb_is_kept_and_not_unpacked(store: ContentStore) -> None:
    rows = zlib.compress(b"\0" * 50_000_000, 9)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0" + rows
    event = asked(store, form(('name="image"; filename="b.png"', bomb)), "multipart/form-data; boundary=b")
    (found,) = event["references"]
    assert (found["bytes"], found["px"]) == (len(bomb), [65536, 65536])


def test_a_wrong_type_is_said_as_it_is(store: ContentStore) -> None:
    head = 'name="image"; filename="a.png"\r\nContent-Type: image/png'
    event = asked(store, form((head, b"GIF89a and <html>")), "multipart/form-data; boundary=b")
    assert (event["references"][0]["said_type"], event["references"][0]["media_type"]) == (
        "image/png",
        "image/gif",
    )
    assert media_type_of(b"PK\3\4") == "application/octet-stream"


def test_a_prompt_of_a_megabyte_and_half_a_surrogate_pair(store: ContentStore) -> None:
    event = asked(store, json.dumps({"prompt": "é" * 1_000_000}).encode(), "application/json")
    assert len(event["prompt"]) == 1_000_000
    event = asked(store, b'{"prompt":"\\ud800 in a hat"}', "application/json")
    assert event["request"]["text"] == '{"prompt":"\\ud800 in a hat"}'
    json.dumps(event).encode()


def test_a_disk_that_is_full_keeps_a_lenient_body_in_memory(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Writing, data: Any) -> None:
        if self.size_bytes:
            raise StorageFull("full")
        real(self, data)

    real = Writing.write
    monkeypatch.setattr(Writing, "write", full)
    pieces = [b"a" * 60, b"b" * 60, b"c" * 60]
    lenient, strict = Body(store, lenient=True, memory_max=100), Body(store, memory_max=100)
    for each in pieces:
        lenient.write(each)
    assert (lenient.reader(), lenient.is_lost) == (b"".join(pieces), True)
    strict.write(pieces[0])
    with pytest.raises(StorageFull):
        strict.write(pieces[1])


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'{"data":{}}', b'{"data":[1,null,{"b64_json":7}]}', b'{"data":[{"b64_json":"%%"}]}',
     b"[" * 90_000, b'{"data":[{"url":""}],"usage":7}', b"\xff"],
)  # fmt: skip
def test_no_answer_raises(store: ContentStore, data: bytes) -> None:
    content = answer_of(data)
    told = answered(store, data, content, 200)
    assert told.event["response"]["sha256"] == sha256(data).hexdigest()
    json.dumps(told.event)
    for each in told.contents:
        each.sync()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(200, None, "completed"), (400, "moderation_blocked", "refused"), (400, "invalid_size", "failed"),
     (500, "moderation_blocked", "failed"), (302, None, "failed"), (429, "rate_limit", "failed")],
)  # fmt: skip
def test_how_an_attempt_ended(status: int, code: str | None, kind: str) -> None:
    assert outcome_of(status, {"error": {"code": code, "message": "repeats the prompt"}})[0] == kind
    assert "prompt" not in str(outcome_of(status, {"error": {"code": code, "message": "repeats the prompt"}}))


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b"")), max_size=8),
       st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]), st.integers(1, 7))  # fmt: skip
def test_a_stream_is_parted_alike_however_it_comes(parts: list[bytes], end: bytes, step: int) -> None:
    whole = [b"data: " + each + end for each in parts]
    data = b"".join(whole) + b"data: half"
    splitter = EventSplitter()
    found: list[bytes] = []
    for at in range(0, len(data), step):
        found += splitter.take(data[at : at + step])
    assert found == whole
    assert splitter.rest == b"data: half"


def test_an_events_data_may_stand_on_several_lines() -> None:
    assert event_data(b'event: x\r\ndata: {"a":\r\ndata: 1}\r\n\r\n') == {"a": 1}
    assert event_data(b"data: [DONE]\n\n") is None
    assert recorder_events.operation("/v1/images/generations", []) == "t2i"


GOOD = b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na coat\r\n--B--\r\n'
JSON = b'{"prompt": "a coat"}'


def with_head(line: bytes) -> bytes:
    return GOOD.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", JSON),
        ("application/json; charset=utf-7", JSON),
        ("", JSON),
        ("application/json", b'{"prompt": "a coat", "init_image": "x"}'),
        ("application/json", b'{"prompt": "a coat", "Prompt": "x"}'),
        ("application/json", b'{"prompt": "a", "prompt": "b"}'),
        ("application/json", b'{"prompt": "a", "n": [' + b"1," * 200_000 + b"1]}"),
        ("multipart/form-data; boundary=B; boundary=C", GOOD),
        ("multipart/form-data; boundary=B", b"before\r\n" + GOOD),
        ("multipart/form-data; boundary=B", GOOD[:-6]),
        ("multipart/form-data; boundary=B", GOOD.replace(b"a coat", b"a\r\n--BX\r\ncoat")),
        ("multipart/form-data; boundary=B", GOOD.replace(b"\r\n\r\n", b"\n\n")),
        ("multipart/form-data; boundary=B", with_head(b"Content-Transfer-Encoding: base64")),
        ("multipart/form-data; boundary=B", with_head(b"Content-Type: text/plain; charset=utf-7")),
        ("multipart/form-data; boundary=B", with_head(b'Content-Disposition: form-data; name="x"')),
        ("multipart/form-data; boundary=B", GOOD.replace(b'"prompt"', b'"pro\\mpt"')),
        ("multipart/form-data; boundary=B", GOOD.replace(b'name="prompt"', b"name*=utf-8''prompt")),
        ("multipart/form-data; boundary=B", GOOD.replace(b"prompt", b"negative_prompt")),
        ("multipart/form-data; boundary=B", GOOD.replace(b"prompt", b"images")),
        ("multipart/form-data; boundary=B", with_head(b"content-type: a/" + b"b" * (2048 - 60) + b"\r\nX: y")),
        ("application/json", b'{"prompt": "a", "Images": ["data:image/png;base64,AAAA"]}'),
        ("multipart/form-data; boundary=B", GOOD.replace(b"prompt", b"x" + b";" * 60_000)),
    ],
)  # fmt: skip
def test_what_another_reader_may_read_otherwise_is_a_problem(content_type: str, body: bytes) -> None:
    started = time.monotonic()
    assert parse_request(content_type, memoryview(bytearray(body))).problem is not None
    assert time.monotonic() - started < 30  # nobody else waits for it


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", JSON),
        ('Application/JSON; charset="UTF-8"', JSON),
        ("multipart/form-data; boundary=B", GOOD),
        (
            'multipart/form-data; boundary="B"',
            GOOD.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\n\r\n"),
        ),
    ],
)
def test_the_plain_forms_are_no_problem(content_type: str, body: bytes) -> None:
    parsed = parse_request(content_type, memoryview(bytearray(body)))
    assert (parsed.problem, parsed.fields["prompt"]) == (None, "a coat")


def test_a_reference_with_two_addresses_is_none_that_was_looked_at() -> None:
    body = b'{"prompt": "a", "images": [{"image_url": "data:image/png;base64,AAAA", "file_id": "file-1"}]}'
    (part,) = parse_request("application/json", memoryview(bytearray(body))).parts
    assert (part.said, part.data) == ({"problem": "more than one address"}, None)


def test_a_head_is_read_whole_or_not_at_all() -> None:
    """A second head behind the bound must not be cut off from the first, which alone would be plain."""
    plain = b'Content-Disposition: form-data; name="prompt"\r\nContent-Type: text/'
    head = plain + b"x" * (2048 - len(plain)) + b'\r\nContent-Disposition: form-data; name="style"'
    parsed = parse_request(
        "multipart/form-data; boundary=B", memoryview(bytearray(b"--B\r\n" + head + GOOD[50:]))
    )
    assert parsed.problem is not None
    assert "prompt" not in parsed.fields
