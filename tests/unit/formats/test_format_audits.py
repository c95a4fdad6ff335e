import pytest

from scelle.errors import FormatError
from scelle.formats.audits import AuditVerdict, parse_audit_verdict

VERDICT = AuditVerdict("platform.example/po/o1", ((4, bytes(32)), (10, b"\1" * 32)))
TEXT = VERDICT.text()


def test_verdict_reads_back() -> None:
    assert parse_audit_verdict(TEXT) == VERDICT
    assert TEXT.decode() == (
        "scelle/audit/v1\norigin platform.example/po/o1\n"
        f"segment 4 {'A' * 43}=\nsegment 10 {'AQEB' * 10}AQE=\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/v1\n", b"/v2\n"),
        (b"origin ", b"Origin "),
        (b"origin platform", b"origin Platform"),
        (b"segment 4", b"segment 04"),
        (b"segment 4", b"segment -4"),
        (b"segment 4", b"segment 10"),
        (b"segment 4", b"segment 11"),
        (b"segment 4", b"Segment 4"),
        (b"segment 4", b"segment 4 4"),
        (b"segment 4 ", b"segment "),
        (b"AAA=\n", b"AAA\n"),
        (b"AQE=\n", b"AQF=\n"),
        (b"AQE=\n", b"AQE="),
        (b"AQE=\n", b"AQE=\n\n"),
        (b"\n", b"\r\n"),
        (b"o1", "ö1".encode()),
    ],
)
def test_verdict_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(FormatError):
        parse_audit_verdict(TEXT.replace(old, new))


@pytest.mark.parametrize(
    "text", [b"", b"scelle/audit/v1\n", b"scelle/audit/v1\norigin platform.example/po/o1\n"]
)
def test_verdict_on_nothing_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        parse_audit_verdict(text)


@pytest.mark.parametrize(
    "verdict",
    [
        AuditVerdict("platform.example/po/o1", ()),
        AuditVerdict("platform.example/po/o1", ((4, bytes(31)),)),
        AuditVerdict("platform.example/po/o1", ((5, bytes(32)), (4, bytes(32)))),
        AuditVerdict("o1", ((4, bytes(32)),)),
    ],
    ids=str,
)
def test_verdict_without_a_form_is_not_written(verdict: AuditVerdict) -> None:
    with pytest.raises(FormatError):
        verdict.text()
