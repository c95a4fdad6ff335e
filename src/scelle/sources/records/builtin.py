"""Find schema files by name: those that are shipped, and the operator's own."""

from importlib import resources
from pathlib import Path
from typing import Final

from scelle.errors import SchemaWrong
from scelle.formats.tokens import shown
from scelle.sources.schema_file import SchemaFile, parse_schema_file, read_schema_file

BUILTIN: Final = "builtin:"


def builtin_names() -> list[str]:
    """List the schema files that are shipped."""
    folder = resources.files("scelle.sources.records") / "schemas"
    return sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))


def schema_text(reference: str) -> str:
    """Give the text of a shipped schema file (`builtin:debezium`) or of a file; raises SchemaWrong."""
    if reference.startswith(BUILTIN):
        name = reference.removeprefix(BUILTIN)
        if name not in builtin_names():
            raise SchemaWrong(f"no schema {shown(name)} is shipped: there are {', '.join(builtin_names())}")
        folder = resources.files("scelle.sources.records") / "schemas"
        return (folder / f"{name}.toml").read_text(encoding="utf-8")
    path = Path(reference)
    read_schema_file(path)
    return path.read_text(encoding="utf-8")


def load_schema(reference: str) -> SchemaFile:
    """Read a shipped schema file (`builtin:debezium`) or a file; raises SchemaWrong."""
    if reference.startswith(BUILTIN):
        return parse_schema_file(schema_text(reference), reference)
    return read_schema_file(Path(reference))
