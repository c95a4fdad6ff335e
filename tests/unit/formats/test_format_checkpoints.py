import pytest

from scelle.errors import FormatError
from scelle.formats.checkpoints import (
    Checkpoint,
    cosignature_v1_message,
    mldsa_message,
    parse_checkpoint_text,
    parse_timed_payload,
    timed_payload,
)

ORIGIN = "platform.example/po/o1"
ROOT = bytes(range(32))
TEXT = b"platform.example/po/o1\n8\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


def test_checkpoint_reads_back() -> None:
    assert Checkpoint(ORIGIN, 8, ROOT).text() == TEXT
    assert parse_checkpoint_text(TEXT) == Checkpoint(ORIGIN, 8, ROOT)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        TEXT[:-1],
        TEXT + b"\n",
        TEXT + b"extension\n",
        b"\n" + TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"\n8\n", b"\n08\n"),
        TEXT.replace(b"\n8\n", b"\n-8\n"),
        TEXT.replace(b"\n8\n", b"\n+8\n"),
        TEXT.replace(b"\n8\n", b"\n8 \n"),
        TEXT.replace(b"\n8\n", b"\n9223372036854775808\n"),
        TEXT.replace(b"Hh8=", b"Hh8"),
        TEXT.replace(b"Hh8=", b"Hh9="),
        TEXT.replace(b"AAEC", b"", 1),
        TEXT.replace(b"/po/", b"/"),
        TEXT.replace(b"platform", b"Platform"),
        TEXT.replace(b"o1", "ö1".encode()),
    ],
    ids=ascii,
)
def test_other_spellings_of_a_checkpoint_are_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint_text(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("platform.example", 8, ROOT),
        Checkpoint(ORIGIN, -1, ROOT),
        Checkpoint(ORIGIN, 2**63, ROOT),
        Checkpoint(ORIGIN, 8, ROOT[:31]),
        Checkpoint(ORIGIN, 8, ROOT + b"\0"),
    ],
    ids=str,
)
def test_checkpoint_without_a_form_is_not_written(checkpoint: Checkpoint) -> None:
    with pytest.raises(FormatError):
        checkpoint.text()


def test_mldsa_message_is_the_page_written_out() -> None:
    expected = (
        b"subtree/v1\n\0" + b"\x03key" + (7).to_bytes(8, "big") + bytes((len(ORIGIN),)) + ORIGIN.encode()
        + bytes(8) + (8).to_bytes(8, "big") + ROOT
    )  # fmt: skip
    assert mldsa_message("key", ORIGIN, 8, ROOT, 7) == expected


@pytest.mark.parametrize(
    ("name", "size", "root", "time"),
    [
        ("k" * 256, 8, ROOT, 7),
        ("é" * 128, 8, ROOT, 7),
        ("k", -1, ROOT, 7),
        ("k", 2**63, ROOT, 7),
        ("k", 8, ROOT[:31], 7),
        ("k", 8, ROOT, -1),
        ("k", 8, ROOT, 2**63),
    ],
)
def test_mldsa_message_without_a_form_is_refused(name: str, size: int, root: bytes, time: int) -> None:
    with pytest.raises(FormatError):
        mldsa_message(name, ORIGIN, size, root, time)


def test_cosignature_message() -> None:
    assert cosignature_v1_message(TEXT, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + TEXT
    with pytest.raises(FormatError):
        cosignature_v1_message(TEXT, -1)


def test_timed_payload_reads_back() -> None:
    payload = timed_payload(7, bytes(64))
    assert payload == bytes(7) + b"\7" + bytes(64)
    assert parse_timed_payload(payload, 64) == (7, bytes(64))


@pytest.mark.parametrize("payload", [b"", bytes(71), bytes(73), b"\x80" + bytes(71)], ids=len)
def test_timed_payload_of_another_shape_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        parse_timed_payload(payload, 64)
