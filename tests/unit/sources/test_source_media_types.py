"""Media types: certain bytes win over the name, the name refines a container, text is told from data."""

import io
import zipfile

import pytest

from scelle.sources.media_types import media_type, media_type_of_bytes

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
ZIP = b"PK\x03\x04" + bytes(40)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40)


def odt() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", "<x/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        (b"a.pdf", b"%PDF-1.7", "application/pdf"),
        (b"a.txt", b"%PDF-1.7", "application/pdf"),
        (b"a.pdf", PNG, "image/png"),
        (b"a", PNG, "image/png"),
        (b"a.jpg", b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"a.gif", b"GIF89a", "image/gif"),
        (b"a", b"II*\0", "image/tiff"),
        (b"a.dng", b"II*\0", "image/x-adobe-dng"),
        (b"a.docx", ZIP, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"a.xlsx", ZIP, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (b"a.zip", ZIP, "application/zip"),
        (b"a.txt", ZIP, "application/zip"),
        (b"a.doc", ZIP, "application/zip"),
        (b"a", odt()[:512], "application/vnd.oasis.opendocument.text"),
        (b"a.doc", OLE, "application/msword"),
        (b"a.msg", OLE, "application/vnd.ms-outlook"),
        (b"a", OLE, "application/x-ole-storage"),
        (b"a.docx", OLE, "application/x-ole-storage"),
        (b"a.wav", b"RIFF\0\0\0\0WAVEfmt ", "audio/vnd.wave"),
        (b"a", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"a.txt", b"RIFFRAFF is a word", "text/plain"),
        (b"a", b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"a", b"\0\0\0\x18ftypheic", "image/heic"),
        (b"a", b"\0\0\0\x18ftypqt  ", "video/quicktime"),
        (b"a", b"\x1aE\xdf\xa3" + bytes(10) + b"webm", "video/webm"),
        (b"a", b"\x1aE\xdf\xa3" + bytes(10), "video/x-matroska"),
        (b"a.tar.gz", b"\x1f\x8b\x08\0", "application/gzip"),
        (b"a.tar", bytes(257) + b"ustar\x00", "application/x-tar"),
        (b"a.sqlite", b"SQLite format 3\0", "application/vnd.sqlite3"),
        (b"a.parquet", b"PAR1", "application/vnd.apache.parquet"),
        (b"a.ogv", b"OggS\0", "video/ogg"),
        (b"a.json", b"{}", "application/json"),
        (b"a.eml", b"From: ada@example.org", "message/rfc822"),
        (b"a.CSV", b"a,b", "text/csv"),
        (b"dir.csv/a", b"a,b", "text/plain"),
        (b"a.unknown", b"text", "text/plain"),
        (b"a.unknown", b"\x01\0\x02", "application/octet-stream"),
        (b"a", b"", "text/plain"),
        (b".json", b"{}", "text/plain"),
        (b"d/.json", b"{}", "text/plain"),
        (b"a.", b"x", "text/plain"),
        (b"a.json.", b"x", "text/plain"),
        (b"a", "é".encode() * 255 + b"\xc3", "text/plain"),
        (b"a", b"abc\xff" * 20, "application/octet-stream"),
        (b"a", b"abc\xc3(def", "application/octet-stream"),
        (b"a", b"\xff\xfea\0b\0", "text/plain"),
        (b"a", b"<?xml version='1.0'?>", "text/xml"),
        (b"a.svg", b"<?xml version='1.0'?>", "image/svg+xml"),
        (b"a.pdf", b"not really", "application/pdf"),
    ],
)
def test_media_type(name: bytes, head: bytes, expected: str) -> None:
    assert media_type(name, head) == expected


def test_text_is_never_certain() -> None:
    assert media_type_of_bytes(b"From: ada@example.org\n") is None
    assert media_type_of_bytes(b"") is None
