"""Run the verifier on a draft, in this process, and hand back its verdict."""

import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.verify.builder import Draft, canonical

from scelle.verify import scelle_verify


@dataclass(frozen=True)
class Verdict:
    exit_code: int
    document: dict[str, Any]
    error: str

    @property
    def codes(self) -> set[str]:
        return {finding["code"] for finding in self.document.get("findings", [])}

    @property
    def findings(self) -> list[str]:
        return ["{code} | {subject} | {detail}".format(**f) for f in self.document.get("findings", [])]


PAGE = Path(__file__).parents[3] / "docs" / "formats" / "verifier.md"
DOCUMENTED = set(
    re.findall(r"`([a-z]+\.[a-z_0-9]+)`", PAGE.read_text(encoding="utf-8").split("## Findings")[1])
)
# A place is a member, an entry, a line or an option; here only three begin with a capital, as `None` does.
SUBJECT = re.compile(r"MANIFEST|README\.txt|C:evil|[^A-Z].*")


def examine(arguments: Sequence[object]) -> Verdict:
    """Run the command line with --json."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = scelle_verify.main([*map(str, arguments), "--json"])
    return Verdict(code, json.loads(out.getvalue()) if out.getvalue() else {}, err.getvalue())


def run(arguments: Sequence[object]) -> Verdict:
    """Run the command line with --json; every finding has a documented code and says of what it speaks."""
    verdict = examine(arguments)
    assert verdict.codes <= DOCUMENTED
    for finding in verdict.document.get("findings", []):
        assert SUBJECT.fullmatch(finding["subject"]), finding
    return verdict


def run_text(arguments: Sequence[object]) -> tuple[int, str]:
    """Run the command line for people."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = scelle_verify.main([*map(str, arguments)])
    return code, out.getvalue()


def files(draft: Draft, folder: Path, query: bytes | None = None) -> list[object]:
    """Write package, trust file and query; return the arguments."""
    package, trust, asked = folder / "p.scelle", folder / "trust.json", folder / "query.json"
    package.write_bytes(draft.close())
    trust.write_bytes(canonical(draft.trust) + b"\n")
    asked.write_bytes(canonical(draft.query) + b"\n" if query is None else query)
    return [package, "--trust", trust, "--query", asked]


def judge(draft: Draft, folder: Path, *more: object, query: bytes | None = None) -> Verdict:
    """Close the draft and examine it with its trust file and query."""
    verdict = run([*files(draft, folder, query), *more])
    assert "verifier.exception" not in verdict.codes, verdict.findings
    return verdict
