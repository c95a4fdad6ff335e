"""Objects: read when asked, checked against their ids, damaged ones named while the pass goes on."""

import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scelle.errors import ItemUnreadable, ItemVanished, SourceError
from scelle.sources.git import contents, source
from scelle.sources.git.contents import Listed, ObjectContents
from scelle.sources.git.place import open_repository
from scelle.sources.interfaces import PIECE_BYTES, UNDATED, WHOLE_BYTES, Record
from tests.unit.sources.git_repositories import (
    Work,
    bad,
    content,
    needs_git,
    pieces,
    records,
    units,
    values,
)

pytestmark = needs_git


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    work.commit("b", b"two\n")
    return work


def opened(work: Work) -> ObjectContents:
    return ObjectContents(open_repository(os.fsencode(work.path), "code"))


def listed(work: Work, name: str) -> Listed:
    oid = work.git("rev-parse", name)
    return Listed(
        oid.encode(), work.git("cat-file", "-t", oid).encode(), int(work.git("cat-file", "-s", oid))
    )


def overwrite(work: Work, name: str, data: bytes) -> str:
    oid = work.git("rev-parse", name)
    work.loose(oid).write_bytes(data)
    return oid


def test_objects_have_their_type_size_time_and_id(work: Work) -> None:
    work.git("tag", "-a", "-m", "x", "v1")
    found = records(work.source, b"objects")
    commit = found[work.git("rev-parse", "HEAD").encode()]
    tag = found[work.git("rev-parse", "v1").encode()]
    blob = found[work.git("rev-parse", "HEAD:a").encode()]
    assert [values(each)["type"] for each in (commit, tag, blob)] == ["commit", "tag", "blob"]
    assert values(blob)["size"] == 4
    assert (blob.time_us, values(blob)["time_basis"], values(blob)["meta"]) == (UNDATED, "none", None)
    assert commit.time_us // 1_000_000 == int(work.git("log", "-1", "--format=%ct"))
    assert (values(commit)["time_basis"], values(tag)["time_basis"]) == ("committer", "tagger")
    assert commit.version == bytes.fromhex(commit.native.decode())
    assert work.git("rev-parse", "HEAD~1") in values(commit)["meta"].decode()
    assert values(commit)["media_type"] == commit.contents[0].document.media_type == "text/plain"


def test_contents_of_trees_and_blobs_are_not_read_before_they_are_asked_for(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    honest = contents._Process.ask

    def ask(self: contents._Process, oids: list[bytes]) -> None:
        read.extend(oids)
        honest(self, oids)

    monkeypatch.setattr(contents._Process, "ask", ask)
    found = records(work.source, b"objects")
    kinds = [values(found[oid])["type"] for oid in read]
    assert kinds == ["commit", "commit"]
    blob = found[work.git("rev-parse", "HEAD:a").encode()]
    assert content(blob) == b"one\n"
    assert read[2:] == [blob.native]


def test_an_object_that_is_garbage_is_named_and_the_others_are_read(work: Work) -> None:
    everything_there = set(records(work.source, b"objects"))
    garbage = overwrite(work, "HEAD:a", b"garbage")
    empty = overwrite(work, "HEAD:b", b"")
    commit = overwrite(work, "HEAD~1", zlib.compress(b"commit 3\0abc"))
    found = records(work.source, b"objects")
    assert bad(work.source, b"objects") == sorted((oid, "object-damaged") for oid in (garbage, empty, commit))
    assert everything_there - set(found) == {garbage.encode(), empty.encode(), commit.encode()}


@pytest.mark.parametrize(
    "data", [b"blob 4\0ONE\n", b"blob 4\0on", b"blob 4\0one\nmore", b"tree 4\0one\n", b"blob 100000\0one\n"]
)
def test_content_that_is_not_its_ids_is_damaged_at_the_latest_at_its_end(work: Work, data: bytes) -> None:
    oid = overwrite(work, "HEAD:a", zlib.compress(data))
    record = records(work.source, b"objects")[oid.encode()]
    with pytest.raises(ItemUnreadable) as caught:
        list(pieces(record))
    assert caught.value.cause == "object-damaged"


def test_content_with_a_flipped_bit_is_damaged(work: Work) -> None:
    work.commit("large", os.urandom(100_000))
    oid = work.git("rev-parse", "HEAD:large")
    data = bytearray(work.loose(oid).read_bytes())
    data[50_000] ^= 1  # the head can still be read
    work.loose(oid).write_bytes(data)
    record = records(work.source, b"objects")[oid.encode()]
    with pytest.raises(ItemUnreadable) as caught:
        list(pieces(record))
    assert caught.value.cause == "object-damaged"


def test_an_object_that_is_not_as_it_was_listed_is_refused(work: Work) -> None:
    path = work.loose(work.git("rev-parse", "HEAD:a"))
    good = path.read_bytes()
    path.write_bytes(zlib.compress(b"blob 5\0one\n"))
    (record,) = (each for each in records(work.source, b"objects").values() if values(each)["size"] == 5)
    path.write_bytes(good)
    with pytest.raises(ItemUnreadable):
        list(pieces(record))


def test_a_pack_that_cannot_be_opened_is_named(work: Work) -> None:
    work.git("gc", "-q")
    work.commit("c", b"three\n")
    (index,) = (work.path / ".git" / "objects" / "pack").glob("*.idx")
    index.chmod(0o644)
    index.write_bytes(b"short")
    found = bad(work.source, b"objects")
    assert [cause for _, cause in found] == ["store-damaged"]
    assert len(records(work.source, b"objects")) == 3  # what lies beside the pack is read


def test_an_object_that_git_removed_since_has_vanished(work: Work) -> None:
    oid = work.git("hash-object", "-w", "--stdin", given=b"short-lived")
    record = records(work.source, b"objects")[oid.encode()]
    work.loose(oid).unlink()
    with pytest.raises(ItemVanished):
        list(pieces(record))


def test_contents_are_read_again_from_the_start_and_after_being_left_half_way(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    large = os.urandom(WHOLE_BYTES + PIECE_BYTES + 5)
    work.commit("large", large)
    record = records(work.source, b"objects")[work.git("rev-parse", "HEAD:large").encode()]
    stream = record.contents[0].document.stream
    assert stream is not None
    half = stream()
    assert next(half) == large[:PIECE_BYTES]
    sizes = [len(piece) for piece in stream()]
    assert sum(sizes) == len(large)
    assert max(sizes) == PIECE_BYTES
    del half
    assert b"".join(stream()) == large


def test_two_streams_at_once_do_not_mix(work: Work) -> None:
    reading = opened(work)
    one, two = listed(work, "HEAD:a"), listed(work, "HEAD:b")
    first, second = reading.streamer(one)(), reading.streamer(two)()
    assert next(first) == b"one\n"
    assert next(second) == b"two\n"
    assert list(first) == list(second) == []


def test_several_threads_read(work: Work) -> None:
    reading = opened(work)
    wanted = {listed(work, name): name for name in ("HEAD:a", "HEAD:b", "HEAD", "HEAD~1")}
    expected = {each: next(reading.streamer(each)()) for each in wanted}
    wrong: list[Listed] = []

    def read() -> None:
        for _ in range(20):
            wrong.extend(each for each in wanted if b"".join(reading.streamer(each)()) != expected[each])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_process_does_not_take_over_its_parents_readers(work: Work) -> None:
    reading = opened(work)
    one, two = listed(work, "HEAD:a"), listed(work, "HEAD:b")
    assert list(reading.streamer(one)()) == [b"one\n"]
    child = os.fork()
    if child == 0:  # pragma: no cover  (coverage does not follow)
        os._exit(0 if list(reading.streamer(two)()) == [b"two\n"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(reading.streamer(one)()) == [b"one\n"]


def test_readers_end_when_nobody_can_ask_them_any_more(work: Work) -> None:
    reading = opened(work)
    stream = reading.streamer(listed(work, "HEAD:a"))
    list(stream())
    (process,) = reading._idle
    del reading
    assert process.is_alive()
    del stream
    assert not process.is_alive()


def test_commits_are_read_by_one_reader(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_WINDOW", 1)
    work.commit("a", b"three\n")
    reading = opened(work)
    names = ("HEAD", "HEAD~1", "HEAD~2")
    assert len(list(zip(names, reading.whole([listed(work, name) for name in names]), strict=False))) == 3
    (process,) = reading._idle
    list(reading.whole([listed(work, "HEAD")]))
    assert reading._idle == [process]


def test_a_reader_that_died_while_it_waited_is_replaced(work: Work) -> None:
    reading = opened(work)
    one = listed(work, "HEAD:a")
    list(reading.streamer(one)())
    reading._idle[0]._process.kill()
    reading._idle[0]._process.wait()
    assert list(reading.streamer(one)()) == [b"one\n"]


def test_a_reader_that_is_killed_in_the_middle_damages_no_object(work: Work) -> None:
    large = work.commit("large", os.urandom(4 * PIECE_BYTES))
    assert large
    reading = opened(work)
    stream = reading._pieces(listed(work, "HEAD:large"))
    next(stream)
    children = [each for each in reading_processes(os.getpid()) if each]
    for child in children:
        os.kill(child, 9)
    with pytest.raises(ItemUnreadable) as caught:
        list(stream)
    assert caught.value.cause == "git-failed"


def reading_processes(parent: int) -> Iterator[int]:
    """The `git cat-file` children of a process."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text(encoding="ascii", errors="replace").partition(") ")
        except OSError:
            continue
        if int(rest.split()[1]) == parent and name.endswith("(git"):
            yield int(status.parent.name)


def test_many_commits_go_over_several_windows_and_one_damaged_stops_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path / "work")
    stream = b"".join(
        b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\ndata 2\nx\n\n"
        % (1_700_000_000 + number)
        for number in range(600)
    )
    work.git("-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet", given=stream)
    damaged = overwrite(work, "main~300", zlib.compress(b"commit 200\0tree"))
    monkeypatch.setattr(source, "BATCH_RECORDS", 100)
    batches = list(work.source.read(units(work.source)[b"objects"], b""))
    found = [record for batch in batches for record in batch.records]
    assert max(len(batch.records) for batch in batches) == 100
    assert all(batch.mark == b"" for batch in batches)
    assert len(found) == 601  # and the empty tree
    assert [each.place for each in found if not isinstance(each, Record)] == [damaged]
    times = {each.time_us for each in found if isinstance(each, Record)}
    assert len(times) == 600


def test_a_commit_larger_than_what_is_held_is_streamed_and_dated(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    oid = work.git(
        "commit-tree", work.git("hash-object", "-w", "-t", "tree", "--stdin"), given=b"m" * (WHOLE_BYTES + 1)
    )
    record = records(work.source, b"objects")[oid.encode()]
    assert record.contents[0].document.data is None
    assert values(record)["time_basis"] == "committer"
    assert content(record).endswith(b"m" * 1000)


def test_batches_hold_no_more_than_they_may(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    tree = work.git("hash-object", "-w", "-t", "tree", "--stdin")
    for number in range(4):
        work.git("commit-tree", tree, given=b"%d" % number + b"m" * (3 << 20))
    sizes = [
        sum(len(each.contents[0].document.data or b"") for each in batch.records if isinstance(each, Record))
        for batch in work.source.read(units(work.source)[b"objects"], b"")
    ]
    assert len(sizes) == 2
    assert max(sizes) <= source.BATCH_BYTES


def test_a_store_that_cannot_be_listed_ends_the_unit(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    known = units(work.source)[b"objects"]
    reading = work.source.read(known, b"")
    monkeypatch.setattr("scelle.sources.git.objects._LISTING", ("cat-file", "--no-such-option"))
    with pytest.raises(SourceError, match="stopped listing"):
        list(reading)
