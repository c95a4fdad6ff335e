"""Decide what an order covers, and say why."""

from scelle.formats.tokens import UNDATED
from scelle.scope.accounts import AccountSet, AccountsFile, read_accounts
from scelle.scope.compiled import compile_clauses, compile_record_clauses
from scelle.scope.expressions import check_expression
from scelle.scope.hashes import HashesFile, read_hashes
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
    load_accounts,
    match_clauses,
    shown_path,
)
from scelle.scope.patterns import Pattern, compile_pattern
from scelle.scope.records import RecordSource, RecordView, match_record
from scelle.scope.sealed import clause_from_json, clause_to_json

__all__ = [
    "UNDATED",
    "AccountSet",
    "AccountsFile",
    "Clause",
    "HashesFile",
    "ItemView",
    "Keep",
    "Match",
    "Pattern",
    "Reason",
    "RecordSource",
    "RecordView",
    "Verdict",
    "check_clause",
    "check_expression",
    "clause_from_json",
    "clause_to_json",
    "compile_clauses",
    "compile_pattern",
    "compile_record_clauses",
    "covers",
    "explain",
    "load_accounts",
    "match_clauses",
    "match_record",
    "read_accounts",
    "read_hashes",
    "shown_path",
]
