"""A schema guessed from a sample: it is valid, it reads its own sample, and it says what it is unsure of."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from scelle.errors import SourceMissing
from scelle.sources.records import infer
from scelle.sources.schema_file import SchemaFile, parse_schema_file
from tests.unit.sources.reading_records import bad, good, source


def guess(root: Path, sample: int = 10_000) -> tuple[str, SchemaFile]:
    text = infer(os.fsencode(root), "posts", sample)
    return text, parse_schema_file(text)


def of_lines(tmp_path: Path, *lines: str) -> tuple[str, SchemaFile]:
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    return guess(tmp_path)


def unsure(text: str, word: str) -> str:
    (line,) = (line for line in text.splitlines() if word in line and "# unsure" in line)
    return line


def test_roles_and_types_are_guessed(tmp_path: Path) -> None:
    line = '{{"id":"{n}","ts":"2026-01-0{n}","user_id":{n},"model":"m","ok":true,"n":{n},"d":0.5,"s":"{n}","o":{{}}}}'
    text, file = of_lines(tmp_path, *(line.format(n=n) for n in range(1, 9)))
    assert (file.name, file.time, file.id, file.account, file.time_unit) == (
        "posts",
        "ts",
        ("id",),
        "user_id",
        None,
    )
    assert dict(file.fields) == {"model": "s", "ok": "b", "n": "i", "d": "D", "s": "s", "o": "j"}
    for word in ("the time is guessed", "the id is guessed", "the account is guessed", "model (1 values)"):
        assert unsure(text, word)
    assert len(good(source(tmp_path, file))) == 8


@pytest.mark.parametrize(
    ("values", "letter", "said"),
    [
        (["1", "2.5"], "D", "integers and decimals mixed"),
        (["1", '"a"'], "json", "mixed types (i, s)"),
        (["[0.1]"], "json", "not exact"),
        (['{"k":1,"k":2}'], "json", "not exact"),
        (['"\\ud800"'], "json", "not exact"),
        (["12345678901234567890"], "D", ""),
        (["9007199254740993", "null"], "i", ""),
        (["-0", "1"], "D", "mixed"),
        (["null"], None, "null in every row"),
    ],
)
def test_what_it_is_unsure_of_is_marked(
    tmp_path: Path, values: list[str], letter: str | None, said: str
) -> None:
    text, file = of_lines(tmp_path, *(f'{{"f":{value}}}' for value in values))
    assert dict(file.fields).get("f") == letter
    (line,) = (line for line in text.splitlines() if line.removeprefix("# ").startswith('"f"'))
    assert said in line
    assert bad(source(tmp_path, file)) == [], "the guess reads its own sample"


def test_a_field_that_is_rarely_there_is_marked(tmp_path: Path) -> None:
    text, _ = of_lines(tmp_path, *['{"a":1}'] * 500, '{"a":1,"odd":2}')
    assert "in 1 of 501 rows" in unsure(text, '"odd"')


@pytest.mark.parametrize(
    ("number", "unit"),
    [("1767830400", "s"), ("1767830400123", "ms"), ("1767830400123456", "us"), ("1767830400123456789", "ns")],
)
def test_a_unit_is_guessed_by_size_and_marked(tmp_path: Path, number: str, unit: str) -> None:
    text, file = of_lines(tmp_path, f'{{"created_at":{number}}}')
    assert (file.time, file.time_unit) == ("created_at", unit)
    assert unsure(text, "the unit is guessed")


def test_without_candidates_it_says_so(tmp_path: Path) -> None:
    text, file = of_lines(tmp_path, '{"posted":"2026-01-08T00:00:00Z","time":"soon","who":"ada"}')
    assert (file.time, file.id, file.account) == (None, (), None)
    assert "'posted'" in unsure(text, "no time was found")
    assert unsure(text, "no id was found")
    assert unsure(text, "no account was found")


def test_an_id_is_guessed_where_every_row_has_another(tmp_path: Path) -> None:
    rows = [f'{{"post_id":"p{n}","owner_id":"u{n}","paid":"yes"}}' for n in range(3)]
    text, file = of_lines(tmp_path, *rows)
    assert file.id == ("post_id",)
    assert unsure(text, "every row has another")
    assert of_lines(tmp_path, *rows, rows[0])[1].id == ()


def test_a_time_that_some_rows_spoil_is_named(tmp_path: Path) -> None:
    text, file = of_lines(
        tmp_path, *(f'{{"created_at":"{day}"}}' for day in ("2026-01-01", "2026-01-02", "01/02/2026"))
    )
    assert file.time is None
    assert "created_at may be the time; 1 of 3" in unsure(text, "may be the time")


def test_an_id_that_repeats_is_marked(tmp_path: Path) -> None:
    text, _ = of_lines(tmp_path, '{"id":1}', '{"id":1}', '{"id":2}')
    assert "1 rows repeat one" in unsure(text, "the id is guessed")


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    text, _ = of_lines(tmp_path, '{"id":1}', "nonsense", "more nonsense")
    assert "2 could not be read: not-json" in text


def test_cells_of_csv_are_guessed_by_their_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'id,n,d,zip,ok,mixed,none,"a ""b\\"\n1,1,1,00501,true,1,,x\n2,-2,2.50,10001,false,a,,y\n'
    )
    text, file = guess(tmp_path)
    assert dict(file.fields) == {"n": "i", "d": "D", "zip": "s", "ok": "b", "mixed": "s", 'a "b\\': "s"}
    assert "mixed texts and numbers" in unsure(text, '"mixed"')
    assert len(good(source(tmp_path, file))) == 2


def test_types_of_parquet_are_taken(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")
    columns = {"id": [1], "f": [float("nan")], "d": [Decimal("0.10")], "x": [b"\xff"], "l": [[float("inf")]],
               "big": pyarrow.array([2**64 - 1], "uint64")}  # fmt: skip
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    _, file = guess(tmp_path)
    assert dict(file.fields) == {"f": "d", "d": "D", "x": "x", "l": "json", "big": "D"}
    assert len(good(source(tmp_path, file))) == 1


def test_ten_thousand_columns_leave_room_in_the_schema(tmp_path: Path) -> None:
    row = {f"column {n}": n if n < 9990 else 0.1 for n in range(10_000)}
    text, file = of_lines(tmp_path, json.dumps(row))
    listed = dict(file.fields)
    assert listed["column 9999"] == "D", "what the field more could not hold is listed first"
    assert 500 < len(listed) < 10_000
    assert unsure(text, "fields are not listed")
    assert len(good(source(tmp_path, file))) == 1


def test_names_that_toml_must_escape_are_escaped(tmp_path: Path) -> None:
    name = 'a"\\\n\x7f.é'
    _, file = of_lines(tmp_path, json.dumps({name: 1, "": 2, "a\0": 3}))
    assert dict(file.fields) == {name: "i"}


def test_of_many_files_some_rows_of_each_are_looked_at(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jsonl").write_text(f'{{"f{number}":1}}\n' * 500)
    _, file = guess(tmp_path, 800)
    assert set(dict(file.fields)) == {"f0", "f1", "f2", "f3"}


def test_nothing_to_read_is_an_error_and_no_rows_are_a_schema(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        guess(tmp_path / "none")
    (tmp_path / "a.jsonl").write_text("")
    assert guess(tmp_path)[1].fields == ()
