"""Disclose single records of real ledgers, and let the shipped single-file verifier judge the proofs."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.conftest import ORDER as CLI_ORDER
from tests.e2e.conftest import Platform
from tests.integration.platforms import make_platform
from tests.unit.productions.ledgers import KEY, PROMPT, START_US, Small, verify_opening

from scelle.capture.identity import ItemNames, item_id_of_row
from scelle.errors import PackageNameRefused, RecordNotAsSealed, RequestWrong
from scelle.formats.openings import parse_opening, parse_tlog_proof
from scelle.ledger.segments import SegmentReader
from scelle.productions.disclosure import Disclosure, disclose
from scelle.verify import scelle_verify

NAMES: Mapping[str, str] = {"s0001": "prompts", "s0002": "old"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path)
    made.item_zero()
    for number in range(9):
        made.prompt(
            "s0001/1", START_US + number, f"account:{number % 2}", "imagine-2", f"p-{number}", "neighbour"
        )
    for number in range(3):
        made.prompt("s0002", START_US - number, "account:1", "imagine-1", f"o-{number}", profile=0)
    made.seal()
    yield made
    made.ledger.close()


def told(stage: str, done: int, total: int) -> None:
    assert stage == "records"
    assert 0 <= done <= total


def proof_of(
    small: Small, item: str, redact: Mapping[str, str] | None = None, name: str = "p"
) -> tuple[Disclosure, bytes]:
    out = small.folder / f"{name}.proof"
    report = disclose(
        small.ledger, KEY, item, out=out, redact=redact or {}, source_names=NAMES, progress=told
    )
    return report, out.read_bytes()


def item_id(small: Small, alias: str, seq: int) -> str:
    for _, manifest in small.ledger.manifests():
        if manifest.source == alias and manifest.seq[0] <= seq < manifest.seq[1]:
            with closing(small.ledger.segment(manifest)) as reader:
                row = reader.row(seq)
            found = item_id_of_row(
                KEY, NAMES[alias.partition("/")[0]], small.ledger.schema(manifest.schema), row
            )
            assert found is not None
            return found
    raise AssertionError("no such record")


# --- accepted


@pytest.mark.parametrize(("alias", "seq"), [("s0001/1", 0), ("s0001/1", 8), ("s0001/1", 4), ("s0002", 2)])
def test_a_record_is_proven_alone_in_a_few_kilobytes(small: Small, alias: str, seq: int) -> None:
    report, data = proof_of(small, f"{alias}:{seq}")
    assert (report.source, report.seq, report.fields, report.bytes) == (alias, seq, 8, len(data))
    assert len(data) < 8192
    verdict = verify_opening(small, data)
    assert verdict.exit_code == 0, verdict.report
    record = verdict.report["record"]
    assert (record["source"], record["seq"]) == (alias, seq)
    assert record["fields"]["native_id"].startswith(("p-", "o-"))


def test_every_kind_of_record_has_a_proof(small: Small) -> None:
    small.document("s0003", START_US, b"text", "notes/a.txt")
    small.event("received", {"by": "letter"})
    small.seal()
    for item in ("scelle.order:0", "scelle.events:0", "s0003:0"):
        _, data = proof_of(small, item, name=item.replace(":", "-"))
        assert verify_opening(small, data).exit_code == 0


def test_an_item_is_found_by_its_id(small: Small) -> None:
    item = item_id(small, "s0001/1", 5)
    assert re.fullmatch("i[a-z2-7]{26}", item)
    report, data = proof_of(small, item)
    assert (report.source, report.seq) == ("s0001/1", 5)
    assert item.encode() not in data


def test_the_id_tells_records_apart_and_does_not_know_where_they_were_read(small: Small) -> None:
    same = {"native": "p-4", "prompt": "neighbour"}
    small.prompt("s0001/1", START_US + 4, "account:0", "imagine-2", origin=77, **same)  # type: ignore[arg-type]
    small.prompt("s0001/1", START_US + 4, "account:0", "imagine-3", **same)  # type: ignore[arg-type]
    small.seal()
    assert item_id(small, "s0001/1", 9) == item_id(small, "s0001/1", 4)
    ids = [item_id(small, "s0001/1", seq) for seq in range(11)]
    assert len(set(ids)) == 10
    report, _ = proof_of(small, ids[9])
    assert report.seq == 4, "the first record of an item is shown"


def test_rows_without_a_native_id_have_no_id(small: Small) -> None:
    seq = small.prompt("s0001/1", START_US, "account:1", "imagine-2", None).seq
    small.seal()
    _, manifest = list(small.ledger.manifests())[-1]
    with closing(small.ledger.segment(manifest)) as reader:
        assert ItemNames(KEY, "prompts", PROMPT).name(reader.row(seq)) is None


def test_redacted_fields_stay_closed(small: Small) -> None:
    report, data = proof_of(small, "s0001/1:3", {"prompt": "personal-data", "account": "personal-data"})
    assert dict(report.redacted) == {"prompt": "personal-data", "account": "personal-data"}
    assert b"neighbour" not in everything_in(data)
    verdict = verify_opening(small, data)
    assert verdict.exit_code == 0
    fields = verdict.report["record"]["fields"]
    assert (fields["prompt"], fields["account"], fields["model"]) == ("(redacted)", "(redacted)", "imagine-2")


def test_raw_goes_with_any_redacted_field(small: Small) -> None:
    small.chat("s0003", START_US, "account:1", "a secret")
    small.seal()
    report, data = proof_of(small, "s0003:0", {"text": "privacy"})
    assert dict(report.redacted) == {"text": "privacy", "raw": "raw"}
    assert b"secret" not in everything_in(data)
    assert verify_opening(small, data).exit_code == 0


def everything_in(data: bytes) -> bytes:
    """Return a proof with all its layers of base64 taken off."""
    extra = parse_tlog_proof(data).extra or b""
    inside = [b64decode(text) for text in re.findall(rb'"([A-Za-z0-9+/]+=*)"', extra) if len(text) % 4 == 0]
    return data + extra + b"".join(inside)


def test_nothing_of_a_neighbour_is_shown(small: Small) -> None:
    _, data = proof_of(small, "s0001/1:4")
    shown = everything_in(data)
    assert b"p-4" in shown
    (manifest,) = [entry for _, entry in small.ledger.manifests() if entry.source == "s0001/1"]
    with closing(small.ledger.segment(manifest)) as reader:
        for row in reader.rows():
            if row.seq != 4:
                native = row.split_values()[5][5:]
                assert native not in shown
                assert row.record_key[:16] not in shown
                assert row.record_key[16:] not in shown
            else:
                assert row.record_key[:16] not in shown, "in profile 1 the record salt is never shown"


# --- refused


def test_a_proof_with_any_part_changed_is_refused(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    """Flip a byte in every class of bytes that a proof has; the shipped verifier judges, in this process."""
    _, data = proof_of(small, "s0001/1:4")
    trust, judged = small.folder / "trust.json", small.folder / "judged"
    trust.write_bytes(small.trust().encode())
    command = ["--opening", str(judged), "--trust", str(trust)]
    judged.write_bytes(data)
    assert scelle_verify.main(command) == 0
    for what, changed in sorted(changes(data).items()):
        assert changed != data, what
        judged.write_bytes(changed)
        assert scelle_verify.main(command) == 1, what
        assert "NOT VALID" in capsys.readouterr().out


def changes(data: bytes) -> dict[str, bytes]:
    lines = data.split(b"\n")
    at = lines.index(b"")
    extra = b64decode(lines[1][6:])
    opening = parse_opening(extra)
    found = {"format": data.replace(b"tlog-proof@v1", b"tlog-proof@v2"), "cut": data[:-40]}
    number = int(lines[2][6:])
    found["index"] = swapped(lines, 2, b"index %d" % (number + 1))
    found["path"] = swapped(lines, 3, flipped(lines[3]))
    found["path short"] = b"\n".join(lines[:3] + lines[4:])
    found["path long"] = b"\n".join([*lines[:4], lines[3], *lines[4:]])
    for place, name in ((1, "origin"), (2, "size"), (3, "root"), (5, "ed25519"), (6, "ml-dsa")):
        line = lines[at + place]
        changed = line.replace(b"platform", b"platfork") if place == 1 else line
        if place == 2:
            changed = b"%d" % (int(line) + 1)
        elif place >= 3:
            changed = flipped(line)
        found[name] = swapped(lines, at + place, changed)
    texts = {
        "place": (b'"index":4', b'"index":5'),
        "count": (b'"of":9', b'"of":8'),
        "record place": (b'"pos":4', b'"pos":5'),
        "record at": (b'"at":%d' % number, b'"at":%d' % (number + 1)),
        "profile": (b'"p":1', b'"p":0'),
        "unknown key": (b'"of":9', b'"of":9,"off":9'),
        "double key": (b'"of":9', b'"of":9,"of":9'),
    }
    for name, (old, new) in texts.items():
        assert extra.count(old) == 1, name
        found[name] = with_extra(lines, extra.replace(old, new))
    hashes = {"R path": opening.proof[0].hex().encode()}
    fields = opening.record.fields  # type: ignore[union-attr]
    hashes |= {f"salt {j}": part.salt.hex().encode() for j, part in enumerate(fields)}
    for name, text in hashes.items():
        found[name] = with_extra(lines, extra.replace(text, flipped_hex(text), 1))
    for j, part in enumerate(fields):
        value = part.value[:-1] + bytes((part.value[-1] ^ 1,))
        found[f"value {j}"] = with_extra(lines, extra.replace(b64encode(part.value), b64encode(value), 1))
    for name, part in (("entry", opening.entry), ("schema", opening.schema)):
        other = part.replace(b"1", b"2", 1)
        found[name] = with_extra(lines, extra.replace(b64encode(part), b64encode(other)))
    return found


def swapped(lines: list[bytes], number: int, line: bytes) -> bytes:
    return b"\n".join([*lines[:number], line, *lines[number + 1 :]])


def with_extra(lines: list[bytes], extra: bytes) -> bytes:
    return swapped(lines, 1, b"extra " + b64encode(extra))


def flipped(line: bytes) -> bytes:
    """Change a character in the middle of what is base64 in a line."""
    at = len(line) - 20
    return line[:at] + (b"B" if line[at : at + 1] == b"A" else b"A") + line[at + 1 :]


def flipped_hex(text: bytes) -> bytes:
    return (b"0" if text[:1] != b"0" else b"1") + text[1:]


def test_a_proof_of_another_order_is_refused_in_a_clean_process(small: Small, tmp_path: Path) -> None:
    _, data = proof_of(small, "s0002:1")
    other = Small(tmp_path / "other")
    other.seal()
    verdict = verify_opening(other, data)
    assert verdict.exit_code == 1
    assert verdict.report["record"] == {}
    other.ledger.close()


@pytest.mark.parametrize(
    ("item", "redact", "why"),
    [
        ("s0001/1:9", {}, "9 sealed records"),
        ("s0001:1", {}, "s0001/1"),
        ("s0009:1", {}, "no source"),
        ("S0001:1", {}, "neither"),
        ("s0001/1", {}, "neither"),
        ("s0001/1:-1", {}, "neither"),
        ("../x:1", {}, "neither"),
        ("i" + "a" * 26, {}, "no sealed record"),
        ("i" + "a" * 25, {}, "neither"),
        ("s0001/1:1", {"promt": "x"}, "no field 'promt'; it has 'account'"),
        ("s0001/1:1", {"seq": "x"}, "never redacted"),
        ("s0001/1:1", {"time": "x"}, "never redacted"),
        ("s0001/1:1", {"prompt": "Not"}, "no code"),
        ("s0002:1", {"prompt": "privacy"}, "profile 0"),
    ],
)
def test_what_cannot_be_disclosed_is_refused_and_leaves_nothing(
    small: Small, item: str, redact: dict[str, str], why: str
) -> None:
    before = sorted(small.folder.iterdir())
    with pytest.raises(RequestWrong, match=why):
        proof_of(small, item, redact)
    assert sorted(small.folder.iterdir()) == before


def test_nothing_is_overwritten(small: Small) -> None:
    proof_of(small, "s0001/1:1")
    with pytest.raises(PackageNameRefused, match="there already"):
        proof_of(small, "s0001/1:2")


def test_an_erased_record_is_refused(tmp_path: Path) -> None:
    small = Small(tmp_path, with_authority=True)
    record = small.prompt("s0001", START_US, "account:1", "imagine-2")
    small.prompt("s0001", START_US, "account:1", "imagine-2")
    small.seal()
    ((_, manifest),) = small.ledger.manifests()
    with closing(small.ledger.segment(manifest)) as reader:
        small.erase(record, (0, 2, 4, 6), reader.record_hashes()[:32])
    with pytest.raises(RequestWrong, match="was erased"):
        proof_of(small, "s0001:0")
    _, data = proof_of(small, "s0001:1")
    assert verify_opening(small, data).exit_code == 0
    small.ledger.close()


def test_a_record_that_is_not_what_was_sealed_is_never_disclosed(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SegmentReader.hashes

    def wrong(reader: SegmentReader, start: int, stop: int) -> bytes:
        data = honest(reader, start, stop)
        return data[:-1] + bytes((data[-1] ^ 1,))

    monkeypatch.setattr(SegmentReader, "hashes", wrong)
    with pytest.raises(RecordNotAsSealed, match="nothing was disclosed"):
        proof_of(small, "s0001/1:1")
    assert not (small.folder / "p.proof").exists()


def test_the_report_is_told_before_the_proof_appears(small: Small) -> None:
    out = small.folder / "p.proof"

    def stop(report: Disclosure) -> None:
        assert report.seq == 1
        assert not out.exists()
        raise RequestWrong("stop here")

    with pytest.raises(RequestWrong, match="stop here"):
        disclose(
            small.ledger,
            KEY,
            "s0002:1",
            out=out,
            redact={},
            source_names=NAMES,
            progress=told,
            before_publishing=stop,
        )
    assert not out.exists()


# --- the command


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = make_platform(tmp_path, capsys, monkeypatch)
    made.document("a.txt", b"a red boat\n")
    made.document("b.txt", b"a harbour\n")
    made("init", made.vault, "--host", "platform.example")
    made("source", "add", "docs", f"files://{made.docs}")
    made("order", "add", made.order_file())
    made("preserve", CLI_ORDER)
    return made


def judged(platform: Platform, proof: Path) -> int:
    trust = platform.root / "trust.json"
    if not trust.exists():
        platform("order", "trust", CLI_ORDER, "--to", trust)
    platform.capsys.readouterr()
    return scelle_verify.main(["--opening", str(proof), "--trust", str(trust)])


def test_the_command_discloses_and_seals_that_it_did(platform: Platform) -> None:
    proof = platform.root / "a.proof"
    answer = platform(
        "disclose", CLI_ORDER, "s0001:0", "--redact", "meta:personal-data", "--to", proof, "--json"
    ).json
    assert (answer["source"], answer["seq"], answer["redacted"]) == ("s0001", 0, {"meta": "personal-data"})
    assert judged(platform, proof) == 0
    shown = platform("order", "show", CLI_ORDER, "--json").json
    assert [event["kind"] for event in shown["events"]].count("disclosure") == 1
    assert platform("verify", "--json").json["findings"] == []
    assert "scelle-verify" in platform("disclose", CLI_ORDER, "s0001:1", "--to", platform.root / "b").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("s0001:7",), "2 sealed records"),
        (("s0001:0", "--redact", "meta"), "FIELD:CODE"),
        (("s0001:0", "--redact", "nope:x"), "no field"),
        (("i" + "q" * 26,), "no sealed record"),
    ],
)
def test_a_command_that_cannot_disclose_changes_nothing(
    platform: Platform, arguments: tuple[str, ...], words: str
) -> None:
    size = platform("status", "--json").json["orders"][0]["log_size"]
    answer = platform("disclose", CLI_ORDER, *arguments, "--to", platform.root / "p.proof", code=2)
    assert words in answer.err
    assert not (platform.root / "p.proof").exists()
    assert platform("status", "--json").json["orders"][0]["log_size"] == size


def test_a_proof_is_never_put_into_the_vault(platform: Platform) -> None:
    to = platform.vault / "p.proof"
    assert "inside the vault" in platform("disclose", CLI_ORDER, "s0001:0", "--to", to, code=2).err


def test_documents_have_the_ids_that_capture_gives_them(platform: Platform) -> None:
    """Take the id as capture makes it, from what it keeps beside the row, and find the document by it."""
    from scelle.bootstrap import KeyChoice, opened
    from scelle.capture.store import item_id as made_by_capture
    from scelle.capture.store import parse_side

    with opened(platform.vault, KeyChoice(platform.root / "keys"), writing=False) as session:
        ledger = session.order_ledger(CLI_ORDER)
        (manifest,) = [each for _, each in ledger.manifests() if each.source == "s0001" and each.records]
        with closing(ledger.segment(manifest)) as reader:
            ids = []
            for row in reader.rows():
                found = parse_side(row)
                assert found is not None
                ids.append(made_by_capture(session.key, found[0], found[1].version))
    for seq, item in enumerate(ids):
        proof = platform.root / f"{seq}.proof"
        assert platform("disclose", CLI_ORDER, item, "--to", proof, "--json").json["seq"] == seq
        assert judged(platform, proof) == 0
