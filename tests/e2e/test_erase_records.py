"""Erase single records by commands: letter, consent, refusals, what every reader says afterwards, the next pass."""

import json
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.bootstrap import KeyChoice, opened
from scelle.errors import ContentMissing, PackDamaged
from scelle.formats.canonical_json import canonical_json
from scelle.formats.entries import Segment, authority_sig
from scelle.formats.index import index_leaf
from scelle.formats.notes import COSIGNATURE_V1, make_vkey
from scelle.merkle.proofs import root_from_inclusion
from scelle.verify.scelle_verify import main as scelle_verify
from tests.e2e.conftest import ORDER, Answer, Platform

AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
AUTHORITY_KEY = make_vkey("authority.example/seal", COSIGNATURE_V1, AUTHORITY.public_key().public_bytes_raw())
SECRET = b"of somebody who is not meant\n"
ALL = 'native contains "t"'


@pytest.fixture
def sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Four documents sealed under an order that names its authority's key; requests need no cooling off."""
    (tmp_path / "keys").mkdir()
    monkeypatch.setenv("SCELLE_KEY_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("SCELLE_VAULT", str(tmp_path / "vault"))
    made = Platform(tmp_path, capsys)
    for name in ("a.txt", "b.txt", "c.txt"):
        made.document(name, f"document {name}\n".encode())
    made.document("secret.txt", SECRET)
    made("init", made.vault, "--host", "platform.example", "--cooling-off", "0s", "--json")
    made("source", "add", "docs", f"files://{made.docs}")
    made("order", "add", made.order_file(authority_key=f'"{AUTHORITY_KEY.text()}"'))
    made("preserve", ORDER)
    return made


def item(platform: Platform, name: str) -> str:
    (found,) = platform("find", ORDER, f'native = "{name}"', "--json").json["items"]
    return str(found["id"])


def count(platform: Platform, query: str) -> int:
    return int(platform("find", ORDER, query, "--json").json["count"])


def letter(platform: Platform) -> Path:
    path = platform.root / "letter.txt"
    path.write_text("we ask that this record be destroyed\n")
    return path


def ask(platform: Platform, *items: str, code: int = 0) -> Answer:
    return platform(
        "erase-records", ORDER, *items, "--basis", "letter", "--ground", "court-order",
        "--document", letter(platform), "--json", code=code,
    )  # fmt: skip


def erase(platform: Platform, *items: str) -> dict[str, Any]:
    return platform("request", "approve", ask(platform, *items).json["request"], "--json").json


def produce(platform: Platform, name: str) -> dict[str, Any]:
    return platform("produce", ORDER, "--source", "docs", "--to", platform.root / name, "--json").json


def is_valid(platform: Platform, name: str) -> bool:
    trust = platform.root / "trust.json"
    return scelle_verify([str(platform.root / name), "--trust", str(trust), "--json"]) == 0


def native_of(platform: Platform, seq: int) -> str:
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.ledger(ORDER)
        manifest = next(each for _, each in ledger.manifests() if each.source == "s0001")
        reader = ledger.segment(manifest)
        try:
            return reader.row(seq).split_values()[3][5:].decode()
        finally:
            reader.close()


def test_a_letter_and_a_second_confirmation_erase_a_record(sealed: Platform) -> None:
    sealed("order", "trust", ORDER, "--to", sealed.root / "trust.json")
    produce(sealed, "before.scelle")
    secret = item(sealed, "secret.txt")
    asked = ask(sealed, secret).json
    assert (asked["records"], asked["sealed_again"]) == (1, ["docs"])
    assert item(sealed, "secret.txt") == secret, "nothing is done before it is confirmed"
    done = sealed("request", "approve", asked["request"], "--json").json
    assert (done["state"], done["outcome"]["records"], done["outcome"]["contents"]) == ("executed", 1, 1)
    assert (count(sealed, 'native = "secret.txt"'), count(sealed, ALL)) == (0, 3)
    after = produce(sealed, "after.scelle")
    assert (after["hits"], after["produced"], after["erased"]) == (4, 3, 1)
    assert is_valid(sealed, "before.scelle")
    assert is_valid(sealed, "after.scelle")
    assert sealed("verify", "--json").json["findings"] == []
    with ZipFile(sealed.root / "after.scelle") as archive:
        assert not any(SECRET in archive.read(name) for name in archive.namelist())


def test_every_reader_knows_that_it_is_gone(sealed: Platform) -> None:
    secret = item(sealed, "secret.txt")
    (place,) = [each for each in range(4) if native_of(sealed, each) == "secret.txt"]
    erase(sealed, f"s0001:{place}")
    refused = sealed("disclose", ORDER, f"s0001:{place}", "--to", sealed.root / "x.proof", code=2)
    assert "was erased" in refused.err
    sealed("disclose", ORDER, secret, "--to", sealed.root / "x.proof", code=2)
    for other in set(range(4)) - {place}:  # the neighbours prove what they proved
        sealed("disclose", ORDER, f"s0001:{other}", "--to", sealed.root / f"{other}.proof")
    assert "was erased before" in ask(sealed, f"s0001:{place}", code=2).err
    stream = sealed("audit-stream", ORDER, "--to", sealed.root / "s.stream", "--json").json
    assert stream["erased"] == 1
    with (
        opened(sealed.vault, KeyChoice(sealed.root / "keys"), writing=True) as session,
        pytest.raises((ContentMissing, PackDamaged)),
    ):
        session.packs.read_bytes(sha256(SECRET).digest())
    sealed("rebuild-catalog")
    assert sealed("verify", "--json").json["findings"] == []
    assert count(sealed, ALL) == 3


def test_what_is_still_offered_is_sealed_again_and_what_is_gone_is_not(sealed: Platform) -> None:
    """The catalog does not take an erased item for sealed; whether it comes back is the clause's business."""
    erase(sealed, item(sealed, "secret.txt"), item(sealed, "b.txt"))
    (sealed.docs / "secret.txt").unlink()
    sealed("preserve", ORDER)
    assert (count(sealed, 'native = "b.txt"'), count(sealed, 'native = "secret.txt"')) == (1, 0)
    sealed("rebuild-catalog")
    sealed("preserve", ORDER)
    assert count(sealed, ALL) == 3
    assert sealed("verify", "--json").json["findings"] == []


def test_the_authority_consents_to_exactly_what_it_was_shown(sealed: Platform) -> None:
    secret, to, answer = item(sealed, "secret.txt"), sealed.root / "consent.json", sealed.root / "answer.json"
    sealed("consent-request", ORDER, secret, "--ground", "third-party", "--to", to)
    document = json.loads(to.read_bytes())
    (shown,) = document["entries"]
    check_as_authority(sealed, document)
    assert not any(secret in to.read_bytes() for secret in (SECRET, b"secret.txt"))

    def ask_by_consent(*items: str, ground: str = "third-party", code: int = 0) -> Answer:
        return sealed(
            "erase-records", ORDER, *items, "--basis", "consent", "--ground", ground, "--consent", answer, "--json",
            code=code,
        )  # fmt: skip

    answer.write_text("{}")
    assert "scelle/consent-answer/v1" in ask_by_consent(secret, code=2).err
    write_answer(answer, shown, AUTHORITY.sign(b"something else"))
    assert "not the authority's" in ask_by_consent(secret, code=2).err
    write_answer(answer, shown, AUTHORITY.sign(b64decode(shown["message"])))
    assert "signed no such tombstone" in ask_by_consent(secret, item(sealed, "a.txt"), code=2).err
    assert "signed no such tombstone" in ask_by_consent(secret, ground="other", code=2).err
    request = ask_by_consent(secret).json["request"]
    produce(sealed, "between.scelle")  # the log moves on before it is confirmed
    assert sealed("request", "approve", request, "--json").json["outcome"]["records"] == 1
    sealed("order", "trust", ORDER, "--to", sealed.root / "trust.json")
    assert produce(sealed, "after.scelle")["erased"] == 1
    assert is_valid(sealed, "after.scelle")


def check_as_authority(platform: Platform, request: dict[str, Any]) -> None:
    """Do what docs/erasing.md asks of the authority's own tool."""
    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.ledger(ORDER)
    for each in request["entries"]:
        manifest = ledger.entries[int(each["entry"].split("\nsegment ")[1].split(" ")[0])]
        assert isinstance(manifest, Segment)
        rc, salt = bytes.fromhex(each["rc"]), bytes.fromhex(each["salt"])
        path = [bytes.fromhex(hashed) for hashed in each["path"]]
        assert root_from_inclusion(manifest.records, each["position"], rc, path) == manifest.record_root
        assert len(each["index"]) == len(each["dimensions"])
        for number, entry in enumerate(each["index"], 1):
            leaf = index_leaf(number, bytes.fromhex(entry["tag"]), salt, each["time"], each["seq"], rc)
            path = [bytes.fromhex(hashed) for hashed in entry["path"]]
            root = root_from_inclusion(manifest.index_size, entry["position"], leaf, path)
            assert root == manifest.index_root
        lines = each["entry"].removesuffix("authority-sig -\n")
        head = f"scelle/consent/v1\n{request['origin']}\n{request['genesis']}\n"
        assert b64decode(each["message"]) == (head + lines).encode()


def write_answer(path: Path, shown: dict[str, Any], signature: bytes) -> None:
    signed = b64encode(authority_sig(AUTHORITY_KEY, signature)).decode()
    signatures = [{"authority-sig": signed, "entry": shown["entry"]}]
    path.write_bytes(canonical_json({"format": "scelle/consent-answer/v1", "signatures": signatures}) + b"\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s0001:0", "--basis", "consent", "--ground", "x"], "--consent FILE"),
        (["s0001:0", "--basis", "letter", "--ground", "x"], "--document FILE"),
        (
            ["s0001:99", "--basis", "letter", "--ground", "x", "--document", "LETTER"],
            "no sealed record s0001:99",
        ),
        (["nonsense", "--basis", "letter", "--ground", "x", "--document", "LETTER"], "neither an item's id"),
        (["s0001:0", "--basis", "whim", "--ground", "x"], "whim"),
        (["s0001:0", "--basis", "letter", "--ground", "No Code", "--document", "LETTER"], "No Code"),
        (["scelle.order:0", "--basis", "letter", "--ground", "x", "--document", "LETTER"], "papers and acts"),
        (["s0001:0", "--basis", "letter", "--ground", "x", "--document", "missing.pdf"], "missing.pdf"),
    ],
)
def test_what_cannot_be_meant_is_refused(sealed: Platform, arguments: list[str], said: str) -> None:
    given = [str(letter(sealed)) if each == "LETTER" else each for each in arguments]
    assert said in sealed("erase-records", ORDER, *given, code=2).err
    assert sealed("request", "list", "--json").json["requests"] == []
    assert count(sealed, ALL) == 4


def test_an_order_without_an_authority_key_refuses_while_it_lives(platform: Platform) -> None:
    platform("order", "add", platform.order_file())
    platform("preserve", ORDER)
    assert "names no key of its authority" in ask(platform, "s0001:0", code=2).err
