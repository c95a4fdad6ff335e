"""Every byte of a small package counts: one bit changed anywhere, and it is refused without a traceback."""

import random
from pathlib import Path

import pytest
from tests.unit.verify.builder import AUDITOR, Draft, Log, note, query_of, world
from tests.unit.verify.harness import examine, files
from tests.unit.verify.test_verify_honest import verdict_text

SAMPLE = 150


def small_world() -> Draft:
    def more(log: Log) -> None:
        log.erase("e1", log.segments["chat0"], 3)

    log = world(more=more)
    draft = Draft(
        log, query_of(strength="B", redact={"model": "trade"}), withhold={("chat0", 1): "privilege"}
    )
    draft.trust |= {"cosigners": [AUDITOR.vkey]}
    draft.members["audit/verdict"] = note(verdict_text(log, ["chat0", "chat2"]), [AUDITOR])
    draft.members |= {"loadfile/a.csv": b"a\r\n", "tokens/t.tsr": b"token"}
    return draft


def refuse_flips(folder: Path, flips: list[tuple[int, int]], data: bytes) -> None:
    arguments = files(small_world(), folder)
    package = Path(str(arguments[0]))
    assert examine(arguments).exit_code == 0
    for place, bit in flips:
        package.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        verdict = examine(arguments)
        assert verdict.exit_code in (1, 2), (place, bit)
        if verdict.exit_code == 1:
            assert verdict.document["valid"] is False
            assert verdict.findings
            assert "verifier.exception" not in verdict.codes, (place, bit, verdict.findings)


def test_sampled_bits(tmp_path: Path) -> None:
    data, chance = small_world().close(), random.Random(11)
    refuse_flips(tmp_path, [(chance.randrange(len(data)), chance.randrange(8)) for _ in range(SAMPLE)], data)


def test_cut_anywhere(tmp_path: Path) -> None:
    data, chance = small_world().close(), random.Random(12)
    arguments = files(small_world(), tmp_path)
    for _ in range(40):
        Path(str(arguments[0])).write_bytes(data[: chance.randrange(len(data))])
        assert examine(arguments).exit_code in (1, 2)


def test_a_member_touched_with_a_manifest_made_again(tmp_path: Path) -> None:
    """MANIFEST is signed again over a changed member: only what no proof binds passes, as the report says."""
    unbound = {"README.txt", "loadfile/a.csv", "scelle_verify.py", "tokens/t.tsr"}
    honest, chance = small_world().all_members(), random.Random(13)
    for name, data in honest.items():
        for _ in range(6):
            if not data:
                continue
            place = chance.randrange(len(data))
            draft = small_world()
            draft.members[name] = (
                data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
            )
            verdict = examine(files(draft, tmp_path))
            assert "verifier.exception" not in verdict.codes, verdict.findings
            assert (verdict.exit_code == 0) == (name in unbound), (name, place, verdict.findings)


@pytest.mark.long
@pytest.mark.parametrize("part", range(16))
def test_every_byte(part: int, tmp_path: Path) -> None:
    data, chance = small_world().close(), random.Random(part)
    refuse_flips(tmp_path, [(place, chance.randrange(8)) for place in range(part, len(data), 16)], data)
