"""Messages of mboxes as items: ids that last, stamps of content, and the mbox given back byte for byte."""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import ItemChanged, ItemUnreadable, ItemVanished
from scelle.sources.interfaces import PIECE_BYTES, WHOLE_BYTES, Document, Kind, Offered, Trouble
from scelle.sources.mail.mbox import MboxSource, Occurrences, as_in_mbox

FIXTURES = Path(__file__).parents[3] / "fixtures" / "mail"
LINE = b"From ada@example.org Tue Jan  6 09:00:00 2026\n"


def message(text: str, line: bytes = LINE) -> bytes:
    return line + f"From: ada@example.org\nSubject: {text}\n\n{text}\n\n".encode()


def source(root: Path) -> MboxSource:
    return MboxSource(os.fsencode(root), "mail")


def offered(root: Path) -> list[Offered]:
    found = list(source(root).offered())
    assert all(isinstance(each, Offered) for each in found)
    return [each for each in found if isinstance(each, Offered)]


def meta(document: Document) -> dict[str, Any]:
    value = json.loads(document.meta_json)
    assert isinstance(value, dict)
    return value


def content(document: Document) -> bytes:
    if document.data is not None:
        return document.data
    assert document.stream is not None
    return b"".join(document.stream())


def put_together(root: Path) -> bytes:
    reader = source(root)
    documents = [reader.read(each) for each in reader.offered() if isinstance(each, Offered)]
    about = [(meta(document), content(document)) for document in documents]
    about.sort(key=lambda each: int(each[0]["mbox"]["offset"]))
    return b"".join(as_in_mbox(*each) for each in about)


@pytest.mark.parametrize(
    "name",
    sorted(path.name for path in FIXTURES.glob("*.mbox") if path.name not in ("no-mail.mbox", "empty.mbox")),
)
def test_the_items_give_the_mbox_back(name: str) -> None:
    assert put_together(FIXTURES / name) == (FIXTURES / name).read_bytes()


def test_messages_carry_their_own_bytes_and_what_stood_around_them(tmp_path: Path) -> None:
    data = message("one") + message("two")
    (tmp_path / "inbox").write_bytes(data)
    os.utime(tmp_path / "inbox", ns=(0, 7_000))
    found = offered(tmp_path)
    document = source(tmp_path).read(found[1])
    body = b"From: ada@example.org\nSubject: two\n\ntwo\n"
    assert document.data == body
    assert (document.size_bytes, document.media_type) == (len(body), "message/rfc822")
    status = (tmp_path / "inbox").stat()
    assert meta(document) == {
        "attachments": [],
        "headers": [["From", "ada@example.org"], ["Subject", "two"]],
        "mbox": {
            "after": "\n",
            "from_line": LINE.decode(),
            "gid": status.st_gid,
            "mode": f"{status.st_mode:o}",
            "mtime_ns": "7000",
            "number": 2,
            "offset": str(len(message("one"))),
            "uid": status.st_uid,
        },
    }
    assert found[1].path == b"inbox"
    assert found[1].size_bytes == len(body)
    assert found[1].mtime_ns == 0
    assert document.stamp == found[1].stamp


def test_offer_and_document_agree_on_the_time() -> None:
    reader = source(FIXTURES)
    for each in reader.offered():
        assert isinstance(each, Offered)
        document = reader.read(each)
        assert (document.time_us, document.time_basis) == (each.time_us, each.time_basis)


def test_the_time_of_a_from_line_and_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one") + b"From -\nSubject: no date\n\nx\n")
    os.utime(tmp_path / "a", ns=(0, 5_999))
    assert [(each.time_us, each.time_basis) for each in offered(tmp_path)] == [
        (1_767_690_000_000_000, "from-line"),
        (5, "file-mtime"),
    ]


def ids_and_stamps(root: Path) -> list[tuple[bytes, bytes]]:
    return [(each.native, each.stamp) for each in offered(root)]


def test_ids_are_the_path_and_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a#b").write_bytes(message("one"))
    digest = sha256(message("one")[:-1]).digest()
    assert ids_and_stamps(tmp_path) == [(b"a#b#" + digest[:16].hex().encode(), digest + b"\n")]


def test_an_mbox_that_grows_keeps_its_ids_and_stamps(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one") + message("two"))
    before = ids_and_stamps(tmp_path)
    with (tmp_path / "a").open("ab") as file:
        file.write(message("three"))
    assert ids_and_stamps(tmp_path)[:2] == before


def test_deleting_the_first_message_changes_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one") + message("two") + message("three"))
    before = ids_and_stamps(tmp_path)
    (tmp_path / "a").write_bytes(message("two") + message("three"))
    assert ids_and_stamps(tmp_path) == before[1:]


def test_a_blank_line_that_comes_later_changes_the_stamp_and_not_the_id(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one")[:-1])
    ((before_id, before_stamp),) = ids_and_stamps(tmp_path)
    (tmp_path / "a").write_bytes(message("one") + message("two"))
    after_id, after_stamp = ids_and_stamps(tmp_path)[0]
    assert after_id == before_id
    assert after_stamp != before_stamp


def test_equal_messages_are_told_apart_by_number(tmp_path: Path) -> None:
    other = message("one", LINE.replace(b"09:00", b"10:00"))
    (tmp_path / "a").write_bytes(message("one") * 3 + other)
    (tmp_path / "b").write_bytes(message("one"))
    natives = [each.native for each in offered(tmp_path)]
    first = natives[0]
    assert natives[1:3] == [first + b".2", first + b".3"]
    assert natives[3] not in natives[:3]  # delivered at another time
    assert natives[4] == first.replace(b"a#", b"b#")
    assert len(set(natives)) == 5


def test_a_preamble_is_an_item() -> None:
    first, second = offered(FIXTURES / "preamble.mbox")
    assert first.native == b"preamble.mbox#preamble"
    document = source(FIXTURES / "preamble.mbox").read(first)
    assert document.data == b"left over from a repair\n\n"
    assert document.media_type == "text/plain"
    assert meta(document)["not_mail"] is True
    assert second.native.startswith(b"preamble.mbox#")


def test_a_preamble_that_is_a_message_is_read_as_one() -> None:
    first, _ = offered(FIXTURES / "first-from-line-lost.mbox")
    document = source(FIXTURES / "first-from-line-lost.mbox").read(first)
    assert document.media_type == "message/rfc822"
    assert first.time_basis == "header-date"
    assert ["Subject", "zero"] in meta(document)["headers"]


def test_a_file_that_is_no_mbox_is_kept_and_flagged() -> None:
    (each,) = offered(FIXTURES / "no-mail.mbox")
    assert (each.native, each.time_basis) == (b"no-mail.mbox", "file-mtime")
    document = source(FIXTURES / "no-mail.mbox").read(each)
    assert document.data == (FIXTURES / "no-mail.mbox").read_bytes()
    assert document.media_type == "text/plain"
    assert meta(document)["not_mail"] is True
    assert meta(document)["file"]["kind"] == "file"


def test_an_empty_mbox_holds_no_message() -> None:
    assert offered(FIXTURES / "empty.mbox") == []


def test_a_single_message_among_mboxes_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "x.eml").write_bytes((FIXTURES / "plain.eml").read_bytes())
    (each,) = offered(tmp_path)
    document = source(tmp_path).read(each)
    assert (document.media_type, each.native) == ("message/rfc822", b"x.eml")


def test_a_honoured_length_is_in_the_record() -> None:
    reader = source(FIXTURES / "content-length-honest.mbox")
    documents = [reader.read(each) for each in offered(FIXTURES / "content-length-honest.mbox")]
    assert [meta(document)["mbox"]["length_honoured"] for document in documents] == [True, True]
    assert b"not a message of its own" in content(documents[0])


def test_links_and_specials_are_offered_as_such(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("inbox")
    os.mkfifo(tmp_path / "fifo")
    fifo, link = offered(tmp_path)
    assert (fifo.kind, fifo.reason, link.kind) == (Kind.SPECIAL, "fifo", Kind.LINK)
    assert source(tmp_path).read(link).data == b"inbox"
    with pytest.raises(ItemUnreadable):
        source(tmp_path).read(fifo)


def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(message("one"))
    (each,) = offered(tmp_path)
    assert each.native.startswith(b"\xff#")
    assert meta(source(tmp_path).read(each))["mbox"]["path"] == {"b64": "/w=="}


# --- while others write


def test_a_message_is_read_while_the_mbox_grows(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one") + message("two"))
    first, second = offered(tmp_path)
    with (tmp_path / "a").open("ab") as file:
        file.write(message("three"))
    assert source(tmp_path).read(first).data == message("one")[len(LINE) : -1]
    assert source(tmp_path).read(second).data == message("two")[len(LINE) : -1]


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        message("two"),
        message("xne"),
        message("one")[:-3] + b"x\n\n",
        message("one", LINE.replace(b"6", b"7")),
    ],
)
def test_a_message_that_is_not_where_it_was_has_changed(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "a").write_bytes(message("one") + message("two"))
    first, second = offered(tmp_path)
    (tmp_path / "a").write_bytes(rest)
    for each in (first, second):
        with pytest.raises(ItemChanged):
            source(tmp_path).read(each)


def test_other_bytes_after_a_message_have_changed_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one"))
    (first,) = offered(tmp_path)
    (tmp_path / "a").write_bytes(message("one")[:-1] + b"x")
    with pytest.raises(ItemChanged):
        source(tmp_path).read(first)


def test_an_mbox_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(message("one"))
    (first,) = offered(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(ItemVanished):
        source(tmp_path).read(first)


def test_an_mbox_that_vanishes_while_it_is_listed_is_a_trouble(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(message("one"))
    walk = source(tmp_path).offered()
    next(walk)
    (tmp_path / "b").unlink()
    assert list(walk) == [Trouble(b"b", b"b", "vanished")]


def test_an_mbox_cut_while_it_is_listed_is_a_trouble(tmp_path: Path) -> None:
    large = message("one") + message("two").replace(b"two", b"two" * (1 << 20)) + message("three")
    (tmp_path / "a").write_bytes(large)
    (tmp_path / "b").write_bytes(message("one"))
    walk = source(tmp_path).offered()
    assert isinstance(next(walk), Offered)
    os.truncate(tmp_path / "a", 1 << 20)
    rest = list(walk)
    assert rest[0] == Trouble(b"a", b"a", "changed-while-read")
    assert isinstance(rest[1], Offered)
    assert rest[1].path == b"b"


def test_an_error_of_the_disk_is_a_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(message("one"))

    def pread(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", pread)
    assert list(source(tmp_path).offered()) == [Trouble(b"a", b"a", "io-error")]


# --- large messages


def large_message(size: int) -> bytes:
    encoded = b"QUJD" * 18 + b"\n"
    head = (
        b"From: ada@example.org\nSubject: large\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        b"Content-Type: video/mp4; name=film.mp4\nContent-Transfer-Encoding: base64\n\n"
    )
    return LINE + head + encoded * ((size - len(head) - 9) // len(encoded)) + b"\n--b--\n\n"


def test_a_large_message_is_streamed_with_its_attachments_listed(tmp_path: Path) -> None:
    large = large_message(WHOLE_BYTES + 3 * PIECE_BYTES)
    (tmp_path / "a").write_bytes(message("one") + large + message("two"))
    _, each, _ = offered(tmp_path)
    document = source(tmp_path).read(each)
    assert document.data is None
    assert content(document) == large[len(LINE) : -1]
    (film,) = meta(document)["attachments"]
    lines = large.count(b"QUJD" * 18)
    assert (film["name"], film["size"]) == ("film.mp4", lines * 54)
    assert film["sha256"] == sha256(b"ABC" * 18 * lines).hexdigest()
    assert put_together(tmp_path) == (tmp_path / "a").read_bytes()


def test_a_large_message_that_changes_while_it_is_streamed_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(large_message(WHOLE_BYTES + 3 * PIECE_BYTES))
    (each,) = offered(tmp_path)
    document = source(tmp_path).read(each)
    assert document.stream is not None
    pieces = document.stream()
    assert len(next(pieces)) == PIECE_BYTES
    with (tmp_path / "a").open("r+b") as file:
        file.seek(WHOLE_BYTES)
        file.write(b"x")
    with pytest.raises(ItemChanged):
        list(pieces)
    with pytest.raises(ItemChanged):
        source(tmp_path).read(each)


# --- counting


def test_occurrences_are_counted_beyond_the_first_table() -> None:
    occurrences = Occurrences()
    digests = [sha256(str(number).encode()).digest() for number in range(5_000)] + [bytes(32)]
    for expected in (1, 2, 3):
        assert {occurrences.count(digest) for digest in digests} == {expected}


def test_occurrences_are_told_apart_where_their_slots_collide() -> None:
    occurrences = Occurrences()
    keys = [(number << 32).to_bytes(8, "little") for number in range(1, 900)]
    assert {occurrences.count(key) for key in keys} == {1}
    assert {occurrences.count(key) for key in keys} == {2}
