from dataclasses import replace
from typing import Any

import pytest

from scelle.errors import FormatError
from scelle.formats.lines import FieldsRecord, OpenField, WholeRecord
from scelle.formats.openings import Opening, TlogProof, parse_opening, parse_tlog_proof
from scelle.formats.values import NULL

RECORD = FieldsRecord(4, 1, (OpenField(bytes(16), NULL),))
OPENING = Opening(b"entry\n", 1, 3, (bytes(32), b"\1" * 32), RECORD, b"{}")
CHECKPOINT = b"platform.example/po/o1\n8\nroot\n\n\xe2\x80\x94 x y\n"
PROOF = TlogProof(7, (bytes(32), b"\1" * 32), CHECKPOINT, OPENING.encode())


@pytest.mark.parametrize(
    "opening", [OPENING, replace(OPENING, proof=(), record=WholeRecord(4, 1, bytes(16), (NULL,)))]
)
def test_opening_reads_back(opening: Opening) -> None:
    assert parse_opening(opening.encode()) == opening


def test_opening_is_the_page_written_out() -> None:
    record = RECORD.encode().decode().strip()
    assert OPENING.encode().decode() == (
        f'{{"entry":"ZW50cnkK","format":"scelle/opening/v1","index":1,"of":3,'
        f'"proof":["{"00" * 32}","{"01" * 32}"],'
        f'"record":{record},"schema":"e30="}}'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"opening/v1", b"opening/v2"),
        (b'"index":1', b'"index":-1'),
        (b'"index":1,', b""),
        (b'"of":3', b'"of":"3"'),
        (b'"of":3', b'"of":3,"off":3'),
        (b'"proof":["00', b'"proof":["'),
        (b'"record":{', b'"record":{"a":1,'),
        (b'"schema":"e30="', b'"schema":"e31="'),
        (b'"entry":"ZW50cnkK"', b'"entry":null'),
        (b'"e30="}', b'"e30="}\n'),
        (b'"e30="}', b'"e30="'),
    ],
)
def test_opening_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    data = OPENING.encode()
    assert old in data
    with pytest.raises(FormatError):
        parse_opening(data.replace(old, new, 1))


@pytest.mark.parametrize("changes", [{"index": -1}, {"of": 2**63}, {"proof": (bytes(31),)}], ids=str)
def test_opening_without_a_form_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(OPENING, **changes).encode()


@pytest.mark.parametrize("proof", [PROOF, replace(PROOF, extra=None), replace(PROOF, path=(), extra=b"")])
def test_tlog_proof_reads_back(proof: TlogProof) -> None:
    assert parse_tlog_proof(proof.encode()) == proof


def test_tlog_proof_of_the_c2sp_page_has_this_form() -> None:
    text = b"c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 73894\n" + b"A" * 43 + b"=\n\n" + CHECKPOINT
    assert parse_tlog_proof(text) == TlogProof(73_894, (bytes(32),), CHECKPOINT, b"hello")
    assert parse_tlog_proof(text).encode() == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1\n", b"@v2\n"),
        (b"@v1\n", b"@v1\n\n"),
        (b"extra ", b"Extra "),
        (b"extra ", b"extra  "),
        (b"index 7", b"index 07"),
        (b"index 7", b"index -7"),
        (b"index 7\n", b""),
        (b"index 7\n", b"7\n"),
        (b"AAA=\n", b"AAA\n"),
        (b"AQE=\n\n", b"AQE=\n"),
        (b"AQE=\n\n", "é\n\n".encode()),
    ],
)
def test_tlog_proof_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    data = replace(PROOF, checkpoint=b"checkpoint\n").encode()
    assert old in data
    with pytest.raises(FormatError):
        parse_tlog_proof(data.replace(old, new, 1))


@pytest.mark.parametrize(
    "data", [b"", b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v1\n\ncheckpoint\n"]
)
def test_tlog_proof_of_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_tlog_proof(data)


@pytest.mark.parametrize("changes", [{"index": -1}, {"path": (bytes(31),)}], ids=str)
def test_tlog_proof_without_a_form_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(PROOF, **changes).encode()
