"""Read the text of a query into its tree; say in one line where it is wrong, and what was expected there."""

import json
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, Final

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from scelle.errors import QueryWrong
from scelle.find.model import (
    DEPTH_MAX,
    And,
    Comparison,
    FieldPath,
    IsNull,
    Literal,
    Node,
    Not,
    Number,
    Operator,
    Or,
    Text,
    Truth,
    depth,
)
from scelle.formats.tokens import shown

QUERY_MAX_CHARACTERS: Final = 1 << 20
_EXPECTED: Final = {
    "FIELD": "a field",
    "TEXT": "a text in double quotes",
    "NUMBER": "a number",
    "MOMENT": "a date",
    "TRUTH": "true or false",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "NOT_EQUAL": "`!=`",
    "LESS": "`<`",
    "AT_MOST": "`<=`",
    "GREATER": "`>`",
    "AT_LEAST": "`>=`",
    "IN": "`in`",
    "CONTAINS": "`contains`",
    "STARTS_WITH": "`starts with`",
    "_IS": "`is null`",
    "_NULL": "`null`",
    "_NOT": "`not`",
    "_AND": "`and`",
    "_OR": "`or`",
    "$END": "the end",
}
"""What people call the grammar's tokens, in the order in which they are said."""


def parse_query(text: str) -> Node:
    """Read a query; raise `QueryWrong` with the column (from 1) and what was expected there."""
    if len(text) > QUERY_MAX_CHARACTERS:
        raise QueryWrong(f"the query has {len(text)} characters, must be at most {QUERY_MAX_CHARACTERS}")
    if not text.strip():
        raise QueryWrong("the query is empty: write for instance 'account = \"u1\"'")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryWrong(f"query, column {error.start + 1}: not UTF-8") from None
    try:
        return _parser().parse(text)  # type: ignore[no-any-return,unused-ignore]  # the transformer gives a Node
    except VisitError as error:
        raise error.orig_exc from None
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None


@cache
def _parser() -> Any:
    grammar = files("scelle.find").joinpath("query.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=_Tree())


@v_args(inline=True)
class _Tree(Transformer[Token, Node]):
    """Make the tree while the parser reads: bottom up, so that no text nests it too deep."""

    def start(self, node: Node) -> Node:
        return node

    def any_of(self, *nodes: Node) -> Node:
        return nodes[0] if len(nodes) == 1 else _nested(Or(nodes))

    def all_of(self, *nodes: Node) -> Node:
        return nodes[0] if len(nodes) == 1 else _nested(And(nodes))

    def negation(self, node: Node) -> Node:
        return _nested(Not(node))

    def comparison(self, field: Token, operator: Token, *values: Literal) -> Node:
        kind = Operator(" ".join(operator.lower().split()))
        return Comparison(_path(field), kind, values, _column(field))

    def is_null(self, field: Token) -> Node:
        return IsNull(_path(field), _column(field))

    def is_not_null(self, field: Token) -> Node:
        return Not(IsNull(_path(field), _column(field)))

    def text(self, token: Token) -> Literal:
        return Text(_unquoted(token))

    def moment(self, token: Token) -> Literal:
        return Text(str(token))

    def number(self, token: Token) -> Literal:
        try:
            Decimal(str(token))
        except InvalidOperation:
            raise QueryWrong(f"query, column {_column(token)}: {shown(str(token))} is out of reach") from None
        return Number(str(token))

    def truth(self, token: Token) -> Literal:
        return Truth(token.lower() == "true")


def _nested(node: Node) -> Node:
    if depth(node) > DEPTH_MAX:
        raise QueryWrong(f"the query nests deeper than {DEPTH_MAX}: ask for less at a time")
    return node


def _column(token: Token) -> int:
    return int(token.start_pos or 0) + 1


def _path(token: Token) -> FieldPath:
    """Cut a field at its dots, but those between back quotes."""
    parts: list[str] = []
    for number, piece in enumerate(str(token).split("`")):
        if number % 2:
            parts.append(piece)
        else:
            parts += [part for part in piece.split(".") if part]
    return tuple(parts)


def _unquoted(token: Token) -> str:
    """Read the escapes of a text, those of JSON."""
    where = f"query, column {_column(token)}"
    try:
        text = str(json.loads(str(token), strict=False))
    except ValueError:
        raise QueryWrong(
            f'{where}: an escape in {shown(str(token))} is none: write \\" \\\\ \\n \\t or \\u and four digits'
        ) from None
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise QueryWrong(f"{where}: {shown(text)} has half a surrogate pair, which no sealed text has")
    return text


def _syntax_error(text: str, error: UnexpectedInput) -> QueryWrong:
    """Say where the parser stopped and what it would have taken."""
    at, wanted, found = len(text.rstrip()), set[str](), "the query ends"
    match error:
        case UnexpectedToken():
            wanted = set(error.accepts or error.expected)
            if error.token.type != "$END":
                at, found = int(error.token.start_pos or 0), f"{shown(str(error.token))} stands"
        case UnexpectedCharacters():
            at, wanted = int(error.pos_in_stream or 0), set(error.allowed or ())
            found = f"{shown(text[at : at + 20])} stands"
    expected = ", ".join(word for name, word in _EXPECTED.items() if name in wanted)
    said = f"query, column {at + 1}: {found} there" + (f", expected: {expected}" if expected else "")
    return QueryWrong(said + _hint(text[at:]))


def _hint(rest: str) -> str:
    """Say what is mostly meant by what stands there."""
    if rest.startswith("'"):
        return "; texts stand in double quotes"
    if rest[:4].lower() == "null":
        return "; write `is null` or `is not null`"
    if rest.startswith('"') and rest.count('"') == 1:
        return "; the text has no end"
    return ""
