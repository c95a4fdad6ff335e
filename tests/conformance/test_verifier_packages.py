"""The published packages on the single file: 8 honest ones accepted, 42 forged ones refused for their reason."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scelle.verify import scelle_verify

PACKAGES = Path(__file__).parent.parent / "vectors" / "packages"
HONEST = sorted(PACKAGES.glob("honest/*.scelle"))
FORGED = sorted(PACKAGES.glob("forged/*.scelle"))

# name -> the finding that states the reason of the package's .txt, and what its detail must say
REASONS = {
    "base64-tail": ("format.base64", "base64 not canonical"),
    "changed-value": ("record.rc", "rc differs"),
    "content-left-out": ("content.missing", "contents do not close"),
    "cut-block": ("range.no_right", "no right neighbour although the range does not end at the block's end"),
    "dropped-hit": ("range.root", "range root is not index-root"),
    "field-salt-21": ("format.width", "width"),
    "first-seq": ("segment.seq", "seq does not start at 0"),
    "hex-capital": ("format.hex", "hex not lower case"),
    "index-size": ("segment.index_size", "index-size is not N x D"),
    "json-duplicate": ("json.duplicate", "duplicate key"),
    "json-e": ("json.number", "number not canonical"),
    "junk-tag-source": ("neighbour.source_tag", "tag shown in dimension source is not the manifest's own"),
    "manifest-unsigned": ("manifest.signature_missing", "MANIFEST not signed"),
    "mldsa-other-time": ("checkpoint.signature_wrong", "ML-DSA-44 signature"),
    "narrower-query": ("query.differs", "query of the package is not the authority's"),
    "neighbour-inside": ("neighbour.inside", "left neighbour is inside the range"),
    "no-mldsa": ("checkpoint.signature_missing", "ML-DSA-44 line"),
    "null-payload": ("value.canonical", "value not canonical"),
    "older-checkpoint": ("held.ahead", "ahead of the package's"),
    "opaque-no-tombstone": ("tombstone.missing", "opaque hit without tombstone"),
    "over-the-edge": ("range.edge", "range goes over the edge of its block: neighbour of another dimension"),
    "proof-31": ("format.width", "width"),
    "rc-not-in-r": ("hit.record_root", "rc is not in R at its seq"),
    "record-missing": (
        "hit.no_state",
        "hit is neither produced, withheld nor erased: the sum does not close",
    ),
    "redacted-key": ("record.key_redacted", "key field redacted"),
    "release-unsigned": ("release.unsigned", "release without valid authority-sig: the order lives"),
    "retyped": ("record.type", "type of field text is not that of the schema"),
    "salt-24": ("format.width", "width"),
    "same-tag-hidden": ("neighbour.same_tag", "same tag must show salt, time, seq, rc"),
    "schema-missing": ("schema.missing", "schema missing"),
    "second-genesis": ("genesis.second", "second genesis"),
    "shifted-account": ("record.identifier", "key field account of the record is not the queried one"),
    "skipped-segment": ("range.missing", "segment has no proof line"),
    "tag-15": ("neighbour.prefix", "tag prefix must be 1, 2 or 16 bytes"),
    "tombstone-no-consent": ("tombstone.no_consent", "no consent"),
    "tombstone-two-in-block": ("tombstone.positions", "not one index position in each block"),
    "undated-missing": ("range.missing", "undated > 0 and no undated range"),
    "watermark-hole": ("segment.watermark", "watermark does not tile"),
    "withheld-as-erased": ("withheld.erased", "needs an opened entry"),
    "zip-hidden-name": ("zip.local_header", "local header not canonical"),
    "zip-junk-prefix": ("zip.gap", "not canonical"),
    "zip-twin-case": ("zip.twin_name", "names not unique after lower-casing"),
}


def arguments_of(package: Path) -> list[str]:
    stem = str(package)[: -len(".scelle")]
    arguments = [str(package), "--trust", stem + ".trust.json", "--query", stem + ".query.json", "--json"]
    if Path(stem + ".held").exists():
        arguments += ["--held", stem + ".held"]
    return arguments


def test_all_packages_are_here() -> None:
    assert len(HONEST) == 8
    assert len(FORGED) == 42
    assert sorted(REASONS) == [path.stem for path in FORGED]


@pytest.mark.parametrize("package", HONEST, ids=lambda path: path.stem)
def test_an_honest_package_is_accepted(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scelle_verify.main(arguments_of(package)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert document["findings"] == []
    assert document["strength"] == "C"


@pytest.mark.parametrize("package", FORGED, ids=lambda path: path.stem)
def test_a_forged_package_is_refused_for_its_reason(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scelle_verify.main(arguments_of(package)) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    code, words = REASONS[package.stem]
    said = [finding["detail"] for finding in document["findings"] if finding["code"] == code]
    assert any(words in detail for detail in said), document["findings"]
    assert "verifier.exception" not in {finding["code"] for finding in document["findings"]}


def interpreters() -> list[str]:
    """Every Python 3.9 or later that the path names, once."""
    found: dict[str, str] = {}
    for folder in os.get_exec_path():
        for path in sorted(Path(folder).glob("python3.*")) if Path(folder).is_dir() else ():
            if re.fullmatch(r"python3\.(9|1\d)", path.name):
                found.setdefault(path.name, str(path))
    return sorted(found.values()) or [sys.executable]


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda path: Path(path).name)
def test_the_file_alone_on_every_interpreter_present(interpreter: str, tmp_path: Path) -> None:
    if subprocess.run([interpreter, "-c", ""], check=False, capture_output=True).returncode:
        pytest.skip(f"{interpreter} does not start")
    alone = tmp_path / "scelle_verify.py"
    shutil.copy(scelle_verify.__file__, alone)
    for package in HONEST:
        done = subprocess.run(
            [interpreter, "-I", str(alone), *arguments_of(package)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
