"""Render a report as PDF/A-3b, or as pictures, with typst: the same bytes for the same data, and no network.

The template is package data, and everything that a report says comes to it as JSON in `sys.inputs`: no string of a
report is ever typst source. Only the fonts that typst brings along are used. The report's data are attached to the PDF.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final, Literal, NamedTuple

from scelle.errors import ReportNotRendered, TypstMissing
from scelle.reports.model import Report
from scelle.reports.printing import printed
from scelle.reports.wording import Language

STANDARD: Final = "a-3b"
_PROBE: Final = b"#set text(font: json(bytes(sys.inputs.fonts)), fallback: false)\n#sys.inputs.text"
_FONTS: Final = ("Libertinus Serif", "DejaVu Sans Mono", "New Computer Modern")
_KNOWN: Final = re.compile(r"[ -~\u00a0-\u017e\u2010-\u2026\u202f\u2039\u203a\u20ac]*")
"""Characters that the fonts are known to have; of every other one they are asked."""


class Pages(NamedTuple):
    """A rendered report: the PDF's bytes, and the data that it carries."""

    pdf: bytes
    data: bytes


def render_pdf(report: Report, language: Language) -> Pages:
    """Return the report as PDF/A-3b with its data attached; raises `TypstMissing`, `ReportNotRendered`."""
    data = report.encode()
    compiled = _compile(report, language, data, "pdf")
    return Pages(compiled[0], data)


def render_pictures(report: Report, language: Language, *, ppi: float = 110.0) -> list[bytes]:
    """Return the report's pages as PNG pictures: for looking at them."""
    return _compile(report, language, report.encode(), "png", ppi=ppi)


def check_typst() -> None:
    """Raise `TypstMissing` where typst is not installed."""
    _typst()


def _typst() -> Any:
    try:
        import typst  # optional dependency
    except ImportError as error:
        raise TypstMissing(
            "pages need typst: pip install 'scelle[reports]'; --to FILE.json and --json work without it"
        ) from error
    return typst


def _compile(
    report: Report, language: Language, data: bytes, kind: Literal["pdf", "png"], *, ppi: float | None = None
) -> list[bytes]:
    typst = _typst()
    page = _drawable(printed(report, language))
    inputs = {
        "page": json.dumps(page, ensure_ascii=False),
        "fonts": json.dumps(_FONTS),
        "data": data.decode(),
        "data_name": f"{report.name}-{report.order}.json",
    }
    with as_file(files("scelle.reports") / "templates") as folder:
        compiler = typst.Compiler(
            (folder / "report.typ").read_bytes(), root=folder, ignore_system_fonts=True, sys_inputs=inputs
        )
        try:
            made = compiler.compile(
                format=kind,
                ppi=ppi,
                pdf_standards=[STANDARD] if kind == "pdf" else [],
                timestamp=report.at_us // 1_000_000,
            )
        except typst.TypstError as error:
            raise ReportNotRendered(
                f"typst could not make the pages ({error.message}): a fault of Scellé; take --to FILE.json meanwhile"
            ) from error
    return list(made) if isinstance(made, list) else [bytes(made)]


# --- characters that the fonts do not have ---------------------------------------------------------------


def _drawable(page: Any) -> Any:
    """Return the page with every character that no font has shown by its number: PDF/A allows no empty boxes."""
    missing = {character for text in _texts(page) for character in _unknown(text) if not _has(character)}
    return (
        _replaced(page, str.maketrans({each: f"<U+{ord(each):04X}>" for each in missing}))
        if missing
        else page
    )


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _unknown(text: str) -> set[str]:
    return set() if _KNOWN.fullmatch(text) else {each for each in text if not _KNOWN.fullmatch(each)}


def _replaced(value: Any, table: dict[int, Any]) -> Any:
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, dict):
        return {key: _replaced(each, table) for key, each in value.items()}
    return [_replaced(each, table) for each in value] if isinstance(value, list) else value


@cache
def _has(character: str) -> bool:
    """Tell whether a font has a character: typst refuses to make a PDF/A of one that none has."""
    typst = _typst()
    inputs = {"text": character, "fonts": json.dumps(_FONTS)}
    compiler = typst.Compiler(_PROBE, ignore_system_fonts=True, sys_inputs=inputs)
    try:
        compiler.compile(format="pdf", pdf_standards=[STANDARD], timestamp=0)
    except typst.TypstError:
        return False
    return True
