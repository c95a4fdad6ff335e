"""Frames that are read as far as they are needed, by turns."""

import random
from pathlib import Path

from scelle.ledger.frames import FrameReader, FrameWriter
from scelle.vault.durable import AppendFile
from scelle.vault.keys import VaultKey


def test_two_streams_that_are_read_by_turns_do_not_disturb_each_other(tmp_path: Path) -> None:
    draw, key = random.Random(4), VaultKey.generate()
    plains = [bytes(draw.choices(b"abcdefgh", k=1 << 18)) for _ in range(2)]
    frames, keys = AppendFile(tmp_path / "rows"), AppendFile(tmp_path / "keys")
    writer = FrameWriter(frames, keys, key, b"test", 0)
    for plain in plains:
        writer.write(plain)
    writer.sync()
    frames.close()
    keys.close()
    reader = FrameReader(tmp_path / "rows", tmp_path / "keys", key, b"test")
    streams = [reader.stream(place) for place in reader.places()]
    found = [bytearray(), bytearray()]
    for _ in range(1 << 4):
        for stream, data in zip(streams, found, strict=True):
            data += stream.read(1 << 14)
    assert found == plains
    reader.close()
