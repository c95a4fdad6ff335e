"""A guardrail is read strictly: what is wrong is named with its line, and all that decides is in the digest."""

import os
from pathlib import Path

import pytest

from scelle.errors import DetectorWrong, InputError, PolicyWrong
from scelle.safeguards.gate import prove
from scelle.safeguards.guardrail import Setup, load_setup
from scelle.safeguards.guardrail.replay import bundle_of

HEAD = "format: scelle-guardrail/1\n"
STUB = "detectors:\n  - {use: stub, path: values.json}\n"
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text('{"format": "scelle-stub/1", "inputs": {}}')
    (tmp_path / "list.txt").write_text("scelle-hashes/1 own-prior-block\n")


def load(folder: Path, text: str) -> Setup:
    path = folder / "guardrail.yaml"
    path.write_text(text)
    return load_setup(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("detectors: []\n", ["format is missing"]),
        (HEAD, ["detectors is missing"]),
        (HEAD + "detectors: []\n", ["at least one detector"]),
        (HEAD + STUB + "policies: x\n", ["guardrail.yaml:4", "'policies' means nothing here"]),
        (HEAD + "detectors:\n  - {path: values.json}\n", ["guardrail.yaml:3", "use is missing"]),
        (HEAD + "detectors:\n  - {use: tekst}\n", ["'tekst' is neither text"]),
        (HEAD + STUB + "deadline_ms: soon\n", ["'soon' must be a whole number"]),
        (HEAD + STUB + "deadline_ms: 999999\n", ["at most 600000"]),
        (HEAD + STUB + "at_once: 0\n", ["'0' must be a whole number from 1 on"]),
        (HEAD + STUB + "platform_says: [consent]\n", ["'consent' must be one of"]),
        (HEAD + STUB + "consents: {issuers: {a: xyz}}\n", ["an Ed25519 public key"]),
        (HEAD + STUB + "policy: nowhere.yaml\n", ["nowhere.yaml cannot be read"]),
        (HEAD + "detectors:\n  - {use: hashes, lists: list.txt}\n", ["guardrail.yaml:3", "a list of files"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(PolicyWrong) as refused:
        load(tmp_path, text)
    for each in words:
        assert each in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ("{use: stub, path: nowhere.json}", ["guardrail.yaml:3", "nowhere.json", "No such file"]),
        ("{use: stub, paths: values.json}", ["guardrail.yaml:3", "its options are path"]),
        (
            "{use: hashes, lists: [values.json]}",
            ["guardrail.yaml:3", "the first line must be scelle-hashes/1"],
        ),
        ("{use: text, folder: .}", ["guardrail.yaml:3", "list.txt"]),
        ("{use: text, folder: nowhere}", ["guardrail.yaml:3", "there is no lexicon"]),
        ("{use: nobody.has.this}", ["guardrail.yaml:3", "No module named"]),
    ],
)
def test_a_detector_that_cannot_be_built_is_named(tmp_path: Path, detector: str, words: list[str]) -> None:
    with pytest.raises(DetectorWrong) as refused:
        load(tmp_path, f"{HEAD}detectors:\n  - {detector}\n")
    for each in words:
        assert each in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pipe_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        load_setup(tmp_path / "pipe")


def test_a_detector_stands_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyWrong, match="stands twice"):
        load(tmp_path, HEAD + STUB + "  - {use: stub, path: values.json}\n")


def test_everything_that_another_decision_could_come_from_is_in_the_digest(tmp_path: Path) -> None:
    plain = load(tmp_path, HEAD + STUB).bundle.digest
    others = [
        "platform_says: [named]\n",
        "deadline_ms: 1\n",
        f"consents: {{issuers: {{flow: '{KEY}'}}}}\n",
        "  - {use: hashes, lists: [list.txt]}\n",
    ]
    digests = {load(tmp_path, HEAD + STUB + each).bundle.digest for each in others}
    (tmp_path / "values.json").write_text('{"format": "scelle-stub/1", "inputs": {} }')
    digests.add(load(tmp_path, HEAD + STUB).bundle.digest)
    assert plain not in digests
    assert len(digests) == len(others) + 1
    assert (
        load(tmp_path, HEAD + "at_once: 3\n" + STUB).bundle.digest in digests
    )  # how many at once decides nothing


def test_a_bundle_is_built_again_from_its_document_and_its_policy(tmp_path: Path) -> None:
    setup = load(
        tmp_path, HEAD + "platform_says: [named]\n" + STUB + "  - {use: hashes, lists: [list.txt]}\n"
    )
    again = bundle_of(setup.bundle.to_json(), setup.policy_bytes)
    assert again.digest == setup.bundle.digest
    assert prove(again).holds
    with pytest.raises(PolicyWrong, match="the sealed bundle is none"):
        bundle_of({"detectors": 5}, setup.policy_bytes)
