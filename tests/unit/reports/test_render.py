"""Pages: the same bytes for the same data, PDF/A-3b with the data inside, and no name that is read as markup."""

import json
import os
import pickle
import re
import subprocess
import sys
import zlib
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from scelle.errors import TypstMissing
from scelle.reports.model import Report
from scelle.reports.render import render_pdf, render_pictures
from scelle.reports.wording import Language

from .sample import HOSTILE, sample

pytest.importorskip("typst", reason="pages need typst (extra `reports`)")


def streams(pdf: bytes) -> list[bytes]:
    """Return the streams of a PDF, unpacked where they are packed."""
    found = []
    for match in re.finditer(rb"(?<!end)stream\r?\n", pdf):
        data = pdf[match.end() : pdf.index(b"endstream", match.end())]
        try:
            found.append(zlib.decompressobj().decompress(data))
        except zlib.error:
            found.append(data)
    return found


@pytest.mark.parametrize("language", Language)
def test_a_page_is_pdf_a_with_its_data_attached(language: Language) -> None:
    report = sample()
    pdf, data = render_pdf(report, language)
    everything = pdf + b"".join(streams(pdf))
    assert pdf.startswith(b"%PDF-1.7")
    assert b"<pdfaid:part>3</pdfaid:part>" in everything
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in everything
    assert f"<rdf:li>{language.value}</rdf:li>".encode() in everything
    assert b"2026-01-08T14:00:00Z" in everything
    assert b"/EmbeddedFile" in everything
    assert b"/AFRelationship" in everything
    assert data in streams(pdf)
    assert data == report.encode()
    assert json.loads(data)["report"] == "order-status"


def test_equal_data_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    report = sample(is_draft=True)
    file = tmp_path / "report"
    file.write_bytes(pickle.dumps(report))
    script = (
        "import pickle, sys, hashlib; from pathlib import Path; from scelle.reports.render import render_pdf; "
        "from scelle.reports.wording import Language; "
        "report = pickle.loads(Path(sys.argv[1]).read_bytes()); "
        "print(hashlib.sha256(render_pdf(report, Language.FRENCH).pdf).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    elsewhere = subprocess.run(
        [sys.executable, "-c", script, file], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    pdf = render_pdf(report, Language.FRENCH).pdf
    assert render_pdf(report, Language.FRENCH).pdf == pdf
    assert elsewhere.stdout.decode().strip() == sha256(pdf).hexdigest()
    assert render_pdf(sample(is_draft=False), Language.FRENCH).pdf != pdf


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_read_as_markup(name: str) -> None:
    plain, hostile = (render_pdf(sample((text,)), Language.ENGLISH) for text in ("name", name))
    assert json.loads(hostile.data)["facts"][1]["value"] == {"lines": [{"text": name}]}
    assert page_count(hostile.pdf) >= page_count(plain.pdf)


def page_count(pdf: bytes) -> int:
    everything = pdf + b"".join(streams(pdf))
    return max(map(int, re.findall(rb"/Count (\d+)", everything)))


def test_names_cannot_make_labels_or_elements() -> None:
    import typst

    from scelle.reports.printing import printed
    from scelle.reports.render import _FONTS

    hostile = '#metadata("in") <caught> = Heading'
    report = sample((hostile,))
    folder = files("scelle.reports") / "templates"
    inputs = {
        "page": json.dumps(printed(report, Language.ENGLISH)),
        "fonts": json.dumps(_FONTS),
        "data": report.encode().decode(),
        "data_name": "x.json",
    }

    def queried(selector: str) -> list[object]:
        source = (folder / "report.typ").read_bytes()
        compiler = typst.Compiler(source, ignore_system_fonts=True, sys_inputs=inputs)
        found: list[object] = json.loads(compiler.query(selector))
        return found

    assert queried("<caught>") == []
    assert len(queried("<evidence-1>")) == 1
    assert len(queried("heading")) == 1 + 3 + 1  # the title, the sections, the evidence


def test_the_template_reads_no_source_from_data() -> None:
    source = (files("scelle.reports") / "templates" / "report.typ").read_text(encoding="utf-8")
    assert not re.search(r"\b(eval|read|plugin|import|include)\b\s*\(?[\"(]", source)


def test_a_long_table_goes_on_over_pages() -> None:
    pictures = render_pictures(sample(rows=400), Language.FRENCH, ppi=20)
    assert len(pictures) > 5
    assert all(each.startswith(b"\x89PNG") for each in pictures)


def test_without_typst_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    report: Report = sample()
    with pytest.raises(TypstMissing, match=r"pip install 'scelle\[reports\]'"):
        render_pdf(report, Language.ENGLISH)
