"""Say to PostgreSQL which rows no clause covers, so that they are counted there and never sent.

The clauses' tests are said in their order, each exactly as Python decides it, up to the first one that SQL has no
words for: a row that passed so far is a candidate, which is sent, and which Python decides. So are rows that could
fail to become records, for they count as failed. Texts are compared as COPY prints them, by their bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, TypeAlias

from scelle.scope.dialects import ARE, translate_pattern
from scelle.scope.model import Clause, Holders, ItemView, Reason, decide_period
from scelle.scope.pushdown import Pushdown
from scelle.sources.clause_sql import (
    CANDIDATE,
    ClauseSql,
    NotTranslatable,
    Test,
    clause_codes,
    named_holders,
    quoted,
    together_sql,
)
from scelle.sources.postgres.catalog import Column
from scelle.sources.postgres.names import literal
from scelle.sources.postgres.rows import IDENTIFIER_BYTES
from scelle.sources.postgres.shapes import ROW_BYTES, VALUE_BYTES, Shape

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = "294000-01-01"
"""Times from here on are looked at one by one: the last ones do not fit 64 bits."""

_DAY_US: Final = 86_400_000_000
_PLAIN_TEXT: Final = frozenset({"text", "varchar"})
MayCompile: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class TablePushdown:
    """Say how a table is read without the rows that no clause covers.

    `count_sql` gives a code and how many rows have it, for every row of the table.
    """

    copy_sql: str
    count_sql: str

    @property
    def text(self) -> str:
        """Tell two pushdowns of one table apart."""
        return sha256(self.copy_sql.encode("utf-8")).hexdigest()[:32]


def push_down(
    shape: Shape, path: bytes, pushdown: Pushdown, time_us: int, holder: str | None, may_compile: MayCompile
) -> TablePushdown | None:
    """Say a table's clauses in SQL; None where nothing would be left out, or nothing is gained.

    `path` is the unit's, `time_us` the snapshot's; `may_compile` says whether the server takes an expression.
    """
    telling = _TableSql(shape, path, pushdown, time_us, holder, may_compile)
    clauses = [list(telling.tests(clause)) for clause in pushdown.clauses]
    if not clauses or not all(clauses):
        return None
    risky = " OR ".join(telling.risks()) or "false"
    code = f"CASE WHEN {risky} THEN {CANDIDATE} ELSE {_code_sql(clause_codes(clauses))} END"
    head, tail = shape.copy_sql.split(f" FROM {shape.table.sql})", 1)
    return TablePushdown(
        f"{head} FROM {shape.table.sql} WHERE {code} = {CANDIDATE}){tail}",
        f"SELECT {code}, count(*) FROM {shape.table.sql} GROUP BY 1",  # noqa: S608  identifiers are quoted
    )


def _code_sql(codes: Sequence[str]) -> str:
    """Write what all clauses say together; each is worked out once."""
    if len(codes) == 1:
        return codes[0]
    named = ", ".join(f"{code} AS code{place}" for place, code in enumerate(codes))
    code = together_sql([f"each.code{place}" for place in range(len(codes))])
    return f"(SELECT {code} FROM (SELECT {named} OFFSET 0) AS each)"  # noqa: S608  nothing of it comes from outside


class _TableSql(ClauseSql):
    def __init__(
        self,
        shape: Shape,
        path: bytes,
        pushdown: Pushdown,
        time_us: int,
        holder: str | None,
        may_compile: MayCompile,
    ) -> None:
        super().__init__(pushdown, path)
        self.shape, self.time_us, self.of_unit, self.may_compile = shape, time_us, holder, may_compile

    # --- one test each

    def period(self, clause: Clause) -> Iterator[Test]:
        start, end = clause.period_from_us, clause.period_to_us
        if start is None and end is None:
            return
        if self.shape.time is None:
            if not decide_period(clause, ItemView(self.pushdown.source, self.path, self.time_us, "")).covers:
                yield Test("true", Reason.PERIOD)
            return
        column = self.shape.table.columns[self.shape.time]
        name = quoted(column.name)
        outside = [] if start is None else [f"{name} < {_moment_sql(start, column)}"]
        outside += [] if end is None else [f"{name} >= {_moment_sql(end, column)}"]
        yield Test(f"coalesce(isfinite({name}) AND ({' OR '.join(outside)}), false)", Reason.PERIOD)

    def holder(self, clause: Clause) -> Iterator[Test]:
        holders = Holders.of(clause)
        if not holders.restrict:
            return
        if self.shape.account is None:
            yield from self.shared_holder(holders, self.shape.member.schema, self.of_unit)
            return
        named, reason = named_holders(holders, self.shape.account_kind)
        column = self.shape.table.columns[self.shape.account]
        # a record of nobody is covered, for it is not known whose it is
        excludes = f"{quoted(column.name)} IS DISTINCT FROM NULL AND NOT {_is_one_of_sql(column, named)}"
        yield Test(excludes, reason)

    def dimension(self, name: str, identifiers: Sequence[str]) -> Iterator[Test]:
        schema = self.shape.member.schema
        if schema.dimension_number(name) is None:
            return  # covers in doubt
        own = {self.shape.table.columns[place].name: place for place in self.shape.dimensions}
        if name not in own:
            raise NotTranslatable
        is_named = _is_one_of_sql(self.shape.table.columns[own[name]], identifiers)
        yield Test(f"coalesce(NOT ({is_named}), true)", Reason.DIMENSION)

    def field(self, name: str, pattern: str) -> Iterator[Test]:
        shape = self.shape
        number = shape.member.schema.field_number(name)
        if number is None or number < 2:
            return  # covers in doubt
        place = number - shape.first
        if not 0 <= place < len(shape.letters) or shape.letters[place] in ("h", "x"):
            raise NotTranslatable
        column = shape.table.columns[place]
        if shape.letters[place] != "s":
            yield Test(f"{quoted(column.name)} IS NOT DISTINCT FROM NULL", Reason.FIELD)
            return
        said = translate_pattern(pattern, ARE)
        if said is None or not self.may_compile(said):
            raise NotTranslatable
        matches = f'({text_sql(column)}) COLLATE "C" ~ {literal(said)}'
        yield Test(f"coalesce(NOT ({matches}), true)", Reason.FIELD)

    # --- rows that Python must see

    def risks(self) -> Iterator[str]:
        """Write when a row may fail to become a record, or become one that is not what its columns say."""
        shape = self.shape
        columns = shape.table.columns
        identifying = {*shape.key, *shape.dimensions, *(() if shape.account is None else (shape.account,))}
        for place in sorted(identifying):
            if columns[place].length == -1:  # an escape takes two bytes
                yield _is_longer_sql(columns[place], IDENTIFIER_BYTES // 2)
        if shape.time is not None:
            column = columns[shape.time]
            yield f"coalesce(isfinite({quoted(column.name)}) AND {quoted(column.name)} >= '{_LAST_MOMENT}', false)"
        asked = {name for clause in self.pushdown.clauses for name, _ in clause.match}
        for place, letter in enumerate(shape.letters):
            field = shape.member.schema.fields[shape.first + place].name
            if letter == "D":
                yield f"coalesce({text_sql(columns[place])} ~ '[^-0-9.]', false)"
            elif letter == "s" and field in asked and columns[place].may_be_large:
                # no value up to this size is taken out of its row
                yield _is_longer_sql(columns[place], min(VALUE_BYTES, ROW_BYTES // len(columns)) - 64)


def text_sql(column: Column) -> str:
    """Write the expression of a column's text as COPY prints it, before escapes; NULL stays NULL."""
    name = quoted(column.name)
    if column.base_type in _PLAIN_TEXT:
        return f"{name}::text"
    # a composite value with a null member is neither null nor not null: only this asks for the value itself
    return f"CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END"


def _is_longer_sql(column: Column, size_bytes: int) -> str:
    return f"coalesce(octet_length({text_sql(column)}) > {size_bytes}, false)"


def _is_one_of_sql(column: Column, identifiers: Iterable[str]) -> str:
    elements = ",".join(sorted(map(_element, filter(_is_storable, identifiers))))
    array = literal("{" + elements + "}")
    # a subquery is hashed, once; ANY of an array is searched from its start for each row where it stands in a CASE
    return f'(({text_sql(column)}) COLLATE "C" IN (SELECT unnest({array}::text[]) COLLATE "C"))'


def _element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_storable(text: str) -> bool:
    """Say whether a text of the server can be this one."""
    return "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _moment_sql(time_us: int, column: Column) -> str:
    """Write a bound of a period as a constant of the column's type."""
    if column.base_type == "date":  # a day counts as its first moment
        return f"'{(_EPOCH + timedelta(days=-(-time_us // _DAY_US))).date().isoformat()}'::date"
    moment = (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"'{moment}+00'::timestamptz" if column.base_type == "timestamptz" else f"'{moment}'::timestamp"
