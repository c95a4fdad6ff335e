"""Mutation testing itself: a fault of its own is never counted as a mutant that a test noticed."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import argparse, json, os, pathlib, signal, sys
from tests import mutation

mutation.STATE = pathlib.Path(sys.argv[1])
mutation.EXPLAINED = mutation.STATE / "explained.txt"
mutation.EXPLAINED.write_text("")
HASHING = "scelle.merkle.hashing"


class Test:
    nodeid = "a test"


def mutant(name, text, function):
    made = mutation.Mutant(HASHING, name, "+ " + text, (1, 1, 1, 1, text), {1}, function, key=name + text)
    made.tests = {0}
    return made


def behave(number):
    text = mutation.lines_of("now")[0]
    if text == "raise":
        raise ValueError("a fault of the machinery")
    if text == "memory":
        raise MemoryError
    if text in ("SIGALRM", "SIGKILL"):
        os.kill(os.getpid(), signal.Signals[text])
    return text == "pass"


def install(mutant):
    text = mutant.source[4]
    mutation.lines_of = lambda _: [text]
    if text not in ("raise", "memory", "SIGALRM", "SIGKILL", "pass", "fail"):
        honest(mutant)


honest, mutation.install = mutation.install, install
session = mutation.Session("merkle", argparse.Namespace(quick=True, only="", again=False))
session.items, session.seconds, session.by_time, session.said = [Test()], [0.0], [0], [set()]
session.run_item = behave
session.mutants = [mutant(*given) for given in json.loads(sys.argv[2])]
session.run_all()
print("=====")
print(session.report())
"""


def judge(folder: Path, *mutants: tuple[str, str, bool]) -> tuple[list[str], str, int]:
    """Run mutants of (name, text, whether a function); return remembered killers, report and its count."""
    arguments = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(mutants)]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    memory = (folder / "merkle.jsonl").read_text(encoding="utf-8").splitlines()
    *report, count = done.stdout.split("=====\n")[1].splitlines()
    return sorted(": ".join(json.loads(line)) for line in memory), "\n".join(report), int(count)


def test_a_function_that_cannot_be_run_is_broken_and_not_remembered(tmp_path: Path) -> None:
    texts = ("def f(:\n", "g = 1\n", "raise", "SIGKILL")
    remembered, report, count = judge(
        tmp_path, *(("f", text, True) for text in texts), ("c", "c = 1 / 0\n", False)
    )
    assert remembered == ["cc = 1 / 0\n: at once"]  # a constant that cannot be defined would be noticed
    assert "1 killed (1 of them at once), 0 survive, 0 not reached, 4 broken; 0 not explained" in report
    for text in texts:
        assert f"f (broken)\n+ {text}" in report
    assert count == 4


def test_what_a_test_notices_is_remembered(tmp_path: Path) -> None:
    given = [("f", text, True) for text in ("fail", "memory", "SIGALRM", "pass")]
    remembered, report, count = judge(tmp_path, *given)
    assert remembered == ["fSIGALRM: a test took too long", "ffail: a test", "fmemory: a test"]
    assert "3 killed (0 of them at once), 1 survive, 0 not reached, 0 broken; 1 not explained" in report
    assert count == 1


def test_functions_once_remembered_as_killed_at_once_are_run_again(tmp_path: Path) -> None:
    memory = tmp_path / "merkle.jsonl"
    old = [["ffail", "at once"], ["fraise", "at once"], ["cpass", "at once"]]
    memory.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    given = [("f", "fail", True), ("f", "raise", True), ("c", "pass", False)]
    remembered, report, count = judge(tmp_path, *given)
    assert len(remembered) == 4
    assert "ffail: a test" in remembered
    assert "2 killed (1 of them at once), 0 survive, 0 not reached, 1 broken" in report
    assert count == 1
