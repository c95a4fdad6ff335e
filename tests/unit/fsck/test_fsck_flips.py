import random
from pathlib import Path

import pytest

from .support import Made, evidence_files, flip, names, relative

SAMPLED_A_FILE = 6


def item_of(made: Made, path: Path) -> str:
    """Say what a finding must name for damage in a file: an entry of the log, or else the file."""
    return "log entry" if "/entries/" in str(path) else relative(made, path)


def check_flips(made: Made, path: Path, offsets: list[int], draw: random.Random) -> None:
    data, mode = path.read_bytes(), path.stat().st_mode
    for offset in offsets:
        flip(path, offset, draw.randrange(8))
        report = made.verify()
        assert not report.valid, (path, offset)
        assert names(report, item_of(made, path)) or names(report, relative(made, path)), (
            offset,
            report.findings,
        )
        assert "fault" not in {finding.code for finding in report.findings}, report.findings
        path.write_bytes(data)
    path.chmod(mode)


def test_flipped_evidence_is_named(made: Made) -> None:
    draw = random.Random(20260108)
    assert len(evidence_files(made)) >= 25
    for path in evidence_files(made):
        size = path.stat().st_size
        check_flips(made, path, [0, size - 1, *draw.sample(range(size), SAMPLED_A_FILE)], draw)
    assert made.verify().valid


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_byte_of_evidence_is_named(made: Made) -> None:
    draw = random.Random(1)
    for path in evidence_files(made):
        check_flips(made, path, list(range(path.stat().st_size)), draw)


def test_flips_of_derived_files_change_no_answer_or_are_named(made: Made) -> None:
    draw, clean = random.Random(7), made.verify()
    assert clean.valid
    for name, count in (("catalog.db", 100), ("po/o-1/log/lock.db", 100), ("po/o-1/seg/s0001/0/head", 20)):
        path = made.path / name
        data = path.read_bytes()
        for offset in draw.sample(range(len(data)), count):
            flip(path, offset, draw.randrange(8))
            report = made.verify()
            if report.valid:
                assert (report.records, report.contents) == (clean.records, clean.contents)
            else:
                assert names(report, name), (name, offset, report.findings)
                assert "fault" not in {finding.code for finding in report.findings}, report.findings
            path.write_bytes(data)
