"""Tokens over HTTP from a real authority, well and badly behaved."""

import socket
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from tests.integration.tsa import NAME, POLICY, Fault, TimestampServer, serve_tsa

from scelle.errors import TimestampAnswerWrong, TimestampRefused, TimestampUnavailable
from scelle.timestamps.queue import Pending, parse_pending, submit
from scelle.timestamps.rfc3161 import Rfc3161Authority, build_query
from scelle.timestamps.tokens import verify_token

TEXT = b"log.example.org/po/ec-2026-0108\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
DIGEST = sha256(TEXT).digest()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimestampServer]:
    with serve_tsa(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture
def tsa(server: TimestampServer, monkeypatch: pytest.MonkeyPatch) -> TimestampServer:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.fault = Fault.NONE
    server.queries.clear()
    return server


def ask(tsa: TimestampServer, timeout_s: float = 20) -> bytes:
    return Rfc3161Authority(tsa.url, timeout_s).request(DIGEST)


def test_a_granted_token_verifies_over_its_text(tsa: TimestampServer) -> None:
    report = verify_token(ask(tsa), TEXT, tsa.authority.roots_pem)
    assert report.problems == ()
    assert report.is_valid
    assert (report.policy, report.tsa_name) == (POLICY, NAME)
    assert (report.time_us or 0) > 1_700_000_000_000_000


def test_only_digest_and_nonce_leave_the_house(tsa: TimestampServer) -> None:
    ask(tsa)
    (query,) = tsa.queries
    assert DIGEST in query
    assert TEXT not in query
    assert len(query) <= 72


def test_openssl_reads_our_request(tmp_path: Path, tsa: TimestampServer) -> None:
    (tmp_path / "query").write_bytes(build_query(DIGEST).der)
    shown = subprocess.run(
        ["openssl", "ts", "-query", "-in", "query", "-text"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Hash Algorithm: sha256" in shown
    assert "Certificate required: yes" in shown
    assert "Nonce: 0x" in shown
    assert " ".join(f"{byte:02x}" for byte in DIGEST[:7]) in shown


def test_two_requests_have_different_nonces(tsa: TimestampServer) -> None:
    assert ask(tsa) != ask(tsa)
    assert tsa.queries[0] != tsa.queries[1]


def test_the_answer_is_kept_as_received(tsa: TimestampServer) -> None:
    raw = ask(tsa)
    assert raw == (tsa.authority.folder / "reply").read_bytes()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault.REFUSE, TimestampRefused, "rejection"),
        (Fault.OTHER_DIGEST, TimestampAnswerWrong, "another digest"),
        (Fault.REPLAY, TimestampAnswerWrong, "nonce"),
        (Fault.TRUNCATED, TimestampAnswerWrong, "cut short"),
        (Fault.EMPTY, TimestampAnswerWrong, "cut short"),
        (Fault.HTML, TimestampUnavailable, "text/html"),
        (Fault.STATUS_500, TimestampUnavailable, "500"),
        (Fault.REDIRECT, TimestampUnavailable, "no redirect is followed"),
        (Fault.HUGE, TimestampUnavailable, "more than"),
        (Fault.HANG_UP, TimestampUnavailable, "127.0.0.1"),
    ],
)
def test_a_misbehaving_authority_is_an_error_and_no_token(
    tsa: TimestampServer, fault: Fault, error: type[TimestampUnavailable], words: str
) -> None:
    ask(tsa)
    tsa.fault = fault
    with pytest.raises(TimestampUnavailable, match=words) as caught:
        ask(tsa)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.DRIP])
def test_a_slow_authority_is_left_in_time(tsa: TimestampServer, fault: Fault) -> None:
    tsa.fault = fault
    with pytest.raises(TimestampUnavailable, match=r"timed out|too long"):
        ask(tsa, timeout_s=0.4)


def test_a_refused_connection_is_an_error_without_the_query_string() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    authority = Rfc3161Authority(f"http://127.0.0.1:{port}/tsr?account=hidden", 2)
    with pytest.raises(TimestampUnavailable, match="not reached") as caught:
        authority.request(DIGEST)
    assert "hidden" not in str(caught.value)


def test_what_waited_off_line_is_stamped_later(tsa: TimestampServer) -> None:
    stored = Pending(TEXT, "item-zero", 1_767_880_800_000_000).encode()
    tsa.fault = Fault.STATUS_500
    authority = Rfc3161Authority(tsa.url)
    with pytest.raises(TimestampUnavailable):
        submit(parse_pending(stored), authority)
    tsa.fault = Fault.NONE
    raw = submit(parse_pending(stored), authority)
    assert verify_token(raw, TEXT, tsa.authority.roots_pem).is_valid


def test_a_server_that_was_stopped_is_gone(tmp_path: Path) -> None:
    with serve_tsa(tmp_path) as running:
        running.stop()
        with pytest.raises(TimestampUnavailable, match="not reached"):
            Rfc3161Authority(running.url, 2).request(DIGEST)
