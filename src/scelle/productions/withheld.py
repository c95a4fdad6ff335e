"""Read the list of what is kept back: CSV with the columns native_id, what (record or content) and code."""

import csv
from pathlib import Path

from scelle.errors import InputError, RequestWrong
from scelle.formats.tokens import shown
from scelle.productions.model import ProductionReport, WithholdList

COLUMNS = ["native_id", "what", "code"]
_MAX_BYTES = 64 << 20


def read_withhold_list(path: Path | None) -> WithholdList:
    """Return the list in the file `path`, an empty one without one; raise `RequestWrong` naming the line."""
    found = WithholdList()
    if path is None:
        return found
    natives: dict[str, str] = {}
    contents: dict[str, str] = {}
    for number, row in enumerate(_rows(path), 2):
        if len(row) != len(COLUMNS) or row[1] not in ("record", "content"):
            raise RequestWrong(f"{path}, line {number}: write native_id, then record or content, then a code")
        listed = natives if row[1] == "record" else contents
        if row[0] in listed:
            raise RequestWrong(f"{path}, line {number}: {shown(row[0])} is listed twice: leave one")
        listed[row[0]] = row[2]
    return WithholdList(natives=natives, contents=contents)


def refuse_unmet(report: ProductionReport) -> None:
    """Raise InputError where the list names what is no hit: a slip would have handed it over."""
    unmet = [each.subject for each in report.findings if each.code == "withhold.no_hit"]
    if unmet:
        raise InputError(
            f"the list withholds {', '.join(unmet[:3])}, which is no hit: compare the spelling; nothing was "
            "handed over"
        )


def _rows(path: Path) -> list[list[str]]:
    try:
        if not path.is_file():
            raise RequestWrong(f"{path}: no such file, or none that is regular: give a file of CSV")
        if path.stat().st_size > _MAX_BYTES:
            raise RequestWrong(f"{path}: larger than 64 MiB: split the production")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise RequestWrong(f"{path}: cannot be read as CSV in UTF-8 ({error}): correct it") from error
    if not rows or rows[0] != COLUMNS:
        raise RequestWrong(f"{path}: the first line must be {','.join(COLUMNS)}")
    return [row for row in rows[1:] if row]
