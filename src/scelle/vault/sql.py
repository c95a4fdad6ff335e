"""Load named SQL from the `queries.sql` beside a room's code.

A file is a sequence of blocks, each begun by a line `-- name: some_name`; what stands before the first is a
comment.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_NAME_LINE: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


def load_queries(package: str, file_name: str = "queries.sql") -> Mapping[str, str]:
    """Return the SQL texts of `package` by name. Raises `ValueError` when a name stands twice."""
    return parse_queries(files(package).joinpath(file_name).read_text(encoding="utf-8"))


def parse_queries(text: str) -> Mapping[str, str]:
    """Split a file of named SQL. Raises `ValueError` when a name stands twice."""
    parts = _NAME_LINE.split(text)
    names = parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError("a query name stands twice")
    return MappingProxyType({name: body.strip() for name, body in zip(names, parts[2::2], strict=True)})
