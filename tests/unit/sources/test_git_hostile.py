"""Repositories that somebody prepared: nothing of theirs runs, nothing waits for ever, and everything is counted."""

import os
import socket
import time
from pathlib import Path

import pytest

from scelle.errors import SourceUnreadable
from scelle.sources.git import place
from scelle.sources.git.reflogs import LINE_MAX_BYTES
from scelle.sources.git.source import GitSource
from scelle.sources.interfaces import Record, Unit
from tests.unit.sources.git_repositories import Work, bad, everything, needs_git, records, values

pytestmark = needs_git
UNITS = (b"repository", b"refs", b"reflogs", b"objects")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path / "work")
    made.commit("a", b"one\n")
    made.git("tag", "-a", "-m", "first", "v1")
    return made


def read_all(work: Work) -> None:
    work.source.test()
    for unit in UNITS:
        for record in everything(work.source, unit):
            if isinstance(record, Record):
                for content in record.contents:
                    if content.document.stream is not None:
                        assert sum(map(len, content.document.stream())) == record.size_bytes


def test_no_program_of_a_configuration_runs_and_nobody_is_called(work: Work, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    settings = f"""
[core]
    fsmonitor = {program}
    sshCommand = {program}
    gitProxy = {program}
    pager = {program}
    editor = {program}
    askPass = {program}
    alternateRefsCommand = {program}
    hooksPath = {tmp_path / "hooks"}
    attributesFile = {tmp_path / "attributes"}
[diff]
    external = {program}
[diff "x"]
    textconv = {program}
    command = {program}
[filter "x"]
    clean = {program}
    smudge = {program}
    process = {program}
    required = true
[credential]
    helper = {program}
[uploadpack]
    packObjectsHook = {program}
[gpg]
    program = {program}
[log]
    showSignature = true
[alias]
    cat-file = !{program}
    for-each-ref = !{program}
[extensions]
    partialClone = origin
    worktreeConfig = true
[remote "origin"]
    url = ext::{program}
    promisor = true
    partialclonefilter = blob:none
    uploadpack = {program}
[protocol "ext"]
    allow = always
"""
    git_dir = work.path / ".git"
    (tmp_path / "hooks").mkdir()
    for hooks in (git_dir / "hooks", tmp_path / "hooks"):
        hooks.mkdir(exist_ok=True)
        for name in (
            "post-checkout",
            "reference-transaction",
            "fsmonitor-watchman",
            "pre-auto-gc",
            "post-index-change",
        ):
            (hooks / name).write_bytes(program.read_bytes())
            (hooks / name).chmod(0o755)
    (tmp_path / "attributes").write_text("* filter=x diff=x\n")
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text("* filter=x diff=x\n")
    (tmp_path / "included").write_text(settings)
    with (git_dir / "config").open("a") as config:
        config.write(settings + f"[include]\n    path = {tmp_path / 'included'}\n")
    (git_dir / "config.worktree").write_text(settings)
    lost = work.git("hash-object", "-w", "--stdin", given=b"lost\n")
    (git_dir / "refs" / "heads" / "lost").write_text("1" * 40 + "\n")
    work.loose(lost).unlink()
    read_all(work)
    assert not ran.exists()
    assert str(program) not in str(values(records(work.source, b"repository")[b"repository"])["config"])


def test_the_programs_of_that_configuration_would_run_elsewhere(work: Work, tmp_path: Path) -> None:
    """The test above can fail: git itself obeys such a setting."""
    ran = tmp_path / "ran"
    work.git("config", "core.fsmonitor", f"touch {ran}; false")
    work.git("status")
    assert ran.exists()


@pytest.mark.parametrize(
    "name",
    ["HEAD", "config", "packed-refs", "refs/heads/pipe", "refs/heads/a/b/pipe", "commondir", "objects/info/alternates",
     "info/grafts", "shallow", "objects/pack/pack-x.idx", "objects/aa/" + "b" * 38],
)  # fmt: skip
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(work: Work, name: str) -> None:
    pipe = work.path / ".git" / name
    pipe.parent.mkdir(parents=True, exist_ok=True)
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    started = time.monotonic()
    with pytest.raises(SourceUnreadable, match=r"wait for it|no git repository"):
        work.source.test()
    assert time.monotonic() - started < 30


def test_a_socket_and_a_link_to_a_pipe_are_refused(work: Work, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (work.path / ".git" / "refs" / "heads" / "x").symlink_to(tmp_path / "pipe")
    with pytest.raises(SourceUnreadable, match="wait for it"):
        work.source.test()
    (work.path / ".git" / "refs" / "heads" / "x").unlink()
    work.source.test()
    here = Path.cwd()
    os.chdir(work.path / ".git" / "refs")  # the name of a socket has room for 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("s")
    finally:
        os.chdir(here)
    with pytest.raises(SourceUnreadable, match="wait for it"):
        work.source.test()


def test_a_pipe_that_is_included_ends_after_a_time(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    work.git("config", "--add", "include.path", str(tmp_path / "pipe"))
    monkeypatch.setattr(place, "_ANSWERS_WITHIN_S", 1)
    with pytest.raises(SourceUnreadable, match="no answer"):
        work.source.test()


def test_names_of_refs_with_odd_bytes_are_kept_and_lead_nowhere_else(work: Work) -> None:
    oid = work.git("rev-parse", "HEAD")
    names = [
        b"refs/heads/\xff\xfe",
        "refs/heads/caf\u00e9\u202e".encode(),
        b"refs/heads/a%FF",
        b"refs/heads/$(touch)",
    ]
    for name in names:
        work.git("update-ref", name, oid)
    heads = work.path / ".git" / "refs" / "heads"
    (heads / "with space").write_text(oid + "\n")
    (heads / "with\nline").write_text(oid + "\n")
    (heads / "climb").write_text("ref: refs/../../../../outside\n")
    (heads / "round").write_text("ref: refs/heads/round\n")
    (heads / "noise").write_bytes(bytes(range(256)))
    (heads / "option").write_text("ref: --output=x\n")
    found = records(work.source, b"refs")
    assert set(names) <= set(found)
    assert found[b"refs/heads/climb"]
    assert ("refs/heads/noise", "ref-broken") in bad(work.source, b"refs")
    assert len(found) + len(bad(work.source, b"refs")) >= 12


def test_a_reflog_of_many_lines_and_of_one_endless_line_is_read_line_by_line(work: Work) -> None:
    log = work.path / ".git" / "logs" / "HEAD"
    line = log.read_bytes().splitlines()[-1]
    endless = b"x" * (10 << 20)
    log.write_bytes((line + b"\n") * 30_000 + endless + b"\n" + b"short\n" + line + b"\n" + b"y" * (1 << 20))
    found = everything(work.source, b"reflogs")
    of_head = [each for each in found if isinstance(each, Record) and each.native.startswith(b"HEAD@")]
    assert len({each.native for each in of_head}) == len(of_head) == 30_001
    assert bad(work.source, b"reflogs") == [
        ("logs/HEAD line 30001", "reflog-line"),
        ("logs/HEAD line 30002", "reflog-line"),
    ]
    source = work.source
    unit = Unit(b"reflogs", ("reflog",), b"", 0)
    assert sum(len(batch.records) for batch in source.read(unit, b"")) > 30_000
    assert "HEAD" in str(source.waiting(unit))


def test_the_last_move_of_a_ref_is_found_at_the_end_of_a_long_log(work: Work) -> None:
    log = work.path / ".git" / "logs" / "refs" / "heads" / "main"
    line = log.read_bytes().splitlines()[-1]
    before = records(work.source, b"refs")[b"refs/heads/main"]
    log.write_bytes(
        (line.replace(b"write a", b"earlier") + b"\n") * (2 * LINE_MAX_BYTES // len(line)) + line + b"\n"
    )
    assert records(work.source, b"refs")[b"refs/heads/main"] == before


def test_alternates_that_lead_nowhere_or_round_are_borne(work: Work) -> None:
    info = work.path / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{work.path}/.git/objects\n/nowhere/at/all\n\0odd\n")
    assert any(each.member == "objects" for each in records(work.source, b"objects").values())


def test_a_gitfile_that_leads_round_or_out_is_one_clear_line(tmp_path: Path) -> None:
    for text in (
        "gitdir: .\n",
        "gitdir: ../../../..\n",
        "gitdir: \n",
        "gitdir: /dev\n",
        "gitdir: a\0b\n",
        "nonsense",
    ):
        (tmp_path / ".git").write_text(text)
        with pytest.raises(Exception, match=r"source '?code") as caught:
            GitSource(os.fsencode(tmp_path), "code").test()
        assert "\n" not in str(caught.value)


def test_a_link_in_the_place_of_the_git_directory_is_read_as_git_reads_it(work: Work, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".git").symlink_to(work.path / ".git")
    linked = GitSource(os.fsencode(tmp_path / "other"), "code", "custodian:ada@example.org")
    assert records(linked, b"objects").keys() == records(work.source, b"objects").keys()
