"""Write the pages that repeat the code, or a table of it: commands.md, errors.md .. Run: python docs/generate.py"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from scelle import errors
from scelle.bootstrap.watch_metrics import metrics_table
from scelle.cli.main import run
from scelle.errors import ScelleError
from scelle.orders.lifecycle import transitions_table
from scelle.orders.types import types_table

HERE = Path(__file__).parent
_EXIT = (
    (errors.InputError, 2),
    (errors.AuthorityError, 2),
    (errors.HeldError, 3),
    (errors.IntegrityError, 1),
    (errors.SourceError, 4),
    (errors.StorageError, 4),
)


def help_of(*command: str) -> str:
    """Return the help text of a command, as a terminal of 100 columns shows it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run([*command, "--help"])
    return out.getvalue().rstrip()


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command, groups before their members."""
    for name in _listed(help_of()):
        yield (name,)
        if "COMMAND" in help_of(name):
            yield from ((name, member) for member in _listed(help_of(name)))


def _listed(text: str) -> list[str]:
    return re.findall(r"^  ([a-z-]+)  ", text.partition("Commands:")[2], re.MULTILINE)


def commands_page() -> str:
    """Return commands.md."""
    parts = [
        "# Commands\n\nMade from the help texts by `docs/generate.py`. Every command takes `--json` and "
        "`--vault DIR` (or `SCELLE_VAULT`).\nExit codes: 0 done and all is well; 1 done, and something is wrong "
        "that the output names; 2 bad input, nothing was\nchanged; 3 held; 4 a source or store could not be "
        "reached; 70 a fault of Scellé itself; 130 stopped by\nCtrl-C: what was confirmed is kept."
    ]
    for command in commands():
        parts.append(f"## scelle {' '.join(command)}\n\n```text\n{help_of(*command)}\n```")
    return "\n\n".join(parts) + "\n"


def error_classes(base: type[ScelleError] = ScelleError) -> Iterator[type[ScelleError]]:
    """Yield every class of the tree of errors, in the order of their codes."""
    found = {base}
    todo = [base]
    while todo:
        for child in todo.pop().__subclasses__():
            if child not in found:
                found.add(child)
                todo.append(child)
    public = [kind for kind in found if kind.__module__ == errors.__name__]
    return iter(sorted(public, key=lambda kind: kind.code))


def errors_page() -> str:
    """Return errors.md."""
    lines = [
        "# Error codes",
        "",
        "Made from `errors.py` by `docs/generate.py`. An error is one line on standard error: what, where,",
        "what to do, and its code in brackets. A code is never reused for another meaning.",
        "",
        "| code | exit | meaning |",
        "|---|---|---|",
    ]
    for kind in error_classes():
        code = next((number for family, number in _EXIT if issubclass(kind, family)), 70)
        meaning = (kind.__doc__ or "").strip().split("\n")[0].removeprefix("Say that ")
        lines.append(f"| `{kind.code}` | {code} | {meaning} |")
    return "\n".join([*lines, ""])


def page_with(name: str, table: Callable[[], str]) -> str:
    """Return a page whose table between two marks is the one that the code gives."""
    before, _, rest = (
        (HERE / name).read_text(encoding="utf-8").partition(f"<!-- {table.__name__} begins -->\n")
    )
    after = rest.partition(f"<!-- {table.__name__} ends -->")[2]
    return f"{before}<!-- {table.__name__} begins -->\n{table()}<!-- {table.__name__} ends -->{after}"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "errors.md": errors_page,
    "metrics.md": lambda: page_with("metrics.md", metrics_table),
    "orders.md": lambda: page_with("orders.md", types_table),
    "design/lifecycle.md": lambda: page_with("design/lifecycle.md", transitions_table),
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
