"""Say what a database's catalogs say, as the snapshot sees them: tables, columns, keys, partitions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from scelle.sources.clause_sql import quoted
from scelle.sources.interfaces import Trouble
from scelle.sources.postgres.names import Pattern, is_selected, parse_patterns, table_text
from scelle.sources.postgres.types import LETTER_BY_TYPE
from scelle.vault.sql import load_queries

QUERIES: Final = load_queries("scelle.sources.postgres")

_BOUNDED_CHARACTERS: Final = 256 * 1024
_SMALL_TYPES: Final = frozenset({"numeric", "inet", "cidr"})
_MODIFIED_TYPES: Final = frozenset({"varchar", "bpchar", "bit", "varbit"})
_REFUSED_KINDS: Final = {"v": "view", "m": "materialized-view", "f": "foreign-table", "S": "sequence"}


class Asking(Protocol):
    """Answer one query inside the snapshot."""

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give all rows of the answer; raises a SourceError."""


@dataclass(frozen=True, slots=True)
class Column:
    """Describe a column; `base_type` is the type's name below any domain, with its schema unless built in.

    `type_name` is the declared type with its modifiers, `length` its typlen, `modifier` its typmod.
    """

    number: int
    name: str
    type_name: str
    base_type: str
    length: int
    modifier: int
    is_not_null: bool
    generated: str | None
    collation: str | None
    comment: str | None

    @property
    def letter(self) -> str:
        """Give the letter of its values."""
        return LETTER_BY_TYPE.get(self.base_type, "s")

    @property
    def may_be_large(self) -> bool:
        """Say whether a value may take more than a mebibyte as text."""
        if self.length != -1 or self.base_type in _SMALL_TYPES:
            return False
        return not (self.base_type in _MODIFIED_TYPES and 0 <= self.modifier <= _BOUNDED_CHARACTERS)


@dataclass(frozen=True, slots=True)
class Leaf:
    """Name a table that has rows of its own: a plain table, or a partition."""

    oid: int
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Describe a table that is read; `leaves` are its partitions' leaves, or the table alone."""

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    size_bytes: int
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    """Numbers of the primary key's columns, in the key's order; empty where there is none."""
    leaves: tuple[Leaf, ...]

    @property
    def text(self) -> str:
        """Give its name as it stands in units and members."""
        return table_text(self.schema, self.name)

    @property
    def sql(self) -> str:
        """Name it for FROM: without what inherits from it, unless its rows lie in its partitions."""
        return ("" if self.is_partitioned else "ONLY ") + f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Say which tables are read, and which that were asked for are not, and why."""

    tables: tuple[Table, ...]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class _Relation:
    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    is_readable: bool
    is_row_secured: bool
    is_owned: bool
    size_bytes: int

    @property
    def text(self) -> str:
        return table_text(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class _Descendant:
    oid: int
    kind: str
    schema: str
    name: str
    persistence: str
    size_bytes: int


def read_catalog(asking: Asking, tables: Iterable[str], *, is_standby: bool) -> Catalog:
    """Read what the patterns `tables` name. Raises InputError, or a SourceError."""
    patterns = parse_patterns(tables)
    relations = [_Relation(*row) for row in asking.rows(QUERIES["relations"])]
    selected = [relation for relation in relations if _is_meant(patterns, relation)]
    roots = [relation.oid for relation in selected if relation.kind == "p"]
    descendants: dict[int, list[_Descendant]] = defaultdict(list)
    for root, *rest in asking.rows(QUERIES["descendants"], (roots,)) if roots else ():
        descendants[root].append(_Descendant(*rest))
    inside = {each.oid for below in descendants.values() for each in below}
    troubles, read = _missing(patterns, relations), []
    for relation in selected:
        if relation.oid in inside:
            continue  # its rows are read with those of the root that was selected too
        cause = _cause_against(relation, descendants[relation.oid], is_standby=is_standby)
        if cause is None:
            read.append(relation)
        else:
            troubles.append(_trouble(relation.text, cause))
    return Catalog(_tables(asking, read, descendants), tuple(troubles))


def _is_meant(patterns: Sequence[Pattern], relation: _Relation) -> bool:
    """Say whether a relation is asked for; the system's schemas only by name, counters of a column never."""
    if relation.kind == "S" and relation.is_owned:
        return False
    if relation.schema.startswith("pg_") or relation.schema == "information_schema":
        patterns = [each for each in patterns if each.schema.fullmatch("public") is None]
        return any(not each.excludes for each in patterns) and is_selected(
            patterns, relation.schema, relation.name
        )
    return is_selected(patterns, relation.schema, relation.name)


def _cause_against(relation: _Relation, below: Sequence[_Descendant], *, is_standby: bool) -> str | None:
    if relation.persistence == "t":
        return "temporary-table"
    if relation.schema.startswith("pg_") or relation.schema == "information_schema":
        return "system-table"
    if relation.kind in _REFUSED_KINDS:
        return _REFUSED_KINDS[relation.kind]
    if not relation.is_readable:
        return "permission-denied"
    if relation.is_row_secured:
        return "row-security"
    if any(each.kind == "f" for each in below):
        return "foreign-partition"
    if is_standby and "u" in {relation.persistence, *(each.persistence for each in below)}:
        return "unlogged-on-standby"
    return None


def _missing(patterns: Sequence[Pattern], relations: Sequence[_Relation]) -> list[Trouble]:
    return [
        _trouble(pattern.text, "no-such-table")
        for pattern in patterns
        if not pattern.excludes and not any(pattern.covers(each.schema, each.name) for each in relations)
    ]


def _trouble(text: str, cause: str) -> Trouble:
    native = text.encode("utf-8")
    return Trouble(native, native, cause)


def _tables(
    asking: Asking, read: Sequence[_Relation], descendants: Mapping[int, Sequence[_Descendant]]
) -> tuple[Table, ...]:
    oids = [relation.oid for relation in read]
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, *rest in asking.rows(QUERIES["columns"], (oids,)):
        columns[oid].append(Column(*rest))
    keys: dict[int, list[int]] = defaultdict(list)
    for oid, number in asking.rows(QUERIES["keys"], (oids,)):
        keys[oid].append(number)
    return tuple(
        _table(relation, columns[relation.oid], keys[relation.oid], descendants.get(relation.oid, ()))
        for relation in read
    )


def _table(
    relation: _Relation, columns: Sequence[Column], key: Sequence[int], below: Sequence[_Descendant]
) -> Table:
    is_partitioned = relation.kind == "p"
    leaves = [Leaf(each.oid, table_text(each.schema, each.name)) for each in below if each.kind == "r"]
    return Table(
        relation.oid,
        relation.schema,
        relation.name,
        is_partitioned,
        relation.size_bytes + sum(each.size_bytes for each in below if is_partitioned),
        tuple(columns),
        tuple(key),
        tuple(leaves) if is_partitioned else (Leaf(relation.oid, relation.text),),
    )
