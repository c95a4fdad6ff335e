"""What is in an answer beside the outputs that are understood is counted: it may be a picture."""

from typing import Any

import pytest

from scelle.safeguards.recorder.events import UNDERSTOOD_MAX, unread_bytes
from scelle.safeguards.recorder.streams import is_word

PICTURE = "A" * 20_000


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"b64_json": "AA"}], "images": [{"b64_json": PICTURE}]},
        {"data": [{"b64_json": "AA", "more": {"b64_json": PICTURE}}]},
        {"data": [{"b64_json": "AA", "revised_prompt": PICTURE}]},
        {"data": [{"b64_json": "AA", "revised_prompt": {"b64_json": PICTURE}}]},
        {"data": [{"b64_json": "AA"}], PICTURE: 1},
        {"data": [{"b64_json": "AA"}], "pieces": [PICTURE[:1000]] * 20},
        {"data": [{"b64_json": "AA"}], "next": "https://pictures.example/2.png"},
        {"data": [[PICTURE]]},
        {"data": {"b64_json": PICTURE}},
    ],
)
def test_a_picture_in_another_place_is_found(answer: dict[str, Any]) -> None:
    assert unread_bytes(answer) > UNDERSTOOD_MAX


def test_outputs_and_words_are_none() -> None:
    answer = {
        "created": 1,
        "background": "opaque",
        "data": [{"b64_json": PICTURE, "revised_prompt": "a coat " * 100}, {"url": "/made/1.png"}],
        "usage": {"total_tokens": 5, "input_tokens_details": {"image_tokens": 0}},
    }
    assert unread_bytes(answer) < 500
    assert unread_bytes({"type": "image_generation.partial_image", "b64_json": PICTURE}) < 500


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        (b"data: [DONE]\n\n", True),
        (b": keep-alive\n\n", True),
        (b"event: ping\n\n", True),
        (b"\n\n", True),
        (b"data: data:image/png;base64,AAAA\n\n", False),
        (b"\xef\xbb\xbfdata: {}\n\n", False),
        (b"data: [1, 2]\n\n", False),
        (b": " + b"A" * 500 + b"\n\n", False),
    ],
)
def test_signs_of_life_are_words(event: bytes, is_one: bool) -> None:
    assert is_word(event) is is_one
