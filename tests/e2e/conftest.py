"""A platform with documents and mail, and the command line run in this process."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scelle.cli.main import run

ORDER = "ec-2026-0108"


class Terminal(io.StringIO):
    """A terminal on which somebody typed an answer."""

    def isatty(self) -> bool:
        return True


@dataclass
class Answer:
    """What one command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


@dataclass
class Platform:
    """One vault with its sources, driven by commands."""

    root: Path
    capsys: pytest.CaptureFixture[str]
    clauses: list[str] = field(default_factory=list)

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    @property
    def docs(self) -> Path:
        return self.root / "docs"

    def __call__(self, *arguments: str | Path, code: int = 0) -> Answer:
        self.capsys.readouterr()
        found = run([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        answer = Answer(found, captured.out, captured.err)
        assert found == code, (arguments, found, captured.out[-2000:], captured.err[-2000:])
        return answer

    def document(self, name: str, data: bytes) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def order_file(self, name: str = "order.toml", *, without: Sequence[str] = (), **changes: str) -> Path:
        terms = {
            "id": f'"{ORDER}"',
            "matter": '"dsa-2023-x"',
            "type": '"dsa-retention"',
            "authority": '"European Commission"',
            "addressee": '"Example Platform International"',
            "legal_basis": '"Regulation (EU) 2022/2065, Article 72"',
            "reference": '"EC-2026-0108"',
            "issued": "2026-01-08",
            "received": "2026-01-08T14:00:00Z",
            "until": "2026-12-31",
            "zone": '"Europe/Brussels"',
            "temporal": '"both"',
            "notify": '"permitted"',
            **changes,
        }
        lines = [f"{key} = {value}" for key, value in terms.items() if key not in without]
        clauses = self.clauses or ['[[clause]]\nid = "all"\nsources = ["docs"]\npaths = ["**/*"]\n']
        path = self.root / name
        path.write_text("[order]\n" + "\n".join(lines) + "\n\n" + "\n".join(clauses), encoding="utf-8")
        return path


@pytest.fixture
def platform(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Platform:
    (tmp_path / "keys").mkdir()
    monkeypatch.setenv("SCELLE_KEY_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("SCELLE_VAULT", str(tmp_path / "vault"))
    platform = Platform(tmp_path, capsys)
    platform.document("a.txt", b"a red boat\n")
    platform.document("sub/b.txt", b"a harbour\n")
    platform("init", platform.vault, "--host", "platform.example", "--json")
    platform("source", "add", "docs", f"files://{platform.docs}")
    return platform


@pytest.fixture
def ordered(platform: Platform) -> Platform:
    platform("order", "add", platform.order_file())
    return platform
