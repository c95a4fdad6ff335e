"""Seal many small records in a process of its own and print their number and its peak memory in bytes."""

import sys
from pathlib import Path

from scelle.formats.schema import Field, Schema
from scelle.formats.values import text_value
from scelle.ledger.segments import SegmentHead, SegmentWriter
from scelle.vault.keys import VaultKey


def seal(parent: Path, count: int, dimensions: int) -> int:
    names = ("source", "account", *(f"d{number}" for number in range(dimensions - 2)))
    fields = (Field("time", "t"), Field("seq", "i"), *(Field(name, "s") for name in names[1:]))
    schema = Schema("test.small", 1, names, fields)
    writer = SegmentWriter.start(
        parent,
        origin="platform.example/po/o1",
        alias="s0001",
        number=0,
        head=SegmentHead(schema.digest.hex(), 0, 0, 0, 0),
        schema=schema,
        tag_key=bytes(range(32)),
        vault_key=VaultKey(bytes(32)),
    )
    same = [text_value("model-1")] * (dimensions - 2)
    for number in range(count):
        key = number.to_bytes(32, "big")
        account = text_value(
            f"account:{number * 7919 % count}"
        )  # each of its own: the most that tags can take
        writer.append(key, number * 104_729 % 1_000_003, [account, *same])
    return writer.close(order="o1", watermark_to=1, previous=None, anchor=None).records


def peak_bytes() -> int:
    """Read the peak of this program alone; that of getrusage is at least what its parent had when it forked."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    print(seal(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), peak_bytes())
