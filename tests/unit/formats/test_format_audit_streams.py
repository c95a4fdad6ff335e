from pathlib import Path

import pytest

from scelle.errors import FormatError
from scelle.formats import audit_streams
from scelle.formats.audit_streams import (
    StreamHeader,
    encode_claim,
    encode_erased,
    encode_segment_head,
    encode_stream_entry,
    is_erased_form,
    parse_claim,
    parse_segment_head,
    parse_stream_entries,
    parse_stream_header,
    record_bytes,
    refuse_rest,
)

HEADER = StreamHeader("platform.example/po/o1", 7, 2, 300)
PAGE = Path(__file__).parents[3] / "docs" / "formats" / "audit-stream.md"


def test_header_is_the_page_written_out_and_reads_back() -> None:
    data = HEADER.encode()
    assert data == (
        b"scelle/audit-stream/v1\norigin platform.example/po/o1\nsize 7\nsegments 2\ncheckpoint 300\n\n"
    )
    assert parse_stream_header(data + b"rest") == (HEADER, len(data))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"stream/v1", b"stream/v2"),
        (b"size 7", b"size 07"),
        (b"size 7", b"size -7"),
        (b"size 7", b"size 1"),
        (b"segments 2", b"segments 0"),
        (b"segments 2", b"segment 2"),
        (b"checkpoint 300", b"checkpoint 0"),
        (b"checkpoint 300", b"checkpoint 1048577"),
        (b"checkpoint 300\n\n", b"checkpoint 300\n"),
        (b"platform.example/po/o1", b"platform.example/po/O1"),
        (b"platform.example/po/o1", "plåtform/po/o1".encode()),
        (b"\norigin", b"\r\norigin"),
    ],
)
def test_header_with_a_fault_is_refused(old: bytes, new: bytes) -> None:
    data = HEADER.encode()
    assert old in data
    with pytest.raises(FormatError):
        parse_stream_header(data.replace(old, new, 1))


def test_entries_read_back_and_a_cut_one_is_refused() -> None:
    data = b"xx" + encode_stream_entry(b"one\n") + encode_stream_entry(b"two\n")
    assert parse_stream_entries(data, 2, 2) == ([b"one\n", b"two\n"], len(data))
    for wrong in (data[:-1], data[:10], data[:9] + b"\0\0"):
        with pytest.raises(FormatError, match="entry 1"):
            parse_stream_entries(wrong, 2, 2)
    for entry in (b"", b"x" * 65_536):
        with pytest.raises(FormatError):
            encode_stream_entry(entry)


def test_a_claim_has_the_widths_of_the_page() -> None:
    data = encode_claim(-2, b"s" * 16, b"r" * 32, [b"a" * 16, b"m" * 16])
    assert data == b"\xff" * 7 + b"\xfe" + b"s" * 16 + b"r" * 32 + b"a" * 16 + b"m" * 16
    assert len(data) == record_bytes(3) == 56 + 2 * 16
    assert parse_claim(data, 0) == (-2, b"s" * 16, b"r" * 32)
    assert not is_erased_form(data, 0, 3)
    for salt, rc, tag in (
        (b"s", b"r" * 32, b"a" * 16),
        (b"s" * 16, b"r", b"a" * 16),
        (b"s" * 16, b"r" * 32, b"a"),
    ):
        with pytest.raises(FormatError, match="width"):
            encode_claim(0, salt, rc, [tag])


def test_an_erased_record_is_zeros_around_its_commitment() -> None:
    data = encode_erased(b"r" * 32, 3)
    assert data == bytes(24) + b"r" * 32 + bytes(32)
    assert is_erased_form(data, 0, 3)
    for place in (0, 23, 56, 87):
        assert not is_erased_form(data[:place] + b"\1" + data[place + 1 :], 0, 3)


def test_a_segment_head_reads_back() -> None:
    data = encode_segment_head(5, b"t" * 16)
    assert data == (5).to_bytes(8, "big") + b"t" * 16
    assert parse_segment_head(b"x" + data, 1) == (5, b"t" * 16)
    with pytest.raises(FormatError, match="cut short"):
        parse_segment_head(data[:-1], 0)


@pytest.mark.parametrize("dimensions", [0, 1, 33])
def test_a_number_of_dimensions_that_no_schema_has_is_refused(dimensions: int) -> None:
    with pytest.raises(FormatError, match="dimensions"):
        record_bytes(dimensions)


def test_what_stands_behind_the_end_is_refused() -> None:
    refuse_rest(b"abc", 3)
    with pytest.raises(FormatError, match="after the last segment"):
        refuse_rest(b"abc", 2)


def test_the_page_has_the_name_and_the_codes_of_every_fault() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert audit_streams.FORMAT in page
    rooms = Path(audit_streams.__file__).parents[1] / "productions"
    code = "".join((rooms / name).read_text(encoding="utf-8") for name in ("audit.py", "audit_segment.py"))
    stated = [
        word
        for word in code.split('"')
        if word.partition(".")[0] in ("checkpoint", "log", "segment", "stream")
    ]
    codes = {word for word in stated if "." in word and " " not in word}
    assert len(codes) > 12
    assert all(f"`{each}`" in page for each in codes), codes
