"""Run the `git` command line on a repository so that it changes nothing, runs nothing and calls nobody."""

import os
import shutil
import subprocess
from contextlib import suppress
from typing import IO, Final, NamedTuple

from scelle.errors import SourceUnreadable
from scelle.formats.tokens import shown

_ENVIRONMENT: Final = {
    # Nothing of whoever runs Scellé has a say: no system or personal configuration, no traces, no other directory.
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # A partial clone would fetch what it lacks. Older versions of git know only the second line.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "false",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
_OPTIONS: Final = (
    "--no-pager",
    "--no-replace-objects",
    "--literal-pathspecs",
    # What a repository's own configuration could otherwise start.
    *(
        "-c",
        "core.fsmonitor=false",
        "-c",
        f"core.hooksPath={os.devnull}",
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=0",
    ),
    # Read objects themselves and no cache of them; stream what is larger than Document.data holds.
    *("-c", "core.commitGraph=false", "-c", "core.bigFileThreshold=8m"),
)


class Answer(NamedTuple):
    """Carry what a command of git wrote, and its exit code."""

    out: bytes
    errors: bytes
    code: int

    @property
    def complaint(self) -> str:
        """Give the last line that git wrote about its failure, shortened."""
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return shown(lines[-1]) if lines else f"git ended with {self.code}"


class Git:
    """Run commands on one repository.

    The repository is always named by `--git-dir`: git looks for no other one further up, and does not ask who
    owns it (`safe.directory`), which protects people who enter a directory of others, not a reader that was told
    which one to read. `work_tree` stands in for the one that its configuration names, which may be gone.
    """

    def __init__(self, git_dir: bytes, source: str, work_tree: bytes | None = None) -> None:
        program = shutil.which("git")
        if program is None:
            raise SourceUnreadable(
                f"source {shown(source)} needs the program git, which is not installed: install it"
            )
        self.git_dir = git_dir
        self._program = program
        self._environment = _environment()
        if work_tree is not None:
            self._environment["GIT_WORK_TREE"] = os.fsdecode(work_tree)

    def run(self, *arguments: str | bytes, given: bytes = b"", timeout_s: float | None = None) -> Answer:
        """Run one command to its end with `given` as its input; what it writes is held in memory.

        One that takes longer than `timeout_s` is ended, and said to have failed.
        """
        try:
            done = subprocess.run(
                self._command(arguments),
                input=given,
                capture_output=True,
                env=self._environment,
                cwd=self.git_dir,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return Answer(
                b"", b"git gave no answer: look for pipes among its files, and among those it includes", -1
            )
        return Answer(done.stdout, done.stderr, done.returncode)

    def start(self, *arguments: str, errors: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start a command whose input and output are read and written by the caller; who stops it, too."""
        return subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors if errors is not None else subprocess.DEVNULL,
            env=self._environment,
            cwd=self.git_dir,
        )

    def _command(self, arguments: tuple[str | bytes, ...]) -> list[str | bytes]:
        return [self._program, *_OPTIONS, b"--git-dir=" + self.git_dir, *arguments]


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a started command, whatever it was doing; a second time does nothing."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was written and not flushed goes nowhere any more
                pipe.close()
    process.wait()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT}
