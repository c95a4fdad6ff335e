"""The second opinion: what counts as a yes from the OpenSSL program."""

from hashlib import sha256
from pathlib import Path

import pytest
from tests.integration.tsa import OpensslAuthority

from scelle.timestamps import openssl
from scelle.timestamps.openssl import find_openssl, refusal

TEXT = b"text of a checkpoint\n"
YEAR_US = 365 * 86_400 * 1_000_000


@pytest.fixture
def authority(tmp_path: Path) -> OpensslAuthority:
    return OpensslAuthority(tmp_path / "tsa")


def program(folder: Path, script: str) -> str:
    """Make a program that pretends to be openssl."""
    path = folder / "pretender"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_the_chain_is_judged_at_the_stamped_time(authority: OpensslAuthority) -> None:
    raw = authority.stamp_digest(sha256(TEXT).digest())
    real = find_openssl() or ""
    now_us = 1_000_000 * int((authority.folder / "reply").stat().st_mtime)
    assert refusal(real, raw, TEXT, authority.roots_pem, None) is None
    assert refusal(real, raw, TEXT, authority.roots_pem, now_us) is None
    later = refusal(real, raw, TEXT, authority.roots_pem, now_us + 20 * YEAR_US)
    assert later is not None
    assert "expired" in later


def test_another_text_is_refused_with_a_reason(authority: OpensslAuthority) -> None:
    raw = authority.stamp_digest(sha256(TEXT).digest())
    assert "imprint" in (refusal(find_openssl() or "", raw, TEXT * 2, authority.roots_pem, None) or "")


@pytest.mark.parametrize(
    "script",
    ["echo 'Verification: OK'; exit 1", "exit 0", "echo 'Verification: FAILED'", "echo done >&2; exit 3"],
)
def test_only_status_and_word_together_are_a_yes(tmp_path: Path, script: str) -> None:
    assert refusal(program(tmp_path, script), b"", TEXT, b"", None) == "openssl gave no reason"


def test_a_clear_yes_is_a_yes(tmp_path: Path) -> None:
    assert refusal(program(tmp_path, "echo 'Verification: OK'"), b"", TEXT, b"", None) is None


def test_a_program_that_does_not_run_is_no_yes(tmp_path: Path) -> None:
    assert "did not run" in (refusal(str(tmp_path / "missing"), b"", TEXT, b"", None) or "")


def test_a_program_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "TIMEOUT_S", 0.1)
    assert "did not run" in (refusal(program(tmp_path, "exec cat /dev/zero"), b"", TEXT, b"", None) or "")


def test_without_a_program_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_openssl() is None
