"""The verifier's tables and numbers beside those of the standards and of the pages: nothing is called here."""

import re
from pathlib import Path

import pytest
from tests.unit.verify.builder import DOCUMENT

from scelle.verify import scelle_verify as v

FORMATS = Path(__file__).parents[3] / "docs" / "formats"


def test_the_numbers_of_rfc_8032() -> None:
    """Section 5.1, table 1, in decimal as it stands there."""
    x = 15112221349535400772501151409588531511454012693041857206046113283949847762202
    y = 46316835694926478169428394003475163141307993866256225615783033603165251855960
    assert v.P == 57896044618658097711785492504343953926634992332820282019728792003956564819949
    assert v.L == 7237005577332262213973186563042994240857116359379907606001950938285454250989
    assert v.D == 37095705934669439343138083508754565189542113879843219016388785533085940283555
    assert v.IDENTITY == (0, 1, 1, 0)
    assert y == v.BASE_Y
    assert (x, y, 1, x * y % (2**255 - 19)) == v.BASE


def test_the_numbers_of_fips_204() -> None:
    """Table 1 for ML-DSA-44, and appendix B: powers of 1753 by bits in reversed order."""
    assert (v.Q, v.DROPPED, v.TAU, v.GAMMA1, v.GAMMA2, v.BETA, v.OMEGA) == (
        8380417,
        13,
        39,
        131072,
        95232,
        78,
        80,
    )
    reversed_bits = [sum((i >> bit & 1) << (7 - bit) for bit in range(8)) for i in range(256)]
    assert [pow(1753, exponent, 8380417) for exponent in reversed_bits] == v.ZETAS
    assert v.ZETAS[1:6] == [4808194, 3765607, 3761513, 5178923, 5496691]


def test_the_types_of_keys() -> None:
    """C2SP signed-note names the types; the widths are those of the public keys."""
    assert (v.ED25519, v.COSIGNATURE, v.MLDSA) == (1, 4, 6)
    assert v.KEY_WIDTH == {1: 32, 4: 32, 6: 1312}
    assert v.TYPE_NAME == {1: "Ed25519", 4: "cosignature/v1", 6: "ML-DSA-44"}


def test_the_widths_of_values() -> None:
    assert v.VALUE_WIDTH == {"n": 0, "b": 1, "i": 8, "t": 8, "d": 8, "h": 40}


def test_the_built_in_schema_of_a_document() -> None:
    assert DOCUMENT.digest.hex() == v.DOCUMENT_V1


WORDS = {
    "the word `sha256`": "sha256",
    "`0` or `1`": "profile",
    "one of `consent letter order release`": "basis",
    "one of `lifted expired court`": "ground",
    "`log` or `authority`": "role",
}
SHAPES = {"n, one or more": "n..", "`-`, or three tokens origin n hash": "earlier?", "t t, or `- -`": "t? t?"}


def lines_of_the_page() -> dict[str, list[str]]:
    """Return the lines of each kind of entry as the page states them, types in the verifier's words."""
    kinds = {}
    page = (FORMATS / "entries.md").read_text(encoding="utf-8")
    for kind, cell in re.findall(r"^\| `(scelle/[a-z]+/v1)` \| (.*) \|$", page, re.MULTILINE):
        lines = []
        for line in cell.split(" \u00b7 "):
            key, said = line[1:].split("` ", 1)
            said = WORDS.get(said) or SHAPES.get(said) or said.replace("hash", "b64")
            lines.append(f"{key} {said}")
        kinds[kind] = lines
    return kinds


def test_the_lines_of_entries_are_those_of_the_page() -> None:
    assert lines_of_the_page() == v.ENTRY_LINES
    stated = {name: tuple(re.findall("[a-z0-9]+", said)) for said, name in WORDS.items()}
    unsaid = {"one", "of", "or", "the", "word"}
    assert {name: tuple(w for w in words if w not in unsaid) for name, words in stated.items()} == v.WORDS


def test_the_members_of_a_package() -> None:
    """Those that always exist (ledger page, section 11), and how the lines of three of them are read."""
    assert sorted(v.ALWAYS) == [
        "MANIFEST",
        "README.txt",
        "checkpoint",
        "policy.json",
        "proofs.jsonl",
        "query.json",
        "records.jsonl",
        "scelle_verify.py",
        "withheld.jsonl",
    ]
    assert {
        "proofs.jsonl": v.proof_form,
        "records.jsonl": v.record_form,
        "withheld.jsonl": v.withheld_form,
    } == v.LINE_FORMS
    assert v.SIDE == {-1: "left", 1: "right"}


def test_the_words_of_a_log_are_those_of_its_entries() -> None:
    assert {"order": v.ORDER, "alias": v.ALIAS, "host": v.HOST, "code": v.CODE} == v.PATTERNS


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ORDER", ["o", "0", "o-1.b", "o" * 63], ["", "-o", ".o", "o_1", "O", "o" * 64, "o\n", "o/1"]),
        (
            "ALIAS",
            ["s0001", "s0001/12", "a._-", "a" * 63, "a" * 63 + "/1"],
            ["", "_a", "A", "a/", "a/b", "a/1/2", "a" * 64, "/1"],
        ),
        (
            "HOST",
            ["platform.example", "platform.example:8443", "127.0.0.1", "-"],
            ["", "Platform.example", "platform.example:", "platform.example:x", "a/b", "a b", ":1"],
        ),
        ("CODE", ["a", "chat-db", "0", "--", "-a"], ["", "-", "A", "a_b", "a b"]),
        ("DECIMAL", ["0", "1", "9" * 19], ["", "00", "01", "-1", "9" * 20, "\u0661"]),
        ("HEX", ["", "0123456789abcdef"], ["A", "g", " ", "\u0660"]),
        (
            "NUMBER_TOKEN",
            ["0", "-0", "007", "1.50", "1e5", "1E+5", "1.0e-05"],
            ["", "1.", ".5", "1e", "+1", "--1", "e5", "1 ", "\u0661"],
        ),
        (
            "NAME",
            ["MANIFEST", "a/B/0._-", "..", "x-1.py"],
            ["", "/a", "a/", "a//b", "a b", "a\\b", "a:b", "\u00e9", "a\n"],
        ),
        (
            "ITEM",
            ["items/T-0000001.bin", "items/A1-12345678.7z", f"items/{'Z' * 16}-{'9' * 18}.abcdefgh"],
            [
                "items/t-0000001.bin",
                "items/T-000001.bin",
                "items/T-00000001.bin",
                f"items/T-{'9' * 19}.bin",
                f"items/{'Z' * 17}-0000001.bin",
                "items/-0000001.bin",
                "items/T-0000001",
                "items/T-0000001.BIN",
                "items/T-0000001.abcdefghi",
                "ITEMS/T-0000001.bin",
                "items/T-0000001xbin",
            ],
        ),
        (
            "MANIFEST_LINE",
            [f"file {'0a' * 32} 0 a", f"file {'f9' * 32} {'9' * 19} items/~!"],
            [
                f"FILE {'0a' * 32} 0 a",
                f"file {'0A' * 32} 0 a",
                f"file {'0a' * 31} 0 a",
                f"file {'0a' * 32} 00 a",
                f"file {'0a' * 32} {'9' * 20} a",
                f"file {'0a' * 32} 0 a b",
                f"file {'0a' * 32} 0 ",
                f"file {'0a' * 32} 0 \u00e9",
            ],
        ),
        (
            "PLAIN_NUMBER",
            ["-0", "-12.50", "-1e5", "-1E+5", "-1.5e-05"],
            ["0", "--1", "-", "-1.", "-.5", "-1e", "-1+cmd", "-\u0661"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_word_may_be(name: str, good: list[str], bad: list[str]) -> None:
    pattern = getattr(v, name)
    assert [text for text in good if pattern.fullmatch(text) is None] == []
    assert [text for text in bad if pattern.fullmatch(text) is not None] == []
