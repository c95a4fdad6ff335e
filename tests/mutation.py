"""Mutation testing of the proof code: change one thing at a time and see whether a test notices.

    python -m tests.mutation [merkle] [verify] [--only NAME] [--again] [--quick]

The changes are those of mutmut's operators; its runner is not used, because it starts a whole pytest session for
each of the verifier's 11,000 mutants. Here the tests are collected once, each line is mapped to the tests that
execute it, and each mutant is a fork of that process in which one function has other code. A fork runs the tests
of the changed line, the likeliest first, and ends at the first failure.

What is left out, and counted: *wording*, that is arguments of parameters named `detail` or `what`, help texts and
the constants of `WORDING`; they are what a person reads and no check. A survivor is explained in
`tests/mutation-survivors.txt`, one by one or as a class. Killed mutants are remembered in `mutants/` until their
function changes, so that a run can be stopped and continued; nothing in `src` is ever touched. A mutant that could
not be run, because its function cannot be installed or pytest itself failed, is *broken*: never remembered, exit 1.
"""

import argparse
import ast
import collections
import contextlib
import difflib
import functools
import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import coverage
import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).parents[1]
EXPLAINED = ROOT / "tests" / "mutation-survivors.txt"
STATE = ROOT / "mutants"
CHILDREN = 2
GIGABYTE = 1 << 30
LIKELY = 120  # tests that a mutant meets in the first round
QUICK = 0.3  # seconds; a test that takes longer waits for the second round
SLOW = 3.0  # seconds; a test that takes longer is no test of a mutant
DEFINED = 10.0  # seconds; a constant whose definition takes longer would be noticed when it is imported
SURVIVED, KILLED, BROKEN = range(3)  # exit codes of the process of one mutant
AT_ONCE = "at once"  # the killer of a constant whose definition fails


@dataclass(frozen=True)
class Target:
    """Name what is changed and which tests must notice it.

    `pure` are functions whose results are remembered between tests and mutants of other functions.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    pure: tuple[str, ...] = ()
    wording: tuple[str, ...] = ()
    says: tuple[tuple[str, str], ...] = ()  # class and method that are called with the code of a finding


TARGETS = {
    "merkle": Target(
        ("scelle.merkle.hashing", "scelle.merkle.proofs", "scelle.merkle.tiles"),
        ("tests/unit/merkle", "tests/property/test_merkle.py", "tests/conformance/test_vectors.py"),
    ),
    # The tests that change every byte, and those that start programs, would be slow and kill nothing more.
    "verify": Target(
        ("scelle.verify.scelle_verify",),
        (
            "tests/unit/verify/test_verify_tools.py",
            "tests/unit/verify/test_verify_report.py",
            "tests/unit/verify/test_verify_report_shape.py",
            "tests/unit/verify/test_verify_constants.py",
            "tests/unit/verify/test_verify_limits.py",
            "tests/unit/verify/test_verify_exact_findings.py",
            "tests/unit/verify/test_verify_honest.py",
            "tests/unit/verify/test_verify_command.py",
            "tests/unit/verify/test_verify_forged_answers.py",
            "tests/unit/verify/test_verify_forged_log.py",
            "tests/unit/verify/test_verify_formats.py",
            "tests/unit/verify/test_verify_signatures.py",
            "tests/unit/verify/test_verify_archives.py",
            "tests/conformance/test_verifier_packages.py",
            "tests/conformance/test_verifier_vectors.py",
            "tests/conformance/test_wrong_vectors.py",
        ),
        pure=("ed25519_verify", "mldsa44_verify"),
        wording=("ADVICE", "COUNT", "LIMITS", "REPORT", "STRENGTHS"),
        says=(("Findings", "add"), ("Fault", "__init__")),
    ),
}
CODE = re.compile(r'"([a-z]+\.[a-z_]+)"')
SPOKEN = {"detail", "what"}  # parameters and variables that carry words for people
SPEAKING = {"Unreadable", "add_argument", "ArgumentParser"}  # callables of words, not defined in the file


@dataclass
class Mutant:
    """Hold one changed function or statement of a module."""

    module: str
    name: str  # qualified name of the function, or of the constant
    change: str  # the changed lines, before and after, as tests/mutation-survivors.txt quotes them
    source: tuple[int, int, int, int, str]  # first and last line of the function; of the change; its new text
    lines: set[int]
    is_function: bool
    key: str = ""
    killer: str | None = None
    tests: set[int] = field(default_factory=set)


# -- making mutants --------------------------------------------------------------------------------------


class Visitor(MutationVisitor):
    """Mutate decorated functions too: they are never copied here, only their code is exchanged."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        return bool(super()._skip_node_and_children(node))


def functions(module: cst.Module) -> Iterator[tuple[str, cst.FunctionDef]]:
    """Yield the functions and methods of a module with their qualified names."""
    for statement in module.body:
        if isinstance(statement, cst.FunctionDef):
            yield statement.name.value, statement
        elif isinstance(statement, cst.ClassDef):
            for method in statement.body.body:
                if isinstance(method, cst.FunctionDef):
                    yield f"{statement.name.value}.{method.name.value}", method


class Wording(cst.CSTVisitor):
    """Collect the expressions that are words for people, by the names of what they are given to."""

    def __init__(self, module: cst.Module) -> None:
        self.nodes: set[int] = set()
        self.calls: dict[int, set[int]] = {}  # call -> indices of arguments that are words
        self.signatures: dict[str, list[list[str]]] = collections.defaultdict(list)
        module.visit(Signatures(self.signatures))

    def add(self, node: cst.CSTNode) -> None:
        self.nodes.add(id(node))
        for child in node.children:
            self.add(child)

    def spoken(self, call: cst.Call) -> Iterator[int]:
        name = call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
        name = call.func.value if isinstance(call.func, cst.Name) else name
        shapes = [shape for shape in self.signatures.get(name, []) if len(shape) >= len(call.args)]
        shapes.sort(key=len)
        for index, arg in enumerate(call.args):
            if arg.keyword is not None:
                if arg.keyword.value in SPOKEN | {"help", "description", "epilog", "metavar", "prog"}:
                    yield index
            elif name in SPEAKING or (shapes and shapes[0][index] in SPOKEN):
                yield index

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802  (libcst names it)
        self.calls[id(node)] = set(self.spoken(node))
        for index in self.calls[id(node)]:
            self.add(node.args[index].value)

    def visit_Assign(self, node: cst.Assign) -> None:  # noqa: N802  (libcst names it)
        if any(isinstance(t.target, cst.Name) and t.target.value in SPOKEN for t in node.targets):
            self.add(node)


class Signatures(cst.CSTVisitor):
    """Collect the parameter names of every function, method and constructor of a file."""

    def __init__(self, into: dict[str, list[list[str]]]) -> None:
        self.into, self.classes = into, list[str]()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802  (libcst names it)
        self.classes.append(node.name.value)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:  # noqa: N802  (libcst names it)
        self.classes.pop()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802  (libcst names it)
        names = [param.name.value for param in node.params.params]
        if names[:1] == ["self"]:
            names = names[1:]
        name = node.name.value
        self.into[self.classes[-1] if name == "__init__" and self.classes else name].append(names)


def mutants_of(module_name: str, wording: tuple[str, ...]) -> tuple[list[Mutant], int]:
    """Return the mutants of a module, and how many more are wording."""
    lines = lines_of(module_name)
    wrapper = MetadataWrapper(cst.parse_module("".join(lines)), unsafe_skip_copy=True)
    module = wrapper.module
    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    words = Wording(module)
    module.visit(words)
    spans = wrapper.resolve(WhitespaceInclusivePositionProvider)
    wholes = dict(units(module, wrapper.resolve(PositionProvider)))
    made, spoken, seen = list[Mutant](), 0, collections.Counter[str]()
    for mutation in visitor.mutations:
        node, span = mutation.original_node, spans.get(mutation.original_node)
        if id(node) not in wholes or span is None:
            continue
        name, is_function, first, last = wholes[id(node)]
        if id(node) in words.nodes or name in wording or only_words(words, node, mutation.mutated_node):
            spoken += 1
            continue
        start, end = span.start, span.end
        before = "".join(lines[start.line - 1 : end.line])
        after = before[: start.column] + module.code_for_node(mutation.mutated_node)
        after += lines[end.line - 1][end.column :]
        if before == after:
            continue
        whole = first, last, start.line, end.line, after
        change = difference(before, after)
        seen[name + change] += 1
        mutant = Mutant(module_name, name, change, whole, set(range(start.line, end.line + 1)), is_function)
        known_by = [module_name, name, "".join(lines[first - 1 : last]), change, seen[name + change]]
        mutant.key = hashlib.sha256(json.dumps(known_by).encode()).hexdigest()[:20]
        made.append(mutant)
    return made, spoken


def everything(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield a node and all below it."""
    yield node
    for child in node.children:
        yield from everything(child)


def units(
    module: cst.Module, positions: Mapping[cst.CSTNode, Any]
) -> Iterator[tuple[int, tuple[str, bool, int, int]]]:
    """Yield (node, (name, whether it is a function, first line, last line)) for all nodes that can change."""
    for name, owner in functions(module):
        place = name, True, positions[owner.name].start.line, positions[owner].end.line
        yield from ((id(node), place) for node in everything(owner.body))
    for statement in module.body:
        name = constant_of(statement)
        if name:
            span = positions[statement]
            place = name, False, span.start.line, span.end.line
            yield from ((id(node), place) for node in everything(statement))


def constant_of(statement: cst.CSTNode) -> str:
    """Return the name that a statement of a module defines, or nothing."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return ""
    for part in statement.body:
        if isinstance(part, cst.Assign) and isinstance(part.targets[0].target, cst.Name):
            return part.targets[0].target.value
        if isinstance(part, cst.AnnAssign) and isinstance(part.target, cst.Name):
            return part.target.value
    return ""


def only_words(words: Wording, node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """Tell whether a changed call differs in an argument of words alone."""
    if not (isinstance(node, cst.Call) and isinstance(mutated, cst.Call)):
        return False
    if len(node.args) != len(mutated.args):
        return False
    return any(node.args[index] is not mutated.args[index] for index in words.calls.get(id(node), ()))


def difference(before: str, after: str) -> str:
    """Return the changed lines, those before with `-` and those after with `+`."""
    old, new = before.splitlines(), after.splitlines()
    lines = list[str]()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines += ["- " + line.strip() for line in old[a:b]] + ["+ " + line.strip() for line in new[c:d]]
    return "\n".join(lines)


# -- running them ----------------------------------------------------------------------------------------


@functools.cache
def lines_of(module: str) -> list[str]:
    """Return the lines of a module as they are when it is first asked for."""
    path = Path(importlib.import_module(module).__file__ or "")
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def install(mutant: Mutant) -> None:
    """Exchange the code of a function wherever it is referred to, or define a constant again."""
    module = importlib.import_module(mutant.module)
    space = dict(vars(module))
    holder, _, name = mutant.name.rpartition(".")
    head = "from __future__ import annotations\n" + ("class Holder:\n" if holder else "")
    lines = lines_of(mutant.module)
    first, last, start, end, after = mutant.source
    text = "".join(lines[first - 1 : start - 1]) + after + "".join(lines[end:last])
    exec(compile(head + text, f"<{mutant.name}>", "exec"), space)
    if not mutant.is_function:
        setattr(module, name, space[name])
        return
    new = vars(space["Holder"])[name] if holder else space[name]
    old = function_of(module, mutant.name)
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def function_of(module: ModuleType, name: str) -> FunctionType:
    """Return the innermost function of this qualified name."""
    holder: Any = module
    for part in name.split("."):
        holder = vars(holder)[part]
    while not isinstance(holder, FunctionType) or hasattr(holder, "__wrapped__"):
        holder = holder.fget if isinstance(holder, property) else holder.__wrapped__
    return holder


def remember(function: Callable[..., Any], store: dict[Any, Any]) -> Callable[..., Any]:
    """Return a function that computes each answer once."""

    def remembered(*args: Any) -> Any:
        if args not in store:
            store[args] = function(*args)
        return store[args]

    remembered.__wrapped__ = function  # type: ignore[attr-defined]
    return remembered


class Session:
    """Take the place of pytest's loop over tests: measure them once, then run the mutants."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.target, self.quick = name, TARGETS[name], options.quick
        self.only, self.again = options.only, options.again
        self.store: dict[Any, Any] = {}
        self.failed = False
        self.items: list[pytest.Item] = []
        self.seconds: list[float] = []
        self.by_time: list[int] = []
        self.said: list[set[str]] = []  # by each test: codes of findings
        self.killers: dict[str, list[int]] = collections.defaultdict(list)
        self.mutants: list[Mutant] = []
        self.wording = 0
        self.survivors: list[Mutant] = []
        self.unreached: list[Mutant] = []
        self.broken: list[Mutant] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, in whichever phase of a test."""
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run everything."""
        self.items = session.items
        for name in self.target.pure:
            module = importlib.import_module(self.target.modules[0])
            setattr(module, name, remember(vars(module)[name], self.store))
        for module_name in self.target.modules:
            with multiprocessing.get_context("fork").Pool(
                1
            ) as pool:  # syntax trees would make each fork heavy
                made, spoken = pool.apply(mutants_of, (module_name, self.target.wording))
            self.mutants += [mutant for mutant in made if self.only in mutant.name]
            self.wording += spoken
        STATE.mkdir(exist_ok=True)
        reached = self.measure()
        for mutant in self.mutants:
            lines = [reached[mutant.module, line] for line in mutant.lines]
            numbers = lines[0] if len(lines) == 1 else set[int]().union(*lines)
            if not mutant.is_function:
                numbers = self.tests_of_constant(mutant, reached)
            mutant.tests = numbers
        self.by_time = sorted(range(len(self.items)), key=lambda i: self.seconds[i])
        gc.collect()
        gc.freeze()
        print(f"{len(self.items)} tests take {sum(self.seconds):.0f} s", flush=True)
        self.run_all()
        return True

    def ordered(self, mutant: Mutant) -> list[int]:
        """Order tests: those that provoke what is said beside the change, then what its function says, then others.

        What is said are texts like `record.rc`: the codes of findings, which a forged package provokes.
        """
        lines = lines_of(mutant.module)
        first, last, start, end, _ = mutant.source
        near = set(CODE.findall("".join(lines[max(first, start - 3) - 1 : min(last, end + 3)])))
        far = set(CODE.findall("".join(lines[first - 1 : last])))
        likely = [i for i in self.killers[mutant.name] if i in mutant.tests][:12]
        rest = [i for i in self.by_time if i in mutant.tests]
        close = sorted((i for i in rest if near & self.said[i]), key=lambda i: len(self.said[i]))
        wider = sorted((i for i in rest if far & self.said[i]), key=lambda i: len(self.said[i]))
        return list(dict.fromkeys([*likely, *rest[::100], *close, *wider[:200], *rest[::16], *rest]))

    def tests_of_constant(self, mutant: Mutant, reached: dict[tuple[str, int], set[int]]) -> set[int]:
        """Return the tests of the functions that refer to a constant, and those that call nothing."""
        everywhere = set[int]().union(*reached.values())
        numbers = {i for i, seconds in enumerate(self.seconds) if seconds < 0.1 and i not in everywhere}
        for node in ast.walk(ast.parse("".join(lines_of(mutant.module)))):
            if isinstance(node, ast.Name) and node.id == mutant.name:
                numbers |= reached[mutant.module, node.lineno]
        return numbers

    def listen(self, owner: str, method: str) -> None:
        """Note the first argument of each call of a method."""
        holder = vars(importlib.import_module(self.target.modules[0]))[owner]
        heard = vars(holder)[method]

        def say(me: Any, code: str, *rest: Any) -> Any:
            self.said[-1].add(str(code))
            return heard(me, code, *rest)

        say.__wrapped__ = heard  # type: ignore[attr-defined]
        setattr(holder, method, say)

    def run_item(self, number: int) -> bool:
        """Run one test; tell whether it passed."""
        self.failed = False
        item = self.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def measure(self) -> dict[tuple[str, int], set[int]]:
        """Run every test once; return which tests reach each line, slow ones left out."""
        files = {str(importlib.import_module(name).__file__): name for name in self.target.modules}
        for owner, method in self.target.says:
            self.listen(owner, method)
        measured = coverage.Coverage(data_file=None, include=list(files), config_file=False)
        for number, item in enumerate(self.items):
            self.said.append(set())
            start = time.monotonic()
            measured.start()
            measured.switch_context(str(number))
            passed = self.run_item(number)
            measured.stop()
            self.seconds.append(time.monotonic() - start)
            if not passed:
                sys.exit(f"{item.nodeid} fails without any mutant")
        reached: dict[tuple[str, int], set[int]] = collections.defaultdict(set)
        data = measured.get_data()
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                numbers = {int(context) for context in contexts if context}
                reached[files[file], line] = {i for i in numbers if self.seconds[i] < SLOW}
        return reached

    def run_all(self) -> None:
        """Run the mutants that were not killed before, two at a time."""
        memory = STATE / f"{self.name}.jsonl"
        known = dict[str, str]()
        if memory.exists() and not self.again:
            known = dict(json.loads(line) for line in memory.read_text(encoding="utf-8").splitlines())
        waiting = collections.deque[Mutant]()
        for mutant in self.mutants:
            mutant.killer = known.get(mutant.key)
            if mutant.killer == AT_ONCE and mutant.is_function:
                mutant.killer = None  # remembered when a fault of this file still counted as a kill
            if mutant.killer is None:
                (waiting if mutant.tests else self.unreached).append(mutant)
        # First each with a few of its tests, which kill nearly all; then what is left with all of them.
        waiting = collections.deque(sorted(waiting, key=lambda mutant: not mutant.is_function))
        explained = Explanations(EXPLAINED.read_text(encoding="utf-8"))
        thorough = False
        shown = len(waiting)
        total, begun = len(waiting), time.monotonic()
        running: dict[int, tuple[Mutant, int]] = {}
        with memory.open("a", encoding="utf-8") as file:
            while waiting or running or not thorough:
                if not waiting and not running:
                    print(f"{len(self.survivors)} survive the likely tests", flush=True)
                    waiting.extend(m for m in self.survivors if not self.quick and not explained.covers(m))
                    self.survivors = [m for m in self.survivors if m not in waiting]
                    thorough, total, shown = True, len(waiting), len(waiting)
                    continue
                if waiting and len(running) < CHILDREN:
                    mutant = waiting.popleft()
                    pid, pipe = self.fork(mutant, thorough)
                    running[pid] = mutant, pipe
                    continue
                pid, status = os.wait()
                mutant, pipe = running.pop(pid)
                said = os.read(pipe, 100)
                os.close(pipe)
                end = os.waitstatus_to_exitcode(status)
                if end == SURVIVED:
                    self.survivors.append(mutant)
                    print(f"SURVIVED {mutant.name}\n{mutant.change}\n", flush=True)
                    continue
                if end not in (KILLED, -signal.SIGALRM):
                    self.broken.append(mutant)
                    print(f"BROKEN {mutant.name}\n{mutant.change}\n", flush=True)
                    continue
                number = int(said.split()[-1]) if said else -1
                mutant.killer = self.items[number].nodeid if number >= 0 else AT_ONCE
                if end == -signal.SIGALRM:
                    mutant.killer = "a test took too long"
                order = self.killers[mutant.name]
                if number >= 0:
                    with contextlib.suppress(ValueError):
                        order.remove(number)
                    order.insert(0, number)
                file.write(json.dumps([mutant.key, mutant.killer]) + "\n")
                file.flush()
                left = len(waiting) + len(running)
                if left < shown - 200:
                    shown = left
                    print(f".. {left} of {total} left, {time.monotonic() - begun:.0f} s", flush=True)

    def fork(self, mutant: Mutant, thorough: bool) -> tuple[int, int]:
        """Start a process that runs the tests of one mutant; return its id and the pipe of its progress."""
        order = self.ordered(mutant)
        order = order if thorough else [i for i in order if self.seconds[i] < QUICK][:LIKELY]
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return pid, reader
        status = BROKEN  # until it is known what the mutant does: what raises is a fault of this file
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_AS, (6 * GIGABYTE, 6 * GIGABYTE))
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            signal.setitimer(signal.ITIMER_REAL, DEFINED)  # a power without its modulus never ends
            try:
                install(mutant)
            except Exception:
                if not mutant.is_function:  # a constant whose definition fails would fail when it is imported
                    status = KILLED
                raise
            if any(mutant.name in (name, "") or self.is_below(mutant.name) for name in self.target.pure):
                self.store.clear()
            passed = True
            for number in order:
                signal.setitimer(signal.ITIMER_REAL, 2 + 10 * self.seconds[number])
                try:
                    passed = self.run_item(number)
                except MemoryError:  # beyond what pytest itself can note
                    passed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                if not passed:
                    os.write(writer, b"%d" % number)
                    break
            status = SURVIVED if passed else KILLED
        finally:
            os._exit(status)

    def is_below(self, name: str) -> bool:
        """Tell whether a pure function may call this one, so that nothing remembered holds."""
        module = importlib.import_module(self.target.modules[0])
        todo, seen = list(self.target.pure), set[str]()
        while todo:
            current = todo.pop()
            found = vars(module).get(current)
            if current in seen or found is None:
                continue
            seen.add(current)
            if callable(found) and not isinstance(found, type):
                todo += names_in(function_of(module, current).__code__)
        return name in seen

    def report(self) -> int:
        """Print the counts, what nobody has explained and what could not be run; return how many these are."""
        explained = Explanations(EXPLAINED.read_text(encoding="utf-8"))
        new = [m for m in self.survivors + self.unreached if not explained.covers(m)]
        killed = [m for m in self.mutants if m.killer is not None]
        at_once = sum(mutant.killer == AT_ONCE for mutant in killed)
        print(
            f"{self.name}: {len(self.mutants)} mutants ({self.wording} more are wording): {len(killed)} killed "
            f"({at_once} of them at once), {len(self.survivors)} survive, {len(self.unreached)} not reached, "
            f"{len(self.broken)} broken; {len(new)} not explained"
        )
        for mutant in new:
            print(f"\n{mutant.name}{'' if mutant.tests else ' (not reached)'}\n{mutant.change}")
        for mutant in self.broken:
            print(f"\n{mutant.name} (broken)\n{mutant.change}")
        return len(new) + len(self.broken)


def names_in(code: Any) -> list[str]:
    """Return the global names that a code object and those inside it refer to."""
    inner = [name for const in code.co_consts if hasattr(const, "co_names") for name in names_in(const)]
    return [*code.co_names, *inner]


class Explanations:
    """Read tests/mutation-survivors.txt: quoted changes, and lines `~ FUNCTION ~ REGEX` for classes of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        lines = [line[2:].split(" ~ ", 1) for line in text.splitlines() if line.startswith("~ ")]
        self.classes = [(re.compile(name), re.compile(change, re.DOTALL)) for name, change in lines]

    def covers(self, mutant: Mutant) -> bool:
        """Tell whether a survivor is explained."""
        if mutant.change + "\n" in self.text:
            return True
        return any(
            name.fullmatch(mutant.name) and change.search(mutant.change) for name, change in self.classes
        )


def main() -> int:
    """Run the targets; return 1 if a survivor is not explained, or if mutants or tests could not be run."""
    parser = argparse.ArgumentParser(description="Mutation testing of merkle and verify.")
    parser.add_argument("targets", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--only", metavar="NAME", default="", help="only functions whose name contains this")
    parser.add_argument("--again", action="store_true", help="forget what was killed before")
    parser.add_argument("--quick", action="store_true", help="only the likely tests of each mutant")
    options = parser.parse_args()
    bad = 0
    os.chdir(ROOT)
    for name in options.targets:
        session = Session(name, options)
        with tempfile.TemporaryDirectory(prefix="scelle-mutation-") as work:
            arguments = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist", "--capture=no"]
            arguments += ["-o", "timeout=0", "-o", "addopts=", "-o", "tmp_path_retention_policy=none"]
            arguments += [f"--basetemp={work}/t", *TARGETS[name].tests]
            ended = pytest.main(arguments, plugins=[session])
        bad += session.report() + (ended != pytest.ExitCode.OK)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
