"""The recording proxy before a stub generator: what is asked and what comes of it is durable, sealed and adds up."""

import base64
import json
import socket
import time
from hashlib import sha256

import openai
import pytest
from tests.integration.recorded_platform import Platform, send


def test_the_official_client_works_unchanged_and_everything_is_sealed(platform: Platform) -> None:
    proxy = platform.proxy()
    client = openai.OpenAI(base_url=proxy.url, api_key="not-to-be-kept", max_retries=0)
    made = client.images.generate(model="shapes-1", prompt="put the person in a winter coat", user="u-1")
    assert made.data is not None
    picture = base64.b64decode(made.data[0].b64_json or "")
    report = proxy.end()
    assert report["sealed"]["counts"]["failed"] == 0
    requested, completed, delivered = (each for each in platform.events() if "attempt_id" in each)
    assert [each["event"] for each in (requested, completed, delivered)] == [
        "requested",
        "completed",
        "delivered",
    ]
    assert (requested["prompt"], requested["account"]) == ("put the person in a winter coat", "u-1")
    assert (
        completed["outputs"][0]["sha256"] == delivered["outputs"][0]["sha256"] == sha256(picture).hexdigest()
    )
    assert platform.content(sha256(picture).hexdigest()) == picture
    assert platform.generator_log("call") == [requested["attempt_id"]]
    everything = b"".join(path.read_bytes() for path in platform.ai.rglob("*") if path.is_file())
    assert b"not-to-be-kept" not in everything
    again = platform.json("preserve", "o-1")["sources"]["ai"]
    assert (again["new"], again["failed"], again["lost"]) == (0, 0, 0)
    platform.run("verify")


def test_each_way_of_going_wrong_has_its_outcome(platform: Platform) -> None:
    proxy = platform.proxy("--timeout", "2")
    wanted = {
        "a red square": (200, "completed", True),
        "refuse": (400, "refused", False),
        "fail-after": (500, "failed", False),
        "no-image": (200, "completed", True),
        "no-json": (200, "completed", True),
        "url": (200, "completed", True),
        "url-elsewhere": (502, "completed", False),
        "half": (502, "failed", False),
        "hang": (504, "failed", False),
    }
    for prompt, (status, outcome, is_delivered) in wanted.items():
        answer = proxy.generate(prompt)
        assert answer.status == status, (prompt, answer)
        found = [each for each in platform.events() if each.get("prompt") == prompt]
        assert len(found) == 1, prompt
        attempt = found[0]["attempt_id"]
        kinds = [each["event"] for each in platform.events() if each.get("attempt_id") == attempt]
        assert kinds[:2] == ["requested", outcome], (prompt, kinds)
        wanted[prompt] = (status, attempt, is_delivered)
    proxy.end()
    events = {each["attempt_id"]: each for each in platform.events() if "outputs" in each}
    delivered = {each["attempt_id"] for each in platform.events() if each["event"] == "delivered"}
    for prompt, (_, attempt, is_delivered) in wanted.items():
        assert (attempt in delivered) is is_delivered, prompt
    outcomes = {
        prompt: next(
            each
            for each in platform.events()
            if each.get("attempt_id") == wanted[prompt][1] and "outputs" in each
        )
        for prompt in wanted
        if prompt not in ("hang",)
    }
    assert events
    assert platform.content(outcomes["no-image"]["outputs"][0]["sha256"]) == b"no picture at all"
    assert platform.content(outcomes["no-json"]["response"]["sha256"]) == b"\x00\x01 no JSON"
    assert outcomes["fail-after"]["outputs"][0]["media_type"] == "image/png"
    assert outcomes["url"]["outputs"][0]["media_type"] == "image/png"
    assert "sig" not in outcomes["url"]["outputs"][0]["url"]
    assert outcomes["url-elsewhere"]["outputs"][0]["problem"] == "other-origin"
    assert outcomes["half"]["response"]["bytes"] > 0
    platform.json("preserve", "o-1")
    platform.run("verify")


def test_edits_as_a_form_and_as_json_keep_their_references(platform: Platform) -> None:
    proxy = platform.proxy()
    client = openai.OpenAI(base_url=proxy.url, api_key="k", max_retries=0)
    first, second, mask = b"\x89PNG\r\n\x1a\n" + b"1" * 40, b"\xff\xd8\xff" + b"2" * 300_000, b"RIFF1234WEBP"
    client.images.edit(
        image=[("a.png", first), ("b.jpg", second)],
        mask=("m.webp", mask),
        prompt="in a coat",
        model="shapes-1",
    )
    url = f"data:image/png;base64,{base64.b64encode(first).decode()}"
    body = json.dumps({"prompt": "in a hat", "images": [{"image_url": url}, {"file_id": "file-7"}]}).encode()
    assert send(f"{proxy.url}/images/edits", body).status == 200
    proxy.end()
    form, document = (each for each in platform.events() if each["event"] == "requested")
    assert [each["sha256"] for each in form["references"]] == [
        sha256(each).hexdigest() for each in (first, second, mask)
    ]
    assert (form["op"], form["prompt"], form["references"][1]["name"]) == ("inpaint", "in a coat", "b.jpg")
    assert sha256(platform.content(form["request"]["sha256"])).hexdigest() == form["request"]["sha256"]
    assert (document["op"], document["references"][0]["sha256"]) == ("compose", sha256(first).hexdigest())
    assert document["references"][1]["place"] == "file-7"
    assert platform.content(sha256(second).hexdigest()) == second


def test_a_streamed_partial_picture_is_a_delivered_output(platform: Platform) -> None:
    proxy = platform.proxy()
    client = openai.OpenAI(base_url=proxy.url, api_key="k", max_retries=0)
    pictures = [
        base64.b64decode(event.b64_json)
        for event in client.images.generate(
            model="shapes-1", prompt="a blue square", stream=True, partial_images=2
        )
    ]
    with pytest.raises(
        Exception, match=r"incomplete|closed|reset|Connection"
    ):  # of the HTTP library that the client uses
        list(client.images.generate(model="shapes-1", prompt="half", stream=True, partial_images=2))
    proxy.end()
    whole, cut = [each["attempt_id"] for each in platform.events() if each["event"] == "requested"]
    events = [each for each in platform.events() if each.get("attempt_id") == whole]
    assert [each["event"] for each in events] == ["requested", *["delivered"] * 3, "completed"]
    shown = [each["outputs"][0] for each in events if each["event"] == "delivered"]
    assert [each["sha256"] for each in shown] == [sha256(picture).hexdigest() for picture in pictures]
    assert [each.get("partial", False) for each in shown] == [True, True, False]
    assert [platform.content(each["sha256"]) for each in shown] == pictures
    assert [each["sha256"] for each in events[-1]["outputs"]] == [shown[-1]["sha256"]]
    kinds = [each["event"] for each in platform.events() if each.get("attempt_id") == cut]
    assert kinds == ["requested", "delivered", "failed"]


def test_what_cannot_be_recorded_is_not_generated(platform: Platform) -> None:
    proxy = platform.proxy()
    assert proxy.generate("first").status == 200
    contents = platform.ai / "recorded/contents"
    contents.rename(
        platform.folder / "away"
    )  # nothing can be kept any more: the request is over what stands inline
    refused = proxy.generate("x" * 200_000)
    assert (refused.status, refused.json["error"]["code"]) == (503, "not-recordable")
    assert len(platform.generator_log("call")) == 1
    (platform.folder / "away").rename(contents)
    assert proxy.generate("third").status == 200
    report = proxy.end()
    assert (report["unserved"], report["lost"]) == (1, 0)
    (gap,) = (each for each in platform.events() if each["event"] == "gap")
    assert (gap["unserved"], gap["lost"]) == (1, 0)
    assert platform.kinds()["requested"] == 2


@pytest.mark.parametrize("mode", ["--observe", "--allow-with-gap"])
def test_what_is_served_without_a_record_is_a_gap(platform: Platform, mode: str) -> None:
    proxy = platform.proxy(mode)
    contents = platform.ai / "recorded/contents"
    assert proxy.generate("first").status == 200
    time.sleep(0.5)  # in observe mode nobody waits for the record
    contents.rename(platform.folder / "away")
    assert proxy.generate("x" * 200_000).status == 200
    (platform.folder / "away").rename(contents)
    report = proxy.end(code=1)
    assert report["lost"] == 1
    (gap,) = (each for each in platform.events() if each["event"] == "gap")
    assert gap["lost"] == 1
    assert platform.kinds() == {"requested": 1, "completed": 1, "delivered": 1}
    platform.json("preserve", "o-1")
    found = platform.json("record", "reconcile", "o-1", "--surface", "web", "--generator-count", "2",
                          "--from", "2020-01-01", "--to", "2040-01-01")  # fmt: skip
    assert (found["generated"], found["recorded"], found["gap"], found["lost"], found["unexplained"]) == (
        2,
        1,
        1,
        1,
        0,
    )
    wrong = platform.json("record", "reconcile", "o-1", "--surface", "web", "--generator-count", "3",
                          "--from", "2020-01-01", "--to", "2040-01-01", code=1)  # fmt: skip
    assert wrong["unexplained"] == 1
    report = platform.json("preserve", "o-1")["sources"]["ai"]
    assert report["failed"] == 0


def test_a_client_that_goes_away_got_nothing(platform: Platform) -> None:
    proxy = platform.proxy()
    host, port = proxy.url.removeprefix("http://").removesuffix("/v1").split(":")
    body = json.dumps({"prompt": "slow"}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head + body)
        time.sleep(0.1)
    proxy.end()
    assert platform.kinds() == {"requested": 1, "completed": 1}


def test_headers_that_smuggle_are_refused_and_hop_by_hop_ones_end_here(platform: Platform) -> None:
    proxy = platform.proxy()
    host, port = proxy.url.removeprefix("http://").removesuffix("/v1").split(":")
    line = b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\n"
    for smuggled in (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(line + smuggled)
            client.settimeout(10)
            assert client.recv(100).split(b" ")[1] == b"400", smuggled
    assert platform.generator_log("call") == []
    for path in ("/v1/chat/completions", "/v1/images/variations", "/v1/images/generations/../x"):
        answer = send(proxy.url.removesuffix("/v1") + path, b"{}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "not-recorded"), path
    proxy.end()
    assert platform.kinds() == {}


def test_bodies_that_are_none_are_recorded_and_passed_on(platform: Platform) -> None:
    proxy = platform.proxy()
    bodies = [
        (b"{not json", "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"no boundary", "multipart/form-data"),
        (b"--b\r\n\r\n", "multipart/form-data; boundary=b"),
        (b"", ""),
    ]
    for body, content_type in bodies:
        assert send(f"{proxy.url}/images/edits", body, content_type).status in (200, 400, 500)
    proxy.end()
    requested = [each for each in platform.events() if each["event"] == "requested"]
    assert [each["request"]["sha256"] for each in requested] == [
        sha256(body).hexdigest() for body, _ in bodies
    ]
    assert all("problem" in each for each in requested)
    assert platform.kinds()["failed"] == len(bodies)
    platform.json("preserve", "o-1")


def test_one_process_a_surface_and_an_unregistered_one_is_a_finding(platform: Platform) -> None:
    proxy = platform.proxy()
    assert "not registered" in proxy.said[0]
    arguments = [
        "--listen",
        "127.0.0.1:0",
        "--surface",
        "web",
        "--order",
        "o-1",
        "--upstream",
        platform.upstream,
    ]
    platform.run("record", "proxy", *arguments, code=4)
    (found,) = platform.json("surface", "list", code=1)["surfaces"]
    assert (found["name"], found["state"], found["registered"]) == ("web", "red", False)
    proxy.end()
    assert [each["event"] for each in platform.events()].count("surface.unregistered") == 1


def test_another_bundle_on_one_of_five_surfaces_turns_that_one_red(platform: Platform) -> None:
    assert platform.run("canary", "run", code=2) == ""  # none is registered: nothing was tried
    names = ["app", "bot", "site", "api", "batch"]
    for name in names:
        # the stub says `ab..`, as a gate with that bundle would
        required = "cd" * 32 if name == "site" else "ab" * 32
        proxy = platform.proxy(surface=name)
        platform.run("surface", "add", name, "--owner", "team", "--url", proxy.url.removesuffix("/v1"),
                     "--bundle", required)  # fmt: skip
    states = {each["name"]: each["state"] for each in platform.json("surface", "list")["surfaces"]}
    assert set(states.values()) == {"unknown"}
    verdicts = platform.json("canary", "run", code=1)["surfaces"]
    assert [each["name"] for each in verdicts if not each["well"]] == ["site"]
    shown = platform.json("surface", "list", code=1)["surfaces"]
    assert {each["name"]: each["state"] for each in shown} == {
        name: "red" if name == "site" else "green" for name in names
    }
    (red,) = (each for each in shown if each["state"] == "red")
    assert (red["why"], red["since"] is not None) == ("other-bundle", True)
    platform.run("verify")


def test_each_answer_promises_to_seal_what_is_recorded_of_it(platform: Platform) -> None:
    keys, notary = platform.folder / "keys-of-receipts", platform.folder / "notary"
    keys.mkdir()
    notary.mkdir()
    proxy = platform.proxy("--receipt-keys", str(keys))
    answers = [proxy.generate(prompt) for prompt in ("a red square", "refuse", "fail-after")]
    receipts = platform.folder / "receipts.txt"
    receipts.write_text("".join(f"{each.headers['X-Scelle-Promise']}\n" for each in answers))
    proxy.end()
    platform.run("order", "escrow", "o-1", "--to", str(notary))
    key = next(keys.iterdir())
    check = ("promise", "check", "o-1", "--receipts", str(receipts), "--receipt-key", str(key))
    assert [each["state"] for each in platform.json(*check)["receipts"]] == ["kept"] * 3


@pytest.mark.parametrize(
    "path",
    ["//127.0.0.1:9/latest", "/v1/images;x=1/generations", "/v1%5Cimages", "/v1/Image", "/v1/images%00/x"],
)
def test_nothing_that_may_be_for_pictures_or_for_others_is_passed_on(platform: Platform, path: str) -> None:
    proxy = platform.proxy("--pass-others")
    host, _, port = proxy.url.removeprefix("http://").removesuffix("/v1").partition(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = client.makefile("rb").readline()
    assert b" 404 " in status or b" 400 " in status
    assert platform.generator_log("call") == []


def test_a_body_that_is_broken_off_is_said_and_harms_nobody(platform: Platform) -> None:
    proxy = platform.proxy()
    host, _, port = proxy.url.removeprefix("http://").removesuffix("/v1").partition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), 30) as client:
            head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n"
            client.sendall(head.encode() + b"{")
    assert proxy.generate("a red square").status == 200
    proxy.process.terminate()
    _, err = proxy.process.communicate(timeout=120)
    assert "Traceback" not in err


def test_an_answer_by_account_has_outcomes_and_what_was_delivered(platform: Platform) -> None:
    proxy = platform.proxy()
    proxy.generate("a red square", user="u-1")
    proxy.generate("refuse", user="u-1")
    proxy.generate("a stream", user="u-1", stream=True)
    proxy.generate("a red square", user="u-2")
    proxy.end()
    for kind, count in (("requested", 3), ("completed", 2), ("refused", 1), ("delivered", 4)):
        found = platform.json("find", "o-1", f'account = "u-1" and kind = "{kind}"')
        assert found["count"] == count, kind


def test_a_body_that_never_came_whole_is_counted(platform: Platform) -> None:
    proxy = platform.proxy()
    host, _, port = proxy.url.removeprefix("http://").removesuffix("/v1").partition(":")
    with socket.create_connection((host, int(port)), 30) as client:
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n"
        client.sendall(head.encode() + b"{")
    assert proxy.generate("a red square").status == 200
    report = proxy.end()
    assert (report["requests"], report["outcomes"]) == (2, {"completed": 1, "not-taken": 1})


def test_a_place_that_is_taken_leaves_no_trace(platform: Platform) -> None:
    size = platform.json("status")["orders"][0]["log_size"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ("--upstream", platform.upstream, "--listen", listen, "--surface", "s2", "--order", "o-1")
        platform.run("record", "proxy", *words, code=4)
    assert platform.json("status")["orders"][0]["log_size"] == size
    assert platform.json("surface", "list")["surfaces"] == []
    assert not (platform.ai / "recorded").exists()
