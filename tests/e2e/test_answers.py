"""What commands say: options that came twice, items that failed, windows, schemas."""

from typing import Any

import pytest
from typer.main import get_command

from scelle.cli.main import app
from scelle.cli.once import takes_one_value
from scelle.cli.problems import problem_text
from scelle.cli.unreachable import unreachable_error
from scelle.errors import InputError

from .conftest import ORDER, Platform
from .test_bad_input import refused

_SCHEMA = """[schema]
name = "rows"
version = 1
time = "at"
id = "id"

[fields]
text = "s"
"""


def commands(group: Any = None, *path: str) -> list[tuple[tuple[str, ...], Any]]:
    group = get_command(app) if group is None else group
    found = []
    for name, command in group.commands.items():
        members = commands(command, *path, name) if hasattr(command, "commands") else []
        found += members or [((*path, name), command)]
    return found


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda each: str(each)[:40])
def test_no_command_drops_an_option_that_came_twice(path: tuple[str, ...], command: Any) -> None:
    single = [each for each in command.params if takes_one_value(each)]
    assert single or path == ("gate", "bundle")  # which has flags alone
    for each in single:
        name = max(each.opts, key=len)
        with pytest.raises(InputError, match=f"^{name} is given twice: give it once$"):
            command.make_context(path[-1], [name, "1", f"{name}=2"])


def test_an_option_that_came_twice_changes_nothing(ordered: Platform) -> None:
    size = ordered("status", "--json").json["orders"][0]["log_size"]
    twice = ("source", "add", "more", f"files://{ordered.docs}", "--account", "1", "--account=2")
    refused(ordered, *twice, words="--account is given twice: give it once")
    assert ordered("status", "--json").json["orders"][0]["log_size"] == size
    assert "more" not in ordered("source", "list").out


def records(platform: Platform, lines: int) -> None:
    rows = platform.root / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text(
        '{"id": "1", "at": 1767225600, "text": "x"}\n' + '{"text": broken\n' * lines, encoding="utf-8"
    )
    (platform.root / "s.toml").write_text(_SCHEMA, encoding="utf-8")
    platform("source", "add", "rows", f"records://{rows}", "--schema", platform.root / "s.toml")
    platform.clauses = ['[[clause]]\nid = "all"\nsources = ["rows"]\n']
    platform("order", "add", platform.order_file())


def test_what_failed_is_listed_after_any_number_of_passes(platform: Platform) -> None:
    records(platform, 22)
    command = f"scelle status {ORDER} --items failed"
    assert f"and 2 more; all of them: {command}" in platform("preserve", ORDER, code=1).out
    assert command in platform("preserve", ORDER, code=1).out
    items = platform("status", ORDER, "--items", "failed", "--json").json["items"]
    assert len(items) == 22
    assert all(each["source"] == "rows" and each["cause"] and int(each["pass_us"]) > 0 for each in items)
    assert len(platform("status", ORDER, "--items", "failed").out.splitlines()) == 23
    assert "no item is sealed as lost" in platform("status", ORDER, "--items", "lost").out
    refused(platform, "status", "--items", "failed", words="scelle status ORDER --items failed")


def test_another_schema_is_said_to_be_set(platform: Platform) -> None:
    records(platform, 0)
    platform("preserve", ORDER)
    other = platform.root / "other.toml"
    other.write_text(_SCHEMA + "# another\n", encoding="utf-8")
    out = platform("source", "schema", "rows", "--use", other).out
    assert "from the next pass on" in out
    assert f"sealed under another schema (orders {ORDER})" in out


def test_an_unreachable_source_has_one_code_and_one_piece_of_advice() -> None:
    closed = unreachable_error("db", "sources.closed: it opens at ten", "the gap is in the log")
    assert (closed.code, str(closed)) == ("sources.closed", "db: it opens at ten; the gap is in the log")
    unreadable = unreachable_error("db", "sources.unreadable: no")
    assert (unreadable.code, str(unreadable)) == ("sources.unreadable", "db: no: try again")


def test_a_waiting_file_is_named_once() -> None:
    item = {"native": "b.jsonl", "cause": "incomplete-line", "detail": "file b.jsonl: 3 bytes wait"}
    assert problem_text(item) == "b.jsonl: incomplete-line 3 bytes wait"


def test_a_wrong_choice_is_said_plainly(platform: Platform) -> None:
    answer = platform("produce", ORDER, "--strength", "D", "--to", platform.root / "p", code=2)
    assert "Value error" not in answer.err
    assert "--strength: 'D' is not one of" in answer.err
