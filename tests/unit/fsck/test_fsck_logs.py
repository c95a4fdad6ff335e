from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.formats.entries import (
    Count,
    End,
    Entry,
    Erase,
    Gap,
    Genesis,
    Keys,
    Release,
    Request,
    Segment,
    authority_sig,
    consent_message,
)
from scelle.formats.notes import COSIGNATURE_V1, VerifierKey, make_vkey
from scelle.formats.schema import DOCUMENT_V1, EVENT_V1
from scelle.fsck.chains import Anchor, LogRules, anchor_faults
from scelle.fsck.files import Unreadable, files_below, names_in, read_file
from scelle.ledger.log import LogReader
from scelle.ledger.witness import Witnesses
from scelle.merkle.hashing import leaf_hash
from scelle.timestamps.rfc3161 import build_query
from tests.integration.tsa import OpensslAuthority

from .support import HOST, ORDER, START_US, Made, add_document, codes, flip, only, writing

ORIGIN = f"{HOST}/po/{ORDER}"
AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SUCCESSOR = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")


def vkey(private: Ed25519PrivateKey) -> VerifierKey:
    return make_vkey("authority.example", COSIGNATURE_V1, private.public_key().public_bytes_raw())


GENESIS = Genesis(ORDER, HOST, vkey(AUTHORITY), sha256(bytes(32)).digest())
FIRST = Segment(
    order=ORDER,
    source="s0001",
    number=0,
    records=2,
    seq=(0, 2),
    time=(0, 3_600_000_000),
    undated=0,
    watermark=(10, 20),
    profile=1,
    schema=DOCUMENT_V1.digest,
    record_root=bytes(32),
    index_size=6,
    index_root=bytes(32),
    position=(None, b"p" * 32),
    anchor=None,
    prev=None,
)


def leaf(entry: Entry) -> bytes:
    return leaf_hash(entry.encode())


def following(entry: Segment, **changed: Any) -> Segment:
    honest = replace(
        entry,
        number=entry.number + 1,
        seq=(entry.seq[1], entry.seq[1] + 2),
        watermark=(entry.watermark[1], entry.watermark[1] + 10),
        position=(entry.position[1], b"q" * 32),
        prev=leaf(entry),
    )
    return replace(honest, **changed)


def dimensions(digest: bytes) -> int | None:
    return 3 if digest in (DOCUMENT_V1.digest, EVENT_V1.digest) else None


def faults(*entries: Entry | None) -> list[str]:
    rules = LogRules(ORDER, ORIGIN, dimensions)
    found = []
    for index, entry in enumerate(entries):
        if entry is None:
            rules.skip()
            continue
        for code, detail in rules.take(index, entry, entry.encode(), leaf(entry)):
            found.append(f"{index} {code}: {detail}")
    return found


def consented(entry: Any, private: Ed25519PrivateKey = AUTHORITY) -> Any:
    draft = replace(entry, authority_sig=authority_sig(vkey(private), bytes(64)))
    message = consent_message(ORIGIN, leaf(GENESIS), draft.encode())
    return replace(entry, authority_sig=authority_sig(vkey(private), private.sign(message)))


TOMBSTONE = Erase(ORDER, (1, leaf(FIRST)), (1, bytes(32)), (0, 2, 5), "art-17", 5, "letter", bytes(32), None)
RELEASE = Release(ORDER, "lifted", 5, bytes(32), None)
ROTATION = Keys(ORDER, "authority", vkey(SUCCESSOR), vkey(AUTHORITY), 3, None)
OPEN_GAP = Gap(ORDER, "s0001", (1, None), "down", None, None)


def test_two_tombstones_never_name_one_place_of_the_index() -> None:
    other = replace(TOMBSTONE, record=(0, bytes(32)), index=(1, 3, 5))
    assert faults(GENESIS, FIRST, TOMBSTONE, other) == [
        "3 log.chain: an index position that another tombstone names"
    ]


def test_a_tombstone_needs_somebody_who_could_allow_it() -> None:
    lonely = replace(GENESIS, authority=None)
    on_release = replace(TOMBSTONE, basis="release")
    unsigned = replace(RELEASE, authority_sig=None)
    assert faults(lonely, FIRST, TOMBSTONE) == [
        "2 log.consent: a tombstone before the release of an order that names no authority"
    ]
    assert faults(lonely, FIRST, RELEASE, TOMBSTONE) == []
    lives = "a tombstone on the basis of a release, and the order lives"
    assert faults(GENESIS, FIRST, on_release) == [f"2 log.consent: {lives}"]
    assert faults(GENESIS, FIRST, unsigned, on_release) == [f"3 log.consent: {lives}"]
    assert faults(GENESIS, FIRST, consented(RELEASE), on_release) == []


def test_honest_entries_have_no_fault() -> None:
    second = following(FIRST)
    assert (
        faults(
            GENESIS,
            FIRST,
            second,
            OPEN_GAP,
            Gap(ORDER, "s0001", (1, 5), "down", 2, 3),
            Count(ORDER, "s0001", (1, 5), 2, 2, 0, 0, 0, "files"),
            Request(ORDER, bytes(32)),
            TOMBSTONE,
            consented(
                replace(TOMBSTONE, record=(0, bytes(32)), index=(1, 3, 4), basis="consent", document=None)
            ),
            consented(ROTATION),
            consented(RELEASE, SUCCESSOR),
            End(ORDER, "s0001", 1),
            End(ORDER, "s0007", None),
        )
        == []
    )


WRONG: dict[str, tuple[tuple[Entry, ...], str]] = {
    "no genesis": ((FIRST,), "genesis is entry 0"),
    "second genesis": ((GENESIS, GENESIS), "genesis is entry 0"),
    "another host": ((replace(GENESIS, host="other.example"),), "do not give the origin"),
    "another order": ((replace(GENESIS, order="o-2"),), "an entry of order o-2"),
    "number": ((GENESIS, FIRST, following(FIRST, number=2)), "number follows on 0"),
    "number again": ((GENESIS, FIRST, FIRST), "number follows on 0"),
    "first number": ((GENESIS, replace(FIRST, number=1, prev=bytes(32))), "number does not start at 0"),
    "first prev": ((GENESIS, replace(FIRST, prev=bytes(32))), "prev names a manifest before the first"),
    "seq": ((GENESIS, FIRST, following(FIRST, seq=(3, 5))), "seq starts at 3, the last one ended at 2"),
    "prev": ((GENESIS, FIRST, following(FIRST, prev=bytes(32))), "prev is not the manifest before"),
    "watermark": ((GENESIS, FIRST, following(FIRST, watermark=(21, 30))), "watermark does not tile"),
    "watermark back": ((GENESIS, FIRST, following(FIRST, watermark=(19, 30))), "watermark does not tile"),
    "position": ((GENESIS, FIRST, following(FIRST, position=(None, None))), "position does not repeat"),
    "schema": ((GENESIS, FIRST, following(FIRST, schema=EVENT_V1.digest)), "schema or profile changed"),
    "dimensions": ((GENESIS, replace(FIRST, index_size=8)), "index-size is not N x 3"),
    "profile": ((GENESIS, replace(FIRST, profile=0)), "documents are sealed in profile 1"),
    "format": ((GENESIS, replace(FIRST, undated=3)), "more undated than records"),
    "after the end": (
        (GENESIS, FIRST, End(ORDER, "s0001", 0), following(FIRST)),
        "after the end of its source",
    ),
    "gap after the end": ((GENESIS, End(ORDER, "s0001", None), OPEN_GAP), "a gap of s0001 after its end"),
    "second end": ((GENESIS, FIRST, End(ORDER, "s0001", 0), End(ORDER, "s0001", 0)), "a second end"),
    "wrong end": ((GENESIS, FIRST, End(ORDER, "s0001", 1)), "ends after 1, its last segment is 0"),
    "end of nothing": ((GENESIS, End(ORDER, "s0001", 1)), "ends after 1, its last segment is None"),
    "closes nothing": ((GENESIS, Gap(ORDER, "s0001", (1, 2), "x", None, 0)), "no open gap"),
    "closes another's": ((GENESIS, OPEN_GAP, Gap(ORDER, "s0002", (1, 2), "x", None, 1)), "no open gap"),
    "closes twice": (
        (GENESIS, OPEN_GAP, *[Gap(ORDER, "s0001", (1, 2), "x", None, 1)] * 2),
        "closes entry 1, which is no open gap",
    ),
    "count": ((GENESIS, Count(ORDER, "s0001", (1, 5), 3, 2, 0, 0, 0, "files")), "offered is not"),
    "tombstone of nothing": ((GENESIS, TOMBSTONE), "names entry 1, which is no such manifest"),
    "tombstone of another": (
        (GENESIS, FIRST, replace(TOMBSTONE, segment=(1, bytes(32)))),
        "names entry 1, which is no such manifest",
    ),
    "tombstone beyond": ((GENESIS, FIRST, replace(TOMBSTONE, record=(2, bytes(32)))), "has no record 2"),
    "tombstone places": (
        (GENESIS, FIRST, replace(TOMBSTONE, index=(0, 1, 5))),
        "one index position in each block",
    ),
    "tombstone few": ((GENESIS, FIRST, replace(TOMBSTONE, index=(0, 2))), "one index position in each block"),
    "tombstone twice": ((GENESIS, FIRST, TOMBSTONE, TOMBSTONE), "a second tombstone"),
    "consent by another": ((GENESIS, FIRST, consented(TOMBSTONE, SUCCESSOR)), "not the authority's"),
    "consent to another": (
        (GENESIS, FIRST, replace(TOMBSTONE, authority_sig=consented(RELEASE).authority_sig)),
        "not over this entry",
    ),
    "release by the retired": ((GENESIS, consented(ROTATION), consented(RELEASE)), "not the authority's"),
    "rotation without consent": ((GENESIS, ROTATION), "role authority without authority-sig"),
    "rotation of a stranger": (
        (GENESIS, consented(ROTATION), consented(ROTATION, SUCCESSOR)),
        "retires a key that is not the authority's",
    ),
    "log key rotation": ((GENESIS, replace(ROTATION, role="log")), "neither does nor follows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_broken_rule_is_named(name: str) -> None:
    entries, what = WRONG[name]
    found = faults(*entries)
    assert any(what in fault for fault in found), found
    assert all(fault.startswith(f"{len(entries) - 1} ") for fault in found), found


def test_after_a_damaged_entry_the_rules_go_on_without_guessing() -> None:
    second, third = following(FIRST), following(following(FIRST))
    assert faults(GENESIS, FIRST, None, third) == []
    assert faults(GENESIS, None, second, third) == []
    assert faults(None, FIRST, second) == []
    assert faults(GENESIS, None, End(ORDER, "s0001", 5)) == []
    assert faults(GENESIS, None, replace(TOMBSTONE, segment=(1, bytes(32)))) == []
    wrong = following(third, seq=(9, 11))
    assert len(faults(GENESIS, FIRST, None, third, wrong)) == 1


def test_anchors_name_tokens_of_earlier_checkpoints() -> None:
    tokens = {b"a" * 32: 3, b"b" * 32: 9}
    assert list(anchor_faults([Anchor(3, b"a" * 32), Anchor(9, b"b" * 32)], tokens)) == []
    found = list(anchor_faults([Anchor(2, b"a" * 32), Anchor(5, b"c" * 32)], tokens))
    assert [index for index, _ in found] == [2, 5]


# -- tokens


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    return OpensslAuthority(tmp_path_factory.mktemp("tsa"))


class Stamping:
    """Stand between the queue and OpenSSL."""

    def __init__(self, authority: OpensslAuthority) -> None:
        self._authority = authority

    def request(self, digest: bytes) -> bytes:
        return self._authority.stamp(build_query(digest).der)


def stamp(made: Made, authority: OpensslAuthority) -> Path:
    witnesses = Witnesses(LogReader(made.log(), ORIGIN))
    witnesses.want_token("item-zero", START_US)
    assert witnesses.fetch_tokens(Stamping(authority), START_US) == (1, None)
    return next((made.log() / "tokens").glob("*.tsr"))


def test_a_token_over_a_checkpoint_is_no_fault(made: Made, authority: OpensslAuthority) -> None:
    stamp(made, authority)
    report = made.verify()
    assert report.valid, report.findings
    assert [remark.code for remark in report.remarks] == ["log.token"]


def test_a_token_over_another_checkpoint_is_named(made: Made, authority: OpensslAuthority) -> None:
    token = stamp(made, authority)
    log = LogReader(made.log(), ORIGIN)
    token.write_bytes(authority.stamp(build_query(sha256(b"another text").digest()).der))
    assert "over another text" in only(made.verify(), "log.token").detail
    token.write_bytes(b"no token")
    assert codes(made.verify()) == ["log.token"]
    token.rename(token.with_name(f"{log.size}-{'0' * 64}.tsr"))
    assert {"log.escrow", "log.token"} <= set(codes(made.verify()))


@pytest.mark.parametrize("size", [str(2**63), "9" * 19])
def test_a_token_over_no_possible_checkpoint_is_named(
    made: Made, authority: OpensslAuthority, size: str
) -> None:
    token = stamp(made, authority)
    token.rename(token.with_name(f"{size}-{token.stem.partition('-')[2]}.tsr"))
    report = made.verify()
    assert {"log.token", "log.behind"} <= set(codes(report))
    assert "its name gives no checkpoint" in only(report, "log.token").detail


def anchored(made: Made, authority: OpensslAuthority) -> Path:
    token = stamp(made, authority)
    with writing(made) as (ledger, packs):
        add_document(ledger, packs, "docs/later", b"later\n")
        packs.sync()
        ledger.seal(START_US + 80)
    assert made.verify().valid
    return token


def test_every_byte_of_an_anchored_token_is_named(made: Made, authority: OpensslAuthority) -> None:
    token = anchored(made, authority)
    data = token.read_bytes()
    for offset in range(0, len(data), 37):
        flip(token, offset)
        assert "log.anchor" in codes(made.verify()), offset
        token.write_bytes(data)
    token.unlink()
    assert codes(made.verify()) == ["log.anchor"]


def test_a_token_that_waits_is_judged(made: Made) -> None:
    log = LogReader(made.log(), ORIGIN)
    Witnesses(log).want_token("daily", START_US)
    assert made.verify().valid
    path = next((made.log() / "tokens/pending").iterdir())
    data = path.read_bytes()
    flip(path, 20)
    assert codes(made.verify()) == ["log.token"]
    path.rename(path.with_name(f"{'0' * 64}.json"))
    assert codes(made.verify()) == ["log.token"]
    path.with_name(f"{'0' * 64}.json").write_bytes(data)
    assert "another name" in only(made.verify(), "log.token").detail


# -- reading files


def test_files_are_read_without_trust(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(Unreadable, match="too many"):
        read_file(tmp_path / "file", 4)
    with pytest.raises(Unreadable) as missing:
        read_file(tmp_path / "none")
    assert missing.value.is_missing
    with pytest.raises(Unreadable, match="not a regular file"):
        read_file(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(Unreadable, match="it is a link") as linked:
        read_file(tmp_path / "link")
    assert linked.value.code == "file.unreadable"
    with pytest.raises(Unreadable, match="not there"):
        read_file(tmp_path / "file" / "below")


def test_listing_goes_into_folders_and_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "z").symlink_to(tmp_path)
    assert list(files_below(tmp_path)) == ["a/b/", "a/file", "empty/", "z"]
    assert names_in(tmp_path) == ["a", "empty", "z"]
    assert list(files_below(tmp_path / "none")) == names_in(tmp_path / "none") == []
