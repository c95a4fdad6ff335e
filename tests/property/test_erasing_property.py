"""Whatever is erased of whatever was sealed: answers verify and equal a naive filter, and nothing of it is readable."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.productions.ledgers import AUTHORITY, AUTHORITY_KEY, KEY, ORDER, Sealed, Small

from scelle.formats.entries import authority_sig, consent_message
from scelle.formats.values import UNDATED
from scelle.fsck import segments as fsck_segments
from scelle.fsck.service import verify as verify_vault
from scelle.ledger import rewriting, search, segments
from scelle.ledger.erasing import Target, erase, finish_erasure, prepare_tombstones
from scelle.ledger.search import tombstones
from scelle.productions.audit import audit_index, read_believed
from scelle.productions.audit_stream import write_stream
from scelle.productions.model import Request, query_for
from scelle.verify.scelle_verify import main as scelle_verify

FRAME_ROWS = 4
ACCOUNTS = [None, "account:1", "account:2", "account:3"]
SOURCES = ["s0001/1", "s0002"]
BESIDE_A_LEDGER = ("vault.json", f"order {ORDER}, scelle.order segment 0, record 0 (order)")
"""What a vault has beside it, and these ledgers have not: its configuration, and packs."""
RECORDS = st.lists(
    st.tuples(st.sampled_from(SOURCES), st.one_of(st.integers(-3, 3), st.none()), st.sampled_from(ACCOUNTS)),
    min_size=1,
    max_size=30,
)
WINDOWS = st.sampled_from([(None, None), (-1, None), (None, 1), (-2, 2), (0, 1)])
ASKED = st.one_of(
    st.tuples(st.just("source"), st.sampled_from(["s0001", "s0002"])),
    st.tuples(st.just("account"), st.sampled_from(["account:1", "account:2"])),
    st.tuples(st.just("model"), st.sampled_from(["m-0", "m-1"])),
)


@pytest.fixture(autouse=True)
def small_frames() -> Iterator[None]:
    """Let frames hold four rows, so that a small ledger has many, some of them emptied."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (segments, search, rewriting, fsck_segments):
            patch.setattr(module, "FRAME_ROWS", FRAME_ROWS)
        patch.setattr(segments, "ROW_FRAME_ROWS", FRAME_ROWS)
        yield


@dataclass
class Known:
    """One sealed record, and what no reader may find once it is erased."""

    record: Sealed
    secret: str
    model: str
    is_erased: bool = False


def filled(
    folder: Path, parts: Sequence[Sequence[tuple[str, int | None, str | None]]]
) -> tuple[Small, list[Known]]:
    small = Small(folder, with_authority=True)
    found: list[Known] = []
    small.item_zero()
    for rows in parts:
        for alias, time, account in rows:
            number = len(found)
            secret, model = f"secret-{number:04d}-of-nobody", f"m-{number % 2}"
            time_us = UNDATED if time is None else time
            if alias == "s0002":
                record = small.chat(alias, time_us, account, secret, model=model)
            else:
                record = small.prompt(alias, time_us, account, model, native=secret, prompt=secret)
            found.append(Known(record, secret, model))
        small.seal()
    return small, found


def erase_some(small: Small, doomed: Sequence[Known]) -> None:
    ledger = small.ledger
    targets = [
        Target(at, known.record.seq)
        for known in doomed
        for at, manifest in ledger.manifests()
        if manifest.source == known.record.alias and manifest.seq[0] <= known.record.seq < manifest.seq[1]
    ]
    terms: dict[str, Any] = {"ground": "third-party", "basis": "consent", "document": None}
    signatures = {}
    for each in prepare_tombstones(ledger, targets, time_us=small.now_us, **terms):
        message = consent_message(ledger.origin, ledger.state.genesis_leaf, each.entry.encode())
        signatures[each.target] = authority_sig(AUTHORITY_KEY, AUTHORITY.sign(message))
    erase(ledger, KEY, targets, signatures=signatures, now_us=small.now_us, **terms)
    finish_erasure(ledger)
    for known in doomed:
        known.is_erased = True


def matches(known: Known, request: Request) -> bool:
    record = known.record
    if request.dimension == "source":
        is_meant = record.alias.partition("/")[0] == request.value
    elif request.dimension == "account":
        is_meant = record.account == request.value
    else:
        is_meant = known.model == request.value
    low, high = request.from_us, request.until_us
    if record.time_us == UNDATED:
        return is_meant
    return is_meant and (low is None or record.time_us >= low) and (high is None or record.time_us < high)


def check_package(small: Small, request: Request, name: str, *arguments: str) -> dict[str, Any]:
    trust, query = small.folder / "trust.json", small.folder / "query.json"
    trust.write_bytes(replace(small.trust(), held=None).encode())
    query.write_bytes(query_for(request, ORDER).encode())
    out = StringIO()
    with redirect_stdout(out):
        code = scelle_verify([
            str(small.folder / name), "--trust", str(trust), "--query", str(query), "--json", *arguments,
        ])  # fmt: skip
    report: dict[str, Any] = json.loads(out.getvalue())
    assert code == 0, report["findings"]
    return report


def produced(small: Small, name: str) -> set[tuple[int, int]]:
    with ZipFile(small.folder / name) as archive:
        lines = [json.loads(line) for line in archive.read("records.jsonl").splitlines()]
    return {(line["at"], line["pos"]) for line in lines}


def answer_and_check(small: Small, found: Sequence[Known], request: Request, name: str) -> None:
    """The answer is the naive filter less what is erased; all that is erased and meant is shown as erased."""
    small.ask(request)
    report = small.produce(request, name)
    verdict = check_package(small, request, name)
    wanted = [known for known in found if matches(known, request)]
    living = [known for known in wanted if not known.is_erased]
    hits = verdict["hits"]
    assert (hits["produced"], hits["withheld"]) == (len(living), 0)
    assert hits["all"] == hits["produced"] + hits["erased"] == report.hits
    assert len(wanted) - len(living) <= hits["erased"]
    assert len(produced(small, name)) == len(living)
    with ZipFile(small.folder / name) as archive:
        data = b"".join(archive.read(member) for member in archive.namelist())
    for known in found:
        if known.is_erased:
            assert known.secret.encode() not in data


def check_unreadable(small: Small, found: Sequence[Known], keys: dict[str, bytes]) -> None:
    """No raw byte and no frame that the vault's key opens holds anything of an erased record."""
    gone = [known.secret.encode() for known in found if known.is_erased]
    gone += [keys[known.secret] for known in found if known.is_erased]
    kept = [known.secret.encode() for known in found if not known.is_erased]
    plain = b"".join(path.read_bytes() for path in (small.folder / "vault").rglob("*") if path.is_file())
    for at, manifest in small.ledger.manifests():
        if not manifest.records:
            continue
        erased = tombstones(small.ledger.entries).get(at)
        with closing(small.ledger.segment(manifest)) as reader:
            plain += b"".join(reader.row_frame(number) for number in range(reader.row_frames))
            for dimension in range(1, len(reader.schema.dimensions) + 1):
                block = b"".join(reader.index_keys(dimension))
                seqs = {
                    int.from_bytes(block[k + 24 : k + 32], "big") - (1 << 63)
                    for k in range(0, len(block), 32)
                }
                for position in () if erased is None else erased.records:
                    assert manifest.seq[0] + position not in seqs
    assert not [secret for secret in gone if secret in plain]
    assert not [secret for secret in kept if secret not in plain]


def record_keys(small: Small, found: Sequence[Known]) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for _, manifest in small.ledger.manifests():
        if manifest.source in SOURCES:
            with closing(small.ledger.segment(manifest)) as reader:
                rows = {row.seq: row.record_key for row in reader.rows()}
            keys |= {
                known.secret: rows[known.record.seq]
                for known in found
                if known.record.alias == manifest.source and known.record.seq in rows
            }
    return keys


def check_vault(small: Small) -> None:
    """A vault that is a ledger alone lacks what a vault has beside it, and nothing of the ledger is wrong."""
    report = verify_vault(small.folder / "vault", KEY, workers=1)
    assert [each for each in report.findings if each.subject not in BESIDE_A_LEDGER] == []
    assert not any(each.code == "vault.leftover" for each in report.remarks)


def check_audit(small: Small, number: int) -> None:
    """The contentless stream, erased records as zeros in it, gives the same indexes and bounds."""
    stream, checkpoint = small.folder / f"{number}.stream", small.folder / f"{number}.checkpoint"
    write_stream(small.ledger, out=stream, source=None, progress=lambda stage, done, total: None)
    checkpoint.write_bytes(small.ledger.log.note)
    report = audit_index(stream, read_believed(None, checkpoint), lambda stage, done, total: None)
    assert report.faults == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(RECORDS, min_size=1, max_size=3),
    rounds=st.lists(st.lists(st.integers(0, 89), min_size=1, max_size=12), min_size=1, max_size=3),
    asked=ASKED,
    window=WINDOWS,
)
def test_answers_over_erased_records_verify_and_nothing_of_them_is_readable(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[str, int | None, str | None]]],
    rounds: list[list[int]],
    asked: tuple[str, str],
    window: tuple[int | None, int | None],
) -> None:
    small, found = filled(tmp_path_factory.mktemp("erasing"), parts)
    keys = record_keys(small, found)
    aliases = {known.record.alias.partition("/")[0] for known in found}
    kind, value = asked
    if kind == "source" and value not in aliases:
        value = min(aliases)
    request = Request(kind, value, *window)
    made: list[tuple[str, Path]] = []
    for number, doomed in enumerate([[], *rounds]):
        erase_some(
            small,
            [found[k] for k in sorted({each % len(found) for each in doomed}) if not found[k].is_erased],
        )
        check_unreadable(small, found, keys)
        check_vault(small)
        held = small.folder / f"{number}.held"
        held.write_bytes(small.ledger.log.note)
        answer_and_check(small, found, request, f"{number}.scelle")
        made.append((f"{number}.scelle", held))
    check_audit(small, 0)
    for name, held in made:
        check_package(small, request, name, "--held", str(held))
    small.ledger.close()


def test_what_is_kept_is_found_where_whole_frames_are_gone(tmp_path: Path) -> None:
    """Frames in which nothing is left, at the head, in the middle, at the end, and short frames before them."""
    small, found = filled(tmp_path, [[("s0001/1", k, "account:1") for k in range(30)]])
    erase_some(small, [known for known in found if known.record.seq // FRAME_ROWS in (0, 3, 4, 7)])
    for known in found[5:7]:
        erase_some(small, [known])
    living = [known.record.seq for known in found if not known.is_erased]
    _, manifest = next((at, each) for at, each in small.ledger.manifests() if each.source == "s0001/1")
    with closing(small.ledger.segment(manifest)) as reader:
        assert [row.seq for row in reader.rows()] == living
        assert [reader.row(seq).seq for seq in reversed(living)] == living[::-1]
    check_vault(small)
    small.ledger.close()


def test_short_frames_are_searched_where_rows_are_gone(tmp_path: Path) -> None:
    """Group commits make frames of any length: then a row is sought by what frames begin with."""
    small, found = Small(tmp_path, with_authority=True), []
    small.item_zero()
    for number in range(17):
        found.append(Known(small.prompt("s0001/1", number, "account:1", "m-1"), f"s{number}", "m-1"))
        if number % 3 == 0:
            small.ledger.flush()
    small.seal()
    for number in (0, 1, 2, 3, 8, 16):
        erase_some(small, [found[number]])
    living = [known.record.seq for known in found if not known.is_erased]
    _, manifest = next((at, each) for at, each in small.ledger.manifests() if each.source == "s0001/1")
    for order in (living, living[::-1]):
        with closing(small.ledger.segment(manifest)) as reader:
            assert [reader.row(seq).seq for seq in order] == order
    check_vault(small)
    small.ledger.close()
