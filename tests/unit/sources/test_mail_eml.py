"""A tree of messages, one in each file, and what else lies there."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import ItemChanged, ItemUnreadable
from scelle.sources.interfaces import WHOLE_BYTES, Kind, Offered, Trouble
from scelle.sources.mail.eml import EmlSource

FIXTURES = Path(__file__).parents[3] / "fixtures" / "mail"
MAIL = b"From: ada@example.org\nDate: Tue, 6 Jan 2026 12:00:00 +0000\nSubject: one\n\nbody\n"


def source(root: Path) -> EmlSource:
    return EmlSource(os.fsencode(root), "mail")


def offered(root: Path) -> list[Offered]:
    return [each for each in source(root).offered() if isinstance(each, Offered)]


def test_every_fixture_is_offered_and_read_as_it_is() -> None:
    reader = source(FIXTURES)
    found = offered(FIXTURES)
    assert {each.path.decode() for each in found} == {path.name for path in FIXTURES.iterdir()}
    for each in found:
        document = reader.read(each)
        data = (FIXTURES / each.path.decode()).read_bytes()
        assert document.data == data
        assert document.stamp == each.stamp
        assert (document.time_us, document.time_basis) == (each.time_us, each.time_basis)
        if each.path.endswith(b".eml"):
            assert document.media_type == "message/rfc822"
        assert "parse_error" not in json.loads(document.meta_json)


@pytest.mark.parametrize(
    ("name", "basis", "seconds"),
    [
        ("plain.eml", "header-date", 1_767_690_000),
        ("date-malformed.eml", "header-received", 1_767_600_000),
        ("date-before-1970.eml", "header-date", -2),
        ("no-headers.eml", "file-mtime", None),
    ],
)
def test_the_time_of_a_message(name: str, basis: str, seconds: int | None) -> None:
    (each,) = offered(FIXTURES / name)
    assert each.time_basis == basis
    if seconds is None:
        assert each.time_us == (FIXTURES / name).stat().st_mtime_ns // 1000
    else:
        assert each.time_us == seconds * 1_000_000


def test_a_from_line_at_the_start_gives_the_time(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"From ada Tue Jan  6 12:00:00 2026\nSubject: one\n\nbody")
    (each,) = offered(tmp_path)
    assert (each.time_us, each.time_basis) == (1_767_700_800_000_000, "from-line")


def test_a_message_is_known_by_its_fields_where_its_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(MAIL)
    (tmp_path / "2.txt").write_bytes(MAIL)
    (tmp_path / "list.txt").write_bytes(b"Note: x\n\n")
    (tmp_path / "picture.eml").write_bytes(b"\x89PNG\r\n\x1a\n")
    reader = source(tmp_path)
    found = {each.path: reader.read(each) for each in offered(tmp_path)}
    assert {path: document.media_type for path, document in found.items()} == {
        b"1": "message/rfc822",
        b"2.txt": "message/rfc822",
        b"list.txt": "text/plain",
        b"picture.eml": "image/png",
    }
    assert json.loads(found[b"list.txt"].meta_json)["not_mail"] is True
    assert "not_mail" not in json.loads(found[b"1"].meta_json)


def test_a_date_far_down_in_long_headers_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"X-Long: " + b"x" * 100_000 + b"\n" + MAIL)
    (each,) = offered(tmp_path)
    assert each.time_basis == "header-date"
    assert source(tmp_path).read(each).time_us == each.time_us


def test_a_large_message_is_streamed(tmp_path: Path) -> None:
    body = b"Content-Type: video/mp4; name=film.mp4\n" + MAIL.replace(b"body\n", b"x" * (WHOLE_BYTES + 5))
    (tmp_path / "a.eml").write_bytes(body)
    (each,) = offered(tmp_path)
    document = source(tmp_path).read(each)
    assert document.data is None
    assert document.stream is not None
    assert b"".join(document.stream()) == body
    (film,) = json.loads(document.meta_json)["attachments"]
    assert film["sha256"] == sha256(b"x" * (WHOLE_BYTES + 5)).hexdigest()
    os.truncate(tmp_path / "a.eml", WHOLE_BYTES + 100)
    with pytest.raises(ItemChanged):
        list(document.stream())


def test_links_and_specials(tmp_path: Path) -> None:
    (tmp_path / "link.eml").symlink_to("a.eml")
    os.mkfifo(tmp_path / "fifo.eml")
    fifo, link = offered(tmp_path)
    assert [(each.kind, each.reason) for each in (fifo, link)] == [(Kind.SPECIAL, "fifo"), (Kind.LINK, "")]
    assert source(tmp_path).read(link).data == b"a.eml"
    with pytest.raises(ItemUnreadable):
        source(tmp_path).read(fifo)


def test_a_message_swapped_for_a_fifo_while_it_is_listed_is_a_trouble(tmp_path: Path) -> None:
    for name in ("a.eml", "b.eml"):
        (tmp_path / name).write_bytes(MAIL)
    real_stat = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        status = real_stat(path, **options)
        if path == b"b.eml":
            (tmp_path / "b.eml").unlink()
            os.mkfifo(tmp_path / "b.eml")
        return status

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat)
        found = list(source(tmp_path).offered())
    assert found[1] == Trouble(b"b.eml", b"b.eml", "changed-while-read")


def test_a_message_that_cannot_be_opened_is_a_trouble_because_its_time_is_unknown(
    open_path: Path, somebody_else: Callable[[], AbstractContextManager[None]]
) -> None:
    (open_path / "a.eml").write_bytes(MAIL)
    (open_path / "a.eml").chmod(0)
    with somebody_else():
        assert list(source(open_path).offered()) == [Trouble(b"a.eml", b"a.eml", "permission-denied")]


def test_an_error_of_the_disk_is_a_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.eml").write_bytes(MAIL)

    def pread(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", pread)
    assert list(source(tmp_path).offered()) == [Trouble(b"a.eml", b"a.eml", "io-error")]
