"""Hold a query as a tree (pure): comparisons of fields with values, joined by and, or, not."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from scelle.errors import QueryWrong

SOURCE: Final = "source"
ACCOUNT: Final = "account"
CUSTODIAN: Final = "custodian"
TIME: Final = "time"
BUILT_IN: Final = (SOURCE, ACCOUNT, CUSTODIAN, TIME)
DEPTH_MAX: Final = 100

FieldPath: TypeAlias = tuple[str, ...]
"""The parts of a field's name as they were written, parted at dots: `more.prompt` is ("more", "prompt")."""


class Operator(StrEnum):
    """Say how a field is compared with a value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    IN = "in"
    CONTAINS = "contains"
    STARTS_WITH = "starts with"


EQUALITIES: Final = (Operator.EQUAL, Operator.IN)
ORDERINGS: Final = (Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST)
PARTS: Final = (Operator.CONTAINS, Operator.STARTS_WITH)


@dataclass(frozen=True, slots=True)
class Text:
    """Be a text between double quotes, or a date or time without them."""

    value: str


@dataclass(frozen=True, slots=True)
class Number:
    """Be a number as it was written."""

    token: str

    @property
    def value(self) -> Decimal:
        """Return the number, exactly."""
        return Decimal(self.token)


@dataclass(frozen=True, slots=True)
class Truth:
    """Be `true` or `false`."""

    value: bool


Literal: TypeAlias = Text | Number | Truth


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compare a field with one value, or with several (`in`). Nothing compares with null: the answer is no."""

    field: FieldPath
    operator: Operator
    values: tuple[Literal, ...]
    column: int = 0


@dataclass(frozen=True, slots=True)
class IsNull:
    """Say that a field is null, or that the record's schema has no such field."""

    field: FieldPath
    column: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    """Negate."""

    node: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """Ask for all of these; of none, which is true."""

    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Ask for any of these; of none, which is false."""

    nodes: tuple["Node", ...]


Leaf: TypeAlias = Comparison | IsNull
Node: TypeAlias = Leaf | Not | And | Or


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield the comparisons of a query from left to right."""
    match node:
        case Not():
            yield from leaves(node.node)
        case And() | Or():
            for each in node.nodes:
                yield from leaves(each)
        case _:
            yield node


def depth(node: Node) -> int:
    """Count how many nodes lie above one another."""
    match node:
        case Not():
            return 1 + depth(node.node)
        case And() | Or():
            return 1 + max(map(depth, node.nodes), default=0)
    return 1


def holder_of(node: Node) -> str | None:
    """Return `account` or `custodian`, whichever the query names; None where it names neither.

    Raises `QueryWrong` where it names both: the two never meet in one query (product.md).
    """
    named = {leaf.field[0] for leaf in leaves(node) if leaf.field in ((ACCOUNT,), (CUSTODIAN,))}
    if len(named) > 1:
        raise QueryWrong(
            "the query names account and custodian: users of the service and staff never meet in one query; "
            "ask twice"
        )
    return named.pop() if named else None


def shown_field(field: FieldPath) -> str:
    """Write a field as a query does."""
    return ".".join(field)
