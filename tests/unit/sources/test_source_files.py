"""Files, links and specials as a pass meets them: every line of torture.md that concerns files."""
# pathlib knows no descriptors, and os.listdir is what is asked of /proc here.
# ruff: noqa: PTH208

import json
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import (
    ItemChanged,
    ItemError,
    ItemUnreadable,
    ItemVanished,
    SourceMissing,
    SourceUnreadable,
)
from scelle.sources import tree
from scelle.sources.files.source import FilesSource
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Document, Kind, Offered, Trouble

SomebodyElse = Callable[[], AbstractContextManager[None]]


def source(root: Path) -> FilesSource:
    return FilesSource(os.fsencode(root), "docs")


def everything(root: Path) -> list[Offered | Trouble]:
    return list(source(root).offered())


def offered(root: Path) -> dict[bytes, Offered]:
    return {each.native: each for each in everything(root) if isinstance(each, Offered)}


def troubles(root: Path) -> dict[bytes, str]:
    return {each.path: each.cause for each in everything(root) if isinstance(each, Trouble)}


def only(root: Path) -> Offered:
    (each,) = everything(root)
    assert isinstance(each, Offered)
    return each


def meta(document: Document) -> dict[str, Any]:
    value = json.loads(document.meta_json)
    assert isinstance(value, dict)
    return value


def streamed(document: Document) -> Iterator[bytes]:
    assert document.data is None
    assert document.stream is not None
    return document.stream()


# --- what is offered


def test_a_tree_is_offered_in_byte_order_and_directories_are_no_items(tmp_path: Path) -> None:
    (tmp_path / "b" / "empty").mkdir(parents=True)
    for name in ("b/2", "b/1", "a", "b.txt", "B"):
        (tmp_path / name).write_text(name)
    assert [each.path for each in everything(tmp_path)] == [b"B", b"a", b"b/1", b"b/2", b"b.txt"]


def test_a_file_is_offered_with_size_time_and_stamp(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.utime(tmp_path / "a", ns=(1, 1_700_000_000_123_456_789))
    each = only(tmp_path)
    assert each.kind is Kind.DOCUMENT
    assert (each.size_bytes, each.time_us, each.time_basis) == (5, 1_700_000_000_123_456, "mtime")
    assert each.mtime_ns == 1_700_000_000_123_456_789
    assert len(each.stamp) == 40


def test_an_empty_tree_offers_nothing(tmp_path: Path) -> None:
    assert everything(tmp_path) == []


def test_sockets_fifos_and_devices_are_special_with_their_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        expected = {b"fifo": "fifo", b"socket": "socket"}
        if os.geteuid() == 0:
            try:
                os.mknod(tmp_path / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
                os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 0))
            except PermissionError:
                pass
            else:
                expected |= {b"char": "character-device", b"block": "block-device"}
        found = offered(tmp_path)
        assert {name: each.reason for name, each in found.items()} == expected
        assert {each.kind for each in found.values()} == {Kind.SPECIAL}


def test_a_special_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ItemUnreadable, match="fifo") as caught:
        source(tmp_path).read(only(tmp_path))
    assert caught.value.cause == "fifo"


def test_hard_links_are_two_items(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    os.link(tmp_path / "a", tmp_path / "b")
    found = offered(tmp_path)
    assert set(found) == {b"a", b"b"}
    assert meta(source(tmp_path).read(found[b"a"]))["links"] == 2


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe not UTF-8",
        b"new\nline",
        b"-" * 255,
        b"\xc3\xa9" * 127,
        b"%41",
        b" ",
        b"a\\b",
        b"\x7f\x01",
        b"*?[",
    ],
)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.write(b"x")
    each = only(tmp_path)
    assert each.native == each.path == name
    document = source(tmp_path).read(each)
    assert document.data == b"x"
    try:
        name.decode()
    except UnicodeDecodeError:
        assert "path" in meta(document)
    else:
        assert "path" not in meta(document)


def test_a_tree_three_thousand_deep_is_walked_and_read(tmp_path: Path) -> None:
    """Deeper than the recursion limit, and than PATH_MAX and the number of open files allow."""
    depth = 3_000
    directory = os.open(tmp_path, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(b"dd", dir_fd=directory)
        below = os.open(b"dd", os.O_RDONLY, dir_fd=directory)
        for name in (b"a", b"z") if level % 500 == 499 else ():
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=below))
        os.close(directory)
        directory = below
    os.close(directory)
    reader = source(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # what other tests left open
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 200, limits[1]))
    try:
        found = [each for each in reader.offered() if isinstance(each, Offered)]
        assert all(reader.read(each).data == b"" for each in found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(found) == 12
    assert max(each.path.count(b"/") for each in found) == depth
    assert found[-1].path.count(b"/") == 500
    _remove_deep(tmp_path)


def _remove_deep(root: Path) -> None:
    """Take the tree apart; shutil would need more recursion than Python has."""
    descriptors = [os.open(root, os.O_RDONLY)]
    names: list[bytes] = []
    while True:
        for name in (b"a", b"z"):
            if name in map(os.fsencode, os.listdir(descriptors[-1])):
                os.unlink(name, dir_fd=descriptors[-1])
        try:
            below = os.open(b"dd", os.O_RDONLY, dir_fd=descriptors[-1])
        except FileNotFoundError:
            break
        names.append(b"dd")
        descriptors.append(below)
        if len(descriptors) > 100:
            os.close(descriptors.pop(0))
    current = descriptors.pop()
    for name in reversed(names):
        above = os.open(b"..", os.O_RDONLY, dir_fd=current)
        os.close(current)
        os.rmdir(name, dir_fd=above)
        current = above
    os.close(current)


def test_a_walk_leaves_no_descriptor_open(tmp_path: Path) -> None:
    for name in ("a/b/c", "d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "f").touch()
    before = set(os.listdir("/proc/self/fd"))
    walk = source(tmp_path).offered()
    next(walk)
    del walk
    everything(tmp_path)
    assert set(os.listdir("/proc/self/fd")) == before


def test_memory_of_a_walk_does_not_grow_with_directories(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03d}").mkdir()
        (tmp_path / f"{number:03d}" / "f").touch()
    walk = source(tmp_path).offered()
    before = len(os.listdir("/proc/self/fd"))
    for _ in walk:
        assert len(os.listdir("/proc/self/fd")) <= before + 3


# --- roots


def test_a_root_that_is_a_file_is_a_tree_of_one(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("x")
    (tmp_path / "other.txt").write_text("y")
    root = tmp_path / "report.txt"
    source(root).test()
    each = only(root)
    assert each.native == b"report.txt"
    assert source(root).read(each).data == b"x"


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("x")
    (tmp_path / "link").symlink_to("real")
    each = only(tmp_path / "link")
    assert source(tmp_path / "link").read(each).data == b"x"
    (tmp_path / "to-file").symlink_to("real/a")
    each = only(tmp_path / "to-file")
    assert each.native == b"a"
    assert source(tmp_path / "to-file").read(each).data == b"x"


@pytest.mark.parametrize("name", ["nothing", "dangling", "file/below"])
def test_a_missing_root_is_an_error_and_not_an_empty_tree(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "file").touch()
    with pytest.raises(SourceMissing, match="mount it"):
        source(tmp_path / name).test()
    with pytest.raises(SourceMissing):
        everything(tmp_path / name)


def test_a_root_that_is_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SourceUnreadable, match="neither a directory nor a file"):
        source(tmp_path / "fifo").test()


def test_a_root_that_cannot_be_listed_is_an_error(open_path: Path, somebody_else: SomebodyElse) -> None:
    (open_path / "locked").mkdir(mode=0o700)
    (open_path / "file").write_text("x")
    (open_path / "file").chmod(0)
    if os.geteuid() != 0:
        (open_path / "locked").chmod(0)
    with somebody_else():
        for name in ("locked", "file"):
            with pytest.raises(SourceUnreadable, match="permission-denied"):
                source(open_path / name).test()
        with pytest.raises(SourceUnreadable):
            everything(open_path / "locked")


# --- links


def test_a_link_is_a_document_whose_content_is_its_target(tmp_path: Path) -> None:
    target = b"/nowhere/\xff"
    (tmp_path / "link").symlink_to(os.fsdecode(target))
    each = only(tmp_path)
    assert each.kind is Kind.LINK
    document = source(tmp_path).read(each)
    assert document.data == target
    assert document.size_bytes == len(target) == each.size_bytes
    assert document.media_type == "inode/symlink"
    assert meta(document)["kind"] == "link"
    assert document.stamp == each.stamp


def test_loops_of_links_are_harmless(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "self").symlink_to(".")
    found = offered(tmp_path)
    assert set(found) == {b"a", b"b", b"up", b"self"}
    assert source(tmp_path).read(found[b"up"]).data == b".."


def test_a_link_to_a_directory_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").touch()
    (tmp_path / "link").symlink_to("real")
    assert set(offered(tmp_path)) == {b"real/f", b"link"}


def test_a_link_replaced_by_a_file_has_changed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    each = only(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "link").write_text("x")
    with pytest.raises(ItemChanged):
        source(tmp_path).read(each)


def test_a_link_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    each = only(tmp_path)
    (tmp_path / "link").unlink()
    with pytest.raises(ItemVanished):
        source(tmp_path).read(each)


# --- reading


def test_what_is_read_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "minutes.txt"
    path.write_bytes(b"the minutes")
    path.chmod(0o640)
    os.utime(path, ns=(5, -1_500))
    each = only(tmp_path)
    document = source(tmp_path).read(each)
    status = path.stat()
    assert document.data == b"the minutes"
    assert (document.size_bytes, document.media_type) == (11, "text/plain")
    assert (document.time_us, document.time_basis) == (-2, "mtime")  # floored, before 1970
    assert document.stamp == each.stamp
    about = meta(document)
    birth = about.pop("birth_ns", None)
    assert birth is None or int(birth) <= status.st_ctime_ns
    assert about == {
        "ctime_ns": str(status.st_ctime_ns),
        "gid": status.st_gid,
        "kind": "file",
        "links": 1,
        "mode": "100640",
        "mtime_ns": "-1500",
        "uid": status.st_uid,
        "xattrs": [],
    }


def test_reading_does_not_touch_the_access_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    os.utime(path, ns=(1_000, 2_000))
    reader = source(tmp_path)
    reader.read(only(tmp_path))
    assert path.stat().st_atime_ns == 1_000


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    try:
        os.setxattr(path, "user.origin", b"scanner")
        os.setxattr(path, b"user.\xff", b"\xff\0")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    document = source(tmp_path).read(only(tmp_path))
    attributes = meta(document)["xattrs"]
    assert ["user.origin", "scanner"] in attributes
    assert [{"b64": "dXNlci7/"}, {"b64": "/wA="}] in attributes


def test_a_sparse_file_is_read_as_it_appears(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3 << 20)
    document = source(tmp_path).read(only(tmp_path))
    assert document.data == bytes(3 << 20)


@pytest.mark.parametrize("size", [WHOLE_BYTES, WHOLE_BYTES + 1, WHOLE_BYTES + PIECE_BYTES + 7])
def test_a_large_file_comes_in_pieces(tmp_path: Path, size: int) -> None:
    pattern = bytes(range(256)) * 4096
    content = (pattern * (size // len(pattern) + 1))[:size]
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content[8:])
    content = b"\x89PNG\r\n\x1a\n" + content[8:]
    document = source(tmp_path).read(only(tmp_path))
    assert document.media_type == "image/png"
    assert document.size_bytes == size
    if size <= WHOLE_BYTES:
        assert document.data == content
        assert document.stream is None
        return
    for _ in range(2):  # from the start each time
        pieces = list(streamed(document))
        assert {len(piece) for piece in pieces[:-1]} == {PIECE_BYTES}
        assert sha256(b"".join(pieces)).digest() == sha256(content).digest()


def test_what_changed_between_listing_and_reading_is_read_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    each = only(tmp_path)
    path.write_bytes(b"newer and longer")
    os.utime(path, ns=(0, 7_000))
    document = source(tmp_path).read(each)
    assert document.data == b"newer and longer"
    assert document.stamp != each.stamp
    assert document.time_us == 7
    assert document.stamp == only(tmp_path).stamp


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten", "is touched"])
@pytest.mark.parametrize("size", [10, WHOLE_BYTES + PIECE_BYTES])
def test_a_file_that_changes_while_it_is_read_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, size: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    os.utime(path, ns=(0, 0))
    each = only(tmp_path)
    real_read = os.read

    def read(descriptor: int, count: int) -> bytes:
        data = real_read(descriptor, count)
        match change:
            case "grows":
                with path.open("ab") as file:
                    file.write(b"more")
            case "shrinks":
                os.truncate(path, max(0, path.stat().st_size - 4))
            case "is rewritten":
                with path.open("r+b") as file:
                    file.write(os.urandom(4))
            case "is touched":
                os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return data

    monkeypatch.setattr(os, "read", read)

    def read_all() -> None:
        document = source(tmp_path).read(each)
        if document.stream is not None:
            for _ in document.stream():
                pass

    with pytest.raises(ItemChanged) as caught:
        read_all()
    assert caught.value.cause == "changed-while-read"
    assert caught.value.code == "sources.item_changed"


def test_a_stream_of_a_file_that_was_replaced_fails_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(WHOLE_BYTES + 1))
    document = source(tmp_path).read(only(tmp_path))
    (tmp_path / "b").write_bytes(bytes(WHOLE_BYTES + 1))
    (tmp_path / "b").rename(path)
    with pytest.raises(ItemChanged):
        next(streamed(document))


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten", "grows and shrinks"])
def test_a_file_that_changes_between_the_pieces_of_a_stream_fails(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(WHOLE_BYTES + PIECE_BYTES))
    os.utime(path, ns=(0, 0))
    pieces = streamed(source(tmp_path).read(only(tmp_path)))
    next(pieces)
    with path.open("r+b") as file:
        match change:
            case "grows":
                file.seek(0, os.SEEK_END)
                file.write(b"more")
            case "shrinks":
                file.truncate(WHOLE_BYTES)
            case "is rewritten":
                file.write(b"x")
            case "grows and shrinks":
                file.truncate(WHOLE_BYTES * 4)
                file.flush()
                file.truncate(WHOLE_BYTES + PIECE_BYTES)
    rest: list[bytes] = []
    with pytest.raises(ItemChanged):
        rest.extend(pieces)
    assert sum(map(len, rest)) <= WHOLE_BYTES  # no more than was there at first


def test_a_short_read_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"0123456789" * 100)
    each = only(tmp_path)
    real_read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: real_read(descriptor, min(count, 7)))
    assert source(tmp_path).read(each).data == b"0123456789" * 100


def test_a_file_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    each = only(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(ItemVanished) as caught:
        source(tmp_path).read(each)
    assert (caught.value.code, caught.value.cause) == ("sources.item_vanished", "vanished")


def test_a_directory_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").touch()
    each = only(tmp_path)
    (tmp_path / "d" / "a").unlink()
    (tmp_path / "d").rmdir()
    with pytest.raises(ItemVanished):
        source(tmp_path).read(each)


def test_a_directory_replaced_by_another_of_its_name_is_read_anew(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a").write_text("old")
        (tmp_path / "d" / "b").write_text(name)
        (tmp_path / "d").rename(tmp_path / name)
    (tmp_path / "one").rename(tmp_path / "d")
    reader = source(tmp_path)
    found = {each.path: each for each in reader.offered() if isinstance(each, Offered)}
    reader.read(found[b"d/a"])
    (tmp_path / "d").rename(tmp_path / "one")
    (tmp_path / "one" / "b").unlink()
    (tmp_path / "two").rename(tmp_path / "d")
    assert reader.read(found[b"d/b"]).data == b"two"


@pytest.mark.parametrize("replacement", ["fifo", "socket", "link", "directory", "link to itself"])
def test_a_file_swapped_for_something_else_neither_hangs_nor_leads_away(
    tmp_path: Path, replacement: str
) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_text("secret")
    (tmp_path / "tree").mkdir()
    path = tmp_path / "tree" / "a"
    path.write_text("x")
    each = only(tmp_path / "tree")
    path.unlink()
    match replacement:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "link":
            path.symlink_to(secret)
        case "directory":
            path.mkdir()
        case "link to itself":
            path.symlink_to("a")
    with pytest.raises(ItemChanged):
        source(tmp_path / "tree").read(each)


def test_nothing_is_taken_from_a_fifo_that_a_writer_fills(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    each = only(tmp_path)
    path.unlink()
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(descriptor, b"for another reader")
        with pytest.raises(ItemChanged):
            source(tmp_path).read(each)
        assert os.read(descriptor, 100) == b"for another reader"
    finally:
        os.close(descriptor)


def test_a_parent_swapped_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "tree" / "d" / "a").write_text("x")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a").write_text("secret")
    each = only(tmp_path / "tree")
    (tmp_path / "tree" / "d").rename(tmp_path / "moved")
    (tmp_path / "tree" / "d").symlink_to(tmp_path / "away")
    with pytest.raises(ItemError) as caught:
        source(tmp_path / "tree").read(each)
    assert caught.value.cause in ("vanished", "changed-while-read")


def test_a_file_without_permission_is_offered_and_fails(open_path: Path, somebody_else: SomebodyElse) -> None:
    (open_path / "a").write_text("x")
    (open_path / "a").chmod(0)
    with somebody_else():
        each = only(open_path)
        with pytest.raises(ItemUnreadable, match="permission-denied") as caught:
            source(open_path).read(each)
    assert caught.value.cause == "permission-denied"


def test_a_file_of_another_owner_is_read_without_the_quiet_flag(
    open_path: Path, somebody_else: SomebodyElse
) -> None:
    (open_path / "a").write_text("x")
    with somebody_else():
        assert source(open_path).read(only(open_path)).data == b"x"


def test_a_directory_that_cannot_be_listed_is_a_trouble(open_path: Path, somebody_else: SomebodyElse) -> None:
    (open_path / "locked").mkdir()
    (open_path / "locked" / "a").touch()
    (open_path / "locked").chmod(0)
    (open_path / "z").touch()
    with somebody_else():
        found = everything(open_path)
    assert found[0] == Trouble(b"locked", b"locked", "permission-denied")
    assert [each.path for each in found] == [b"locked", b"z"]


def test_a_directory_that_can_be_listed_and_not_entered(open_path: Path, somebody_else: SomebodyElse) -> None:
    (open_path / "d").mkdir()
    (open_path / "d" / "a").touch()
    (open_path / "d").chmod(0o444)
    with somebody_else():
        assert troubles(open_path) == {b"d/a": "permission-denied"}


def test_a_name_that_vanishes_before_it_is_looked_at_is_a_trouble(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    walk = source(tmp_path).offered()
    next(walk)
    (tmp_path / "b").unlink()
    assert list(walk) == [Trouble(b"b", b"b", "vanished")]


def test_an_error_of_the_disk_is_a_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    real = os.listdir
    calls = []

    def listdir(descriptor: int) -> list[str]:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return real(descriptor)

    monkeypatch.setattr(os, "listdir", listdir)
    assert troubles(tmp_path) == {b"d": "io-error"}


def test_an_unknown_system_error_has_a_code_too() -> None:
    assert tree.cause_of(OSError(28, "")) == "os-enospc"
    assert tree.cause_of(OSError()) == "os-unknown"


def test_a_directory_inside_itself_is_a_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bind mount makes it; here the identity is forged, because mounting needs rights."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    monkeypatch.setattr(tree, "_identity", lambda status: (1, 1))
    assert troubles(tmp_path) == {b"d": "directory-loop"}


def test_a_deep_directory_moved_during_the_walk_does_not_lead_astray(tmp_path: Path) -> None:
    """The walk comes back through `..`; if that is another directory by then, it goes by the path."""
    deep = tmp_path.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "f").touch()
    for level in range(5):
        (tmp_path.joinpath(*["d"] * level) / "z").touch()
    walk = source(tmp_path).offered()
    assert next(walk).path.endswith(b"d/f")
    away = tmp_path / "away"
    away.mkdir()
    tmp_path.joinpath(*["d"] * 3).rename(away / "moved")
    rest = list(walk)
    offered_paths = {each.path for each in rest if isinstance(each, Offered)}
    assert {b"z", b"d/z", b"d/d/z"} <= offered_paths
    assert len(rest) == 5


@pytest.mark.parametrize("nanoseconds", [-(2**62), -1, 0, 2**63, 2**70])
def test_stamps_of_any_time(nanoseconds: int) -> None:
    class Status:
        st_dev, st_ino, st_size = 2**64 - 1, 2**64 - 1, 2**63 - 1
        st_mtime_ns = st_ctime_ns = nanoseconds

    stamp = tree.stamp_of(Status())  # type: ignore[arg-type]
    assert len(stamp) == 40


@pytest.mark.parametrize("field", ["st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"])
def test_each_of_the_five_changes_the_stamp(field: str) -> None:
    class Status:
        st_dev = st_ino = st_size = st_mtime_ns = st_ctime_ns = 1

    before = tree.stamp_of(Status())  # type: ignore[arg-type]
    setattr(Status, field, 2)
    assert tree.stamp_of(Status()) != before  # type: ignore[arg-type]


def test_several_threads_read_one_source(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / str(folder)).mkdir()
        for number in range(3):
            (tmp_path / str(folder) / str(number)).write_text(f"{folder}/{number}")
    reader = source(tmp_path)
    items = [each for each in reader.offered() if isinstance(each, Offered)]
    wrong: list[bytes] = []

    def work(part: list[Offered]) -> None:
        wrong.extend(each.path for each in part if reader.read(each).data != each.path)

    threads = [threading.Thread(target=work, args=(items[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_new_pass_looks_at_the_root_anew(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("old")
    reader = source(root)
    (each,) = reader.offered()
    assert isinstance(each, Offered)
    assert reader.read(each).data == b"old"
    root.rename(tmp_path / "was")
    root.mkdir()
    (root / "a").write_text("new")
    (each,) = reader.offered()
    assert isinstance(each, Offered)
    assert reader.read(each).data == b"new"


def test_nothing_of_the_tree_is_written(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("x")
    before = {path: path.stat() for path in (tmp_path, tmp_path / "d", tmp_path / "d" / "a")}
    reader = source(tmp_path)
    for each in list(reader.offered()):
        assert isinstance(each, Offered)
        reader.read(each)
    assert {path: path.stat() for path in before} == before
