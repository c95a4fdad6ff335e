"""What each program is asked to do, so that all of them do the same work.

Four steps are measured: a first copy, an unchanged second pass, a verification that recomputes every digest,
and everything written out again. Making an empty store is never measured.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from benchmarks.measure import Command, run, tree_size

BAGIT = "bagit==1.9.0"
ORDER_ID = "bench"
ORDER = f"""\
[order]
id = "{ORDER_ID}"
matter = "bench"
type = "dsa-retention"
authority = "An authority"
addressee = "A platform"
legal_basis = "Benchmark"
reference = "BENCH-1"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "all"
sources = ["docs"]
paths = ["**/*"]
"""


class Step(Enum):
    """The measured steps, in the order in which they run."""

    FIRST = "first copy"
    AGAIN = "unchanged second pass"
    VERIFY = "verify, every digest recomputed"
    RESTORE = "produce or restore everything"


class Skipped(Exception):
    """Say in a word why a contestant does not take part."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one contestant works in one run: the corpus, its store, what it writes out, its log."""

    corpus: Path
    home: Path

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def out(self) -> Path:
        return self.home / "out"

    @property
    def log(self) -> Path:
        return self.home / "log.txt"

    @property
    def secret(self) -> Path:
        return self.home / "secret"


class Contestant(Protocol):
    """A program that keeps copies of files."""

    name: str

    def version(self) -> str:
        """Return the program's version; install it first where that is possible, else raise Skipped."""
        ...

    def prepare(self, place: Place) -> None:
        """Make an empty store; not measured."""
        ...

    def commands(self, step: Step, place: Place) -> list[Command]:
        """Return the commands of one step; none where the program has no such step."""
        ...

    def written_out(self, place: Place) -> tuple[int, int]:
        """Return how many files were written out by the last step, and how many bytes they hold."""
        ...


def first_line(*argv: str) -> str:
    """Return the first line that a program prints, for versions."""
    output = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return (output.stdout or output.stderr).strip().split("\n", maxsplit=1)[0]


def install_debian_package(program: str, package: str) -> None:
    """Make sure that `program` is there, by apt-get where we may; raise Skipped otherwise."""
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Skipped(f"{program} is not installed (apt-get install {package})")
    subprocess.run(["apt-get", "install", "-y", "-q", package], capture_output=True, check=False)
    if not shutil.which(program):
        raise Skipped(f"{program} is not installed and apt-get could not install {package}")


class Scelle:
    """Scellé: one source, one order whose only clause covers everything."""

    name = "scelle"

    def version(self) -> str:
        if not shutil.which("scelle"):
            raise Skipped("scelle is not on PATH (make venv)")
        if subprocess.run(["scelle", "preserve", "--help"], capture_output=True, check=False).returncode:
            raise Skipped("this scelle has no `preserve` yet")
        return first_line(sys.executable, "-c", "import importlib.metadata as m; print(m.version('scelle'))")

    def prepare(self, place: Place) -> None:
        order = place.home / "order.toml"
        order.write_text(ORDER)
        for arguments in (
            ["init", str(place.store), "--host", "bench.example.org", "--key-file", str(place.secret)],
            ["source", "add", "docs", f"files://{place.corpus}"],
            ["order", "add", str(order)],
        ):
            run(self._scelle(place, *arguments), place.log)

    def commands(self, step: Step, place: Place) -> list[Command]:
        match step:
            case Step.FIRST | Step.AGAIN:
                return [self._scelle(place, "preserve", ORDER_ID, "--json")]
            case Step.VERIFY:
                return [self._scelle(place, "verify", "--json")]
            case Step.RESTORE:
                target = ["--to", str(self._package(place)), "--json"]
                return [self._scelle(place, "produce", ORDER_ID, "--source", "docs", *target)]

    def written_out(self, place: Place) -> tuple[int, int]:
        with zipfile.ZipFile(self._package(place)) as package:
            items = [member for member in package.infolist() if member.filename.startswith("items/")]
        return len(items), sum(item.file_size for item in items)

    def _scelle(self, place: Place, *arguments: str) -> Command:
        env = {"SCELLE_VAULT": str(place.store), "SCELLE_KEY_FILE": str(place.secret)}
        # An installed package has its byte code; a checkout under `make`, which wants none beside the sources,
        # would compile everything at each start.
        byte_code = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place.home / "pycache")}
        return Command(["scelle", *arguments], env=env | byte_code)

    def _package(self, place: Place) -> Path:
        place.out.mkdir(exist_ok=True)
        return place.out / "everything.scelle"


class Restic:
    """restic with its defaults: repository format 2, automatic compression, a password file."""

    name = "restic"

    def version(self) -> str:
        install_debian_package("restic", "restic")
        return first_line("restic", "version")

    def prepare(self, place: Place) -> None:
        place.secret.write_text("benchmark\n")
        run(self._restic(place, "init"), place.log)

    def commands(self, step: Step, place: Place) -> list[Command]:
        match step:
            case Step.FIRST | Step.AGAIN:
                return [self._restic(place, "backup", str(place.corpus))]
            case Step.VERIFY:
                return [self._restic(place, "check", "--read-data")]
            case Step.RESTORE:
                return [self._restic(place, "restore", "latest", "--target", str(place.out))]

    def written_out(self, place: Place) -> tuple[int, int]:
        return tree_size(place.out)

    def _restic(self, place: Place, *arguments: str) -> Command:
        options = ["--repo", str(place.store), "--password-file", str(place.secret)]
        return Command(["restic", *options, "--cache-dir", str(place.home / "cache"), *arguments])


class Borg:
    """borg 1.x; `repokey` is AES-256-CTR with HMAC-SHA-256, fast where the processor has SHA extensions."""

    def __init__(self, name: str, compression: str, encryption: str = "repokey") -> None:
        self.name = name
        self._compression = compression
        self._encryption = encryption

    def version(self) -> str:
        install_debian_package("borg", "borgbackup")
        return f"{first_line('borg', '--version')}, {self._encryption}, {self._compression}"

    def prepare(self, place: Place) -> None:
        run(self._borg(place, "init", "--encryption", self._encryption), place.log)

    def commands(self, step: Step, place: Place) -> list[Command]:
        match step:
            case Step.FIRST | Step.AGAIN:
                archive = f"::{step.name.lower()}"
                return [
                    self._borg(
                        place, "create", "--compression", self._compression, archive, str(place.corpus)
                    )
                ]
            case Step.VERIFY:
                return [self._borg(place, "check", "--verify-data")]
            case Step.RESTORE:
                place.out.mkdir(exist_ok=True)
                return [self._borg(place, "extract", "::again", cwd=place.out)]

    def written_out(self, place: Place) -> tuple[int, int]:
        return tree_size(place.out)

    def _borg(self, place: Place, *arguments: str, cwd: Path | None = None) -> Command:
        env = {
            "BORG_REPO": str(place.store),
            "BORG_PASSPHRASE": "benchmark",
            "BORG_BASE_DIR": str(place.home / "base"),
            "BORG_DISPLAY_PASSPHRASE": "no",
        }
        return Command(["borg", *arguments], cwd=cwd, env=env)


class Bagit:
    """bagit with SHA-256 on a plain copy: no deduplication, no compression, no encryption, no second pass."""

    name = "bagit"

    def __init__(self, work: Path) -> None:
        self._venv = work / "bagit-venv"

    def version(self) -> str:
        python = self._venv / "bin" / "python"
        if not self._program.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(self._venv)], check=True)
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", BAGIT]
            if subprocess.run(pip, capture_output=True, check=False).returncode:
                raise Skipped(f"{BAGIT} could not be installed from PyPI")
        return first_line(str(python), "-W", "ignore", str(self._program), "--version")

    def prepare(self, place: Place) -> None:
        del place

    def commands(self, step: Step, place: Place) -> list[Command]:
        match step:
            case Step.FIRST:
                copy = Command(["cp", "-a", str(place.corpus), str(place.store)])
                return [copy, self._bagit("--sha256", str(place.store))]
            case Step.AGAIN:
                return []
            case Step.VERIFY:
                return [self._bagit("--validate", str(place.store))]
            case Step.RESTORE:
                return [Command(["cp", "-a", str(place.store / "data"), str(place.out)])]

    def written_out(self, place: Place) -> tuple[int, int]:
        return tree_size(place.out)

    @property
    def _program(self) -> Path:
        return self._venv / "bin" / "bagit.py"

    def _bagit(self, *arguments: str) -> Command:
        return Command([str(self._venv / "bin" / "python"), str(self._program), "--quiet", *arguments])


DEFAULT = ("scelle", "restic", "borg", "borg-zstd", "bagit")
"""Who runs when nobody is named; `borg-blake2` is the slower one where processors have SHA extensions."""


def all_contestants(work: Path) -> list[Contestant]:
    """Return every contestant, Scellé first, in the order in which they run and are shown."""
    return [
        Scelle(),
        Restic(),
        Borg("borg", "lz4"),
        Borg("borg-zstd", "zstd,3"),
        Borg("borg-blake2", "lz4", "repokey-blake2"),
        Bagit(work),
    ]
