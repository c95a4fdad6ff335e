"""What must not happen (torture.md), end to end: each item ends in one bucket and comes back byte for byte."""
# Names are bytes here, which pathlib does not know.
# ruff: noqa: PTH101, PTH103, PTH115, PTH116, PTH118, PTH120, PTH123, PTH211

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import (
    Restored,
    as_user,
    make_platform,
    newest,
    preserved,
    public_folder,
    restored,
    run_quietly,
    take_in,
    versions,
)

from scelle import bootstrap
from scelle.formats.entries import Count
from scelle.sources import tree
from scelle.sources.mail.mbox import as_in_mbox

MAILS = Path("/usr/lib/python3.11/test/test_email/data")
is_root = os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    return make_platform(tmp_path, capsys, monkeypatch)


def write(platform: Platform, name: bytes, data: bytes) -> bytes:
    path = os.path.join(os.fsencode(platform.docs), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def give_back(platform: Platform, expected: dict[bytes, bytes]) -> dict[bytes, Restored]:
    """Everything comes back from a package, byte for byte, names included."""
    found = newest(restored(platform))
    assert {native: document.data for native, document in found.items()} == expected
    return found


# --- names ----------------------------------------------------------------------------------------------------


def test_any_name_that_the_file_system_takes(platform: Platform) -> None:
    names = [
        b"caf\xe9.txt",
        b"caf%E9.txt",
        "cafe\u0301.txt".encode(),
        "caf\u00e9.txt".encode(),
        b"\xff\xfe\xfd",
        b"n" * 255,
        ("\u00e9" * 127).encode() + b"x",
        b"two\nlines.txt",
        b"cr\r\nlf.txt",
        b"tab\tand bell\x07",
        b'"quoted", with comma.csv',
        b"=cmd|' /C calc'!A0",
        b" leading and trailing ",
        b"-rf",
        b"..evil",
        b"back\\slash\\..\\x",
        "\u202etxt.exe".encode(),
        b"\xed\xa0\x80 a lone surrogate",
        b"%25",
        b"deep/er/and/dee/per/a",
        b"~",
        b"{}",
    ]
    expected = {name: b"content of " + name for name in names}
    for name, data in expected.items():
        write(platform, name, data)
    take_in(platform)
    report = preserved(platform)
    assert (report["offered"], report["sealed"]) == (len(names), len(names))
    give_back(platform, expected)
    assert preserved(platform)["unchanged"] == len(names)


def test_a_load_file_has_one_row_for_each_name_whatever_is_in_it(platform: Platform) -> None:
    for name in (b"two\nlines", b"cr\r\nlf", b'a "quote", b', b"=1+1", b"plain"):
        write(platform, name, name)
    take_in(platform)
    preserved(platform)
    package = platform.root / "p.scelle"
    platform("produce", ORDER, "--source", "docs", "--to", package)
    with zipfile.ZipFile(package) as archive:
        text = archive.read("loadfile/documents.csv").decode()
    for lines in (text.split("\r\n"), text.splitlines()):
        assert len([line for line in lines if line]) == 6, (
            "a parser that splits lines first sees the same rows"
        )
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_path_that_is_longer_than_any_system_call_takes(platform: Platform) -> None:
    take_in(platform)
    name, levels = b"d" * 200, 60  # 12,000 bytes; PATH_MAX is 4,096
    descriptor = os.open(platform.docs, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    file = os.open(b"bottom.txt", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor)
    os.write(file, b"at the bottom")
    os.close(file)
    os.close(descriptor)
    try:
        assert preserved(platform)["sealed"] == 1
        give_back(platform, {(name + b"/") * levels + b"bottom.txt": b"at the bottom"})
    finally:
        subprocess.run(["rm", "-rf", str(platform.docs)], check=True)


# --- kinds ----------------------------------------------------------------------------------------------------


def test_sockets_pipes_and_devices_are_excluded_by_name(platform: Platform) -> None:
    write(platform, b"a.txt", b"the only document")
    os.mkfifo(platform.docs / "pipe")
    expected = {"fifo": 1, "socket": 1}
    if is_root:
        with contextlib.suppress(PermissionError):  # a container may forbid it to root, too
            os.mknod(platform.docs / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
            expected["character-device"] = 1
            os.mknod(platform.docs / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
            expected["block-device"] = 1
    take_in(platform)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(platform.docs / "s"))
        report = preserved(platform)
    assert report["excluded_by"] == expected
    assert (report["sealed"], report["excluded"]) == (1, sum(expected.values()))
    give_back(platform, {b"a.txt": b"the only document"})
    assert "items.excluded" in [e["kind"] for e in platform("order", "show", ORDER, "--json").json["events"]]


def test_links_are_documents_and_loops_of_them_are_never_followed(platform: Platform) -> None:
    write(platform, b"dir/a.txt", b"a red boat")
    targets = {
        b"itself": b"itself",
        b"one": b"two",
        b"two": b"one",
        b"dir/up": b"..",
        b"dangling": b"nowhere/at/all",
        b"outside": b"/etc/hostname",
        b"not-utf8": b"caf\xe9",
        b"long": b"x/" * 2000,
    }
    for name, target in targets.items():
        os.symlink(target, os.path.join(os.fsencode(platform.docs), name))
    take_in(platform)
    report = preserved(platform)
    assert (report["offered"], report["links"], report["sealed"]) == (9, 8, 9)
    found = give_back(platform, {b"dir/a.txt": b"a red boat", **targets})
    assert {found[name].media_type for name in targets} == {"inode/symlink"}


@pytest.mark.skipif(not is_root, reason="only root mounts a folder into itself")
def test_a_folder_mounted_into_itself_is_one_failure_and_not_for_ever(platform: Platform) -> None:
    write(platform, b"a.txt", b"once")
    loop = platform.docs / "loop"
    loop.mkdir()
    if subprocess.run(["mount", "--bind", platform.docs, loop], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        take_in(platform)
        report = preserved(platform, code=1)
        assert report["sources"]["docs"]["failed_by"] == {"directory-loop": 1}
        assert report["sealed"] == 1
    finally:
        subprocess.run(["umount", loop], check=True)


def test_hard_links_empty_files_and_empty_folders(platform: Platform) -> None:
    path = write(platform, b"one", b"same inode")
    os.link(path, path[:-3] + b"two")
    write(platform, b"empty", b"")
    (platform.docs / "nothing here").mkdir()
    take_in(platform)
    assert preserved(platform)["sealed"] == 3
    give_back(platform, {b"one": b"same inode", b"two": b"same inode", b"empty": b""})


def test_a_sparse_file_comes_back_with_its_holes_as_zeros(platform: Platform) -> None:
    path = platform.docs / "sparse.img"
    with path.open("wb") as file:
        file.truncate(40 << 20)
        file.seek(17 << 20)
        file.write(b"an island")
    digest = sha256(path.read_bytes()).digest()
    take_in(platform)
    assert preserved(platform)["bytes"] == 40 << 20
    (document,) = restored(platform)
    assert document.data is not None
    assert sha256(document.data).digest() == digest


@pytest.mark.parametrize("size", [(1 << 20) + 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, (16 << 20) + 3])
def test_a_large_payload_is_not_cut(platform: Platform, size: int) -> None:
    data = os.urandom(size)
    write(platform, b"large.bin", data)
    take_in(platform)
    preserved(platform)
    give_back(platform, {b"large.bin": data})


def test_extended_attributes_modes_and_times_come_back(platform: Platform) -> None:
    path = write(platform, b"a.txt", b"a red boat")
    try:
        os.setxattr(path, b"user.author", b"caf\xe9")
    except OSError:
        pytest.skip("the file system of the tests has no extended attributes")
    os.chmod(path, 0o640)
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    take_in(platform)
    preserved(platform)
    (document,) = restored(platform)
    assert document.meta["mtime_ns"] == "1234567890123456789"
    assert document.meta["mode"] == "100640"
    assert document.meta["xattrs"] == [["user.author", {"b64": "Y2Fm6Q=="}]]


# --- rights ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not is_root, reason="needs root to give its rights up, and to make what it may not read")
def test_what_may_not_be_read_fails_with_its_cause_and_is_tried_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_folder() as folder:
        platform = make_platform(folder, capsys, monkeypatch)
        for name in (b"open.txt", b"closed.txt", b"folder/below.txt", b"list-only/a.txt"):
            write(platform, name, b"content of " + name)
        take_in(platform)
        preserved(platform)  # what is sealed before stays; and everything is imported before rights go
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder / "vault", folder / "keys"], check=True)
        os.chmod(platform.docs / "closed.txt", 0)
        os.chmod(platform.docs / "folder", 0)
        os.chmod(platform.docs / "list-only", 0o744)  # names, and nothing behind them
        answer = as_user(NOBODY, lambda: run_quietly(["preserve", ORDER, "--json"]))
        assert answer["code"] == 1, answer
        report = json.loads(answer["out"])
        counts = report["sources"]["docs"]
        assert counts["failed_by"] == {"permission-denied": 3}
        named = {item["native"] for item in counts["failed_items"]}
        assert named == {"closed.txt", "folder", "list-only/a.txt"}
        assert (report["offered"], report["sealed"], report["failed"], report["vanished"]) == (4, 1, 3, 0)
        os.chmod(platform.docs / "closed.txt", 0o644)
        os.chmod(platform.docs / "folder", 0o755)
        os.chmod(platform.docs / "list-only", 0o755)
        answer = as_user(NOBODY, lambda: run_quietly(["preserve", ORDER, "--json"]))
        assert answer["code"] == 0, answer
        report = json.loads(answer["out"])
        assert (report["offered"], report["sealed"], report["failed"]) == (4, 4, 0)


@pytest.mark.skipif(not is_root, reason="needs root to give its rights up")
def test_a_root_without_permission_is_a_source_that_cannot_be_reached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_folder() as folder:
        platform = make_platform(folder, capsys, monkeypatch)
        write(platform, b"a.txt", b"a red boat")
        take_in(platform)
        preserved(platform)
        platform("status", "--json")
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder / "vault", folder / "keys"], check=True)
        os.chmod(platform.docs, 0)
        answer = as_user(NOBODY, lambda: run_quietly(["preserve", ORDER, "--json"]))
        os.chmod(platform.docs, 0o755)
        assert answer["code"] == 4, answer
        said = as_user(NOBODY, lambda: run_quietly(["status", "--json"]))
        status = json.loads(said["out"])["orders"][0]
        assert [gap["cause"] for gap in status["gaps"]] == ["source-unreachable"]


# --- change under the reader ----------------------------------------------------------------------------------


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Callable[[], None], int], None]:
    """Do something to the world each time the source has read from one file, at most so many times."""

    def install(path: Path, act: Callable[[], None], times: int) -> None:
        left = times
        real_read, identity = os.read, path.stat().st_ino

        def read(descriptor: int, count: int) -> bytes:
            nonlocal left
            data = real_read(descriptor, count)
            if left and data and os.fstat(descriptor).st_ino == identity:
                left -= 1
                act()
            return data

        monkeypatch.setattr("scelle.sources.tree.os.read", read)

    return install


@pytest.mark.parametrize("size", [1000, 20 << 20], ids=["small", "streamed"])
def test_a_file_that_changes_once_while_it_is_read_is_sealed_as_it_is_then(
    platform: Platform, while_reading: Callable[..., None], size: int
) -> None:
    data = bytes(range(250)) * (size // 250)
    path = platform.document("a.bin", data)

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    while_reading(path, append, 1)
    take_in(platform)
    assert preserved(platform)["sealed"] == 1
    give_back(platform, {b"a.bin": data + b"more"})


@pytest.mark.parametrize("size", [1000, 20 << 20], ids=["small", "streamed"])
def test_a_file_that_never_rests_fails_and_leaves_nothing(
    platform: Platform, while_reading: Callable[..., None], size: int
) -> None:
    path = platform.document("a.bin", bytes(size))
    platform.document("b.txt", b"at rest")
    count = 0

    def rewrite() -> None:
        nonlocal count
        count += 1
        with path.open("r+b") as file:
            file.write(b"%d" % count)
        os.utime(path, ns=(0, count * 1_000_000_000))

    while_reading(path, rewrite, 1_000_000)
    take_in(platform)
    before = sorted((platform.vault / "packs").rglob("*.pack*"))
    report = preserved(platform, code=1)
    assert report["sources"]["docs"]["failed_by"] == {"changed-while-read": 1}
    assert report["sources"]["docs"]["failed_items"][0]["native"] == "a.bin"
    assert len(sorted((platform.vault / "packs").rglob("*.pack*"))) <= len(before) + 1
    give_back(platform, {b"b.txt": b"at rest"})


def test_a_file_that_vanishes_while_it_is_read_is_lost_and_bounded(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    path = platform.document("a.bin", bytes(20 << 20))
    platform.document("b.txt", b"still there")
    while_reading(path, path.unlink, 1)
    take_in(platform)
    report = preserved(platform, code=1)
    assert (report["offered"], report["sealed"], report["lost"]) == (2, 1, 1)
    (gap,) = platform("status", "--json").json["orders"][0]["gaps"]
    assert (gap["cause"], gap["to"] is not None) == ("vanished-while-read", True)
    give_back(platform, {b"b.txt": b"still there"})


def test_a_file_that_vanishes_between_listing_and_reading_is_lost(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    first = platform.document("a.txt", b"read first")
    second = platform.document("b.txt", b"gone by then")
    while_reading(first, second.unlink, 1)
    take_in(platform)
    report = preserved(platform, code=1)
    assert (report["sealed"], report["lost"]) == (1, 1)
    assert report["sources"]["docs"]["lost_items"][0]["native"] == "b.txt"


def test_a_file_that_became_something_else_is_never_waited_for(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    first = platform.document("a.txt", b"read first")
    second = platform.document("b.txt", b"a document when it was listed")

    def swap() -> None:
        second.unlink()
        os.mkfifo(second)

    while_reading(first, swap, 1)
    take_in(platform)
    report = preserved(platform, code=1)
    assert report["sources"]["docs"]["failed_by"] == {"changed-while-read": 1}
    assert preserved(platform)["excluded_by"] == {"fifo": 1}


def test_a_tree_that_is_moved_while_it_is_read_is_read_to_its_end(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    expected = {b"a.txt": b"a", b"b.txt": b"b", b"sub/c.txt": b"c"}
    for name, data in expected.items():
        write(platform, name, data)
    while_reading(
        platform.docs / "a.txt", lambda: platform.docs.rename(platform.root / "elsewhere") and None, 1
    )
    take_in(platform)
    assert preserved(platform)["sealed"] == 3
    give_back(platform, expected)
    platform("preserve", ORDER, code=4)


def test_a_tree_that_is_removed_while_it_is_read_keeps_its_sum(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    for name in (b"a.txt", b"b.txt", b"sub/c.txt", b"sub/d.txt"):
        write(platform, name, name)
    while_reading(platform.docs / "a.txt", lambda: shutil.rmtree(platform.docs), 1)
    take_in(platform)
    report = preserved(platform, code=1)
    assert (report["offered"], report["sealed"], report["lost"]) == (4, 1, 3)
    give_back(platform, {b"a.txt": b"a.txt"})


def test_the_version_that_is_handed_over_is_the_one_of_its_time(platform: Platform) -> None:
    path = platform.document("memo.txt", b"as it was")
    take_in(platform)
    preserved(platform)
    path.write_bytes(b"as of today")
    os.utime(path, (1_800_000_000, 1_800_000_000))
    preserved(platform)
    path.unlink()
    assert preserved(platform)["vanished"] == 1
    found = versions(restored(platform))[b"memo.txt"]
    assert [document.data for document in found] == [b"as it was", b"as of today"]


# --- times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1, -2_000_000_000, 16_725_225_600, 253_402_300_800, 2**62, -(2**62)])
def test_any_time_of_a_file_is_sealed(
    seconds: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        pytest.skip("no file system that takes every time")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        platform = make_platform(Path(folder), capsys, monkeypatch)
        path = write(platform, b"a.txt", b"a red boat")
        os.utime(path, ns=(0, seconds * 1_000_000_000 + 7))
        given_ns = os.stat(path).st_mtime_ns
        take_in(platform)
        seen = platform("preview", ORDER, "--json").json
        assert seen["covered"] == 1
        assert platform("preview", ORDER).out
        preserved(platform)
        assert preserved(platform)["unchanged"] == 1
        (document,) = restored(platform)
        assert (document.data, document.meta["mtime_ns"]) == (b"a red boat", str(given_ns))
        if abs(given_ns // 1000) < 2**63:
            assert document.time_us == given_ns // 1000


def test_a_clock_that_jumps_between_and_during_commands(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0, 3600, -7200, 86_400, -86_400 * 400, -1, 1, 86_400 * 80] * 1000)
    real = time.time_ns

    def jumping() -> int:
        return real() + next(times) * 1_000_000_000

    monkeypatch.setattr("scelle.bootstrap.acting.time_ns", jumping)
    for number in range(30):
        platform.document(f"{number}.txt", b"%d" % number)
    take_in(platform)
    preserved(platform)
    platform.document("0.txt", b"changed")
    (platform.docs / "1.txt").unlink()
    report = preserved(platform)
    assert (report["new"], report["vanished"]) == (1, 1)
    platform.docs.rename(platform.root / "away")
    platform("preserve", ORDER, code=4)
    (platform.root / "away").rename(platform.docs)
    preserved(platform)
    assert len(restored(platform)) == 31


# --- silent omission ------------------------------------------------------------------------------------------


def test_the_estimate_is_what_is_exported_and_nothing_stops_at_a_few_thousand(platform: Platform) -> None:
    count = 4500
    for number in range(count):
        platform.document(f"{number % 17}/{number}.txt", b"%d" % number)
    (platform.docs / "link").symlink_to("0/0.txt")
    os.mkfifo(platform.docs / "pipe")
    take_in(platform)
    seen = platform("preview", ORDER, "--json").json
    report = preserved(platform)
    assert (seen["offered"], seen["covered"], seen["bytes"]) == (
        report["offered"],
        report["sealed"],
        report["bytes"],
    )
    assert len(restored(platform)) == report["sealed"] == count + 1


def test_failures_are_on_paper_in_the_json_in_the_events_and_in_the_log(
    platform: Platform, while_reading: Callable[..., None]
) -> None:
    first = platform.document("a.txt", b"read first")
    second = platform.document("b.txt", b"gone by then")
    third = platform.document("c.txt", b"another by then")

    def act() -> None:
        second.unlink()
        third.unlink()
        os.mkfifo(third)

    while_reading(first, act, 1)
    take_in(platform)
    said = platform("preserve", ORDER, code=1).out
    assert "failed: c.txt: changed-while-read" in said
    assert "lost: b.txt: vanished" in said
    kinds = [event["kind"] for event in platform("order", "show", ORDER, "--json").json["events"]]
    assert kinds[-3:] == ["items.failed", "items.lost", "pass"]
    with bootstrap.opened(
        platform.vault, bootstrap.KeyChoice(platform.root / "keys"), writing=False
    ) as session:
        counts = [entry for entry in session.ledger(ORDER).entries if isinstance(entry, Count)]
    assert [(c.offered, c.sealed, c.failed, c.excluded, c.lost) for c in counts] == [(3, 1, 1, 0, 1)]
    status = platform("status", "--json").json["orders"][0]["sources"]["docs"]
    assert (status["failed"], status["lost"]) == (1, 1)


def test_many_failures_are_cut_on_paper_and_whole_in_the_events(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(130):
        platform.document(f"{number:03d}.txt", b"x")
    take_in(platform)

    real_read, device = os.read, os.fsencode(platform.docs)

    def refuse(descriptor: int, count: int) -> bytes:
        if os.readlink(b"/proc/self/fd/%d" % descriptor).startswith(device):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real_read(descriptor, count)

    monkeypatch.setattr("scelle.sources.tree.os.read", refuse)
    said = platform("preserve", ORDER, code=1).out
    assert said.count("failed: ") == 21
    assert "and 110 more; all of them: scelle status ec-2026-0108 --items failed" in said
    report = preserved(platform, code=1)
    assert len(report["sources"]["docs"]["failed_items"]) == 100


# --- mail -----------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """A mail within a mail within a mail."""
    text = b"From: a@example.org\nSubject: innermost\n\nthe boat\n"
    for level in range(depth):
        text = b"From: a@example.org\nSubject: level %d\nContent-Type: message/rfc822\n\n" % level + text
    return text


def parts(depth: int) -> bytes:
    """Multipart within multipart within multipart."""
    text = b"Content-Type: text/plain\n\nthe boat\n"
    for level in range(depth):
        mark = b"b%d" % level
        head = b'Content-Type: multipart/mixed; boundary="%b"\n\n' % mark
        text = head + b"--" + mark + b"\n" + text + b"\n--" + mark + b"--\n"
    return b"From: a@example.org\nSubject: nested\nDate: Thu, 8 Jan 2026 14:00:00 +0000\n" + text


BAD_MAILS = {
    "no-headers.eml": b"\njust a body\n",
    "only-headers.eml": b"From: a@example.org\nSubject: nothing follows\n",
    "empty.eml": b"",
    "eight-bit-headers.eml": b"From: caf\xe9@example.org\nSubject: \xe9\xe8\xff\n\nbody\n",
    "wrong-charset.eml": b"From: a@example.org\nContent-Type: text/plain; charset=klingon-8\n\n\xff\xfe\n",
    "lying-charset.eml": b"From: a@example.org\nContent-Type: text/plain; charset=us-ascii\n\n\xc3\xa9\xff\n",
    "bad-encoded-word.eml": b"From: a@example.org\nSubject: =?utf-8?b?!!!?= =?x?q?=FF?=\n\nbody\n",
    "nested-mail.eml": nested(50),
    "nested-parts.eml": parts(50),
    "nul.eml": b"From: a@example.org\nSubject: a\x00b\n\nbo\x00dy\x00\n",
    "crlf-and-lf.eml": b"From: a@example.org\r\nSubject: mixed\n\r\nbody\r\nmore\n",
    "bare-cr.eml": b"From: a@example.org\rSubject: old\r\rbody\r",
    "no-end.eml": b'From: a@example.org\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\nfirst',
    "boundary-lies.eml": b'From: a@example.org\nContent-Type: multipart/mixed; boundary="b"\n\n--c\n\nx\n--c--\n',
    "long-line.eml": b"From: a@example.org\nSubject: " + b"x" * 300_000 + b"\n\nbody\n",
    "many-headers.eml": b"".join(b"X-%d: y\n" % n for n in range(5000)) + b"\nbody\n",
    "bad-date.eml": b"From: a@example.org\nDate: 32 Foo 99999 25:61:61 +9999\n\nbody\n",
    "ancient.eml": b"From: a@example.org\nDate: Mon, 1 Jan 1900 00:00:00 +0000\n\nbody\n",
    "bad-base64.eml": b"From: a@example.org\nContent-Transfer-Encoding: base64\n\n@@@not base64@@@\n",
    "attachment-name.eml": (
        b"From: a@example.org\nContent-Type: application/x; name*0*=utf-8''..%2F..%2Fetc%2Fpasswd\n"
        b'Content-Disposition: attachment; filename="..\\..\\evil\x07.exe"\n\nbytes\n'
    ),
}


@pytest.mark.parametrize("scheme", ["eml", "maildir", "mbox", "files"])
def test_malformed_mails_are_kept_byte_for_byte(platform: Platform, scheme: str) -> None:
    folder = platform.docs / "cur" if scheme == "maildir" else platform.docs
    folder.mkdir(exist_ok=True)
    mails = {
        name: data for name, data in BAD_MAILS.items() if data or scheme != "mbox"
    }  # an empty mbox has none
    for name, data in mails.items():
        (folder / name).write_bytes(data)
    take_in(platform, ("docs", f"{scheme}://{platform.docs}"))
    report = preserved(platform)
    assert (report["offered"], report["sealed"]) == (len(mails), len(mails))
    found = {
        native.rpartition(b"/")[2].decode(): document
        for native, document in newest(restored(platform)).items()
    }
    assert {name: document.data for name, document in found.items()} == mails
    again = preserved(platform)
    assert (again["new"], again["unchanged"]) == (0, len(mails))


@pytest.mark.skipif(not MAILS.is_dir(), reason="libpython3.11-testsuite is not installed")
@pytest.mark.parametrize("scheme", ["eml", "mbox", "files"])
def test_the_malformed_mails_of_python_are_kept_byte_for_byte(platform: Platform, scheme: str) -> None:
    take_in(platform, ("docs", f"{scheme}://{MAILS}"))
    report = preserved(platform)
    assert report["failed"] == report["lost"] == 0
    documents = restored(platform)
    assert len(documents) == report["sealed"]
    assert rebuilt(documents) == {path.name.encode(): path.read_bytes() for path in MAILS.iterdir()}


def rebuilt(documents: list[Restored]) -> dict[bytes, bytes]:
    """Put files together again, an mbox from its messages by their offsets."""
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for document in documents:
        assert document.data is not None
        native, around = document.native, document.meta.get("mbox")
        if around is None:
            found[native] = [(0, document.data)]
            continue
        whole = as_in_mbox(dict(document.meta), document.data)
        name = native.rpartition(b"#")[0]
        found.setdefault(name, []).append((int(around["offset"]), whole))
    return {name: b"".join(data for _, data in sorted(pieces)) for name, pieces in found.items()}


MBOX = (
    b"From a@example.org Thu Jan  8 14:00:00 2026\nFrom: a@example.org\nSubject: one\n\nhello\n"
    b"From here on it is body\n>From quoted\n\n"
    b"From b@example.org Thu Jan  8 15:00:00 2026\nFrom: b@example.org\nSubject: two\n\n\x00\xff body\n\n"
    b"From c@example.org Thu Jan  8 16:00:00 2026\nno headers at all\n\n"
    b"From c@example.org Thu Jan  8 16:00:00 2026\nno headers at all\n\n"
)


def test_an_mbox_comes_back_byte_for_byte_from_its_messages(platform: Platform) -> None:
    path = platform.root / "mail.mbox"
    path.write_bytes(MBOX)
    take_in(platform, ("docs", f"mbox://{path}"))
    assert preserved(platform)["sealed"] == 4
    assert rebuilt(restored(platform)) == {b"mail.mbox": MBOX}
    path.write_bytes(MBOX + b"From d@example.org Fri Jan  9 10:00:00 2026\nSubject: new\n\nlater\n")
    report = preserved(platform)
    assert (report["new"], report["unchanged"], report["vanished"]) == (1, 4, 0)
    path.write_bytes(MBOX[MBOX.index(b"From b@") :])
    report = preserved(platform)
    assert (report["new"], report["unchanged"], report["vanished"]) == (0, 3, 2)


def test_a_digest_only_mbox_that_grows_is_not_sealed_again(platform: Platform) -> None:
    path = platform.root / "mail.mbox"
    path.write_bytes(MBOX)
    clause = '[[clause]]\nid = "all"\nsources = ["docs"]\nkeep = "digest"\n'
    take_in(platform, ("docs", f"mbox://{path}"), clauses=clause)
    preserved(platform)
    path.write_bytes(MBOX + b"From d@example.org Fri Jan  9 10:00:00 2026\nSubject: new\n\nlater\n")
    report = preserved(platform)
    assert (report["new"], report["unchanged"], report["changed_in_place"]) == (1, 4, 0)


# --- digest only ----------------------------------------------------------------------------------------------


def test_a_byte_that_rots_behind_unchanged_times_is_said_aloud(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change time cannot be forged from here: the stamp is made blind to it, as bit rot is to all of it."""
    path = platform.document("a.bin", b"as it was sealed")
    os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    real = tree.stamp_of
    monkeypatch.setattr(tree, "stamp_of", lambda status: real(status)[:-8])
    monkeypatch.setattr("scelle.sources.documents.stamp_of", lambda status: real(status)[:-8])
    clause = '[[clause]]\nid = "all"\nsources = ["docs"]\nkeep = "digest"\n'
    take_in(platform, clauses=clause)
    preserved(platform)
    path.write_bytes(b"as it w\xe1s sealed")
    os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    answer = platform("preserve", ORDER, "--json")
    assert answer.json["changed_in_place"] == 1
    assert "warning: docs: 1 files of which only the digest is kept changed" in answer.err
    assert answer.json["sources"]["docs"]["changed_in_place_items"] == ["a.bin"]
    kinds = [event["kind"] for event in platform("order", "show", ORDER, "--json").json["events"]]
    assert "item.changed-in-place" in kinds
    path.unlink()
    answer = platform("preserve", ORDER, "--json")
    assert (answer.json["vanished"], answer.json["vanished_in_place"]) == (1, 1)
    assert "their contents are not in the vault" in answer.err


# --- the vault's side -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["catalog.db", "catalog.db-wal", "catalog.db*"])
def test_a_catalog_that_is_deleted_between_passes_changes_nothing(platform: Platform, lost: str) -> None:
    for number in range(20):
        platform.document(f"{number}.txt", b"%d" % number)
    take_in(platform)
    preserved(platform)
    (platform.docs / "3.txt").unlink()
    platform.document("4.txt", b"changed")
    preserved(platform)
    for path in platform.vault.glob(lost):
        path.unlink()
    report = preserved(platform)
    names = ("offered", "new", "unchanged", "vanished")
    assert [report[name] for name in names] == [19, 0, 19, 0]
    assert len(restored(platform)) == 21
