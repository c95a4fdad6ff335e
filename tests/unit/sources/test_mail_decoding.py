"""Transfer encodings in pieces: the same as at once, and no input breaks them."""

import base64
import binascii
import quopri
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.sources.mail.decoding import decoder_for

CUTS = st.lists(st.integers(0, 400), max_size=8).map(sorted)


def decoded(encoding: str, data: bytes, cuts: list[int] | None = None) -> tuple[bytes, str]:
    decoder = decoder_for(encoding)
    edges = [0, *[cut for cut in cuts or [] if cut < len(data)], len(data)]
    out = b"".join(decoder.feed(data[start:end]) for start, end in pairwise(edges))
    return out + decoder.end(), decoder.defect


@given(st.binary(max_size=300), CUTS)
def test_base64_of_anything(data: bytes, cuts: list[int]) -> None:
    assert decoded("base64", base64.encodebytes(data), cuts) == (data, "")
    assert decoded("base64", base64.encodebytes(data).replace(b"\n", b"\r\n"), cuts) == (data, "")


@given(st.binary(max_size=300), CUTS)
def test_quoted_printable_of_anything(data: bytes, cuts: list[int]) -> None:
    data = data.replace(b"\r", b"")  # the encoder of the standard library mends mixed line ends
    assert decoded("quoted-printable", quopri.encodestring(data), cuts)[0] == data


@given(st.sampled_from(["base64", "quoted-printable", "7bit", "x-nobody"]), st.binary(max_size=300), CUTS)
def test_pieces_make_no_difference(encoding: str, data: bytes, cuts: list[int]) -> None:
    assert decoded(encoding, data, cuts) == decoded(encoding, data)


@given(st.binary(max_size=300), CUTS)
def test_quoted_printable_is_that_of_the_standard_library(data: bytes, cuts: list[int]) -> None:
    assert decoded("quoted-printable", data, cuts)[0] == binascii.a2b_qp(data)


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    decoder = decoder_for("quoted-printable")
    piece = b"=41" * 30_000
    out = [len(decoder.feed(piece)) for _ in range(20)]
    assert sum(out) + len(decoder.end()) == 20 * 30_000
    assert out[-1] == 30_000
    cut = b"A" * 65_600 + b"=4"
    decoder = decoder_for("quoted-printable")
    assert decoder.feed(cut) + decoder.feed(b"1") + decoder.end() == b"A" * 65_601


@pytest.mark.parametrize(
    ("data", "expected", "defect"),
    [
        (b"QUJD", b"ABC", ""),
        (b"QQ==", b"A", ""),
        (b"QUI=", b"AB", ""),
        (b"Q U\0J\xffD!", b"ABC", ""),
        (b"QUJDRA", b"ABCD", "base64-cut"),
        (b"QUJDR", b"ABC", "base64-cut"),
        (b"Q===", b"", "base64-cut"),
        (b"QQ==QUJD", b"A", "base64-after-padding"),
        (b"Q=QUJD", b"", "base64-cut"),
        (b"QQ==\n\n==", b"A", ""),
        (b"", b"", ""),
        (b"====", b"", ""),
    ],
)
def test_malformed_base64(data: bytes, expected: bytes, defect: str) -> None:
    assert decoded("base64", data) == (expected, defect)
    assert decoded("base64", data, list(range(len(data)))) == (expected, defect)


def test_an_unknown_encoding_is_a_defect_and_the_bytes_stay() -> None:
    assert decoded("x-uuencode", b"begin 644 a\n") == (b"begin 644 a\n", "encoding-unknown")
    for known in ("", "7bit", "8bit", "binary"):
        assert decoded(known, b"\xff\0") == (b"\xff\0", "")
