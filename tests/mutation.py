"""Run mutation testing of the pure proof code and say which survivors nobody has explained.

`make mutation` copies the repository to a temporary folder, so that nothing here is touched. A survivor that
changes no behaviour is explained in `tests/mutation-survivors.txt`: its source line, before and after.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPLAINED = ROOT / "tests" / "mutation-survivors.txt"
TARGETS = {
    "merkle": (
        "src/scelle/merkle",
        ["tests/unit/merkle", "tests/property/test_merkle.py", "tests/conformance/test_vectors.py"],
    ),
    "verify": ("src/scelle/verify", ["tests/unit/verify", "tests/conformance"]),
}


def survivors(target: str) -> list[str]:
    """Return each surviving mutant of `target` as the changed lines."""
    source, tests = TARGETS[target]
    with tempfile.TemporaryDirectory(prefix="scelle-mutation-") as work:
        for name in ("src", "tests", "pyproject.toml", "README.md", "LICENSE"):
            place = ROOT / name
            (shutil.copytree if place.is_dir() else shutil.copy)(place, Path(work) / name)
        with (Path(work) / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[tool.mutmut]\nsource_paths = ["{source}"]\nalso_copy = ["src", "tests"]\n')
            file.write(f"pytest_add_cli_args_test_selection = {tests}\n")
        mutmut = str(Path(sys.executable).with_name("mutmut"))
        with (Path(work) / "log").open("wb") as log:
            subprocess.run(
                [mutmut, "run", "--max-children", "2"], cwd=work, stdout=log, stderr=log, check=False
            )
        listed = subprocess.run(
            [mutmut, "results"], cwd=work, capture_output=True, text=True, check=True
        ).stdout
        names = [line.split(":")[0].strip() for line in listed.splitlines() if "survived" in line]
        return [_changed(mutmut, name, work) for name in names]


def _changed(mutmut: str, name: str, work: str) -> str:
    shown = subprocess.run(
        [mutmut, "show", name], cwd=work, capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in shown.splitlines() if line[:2] in ("- ", "+ ")]
    return "\n".join(line[0] + " " + line[1:].strip() for line in lines)


def main() -> int:
    """Print the survivors that are not explained; return how many there are."""
    explained = EXPLAINED.read_text(encoding="utf-8")
    unexplained = 0
    for target in sys.argv[1:] or ["merkle"]:
        found = survivors(target)
        new = [change for change in found if change not in explained]
        unexplained += len(new)
        print(f"{target}: {len(found)} survivors, {len(new)} of them not explained")
        for change in new:
            print(change, end="\n\n")
    return min(unexplained, 1)


if __name__ == "__main__":
    sys.exit(main())
