"""A generator of pictures for tests, as a process of its own: it draws harmless shapes, or goes wrong as it is told.

`python -m tests.integration.stub_generator PORT LOG`. What it does is said in the prompt (`hang`, `refuse`, `half` ..).
It appends to LOG each call and each picture, with the record's id, before it answers: it may be killed.
"""

import asyncio
import base64
import gzip
import json
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

from aiohttp import web

LOG = Path(sys.argv[-1])


def note(what: str, request: web.Request) -> int:
    """Append one line to the log; return a number that differs from every other."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{what} {request.headers.get('X-Scelle-Record')}\n")
        return log.tell()


def shape(number: int, size: int = 24) -> bytes:
    """Draw a PNG: a square in one of many colours on white."""
    colour = bytes([number % 251, number // 251 % 251, 200])
    rows = b"".join(
        b"\0" + b"".join(colour if 6 < x < 18 and 6 < y < 18 else b"\xff\xff\xff" for x in range(size))
        for y in range(size)
    )
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tEXt", b"n\0%d" % number), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


async def prompt_of(request: web.Request) -> tuple[str, dict[str, Any]]:
    if request.content_type == "multipart/form-data":
        fields: dict[str, Any] = {}
        for name, value in (await request.post()).items():
            fields[name] = value
        fields["stream"] = fields.get("stream") == "true"
        return str(fields.get("prompt", "")), fields
    try:
        fields = json.loads(await request.read())
        return str(fields["prompt"]), fields
    except (ValueError, KeyError, TypeError):
        raise web.HTTPBadRequest(
            text='{"error":{"code":"invalid_json","message":"not read"}}', content_type="application/json"
        ) from None


async def generate(request: web.Request) -> web.StreamResponse:
    number = note("call", request)
    prompt, fields = await prompt_of(request)
    drawn = re.search(r"number (\d+)", prompt)
    number = int(drawn[1]) if drawn is not None else number
    if "hang" in prompt:
        await asyncio.sleep(600)
    if "refuse" in prompt:
        error = {"code": "moderation_blocked", "message": "no", "type": "image_generation_user_error"}
        return web.json_response({"error": error}, status=400)
    note("made", request)
    text = base64.b64encode(b"no picture at all" if "no-image" in prompt else shape(number)).decode()
    if "fail-after" in prompt:
        return web.json_response(
            {"error": {"code": "server_error"}, "data": [{"b64_json": text}]}, status=500
        )
    if "no-json" in prompt:
        return web.Response(body=b"\x00\x01 no JSON", content_type="application/json")
    if "url-elsewhere" in prompt:
        return web.json_response({"created": 1, "data": [{"url": "http://127.0.0.1:9/other.png"}]})
    if "url" in prompt:
        return web.json_response({"created": 1, "data": [{"url": f"/made/{number}.png?sig=not-to-be-kept"}]})
    if "packed" in prompt:
        body = gzip.compress(json.dumps({"created": 1, "data": [{"b64_json": text}]}).encode())
        return web.Response(body=body, content_type="application/json", headers={"Content-Encoding": "gzip"})
    if "elsewhere" in prompt:
        return web.Response(status=302, headers={"Location": f"/made/{number}.png"})
    if "in a header" in prompt:
        answer = {"created": 1, "data": [{"b64_json": text}]}
        return web.json_response(
            answer, headers={"X-Image": text[:400], "X-Request-Id": "a" * 600, "OpenAI-Model": "m"}
        )
    if fields.get("stream"):
        return await stream(request, prompt, number)
    if "beside" in prompt:  # a second picture that no client asked for
        beside: dict[str, Any] = {"url": f"/made/{number + 1}.png"}
        if "preview" in prompt:
            beside = {"preview": "A" * 100_000}
        if "thumbnail" in prompt:
            beside = {"thumbnail": "A" * 2_000}
        if "link" in prompt:
            beside = {"more": {"link": "https://pictures.example/2.png"}}
        return web.json_response({"created": 1, "data": [{"b64_json": text, **beside}]})
    if "half" in prompt:
        return await half(request, text)
    if "slow" in prompt:
        await asyncio.sleep(0.2)
    answer = {"created": 1, "data": [{"b64_json": text}], "usage": {"total_tokens": 1}}
    return web.json_response(answer, headers={"X-Scelle-Decision": "allow", "X-Scelle-Bundle": "ab" * 32})


async def half(request: web.Request, text: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = 100_000
    await response.prepare(request)
    await response.write(b'{"created":1,"data":[{"b64_json":"' + text[:20].encode())
    request.transport.close()  # type: ignore[union-attr]
    return response


async def stream(request: web.Request, prompt: str, number: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    shared = {
        "background": "opaque",
        "created_at": 1,
        "output_format": "png",
        "quality": "low",
        "size": "24x24",
    }
    for index in range(2):
        text = base64.b64encode(shape(number * 10 + index)).decode()
        kind = "image_generation.partial_image"
        event = {"type": kind, "b64_json": text, "partial_image_index": index, **shared}
        data = f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()
        if "half" in prompt and index:
            await response.write(data[: len(data) // 2])
            request.transport.close()  # type: ignore[union-attr]
            return response
        await response.write(data)
        if "slow" in prompt:
            await asyncio.sleep(0.3)
    kind = "image_generation.completed"
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    text = base64.b64encode(shape(number)).decode()
    made = {"url": f"/made/{number}.png?sig=not-to-be-kept"} if "by address" in prompt else {"b64_json": text}
    event = {"type": kind, **made, "usage": usage, **shared}
    end = "" if "without an end" in prompt else "\n\n"
    await response.write(f"event: {kind}\ndata: {json.dumps(event)}{end}".encode())
    await response.write_eof()
    return response


async def made(request: web.Request) -> web.Response:
    return web.Response(body=shape(int(request.match_info["number"])), content_type="image/png")


def main() -> None:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/images/{kind}", generate)
    app.router.add_get("/made/{number}.png", made)
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, shutdown_timeout=0.1
    )


if __name__ == "__main__":
    main()
