"""A gate in the recording proxy: decided before the generator and before delivery, recorded, and failing closed."""

import base64
import json
import time
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.integration.gated_platform import (
    AS_BEFORE,
    BEYOND,
    COAT,
    MORE,
    NOBODY,
    PORTRAIT,
    SWIMWEAR,
    assign,
    guardrail,
    shape,
)
from tests.integration.recorded_platform import Answer, Platform, Proxy, send

PORTRAIT_PICTURE = shape(7)
PROMPTS = {
    "a square, number 1": NOBODY,
    **{f"number 1, and a {each} beside": NOBODY for each in ("address", "preview", "thumbnail", "link")},
    "number 3, by address": NOBODY,
    "number 3, fail-after": COAT,
    "number 2, fail-after": COAT,
    "number 1, without an end": NOBODY,
    **{f"number 1, {each}": NOBODY for each in ("packed", "elsewhere", "in a header")},
    "number 2 in a winter coat": COAT,
    "number 3 in a winter coat": COAT,
    "number 4 in swimwear": {**SWIMWEAR, "minor": "n/a"},
    "number 2 in something else": BEYOND,
}
PICTURES = {
    shape(1): AS_BEFORE,
    shape(2): AS_BEFORE,
    shape(3): MORE,
    shape(4): {**AS_BEFORE, "person": "yes", "minor": "n/a"},
    PORTRAIT_PICTURE: PORTRAIT,
}


@pytest.fixture
def gate(platform: Platform) -> str:
    return guardrail(platform, PROMPTS, PICTURES)


def edit(proxy: Proxy, prompt: str, picture: bytes, **headers: str) -> Answer:
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    body = json.dumps({"model": "shapes-1", "prompt": prompt, "images": [{"image_url": url}]}).encode()
    return send(f"{proxy.url}/images/edits", body, **headers)


def of_attempt(platform: Platform, attempt: str) -> list[dict[str, Any]]:
    return [each for each in platform.events() if each.get("attempt_id") == attempt]


def kinds(platform: Platform, attempt: str) -> list[str]:
    return [each["event"] for each in of_attempt(platform, attempt)]


def test_what_is_allowed_is_decided_twice_and_delivered(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("a square, number 1")
    assert (answer.status, answer.picture) == (200, shape(1))
    proxy.end()
    told = of_attempt(platform, answer.record)
    assert [each["event"] for each in told][:2] == ["requested", "decided"]
    assert {each["event"] for each in told[2:]} == {"completed", "decided", "delivered"}
    first, second = (each for each in told if each["event"] == "decided")
    assert (first["stage"], second["stage"]) == ("input", "output")
    assert first["decision"] == second["decision"] == answer.headers["X-Scelle-Decision"] == "allow"
    bundle = answer.headers["X-Scelle-Bundle"]
    assert first["bundle_digest"] == second["bundle_digest"] == bundle
    assert (
        json.loads((platform.ai / "policies" / f"bundle-{bundle}.json").read_bytes())["policy"]["id"]
        == "default"
    )
    rolled = next(each for each in platform.events() if each["event"] == "policy.rolled_out")
    assert rolled["bundle_digest"] == bundle


def test_what_is_blocked_never_reaches_the_generator(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    client = openai.OpenAI(base_url=proxy.url, api_key="k", max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.edit(model="shapes-1", image=PORTRAIT_PICTURE, prompt="number 2 in something else")
    assert refused.value.code == "moderation_blocked"
    assert refused.value.response.headers["X-Scelle-Decision"] == "block"
    attempt = refused.value.response.headers["X-Scelle-Record"]
    assert kinds(platform, attempt) == ["requested", "decided", "refused"]
    assert platform.generator_log("call") == []
    decided, last = of_attempt(platform, attempt)[1:]
    assert decided["record"]["verdict"] == decided["record"]["action_enforced"] == "block"
    assert {"R020", "R030"} <= set(decided["record"]["rules_fired"])
    assert last["reason"] == f"gate-{decided['record']['deciding_rule']}"
    assert proxy.end()["outcomes"] == {"refused": 1}


def test_an_output_that_shows_more_is_recorded_and_kept_back(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    good = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE)
    assert (good.status, good.picture) == (200, shape(2))
    answer = edit(proxy, "number 3 in a winter coat", PORTRAIT_PICTURE)
    assert (answer.status, answer.headers["X-Scelle-Decision"]) == (400, "withhold")
    proxy.end()
    told = of_attempt(platform, answer.record)
    assert sorted(each["event"] for each in told) == ["completed", "decided", "decided", "requested"]
    completed = next(each for each in told if each["event"] == "completed")
    assert platform.content(completed["outputs"][0]["sha256"]) == shape(3)
    assert completed["decision"] == "withhold"
    platform.run("verify")


def test_a_stream_ends_at_the_first_output_that_is_kept_back(platform: Platform, gate: str) -> None:
    assign(platform.folder / "values.json", PROMPTS, {**PICTURES, shape(10): AS_BEFORE, shape(11): AS_BEFORE})
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("a square, number 1", stream=True)
    events = [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: ")]
    assert [each["type"] for each in events] == ["image_generation.partial_image", "image_generation.partial_image",
                                                 "image_generation.completed"]  # fmt: skip
    assign(platform.folder / "values.json", PROMPTS, {**PICTURES, shape(10): {**MORE, "person": "yes"}})
    proxy.end()
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("a square, number 1", stream=True)
    events = [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: ")]
    assert [each["type"] for each in events] == ["error"]
    assert events[0]["error"]["code"] == "moderation_blocked"
    proxy.end()
    told = of_attempt(platform, answer.record)
    assert "delivered" not in [each["event"] for each in told]
    assert next(each for each in told if each["event"] == "completed")["outputs"]


def test_a_detector_that_is_swapped_fails_closed(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    assert edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE).status == 200
    assign(platform.folder / "values.json", PROMPTS, {PORTRAIT_PICTURE: {**PORTRAIT, "person": "no"}})
    answer = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE)
    assert answer.status == 400
    decided = of_attempt(platform, answer.record)[1]
    assert "R080" in decided["record"]["rules_fired"]
    assert decided["why_down"] == {"stub": "other-files"}


def test_a_conversation_counts_as_a_whole_even_after_a_kill(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    first = send(
        f"{proxy.url}/images/generations",
        json.dumps({"model": "shapes-1", "prompt": "number 4 in swimwear"}).encode(),
        X_Scelle_Conversation="c-1",
    )
    assert (first.status, first.picture) == (200, shape(4))
    proxy.kill()
    for path in (platform.ai / "recorded" / ".derived").iterdir():
        path.unlink()
    proxy = platform.proxy("--gate", gate)
    by_picture = edit(proxy, "number 2 in a winter coat", shape(4))
    by_name = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE, X_Scelle_Conversation="c-1")
    alone = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE, X_Scelle_Conversation="c-2")
    proxy.end()
    assert (by_picture.status, by_name.status, alone.status) == (400, 400, 200)
    for each in (by_picture, by_name):
        record = of_attempt(platform, each.record)[1]["record"]
        assert "R090" in record["rules_fired"]
    again = platform.json("preserve", "o-1")["sources"]["ai"]
    assert (again["new"], again["failed"]) == (0, 0)  # nothing derived is sealed


def test_observed_decisions_are_recorded_and_not_enforced(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate, "--observe")
    answer = edit(proxy, "number 2 in something else", PORTRAIT_PICTURE)
    assert (answer.status, answer.picture) == (200, shape(2))
    proxy.end()
    decided = [each for each in of_attempt(platform, answer.record) if each["event"] == "decided"]
    assert [(each["stage"], each["decision"]) for each in decided] == [
        ("input", "block"),
        ("output", "allow"),
    ]
    assert decided[0]["record"]["action_enforced"] == "allow"


def test_a_policy_that_does_not_hold_serves_nothing(platform: Platform, gate: str) -> None:
    policy = platform.folder / "policy.yaml"
    policy.write_text("format: scelle-policy/1\n")
    path = Path(gate)
    path.write_text(path.read_text() + "policy: policy.yaml\n")
    listen = ("--listen", "127.0.0.1:0", "--surface", "web", "--order", "o-1")
    platform.run("record", "proxy", "--upstream", platform.upstream, *listen, "--gate", gate, code=2)
    assert not (platform.ai / "recorded").exists()


@pytest.mark.parametrize("beside", ["address", "preview", "thumbnail", "link"])
def test_what_is_no_output_that_is_understood_goes_to_nobody(
    platform: Platform, gate: str, beside: str
) -> None:
    assign(platform.folder / "values.json", PROMPTS, {**PICTURES, shape(2): {**MORE, "person": "yes"}})
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate(f"number 1, and a {beside} beside")
    assert (answer.status, answer.headers["X-Scelle-Decision"]) == (400, "withhold")
    completed = next(each for each in of_attempt(platform, answer.record) if each["event"] == "completed")
    if beside == "address":
        assert platform.content(completed["outputs"][1]["sha256"]) == shape(2)
    else:
        assert completed["problem"] == "more-than-outputs"
        assert beside.encode() in platform.content(completed["response"]["sha256"])


def test_the_last_event_of_a_stream_is_decided_though_it_has_no_end(platform: Platform, gate: str) -> None:
    known = {**PICTURES, shape(10): AS_BEFORE, shape(11): AS_BEFORE, shape(1): {**MORE, "person": "yes"}}
    assign(platform.folder / "values.json", PROMPTS, known)
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("number 1, without an end", stream=True)
    assert base64.b64encode(shape(11)) in answer.body
    assert base64.b64encode(shape(1)) not in answer.body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "prompt": "number 2 in something else", "prompt": "a square, number 1"}',
        b'{"model": "m", "prompt": "a square, number 1", "images": [{"file_id": "file-1"}]}',
        b'{"model": "m", "prompt": ["a square, number 1"]}',
        b"prompt=a+square",
    ],
)
def test_a_request_that_two_readers_may_read_differently_is_refused(
    platform: Platform, gate: str, body: bytes
) -> None:
    proxy = platform.proxy("--gate", gate)
    assert send(f"{proxy.url}/images/generations", body).status == 400
    assert platform.generator_log("call") == []


def test_a_picture_in_an_answer_that_failed_is_decided_too(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    kept_back = edit(proxy, "number 3, fail-after", PORTRAIT_PICTURE)
    assert (kept_back.status, kept_back.headers["X-Scelle-Decision"]) == (400, "withhold")
    passed = edit(proxy, "number 2, fail-after", PORTRAIT_PICTURE)
    assert (passed.status, passed.headers["X-Scelle-Decision"]) == (500, "allow")
    for each in (kept_back, passed):
        assert sorted(kinds(platform, each.record)) == ["decided", "decided", "failed", "requested"]


def test_an_output_of_a_stream_that_is_an_address_is_fetched_and_decided(
    platform: Platform, gate: str
) -> None:
    calm = {shape(number): AS_BEFORE for number in (30, 31)}
    assign(
        platform.folder / "values.json", PROMPTS, {**PICTURES, **calm, shape(3): {**MORE, "person": "yes"}}
    )
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("number 3, by address", stream=True)
    assert base64.b64encode(shape(31)) in answer.body
    assert b"/made/3.png" not in answer.body
    assert b"moderation_blocked" in answer.body
    completed = next(each for each in of_attempt(platform, answer.record) if each["event"] == "completed")
    assert platform.content(completed["outputs"][0]["sha256"]) == shape(3)


def test_what_only_the_platform_says_counts_where_it_may_say_it(platform: Platform, gate: str) -> None:
    path = Path(gate)
    assign(
        platform.folder / "values.json",
        {"number 2 in a winter coat": {"level": "L1", "language": "supported"}},
        PICTURES,
    )
    post = {"X_Scelle_Factors": "third_party_post=yes, owner_control=allow, named=no, nonsense"}
    proxy = platform.proxy("--gate", gate)
    assert edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE, **post).status == 400  # nobody asked it
    proxy.end()
    path.write_text(path.read_text() + "platform_says: [third_party_post, owner_control, named]\n")
    proxy = platform.proxy("--gate", gate)
    allowed = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE, **post)
    denied = {"X_Scelle_Factors": "third_party_post=yes, owner_control=deny, named=no"}
    refused = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE, **denied)
    unsaid = edit(proxy, "number 2 in a winter coat", PORTRAIT_PICTURE)
    assert (allowed.status, refused.status, unsaid.status) == (200, 400, 400)
    assert of_attempt(platform, refused.record)[1]["record"]["deciding_rule"] == "R050"


def test_a_consent_for_this_picture_and_requester_allows_what_it_names(platform: Platform, gate: str) -> None:
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from scelle.safeguards.gate.consent import Consent, issue

    key = Ed25519PrivateKey.generate()
    path, withdrawn = Path(gate), platform.folder / "withdrawn.txt"
    withdrawn.write_text("")
    public = key.public_key().public_bytes_raw().hex()
    path.write_text(
        path.read_text() + f"consents:\n  issuers: {{flow: '{public}'}}\n  withdrawn: withdrawn.txt\n"
    )
    now = int(datetime.now(UTC).timestamp())
    picture = sha256(PORTRAIT_PICTURE).hexdigest()
    token = issue(Consent("c-1", "flow", picture, "L2", "u-1", now - 60, now + 3600, all_adults=True), key)
    values = {"number 2 in swimwear": SWIMWEAR}
    assign(platform.folder / "values.json", values, {**PICTURES, shape(2): {**AS_BEFORE, "minor": "unknown"}})
    proxy = platform.proxy("--gate", gate)

    def ask(account: str, *tokens: str) -> int:
        said = {"X_Scelle_Account": account, "X_Scelle_Consent": ", ".join(tokens)}
        return edit(proxy, "number 2 in swimwear", PORTRAIT_PICTURE, **said).status

    assert (ask("u-1", token), ask("u-2", token), ask("u-1"), ask("u-1", token[:-4] + "AAAA")) == (
        200,
        400,
        400,
        400,
    )
    withdrawn.write_text("c-1\n")
    time.sleep(5.5)  # so often the list is read
    assert ask("u-1", token) == 400


def large(number: int, size_bytes: int) -> bytes:
    """Draw a picture that is followed by so many bytes of nothing: what comes behind it is kept, and never unpacked."""
    return shape(number) + bytes(size_bytes)


def test_sixteen_references_and_one_of_25_megabytes_are_all_looked_at(platform: Platform, gate: str) -> None:
    prompt = "number 2 in a winter coat"
    pictures = [shape(300 + number) for number in range(15)] + [large(315, 25 << 20)]
    assign(platform.folder / "values.json", PROMPTS, {**PICTURES, **dict.fromkeys(pictures, PORTRAIT)})
    proxy = platform.proxy("--gate", gate)
    client = openai.OpenAI(base_url=proxy.url, api_key="k", max_retries=0)
    made = client.images.edit(model="shapes-1", image=pictures, prompt=prompt)
    assert made.data is not None
    attempt = platform.generator_log("call")[0]
    requested, decided = of_attempt(platform, attempt)[:2]
    digests = [sha256(each).hexdigest() for each in pictures]
    assert (requested["op"], [each["sha256"] for each in requested["references"]]) == ("compose", digests)
    assert decided["inputs"] == [sha256(prompt.encode()).hexdigest(), *digests]
    assert platform.content(digests[-1]) == pictures[-1]
    unknown = [*pictures[:-1], large(316, 1 << 20)]  # one that no list and no detector knows
    with pytest.raises(openai.BadRequestError):
        client.images.edit(model="shapes-1", image=unknown, prompt="number 2 in something else")
    assert platform.generator_log("call") == [attempt]


@pytest.mark.parametrize("how", ["packed", "elsewhere"])
def test_an_answer_that_nobody_can_look_at_goes_to_nobody(platform: Platform, gate: str, how: str) -> None:
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate(f"number 1, {how}")
    assert (answer.status, answer.json["error"]["code"]) == (502, "answer-not-plain")
    assert kinds(platform, answer.record) == ["requested", "decided", "failed"]


def test_headers_of_an_answer_go_on_where_they_are_known_and_short(platform: Platform, gate: str) -> None:
    proxy = platform.proxy("--gate", gate)
    answer = proxy.generate("number 1, in a header")
    assert (answer.status, answer.headers["OpenAI-Model"]) == (200, "m")
    assert "X-Image" not in answer.headers
    assert "X-Request-Id" not in answer.headers


def test_a_conversation_goes_on_on_another_surface_whose_lineage_was_lost(
    platform: Platform, gate: str
) -> None:
    web = platform.proxy("--gate", gate)
    body = json.dumps({"model": "shapes-1", "prompt": "number 4 in swimwear"}).encode()
    assert send(f"{web.url}/images/generations", body, X_Scelle_Conversation="c-1").status == 200
    web.end()
    for path in (platform.ai / "recorded" / ".derived").iterdir():
        path.unlink()
    app = platform.proxy("--gate", gate, surface="app")
    again = edit(app, "number 2 in a winter coat", PORTRAIT_PICTURE, X_Scelle_Conversation="c-1")
    assert again.status == 400


def test_what_a_stream_delivered_before_it_was_cut_has_its_past(platform: Platform, gate: str) -> None:
    values = {**PROMPTS, "number 2 in swimwear, half": {**SWIMWEAR, "minor": "n/a"}}
    partial = {**AS_BEFORE, "person": "yes", "minor": "n/a"}
    assign(platform.folder / "values.json", values, {**PICTURES, shape(20): partial, shape(21): partial})
    proxy = platform.proxy("--gate", gate)
    with pytest.raises((OSError, ValueError, HTTPException)):
        proxy.generate("number 2 in swimwear, half", stream=True)
    delivered = [each for each in platform.events() if each["event"] == "delivered"]
    assert delivered[0]["outputs"][0]["sha256"] == sha256(shape(20)).hexdigest()
    answer = edit(proxy, "number 2 in a winter coat", shape(20))
    assert answer.status == 400
    assert "R090" in of_attempt(platform, answer.record)[1]["record"]["rules_fired"]
