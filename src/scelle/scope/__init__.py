"""Decide what an order covers, and say why."""

from scelle.formats.tokens import UNDATED
from scelle.scope.compiled import compile_clauses
from scelle.scope.model import (
    Clause,
    ItemView,
    Keep,
    Match,
    Reason,
    Verdict,
    check_clause,
    covers,
    explain,
    match_clauses,
    shown_path,
)
from scelle.scope.sealed import clause_from_json, clause_to_json

__all__ = [
    "UNDATED",
    "Clause",
    "ItemView",
    "Keep",
    "Match",
    "Reason",
    "Verdict",
    "check_clause",
    "clause_from_json",
    "clause_to_json",
    "compile_clauses",
    "covers",
    "explain",
    "match_clauses",
    "shown_path",
]
