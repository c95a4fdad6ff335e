"""`scelle find` on a real vault: documents by a pass, records by the ledger, and what is refused."""

from hashlib import sha256
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER, Platform
from tests.integration.platforms import make_platform, preserved

from scelle import bootstrap
from scelle.formats.schema import Field, Schema
from scelle.formats.values import text_value
from scelle.sources.interfaces import UNDATED

STAFF = "staff-017@example.org"
DAY_US = 86_400_000_000
START_US = 1_767_222_000_000_000  # 2026-01-01T00:00:00 in Brussels
POSTS = Schema(
    "posts",
    1,
    ("source", "account", "model", "native"),
    tuple(
        Field(name, letter)
        for name, letter in (
            ("time", "t"),
            ("seq", "i"),
            ("account", "s"),
            ("model", "s"),
            ("native_id", "s"),
        )
    ),
)


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform with three documents of a custodian and forty records of four accounts."""
    platform = make_platform(tmp_path, capsys, monkeypatch)
    for name in ("a.txt", "sub/b.txt", 'sub/"c".txt'):
        platform.document(name, name.encode())
    platform("init", platform.vault, "--host", "platform.example", "--json")
    platform("source", "add", "docs", f"files://{platform.docs}", "--custodian", STAFF)
    platform("order", "add", platform.order_file())
    preserved(platform)
    with bootstrap.opened(platform.vault, bootstrap.KeyChoice(tmp_path / "keys"), writing=True) as session:
        ledger = session.order_writer(ORDER)
        writer = ledger.writer("s0002/1", POSTS, bootstrap.now_us())
        for number in range(40):
            time_us = UNDATED if number == 39 else START_US + (number - 10) * DAY_US
            values = [f"account:u{number % 4}", f"model-{number % 2}", f"p{number}"]
            key = sha256(b"%d" % number).digest()
            writer.append(key, time_us, [text_value(value) for value in values])
        ledger.seal(bootstrap.now_us())
    return platform


def test_the_form_that_must_work(platform: Platform) -> None:
    found = platform("find", ORDER, 'account = "u1" and time >= "2026-01-01"', "--json").json
    numbers = [number for number in range(39) if number % 4 == 1 and number >= 10]
    assert found["count"] == len(numbers)
    assert [item["time"] for item in found["items"]] == [
        f"2026-01-{number - 10:02d}T23:00:00.000000Z" if number > 10 else "2025-12-31T23:00:00.000000Z"
        for number in numbers
    ]
    for item in found["items"]:
        assert sorted(item) == ["account", "id", "source", "time"]
        assert (item["account"], item["source"]) == ("account:u1", "s0002/1")
        assert len(item["id"]) == 27
    assert len({item["id"] for item in found["items"]}) == len(numbers)


def test_documents_by_custodian_and_path(platform: Platform) -> None:
    whole = platform("find", ORDER, f'custodian = "{STAFF}"', "--json").json
    assert whole["count"] == 3
    assert {item["account"] for item in whole["items"]} == {f"custodian:{STAFF}"}
    assert {item["source"] for item in whole["items"]} == {"docs"}
    one = platform("find", ORDER, r'native = "sub/\"c\".txt" and source = "docs"', "--json").json
    assert one["count"] == 1
    assert one["items"][0] in whole["items"]
    digest = sha256(b"a.txt").hexdigest()
    assert platform("find", ORDER, f'content = "{digest}" or meta.size = 123456', "--json").json["count"] == 1


def test_the_same_item_has_the_same_id_as_in_another_order(platform: Platform) -> None:
    platform("order", "add", platform.order_file("second.toml", id='"second"'))
    platform("preserve", "second", "--json")
    first, second = (
        platform("find", order, 'source = "docs"', "--json").json["items"] for order in (ORDER, "second")
    )
    assert [item["id"] for item in first] == [item["id"] for item in second]


def test_limit_cuts_items_and_says_so(platform: Platform) -> None:
    answer = platform("find", ORDER, 'source = "s0002"', "--limit", "5", "--json")
    assert (answer.json["count"], answer.json["limit"], len(answer.json["items"])) == (40, 5, 5)
    assert "5 of 40 matches are shown: give --limit N for more" in answer.err
    answer = platform("find", ORDER, 'source = "s0002"', "--limit", "0", "--json")
    assert (answer.json["count"], answer.json["items"], answer.err) == (40, [], "")


def test_for_people(platform: Platform) -> None:
    answer = platform("find", ORDER, "time is null")
    lines = answer.out.splitlines()
    _, place, *rest = lines[0].split()
    assert rest == ["undated", "s0002/1", "account:u3"]
    assert place.startswith("s0002/1:")
    assert lines[-1].startswith("1 matches among what checkpoint ")
    assert answer.err == ""


def test_nothing_found_is_no_error(platform: Platform) -> None:
    found = platform("find", ORDER, 'account = "nobody"', "--json").json
    assert (found["count"], found["items"]) == (0, [])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('account = "u1" and custodian = "x"', "never meet in one query"),
        ('acount = "u1"', "no field 'acount' in any source searched; there are account, "),
        ('account = "u1" and', "query, column 19: the query ends there, expected: a field"),
        ('source = "mail"', "no source 'mail'; there are docs, s0002/1, scelle.events, scelle.order"),
        ("account = 'u1'", "texts stand in double quotes"),
    ],
)
def test_refused_in_one_line(platform: Platform, query: str, said: str) -> None:
    answer = platform("find", ORDER, query, "--json", code=2)
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert "[find.query_wrong]" in answer.err
    assert answer.out == ""


def test_an_order_that_is_not_there_is_refused(platform: Platform) -> None:
    assert "[orders.unknown]" in platform("find", "nothing", 'account = "u1"', code=2).err
