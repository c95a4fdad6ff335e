"""Receipts of a recorder: signed at once, and judged later by what the order has sealed."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import time_ns
from typing import Any

import pytest
from tests.integration.recorded_platform import Platform

from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.receipts import receipt_signer, write_certificate
from scelle.bootstrap.recording import recording_place
from scelle.formats.notes import parse_note
from scelle.formats.receipts import parse_receipt, parse_receipt_key
from scelle.safeguards.recorder import Spool
from scelle.safeguards.recorder.model import Position
from scelle.safeguards.recorder.receipts import ReceiptSigner


class Recorder:
    """A surface that is recorded in this process, and what signs receipts for it."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        key = KeyChoice(key_file=platform.folder / "keys" / "scelle" / "keys")
        with opened(platform.folder / "vault", key, writing=True) as session:
            place = recording_place(session, "o-1", None, "web")
            self.signer, self.certificate = receipt_signer(session, place, "web")
        self.root = place.root

    def show(self) -> None:
        """Let somebody else see the log."""
        notary = self.platform.folder / "notary"
        notary.mkdir()
        self.platform.run("order", "escrow", "o-1", "--to", str(notary))

    def record(self, *prompts: str) -> list[Position]:
        with Spool(self.root, "web") as spool:
            return [
                spool.put({"event": "requested", "attempt_id": prompt, "prompt": prompt}).result()
                for prompt in prompts
            ]

    def check(self, *receipts: str, code: int = 0, more: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        path = self.platform.folder / "receipts.txt"
        path.write_text("".join(f"{each}\n" for each in receipts))
        found = self.platform.json("promise", "check", "o-1", "--receipts", str(path), *more, code=code)
        return list(found["receipts"])


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    platform = Platform(tmp_path)
    yield Recorder(platform)
    platform.stop()


def now_us() -> int:
    return time_ns() // 1000


def states(found: list[dict[str, Any]]) -> list[str]:
    return [each["state"] for each in found]


def test_a_receipt_is_kept_once_its_event_is_sealed_and_shown(recorder: Recorder) -> None:
    first, second = recorder.record("a red square", "a blue square")
    receipts = [recorder.signer.sign(each, now_us()) for each in (first, second)]
    assert states(recorder.check(*receipts)) == ["waiting", "waiting"]
    recorder.platform.json("preserve", "o-1")
    (waits,) = recorder.check(receipts[0])
    assert waits["detail"].endswith("no checkpoint with it was attested")
    recorder.show()
    found = recorder.check(*receipts)
    assert states(found) == ["kept", "kept"]
    assert [(each["seq"], each["sha256"]) for each in found] == [
        (first.seq, first.hash),
        (second.seq, second.hash),
    ]
    recorder.platform.run("verify")


def test_a_receipt_that_was_not_kept_in_time_is_late_or_broken(recorder: Recorder) -> None:
    (sealed,) = recorder.record("a red square")
    receipt = replace(recorder.signer, within_us=1).sign(sealed, now_us())
    recorder.platform.json("preserve", "o-1")
    assert states(recorder.check(receipt)) == ["undecided"]
    (left_out,) = recorder.record("a blue square")
    other = replace(recorder.signer, within_us=1).sign(left_out, now_us())
    assert states(recorder.check(other)) == ["undecided"]
    recorder.show()
    late, broken = recorder.check(receipt, other, code=1)
    assert (late["state"], broken["state"]) == ("late", "broken")
    assert "absent" in broken["detail"]


def test_an_event_that_was_rewritten_before_it_was_sealed_breaks_its_receipt(recorder: Recorder) -> None:
    kept, altered = recorder.record("a red square", "a blue square")
    receipts = [recorder.signer.sign(each, now_us()) for each in (kept, altered)]
    path = recorder.root / "recorded/web" / altered.file
    path.write_bytes(path.read_bytes().replace(b'"prompt":"a blue', b'"prompt":"a green'))
    recorder.platform.json("preserve", "o-1")
    recorder.show()
    first, second = recorder.check(*receipts, code=1)
    assert (first["state"], second["state"]) == ("kept", "broken")
    assert "another event is sealed under its number" in second["detail"]


def test_an_event_far_from_the_time_of_its_receipt_is_found(recorder: Recorder) -> None:
    (place,) = recorder.record("a red square")
    recorder.platform.json("preserve", "o-1")
    early = recorder.signer.sign(place, now_us() - 40 * 86_400_000_000)
    (found,) = recorder.check(early)
    assert found["detail"].startswith("sealed under entry")


def test_what_no_certified_key_signed_is_no_receipt(recorder: Recorder) -> None:
    (place,) = recorder.record("a red square")
    good = recorder.signer.sign(place, now_us())
    text = base64.b64decode(good)
    forged = ReceiptSigner.drawn(recorder.signer.key.name, 1).sign(place, now_us())
    flipped = base64.b64encode(text.replace(b"seq 2", b"seq 3")).decode()
    elsewhere = recorder.signer.sign(replace(place, surface="app"), now_us())
    cut = base64.b64encode(text[:-2]).decode()
    found = recorder.check(forged, flipped, elsewhere, cut, "no base64!", good, code=1)
    assert states(found) == ["invalid"] * 5 + ["waiting"]
    note = recorder.platform.folder / "note"
    note.write_bytes(text)
    assert (
        recorder.platform.json("promise", "check", "o-1", "--receipts", str(note))["receipts"][0]["seq"] == 2
    )
    recorder.platform.run("promise", "check", "o-1", "--receipts", str(note.with_name("none")), code=2)


def test_a_receipt_fits_a_header_and_names_no_order(recorder: Recorder) -> None:
    (place,) = recorder.record("a red square")
    value = recorder.signer.sign(place, 1_790_000_000_000_000)
    assert value.isascii()
    assert value.isprintable()
    assert len(value) < 1000
    note = base64.b64decode(value)
    assert b"o-1" not in note
    receipt = parse_receipt(parse_note(note).text)
    assert (receipt.surface, receipt.file, receipt.byte) == (place.surface, place.file, place.offset)
    assert receipt.deadline - receipt.received == 48 * 3600 * 1_000_000


def test_who_holds_a_certificate_needs_no_event_for_its_key(recorder: Recorder) -> None:
    """Whoever has the log's keys may leave an event out while nobody else has seen it; a certificate then tells."""
    (place,) = recorder.record("a red square")
    path = write_certificate(recorder.platform.folder, recorder.certificate)
    certified = parse_receipt_key(parse_note(path.read_bytes()).text)
    assert (certified.surface, certified.key) == ("web", recorder.signer.key)
    lost = ReceiptSigner.drawn("platform.example/recorder/web", 10**12)
    receipt = lost.sign(place, now_us())
    assert states(recorder.check(receipt, code=1)) == ["invalid"]
    key = KeyChoice(key_file=recorder.platform.folder / "keys" / "scelle" / "keys")
    with opened(recorder.platform.folder / "vault", key, writing=True) as session:
        note = session.order_writer("o-1").signer.sign_text(replace(certified, key=lost.key).text())
    held = write_certificate(recorder.platform.folder, note)
    assert states(recorder.check(receipt, more=("--receipt-key", str(held)))) == ["waiting"]
    held.write_bytes(note.replace(b"surface web", b"surface app"))
    recorder.platform.run("promise", "check", "o-1", "--receipt-key", str(held), code=2)


def test_the_log_says_which_keys_sign_receipts(recorder: Recorder) -> None:
    again = Recorder(recorder.platform)
    assert again.signer.key != recorder.signer.key
    receipts = [each.signer.sign(each.record("x")[0], now_us()) for each in (recorder, again)]
    assert states(recorder.check(*receipts)) == ["waiting", "waiting"]


def test_files_without_a_receipt_are_no_success(recorder: Recorder) -> None:
    path = recorder.platform.folder / "receipts.txt"
    path.write_text("\n")
    recorder.platform.run("promise", "check", "o-1", "--receipts", str(path), code=2)
