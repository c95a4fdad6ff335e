"""Recording from Python: the context manager and the ASGI middleware write the proxy's events."""

import asyncio
import base64
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from scelle.safeguards.recorder import Recorder, RecordingMiddleware
from scelle.safeguards.recorder.attempts import Attempt
from tests.unit.safeguards.recorder_spools import events, kinds, spool


def test_a_generation_is_asked_completed_and_delivered(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        with recorder.generation("web", "in a winter coat", [b"reference"], account="u1") as generation:
            assert kinds(tmp_path) == ["requested"]  # before the generator is called
            generation.completed(b"picture", model="shapes-1")
            generation.delivered()
        with recorder.generation("web", "in a hat") as generation:
            generation.refused("R040")
            with pytest.raises(ValueError, match="one outcome"):
                generation.refused("R040")
        with pytest.raises(ZeroDivisionError), recorder.generation("web", "in a scarf"):
            raise ZeroDivisionError
        with recorder.generation("web", "nothing said"):
            pass
    assert kinds(tmp_path) == [
        "requested", "completed", "delivered", "requested", "refused", "requested", "failed", "requested", "failed",
    ]  # fmt: skip
    found = events(tmp_path)
    reasons = [event["reason"] for event in found if "reason" in event]
    assert reasons == ["R040", "ZeroDivisionError", "no-outcome"]
    digest = found[2]["outputs"][0]["sha256"]
    assert (tmp_path / "recorded/contents" / digest[:2] / digest).read_bytes() == b"picture"


def ask(middleware: Any, body: bytes, path: str = "/v1/images/generations") -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []
    parts: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": body[:5], "more_body": True},
        {"type": "http.request", "body": body[5:]},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return parts.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"content-type", b"application/json")],
        }
        await middleware(scope, receive, send)
        await Attempt.all_recorded()

    asyncio.run(run())
    return sent


async def application(scope: Any, receive: Any, send: Any) -> None:
    data, more = b"", True
    while more:
        message = await receive()
        data, more = data + message["body"], message.get("more_body", False)
    if b"break" in data:
        raise RuntimeError
    status = 400 if b"refuse" in data else 200
    answer: dict[str, Any] = {"data": [{"b64_json": base64.b64encode(b"picture").decode()}]}
    if status == 400:
        answer = {"error": {"code": "moderation_blocked"}}
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def test_the_middleware_records_what_an_application_is_asked_and_answers(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        middleware = RecordingMiddleware(application, writing)
        assert ask(middleware, b'{"prompt":"a square"}')[0]["status"] == 200
        assert ask(middleware, b'{"prompt":"refuse"}')[0]["status"] == 400
        with pytest.raises(RuntimeError):
            ask(middleware, b'{"prompt":"break"}')
        assert ask(middleware, b'{"prompt":"elsewhere"}', "/other")[0]["status"] == 200
    assert kinds(tmp_path) == [
        "requested",
        "completed",
        "delivered",
        "requested",
        "refused",
        "requested",
        "failed",
    ]
    assert [event["prompt"] for event in events(tmp_path) if "prompt" in event] == [
        "a square",
        "refuse",
        "break",
    ]


def test_the_middleware_serves_nothing_that_it_cannot_record(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:
        (tmp_path / "recorded/contents").rename(tmp_path / "away")
        sent = ask(RecordingMiddleware(application, writing), json.dumps({"prompt": "x" * 200_000}).encode())
        assert [sent[0]["status"], len(sent)] == [503, 2]
        (tmp_path / "away").rename(tmp_path / "recorded/contents")
    assert kinds(tmp_path) == ["gap"]
