"""Ref positions and reflogs: what moved, what leads nowhere, what is malformed."""

from pathlib import Path

import pytest

from scelle.formats.values import decode_value
from scelle.sources.interfaces import UNDATED
from tests.unit.sources.git_repositories import Work, bad, needs_git, records, values

pytestmark = needs_git


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "work")
    work.commit("a", b"one\n")
    return work


def reflog(work: Work) -> Path:
    return work.path / ".git" / "logs" / "refs" / "heads" / "main"


def test_a_tag_is_peeled_to_what_it_leads_to_in_the_end(work: Work) -> None:
    work.git("tag", "-a", "-m", "x", "v1")
    work.git("tag", "-a", "-m", "x", "v2", "v1")
    found = values(records(work.source, b"refs")[b"refs/tags/v2"])
    assert found["target"] == work.git("rev-parse", "v2")
    assert found["target_type"] == "tag"
    assert found["peeled"] == work.git("rev-parse", "HEAD")
    assert values(records(work.source, b"refs")[b"refs/heads/main"])["peeled"] is None


def test_a_position_is_dated_by_the_reflog_where_it_names_it(work: Work) -> None:
    work.commit("a", b"two\n")
    record = records(work.source, b"refs")[b"refs/heads/main"]
    assert record.time_us == work.now // 1 * 1_000_000 - 60_000_000  # the last command only asked
    assert values(record)["time_basis"] == "reflog"
    reflog(work).unlink()
    record = records(work.source, b"refs")[b"refs/heads/main"]
    assert record.time_us == UNDATED
    assert values(record)["time_basis"] == "none"


def test_a_position_that_no_entry_speaks_of_is_undated(work: Work) -> None:
    oid = work.commit("a", b"two\n")
    (work.path / ".git" / "refs" / "heads" / "main").write_text(
        work.git("rev-parse", "HEAD~1") + "\n", encoding="ascii"
    )
    record = records(work.source, b"refs")[b"refs/heads/main"]
    assert (record.time_us, values(record)["time_basis"]) == (UNDATED, "none")
    assert values(record)["target"] != oid


def test_a_ref_that_moved_away_and_back_has_another_version(work: Work) -> None:
    first = work.git("rev-parse", "HEAD")
    before = records(work.source, b"refs")[b"refs/heads/main"]
    work.commit("a", b"two\n")
    work.git("update-ref", "-m", "back", "refs/heads/main", first)
    after = records(work.source, b"refs")[b"refs/heads/main"]
    assert values(before)["target"] == values(after)["target"]
    assert before.version != after.version


def test_packed_refs_are_the_same_records(work: Work) -> None:
    work.git("tag", "-a", "-m", "x", "v1")
    before = records(work.source, b"refs")
    work.git("pack-refs", "--all")
    assert records(work.source, b"refs") == before


def test_head_on_a_branch_that_is_not_born_yet(tmp_path: Path) -> None:
    work = Work(tmp_path / "empty")
    assert list(records(work.source, b"objects")) == []
    assert list(records(work.source, b"reflogs")) == []
    (head,) = records(work.source, b"refs").values()
    assert (values(head)["symref"], values(head)["target"]) == ("refs/heads/main", None)


def test_a_detached_head_and_its_sisters(work: Work) -> None:
    work.git("checkout", "-q", "--detach")
    work.git("reset", "-q", "--hard")
    oid = work.git("rev-parse", "HEAD")
    (work.path / ".git" / "FETCH_HEAD").write_text(f"{oid}\t\tbranch 'x' of ../other\n", encoding="ascii")
    found = records(work.source, b"refs")
    assert sorted(found) == [b"FETCH_HEAD", b"HEAD", b"ORIG_HEAD", b"refs/heads/main"]
    assert {values(each)["target"] for each in found.values()} == {oid}


def test_head_as_a_symbolic_link(work: Work) -> None:
    head = work.path / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")
    assert values(records(work.source, b"refs")[b"HEAD"])["symref"] == "refs/heads/main"


def test_refs_that_lead_nowhere_are_named(work: Work) -> None:
    heads = work.path / ".git" / "refs" / "heads"
    (heads / "broken").write_bytes(b"nonsense\n")
    (heads / "empty").write_bytes(b"")
    (heads / "missing").write_bytes(b"1" * 40 + b"\n")
    (heads / "dangling").write_bytes(b"ref: refs/heads/none\n")
    (heads / "main.lock").write_bytes(b"1" * 40 + b"\n")
    found = records(work.source, b"refs")
    assert sorted(found) == [b"HEAD", b"refs/heads/dangling", b"refs/heads/main", b"refs/heads/missing"]
    assert values(found[b"refs/heads/missing"])["target"] == "1" * 40
    assert values(found[b"refs/heads/missing"])["target_type"] is None
    assert values(found[b"refs/heads/dangling"])["symref"] == "refs/heads/none"
    assert bad(work.source, b"refs") == [
        ("refs/heads/broken", "ref-broken"),
        ("refs/heads/empty", "ref-broken"),
        ("refs/heads/missing", "object-missing"),
    ]


def test_a_name_outside_utf8_keeps_its_bytes(work: Work) -> None:
    name = b"refs/heads/caf\xe9"
    work.git("update-ref", name, "HEAD")
    record = records(work.source, b"refs")[name]
    assert values(record)["native_id"] == "refs/heads/caf%E9"
    assert values(record)["raw"] == name + b"\n"
    assert values(records(work.source, b"refs")[b"HEAD"])["raw"] is None


def test_every_entry_of_a_reflog_is_a_record(work: Work) -> None:
    first = work.git("rev-parse", "HEAD")
    second = work.commit("a", b"two\n", "a second")
    logged = [values(each) for each in records(work.source, b"reflogs").values()]
    assert sorted(each["ref"] for each in logged) == ["HEAD", "HEAD", "refs/heads/main", "refs/heads/main"]
    last = next(each for each in logged if each["ref"] == "HEAD" and each["line"] == 2)
    assert (last["old"], last["new"], last["message"]) == (first, second, "commit: a second")
    assert last["who"] == "Ben Birch <ben@example.org>"
    assert (
        b"".join(each["raw"] + b"\n" for each in logged if each["ref"] == "refs/heads/main")
        == reflog(work).read_bytes()
    )


def test_entries_keep_their_ids_when_git_removes_older_ones(work: Work) -> None:
    for number in range(3):
        work.commit("a", b"%d\n" % number)
    before = records(work.source, b"reflogs")
    lines = reflog(work).read_bytes().splitlines(keepends=True)
    reflog(work).write_bytes(b"".join(lines[2:]))
    after = records(work.source, b"reflogs")
    assert len(after) == len(before) - 2
    assert {name: each.version for name, each in after.items()}.items() <= {
        name: each.version for name, each in before.items()
    }.items()


def test_equal_entries_are_told_apart(work: Work) -> None:
    reflog(work).write_bytes(reflog(work).read_bytes() * 3)
    names = [each for each in records(work.source, b"reflogs") if each.startswith(b"refs/heads/main")]
    assert [name[-2:] for name in names[1:]] == [b".2", b".3"]


def test_a_line_that_is_no_entry_is_named_and_the_others_are_read(work: Work) -> None:
    good = reflog(work).read_bytes()
    reflog(work).write_bytes(b"nonsense\n" + good)
    assert bad(work.source, b"reflogs") == [("logs/refs/heads/main line 1", "reflog-line")]
    assert len(records(work.source, b"reflogs")) == 2


def test_a_last_line_without_its_end_is_waited_for(work: Work) -> None:
    source = work.source
    records(source, b"reflogs")
    units = {unit.native: unit for unit in source.units() if hasattr(unit, "members")}
    assert source.waiting(units[b"reflogs"]) is None  # type: ignore[arg-type]
    whole = reflog(work).read_bytes()
    reflog(work).write_bytes(whole + whole[:-1])
    assert len(records(source, b"reflogs")) == 2
    assert "refs/heads/main" in (source.waiting(units[b"reflogs"]) or "")  # type: ignore[arg-type]
    assert source.waiting(units[b"refs"]) is None  # type: ignore[arg-type]


def test_a_message_outside_utf8_is_percent_encoded_and_its_bytes_kept(work: Work) -> None:
    good = reflog(work).read_bytes()
    reflog(work).write_bytes(good[:-1] + b" caf\xe9\n")
    record = next(
        each for name, each in records(work.source, b"reflogs").items() if name.startswith(b"refs/")
    )
    assert values(record)["message"].endswith("caf%E9")
    assert decode_value(record.values[-1])[1] == good[:-1] + b" caf\xe9"


def test_reflogs_in_a_reftable_are_named_as_not_read(work: Work) -> None:
    (work.path / ".git" / "reftable").mkdir()
    assert ("reflogs", "reftable") in bad(work.source, b"reflogs")


def test_a_deleted_branch_lives_on_in_the_reflog_of_head(work: Work) -> None:
    work.git("checkout", "-q", "-b", "gone")
    lost = work.commit("a", b"gone\n", "lost")
    work.git("checkout", "-q", "main")
    work.git("branch", "-q", "-D", "gone")
    assert b"refs/heads/gone" not in records(work.source, b"refs")
    assert lost in {values(each)["new"] for each in records(work.source, b"reflogs").values()}
    assert lost.encode() in records(work.source, b"objects")
