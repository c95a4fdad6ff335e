"""Configurations and policies: documents with digests and the version that they define."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.formats.canonical_json import canonical_json
from scelle.sources.generation import GenerationSource
from scelle.sources.generation.schemas import BUNDLE, BUNDLE_V1
from tests.unit.sources.reading_generation import (
    bad,
    bundles_of,
    event,
    events_of,
    of_member,
    shown,
    source,
    units,
    write,
)


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_a_bundle_is_a_document_with_its_digests(tmp_path: Path) -> None:
    data = json.dumps(
        {"templates": {"system": "be kind"}, "flags": {"arm": "b"}, "limit": 30}, indent=2
    ).encode()
    put(tmp_path, "configs/2026/c-1.json", data)
    (record,) = of_member(source(tmp_path, holder="custodian:ada@example.org"), BUNDLE)
    found = shown(record)
    assert found["digest"] == sha256(data).hexdigest()
    assert found["canonical"] == sha256(canonical_json(json.loads(data))).hexdigest()
    assert (found["native_id"], found["kind"], found["safeguard"]) == (
        "configs/2026/c-1.json",
        "config",
        None,
    )
    assert (found["account"], found["media_type"]) == ("custodian:ada@example.org", "application/json")
    assert record.time_us == (tmp_path / "configs/2026/c-1.json").stat().st_mtime_ns // 1000
    (content,) = record.contents
    assert (BUNDLE_V1.fields[content.field].name, BUNDLE_V1.fields[content.field].type) == ("content", "h")
    assert content.document.data == data


@pytest.mark.parametrize(
    ("name", "data", "version"),
    [
        ("policies/p.json", b'{"version":7}', "7"),
        ("policies/p.json", b'{"version":"7.1","safeguard_version":"8"}', "8"),
        ("policies/p.toml", b"version = 7\n", "7"),
        ("configs/c.json", b'{"version":3}', None),
        ("configs/c.json", b'{"version":3,"policy_version":7}', "7"),
        ("configs/c.json", b'{"safeguard":{"version":7}}', "7"),
        ("configs/c.json", b'{"safeguard":"7"}', "7"),
        ("configs/c.toml", b"[policy]\nversion = '7'\n", "7"),
        ("policies/p.json", b'{"version":', None),
        ("policies/p.yaml", b"version: 7\n", None),
        ("policies/p.json", b"\xff\xfe", None),
        ("policies/p.json", b"[1]", None),
        ("policies/p.json", b"", None),
    ],
)
def test_the_version_that_a_bundle_defines(
    tmp_path: Path, name: str, data: bytes, version: str | None
) -> None:
    put(tmp_path, name, data)
    read = source(tmp_path)
    assert bad(read) == []
    assert [each["safeguard"] for each in bundles_of(read)] == [version]


def test_safeguard_version_7_is_one_query_over_events_bundles_and_changes(tmp_path: Path) -> None:
    put(tmp_path, "policies/p7.json", b'{"version":7,"rules":[]}')
    put(tmp_path, "policies/p8.json", b'{"version":8,"rules":[]}')
    read = write(tmp_path, [
        event("requested", "at-1", safeguard_version=7),
        event("policy.rolled_out", policy_version="7", surfaces=["app"]),
        event("requested", "at-2", safeguard_version=8),
    ])  # fmt: skip
    hits: list[dict[str, Any]] = [
        each for each in events_of(read) + bundles_of(read) if each["safeguard"] == "7"
    ]
    assert [each["kind"] for each in hits] == ["requested", "policy.rolled_out", "policy"]


def test_json_that_is_no_event_is_a_document_wherever_it_stands(tmp_path: Path) -> None:
    put(tmp_path, "notes.md", b"# notes\n")
    put(tmp_path, "manifest.json", b'{"event":"gala","rooms":[1]}')
    put(tmp_path, "list.json", b"[]")
    put(tmp_path, "latin.json", b'{"caf\xe9":1}')
    put(tmp_path, "configs/events.jsonl", b'{"event":"removed"}\n')
    read = source(tmp_path)
    assert events_of(read) == []
    assert {each["native_id"]: each["kind"] for each in bundles_of(read)} == {
        "configs/events.jsonl": "config", "latin.json": "document", "list.json": "document",
        "manifest.json": "document", "notes.md": "document",
    }  # fmt: skip


def test_a_large_bundle_comes_as_a_stream(tmp_path: Path) -> None:
    data = b'{"x":"' + b"a" * (9 << 20) + b'"}'
    put(tmp_path, "configs/big.json", data)
    (record,) = of_member(source(tmp_path), BUNDLE)
    assert shown(record)["digest"] == sha256(data).hexdigest()
    assert record.contents[0].document.stream is not None


def test_a_changed_bundle_is_another_state_of_it(tmp_path: Path) -> None:
    put(tmp_path, "configs/c.json", b"{}")
    (before,) = of_member(source(tmp_path), BUNDLE)
    put(tmp_path, "configs/c.json", b'{"a":1}')
    (after,) = of_member(source(tmp_path), BUNDLE)
    assert before.native == after.native
    assert before.version != after.version


def test_units_are_stamped_and_the_checks_come_last(tmp_path: Path) -> None:
    put(tmp_path, "configs/c.json", b"{}")
    read = write(tmp_path, [event("removed")])
    first = units(read)
    assert [unit.native for unit in first] == [b"configs/c.json", b"events/a.jsonl", b"//checks"]
    assert all(unit.stamp for unit in first)
    assert [unit.stamp for unit in units(read)] == [unit.stamp for unit in first]
    put(tmp_path, "configs/d.json", b"{}")
    assert units(read)[-1].stamp != first[-1].stamp


def test_a_file_just_written_is_always_read_again_and_so_are_the_checks(tmp_path: Path) -> None:
    write(tmp_path, [event("removed")])
    now_ns = (tmp_path / "events/a.jsonl").stat().st_mtime_ns + 10**9
    read = GenerationSource(bytes(tmp_path), "ai", None, now_ns=lambda: now_ns)
    assert [unit.stamp for unit in units(read)] == [b"", b""]
