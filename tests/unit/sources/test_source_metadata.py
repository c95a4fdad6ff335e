"""Metadata as JSON without loss; the quick form and the general one agree."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scelle.formats.canonical_json import canonical_json, is_canonical_json
from scelle.sources.interfaces import native_text
from scelle.sources.metadata import Attributes, bytes_of, file_meta, file_meta_json, text_or_base64

NANOSECONDS = st.integers(-(2**70), 2**70)


def statuses() -> st.SearchStrategy[os.stat_result]:
    def make(mode: int, uid: int, gid: int, links: int, mtime_ns: int, ctime_ns: int) -> os.stat_result:
        values = [mode, 1, 2, links, uid, gid, 5, 0, 0, 0]
        return os.stat_result(values, {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns})

    number = st.integers(0, 2**32 - 1)
    return st.builds(make, st.integers(0, 0o177777), number, number, number, NANOSECONDS, NANOSECONDS)


@given(
    path=st.one_of(st.binary(max_size=20), st.text(max_size=10).map(str.encode)),
    kind=st.sampled_from(["file", "link"]),
    status=statuses(),
    birth_ns=st.none() | NANOSECONDS,
    attributes=st.none()
    | st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=2),
)
def test_the_quick_form_is_the_canonical_one(
    path: bytes, kind: str, status: os.stat_result, birth_ns: int | None, attributes: Attributes | None
) -> None:
    written = file_meta_json(path, kind, status, birth_ns, attributes)
    assert written == canonical_json(file_meta(path, kind, status, birth_ns, attributes))
    assert is_canonical_json(written)


@given(st.binary())
def test_bytes_survive_json(data: bytes) -> None:
    value = json.loads(canonical_json(text_or_base64(data)))
    assert bytes_of(value) == data


@pytest.mark.parametrize(
    ("native", "text"),
    [
        (b"a/b.txt", "a/b.txt"),
        ("été".encode(), "été"),
        (b"100%", "100%"),
        (b"100%\xff", "100%25%FF"),
        (b"a%FF", "a%FF"),
        (b"\xc3", "%C3"),
        (b"\xed\xa0\x80", "%ED%A0%80"),  # a surrogate is not UTF-8
        ("é".encode() + b"\xe9\n", "é%E9\n"),
        (b"", ""),
    ],
)
def test_native_ids_as_text(native: bytes, text: str) -> None:
    assert native_text(native) == text


@given(st.binary())
def test_native_ids_are_always_text(native: bytes) -> None:
    native_text(native).encode("utf-8")
