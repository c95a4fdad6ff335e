"""A platform for tests that need hard ground: real files, a real package, everything restored from it."""

import base64
import json
import os
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ORDER, Platform

from scelle.formats.values import Content, decode_value
from scelle.verify.scelle_verify import main as scelle_verify

FIELDS = ("time", "seq", "account", "native_id", "media_type", "content", "chunks", "time_basis", "meta")


@dataclass(frozen=True)
class Restored:
    """One document as a package gives it back."""

    native: bytes
    data: bytes | None
    meta: Mapping[str, Any]
    time_us: int
    media_type: str


def make_platform(root: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> Platform:
    """Make an empty platform in `root`: no vault yet, no documents."""
    (root / "keys").mkdir(parents=True, exist_ok=True)
    (root / "docs").mkdir(exist_ok=True)
    patch.setenv("SCELLE_KEY_FILE", str(root / "keys"))
    patch.setenv("SCELLE_VAULT", str(root / "vault"))
    patch.setenv("SCELLE_OPERATOR", "tester")
    return Platform(root, capsys)


def take_in(platform: Platform, *sources: tuple[str, str], clauses: str = "") -> None:
    """Make the vault, name the sources, take an order over all of them in."""
    platform("init", platform.vault, "--host", "platform.example", "--json")
    named = sources or (("docs", f"files://{platform.docs}"),)
    for name, url in named:
        platform("source", "add", name, url)
    names = ", ".join(f'"{name}"' for name, _ in named)
    platform.clauses = [clauses or f'[[clause]]\nid = "all"\nsources = [{names}]\n']
    platform("order", "add", platform.order_file())


def preserved(platform: Platform, code: int = 0) -> dict[str, Any]:
    """Run one pass; its sum is closed, in total and for each source, on paper and in the log."""
    report = platform("preserve", ORDER, "--json", code=code).json
    for counts in (report, *report["sources"].values()):
        assert counts["offered"] == sum(counts[name] for name in ("sealed", "failed", "excluded", "lost"))
        assert counts["sealed"] == counts["new"] + counts["unchanged"]
    return report


def restored(platform: Platform, source: str = "docs") -> list[Restored]:
    """Verify the vault, produce everything of a source, let the single file judge it, and read it back."""
    assert platform("verify", "--json").json["findings"] == []
    folder = Path(tempfile.mkdtemp(dir=platform.root))
    trust, package = folder / "trust.json", folder / "p.scelle"
    platform("order", "trust", ORDER, "--to", trust)
    platform("produce", ORDER, "--source", source, "--to", package)
    platform.capsys.readouterr()
    assert scelle_verify([str(package), "--trust", str(trust), "--json"]) == 0, platform.capsys.readouterr()
    verdict = json.loads(platform.capsys.readouterr().out)
    assert verdict["valid"] is True
    return list(read_package(package))


def newest(documents: list[Restored]) -> dict[bytes, Restored]:
    """The last version of each document."""
    return {document.native: document for document in documents}


def versions(documents: list[Restored]) -> dict[bytes, list[Restored]]:
    """All versions of each document, oldest first."""
    found: defaultdict[bytes, list[Restored]] = defaultdict(list)
    for document in documents:
        found[document.native].append(document)
    return dict(found)


def read_package(package: Path) -> Iterator[Restored]:
    """Read every document of a package, in capture order, with nothing but zip and JSON."""
    with zipfile.ZipFile(package) as archive:
        lines = archive.read("records.jsonl").splitlines()
        found = [(_opened(json.loads(line)), json.loads(line)["item"]) for line in lines]
        for values, items in sorted(found, key=lambda pair: int(pair[0]["seq"])):
            meta = json.loads(values["meta"])
            path = items.get("content")
            data = None if path is None else archive.read(path)
            assert isinstance(values["content"], Content)
            assert data is None or len(data) == values["content"].size_bytes
            native = _native(values["native_id"], meta)
            yield Restored(native, data, meta, values["time"], values["media_type"])


def _opened(record: Mapping[str, Any]) -> dict[str, Any]:
    values = [decode_value(base64.b64decode(value))[1] for _, value in record["v"]]
    return dict(zip(FIELDS, values, strict=True))


def _native(text: str, meta: Mapping[str, Any]) -> bytes:
    """Give the bytes of a name: beside a text that is not the name itself, the metadata has them."""
    for about in (meta, meta.get("file", {}), meta.get("mbox", {})):
        if isinstance(about.get("path"), dict):
            return base64.b64decode(about["path"]["b64"])
    return text.encode()


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="scelle-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_user(uid: int, work: Callable[[], Any]) -> Any:
    """Run `work` in a child without root's rights and return what it returns (JSON).

    What it imports must be imported already: the interpreter's own folder may be closed to `uid`.
    """

    def less_work() -> Any:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return work()

    return in_child(less_work)


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a process of its own and return what it returns (JSON)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = json.dumps(work())
        except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happens
            answer = json.dumps({"code": None, "out": "", "err": repr(error)})
        with os.fdopen(writing, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(answer) if status == 0 else {"code": status, "out": "", "err": "the process was ended"}


def run_quietly(arguments: list[str]) -> dict[str, Any]:
    """Run one command in this process with its own standard output: for children."""
    from scelle.cli.main import run

    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(arguments)
    sys.stdout.flush()
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}
