"""The documents say what the code does now."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if ".venv" not in path.parts
)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["commands.md", "errors.md", "metrics.md", "orders.md", "design/lifecycle.md"]
)
def test_generated_pages_are_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    expected = generator().PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == expected, (
        "run: COLUMNS=100 python docs/generate.py"
    )


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in generator().error_classes()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_no_file_has_a_registry_address_or_a_path_of_one_machine() -> None:
    homes = [str(place) for place in (ROOT, Path.home()) if len(place.parts) > 2]
    places = [re.sub(r"([^\w/-])", r"[\1]", place) for place in homes]
    listed = subprocess.run(
        [
            "git",
            "grep",
            "-lE",
            "|".join(["pypi[.]org|files[.]pythonhosted|registry[.]npmjs|/root/[.]", *places]),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout.split() == []


def test_only_the_durable_module_opens_for_writing() -> None:
    pattern = re.compile(
        r"\.open\([^)]*[\"'](?:[wax]|r\+)|os\.(?:rename|replace|fsync|unlink)|\.write_(?:bytes|text)\("
    )
    for room in ("vault", "ledger"):
        for path in (ROOT / "src" / "scelle" / room).glob("*.py"):
            if path.name not in ("durable.py", "testing.py"):
                assert not pattern.search(path.read_text(encoding="utf-8")), path
