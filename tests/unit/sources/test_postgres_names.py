"""Names of tables, patterns, addresses, grants."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.errors import InputError, SourceAddressError, SourceSecretError
from scelle.sources.clause_sql import quoted
from scelle.sources.interfaces import RecordSource, Unit
from scelle.sources.postgres import (
    Address,
    PostgresSettings,
    PostgresSource,
    ShardedSource,
    grants_sql,
    parse_address,
    parse_shards,
)
from scelle.sources.postgres.names import is_selected, literal, parse_pattern, parse_patterns, table_text
from scelle.sources.postgres.settings import settings_of

IDENTIFIERS = st.text(
    alphabet=st.one_of(
        st.sampled_from('."*?! \n\tab\\$'), st.characters(exclude_characters="\0", codec="utf-8")
    ),
    min_size=1,
    max_size=20,
)


@given(IDENTIFIERS, IDENTIFIERS)
def test_the_text_of_a_table_is_a_pattern_of_it_alone(schema: str, name: str) -> None:
    pattern = parse_pattern(table_text(schema, name))
    assert pattern.exact
    assert pattern.covers(schema, name)
    assert not pattern.covers(schema, name + "x")
    assert not pattern.covers("x" + schema, name)


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS, IDENTIFIERS)
def test_two_tables_never_share_a_text(a: str, b: str, c: str, d: str) -> None:
    one, other = (a, b), (c, d)
    assert (table_text(*one) == table_text(*other)) == (one == other)


@pytest.mark.parametrize(
    ("pattern", "schema", "name", "covers"),
    [
        ("public.*", "public", "posts", True),
        ("public.*", "public", "a.b\nc", True),
        ("public.*", "public2", "posts", False),
        ("*.posts_????", "s", "posts_2026", True),
        ("*.posts_????", "s", "posts_202", False),
        ("public.Posts", "public", "posts", False),
        ('public."*"', "public", "posts", False),
        ('public."a""b"', "public", 'a"b', True),
        ("public.p(o|x)", "public", "po", False),
    ],
)
def test_patterns(pattern: str, schema: str, name: str, covers: bool) -> None:
    assert parse_pattern(pattern).covers(schema, name) is covers


@pytest.mark.parametrize(
    "text", ["", "posts", "public.", ".posts", "a.b.c", 'a."b', "a b.c", 'a.b"c"', "a. b", "!", "a.b "]
)
def test_patterns_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_pattern(text)


def test_a_table_is_taken_in_and_out() -> None:
    patterns = parse_patterns(["public.*", "!public.secret*"])
    assert is_selected(patterns, "public", "posts")
    assert not is_selected(patterns, "public", "secret_keys")
    assert not is_selected(patterns, "other", "posts")
    for none in ([], ["!public.*"]):
        with pytest.raises(InputError):
            parse_patterns(none)


def test_identifiers_and_texts_are_quoted_for_sql() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\'") == "E'a\\\\'''"


# --- addresses


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://me@db.example:6543/app", Address("db.example", 6543, "app", "me")),
        ("postgres://me@db.example/app", Address("db.example", 5432, "app", "me")),
        ("postgresql://a%40b@[::1]:5433/my%2Fapp", Address("::1", 5433, "my/app", "a@b")),
        ("postgresql://me@%2Frun%2Fpg/app", Address("/run/pg", 5432, "app", "me")),
        ("postgresql://me@a,b:5433/app", Address("a", 5432, "app", "me", (("b", 5433),))),
        (
            "postgresql://me@a/app?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
            Address("a", 5432, "app", "me", (), "verify-full", "/etc/ca.pem"),
        ),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_address(url) == address
    assert settings_of(address).hosts == ((address.host, address.port), *address.others)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@h/app",
        "postgresql://me:@h/app",
        "postgresql://me@h/app?password=hunter2",
        "x://me:hunter2@h",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceSecretError) as caught:
        parse_address(url, "db")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "mysql://me@h/app", "postgresql:me@h/app", "postgresql://h/app", "postgresql://me@h", "postgresql://me@h/", "postgresql://me@/app",
     "postgresql://me@h/a/b", "postgresql://me@h:x/app", "postgresql://me@h:0/app", "postgresql://me@h:70000/app",
     "postgresql://me@h/app?sslmode=maybe", "postgresql://me@h/app?host=other", "postgresql://me@h/app#x", "postgresql://me@h/%zz",
     "postgresql://me@h/%ff", "postgresql://me@h/a%00", "postgresql://me@h,/app", "postgresql://@h/app"],
)  # fmt: skip
def test_addresses_that_lead_nowhere_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceAddressError) as caught:
        parse_address(url, "db")
    assert "app" not in str(caught.value).replace("postgresql://scelle@db.example:5432/app", "")


def test_shards_come_from_a_file_with_its_line_in_each_error() -> None:
    text = "# EU\npostgresql://me@a/app\n\n  postgresql://me@b/app  \n"
    assert [each.host for each in parse_shards(text)] == ["a", "b"]
    for wrong, line in (
        (text + "postgresql://me@a/app", "line 5"),
        ("postgresql://a/app", "line 1"),
        ("\n#x\n", "no database"),
    ):
        with pytest.raises(InputError, match=re.escape(line)):
            parse_shards(wrong)


# --- settings, grants

SETTINGS = PostgresSettings("h", 5432, "app", "me")


@pytest.mark.parametrize(
    "wrong",
    [{"tables": ()}, {"tables": ("posts",)}, {"max_connections": 1}, {"max_bytes_per_second": 0},
     {"snapshot_max_age_s": 0}],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_grants_name_role_database_and_tables_and_no_more() -> None:
    text = grants_sql(replace(SETTINGS, user='o"dd', tables=("public.posts", "!public.$scelle$")))
    assert 'CREATE ROLE "o""dd" LOGIN NOSUPERUSER' in text
    assert 'GRANT CONNECT ON DATABASE "app" TO "o""dd";' in text
    assert "n.nspname ~ '^(?:public)$' AND c.relname ~ '^(?:posts)$'" in text
    assert "GRANT ALL" not in text
    assert "DO $scelle_$" in grants_sql(replace(SETTINGS, user="$scelle$"))  # no name ends the block
    with pytest.raises(InputError):
        grants_sql(replace(SETTINGS, user="me\nDROP TABLE posts"))


def test_without_the_driver_everything_but_reading_works() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from scelle.sources.postgres import PostgresSettings, PostgresSource, grants_sql\n"
        "settings = PostgresSettings('h', 1, 'app', 'me'); grants_sql(settings)\n"
        "PostgresSource(settings).test()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("install 'scelle[postgres]'")


def test_both_sources_keep_to_the_protocol() -> None:
    source = PostgresSource(SETTINGS)
    kept: list[RecordSource] = [source, ShardedSource([PostgresSource(replace(SETTINGS, shard="one"))])]
    assert all(each.waiting(Unit(b"public.posts", (), b"", 0)) is None for each in kept)
    for names in ([""], ["a/b"], ["a", "a"]):
        with pytest.raises(InputError):
            ShardedSource([PostgresSource(replace(SETTINGS, shard=name)) for name in names])
