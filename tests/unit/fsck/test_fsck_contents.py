import random
from hashlib import sha256
from pathlib import Path

import pytest

from scelle.formats.records import CHUNK_BYTES, chunk_root
from scelle.formats.schema import DOCUMENT_V1, Field, Schema
from scelle.formats.values import NULL, content_value, structure_value, text_value
from scelle.fsck.packs import WantTable
from scelle.fsck.rows import WANT_BYTES, parse_want
from scelle.ledger.service import OrderLedgerWriter
from scelle.vault.packs import PackStore

from .support import (
    START_US,
    Made,
    add_document,
    add_order,
    codes,
    flip,
    make_vault,
    names,
    only,
    overwrite,
    writing,
)

LARGE = random.Random(5).randbytes(9 * CHUNK_BYTES + 17)


def packs_of(made: Made, suffix: str = ".pack") -> list[Path]:
    return sorted((made.path / "packs").rglob(f"*{suffix}"), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def with_large(tmp_path_factory: pytest.TempPathFactory) -> Made:
    documents = {"big.bin": LARGE, "middle.txt": b"a long line\n" * 40_000, "small.txt": b"small\n"}
    return make_vault(tmp_path_factory.mktemp("large"), documents)


def test_contents_of_all_sizes_are_judged(with_large: Made) -> None:
    report = with_large.verify()
    assert report.valid
    assert report.contents == 4
    assert report.bytes == len(LARGE) + 480_000 + 6 + 18
    assert with_large.verify(sample=100).contents == 4


def test_a_byte_in_a_large_content_is_named_with_its_place(with_large: Made) -> None:
    path = packs_of(with_large)[-1]
    data, mode = path.read_bytes(), path.stat().st_mode
    flip(path, 5 * CHUNK_BYTES)
    for options in ({}, {"sample": 100}):
        report = with_large.verify(**options)
        assert "pack.damaged" in codes(report)
        assert only(report, "content.missing").subject == "order o-1, s0001 segment 0, record 0 (big.bin)"
    assert names(with_large.verify(), "chunk 4")
    overwrite(path, data)
    path.chmod(mode)


def test_a_damaged_frame_names_every_record_that_it_held(made: Made) -> None:
    flip(packs_of(made)[0], 600)
    report = made.verify()
    assert codes(report).count("content.missing") == 4
    for name in ("docs/a.txt", "docs/b.txt", "docs/empty", "docs/mére.bin"):
        assert names(report, f"({name})")
    finding = next(finding for finding in report.findings if finding.code == "content.missing")
    assert "it stood in pack" in finding.detail


def test_keys_that_are_gone_are_named(made: Made) -> None:
    packs_of(made, ".keys")[0].unlink()
    report = made.verify()
    assert only(report, "pack.damaged").subject.startswith("pack ")
    assert codes(report).count("content.missing") == 5


def test_keys_that_were_destroyed_are_told_by_what_is_missing(made: Made) -> None:
    """Zeros say that a key was destroyed on purpose; what still needs it is a finding all the same."""
    path = packs_of(made, ".keys")[0]
    data = bytearray(path.read_bytes())
    data[47 + 60 : 47 + 120] = bytes(60)
    overwrite(path, bytes(data))
    report = made.verify()
    assert set(codes(report)) == {"content.missing"}
    assert "pack.destroyed" in {remark.code for remark in report.remarks}


def test_packs_of_another_vault_are_named(made: Made, tmp_path: Path) -> None:
    other = make_vault(tmp_path / "other", {"x": b"another\n"})
    (made.path / "packs").rename(made.path.parent / "own")
    (other.path / "packs").rename(made.path / "packs")
    report = made.verify()
    assert codes(report).count("content.missing") == 5
    assert "pack.damaged" in codes(report)


def test_a_content_is_judged_for_each_record_that_needs_it(tmp_path: Path) -> None:
    made = make_vault(tmp_path, {"one": b"the same\n", "two": b"the same\n", "three": b"the same\n"})
    add_order(made, {"four": b"the same\n"}, order="o-2")
    report = made.verify()
    assert report.valid
    assert (report.records, report.contents) == (10, 2)
    flip(packs_of(made)[0], 200)
    missing = [finding for finding in made.verify().findings if finding.code == "content.missing"]
    assert {finding.subject.rsplit("(")[-1] for finding in missing} >= {"one)", "two)", "three)", "four)"}


def wrong_document(made: Made, content: bytes, *, size: int | None = None, root: bytes | None = None) -> None:
    """Seal a record that says something false of its content."""
    with writing(made) as (ledger, packs):
        key, digest = bytes(range(32)), sha256(content).digest()
        packs.put(content, digest)
        length = len(content) if size is None else size
        values = [
            NULL,
            text_value("docs/false"),
            text_value("text/plain"),
            content_value(digest, length),
            content_value(chunk_root(key[:16], content) if root is None else root, length),
            text_value("mtime"),
            structure_value(b"{}"),
        ]
        ledger.writer("s0001", DOCUMENT_V1, START_US).append(key, START_US, values)
        packs.sync()
        ledger.seal(START_US + 40)


@pytest.mark.parametrize("content", [b"", b"x", b"y" * 300_000, LARGE])
def test_a_false_chunk_root_is_named(made: Made, content: bytes) -> None:
    wrong_document(made, content, root=bytes(31) + b"\1")
    assert only(made.verify(), "content.chunks").subject.endswith("s0001 segment 1, record 4 (docs/false)")


@pytest.mark.parametrize("content", [b"", b"x", LARGE])
def test_a_false_size_is_named(made: Made, content: bytes) -> None:
    wrong_document(made, content, size=7)
    assert only(made.verify(), "content.size").subject.endswith("record 4 (docs/false)")


def test_a_content_that_was_never_kept_is_named(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/gone", b"nobody kept it\n", keep=False)
        row = ledger._writers["s0001"]
        row.append(
            bytes(32),
            START_US,
            [
                NULL,
                text_value("docs/gone too"),
                text_value("text/plain"),
                content_value(sha256(b"nor this").digest(), 8),
                content_value(bytes(32), 8),
                text_value("mtime"),
                structure_value(b"{}"),
            ],
        )
        packs.sync()
        ledger.seal(START_US + 40)
    finding = only(made.verify(), "content.missing")
    assert finding.subject.endswith("record 5 (docs/gone too)")
    assert finding.detail == "it is in no pack"


def test_contents_of_other_schemas_are_judged(tmp_path: Path) -> None:
    schema = Schema(
        "example.prompt",
        1,
        ("source", "account"),
        (Field("t", "t"), Field("n", "i"), Field("account", "s"), Field("image", "h")),
    )

    def fill(ledger: OrderLedgerWriter, packs: PackStore) -> None:
        writer = ledger.writer("s0005", schema, START_US)
        for data in (b"an image", b"another image"):
            packs.put(data, sha256(data).digest())
        for data in (b"an image", b"another image", b"no image"):
            value = content_value(sha256(data).digest(), len(data))
            writer.append(bytes(32), START_US, [text_value("account:4711"), value])
        writer.append(bytes(32), START_US, [NULL, NULL])

    report = make_vault(tmp_path, {}, fill=fill).verify()
    assert codes(report) == ["content.missing"]
    assert "s0005 segment 0, record 2 (account:4711)" in report.findings[0].subject


def test_contents_that_no_record_names_are_counted_and_no_fault(made: Made) -> None:
    with writing(made) as (_, packs):
        packs.put(b"put before a crash\n", sha256(b"put before a crash\n").digest())
        packs.sync()
    report = made.verify()
    assert report.valid
    assert report.contents == 5
    remark = only_remark(report.remarks, "content.unnamed")
    assert remark == "contents: 1"


def only_remark(remarks: tuple[object, ...], code: str) -> str:
    found = [remark for remark in remarks if getattr(remark, "code", "") == code]
    assert len(found) == 1
    return str(getattr(found[0], "detail", ""))


def test_a_pack_that_was_not_closed_is_read_as_far_as_it_is_durable(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/late.txt", b"in an open pack\n" * 99)
        packs.sync()
        ledger.seal(START_US + 60)
        packs._failure = "killed"  # so that closing only lets go
    assert list((made.path / "packs").rglob("*.unfinished"))
    report = made.verify()
    assert report.valid, report.findings
    assert report.records == 8
    pack = next(path for path in (made.path / "packs").rglob("*.pack.unfinished"))
    pack.write_bytes(pack.read_bytes() + b"torn tail")
    assert made.verify().valid


def test_wants_are_found_by_digest() -> None:
    draw = random.Random(3)
    digests = [draw.randbytes(32) for _ in range(500)]
    wants = [
        digest + bytes(32) + bytes(16) + (7).to_bytes(8, "big") + n.to_bytes(8, "big")
        for n, digest in enumerate(digests)
    ]
    wants += [digests[0] + b"\1" * 32 + bytes(16) + bytes(8) + (900).to_bytes(8, "big")]
    table = WantTable([b"".join(wants[:200]), b"", b"".join(wants[200:])])
    assert len(table) == 501
    for number, digest in enumerate(digests):
        found = [table[at] for at in table.numbers_of(digest)]
        assert sorted(want.place for want in found) == ([0, 900] if number == 0 else [number])
    assert table.numbers_of(bytes(32)) == []
    assert parse_want(wants[3]).root is None
    assert parse_want(wants[500]).root == b"\1" * 32
    assert all(len(want) == WANT_BYTES for want in wants)


def test_an_empty_table_finds_nothing() -> None:
    assert WantTable([]).numbers_of(b"\xff" * 32) == []
