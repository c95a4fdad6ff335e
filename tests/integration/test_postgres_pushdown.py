"""What the server leaves out by itself is what Python excludes, for the same reasons, on real PostgreSQL."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.postgres import PASSWORD, VERSIONS, Servers

from scelle.errors import UnitRewritten
from scelle.scope.accounts import read_accounts
from scelle.scope.compiled import compile_record_clauses
from scelle.scope.model import Clause
from scelle.scope.pushdown import Pushdown
from scelle.scope.records import RecordView
from scelle.sources.interfaces import BadRecord, Batch, Member, PushdownSource, Record, Unit
from scelle.sources.postgres import PostgresSettings, PostgresSource
from scelle.sources.schema_file import parse_schema_file

DAY_US = 86_400_000_000
START_US = 1_767_225_600_000_000
"""2026-01-01, in microseconds."""

TEXTS = [
    None, "", " ", "kill", "KILL", "\u017fecret", "Secret", "SECRET", "\u212aelvin", "kelvin", "\u0130stanbul",
    "istanbul", "\u0131l", "stra\u00dfe", "STRASSE", "tab\there", "line\nbreak", "back\\slash", "\\N", "a.b", "a\u0301",
    "\u00e1", "\U0001f600", '"quoted"', "{a,b}", "NULL", "x" * 20_000 + "kill", "y" * 70_000, "\x01",
]  # fmt: skip
TIMES = [
    None, "infinity", "-infinity", "2026-01-01 00:00:00+00", "2025-12-31 23:59:59.999999+00", "2026-01-02 03:04:05+14",
    "2026-01-01 23:30:00-05", "0044-03-15 BC", "294276-12-31 23:59:59.999999+00", "294246-01-01", "1969-12-31",
    "2026-01-01 00:00:00.000001+00",
]  # fmt: skip
ACCOUNTS = [
    None,
    "",
    "u1",
    "U1",
    "u2",
    "u1 ",
    "\u0130",
    "i",
    "a:b",
    '"',
    "\\",
    "\u00e9",
    "e\u0301",
    "7",
    "07",
]

TABLES = {
    "plain": "id int PRIMARY KEY, account text, created_at timestamptz, body text, model varchar(90000), n int",
    "padded": "id text, account char(6), ts timestamp, body text, model char(4), n bigint",
    "dated": "id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id varchar, created date, "
    "body text, model text, n int",
    "timeless": "id numeric PRIMARY KEY, account_id int, body text, model text, n numeric",
    "own": "id int, account own_text, created_at own_time, body own_text, model mood, n int",
    "folded": "id int, account text COLLATE folded, created_at timestamptz, body text COLLATE folded, "
    "model text, n int",
    "nobodys": "id text PRIMARY KEY, ts timestamptz, body text, model text, n int",
    "scelle": "scelle0 int, account text, created_at timestamptz, body text, model text, n int",
}
SPREAD = "spread"


class Held(NamedTuple):
    """Sources over one database, by the table whose schema names dimensions."""

    settings: PostgresSettings
    schemas: dict[str, Any]


@pytest.fixture(scope="module", params=VERSIONS)
def held(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Held]:
    server = servers(request.param)
    with server.database("held") as sql:
        sql.execute(
            b"CREATE DOMAIN own_text AS text; CREATE DOMAIN own_time AS timestamptz;"
            b"CREATE TYPE mood AS ENUM ('m1', 'M1', 'm2')"
        )
        made = dict(TABLES)
        try:
            sql.execute(
                b"CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except (
            psycopg.errors.FeatureNotSupported
        ):  # a server that was built without ICU has no such collation
            made["folded"] = made["folded"].replace(" COLLATE folded", "")
        for name, columns in made.items():
            sql.execute(f"CREATE TABLE {name} ({columns})".encode())
            fill(sql, name, columns)
        sql.execute(
            f"CREATE TABLE {SPREAD} ({TABLES['plain'].replace(' PRIMARY KEY', '')}) PARTITION BY HASH (id);"
            f"CREATE TABLE {SPREAD}_0 PARTITION OF {SPREAD} FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            f"CREATE TABLE {SPREAD}_1 PARTITION OF {SPREAD} FOR VALUES WITH (MODULUS 2, REMAINDER 1)".encode()
        )
        fill(sql, SPREAD, TABLES["plain"])
        schemas = {
            f"public.{name}": parse_schema_file(
                f'[schema]\nname = "public.{name}"\nversion = 1\ndimensions = ["model"]\n'
                + ('[fields]\nn = "D"\n' if name == "timeless" else "")
            )
            for name, columns in [*made.items(), (SPREAD, TABLES["plain"])]
        }
        yield Held(
            PostgresSettings(server.host, server.port, "held", "postgres", password=lambda: PASSWORD), schemas
        )


def fill(sql: Any, name: str, columns: str) -> None:
    """Put rows in that go through all samples of each column, each with every other sooner or later."""
    draw = random.Random(name)
    names = [column.split()[0] for column in columns.split(", ")]
    kinds = {column.split()[0]: column.split()[1] for column in columns.split(", ")}
    for number in range(150):
        row: dict[str, Any] = {}
        for column in names:
            if column in ("account", "user_id"):
                row[column] = draw.choice(ACCOUNTS)
            elif column == "account_id":
                row[column] = draw.choice([None, 7, 8])
            elif column in ("created_at", "ts", "created"):
                row[column] = draw.choice(TIMES)
            elif column == "body":
                row[column] = draw.choice(TEXTS)
            elif column == "model":
                longer = ["m3", "y" * 70_000] if kinds[column] in ("text", "varchar(90000)") else []
                row[column] = draw.choice([None, "m1", "M1", "m2", *longer])
            elif column == "n":
                row[column] = draw.choice([None, "1", "2", *(["NaN"] if kinds[column] == "numeric" else [])])
            elif kinds[column] == "uuid":
                continue
            elif kinds[column] == "text":
                row[column] = (
                    f"{draw.choice(TEXTS[3:10])}{number}" if number % 10 else "z" * 40_000 + str(number)
                )
            else:
                row[column] = number
        places = ", ".join(["%s"] * len(row))
        try:
            sql.execute(
                f"INSERT INTO {name} ({', '.join(row)}) VALUES ({places})".encode(), list(row.values())
            )
        except (psycopg.errors.DataError, psycopg.errors.ProgramLimitExceeded):
            continue  # what this column cannot hold at all: a long key, a time out of its range, a text too long


class Outcome(NamedTuple):
    covered: list[tuple[str, bytes, int, str | None, bytes]]
    failed: list[tuple[str, str]]
    excluded: Counter[str]
    sent: int


def outcome_of(batches: Iterator[Batch], member: Member, unit: Unit, pushdown: Pushdown) -> Outcome:
    """Decide as capture does."""
    decide = compile_record_clauses(
        pushdown.clauses, pushdown.source, member.schema, pushdown.custodian, pushdown.account
    )
    outcome = Outcome([], [], Counter(), 0)
    sent = 0
    for batch in batches:
        outcome.excluded.update(batch.left_out)
        for record in batch.records:
            sent += 1
            if isinstance(record, BadRecord):
                outcome.failed.append((record.place, record.cause))
                continue
            match = decide(RecordView(unit.native, record.time_us, record.account, record.values))
            if match.covered:
                state = sha256(b"|".join([*record.values, record.version])).digest()
                outcome.covered.append((*record[:4], state))
            else:
                assert match.excluded_by is not None
                outcome.excluded[match.excluded_by.value] += 1
    return outcome._replace(sent=sent)


bounds = st.sampled_from([None, START_US - 1, START_US, START_US + 1, START_US + DAY_US, 0, -DAY_US])
patterns = st.sampled_from([
    "kill", "(?i)kill", "(?i)secret", "(?i)kelvin", "(?i)istanbul", "(?i)\u0130", "(?i)\u0131", "(?i)stra\u00dfe",
    "(?i)STRASSE", r"^$", r"\s", r"\w+", r"\bkill", r"a.b", r"^\\N$", "[^a-z]", "(?s)line.break", "line.break", r"\d$",
    "\u00e1", "x{3,}kill", "^1$", "(a|b)*c", "\U0001f600",
])  # fmt: skip
accounts = st.lists(st.sampled_from([each for each in ACCOUNTS if each] + ["8"]), max_size=3, unique=True)


@st.composite
def clauses_of(draw: st.DrawFn) -> Clause:
    start, end = draw(bounds), draw(bounds)
    if start is not None and end is not None and start >= end:
        start = None
    listed = draw(st.booleans()) and draw(st.booleans())
    return Clause(
        "c",
        ("db",),
        start,
        end,
        paths=draw(st.sampled_from([(), (), ("**",), ("public.plain",), ("public.p*",)])),
        custodians=draw(st.sampled_from([(), (), ("u1",)])),
        accounts=tuple(draw(accounts)),
        accounts_file=read_accounts("f", [b"u2\na:b\n\xc3\xa9\n"]) if listed else None,
        dimensions=draw(
            st.sampled_from([(), (), (("model", ("m1",)),), (("none", ("x",)),), (("model", ("m2", "m3")),)])
        ),
        match=draw(
            st.lists(
                st.tuples(st.sampled_from(["body", "n", "model", "nowhere", "account"]), patterns), max_size=2
            ).map(lambda found: tuple(sorted(dict(found).items())))
        ),
        where=draw(st.sampled_from([None, None, None, 'account == "account:u1"'])),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    clauses=st.lists(clauses_of(), min_size=1, max_size=3),
    holder=st.sampled_from(["", "custodian", "account"]),
)
def test_pushed_down_and_whole_readings_say_the_same(held: Held, clauses: list[Clause], holder: str) -> None:
    numbered = tuple(replace(clause, id=str(number)) for number, clause in enumerate(clauses))
    pushdown = Pushdown(
        "db", numbered, "u1" if holder == "custodian" else None, "u1" if holder == "account" else None
    )
    told = replace(held.settings, schemas=held.schemas, holder=f"{holder}:u1" if holder else None)
    with PostgresSource(told) as source:
        members = {member.name: member for member in source.members()}
        for unit in source.units():
            assert isinstance(unit, Unit)
            member = members[unit.members[0]]
            whole = outcome_of(source.read(unit, b""), member, unit, pushdown)
            narrow = outcome_of(source.read_pushed_down(unit, b"", pushdown), member, unit, pushdown)
            assert narrow.excluded == whole.excluded, unit.native
            assert narrow.failed == whole.failed, unit.native
            assert set(narrow.covered) == set(whole.covered), unit.native
            assert narrow.covered == whole.covered, unit.native
            if unit.members[0] in source.counts():
                read, counted = source.counts()[unit.members[0]]
                assert read == counted == whole.sent


def reading(held: Held, *clauses: Clause, table: str = "public.plain") -> tuple[int, Counter[str]]:
    """Read a table pushed_down; give how many rows were sent, and what was excluded."""
    with PostgresSource(replace(held.settings, schemas=held.schemas)) as source:
        (member,) = (each for each in source.members() if each.name == table)
        (unit,) = (
            each for each in source.units() if isinstance(each, Unit) and each.native == table.encode()
        )
        pushdown = Pushdown("db", clauses, None, None)
        found = outcome_of(source.read_pushed_down(unit, b"", pushdown), member, unit, pushdown)
        return found.sent, found.excluded


def test_what_can_be_said_is_not_sent(held: Held) -> None:
    sent, excluded = reading(held, Clause("1", ("db",), accounts=("u1",)))
    assert sent < 100
    assert excluded["account"] > 30
    alone = Clause("1", ("db",), START_US, START_US + 1)
    assert reading(held, alone)[0] < reading(held, alone, replace(alone, period_to_us=None))[0] < 150
    regex = Clause("1", ("db",), match=(("body", "(?i)kill"),))
    assert reading(held, regex)[0] < 80
    assert reading(held, replace(regex, match=(("body", r"\bkill"),)))[0] > 140  # Python decides
    assert (
        reading(held, Clause("1", ("db",), START_US - DAY_US, START_US - 1), table="public.timeless")[0] < 150
    )


def test_ten_thousand_accounts_of_a_file_are_said(held: Held) -> None:
    names = "\n".join(f"someone-{number}" for number in range(10_000)) + "\nu1\n"
    sent, excluded = reading(held, Clause("1", ("db",), accounts_file=read_accounts("f", [names.encode()])))
    assert sent < 100
    assert excluded["account"] > 30


def test_a_mark_of_one_reading_is_none_of_another(held: Held) -> None:
    one = Pushdown("db", (Clause("1", ("db",), match=(("body", "kill|e|^$"),)),), None, None)
    other = Pushdown("db", (Clause("1", ("db",), match=(("body", "e"),)),), None, None)
    with PostgresSource(replace(held.settings, schemas=held.schemas)) as source:
        assert isinstance(source, PushdownSource)
        unit = next(
            each for each in source.units() if isinstance(each, Unit) and each.native == b"public.plain"
        )
        whole, narrow = next(source.read(unit, b"")).mark, next(source.read_pushed_down(unit, b"", one)).mark
        assert len(narrow) < 1024
        rest = list(source.read_pushed_down(unit, narrow, one))
        assert not any(batch.records for batch in rest)
        assert sum(rest[-1].left_out.values()) > 0
        with pytest.raises(UnitRewritten):
            next(source.read(unit, narrow))
        with pytest.raises(UnitRewritten):
            next(source.read_pushed_down(unit, whole, one))
        with pytest.raises(UnitRewritten):
            next(source.read_pushed_down(unit, narrow, other))


def test_a_composite_value_with_a_null_member_is_no_null(servers: Servers) -> None:
    server = servers("18")
    with server.database("app") as sql:
        sql.execute(
            b"CREATE TYPE pair AS (a int, b text); CREATE TABLE t (account text, body pair);"
            b"INSERT INTO t VALUES ('u1', ROW(NULL, 'kill')), ('u1', ROW(1, 'kill')), ('u1', NULL), ('u1', ROW(1, 'x'))"
        )
        told = PostgresSettings(server.host, server.port, "app", "postgres", password=lambda: PASSWORD)
        with PostgresSource(told) as source:
            unit = next(each for each in source.units() if isinstance(each, Unit))
            pushdown = Pushdown("db", (Clause("1", ("db",), match=(("body", "kill"),)),), None, None)
            batches = list(source.read_pushed_down(unit, b"", pushdown))
    assert sum(len(batch.records) for batch in batches) == 2
    assert sum(sum(batch.left_out.values()) for batch in batches) == 2


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_other_encodings_are_left_to_python(servers: Servers, encoding: str) -> None:
    server = servers("18")
    with server.database(
        "app", f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ) as sql:
        sql.execute(b"CREATE TABLE t (account text); INSERT INTO t VALUES ('u1'), ('u2')")
        told = PostgresSettings(server.host, server.port, "app", "postgres", password=lambda: PASSWORD)
        with PostgresSource(told) as source:
            unit = next(each for each in source.units() if isinstance(each, Unit))
            pushdown = Pushdown("db", (Clause("1", ("db",), accounts=("u1",)),), None, None)
            batches = list(source.read_pushed_down(unit, b"", pushdown))
    assert sum(isinstance(each, Record) for batch in batches for each in batch.records) == 2
    assert not batches[-1].left_out
