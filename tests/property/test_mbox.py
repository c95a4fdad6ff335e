"""Whatever bytes an mbox holds, its items give them back; and what a writer wrote is split as he wrote it."""

import json
import mailbox
import os
import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scelle.sources.interfaces import Offered
from scelle.sources.mail.mbox import MboxSource, as_in_mbox
from scelle.sources.mail.splitting import split

LINE = b"From ada@example.org Tue Jan  6 09:00:00 2026\n"

SCRAPS = st.sampled_from(
    [
        LINE,
        LINE.replace(b"\n", b"\r\n"),
        b"From ",
        b"From -\n",
        b"From nobody\n",
        b"\nFrom ",
        b">From ada\n",
        b"Subject: s\n",
        b"Date: Tue, 6 Jan 2026 12:00:00 +0000\n",
        b"Content-Length: 5\n",
        b"Content-Length: 46\n",
        b"X-Mozilla-Status: 0001\r\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"body\n",
        b"\0",
    ]
)
ANYTHING = st.lists(SCRAPS | st.binary(max_size=30), max_size=30).map(b"".join)


def put_together(root: Path) -> bytes:
    source = MboxSource(os.fsencode(root), "mail")
    out: list[tuple[int, bytes]] = []
    natives = set()
    for each in source.offered():
        assert isinstance(each, Offered)
        natives.add(each.native)
        document = source.read(each)
        assert document.data is not None
        assert document.size_bytes == each.size_bytes == len(document.data)
        assert (document.time_us, document.time_basis) == (each.time_us, each.time_basis)
        meta = json.loads(document.meta_json)
        if "mbox" in meta:
            out.append((int(meta["mbox"]["offset"]), as_in_mbox(meta, document.data)))
        else:
            out.append((0, document.data))
    assert len(natives) == len(out)
    return b"".join(part for _, part in sorted(out))


@given(ANYTHING)
def test_the_items_of_any_bytes_give_them_back(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inbox")
        path.write_bytes(data)
        assert put_together(path) == data


@given(ANYTHING, st.integers(1, 80))
def test_windows_make_no_difference(data: bytes, window_bytes: int) -> None:
    def read(offset: int, count: int) -> bytes:
        return data[offset : offset + count]

    assert list(split(read, len(data), window_bytes)) == list(split(read, len(data)))


BODIES = st.lists(
    st.sampled_from([b"From here on", LINE.strip(), b">From x", b"Subject: no", b"", b"text", b"From -"]),
    max_size=8,
).map(lambda lines: b"".join(line + b"\n" for line in lines))


@given(st.lists(BODIES, max_size=6))
def test_an_mboxrd_is_split_as_it_was_written(bodies: list[bytes]) -> None:
    messages = [
        b"Subject: %d\n\n" % number + re.sub(rb"(?m)^(>*From )", rb">\1", body)
        for number, body in enumerate(bodies)
    ]
    data = b"".join(LINE + message + b"\n" for message in messages)
    parts = list(split(lambda offset, count: data[offset : offset + count], len(data)))
    assert [data[part.content : part.content_end] for part in parts] == messages


@given(st.lists(BODIES, max_size=6))
def test_an_mboxcl2_is_split_as_it_was_written(bodies: list[bytes]) -> None:
    messages = [b"Content-Length: %d\n\n" % len(body) + body for body in bodies]
    data = b"".join(LINE + message + b"\n" for message in messages)
    parts = list(split(lambda offset, count: data[offset : offset + count], len(data)))
    assert [data[part.content : part.content_end] for part in parts] == messages


@given(st.lists(st.text(alphabet="abc \n>From", max_size=40), max_size=5))
def test_an_mbox_of_the_standard_library_is_split_as_it_reads_it(bodies: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inbox")
        box = mailbox.mbox(path)
        for number, body in enumerate(bodies):
            box.add(f"Subject: {number}\n\n{body}")
        box.close()
        data = path.read_bytes() if path.exists() else b""
        parts = list(split(lambda offset, count: data[offset : offset + count], len(data)))
        assert len(parts) == len(bodies)
        assert put_together(path) == data
