"""Leases: what a token stands for, how long, and what becomes of files that are changed, left or in the way."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from scelle.guard.leases import (
    LIFE_MAX_S,
    Lease,
    asked_digest,
    is_token,
    leases_folder,
    leases_left_us,
    note_lease,
    read_lease,
)
from scelle.vault.keys import VaultKey

KEY = VaultKey(bytes(range(32)))
SECOND = 1_000_000
NOW_US = 1_770_000_000 * SECOND
ASKED = asked_digest("posts", [b"4711"], "u1", None)
LEASE = Lease(ASKED, NOW_US, NOW_US + 10 * SECOND)


def written(path: Path, at_us: int) -> None:
    os.utime(path, ns=(at_us * 1000, at_us * 1000))


def test_a_lease_comes_back_by_its_token_and_names_nothing(tmp_path: Path) -> None:
    token = note_lease(tmp_path, KEY, LEASE)
    assert is_token(token)
    assert read_lease(tmp_path, KEY, token) == LEASE
    [path] = leases_folder(tmp_path).iterdir()
    assert path.name == token
    assert ASKED.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "other",
    [
        asked_digest("posts", [b"4712"], "u1", None),
        asked_digest("posts", [b"4711", b"4712"], "u1", None),
        asked_digest("post", [b"s4711"], "u1", None),
        asked_digest("posts", [b"4711"], "u2", None),
        asked_digest("posts", [b"4711"], None, None),
        asked_digest("posts", [b"4711"], "u1", 0),
        asked_digest("posts", [], "u1", None),
    ],
)
def test_what_was_asked_is_told_from_what_was_not(other: str) -> None:
    assert other != ASKED


def test_the_order_of_ids_does_not_matter() -> None:
    assert asked_digest("posts", [b"b", b"a", b"b"], None, 5) == asked_digest("posts", [b"a", b"b"], None, 5)
    assert asked_digest("posts", [b"\xff"], None, 5) != asked_digest("posts", [b"%FF"], None, 5)


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_lease_that_was_changed_moved_or_is_another_vaults_is_none(tmp_path: Path, at: int) -> None:
    token = note_lease(tmp_path, KEY, LEASE)
    path = leases_folder(tmp_path) / token
    assert read_lease(tmp_path, VaultKey(bytes(32)), token) is None
    other = "0" * 32
    (leases_folder(tmp_path) / other).write_bytes(path.read_bytes())
    assert read_lease(tmp_path, KEY, other) is None
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert read_lease(tmp_path, KEY, token) is None
    path.write_bytes(b"")
    assert read_lease(tmp_path, KEY, token) is None
    assert read_lease(tmp_path, KEY, "f" * 32) is None


@pytest.mark.parametrize(
    ("after_s", "left_s"), [(0, 10), (4, 6), (10, 0), (9_999_999, 0), (-3600, 10), (-0.5, 10)]
)
def test_a_lease_lives_no_longer_than_its_life_whatever_the_clock_says(after_s: float, left_s: int) -> None:
    now_us = NOW_US + int(after_s * SECOND)
    assert LEASE.left_us(now_us) == left_s * SECOND
    assert LEASE.is_over(now_us) == (not 0 <= after_s < 10)


def test_no_lease_is_longer_than_the_longest(tmp_path: Path) -> None:
    forged = replace(LEASE, expires_us=NOW_US + 10**6 * SECOND)
    assert forged.left_us(NOW_US) == LIFE_MAX_S * SECOND
    backwards = replace(LEASE, expires_us=NOW_US - SECOND)
    assert (backwards.left_us(NOW_US), backwards.is_over(NOW_US)) == (0, True)


def test_whoever_waits_waits_for_the_longest_and_takes_away_what_is_over(tmp_path: Path) -> None:
    assert leases_left_us(tmp_path, KEY, NOW_US) == 0
    note_lease(tmp_path, KEY, LEASE)
    longer = note_lease(tmp_path, KEY, replace(LEASE, expires_us=NOW_US + 20 * SECOND))
    assert leases_left_us(tmp_path, KEY, NOW_US + SECOND) == 19 * SECOND
    assert leases_left_us(tmp_path, KEY, NOW_US + 12 * SECOND) == 8 * SECOND
    assert [path.name for path in leases_folder(tmp_path).iterdir()] == [longer]
    note_lease(tmp_path, KEY, Lease(ASKED, NOW_US + 30 * SECOND, NOW_US + 40 * SECOND))
    assert longer not in {path.name for path in leases_folder(tmp_path).iterdir()}


def test_a_lease_that_cannot_be_read_lives_for_the_longest_life_from_its_writing(tmp_path: Path) -> None:
    path = leases_folder(tmp_path) / note_lease(tmp_path, KEY, LEASE)
    path.write_bytes(b"?")
    written(path, NOW_US)
    assert leases_left_us(tmp_path, KEY, NOW_US + 60 * SECOND) == 240 * SECOND
    written(path, NOW_US + 3600 * SECOND)  # a clock that was set back since
    assert leases_left_us(tmp_path, KEY, NOW_US) == 300 * SECOND
    written(path, NOW_US)
    assert leases_left_us(tmp_path, KEY, NOW_US + 300 * SECOND) == 0
    assert not path.exists()


def test_nobody_waits_for_a_lease_that_is_being_written_and_a_left_one_goes(tmp_path: Path) -> None:
    token = note_lease(tmp_path, KEY, LEASE)
    left = leases_folder(tmp_path) / f"{token}.tmp"
    left.write_bytes(b"half")
    written(left, NOW_US)
    assert leases_left_us(tmp_path, KEY, NOW_US + 10 * SECOND) == 0
    assert left.exists()
    assert leases_left_us(tmp_path, KEY, NOW_US + 300 * SECOND) == 0
    assert not left.exists()


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "G" * 32, "../" + "0" * 29, "0" * 32 + "\n", "A" * 32]
)
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text)
