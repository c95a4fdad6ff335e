"""Deletions in other processes while orders come: who waits for whom, and what is held when."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.e2e.test_restricted import Clock
from tests.e2e.test_restricted import clock as clock
from tests.integration.platforms import make_platform
from tests.integration.two_people import let_go

from scelle.bootstrap import KeyChoice, Session, opened
from scelle.bootstrap.guarding import VaultGuard
from scelle.guard.deletions import NOW, DeletionLock, deletions_folder, deletions_under_way
from scelle.guard.leases import leases_folder

ITEM = ("may-delete", "docs", "a.txt")
OTHER = "internal-7"
DRAFTS = '[[clause]]\nid = "drafts"\nsources = ["docs"]\npaths = ["drafts/**"]\n'
ALL = '[[clause]]\nid = "all"\nsources = ["docs"]\n'
STILL = "a deletion that was permitted before still goes on after"
LONG_S = 60

DELETER = """
import sys
from pathlib import Path
from scelle.bootstrap import KeyChoice, opened
from scelle.bootstrap.guarding import VaultGuard
vault, keys, native, item = sys.argv[1:]
with opened(Path(vault), KeyChoice(Path(keys)), writing=False) as session, VaultGuard(session) as guard:
    with guard.deleting("docs", native.encode()) as verdict:
        print("held" if verdict.held else "free", flush=True)
        if sys.stdin.readline() and not verdict.held:
            Path(item).unlink()
"""


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A document that nothing holds yet, and an order over others."""
    platform = make_platform(tmp_path, capsys, monkeypatch)
    platform.document("a.txt", b"a red boat\n")
    platform("init", platform.vault, "--host", "platform.example", "--json")
    platform("source", "add", "docs", f"files://{platform.docs}")
    platform.clauses = [DRAFTS]
    platform("order", "add", platform.order_file(until="2099-12-31"))
    return platform


@contextmanager
def deleter(
    platform: Platform, native: str = "a.txt", says: str = "free"
) -> Iterator["subprocess.Popen[str]"]:
    """Begin to delete a document in another process, which goes on until it is told a line, or killed."""
    words = [
        sys.executable,
        "-c",
        DELETER,
        platform.vault,
        platform.root / "keys",
        native,
        platform.docs / native,
    ]
    with subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{says}\n"
        try:
            yield process
        finally:
            process.kill()


def tell(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert process.wait(LONG_S) == 0


def order_over_all(platform: Platform) -> Path:
    platform.clauses = [ALL]
    return platform.order_file(f"{OTHER}.toml", id=f'"{OTHER}"')


@contextmanager
def adding(platform: Platform) -> Iterator["subprocess.Popen[str]"]:
    """Take an order over everything in, in another process; inside, it has said that it waits."""
    words = [sys.executable, "-m", "scelle.cli", "order", "add", str(order_over_all(platform)), "--json"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        waits = process.stderr.readline()
        assert waits.startswith("warning: waiting for deletions that were permitted before"), waits
        try:
            yield process
        finally:
            process.kill()


def returned(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait until it has returned; return what it printed, and what it said after it had waited."""
    out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, err
    return out, err


def test_an_order_returns_only_when_what_was_permitted_before_it_has_been_deleted(platform: Platform) -> None:
    with deleter(platform) as deletion, adding(platform) as order:
        assert order.poll() is None
        assert (platform.docs / "a.txt").exists()
        tell(deletion)
        out, err = returned(order)
    assert (f'"{OTHER}"' in out, err) == (True, "")
    assert not (platform.docs / "a.txt").exists()
    assert list(deletions_folder(platform.vault).iterdir()) == []
    platform("verify")


def test_whoever_asks_while_an_order_waits_sees_it_and_is_not_waited_for(platform: Platform) -> None:
    platform.document("z.txt", b"another\n")
    choice = KeyChoice(platform.root / "keys")
    with (
        opened(platform.vault, choice, writing=False) as session,
        VaultGuard(session) as guard,
        deleter(platform) as deletion,
        adding(platform) as order,
    ):
        with deleter(platform, "z.txt", says="held") as held, guard.deleting("docs", b"a.txt") as verdict:
            assert verdict.held
            assert len(deletions_under_way(platform.vault)) == 1, "whoever may not delete holds nothing"
            tell(held)
        platform(*ITEM, code=3)
        with (
            guard.deleting("docs", b"z.txt") as again,
            DeletionLock(platform.vault),
        ):
            assert again.held
            tell(deletion)
            returned(order)  # though a later deletion goes on
    assert (platform.docs / "z.txt").exists()


def test_an_order_that_comes_before_the_lock_is_seen(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds nobody to wait for: so nothing that was decided before the lock may count."""
    acquire = DeletionLock.acquire

    def late(lock: DeletionLock) -> DeletionLock:
        monkeypatch.setattr(DeletionLock, "acquire", acquire)
        platform("order", "add", order_over_all(platform))
        return acquire(lock)

    choice = KeyChoice(platform.root / "keys")
    with opened(platform.vault, choice, writing=False) as session, VaultGuard(session) as guard:
        assert not guard.decide("docs", b"a.txt").held
        monkeypatch.setattr(DeletionLock, "acquire", late)
        with guard.deleting("docs", b"a.txt") as verdict:
            assert verdict.held


def test_a_killed_deletion_is_waited_for_no_longer(platform: Platform) -> None:
    with deleter(platform) as deletion, adding(platform) as order:
        deletion.kill()
        returned(order)
    assert (platform.docs / "a.txt").exists()
    with deleter(platform, says="held"):
        pass


def test_several_deletions_are_all_waited_for_and_several_orders_wait(platform: Platform) -> None:
    with deleter(platform) as first, deleter(platform) as second, adding(platform) as order:
        later = threading.Thread(target=tell, args=(second,))
        (platform.root / "later.toml").write_text(
            order_over_all(platform).read_text(encoding="utf-8").replace(OTHER, "internal-8"),
            encoding="utf-8",
        )
        more = subprocess.Popen(
            [sys.executable, "-m", "scelle.cli", "order", "add", str(platform.root / "later.toml")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert more.stderr is not None
        assert "waiting" in more.stderr.readline(), "the first one waits without the writer's lock"
        first.kill()
        first.wait()
        time.sleep(0.2)
        assert (order.poll(), more.poll()) == (None, None)
        later.start()
        returned(order)
        returned(more)
        later.join()


def test_what_is_deleted_in_a_stream_starves_nobody(platform: Platform) -> None:
    """Deletions that overlap one another without an end, in one process, while an order comes."""
    stop = threading.Event()

    def delete_on() -> None:
        held = DeletionLock(platform.vault).acquire()
        while not stop.is_set():
            time.sleep(0.005)
            held, before = DeletionLock(platform.vault).acquire(), held
            before.release()
        held.release()

    stream = threading.Thread(target=delete_on)
    stream.start()
    try:
        started = time.monotonic()
        answer = platform("order", "add", order_over_all(platform))
        assert time.monotonic() - started < LONG_S
        assert STILL not in answer.err
    finally:
        stop.set()
        stream.join()


def test_a_deletion_that_does_not_end_is_named_and_waited_for_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scelle.bootstrap.fencing.PATIENCE_S", 0.1)
    with DeletionLock(platform.vault):
        answer = platform("order", "add", order_over_all(platform))
        [aside] = deletions_under_way(platform.vault)
        assert f"`fuser {aside}` names" in answer.err
        assert OTHER not in answer.err
        more = platform.root / "more.toml"
        more.write_text('[[clause]]\nid = "more"\nsources = ["docs"]\n', encoding="utf-8")
        assert f"`fuser {aside}` names" in platform("order", "add-clause", ORDER, "--file", more, "--yes").err
    assert deletions_under_way(platform.vault) == []


# --- what widens ------------------------------------------------------------------------------------------


def fence_of(platform: Platform, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> bool:
    """Run a command while a deletion goes on; tell whether it waited."""
    monkeypatch.setattr("scelle.bootstrap.fencing.PATIENCE_S", 0.05)
    with DeletionLock(platform.vault):
        return STILL in platform(*words).err


def test_what_does_not_widen_waits_for_nobody(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        ("preserve", ORDER),
        ("verify",),
        ("status",),
        ("order", "extend", ORDER, "--until", "2100-01-01"),
        ("order", "lift", ORDER),
    ):
        assert not fence_of(platform, monkeypatch, *words), words


def test_clauses_accounts_and_sources_that_join_wait(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = platform.root / "elsewhere"
    elsewhere.mkdir()
    assert fence_of(platform, monkeypatch, "source", "add", "more", f"files://{elsewhere}")
    more = platform.root / "more.toml"
    more.write_text('[[clause]]\nid = "theirs"\nsources = ["docs"]\naccounts = ["u1"]\n', encoding="utf-8")
    assert fence_of(platform, monkeypatch, "order", "add-clause", ORDER, "--file", more, "--yes")
    ids = platform.root / "ids.txt"
    ids.write_text("u2\n", encoding="utf-8")
    form = ("order", "add-accounts", ORDER, "--clause", "theirs", "--file", ids, "--yes")
    assert fence_of(platform, monkeypatch, *form)


def test_a_release_that_is_undone_waits(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    platform("order", "lift", ORDER)
    let_go(platform, ORDER)
    platform("may-delete", "docs", "drafts/x.txt")
    assert fence_of(platform, monkeypatch, "order", "undo-release", ORDER)
    platform("may-delete", "docs", "drafts/x.txt", code=3)


def test_a_carve_out_that_ends_waits_and_one_that_is_asked_for_does_not(
    platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = platform.root / "out.toml"
    out.write_text(DRAFTS.replace('drafts"\nsources', 'out"\nsources'), encoding="utf-8")
    assert not fence_of(platform, monkeypatch, "order", "carve-out", ORDER, "--file", out, "--yes")
    [request] = platform("request", "list", "--json").json["requests"]
    clock.move(25 * 3600)
    platform("request", "approve", request["request"])
    platform("may-delete", "docs", "drafts/x.txt")
    assert fence_of(platform, monkeypatch, "order", "carve-out", ORDER, "--end", "out", "--yes")
    platform("may-delete", "docs", "drafts/x.txt", code=3)


def test_an_order_that_a_crash_left_waits_when_it_is_added_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash came between the order's log and the vault's."""

    def crash(session: Session, order: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scelle.bootstrap.orders.note_order", crash)
        platform("order", "add", order_over_all(platform), code=130)
    platform(*ITEM, code=3)
    monkeypatch.setattr("scelle.bootstrap.fencing.PATIENCE_S", 0.05)
    with DeletionLock(platform.vault):
        assert STILL in platform("order", "add", order_over_all(platform), code=2).err


# --- leases -----------------------------------------------------------------------------------------------


def test_an_order_waits_until_a_token_is_over_and_no_longer(platform: Platform) -> None:
    token = platform(*ITEM, "--token", "--life", "10", "--json").json["token"]
    started = time.monotonic()
    with adding(platform) as order:
        answer = platform(*ITEM, "--confirm", token, "--json", code=3).json
        assert (answer["why"], answer["held"]) == ("held", 1)
        platform(*ITEM, "--token", "--life", "300", code=3)
        returned(order)
    assert 8 < time.monotonic() - started < LONG_S
    assert platform(*ITEM, "--confirm", token, "--json", code=3).json["why"] == "held"


def test_a_token_that_comes_later_is_not_waited_for(platform: Platform) -> None:
    elsewhere = platform.root / "elsewhere"
    elsewhere.mkdir()
    platform("source", "add", "free", f"files://{elsewhere}")
    with deleter(platform) as deletion, adding(platform) as order:
        platform("may-delete", "free", "a.txt", "--token", "--life", "300")
        tell(deletion)
        returned(order)


def test_what_is_over_is_not_waited_for(platform: Platform, clock: Clock) -> None:
    platform(*ITEM, "--token", "--life", "300")
    clock.move(300)
    answer = platform("order", "add", order_over_all(platform))
    assert "waiting" not in answer.err
    assert list(leases_folder(platform.vault).iterdir()) == []


def test_tokens_of_several_processes_are_each_confirmed_in_any(platform: Platform) -> None:
    words = [sys.executable, "-m", "scelle.cli"]
    options = ["--token", "--life", "60"]
    asked = [
        subprocess.Popen([*words, *ITEM[:2], f"f{n}", *options], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    tokens = [each.communicate(timeout=LONG_S)[0].splitlines()[-1].split()[1].rstrip(",") for each in asked]
    assert len(set(tokens)) == 4
    for n, token in enumerate(tokens):
        platform("may-delete", "docs", f"f{n}", "--confirm", token)
        platform("may-delete", "docs", f"f{(n + 1) % 4}", "--confirm", token, code=3)


def test_a_spool_that_cannot_be_used_is_said_and_the_order_stands(platform: Platform) -> None:
    deletions_folder(platform.vault).mkdir(parents=True)
    (deletions_folder(platform.vault) / NOW).symlink_to(platform.root / "elsewhere")
    answer = platform("order", "add", order_over_all(platform))
    assert "cannot be told" in answer.err
    platform(*ITEM, code=3)
