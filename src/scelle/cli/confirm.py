"""Ask for a confirmation, on a terminal alone (product.md)."""

import sys

import typer


def confirmed(question: str, *, yes: bool, as_json: bool) -> bool:
    """Ask on a terminal, without --yes and --json; elsewhere nothing is asked, and what was said is meant."""
    if yes or as_json or not sys.stdin.isatty():
        return True
    return typer.confirm(question)
