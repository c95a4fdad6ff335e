"""Real input: the malformed mails of Python's own test suite, and whatever documents this machine has."""

import email
import json
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest

from scelle.errors import ItemError
from scelle.formats.canonical_json import is_canonical_json
from scelle.sources.interfaces import Kind, Offered, RecordSource, Source
from scelle.sources.model import SourceSpec
from scelle.sources.urls import open_source

MAILS = Path("/usr/lib/python3.11/test/test_email/data")
DOCUMENTS = Path("/usr/share/doc")

needs_mails = pytest.mark.skipif(not MAILS.is_dir(), reason="libpython3.11-testsuite is not installed")


def source(scheme: str, path: Path) -> Source:
    opened = open_source(SourceSpec("real", f"{scheme}://{path}"))
    assert not isinstance(opened, RecordSource)
    return opened


def items(reader: Source) -> list[Offered]:
    return [each for each in reader.offered() if isinstance(each, Offered)]


@needs_mails
@pytest.mark.parametrize("scheme", ["eml", "mbox", "maildir", "files"])
def test_every_mail_is_offered_and_read_as_it_is(scheme: str) -> None:
    reader = source(scheme, MAILS)
    reader.test()
    found = items(reader)
    names = {path.name for path in MAILS.iterdir()}
    assert {each.path.decode() for each in found} == names
    if scheme != "mbox":
        assert len(found) == len(names)
    for each in found:
        document = reader.read(each)
        assert document.data is not None
        if not each.place:
            assert document.data == (MAILS / each.path.decode()).read_bytes()
        assert is_canonical_json(document.meta_json)
        assert "parse_error" not in json.loads(document.meta_json)


@needs_mails
def test_mails_have_the_headers_that_the_standard_library_finds() -> None:
    reader = source("eml", MAILS)
    mails = 0
    for each in items(reader):
        document = reader.read(each)
        if document.media_type != "message/rfc822":
            continue
        mails += 1
        assert document.data is not None
        theirs = email.message_from_bytes(document.data)
        ours = json.loads(document.meta_json)["headers"]
        assert [name for name, _ in ours] == theirs.keys(), each.path
    assert mails >= 40


@needs_mails
def test_attachments_are_those_that_the_standard_library_finds() -> None:
    """Where the standard library sees no defect, every named leaf has the same bytes there and here."""
    reader = source("eml", MAILS)
    compared = 0
    for each in items(reader):
        document = reader.read(each)
        about = json.loads(document.meta_json)
        if document.media_type != "message/rfc822" or about.get("defects"):
            continue
        ours = {entry["sha256"] for entry in about["attachments"]}
        assert document.data is not None
        theirs = email.message_from_bytes(document.data)
        for part in theirs.walk():
            if part.is_multipart() or part.get_content_maintype() == "message" or not part.get_filename():
                continue
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            assert sha256(payload).hexdigest() in ours, (each.path, part.get_filename())
            compared += 1
    assert compared >= 5


@pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="this machine has no documents")
def test_real_documents_are_read_as_they_are() -> None:
    reader = source("files", DOCUMENTS)
    reader.test()
    read = 0
    for each in islice(reader.offered(), 2_000):
        assert isinstance(each, Offered)
        if each.kind is Kind.SPECIAL:
            continue
        try:
            document = reader.read(each)
        except ItemError:
            continue
        read += 1
        assert is_canonical_json(document.meta_json)
        path = DOCUMENTS / each.path.decode("utf-8", "surrogateescape")
        if each.kind is Kind.LINK:
            assert document.data == str(path.readlink()).encode()
        elif document.data is not None:
            assert document.data == path.read_bytes()
    assert read
