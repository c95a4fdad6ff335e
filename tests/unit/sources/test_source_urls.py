"""URLs of sources: what is opened, and what is refused without repeating it."""

import os
from pathlib import Path

import pytest

from scelle.errors import InputError, SourceAddressError, SourceSecretError
from scelle.sources.addresses import parse_url
from scelle.sources.files.source import FilesSource
from scelle.sources.interfaces import Offered
from scelle.sources.mail.eml import EmlSource
from scelle.sources.mail.maildir import MaildirSource
from scelle.sources.mail.mbox import MboxSource
from scelle.sources.model import SourceSpec
from scelle.sources.urls import open_source


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("files", FilesSource), ("mbox", MboxSource), ("maildir", MaildirSource), ("eml", EmlSource)],
)
def test_each_scheme_opens_its_source(scheme: str, kind: type) -> None:
    assert isinstance(open_source(SourceSpec("docs", f"{scheme}:///srv/docs", "staff-017@example.org")), kind)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("files:///srv/docs", b"/srv/docs"),
        ("files:///srv/docs/", b"/srv/docs"),
        ("files:///srv/docs//", b"/srv/docs"),
        ("files:///", b"/"),
        ("files:///a%20b", b"/a b"),
        ("files:///a b", b"/a b"),
        ("files:///a%FFb", b"/a\xffb"),
        ("files:///a%2fb", b"/a/b"),
        ("files:///a%3Fb%23c%25d", b"/a?b#c%d"),
        ("files:///été", "/été".encode()),
        ("files:///a\udcffb", b"/a\xffb"),
        ("files:///home/ada@example.org/mail", b"/home/ada@example.org/mail"),
        ("files:///a:b@c", b"/a:b@c"),
        ("files:///a+b", b"/a+b"),
        ("files:///a..b/...", b"/a..b/..."),
    ],
)
def test_a_path_is_bytes(url: str, path: bytes) -> None:
    assert parse_url("docs", url) == ("files", path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/docs",
        "srv",
        "files",
        "files:",
        "files:/srv/docs",
        "files://",
        "files://srv/docs",
        "files://localhost/srv",
        "file:///srv/docs",
        "FILES:///srv",
        "http://example.org/x",
        "postgres:///db",
        "files:///srv?x=1",
        "files:///srv#x",
        "files:///srv?",
        "files:///srv#",
        "files:///a%",
        "files:///a%2",
        "files:///a%zz",
        "files:///a%00b",
        "files:///a\0b",
        "files:///a/../b",
        "files:///a/./b",
        "files:///..",
        "files:///a/%2e%2e/b",
        " files:///srv",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(SourceAddressError) as caught:
        open_source(SourceSpec("docs", url))
    assert caught.value.code == "sources.address"
    assert "'docs'" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "files://ada:tr0mbone@/srv",
        "files://ada:tr0mbone@host/srv",
        "files://tr0mbone@host/srv",
        "postgres://ada:tr0mbone@host/db",
        "imap://ada:tr0mbone@host",
        "ada:tr0mbone@host:/srv",
        "files:ada:tr0mbone@host",
        "mbox://:tr0mbone@/srv",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceSecretError) as caught:
        open_source(SourceSpec("docs", url))
    assert caught.value.code == "sources.secret_in_address"
    assert "tr0mbone" not in str(caught.value)
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["tr0mbone", "files:///srv?password=tr0mbone", "tr0mbone://srv", "files://tr0mbone/x"]
)
def test_no_refusal_repeats_any_part_of_the_url(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(SourceSpec("docs", url))
    assert "tr0mbone" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_custodian_and_an_account_never_meet() -> None:
    with pytest.raises(InputError, match="never meet"):
        open_source(SourceSpec("docs", "files:///srv", "staff-017@example.org", "4711"))


def test_a_source_is_opened_at_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder), "a").write_text("x")
    source = open_source(SourceSpec("docs", f"files://{tmp_path}/%FF"))
    assert isinstance(source, FilesSource)
    (each,) = source.offered()
    assert isinstance(each, Offered)
    assert source.read(each).data == b"x"
