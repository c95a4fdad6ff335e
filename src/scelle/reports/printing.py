"""Lay a report out in one language: the strings that a page shows, and nothing that a page could obey.

What is made here goes to the template as data. Strings carry no markup; what has no shape of its own (control
characters, what reorders text) is shown by its number, and long names are cut into pieces between which a line may end.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import sqrt
from typing import Any, Final

from scelle.orders.days import load_zone, local
from scelle.reports.model import (
    Claim,
    Code,
    Evidence,
    Fact,
    Lines,
    Number,
    Part,
    Report,
    Row,
    Section,
    Size,
    Table,
    Value,
    term,
)
from scelle.reports.wording import Language, Run, Style, Words

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KEPT_FORMATS: Final = frozenset(
    "\u00ad\u200c\u200d"
)  # a soft hyphen; joiners that some scripts are written with
_DIGEST_CHARACTERS: Final = 64
_CODE_MAX: Final = 12
_WORD_MAX: Final = 18
"""A name, or a word, of more characters gets places where a line may end in a table."""
_PARTS: Final = re.compile(r"[^/\\._@:=,;?&+-]*[/\\._@:=,;?&+-]*")
"""A part of a name, with the signs after which a line may end."""
_PART_MAX: Final = 16
_PIECE_CHARACTERS: Final = 8
_WORDS: Final = re.compile(r"\S+|\s+")
_NARROW_MAX: Final = 13
_EVIDENCE_COLUMNS: Final = ("what", "log", "log-index", "log-source", "record-number", "file-sha256")
_WIDTH_MAX: Final = 64


def printed(report: Report, language: Language) -> dict[str, Any]:
    """Return what the template prints, in one language."""
    words = Words(language, load_zone(report.zone))
    moment = local(report.at_us, load_zone("UTC"))
    return {
        "lang": language.value,
        "title": words.text(f"report.{report.name}"),
        "order": _runs([Run(report.order, Style.CODE)]),
        "order_name": shown(report.order),
        "date": [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second],
        "draft": words.text("label.draft") if report.is_draft else None,
        "labels": {name: words.text(f"label.{name}") for name in ("notices", "evidence", "checkpoint")},
        "page": re.split(r"\{n\}|\{of\}", words.text("label.page")),
        "facts": [_fact(fact, words) for fact in report.facts],
        "notices": [words.text(f"notice.{key}") for key in report.notices],
        "sections": [_section(section, words) for section in report.sections],
        "evidence": _evidence(report.evidence, words),
        "checkpoints": [
            _runs(
                words.say(
                    "say.checkpoint",
                    {"log": Code(each.log), "size": Number(each.size), "root": Code(each.root)},
                ),
                is_wide=True,
            )
            for each in report.checkpoints
        ],
    }


def _section(section: Section, words: Words) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for kind, found in groupby(section.parts, key=type):
        if kind is Fact:
            parts.append(
                {"kind": "facts", "rows": [_fact(part, words) for part in found if isinstance(part, Fact)]}
            )
        else:
            parts += [_part(part, words) for part in found]
    title = words.text(f"section.{section.key}")
    for part in parts:
        if part.get("title") == title:  # one heading is enough
            part["title"] = None
    return {"title": title, "parts": parts}


def _part(part: Part, words: Words) -> dict[str, Any]:
    match part:
        case Fact():
            return {"kind": "facts", "rows": [_fact(part, words)]}
        case Claim(said, evidence):
            return {"kind": "claim", "runs": _runs(words.runs(said), is_wide=True), "refs": list(evidence)}
        case Table():
            return _table(part, words)


def _fact(fact: Fact, words: Words) -> dict[str, Any]:
    lines = [_runs(line, is_wide=True) for line in words.lines(fact.value)]
    return {"label": words.text(f"fact.{fact.key}"), "lines": lines, "refs": list(fact.evidence)}


def _table(table: Table, words: Words) -> dict[str, Any]:
    listed = len(table.rows)
    more = None
    if table.total > listed:
        more = _runs(words.say("say.more-rows", {"shown": Number(listed), "total": Number(table.total)}))
    rows = [
        {"cells": [_cell(cell, words) for cell in row.cells], "refs": list(row.evidence)}
        for row in table.rows
    ]
    labels = [words.text(f"column.{key}") for key in table.columns]
    return {
        "kind": "table",
        "title": words.text(f"table.{table.key}"),
        "empty": None if rows else words.text("label.none"),
        "columns": [
            {"label": label, **_shape(label, table.rows, at, words)} for at, label in enumerate(labels)
        ],
        "rows": rows,
        "more": more,
    }


def _shape(label: str, rows: Sequence[Row], at: int, words: Words) -> dict[str, Any]:
    """Return how wide a column is, as a share, and whether it is of numbers; 0: as wide as what is in it."""
    cells = [row.cells[at] for row in rows]
    longest = max((_length(cell, words) for cell in cells), default=0)
    is_number = bool(cells) and all(isinstance(cell, Number | Size) for cell in cells)
    longest = max(longest, max(map(len, label.split()), default=0))
    return {
        "width": 0 if longest <= _NARROW_MAX else round(sqrt(min(longest, _WIDTH_MAX)), 2),
        "number": is_number,
    }


def _length(value: Value, words: Words) -> int:
    return max(sum(len(run.text) for run in line) for line in words.lines(value))


def _evidence(evidence: Sequence[Evidence], words: Words) -> dict[str, Any]:
    is_one_log = len({each.log for each in evidence}) < 2
    keys = tuple(key for key in _EVIDENCE_COLUMNS if key != "log" or not is_one_log)
    return {
        "columns": [words.text(f"column.{key}") for key in keys],
        "rows": [[_cell(cell, words) for cell in _evidence_cells(each, keys)] for each in evidence],
    }


def _evidence_cells(each: Evidence, keys: Iterable[str]) -> list[Value]:
    cells: dict[str, Value] = {
        "what": term("event" if each.source == "scelle.events" else "entry", each.what),
        "log": Code(each.log),
        "log-index": _optional(each.index),
        "log-source": Lines(()) if each.source is None else Code(each.source),
        "record-number": _optional(each.seq),
        "file-sha256": Lines(()) if each.sha256 is None else Code(each.sha256),
    }
    return [cells[key] for key in keys]


def _optional(number: int | None) -> Value:
    return Lines(()) if number is None else Number(number)


# --- strings ---------------------------------------------------------------------------------------------


def _cell(value: Value, words: Words) -> dict[str, Any]:
    return {"lines": [_runs(line) for line in words.lines(value)]}


def _runs(runs: Iterable[Run], *, is_wide: bool = False) -> list[dict[str, Any]]:
    """Return runs as the template takes them; where the page is wide enough, a digest stays on one line."""
    return [{"pieces": _pieces(run, is_wide=is_wide), "style": run.style.value} for run in runs]


def _pieces(run: Run, *, is_wide: bool) -> list[str]:
    if is_wide:
        return pieces_of(shown(run.text), _DIGEST_CHARACTERS)
    return pieces_of(shown(run.text), _CODE_MAX if run.style is Style.CODE else _WORD_MAX)


def shown(text: str) -> str:
    """Return a text with everything that has no shape of its own shown by its number, as <U+202E>."""
    return "".join(c if _is_seen(c) else f"<U+{ord(c):04X}>" for c in text)


def _is_seen(character: str) -> bool:
    return character in _KEPT_FORMATS or unicodedata.category(character) not in _UNSEEN


def pieces_of(text: str, longest: int = _WORD_MAX) -> list[str]:
    """Cut a text where a line may end although there is no space: only runs of ASCII longer than `longest`."""
    pieces: list[str] = []
    for word in _WORDS.findall(text):
        cut = _cut(word) if len(word) > longest and word.isascii() else [word]
        if pieces and (len(cut) == 1):
            pieces[-1] += cut[0]
        elif pieces:
            pieces[-1] += cut[0]
            pieces += cut[1:]
        else:
            pieces += cut
    return pieces


def _cut(word: str) -> list[str]:
    """Cut a name after its separators, and what is long between two of them, as a digest is, every few characters."""
    pieces = []
    for part in _PARTS.findall(word):
        step = _PIECE_CHARACTERS if len(part) > _PART_MAX else len(part)
        pieces += [part[at : at + step] for at in range(0, len(part), step or 1)]
    return pieces
