"""Messages of Maildirs: ids that outlast flags, moves while listing and reading, files that are no mail."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import ItemUnreadable, ItemVanished, SourceUnreadable
from scelle.sources.interfaces import Document, Kind, Offered, Trouble
from scelle.sources.mail.maildir import MaildirSource, place_of

MAIL = b"From: ada@example.org\nSubject: one\nDate: Tue, 6 Jan 2026 12:00:00 +0000\n\nbody\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("", ".Sent", ".Sent.2025"):
        for state in ("cur", "new", "tmp"):
            (tmp_path / folder / state).mkdir(parents=True)
    return tmp_path


def source(root: Path) -> MaildirSource:
    return MaildirSource(os.fsencode(root), "mail")


def offered(root: Path) -> list[Offered]:
    return [each for each in source(root).offered() if isinstance(each, Offered)]


def meta(document: Document) -> dict[str, Any]:
    value = json.loads(document.meta_json)
    assert isinstance(value, dict)
    return value


def test_messages_of_all_folders_are_offered(maildir: Path) -> None:
    (maildir / "new" / "2.host").write_bytes(MAIL)
    (maildir / "cur" / "1.host:2,RS").write_bytes(MAIL)
    (maildir / ".Sent" / "cur" / "3.host:2,S").write_bytes(MAIL)
    (maildir / ".Sent.2025" / "new" / "4.host").write_bytes(MAIL)
    found = {each.native: each for each in offered(maildir)}
    assert set(found) == {b"cur/2.host", b"cur/1.host", b".Sent/cur/3.host", b".Sent.2025/cur/4.host"}
    assert found[b"cur/1.host"].path == b"cur/1.host:2,RS"
    document = source(maildir).read(found[b".Sent/cur/3.host"])
    assert document.data == MAIL
    assert document.media_type == "message/rfc822"
    assert meta(document)["maildir"] == {"flags": "S", "folder": ".Sent", "state": "cur"}
    assert meta(document)["file"]["kind"] == "file"
    assert (document.time_us, document.time_basis) == (1_767_700_800_000_000, "header-date")
    assert {each.time_basis for each in found.values()} == {"header-date"}


def test_the_id_outlasts_flags_and_the_move_from_new(maildir: Path) -> None:
    path = maildir / "new" / "1.host"
    path.write_bytes(MAIL)
    natives = {each.native for each in offered(maildir)}
    for name in ("1.host:2,", "1.host:2,S", "1.host:2,RS"):
        path = path.rename(maildir / "cur" / name)
        natives |= {each.native for each in offered(maildir)}
    assert natives == {b"cur/1.host"}


def test_changed_flags_change_the_stamp(maildir: Path) -> None:
    path = maildir / "cur" / "1.host:2,"
    path.write_bytes(MAIL)
    (before,) = offered(maildir)
    path.rename(maildir / "cur" / "1.host:2,S")
    (after,) = offered(maildir)
    if before.stamp == after.stamp:
        pytest.skip("this file system does not note a new name in ctime")
    assert meta(source(maildir).read(after))["maildir"]["flags"] == "S"


def test_what_is_being_delivered_is_counted_and_left_out(maildir: Path) -> None:
    (maildir / "tmp" / "1.host").write_bytes(MAIL)
    (each,) = offered(maildir)
    assert (each.kind, each.reason) == (Kind.SPECIAL, "maildir-tmp")
    with pytest.raises(ItemUnreadable):
        source(maildir).read(each)


def test_other_files_are_kept_and_flagged(maildir: Path) -> None:
    (maildir / "dovecot-uidlist").write_bytes(b"3 V1 N2\n")
    (maildir / "dovecot.index").write_bytes(b"\x07\x03\0\0")
    (maildir / "cur" / "archive.gz").write_bytes(b"\x1f\x8b\x08\0\0")
    (maildir / "cur" / "deeper").mkdir()
    (maildir / "cur" / "deeper" / "note").write_bytes(b"Note: x\n")
    reader = source(maildir)
    found = {each.path: meta(reader.read(each)) for each in offered(maildir)}
    assert len(found) == 4
    assert all(about["not_mail"] for about in found.values())
    assert "maildir" in found[b"cur/archive.gz"]
    types = {each.path: reader.read(each).media_type for each in offered(maildir)}
    assert types[b"cur/archive.gz"] == "application/gzip"
    assert types[b"dovecot-uidlist"] == "text/plain"


def test_a_message_without_headers_in_cur_is_a_message(maildir: Path) -> None:
    (maildir / "cur" / "1:2,").write_bytes(b"")
    (each,) = offered(maildir)
    document = source(maildir).read(each)
    assert (document.media_type, document.data) == ("message/rfc822", b"")


def test_links_are_not_followed(maildir: Path) -> None:
    (maildir / "cur" / "link").symlink_to("/nowhere")
    (each,) = offered(maildir)
    assert each.kind is Kind.LINK
    assert source(maildir).read(each).data == b"/nowhere"


def test_a_file_is_no_maildir(tmp_path: Path) -> None:
    (tmp_path / "mbox").write_bytes(b"")
    with pytest.raises(SourceUnreadable, match="no Maildir"):
        source(tmp_path / "mbox").test()
    source(tmp_path).test()


# --- while others read and move


def test_a_message_that_moves_while_listing_is_offered_once(maildir: Path) -> None:
    for name in ("1.host", "2.host"):
        (maildir / "new" / name).write_bytes(MAIL)
    reader = source(maildir)
    walk = reader.offered()
    first = next(walk)
    assert isinstance(first, Offered)
    (maildir / "new" / "1.host").rename(maildir / "cur" / "1.host:2,S")
    rest = list(walk)
    assert [each.native for each in [first, *rest]] == [b"cur/1.host", b"cur/2.host"]
    document = reader.read(first)
    assert document.data == MAIL
    assert meta(document)["maildir"] == {"flags": "S", "folder": "", "state": "cur"}


def test_a_message_that_moves_before_it_is_looked_into_is_offered_from_where_it_went(maildir: Path) -> None:
    for name in ("1.host", "2.host"):
        (maildir / "new" / name).write_bytes(MAIL)
    walk = source(maildir).offered()
    next(walk)
    (maildir / "new" / "2.host").rename(maildir / "cur" / "2.host:2,S")
    rest = list(walk)
    assert Trouble(b"new/2.host", b"new/2.host", "vanished") in rest
    assert [each.native for each in rest if isinstance(each, Offered)] == [b"cur/2.host"]


def test_a_message_whose_flags_change_before_it_is_read_is_found_again(maildir: Path) -> None:
    for folder in ("", ".Sent"):
        (maildir / folder / "cur" / "1.host:2,").write_bytes(MAIL)
    reader = source(maildir)
    found = [each for each in reader.offered() if isinstance(each, Offered)]
    for flags, following in (("", "S"), ("S", "RS")):
        for folder in ("", ".Sent"):
            cur = maildir / folder / "cur"
            (cur / f"1.host:2,{flags}").rename(cur / f"1.host:2,{following}")
        assert [meta(reader.read(each))["maildir"]["flags"] for each in found] == [following] * 2


def test_a_message_that_was_deleted_has_vanished(maildir: Path) -> None:
    (maildir / "cur" / "1.host:2,").write_bytes(MAIL)
    (maildir / "cur" / "10.host:2,").write_bytes(MAIL)
    reader = source(maildir)
    found = {each.native: each for each in reader.offered() if isinstance(each, Offered)}
    (maildir / "cur" / "1.host:2,").unlink()
    with pytest.raises(ItemVanished):
        reader.read(found[b"cur/1.host"])


def test_two_files_of_one_unique_name_are_two_items(maildir: Path) -> None:
    (maildir / "cur" / "1.host:2,").write_bytes(MAIL)
    (maildir / "cur" / "1.host:2,S").write_bytes(MAIL + b"other\n")
    (maildir / "new" / "2.host").write_bytes(MAIL)
    (maildir / "cur" / "2.host:2,S").write_bytes(MAIL + b"other\n")
    found = offered(maildir)
    assert [each.native for each in found] == [b"cur/2.host", b"cur/1.host", b"cur/1.host#2", b"cur/2.host#2"]
    reader = source(maildir)
    assert [reader.read(each).data for each in found] == [MAIL, MAIL, MAIL + b"other\n", MAIL + b"other\n"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"cur/1.host:2,RS", (b"", b"cur", b"1.host", b"RS")),
        (b"new/1.host", (b"", b"new", b"1.host", b"")),
        (b".A/cur/1,S=5:2,", (b".A", b"cur", b"1,S=5", b"")),
        (b"a/b/new/1:1,x", (b"a/b", b"new", b"1:1,x", b"")),
        (b"tmp/1", None),
        (b"cur", None),
        (b"cur/a/1", None),
        (b".cur/1", None),
    ],
)
def test_places(path: bytes, expected: tuple[bytes, ...] | None) -> None:
    assert place_of(path) == expected
