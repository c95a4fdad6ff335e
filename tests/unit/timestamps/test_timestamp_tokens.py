"""Stored tokens against texts and roots: what is accepted, and every way in which it is not."""

import os
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from tests.integration.tsa import NAME, POLICY, OpensslAuthority

from scelle.errors import FormatError, TimestampAnswerWrong, TimestampRefused, TimestampRootsWrong
from scelle.timestamps import tokens
from scelle.timestamps.der import (
    granted_response,
    stamped_time_us,
    status_of,
    token_of,
    with_sorted_certificates,
)
from scelle.timestamps.rfc3161 import build_query
from scelle.timestamps.tokens import check_response, printable, read_token, verify_token

TEXT = b"log.example.org/po/ec-2026-0108\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
OTHER_TEXT = TEXT.replace(b"\n3\n", b"\n4\n")
DIGEST = sha256(TEXT).digest()


@dataclass(frozen=True, slots=True)
class Stamped:
    """One real answer in every order of its three certificates that matters."""

    authority: OpensslAuthority
    nonce: int | None
    received: bytes
    sorted: bytes
    unsorted: bytes


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Stamped:
    authority = OpensslAuthority(tmp_path_factory.mktemp("tsa"))
    query = build_query(DIGEST)
    raw = authority.stamp(query.der)
    certificates = [authority.certificate_der(name) for name in ("tsa", "intermediate", "root")]
    certificates.sort(key=raw.index)
    start, size = raw.index(certificates[0]), sum(map(len, certificates))
    assert raw[start : start + size] == b"".join(certificates)

    def reordered(order: list[bytes]) -> bytes:
        return raw[:start] + b"".join(order) + raw[start + size :]

    ascending = sorted(certificates)
    return Stamped(authority, query.nonce, raw, reordered(ascending), reordered(ascending[::-1]))


@pytest.fixture
def no_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find_openssl", lambda: None)


def codes(report: tokens.TokenReport) -> list[str]:
    return [problem.code for problem in report.problems]


def test_a_sorted_token_is_checked_by_the_library(stamped: Stamped) -> None:
    report = verify_token(stamped.sorted, TEXT, stamped.authority.roots_pem)
    assert (report.checked, report.problems, report.is_valid) == ("library", (), True)
    assert (report.policy, report.tsa_name) == (POLICY, NAME)
    assert report.serial is not None


def test_the_library_still_refuses_unsorted_certificates(stamped: Stamped) -> None:
    """The reason for the detour: when this fails, the library has learned it and the detour can go."""
    with pytest.raises(FormatError, match="InvalidSetOrdering"):
        tokens._decoded(stamped.unsorted)


def test_an_unsorted_token_is_checked_by_openssl(stamped: Stamped) -> None:
    report = verify_token(stamped.unsorted, TEXT, stamped.authority.roots_pem)
    assert (report.checked, report.problems, report.is_valid) == ("openssl", (), True)
    assert (report.policy, report.tsa_name) == (POLICY, NAME)


@pytest.mark.usefixtures("no_openssl")
def test_without_openssl_the_library_checks_a_sorted_copy(stamped: Stamped) -> None:
    report = verify_token(stamped.unsorted, TEXT, stamped.authority.roots_pem)
    assert (report.checked, report.problems, report.is_valid) == ("library", (), True)


def test_sorting_certificates_changes_nothing_else(stamped: Stamped) -> None:
    assert with_sorted_certificates(token_of(stamped.unsorted)) == token_of(stamped.sorted)
    assert with_sorted_certificates(token_of(stamped.sorted)) == token_of(stamped.sorted)


def test_a_bare_token_is_as_good_as_a_response(stamped: Stamped) -> None:
    for raw in (stamped.sorted, stamped.unsorted):
        assert verify_token(token_of(raw), TEXT, stamped.authority.roots_pem).is_valid
        assert granted_response(token_of(raw))[-len(token_of(raw)) :] == token_of(raw)


def test_without_roots_only_the_text_is_compared(stamped: Stamped) -> None:
    report = verify_token(stamped.received, TEXT, None)
    assert (report.checked, report.problems, report.is_valid) == ("not checked", (), False)
    assert codes(verify_token(stamped.received, OTHER_TEXT, None)) == ["timestamps.another_text"]


@pytest.mark.parametrize("order", ["sorted", "unsorted"])
def test_a_token_over_another_text_is_named(stamped: Stamped, order: str) -> None:
    report = verify_token(getattr(stamped, order), OTHER_TEXT, stamped.authority.roots_pem)
    assert not report.is_valid
    assert codes(report)[0] == "timestamps.another_text"


@pytest.mark.parametrize("order", ["sorted", "unsorted"])
def test_an_untrusted_root_is_named(stamped: Stamped, order: str, tmp_path: Path) -> None:
    stranger = OpensslAuthority(tmp_path)
    report = verify_token(getattr(stamped, order), TEXT, stranger.roots_pem)
    assert not report.is_valid
    assert codes(report) == ["timestamps.not_verified"]
    assert report.checked in report.problems[0].detail


@pytest.mark.usefixtures("no_openssl")
def test_an_untrusted_root_is_named_without_openssl(stamped: Stamped, tmp_path: Path) -> None:
    stranger = OpensslAuthority(tmp_path)
    assert codes(verify_token(stamped.unsorted, TEXT, stranger.roots_pem)) == ["timestamps.not_verified"]


def test_one_good_root_among_others_is_enough(stamped: Stamped, tmp_path: Path) -> None:
    stranger = OpensslAuthority(tmp_path)
    roots = stranger.roots_pem + stamped.authority.roots_pem + stamped.authority.roots_pem
    for raw in (stamped.sorted, stamped.unsorted):
        assert verify_token(raw, TEXT, roots).is_valid


@pytest.mark.parametrize("order", ["sorted", "unsorted"])
@pytest.mark.parametrize("signer", [True, False])
def test_a_changed_signature_or_time_is_named(stamped: Stamped, order: str, signer: bool) -> None:
    raw = bytearray(getattr(stamped, order))
    if signer:
        raw[-1] ^= 1
    else:
        place = raw.index(b"\x18", raw.index(DIGEST))
        raw[place + 3] ^= 1  # 2026.. becomes 3026..
    report = verify_token(bytes(raw), TEXT, stamped.authority.roots_pem)
    assert codes(report) == ["timestamps.not_verified"]


@pytest.mark.usefixtures("no_openssl")
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_flipped_byte_is_a_report_and_no_exception(stamped: Stamped, mask: int) -> None:
    """What is not under the signature may change unseen (status, other certificates), the claims never."""
    honest = verify_token(stamped.sorted, TEXT, stamped.authority.roots_pem)
    for place in range(len(stamped.sorted)):
        raw = bytearray(stamped.sorted)
        raw[place] ^= mask
        report = verify_token(bytes(raw), TEXT, stamped.authority.roots_pem)
        assert not report.is_valid or report == honest


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x30", b"<html>please log in</html>", b"\x30\x03\x02\x01\x00", b"\x30\x80\x00\x00", bytes(64)],
)
@pytest.mark.parametrize("roots", [True, False])
def test_what_is_no_token_is_named(stamped: Stamped, raw: bytes, roots: bool) -> None:
    report = verify_token(raw, TEXT, stamped.authority.roots_pem if roots else None)
    assert not report.is_valid
    assert codes(report)[0] == "timestamps.unreadable"
    assert (report.time_us, report.serial) == (None, None)


def test_every_truncation_is_named(stamped: Stamped) -> None:
    for size in range(0, len(stamped.sorted), 7):
        report = verify_token(stamped.sorted[:size], TEXT, None)
        assert codes(report) == ["timestamps.unreadable"]


def test_a_byte_behind_the_token_is_named(stamped: Stamped) -> None:
    assert codes(verify_token(stamped.sorted + b"\n", TEXT, None)) == ["timestamps.unreadable"]


def test_a_refusal_is_named_with_its_reason(stamped: Stamped) -> None:
    raw = stamped.authority.stamp(build_query(DIGEST).der, "strict")
    report = verify_token(raw, TEXT, stamped.authority.roots_pem)
    assert codes(report)[0] == "timestamps.not_granted"
    assert "rejection" in report.problems[0].detail
    with pytest.raises(TimestampRefused, match="rejection"):
        check_response(raw, DIGEST, None)


def test_a_token_under_a_status_that_grants_nothing_is_refused(stamped: Stamped) -> None:
    raw = bytearray(stamped.sorted)
    place = raw.index(b"\x02\x01\x00")
    raw[place + 2] = 2
    with pytest.raises(TimestampRefused):
        check_response(bytes(raw), DIGEST, stamped.nonce)
    assert codes(verify_token(bytes(raw), TEXT, None)) == ["timestamps.not_granted"]
    raw[place + 2] = 1  # granted with modifications
    check_response(bytes(raw), DIGEST, stamped.nonce)


def test_a_wrong_nonce_or_imprint_is_refused(stamped: Stamped) -> None:
    for raw in (stamped.received, stamped.sorted, stamped.unsorted):
        check_response(raw, DIGEST, stamped.nonce)
        with pytest.raises(TimestampAnswerWrong, match="nonce"):
            check_response(raw, DIGEST, (stamped.nonce or 0) ^ 1)
        with pytest.raises(TimestampAnswerWrong, match="nonce"):
            check_response(raw, DIGEST, None)
        with pytest.raises(TimestampAnswerWrong, match="another digest"):
            check_response(raw, sha256(OTHER_TEXT).digest(), stamped.nonce)


def test_a_certificate_that_is_not_for_time_stamping_is_refused(tmp_path: Path) -> None:
    authority = OpensslAuthority(tmp_path)
    query = tmp_path / "own-query"
    good = authority.stamp_digest(DIGEST)
    assert verify_token(good, TEXT, authority.roots_pem).is_valid
    assert query.exists()
    # `openssl ts` does not sign with such a certificate, so the token is made as bare CMS.
    authority.use_signer("web")
    assert codes(verify_token(forged_token(authority, good), TEXT, authority.roots_pem)) == [
        "timestamps.not_verified"
    ]


def forged_token(authority: OpensslAuthority, good: bytes) -> bytes:
    """Sign the stamp of a good token again, with whatever certificate the authority has now."""
    token = token_of(good)
    start = token.index(b"\x04", token.index(bytes.fromhex("060b2a864886f70d0109100104")) + 13)
    length_bytes = 1 if token[start + 1] < 0x80 else 2
    size = token[start + length_bytes]
    info = token[start + 1 + length_bytes : start + 1 + length_bytes + size]
    (authority.folder / "info").write_bytes(info)
    authority.openssl(
        *(
            "cms",
            "-sign",
            "-binary",
            "-nodetach",
            "-in",
            "info",
            "-econtent_type",
            "1.2.840.113549.1.9.16.1.4",
        ),
        *("-signer", "tsa.pem", "-inkey", "tsa.key", "-outform", "DER", "-out", "forged"),
    )
    return (authority.folder / "forged").read_bytes()


def test_the_stamped_time_keeps_its_fraction(stamped: Stamped) -> None:
    (stamped.authority.folder / "stored").write_bytes(stamped.received)
    shown = stamped.authority.openssl("ts", "-reply", "-in", "stored", "-text").decode()
    (line,) = (line for line in shown.splitlines() if line.startswith("Time stamp: "))
    time_us = read_token(stamped.received).time_us
    seconds = time_us // 1_000_000
    as_openssl = subprocess.run(
        ["date", "-u", "-d", f"@{seconds}", "+%b %e %H:%M:%S"],
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert as_openssl in line
    fraction = line.split(as_openssl)[1].split()[0]
    assert int(fraction.removeprefix(".").ljust(6, "0")) == time_us % 1_000_000


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        (b"19700101000000Z", 0),
        (b"20260108140000Z", 1_767_880_800_000_000),
        (b"20260108140000.5Z", 1_767_880_800_500_000),
        (b"20260108140000.1234567Z", 1_767_880_800_123_456),
        (b"19691231235959.9Z", -100_000),
    ],
)
def test_times_are_microseconds_floored(text: bytes, time_us: int) -> None:
    assert stamped_time_us(token_with_time(text)) == time_us


@pytest.mark.parametrize(
    "text", [b"20260108140000", b"20261308140000Z", b"20260108140000+0100", b"", b"260108140000Z"]
)
def test_other_forms_of_time_are_refused(text: bytes) -> None:
    with pytest.raises(FormatError, match="time"):
        stamped_time_us(token_with_time(text))


def tlv(tag: int, body: bytes) -> bytes:
    return bytes([tag, len(body)]) + body


def token_with_time(text: bytes) -> bytes:
    info = tlv(0x30, b"\x02\x01\x01" + b"\x06\x01\x2a" + tlv(0x30, b"") + b"\x02\x01\x01" + tlv(0x18, text))
    content = tlv(0x30, b"\x06\x01\x2a" + tlv(0xA0, tlv(0x04, info)))
    return tlv(0x30, b"\x06\x01\x2a" + tlv(0xA0, tlv(0x30, b"\x02\x01\x03" + tlv(0x31, b"") + content)))


@pytest.mark.parametrize(
    "roots", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_roots_that_are_none_are_refused(stamped: Stamped, roots: bytes) -> None:
    with pytest.raises(TimestampRootsWrong):
        verify_token(stamped.sorted, TEXT, roots)


def test_text_from_outside_cannot_steer_a_terminal() -> None:
    assert printable("Autorité d'horodatage") == "Autorité d'horodatage"
    assert printable("a\x1b[2Jb\n\u202ec") == "a\\x1b[2Jb\\n\\u202ec"
    assert len(printable("x" * 5000)) == 200


@pytest.mark.parametrize("size", [4, 100, 120, 121, 122, 123, 130, 249, 250, 251, 300, 70_000])
def test_a_token_of_any_length_is_put_into_a_response(size: int) -> None:
    token = bytes([0x30, 0x84]) + (size + 3).to_bytes(4, "big") + b"\x06\x01\x2a" + bytes(size)
    response = granted_response(token)
    assert status_of(response) == 0
    assert token_of(response) == token
