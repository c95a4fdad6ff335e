import zlib
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest

from scelle.errors import PackageNameRefused
from scelle.productions import scratch
from scelle.productions.scratch import NAME_MAX_BYTES, Part, Scratch, Slice, refuse_place, workspace


def test_a_scratch_file_knows_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "BUFFER_BYTES", 10)
    made = Scratch(tmp_path / "s")
    pieces = [b"abc" * number for number in range(9)]
    for piece in pieces:
        assert made.write(piece) == len(piece)
    member, file = made.member("records.jsonl")
    data = b"".join(pieces)

    assert (member.path, member.size_bytes, member.crc32) == ("records.jsonl", len(data), zlib.crc32(data))
    assert (file.path, file.size_bytes, file.sha256) == ("records.jsonl", len(data), sha256(data).digest())
    with member.open() as opened:
        assert opened.read() == data
    assert Slice(made, 5, 4)().read() == data[5:9]
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_file_is_for_its_owner_only(tmp_path: Path) -> None:
    made = Scratch(tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    made.close()


def test_a_cleared_scratch_file_starts_anew(tmp_path: Path) -> None:
    made = Scratch(tmp_path / "s", hashed=False)
    made.write(b"old")
    made.drain()
    made.write(b"pending")
    made.clear()
    made.write(b"new")
    made.drain()
    assert (made.size_bytes, made.read(0, 9)) == (3, b"new")
    made.close()


def test_a_published_file_is_whole_and_alone(tmp_path: Path) -> None:
    out = tmp_path / "p.scelle"
    with workspace(out) as work:
        package = work.scratch("package")
        work.scratch("records").write(b"x")
        package.write(b"whole")
        assert not out.exists()
        package.publish(out)
    assert [path.name for path in tmp_path.iterdir()] == ["p.scelle"]
    assert out.read_bytes() == b"whole"
    assert out.stat().st_mode & 0o077 == 0


def fail_half_way(out: Path) -> None:
    with workspace(out) as work:
        work.scratch("package").write(b"x" * (3 << 20))
        raise ZeroDivisionError


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "p.scelle")
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_taken_or_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "dangling", "."):
        with pytest.raises(PackageNameRefused, match="is there already"):
            refuse_place(tmp_path / name)
    for name in ("missing/p.scelle", "file/p.scelle"):
        with pytest.raises(PackageNameRefused, match="no such folder"):
            refuse_place(tmp_path / name)
    refuse_place(tmp_path / "p.scelle")


def leave(out: Path) -> list[Path]:
    left = [out.with_name(f".{out.name}.{part}.part") for part in get_args(Part)]
    for path in left:
        path.write_bytes(b"an item in plain")
    return left


def test_what_a_killed_run_left_is_removed_and_nothing_of_another_package(tmp_path: Path) -> None:
    leave(tmp_path / "p")
    others = leave(tmp_path / "p.scelle")
    refuse_place(tmp_path / "p")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_what_cannot_be_removed_is_said_and_the_rest_removed(tmp_path: Path) -> None:
    for path in leave(tmp_path / "p.scelle"):
        if ".items." in path.name:
            path.unlink()
            path.mkdir()
    with pytest.raises(
        PackageNameRefused, match=r"/\.p\.scelle\.items\.part: left by a killed run, holds items"
    ):
        refuse_place(tmp_path / "p.scelle")
    assert [path.name for path in tmp_path.iterdir()] == [".p.scelle.items.part"]


@pytest.mark.parametrize("name", ["", "n" * (NAME_MAX_BYTES + 1), "n" * 4096])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(PackageNameRefused, match="a name of 1 to 200 bytes"):
        refuse_place(Path("/") / name)
