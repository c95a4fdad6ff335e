"""Judge the rows of restricted documents: what is closed is committed as it stands, and its ciphertext is wanted."""

import pytest

from scelle.formats.canonical_json import canonical_json
from scelle.formats.compartments import CompartmentTail, closed_value, kept_commitment, restricted_meta
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import NULL, Content, integer_value, structure_value, text_value, time_value
from scelle.fsck.rows import FrameRows, RowJudge, parse_want

KEY = bytes(range(32))
CIPHERTEXT = Content(bytes([7]) * 32, 4711)
TAIL = CompartmentTail(bytes(16), bytes(range(16)), bytes([1]) * 32, bytes([2]) * 32, 99)


def row(**changes: bytes) -> list[bytes]:
    content, chunks = TAIL.closed_values()
    values = {
        "time": time_value(1),
        "seq": integer_value(0),
        "account": NULL,
        "native_id": text_value("restricted:r7"),
        "media_type": NULL,
        "content": content,
        "chunks": chunks,
        "time_basis": text_value("mtime"),
        "meta": structure_value(restricted_meta(CIPHERTEXT, is_kept=True)),
        **changes,
    }
    return list(values.values())


def judged(values: list[bytes]) -> FrameRows:
    joined = b"".join(values)
    plain = KEY + len(joined).to_bytes(4, "big") + joined + bytes(2)
    judge = RowJudge(alias="s0001", schema=DOCUMENT_V1, profile=1, tag_key=bytes(32), seq_lo=0, place=0)
    return judge.judge(0, plain, 0)


def test_the_ciphertext_is_wanted_and_the_content_is_not() -> None:
    found = judged(row())
    assert (found.faults, found.restricted, found.digest_only) == ((), 1, 0)
    want = parse_want(found.wants)
    assert (want.digest, want.size, want.root) == (CIPHERTEXT.digest, CIPHERTEXT.size_bytes, None)
    assert found.commitments == kept_commitment(KEY[:16], row())


def test_another_closed_value_is_another_commitment() -> None:
    assert judged(row(chunks=closed_value(bytes(32)))).commitments != judged(row()).commitments


def test_a_digest_kept_in_place_wants_its_ciphertext_too() -> None:
    found = judged(row(meta=structure_value(restricted_meta(CIPHERTEXT, is_kept=False))))
    assert (len(found.wants), found.faults) == (96, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"chunks": NULL},
        {"content": NULL},
        {"native_id": closed_value(bytes(32))},
        {"content": b"c\0\0\0\x1f" + bytes(31)},
        {"meta": structure_value(canonical_json({"restricted": {"sha256": "00", "size": "1"}}))},
        {"meta": structure_value(b"{}")},
        {"meta": NULL},
        {"time_basis": time_value(1)},
    ],
)
def test_what_is_no_row_of_a_restricted_document_is_named(changes: dict[str, bytes]) -> None:
    assert "record.value" in {fault.code for fault in judged(row(**changes)).faults}
