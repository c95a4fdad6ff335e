"""The schema file: what it may say, what is refused, and the ledger's schema that comes of it."""

import os
import re
from pathlib import Path

import pytest

from scelle.errors import SchemaWrong
from scelle.sources.records import builtin_names, load_schema, schema_text
from scelle.sources.schema_file import layout, parse_schema_file, read_schema_file

HEAD = '[schema]\nname = "posts"\n'


def ledger_fields(text: str) -> str:
    fields = layout(parse_schema_file(text)).schema.fields
    return " ".join(f"{field.name}:{field.type}" for field in fields)


def test_the_form_of_the_issue_is_read() -> None:
    file = parse_schema_file(
        '[schema]\nname="posts"\nversion=2\ntime="created_at"\nid="post_id"\naccount="user_id"\n'
        'dimensions=["model"]\nprofile=1\n[fields]\nscore="D"\n'
    )
    schema = layout(file).schema
    assert (schema.name, schema.version, file.profile) == ("posts", 2, 1)
    assert schema.dimensions == ("source", "account", "native", "model")
    assert [(field.name, field.type) for field in schema.fields] == [
        ("time", "t"), ("seq", "i"), ("account", "s"), ("native_id", "s"), ("model", "s"), ("score", "D"),
        ("created_at", "s"), ("more", "j"), ("more_text", "s"), ("raw", "h"), ("origin", "j"),
    ]  # fmt: skip


def test_everything_but_the_name_is_optional() -> None:
    assert ledger_fields(HEAD) == "time:t seq:i account:s native_id:s more:j more_text:s raw:h origin:j"


def test_a_name_that_is_taken_gets_source_in_front() -> None:
    text = (
        HEAD
        + 'time="time"\ndimensions=["source","more"]\n[fields]\norigin="s"\nmore="s"\n"source.more"="i"\n'
    )
    assert ledger_fields(text) == (
        "time:t seq:i account:s native_id:s source:s source.more:s source.origin:s source.source.more:s "
        "source.source.source.more:i source.time:s more:j more_text:s raw:h origin:j"
    )
    assert layout(parse_schema_file(text)).schema.dimensions == (
        "source", "account", "native", "source.source", "more"
    )  # fmt: skip


def test_the_sources_own_time_is_a_number_where_its_unit_is_declared() -> None:
    assert "ts:D" in ledger_fields(HEAD + 'time="ts"\ntime_unit="ms"\n')
    assert "ts:s" in ledger_fields(HEAD + 'time="ts"\n')


def test_a_time_that_is_listed_stands_where_it_is_listed() -> None:
    text = HEAD + 'time="ts"\n[fields]\nts="i"\na="s"\n'
    assert (
        ledger_fields(text) == "time:t seq:i account:s native_id:s ts:i a:s more:j more_text:s raw:h origin:j"
    )


def test_json_is_text_in_the_ledger_and_refusing_extras_leaves_more_out() -> None:
    assert ledger_fields(HEAD + 'extra="refuse"\n[fields]\nbody="json"\n') == (
        "time:t seq:i account:s native_id:s body:s raw:h origin:j"
    )


def test_bare_dotted_keys_are_paths_as_quoted_ones_are() -> None:
    file = parse_schema_file(HEAD + '[fields]\npayload.text="s"\n"payload.model"="s"\n')
    assert file.fields == (("payload.text", "s"), ("payload.model", "s"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name is missing"),
        ("[schema]\nname=1\n", "name: text"),
        (HEAD + "nmae='x'\n", "'nmae' is no key of [schema]"),
        (HEAD + "[cvs]\n", "'cvs' is no table"),
        (HEAD + "[csv]\nsep=','\n", "'sep' is no key of [csv]"),
        (HEAD + "[fields]\na='q'\n", "the types are"),
        (HEAD + "[fields]\na='h'\n", "h is content"),
        (HEAD + "[fields]\na=1\n", "the types are"),
        (HEAD + "[fields]\na.b='s'\n'a.b'='s'\n", "fields: a field stands twice"),
        (HEAD + "account='a'\ncustodian='b'\n", "never meet"),
        (HEAD + "profile=2\n", "profile"),
        (HEAD + "profile=true\n", "profile"),
        (HEAD + "version=-1\n", "version"),
        (HEAD + "time_unit='m'\n", "time_unit: one of s, ms, us, ns"),
        (HEAD + "zone='Mars/Olympus'\n", "zone"),
        (HEAD + "extra='drop'\n", "extra: one of"),
        (HEAD + "format='xml'\n", "format: one of"),
        (HEAD + "dimensions=['a','a']\n", "dimensions: a field stands twice"),
        (HEAD + "dimensions=['']\n", "dimensions: names"),
        (HEAD + f"dimensions={[f'd{n}' for n in range(30)]}\n", "at most 29"),
        (HEAD + "[csv]\ndelimiter=';;'\n", "delimiter"),
        (HEAD + "[csv]\ndelimiter='\"'\n", "same character"),
        ('[schema]\nname="scelle.mine"\n', "not scelle."),
        ('[schema]\nname="a b"\n', "letters, digits"),
        ("schema = 1\n", "schema must be a table"),
        ("[schema\n", "is not TOML"),
        (HEAD + "[fields]\n" + "".join(f"column_{n} = 's'\n" for n in range(2000)), "64 KiB"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(SchemaWrong, match=r"^posts\.toml|^schema ") as caught:
        parse_schema_file(text, "posts.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(SchemaWrong, match=r"none\.toml.*correct its name"):
        read_schema_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'[schema]\nname = "caf\xe9"\n')
    with pytest.raises(SchemaWrong, match="UTF-8"):
        read_schema_file(tmp_path / "latin.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(SchemaWrong, match="1 MiB"):
        read_schema_file(tmp_path / "large.toml")


def test_a_file_is_read_as_its_text_is(tmp_path: Path) -> None:
    (tmp_path / "posts.toml").write_text(HEAD)
    path = str(tmp_path / "posts.toml")
    assert load_schema(path) == parse_schema_file(HEAD)
    assert schema_text(path) == HEAD


def test_every_shipped_schema_is_read_under_its_own_name() -> None:
    assert {"debezium", "debezium-envelope"} <= set(builtin_names())
    for name in builtin_names():
        assert load_schema(f"builtin:{name}") == parse_schema_file(schema_text(f"builtin:{name}"))
        assert load_schema(f"builtin:{name}").name == name


def test_a_shipped_schema_that_is_none_is_refused() -> None:
    with pytest.raises(SchemaWrong, match=re.escape("there are debezium")):
        load_schema("builtin:../debezium")


@pytest.mark.parametrize(
    "text",
    [
        '[schema]\nname = "p"\nx = ' + "[" * 5000,
        '[schema]\nname = "p"\nversion = ' + "1" * 5000,
        '[schema]\nname = "p"\n[fields]\n' + "a." * 50_000 + 'a = "s"\n',
        '[schema]\nname = "p"\n[fields]\na = ' + "{ b = " * 900 + '"s"' + " }" * 900,
    ],
    ids=["lists", "digits", "dots", "tables"],
)
def test_a_hostile_file_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SchemaWrong) as caught:
        parse_schema_file(text)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_schema_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SchemaWrong, match="no regular file"):
        read_schema_file(tmp_path / "pipe")
