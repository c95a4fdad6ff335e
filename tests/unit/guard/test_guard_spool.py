"""The spool of refusals: encrypted, cut short anywhere, taken over while processes still append."""

from pathlib import Path

import pytest

from scelle.guard.spool import (
    AT_ONCE,
    Refusal,
    RefusalSpool,
    read_spool,
    refusal_from_json,
    refusals_folder,
    remove_finished,
)
from scelle.vault.keys import VaultKey

KEY = VaultKey(bytes(range(32)))


def refusal(number: int = 0) -> Refusal:
    return Refusal("posts", f"p{number}", "0badcafe", 1_770_000_000_000_000 + number, "u1", None)


def test_refusals_come_back_as_they_were_noted(tmp_path: Path) -> None:
    noted = [refusal(number) for number in range(AT_ONCE + 1)]
    with RefusalSpool(tmp_path, KEY) as spool:
        spool.note(noted)
        spool.note([])
    [file] = read_spool(tmp_path, KEY)
    assert [len(frame) for frame in file.frames] == [AT_ONCE, 1]
    assert [each for frame in file.frames for each in frame] == noted


@pytest.mark.parametrize("time_us", [None, -(2**63) + 1, 0, 2**63 - 1])
def test_a_refusal_comes_back_from_its_json(time_us: int | None) -> None:
    made = Refusal("posts", "é\n", "00000000", 5, None, time_us)
    assert refusal_from_json(made.to_json()) == made


def test_nothing_is_made_before_the_first_refusal(tmp_path: Path) -> None:
    with RefusalSpool(tmp_path, KEY) as spool:
        spool.note([])
    assert list(tmp_path.iterdir()) == []
    assert list(read_spool(tmp_path, KEY)) == []


def test_a_file_cut_anywhere_gives_its_whole_frames(tmp_path: Path) -> None:
    with RefusalSpool(tmp_path, KEY) as spool:
        spool.note([refusal(1)])
        spool.note([refusal(2)])
    [path] = refusals_folder(tmp_path).iterdir()
    whole = path.read_bytes()
    one = 4 + int.from_bytes(whole[:4], "big")
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        [file] = read_spool(tmp_path, KEY)
        assert len(file.frames) == (size >= one) + (size == len(whole))
        assert file.damaged == ()
    path.write_bytes(whole[:one] + b"\xff" * 40)  # a frame that claims 4 GiB
    [file] = read_spool(tmp_path, KEY)
    assert (file.frames[:1], file.damaged) == (((refusal(1),),), (1,))


def test_a_frame_that_was_moved_or_is_another_vaults_is_none(tmp_path: Path) -> None:
    with RefusalSpool(tmp_path, KEY) as spool:
        spool.note([refusal()])
    [path] = refusals_folder(tmp_path).iterdir()
    [file] = read_spool(tmp_path, VaultKey(bytes(32)))
    assert (file.frames, file.damaged) == (((),), (0,))
    path.rename(path.with_name("0" * 32))
    [file] = read_spool(tmp_path, KEY)
    assert (file.frames, file.damaged) == (((),), (0,))


def test_a_file_to_which_a_process_may_append_is_not_removed(tmp_path: Path) -> None:
    spool = RefusalSpool(tmp_path, KEY)
    spool.note([refusal(1)])
    [file] = read_spool(tmp_path, KEY)
    assert not remove_finished(file)
    spool.note([refusal(2)])
    spool.close()
    assert not remove_finished(file)  # the second was not read yet
    [file] = read_spool(tmp_path, KEY)
    assert len(file.frames) == 2
    assert remove_finished(file)
    assert list(read_spool(tmp_path, KEY)) == []


def test_each_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    with RefusalSpool(tmp_path, KEY) as one, RefusalSpool(tmp_path, KEY) as other:
        one.note([refusal(1)])
        other.note([refusal(2)])
    assert sorted(file.frames[0][0].native for file in read_spool(tmp_path, KEY)) == ["p1", "p2"]


def test_a_damaged_frame_is_told_and_loses_none_of_the_others(tmp_path: Path) -> None:
    with RefusalSpool(tmp_path, KEY) as spool:
        for number in range(3):
            spool.note([refusal(number)])
    [path] = refusals_folder(tmp_path).iterdir()
    whole = path.read_bytes()
    one = 4 + int.from_bytes(whole[:4], "big")
    for at in (4, one - 1, one + 4, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        [file] = read_spool(tmp_path, KEY)
        assert file.damaged == (at // one,)
        expected = [() if number == at // one else (refusal(number),) for number in range(3)]
        assert list(file.frames) == expected
    path.write_bytes(whole[:one] + b"\0" * 40)  # what a disk may give behind a crash
    [file] = read_spool(tmp_path, KEY)
    assert (len(file.frames), file.damaged) == (2, (1,))
