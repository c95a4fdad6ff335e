"""The proxy's order of things, with a disk that is held back; and what of a request goes on, and what does not."""

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from scelle.safeguards.recorder import Mode, Spool
from scelle.safeguards.recorder.proxy import ProxySettings, RecordingProxy
from scelle.vault import durable
from tests.unit.safeguards.recorder_spools import events, kinds, spool

PICTURE = base64.b64encode(b"a square").decode()


class Generator:
    """A generator in this process that remembers the headers it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls.append({name.lower(): value for name, value in request.headers.items()})
        await request.read()
        headers = {
            "X-Scelle-Record": "forged",
            "X-Inner": "1",
            "Connection": "close, X-Inner",
            "X-Scelle-Decision": "allow",
        }
        return web.json_response({"data": [{"b64_json": PICTURE}]}, headers=headers)


Talk = Callable[[str, Generator], Awaitable[None]]


def between(writing: Spool, talk: Talk) -> None:
    """Run a proxy before a generator, and talk to it."""

    async def run() -> None:
        generator, stop = Generator(), asyncio.Event()
        app = web.Application()
        app.router.add_post("/{path:.*}", generator.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        proxy = RecordingProxy(writing, ProxySettings(f"http://127.0.0.1:{port}"))
        serving = asyncio.create_task(
            proxy.run("127.0.0.1", 0, stop, lambda host, port: started.set_result(f"http://{host}:{port}"))
        )
        try:
            await talk(await started, generator)
        finally:
            stop.set()
            await serving
            await runner.cleanup()

    asyncio.run(run())


async def ask(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/images/generations", json={"prompt": "a square"}, headers=named) as answer,
    ):
        return (
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            await answer.read(),
        )


class HeldDisk:
    """Lets each fsync of a spool's file go on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes = threading.Semaphore(0)
        real = durable.AppendFile.sync

        def sync(file: durable.AppendFile) -> None:
            assert self.goes.acquire(timeout=10)
            real(file)

        monkeypatch.setattr(durable.AppendFile, "sync", sync)


def test_nothing_is_generated_or_given_before_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool(tmp_path) as writing:
        disk = HeldDisk(monkeypatch)

        async def talk(url: str, generator: Generator) -> None:
            asking = asyncio.create_task(ask(url))
            await asyncio.sleep(0.3)
            assert generator.calls == []  # `requested` is not durable
            disk.goes.release()
            await asyncio.sleep(0.3)
            assert (len(generator.calls), asking.done()) == (1, False)  # `completed` is not durable
            disk.goes.release()
            assert (await asking)[0] == 200
            disk.goes.release(10)

        between(writing, talk)
    assert kinds(tmp_path) == ["requested", "completed", "delivered"]


def test_observing_keeps_nobody_waiting_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool(tmp_path, Mode.OBSERVE) as writing:
        disk = HeldDisk(monkeypatch)

        async def talk(url: str, generator: Generator) -> None:
            assert (await asyncio.wait_for(ask(url), 5))[0] == 200
            assert len(generator.calls) == 1
            disk.goes.release(10)

        between(writing, talk)
    assert kinds(tmp_path) == ["requested", "completed", "delivered"]


def test_a_fault_of_ours_is_a_gap_when_observing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("scelle.safeguards.recorder.events.parse_request", broken)
    with spool(tmp_path, Mode.OBSERVE) as writing:

        async def talk(url: str, generator: Generator) -> None:
            assert (await ask(url))[0] == 200

        between(writing, talk)
    assert kinds(tmp_path) == ["gap"]


def test_what_goes_on_and_what_does_not(tmp_path: Path) -> None:
    with spool(tmp_path) as writing:

        async def talk(url: str, generator: Generator) -> None:
            _, answered, _ = await ask(
                url, Authorization="Bearer k", Connection="keep-alive, X-Hop", X_Hop="1", TE="trailers",
                Proxy_Authorization="Basic k", X_Scelle_Account="u-1", X_Scelle_Record="mine", X_Request_Id="7",
            )  # fmt: skip
            (call,) = generator.calls
            attempt = next(each["attempt_id"] for each in events(tmp_path) if "attempt_id" in each)
            assert (call["authorization"], call["x-request-id"], call["x-scelle-record"]) == (
                "Bearer k",
                "7",
                attempt,
            )
            assert not {"x-hop", "te", "proxy-authorization", "x-scelle-account"} & call.keys()
            assert (answered["x-scelle-record"], answered["x-scelle-decision"]) == (attempt, "allow")
            assert "x-inner" not in answered

        between(writing, talk)
    requested = next(each for each in events(tmp_path) if each["event"] == "requested")
    assert requested["account"] == "u-1"
    assert b"Bearer" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
