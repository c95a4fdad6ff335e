"""Bind a query to one log source and its schema: what is known of every record there is decided at once (pure)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeAlias

from scelle.errors import QueryWrong
from scelle.find.cells import (
    CellTest,
    Kind,
    PlainTest,
    cell_test,
    equal_texts,
    kind_of,
    null_test,
    plain_test,
    time_window,
)
from scelle.find.holders import ANYBODY, HOLDERS, identifiers_of, is_custodians
from scelle.find.model import (
    ACCOUNT,
    BUILT_IN,
    CUSTODIAN,
    EQUALITIES,
    ORDERINGS,
    SOURCE,
    TIME,
    And,
    Comparison,
    FieldPath,
    IsNull,
    Leaf,
    Literal,
    Node,
    Not,
    Number,
    Operator,
    Or,
    Text,
    Truth,
    holder_of,
    leaves,
    shown_field,
)
from scelle.formats.schema import Schema
from scelle.formats.tokens import INT64_MAX, UNDATED, is_family_member, is_reserved_alias, shown

Window: TypeAlias = tuple[int, int]
ALWAYS: Final[Window] = (UNDATED, INT64_MAX + 1)
_TIME_FIELD: Final = 0
HOLDER_FIELD: Final = 2
_FIELDS_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """Test one field of a record, `number`, by its encoded value.

    Where `identifiers` are set, a record that passes has one of them in dimension `number`; where `window` is, a
    time in it. `is_exact` says that, the other way round, every such record passes.
    """

    number: int
    test: CellTest
    identifiers: tuple[str, ...] | None = None
    window: Window = ALWAYS
    is_exact: bool = False
    is_guard: bool = False
    """Keeps accounts out of a query for custodians, and the other way round."""


@dataclass(frozen=True, slots=True)
class Negated:
    """Negate."""

    node: "Cell | Negated | All | Any"


@dataclass(frozen=True, slots=True)
class All:
    """Pass what passes all."""

    nodes: tuple["Cell | Negated | All | Any", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Pass what passes one."""

    nodes: tuple["Cell | Negated | All | Any", ...]


Undecided: TypeAlias = Cell | Negated | All | Any
Bound: TypeAlias = Undecided | bool


class Place(NamedTuple):
    """Say where a schema has a field: its number, its type letter, and what of the path leads into it."""

    number: int
    letter: str
    path: FieldPath


def place_of(schema: Schema, field: FieldPath) -> Place | None:
    """Find a field by its name, its dimension, or as a part of a structure: the longest name that there is."""
    for length in range(len(field), 0, -1):
        name, rest = shown_field(field[:length]), field[length:]
        number = schema.field_number(name)
        if number is None and not rest and name != SOURCE:
            number = schema.dimension_number(name)
        if number is not None and kind_of(schema.fields[number].type, rest) is not None:
            return Place(number, schema.fields[number].type, rest)
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Know the log sources of an order (aliases, with records or without) and what people call them."""

    aliases: frozenset[str]
    names: Mapping[str, str]
    """Human names by alias."""

    def name(self, alias: str) -> str:
        """Return what people call a log source, its alias where nobody does."""
        return self.names.get(alias) or self.names.get(alias.rpartition("/")[0]) or alias

    def is_meant(self, alias: str, text: str) -> bool:
        """Say whether a query means a log source by `text`: a human name, else an alias with its family."""
        known = [each for each, name in self.names.items() if name == text]
        return any(is_family_member(alias, each) for each in known or [text])

    def check(self, text: str, column: int) -> None:
        """Raise `QueryWrong` where a query means no source by `text`."""
        known = {*self.aliases, *self.names}
        if not any(self.is_meant(alias, text) for alias in known):
            there = ", ".join(sorted({self.name(alias) for alias in known}))
            raise QueryWrong(f"query, column {column}: no source {shown(text)}; there are {there}")

    def searched(self, node: Node) -> list[str]:
        """List the log sources that a query is about: all but Scellé's own, which must be asked for by name."""
        asked = [
            text
            for leaf in leaves(node)
            if isinstance(leaf, Comparison) and leaf.field == (SOURCE,) and leaf.operator in EQUALITIES
            for text in _texts(leaf.values)
        ]
        return [
            alias
            for alias in self.aliases
            if not is_reserved_alias(alias) or any(self.is_meant(alias, text) for text in asked)
        ]


class Binder:
    """Bind one query. Raises `QueryWrong` for what no record could answer."""

    def __init__(self, node: Node, sources: Sources, schemas: Sequence[Schema], zone: tzinfo) -> None:
        self._node, self._sources, self._zone = node, sources, zone
        self._holder = holder_of(node)
        for leaf in leaves(node):
            self._check(leaf, schemas)

    def bind(self, alias: str, schema: Schema) -> Bound:
        """Return what of the query is still to be asked of each record of a log source."""
        bound = self._bind(self._node, alias, schema)
        if self._holder is None or (isinstance(bound, bool) and not bound):
            return bound
        guard = Cell(HOLDER_FIELD, _guard(self._holder), is_guard=True)
        return _joined([bound, guard])

    # --- what no record could answer

    def _check(self, leaf: Leaf, schemas: Sequence[Schema]) -> None:
        if leaf.field == (SOURCE,):
            self._check_source(leaf)
        elif leaf.field in ((ACCOUNT,), (CUSTODIAN,)):
            self._check_fits(leaf, [Kind.TEXT])
        elif leaf.field == (TIME,):
            self._check_fits(leaf, [Kind.TIME])
        else:
            places = [place for schema in schemas if (place := place_of(schema, leaf.field)) is not None]
            if not places:
                raise _unknown(leaf, schemas)
            kinds = [kind_of(place.letter, place.path) for place in places]
            self._check_fits(leaf, [kind for kind in kinds if kind is not None])

    def _check_source(self, leaf: Leaf) -> None:
        if isinstance(leaf, IsNull):
            return
        if leaf.operator in ORDERINGS or any(isinstance(value, Truth) for value in leaf.values):
            raise QueryWrong(
                f"query, column {leaf.column}: source is compared by =, !=, in, contains and starts with, "
                "with a text in double quotes"
            )
        if leaf.operator in (*EQUALITIES, Operator.NOT_EQUAL):
            for text in _texts(leaf.values):
                self._sources.check(text, leaf.column)

    def _check_fits(self, leaf: Leaf, kinds: Sequence[Kind]) -> None:
        if isinstance(leaf, IsNull):
            return
        for value in leaf.values:
            if not any(plain_test(kind, leaf.operator, [value], self._zone) for kind in kinds):
                said = " or ".join(sorted({kind.value for kind in kinds}))
                raise QueryWrong(f"query, column {leaf.column}: {shown_field(leaf.field)} is {said}")

    # --- what one log source answers

    def _bind(self, node: Node, alias: str, schema: Schema) -> Bound:
        match node:
            case Not():
                bound = self._bind(node.node, alias, schema)
                return not bound if isinstance(bound, bool) else Negated(bound)
            case And():
                return _joined([self._bind(each, alias, schema) for each in node.nodes])
            case Or():
                return _parted([self._bind(each, alias, schema) for each in node.nodes])
            case _ if node.field == (SOURCE,):
                return self._is_source(node, alias)
            case _ if node.field in ((ACCOUNT,), (CUSTODIAN,)):
                return self._holder_cell(node, node.field[0])
            case _:
                place = place_of(
                    schema, (schema.fields[_TIME_FIELD].name,) if node.field == (TIME,) else node.field
                )
                return isinstance(node, IsNull) if place is None else self._cell(node, place, schema)

    def _is_source(self, leaf: Leaf, alias: str) -> bool:
        if isinstance(leaf, IsNull):
            return False
        if leaf.operator in (*EQUALITIES, Operator.NOT_EQUAL):
            is_meant = any(self._sources.is_meant(alias, text) for text in _texts(leaf.values))
            return is_meant != (leaf.operator is Operator.NOT_EQUAL)
        test = plain_test(Kind.TEXT, leaf.operator, leaf.values, self._zone)
        return test is not None and test(self._sources.name(alias))

    def _holder_cell(self, leaf: Leaf, holder: str) -> Bound:
        """Bind a comparison of field 2, whose identifiers carry their kind."""
        if isinstance(leaf, IsNull):
            return Cell(HOLDER_FIELD, null_test("s", ()), identifiers=("",))
        if leaf.operator in EQUALITIES:
            found = [name for text in _texts(leaf.values) for name in identifiers_of(holder, text)]
            identifiers = tuple(dict.fromkeys(found))
            return Cell(HOLDER_FIELD, equal_texts(identifiers), identifiers, is_exact="" not in identifiers)
        test = plain_test(Kind.TEXT, leaf.operator, leaf.values, self._zone)
        if test is None:
            return False
        read = HOLDERS[holder]
        return Cell(HOLDER_FIELD, cell_test("s", (), _after(read, test)))

    def _cell(self, leaf: Leaf, place: Place, schema: Schema) -> Bound:
        number, letter, path = place
        if number == HOLDER_FIELD:  # under the name that its source gave it
            return self._holder_cell(leaf, ANYBODY)
        is_indexed = HOLDER_FIELD < number <= len(schema.dimensions)
        if isinstance(leaf, IsNull):
            window = (UNDATED, UNDATED + 1) if number == _TIME_FIELD else ALWAYS
            return Cell(
                number, null_test(letter, path), ("",) if is_indexed else None, window, number == _TIME_FIELD
            )
        kind = kind_of(letter, path)
        test = None if kind is None else plain_test(kind, leaf.operator, leaf.values, self._zone)
        if test is None:
            return False
        if number == _TIME_FIELD and len(leaf.values) == 1:
            window = time_window(leaf.operator, leaf.values[0], self._zone) or ALWAYS
            return Cell(number, cell_test(letter, path, test), None, window, window != ALWAYS)
        if letter == "s" and leaf.operator in EQUALITIES:
            texts = tuple(dict.fromkeys(_texts(leaf.values)))
            return Cell(
                number,
                equal_texts(texts),
                texts if is_indexed else None,
                is_exact=is_indexed and "" not in texts,
            )
        return Cell(number, cell_test(letter, path, test))


def _after(read: Callable[[str | None], str | None], test: PlainTest) -> PlainTest:
    return lambda value: test(read(value))


def _texts(values: Sequence[Literal]) -> list[str]:
    """Return the literals as texts are compared with them; true and false are none."""
    return [
        value.value if isinstance(value, Text) else value.token
        for value in values
        if isinstance(value, Text | Number)
    ]


def _guard(holder: str) -> CellTest:
    """Return what keeps the other kind of holder out; what is of nobody stays."""
    is_for_custodians = holder == CUSTODIAN
    return cell_test("s", (), lambda value: value is None or is_custodians(value) == is_for_custodians)


def _joined(nodes: Sequence[Bound]) -> Bound:
    rest = tuple(node for node in nodes if not isinstance(node, bool))
    if any(node is False for node in nodes):
        return False
    if len(rest) < 2:
        return rest[0] if rest else True
    flat = [inner for node in rest for inner in (node.nodes if isinstance(node, All) else (node,))]
    return All(tuple(flat))


def _parted(nodes: Sequence[Bound]) -> Bound:
    rest = tuple(node for node in nodes if not isinstance(node, bool))
    if any(node is True for node in nodes):
        return True
    if len(rest) < 2:
        return rest[0] if rest else False
    return Any(rest)


def _unknown(leaf: Leaf, schemas: Iterable[Schema]) -> QueryWrong:
    """Name the fields that there are, the nearest first."""
    names = {*BUILT_IN}
    for schema in schemas:
        names |= {each.name for each in schema.fields} | set(schema.dimensions)
    asked = shown_field(leaf.field)
    near = get_close_matches(asked, names, n=1)
    listed = [*near, *sorted(names - {*near})]
    more = f" and {len(listed) - _FIELDS_SHOWN} more" if len(listed) > _FIELDS_SHOWN else ""
    return QueryWrong(
        f"query, column {leaf.column}: no field {shown(asked)} in any source searched; there are "
        f"{', '.join(listed[:_FIELDS_SHOWN])}{more}"
    )
