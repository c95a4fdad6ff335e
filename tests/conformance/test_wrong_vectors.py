"""Wrong vectors of our own, more of them than right ones: the library and the single file refuse each."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from scelle.errors import ScelleError
from scelle.formats import checkpoints, entries, notes, schema, tokens, trust, values, zips
from scelle.formats.canonical_json import parse_json_strict
from scelle.merkle import proofs
from scelle.verify import scelle_verify

VECTORS: Final = Path(__file__).parents[1] / "vectors"
KNOWN: Final[dict[str, Any]] = json.loads((VECTORS / "wrong-v1.json").read_text())
Case: TypeAlias = dict[str, Any]
unhex: Final = bytes.fromhex


class Refused(Exception):
    """Say that a reader gave its answer by a value and not by raising."""


def _hashes(case: Case, key: str) -> list[bytes]:
    return [unhex(text) for text in case[key]]


def _must_be(found: object, wanted: object) -> None:
    if found != wanted:
        raise Refused


def _consistency(case: Case) -> tuple[int, int, bytes, bytes, list[bytes]]:
    return case["m"], case["n"], unhex(case["root_m"]), unhex(case["root_n"]), _hashes(case, "proof")


LIBRARY: Final[dict[str, Callable[[Case], object]]] = {
    "hex": lambda case: tokens.parse_hex(case["text"], case["size"]),
    "base64": lambda case: tokens.parse_base64(case["text"], case["size"]),
    "decimal": lambda case: tokens.parse_decimal(case["text"]),
    "time": lambda case: tokens.parse_time(case["text"]),
    "value": lambda case: values.decode_values(unhex(case["hex"])),
    "json": lambda case: parse_json_strict(case["text"].encode()),
    "entry": lambda case: entries.parse_entry(case["text"].encode()),
    "checkpoint": lambda case: checkpoints.parse_checkpoint_text(case["text"].encode()),
    "vkey": lambda case: notes.parse_vkey(case["text"]),
    "schema": lambda case: schema.parse_schema(case["text"].encode()),
    "query": lambda case: trust.parse_query(case["text"].encode()),
    "inclusion": lambda case: _must_be(
        proofs.root_from_inclusion(case["n"], case["index"], unhex(case["leaf"]), _hashes(case, "proof")),
        unhex(case["root"]),
    ),
    "range": lambda case: _must_be(
        proofs.range_root(case["n"], case["lo"], b"".join(_hashes(case, "hashes")), _hashes(case, "proof")),
        unhex(case["root"]),
    ),
    "consistency": lambda case: proofs.verify_consistency(*_consistency(case)),
    "zip": lambda case: zips.read_canonical_zip(io.BytesIO(base64.b64decode(case["base64"]))),
}


def _open_with_verifier(case: Case) -> None:
    report = scelle_verify.Findings()
    scelle_verify.Package(io.BytesIO(base64.b64decode(case["base64"])), report)
    _must_be(report.listed, [])


SINGLE_FILE: Final[dict[str, Callable[[Case], object]]] = {
    "hex": lambda case: scelle_verify.parse_hex(case["text"], case["size"], "hex"),
    "base64": lambda case: scelle_verify.parse_base64(case["text"], case["size"], "base64"),
    "decimal": lambda case: scelle_verify.parse_decimal(case["text"], "decimal"),
    "time": lambda case: scelle_verify.parse_time(case["text"], "time"),
    "value": lambda case: scelle_verify.parse_value(unhex(case["hex"]), 0),
    "json": lambda case: scelle_verify.parse_json(case["text"].encode()),
    "entry": lambda case: scelle_verify.parse_entry(0, case["text"].encode()),
    "checkpoint": lambda case: scelle_verify.parse_checkpoint(case["text"].encode()),
    "vkey": lambda case: scelle_verify.parse_vkey(case["text"], "vkey"),
    "schema": lambda case: scelle_verify.parse_schema(case["text"].encode()),
    "query": lambda case: scelle_verify.parse_query(case["text"].encode()),
    "inclusion": lambda case: _must_be(
        scelle_verify.inclusion_root(case["n"], case["index"], unhex(case["leaf"]), _hashes(case, "proof")),
        unhex(case["root"]),
    ),
    "range": lambda case: _must_be(
        scelle_verify.range_root(case["n"], case["lo"], _hashes(case, "hashes"), _hashes(case, "proof")),
        unhex(case["root"]),
    ),
    "consistency": lambda case: _must_be(scelle_verify.consistency_holds(*_consistency(case)), True),
    "zip": _open_with_verifier,
}


def _name(case: Case) -> str:
    return f"{case['kind']}: {case.get('why', 'right')}"


def test_wrong_vectors_are_more_than_right_ones() -> None:
    known = json.loads((VECTORS / "ledger-v1.json").read_text())
    right = sum(
        len(cases) for name, cases in known.items() if isinstance(cases, list) and name != "must_fail"
    )
    assert len(KNOWN["wrong"]) > right
    assert (
        {case["kind"] for case in KNOWN["wrong"]}
        == {case["kind"] for case in KNOWN["right"]}
        == set(LIBRARY)
        == set(SINGLE_FILE)
    )


@pytest.mark.parametrize("case", KNOWN["right"], ids=_name)
def test_right_case_is_accepted(case: Case) -> None:
    LIBRARY[case["kind"]](case)
    SINGLE_FILE[case["kind"]](case)


@pytest.mark.parametrize("case", KNOWN["wrong"], ids=_name)
def test_library_refuses(case: Case) -> None:
    with pytest.raises((ScelleError, Refused)):
        LIBRARY[case["kind"]](case)


@pytest.mark.parametrize("case", KNOWN["wrong"], ids=_name)
def test_single_file_refuses(case: Case) -> None:
    with pytest.raises((scelle_verify.Fault, scelle_verify.Unreadable, Refused)):
        SINGLE_FILE[case["kind"]](case)
