"""What this user may not read is not gone: it is said otherwise, with what to do."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.platforms import as_user, public_folder

from .support import Made, evidence_files, relative

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def theirs(original: Made) -> Iterator[Made]:
    """A vault that belongs to a user without root's rights, where that user can reach it."""
    with public_folder() as folder:
        shutil.copytree(original.path, folder / "vault")
        if IS_ROOT:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder / "vault"], check=True)
        yield Made(folder / "vault", original.key)


def verified(made: Made, **options: Any) -> dict[str, Any]:
    """Verify as the vault's owner, who is not root."""

    def work() -> dict[str, Any]:
        return made.verify(**options).to_json()

    answer: dict[str, Any] = as_user(NOBODY, work) if IS_ROOT else work()
    return answer


def subjects(document: dict[str, Any], code: str) -> list[str]:
    return [finding["subject"] for finding in document["findings"] if finding["code"] == code]


def check_named(document: dict[str, Any], name: str) -> None:
    """It is named as unreadable, with what to do, and nothing is said to be gone."""
    named = [each for each in document["findings"] if each["code"] == "file.unreadable"]
    assert any(name in each["subject"] for each in named), (name, document["findings"])
    assert all("this user may not" in each["detail"] for each in named), named
    assert all("as the user who owns the vault, or give back the right" in each["detail"] for each in named)
    assert not subjects(document, "file.missing"), (name, document["findings"])
    assert not subjects(document, "fault"), (name, document["findings"])


def test_the_owner_reads_everything(theirs: Made) -> None:
    document = verified(theirs)
    assert (document["valid"], document["remarks"]) == (True, [])


def test_every_file_that_may_not_be_read_is_named(theirs: Made) -> None:
    for path in [*evidence_files(theirs), theirs.log() / "lock.db", theirs.segment() / "head"]:
        mode = path.stat().st_mode
        path.chmod(0)
        check_named(verified(theirs), relative(theirs, path))
        path.chmod(mode)
    assert verified(theirs)["valid"]


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111], ids=["closed", "only listed", "only entered"])
def test_every_folder_that_may_not_be_read_is_named(theirs: Made, mode: int) -> None:
    folders = sorted(path for path in theirs.path.rglob("*") if path.is_dir())
    assert len(folders) >= 12
    for path in folders:
        kept = path.stat().st_mode
        path.chmod(mode)
        document = verified(theirs)
        path.chmod(kept)
        check_named(document, f"{relative(theirs, path)}/")
    assert verified(theirs)["valid"]


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "only listed"])
def test_a_closed_log_of_unknown_size_is_not_searched_for_ever(theirs: Made, mode: int) -> None:
    """Whoever may not look sees no end of it."""
    hurt = [theirs.log() / "checkpoint", theirs.log() / "lock.db"]
    kept = [path.read_bytes() for path in hurt]
    for path in hurt:
        path.write_bytes(b"x")
    bundles = theirs.log() / "tile" / "entries"
    bundles.chmod(mode)
    document = verified(theirs)
    bundles.chmod(0o700)
    for path, data in zip(hurt, kept, strict=True):
        path.write_bytes(data)
    assert "order o-1, po/o-1/log/tile/entries/" in subjects(document, "file.unreadable")


def test_contents_behind_a_closed_folder_are_not_said_to_be_gone(theirs: Made) -> None:
    folder = theirs.path / "packs"
    folder.chmod(0)
    document = verified(theirs)
    folder.chmod(0o700)
    details = {each["detail"] for each in document["findings"] if each["code"] == "content.missing"}
    assert details == {"it is in no pack that can be read"}
    assert not subjects(document, "catalog.stale")
    assert "catalog.unread" in {each["code"] for each in document["remarks"]}


def test_a_closed_order_is_no_matter_of_another(theirs: Made, tmp_path: Path) -> None:
    other = theirs.order("o-2")
    shutil.copytree(theirs.order(), other)
    if IS_ROOT:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", other], check=True)
    other.chmod(0)
    try:
        assert verified(theirs, order="o-1")["valid"]
        assert "order o-2, po/o-2/" in subjects(verified(theirs), "file.unreadable")
    finally:
        other.chmod(0o700)
        shutil.rmtree(other)


def test_derived_files_that_may_not_be_read_change_no_answer(theirs: Made) -> None:
    (theirs.path / "writer.lock").touch()
    for name in ("catalog.db", "writer.lock"):
        path = theirs.path / name
        path.chmod(0)
        document = verified(theirs)
        path.chmod(0o600)
        assert document["valid"], document["findings"]
        expected = [("catalog.unread", name)] if name == "catalog.db" else []
        assert [(each["code"], each["subject"]) for each in document["remarks"]] == expected
    (theirs.path / "writer.lock").unlink()
