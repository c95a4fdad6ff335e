"""Every code that the room can give is given: one way to provoke each finding and each remark."""

import ast
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.formats.entries import Release, authority_sig
from scelle.formats.notes import COSIGNATURE_V1, make_vkey
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.values import content_value, integer_value, text_value
from scelle.fsck import service
from scelle.fsck.model import FINDINGS, REMARKS, Finding, VerifyReport
from scelle.ledger.destroying import BEGUN, DISPOSED
from scelle.ledger.events import record_event
from scelle.ledger.positions import keep_position
from scelle.ledger.service import Looked
from scelle.vault.lock import WriterLock

from .support import (
    HOST,
    ORDER,
    START_US,
    Made,
    add_document,
    add_order,
    add_restricted,
    encode_rows,
    erase_records,
    flip,
    forge_log,
    forge_manifest,
    index_blocks,
    log_entries,
    make_vault,
    overwrite,
    plain_rows,
    reseal,
    with_old_files,
    with_other_tombstones,
    with_value,
    writing,
)

FOUND_ELSEWHERE = {
    *("log.gone", "event.unasked", "event.unread", "event.unfinished"),
    *("promise.broken", "promise.unread"),
}
"""Given by `bootstrap.verify_vault`, which knows what was there, promised, and who asked for what (tests/e2e)."""
BUNDLE, TILE = "tile/entries/000.p/8", "tile/0/000.p/8"

Options = dict[str, Any] | None
Hurt = Callable[[Made], Options]


def put(path: Path, data: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    overwrite(path, data) if path.exists() else path.write_bytes(data)


def pack(made: Made, suffix: str = "pack") -> Path:
    return next((made.path / "packs").rglob(f"*.{suffix}"))


def with_pipe(made: Made) -> None:
    (made.log() / TILE).unlink()
    os.mkfifo(made.log() / TILE)


def with_one_signature(made: Made) -> None:
    lines = (made.log() / "checkpoint").read_bytes().split(b"\n")
    put(made.log() / "checkpoint", b"\n".join([*lines[:5], b""]))


def with_doubtful_root(made: Made) -> None:
    flip(made.log() / BUNDLE, 40)
    flip(made.log() / TILE, 200)


def with_false_consent(made: Made) -> None:
    vkey = make_vkey(
        "nobody.example", COSIGNATURE_V1, Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    )
    release = Release(ORDER, "lifted", 5, bytes(32), authority_sig(vkey, bytes(64)))
    forge_log(made, [*log_entries(made), release.encode()])


def with_damaged_manifest(made: Made) -> None:
    flip(made.log() / BUNDLE, (made.log() / BUNDLE).read_bytes().index(b"source s0001\nnumber 0") + 200)


def with_rows(made: Made, *numbers: int, field: int = 4, value: bytes = b"") -> None:
    """Seal the rows of these numbers again, the first of them with another value."""
    rows = plain_rows(made)
    chosen = [rows[number] for number in numbers]
    if value:
        chosen[0] = with_value(chosen[0], field, value)
    reseal(made, [encode_rows(chosen)])


def with_other_size(made: Made) -> None:
    rows = plain_rows(made)
    value = rows[0].split_values()[5]  # head (5 bytes), SHA-256 (32), size (8)
    longer = content_value(value[5:37], int.from_bytes(value[37:], "big") + 1)
    rows[0] = with_value(with_value(rows[0], 5, longer), 6, longer)
    reseal(made, [encode_rows(rows)])


def with_other_key(made: Made) -> None:
    rows = plain_rows(made)
    rows[0] = replace(rows[0], record_key=bytes(32))
    reseal(made, [encode_rows(rows)])


def with_open_segment(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/open.txt", b"not sealed yet\n")
        ledger.flush()
        packs._failure = "killed before it was synced"


GOING = ("keys", "rows", "index", "head")


def with_release(made: Made, *left: str, acts: Sequence[str] = (BEGUN, DISPOSED)) -> None:
    """Seal a release with the acts of a disposal; destroy the rows of the first segment but for some files."""
    with writing(made) as (ledger, _):
        for kind in acts:
            record_event(ledger, START_US + 30, "a", kind, {})
        ledger.seal(START_US + 30, entries=[Release(ORDER, "lifted", 5, bytes(32), None)])
    for name in GOING:
        if name not in left:
            (made.segment() / name).unlink()


def with_other_erased(made: Made) -> None:
    erase_records(made, 1)
    flip(made.segment() / "erased", 60)


def with_digest_only(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/in-place.txt", b"it stays where it is\n", keep=False)
        packs.sync()
        ledger.seal(START_US + 30)


def with_restricted(made: Made) -> None:
    with writing(made) as (ledger, packs):
        add_restricted(ledger, packs, b"age-encryption.org/v1\nand so on")
        packs.sync()
        ledger.seal(START_US + 30)


def with_another_order(made: Made) -> dict[str, Any]:
    add_order(made, {"docs/z.txt": b"only here\n" * 500}, order="o-2")
    flip(max((made.path / "packs").rglob("*.pack"), key=lambda path: path.stat().st_mtime_ns), 150)
    return {"order": ORDER}


def with_destroyed_key(made: Made) -> None:
    with writing(made) as (_, packs):
        packs.put(b"of no record\n", sha256(b"of no record\n").digest())
        packs.sync()
    newest = max((made.path / "packs").rglob("*.keys"), key=lambda path: path.stat().st_mtime_ns)
    data = newest.read_bytes()
    put(newest, data[:47] + bytes(60) + data[107:])


def flipped(name: str, offset: int) -> Hurt:
    return lambda made: flip(made.path / name, offset)


def forged(**changed: Any) -> Hurt:
    return lambda made: forge_manifest(made, lambda entry: replace(entry, **changed))


def with_other_position(made: Made) -> None:
    keep_position(made.segment().parent, 0, f"{HOST}/po/{ORDER}", "s0001", b"another place", made.key)
    forged(position=(None, bytes(32)))(made)


GIVEN: dict[str, Hurt] = {
    "vault.config": flipped("vault.json", 20),
    "vault.stray": lambda made: put(made.path / "notes.txt"),
    "file.missing": lambda made: (made.log() / TILE).unlink(),
    "file.unreadable": with_pipe,
    "order.secrets": flipped("po/o-1/secrets", 30),
    "log.checkpoint": lambda made: put(made.log() / "checkpoint"),
    "log.signature": with_one_signature,
    "log.behind": lambda made: {"recall": lambda origin: (99, bytes(32))},
    "log.root": with_doubtful_root,
    "log.entries": flipped(f"po/o-1/log/{BUNDLE}", 1),
    "log.entry": flipped(f"po/o-1/log/{BUNDLE}", 40),
    "log.format": forged(seq=(1, 5)),
    "log.chain": forged(index_size=8),
    "log.consent": with_false_consent,
    "log.tile": flipped(f"po/o-1/log/{TILE}", 3),
    "log.lock": lambda made: put(made.log() / "lock.db"),
    "log.schema": lambda made: next((made.log() / "schemas").iterdir()).unlink(),
    "log.escrow": lambda made: put(made.log() / "escrow" / f"3-{'0' * 64}.json"),
    "log.token": lambda made: put(made.log() / "tokens/pending" / f"{'0' * 64}.json"),
    "log.anchor": forged(anchor=bytes(32)),
    "segment.manifest": with_damaged_manifest,
    "segment.frame": flipped("po/o-1/seg/s0001/0/rows", 100),
    "segment.disposal": lambda made: with_release(made, "rows"),
    "segment.keys": lambda made: put(made.segment() / "keys", (made.segment() / "keys").read_bytes() + b"x"),
    "segment.row": lambda made: reseal(made, [encode_rows(plain_rows(made)) + b"\0"]),
    "segment.records": lambda made: with_rows(made, 0, 2, 3),
    "segment.record_root": forged(record_root=bytes(32)),
    "segment.index": lambda made: reseal(made, [encode_rows(plain_rows(made))], index_blocks(made)[:2]),
    "segment.index_root": forged(index_root=bytes(32)),
    "segment.tree": flipped("po/o-1/seg/s0001/0/tree", 3),
    "segment.bounds": forged(undated=1),
    "segment.head": forged(watermark=(5, 9)),
    "segment.position": with_other_position,
    "record.value": lambda made: with_rows(made, 0, 1, 2, 3, value=integer_value(1)),
    "record.seq": lambda made: with_rows(made, 0, 2, 1, 3),
    "segment.erased": with_other_erased,
    "record.readable": lambda made: with_old_files(made, 1),
    "record.erased": lambda made: with_other_tombstones(made, lambda entry: None),
    "record.tombstone": lambda made: with_other_tombstones(
        made, lambda entry: replace(entry, record=(entry.record[0], bytes(32)))
    ),
    "record.commitment": lambda made: with_rows(made, 0, 1, 2, 3, value=text_value("x/y")),
    "content.missing": lambda made: shutil.rmtree(made.path / "packs"),
    "content.size": with_other_size,
    "content.chunks": with_other_key,
    "pack.damaged": lambda made: flip(pack(made), 400),
    "catalog.stale": lambda made: put(made.path / "catalog.db"),
}

REMARKED: dict[str, Hurt] = {
    "vault.leftover": lambda made: put(made.path / "vault.json.tmp"),
    "order.unfinished": lambda made: put(made.path / "po/o-9/secrets"),
    "order.erasing": lambda made: put(made.order() / "erasing"),
    "log.staging": lambda made: put(made.log() / "staging" / f"9-{'0' * 64}"),
    "log.token": lambda made: put(made.log() / "tokens" / f"3-{'0' * 64}.tsr"),
    "segment.open": with_open_segment,
    "segment.disposed": with_release,
    "content.unsealed": with_open_segment,
    "content.digest_only": with_digest_only,
    "content.restricted": with_restricted,
    "content.unnamed": lambda made: with_rows(made, 1, 2, 3),
    "pack.damaged": with_another_order,
    "pack.destroyed": with_destroyed_key,
    "catalog.missing": lambda made: (made.path / "catalog.db").unlink(),
    "catalog.unread": lambda made: {"sample": 1},
}
OTHERWISE = {"fault", "vault.writer", "vault.recovery", "content.restricted"}
"""Provoked by the tests at the end, the last one in test_fsck_restricted.py."""


def given_codes(made: Made, hurt: Hurt) -> tuple[set[str], set[str]]:
    assert made.verify().valid
    report = made.verify(**(hurt(made) or {}))
    return {each.code for each in report.findings}, {each.code for each in report.remarks}


@pytest.mark.parametrize("code", GIVEN)
def test_a_finding_is_given(made: Made, code: str) -> None:
    findings, _ = given_codes(made, GIVEN[code])
    assert code in findings
    assert "fault" not in findings


@pytest.mark.parametrize("code", REMARKED)
def test_a_remark_is_given(made: Made, code: str) -> None:
    findings, remarks = given_codes(made, REMARKED[code])
    assert code in remarks
    assert "fault" not in findings


def test_a_fault_is_given(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scelle.fsck.segments.Examination.finish", lambda self: 1 / 0)
    assert [each.code for each in made.verify(sample=1).findings] == ["fault"]


def test_a_writer_is_remarked(made: Made) -> None:
    with ExitStack() as held:
        held.enter_context(WriterLock(made.path).acquire("now"))
        assert "vault.writer" in {each.code for each in made.verify().remarks}


def test_recovery_is_remarked(tmp_path: Path) -> None:
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    made = make_vault(tmp_path, {}, recipients=[recipient])
    assert [each.code for each in made.verify().remarks] == ["vault.recovery"]


def test_rows_that_are_gone_without_a_release_are_missing(made: Made) -> None:
    for name in GOING:
        (made.segment() / name).unlink()
    found = {each.code for each in made.verify().findings}
    assert "file.missing" in found or "file.unreadable" in found
    assert "segment.disposal" not in found


def test_rows_that_are_gone_under_a_release_and_no_act_of_disposal_are_missing(made: Made) -> None:
    with_release(made, acts=())
    report = made.verify()
    assert "file.missing" in {each.code for each in report.findings}
    assert "segment.disposed" not in {each.code for each in report.remarks}


def test_a_released_order_that_nobody_disposes_of_is_judged_as_ever(made: Made) -> None:
    with_release(made, *GOING, acts=())
    report = made.verify()
    assert report.valid
    assert "segment.disposed" not in {each.code for each in report.remarks}
    flip(made.segment() / "rows", 100)
    assert {"segment.frame"} <= {each.code for each in made.verify().findings}


def captured(report: VerifyReport) -> list[Finding]:
    """The findings about what was captured: the order's papers and acts, which stay, are others' business."""
    return [
        each
        for each in report.findings
        if each.code != "catalog.stale" and f"order {ORDER}, scelle." not in each.subject
    ]


@pytest.mark.parametrize("left", [GOING, ("rows",), ()])
def test_a_disposal_without_its_certificate_is_unfinished_and_that_is_all(
    made: Made, left: tuple[str, ...]
) -> None:
    with_release(made, *left, acts=(BEGUN,))
    shutil.rmtree(made.path / "packs")
    (finding,) = captured(made.verify())
    assert (finding.code, finding.subject) == ("segment.disposal", f"order {ORDER}")
    assert f"the disposal of {ORDER} is unfinished" in finding.detail


def test_rows_that_came_back_after_the_disposal_are_named(made: Made) -> None:
    with_release(made, "rows")
    assert [each.code for each in made.verify().findings] == ["segment.disposal"]


def test_contents_that_only_a_disposed_order_named_are_not_missed(made: Made) -> None:
    with_release(made)
    shutil.rmtree(made.path / "packs")
    assert captured(made.verify()) == []


def test_acts_that_cannot_be_read_are_named_and_not_every_record_that_went(made: Made) -> None:
    with_release(made)
    flip(made.segment("scelle.events", 0) / "rows", 100)
    found = made.verify().findings
    assert {"segment.frame", "segment.disposal"} <= {each.code for each in found}
    assert not [each for each in found if "s0001" in each.subject]


# -- and none is left out

_CODE = re.compile(r"(vault|file|order|log|segment|record|content|pack|catalog)\.[a-z_]+|fault")


def codes_in_source() -> set[str]:
    """Collect every text in the room that reads as a code, but for the tables that say what they mean."""
    found = set()
    for path in Path(service.__file__).parent.glob("*.py"):
        if path.name == "model.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value):
                found.add(node.value)
    return found


def test_every_code_in_the_source_is_provoked_here() -> None:
    formats = Path(__file__).parents[3].joinpath("docs/formats/vault.md").read_text(encoding="utf-8")
    of_packs = set(re.findall(r"`(vault\.[a-z_]+)`", formats))
    provoked = GIVEN.keys() | REMARKED.keys() | OTHERWISE
    assert codes_in_source() - of_packs - {"catalog.db"} == provoked
    assert FINDINGS.keys() - FOUND_ELSEWHERE == GIVEN.keys() | {"fault"}
    assert REMARKS.keys() - FOUND_ELSEWHERE == REMARKED.keys() | OTHERWISE - {"fault"}


def test_a_position_is_read_back_or_named(made: Made) -> None:
    with writing(made) as (ledger, _):
        ledger.stand_at("s0001", b"postgres 7001 1 slot 0/10")
        ledger.seal(2 * START_US, looked=[Looked("s0001", DOCUMENT_V1)])
        assert ledger.position("s0001") == b"postgres 7001 1 slot 0/10"
    assert made.verify().valid
    (path,) = made.segment().parent.glob("*.position")
    flip(path, 20)
    assert {each.code for each in made.verify().findings} == {"segment.position"}
    path.unlink()
    assert {each.code for each in made.verify().findings} == {"file.missing"}
