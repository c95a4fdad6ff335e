"""Files that DuckDB reads otherwise than pyarrow does: there every row must be read, or rows are lost or miscounted."""

from collections import Counter
from pathlib import Path

import pytest

from scelle.errors import ItemUnreadable
from scelle.scope.compiled import compile_record_clauses
from scelle.scope.model import Clause
from scelle.scope.pushdown import Pushdown
from scelle.scope.records import RecordView
from scelle.sources.interfaces import BadRecord
from tests.unit.sources.reading_records import only_unit, schema, source

pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")
pytest.importorskip("duckdb", reason="pushdown needs the extra `parquet`")

START_US = 1_767_225_600_000_000


def ends(root: Path, roles: str, fields: str, clause: Clause) -> dict[str, Counter[str]]:
    """Say what became of every row, by ids where it is covered; the same whether rows are left out or not."""
    found: dict[str, Counter[str]] = {}
    for way in ("read", "pushed_down"):
        read = source(root, schema(fields, f'[schema]\nname = "posts"\nid = "id"\n{roles}'))
        (member,), unit = read.members(), only_unit(read)
        decide = compile_record_clauses([clause], "posts", member.schema, None, None)
        pushdown = Pushdown("posts", (clause,), None, None)
        count = found[way] = Counter[str]()
        for batch in read.read(unit, b"") if way == "read" else read.read_pushed_down(unit, b"", pushdown):
            count.update(batch.left_out)
            for each in batch.records:
                if isinstance(each, BadRecord):
                    count[each.cause] += 1
                    continue
                match = decide(RecordView(unit.native, each.time_us, each.account, each.values))
                count[each.native.decode() if match.excluded_by is None else match.excluded_by.value] += 1
        read.close()
    return found


def both(root: Path, columns: dict[str, object], roles: str, fields: str, clause: Clause) -> Counter[str]:
    parquet.write_table(pyarrow.table({"id": ["a", "b"], **columns}), root / "a.parquet")
    found = ends(root, roles, fields, clause)
    assert found["pushed_down"] == found["read"]
    return found["read"]


@pytest.mark.parametrize("twin", ["User", "USER"])
def test_columns_that_differ_in_case_alone(tmp_path: Path, twin: str) -> None:
    columns: dict[str, object] = {twin: ["u1", "u2"], "user": ["u2", "u1"]}
    clause = Clause("c", ("posts",), accounts=("u1",))
    assert both(tmp_path, columns, 'account = "user"', "", clause) == {"b": 1, "account": 1}


def test_a_member_of_a_structure_with_the_name_of_the_time(tmp_path: Path) -> None:
    inner = pyarrow.array([{"b": START_US + 100}, {"b": START_US + 200}])
    columns: dict[str, object] = {"a": inner, "a.b": [START_US, START_US + 1]}
    clause = Clause("c", ("posts",), START_US - 5, START_US + 3)
    roles = 'time = "a.b"\ntime_unit = "us"'
    assert both(tmp_path, columns, roles, "", clause) == {"a": 1, "b": 1}


def test_a_number_in_a_time_that_is_listed_as_text_fails(tmp_path: Path) -> None:
    clause = Clause("c", ("posts",), START_US)
    assert both(tmp_path, {"ts": [1, 2]}, 'time = "ts"', 'ts = "s"', clause) == {"schema-mismatch": 2}


def test_columns_with_the_names_that_a_query_uses(tmp_path: Path) -> None:
    for name in ("number", "code", "code0", "count", "file_row_number", "filename", "rowid"):
        clause = Clause("c", ("posts",), accounts=("u1",))
        columns: dict[str, object] = {name: ["u1", "u2"]}
        assert both(tmp_path, columns, f'account = "{name}"', "", clause) == {"a": 1, "account": 1}, name


def test_times_before_1970_are_floored(tmp_path: Path) -> None:
    clause = Clause("c", ("posts",), period_to_us=-1)
    roles = 'time = "ts"\ntime_unit = "ns"'
    assert both(tmp_path, {"ts": [-1000, -1001]}, roles, "", clause) == {"period": 1, "b": 1}


def test_a_file_without_statistics(tmp_path: Path) -> None:
    table = pyarrow.table({"id": ["a", "b"], "ts": [START_US, 2**63 - 1]})
    parquet.write_table(table, tmp_path / "a.parquet", write_statistics=False)
    found = ends(tmp_path, 'time = "ts"\ntime_unit = "ms"', "", Clause("c", ("posts",), period_to_us=5))
    assert found["pushed_down"] == found["read"] == {"period": 1, "time-out-of-range": 1}


def test_what_is_no_text_in_a_column_that_is_asked_for_fails_the_file(tmp_path: Path) -> None:
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(),
        2,
        [None, pyarrow.array([0, 2, 3], "int32").buffers()[1], pyarrow.py_buffer(b"ok\xff")],
    )
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "user": broken}), tmp_path / "a.parquet")
    with pytest.raises(ItemUnreadable, match="damaged"):
        ends(tmp_path, 'account = "user"', "", Clause("c", ("posts",), accounts=("zz",)))
