"""Hold the pages of docs/formats to what the code does, where a program can compare them."""

import re
from pathlib import Path
from typing import Final

import pytest

from scelle.formats import audits, entries, lines, openings, packages, promises, schema, trust, values
from scelle.formats.notes import PAYLOAD_BYTES, PUBLIC_BYTES
from scelle.formats.values import encode_value

PAGES: Final = Path(__file__).parents[3] / "docs" / "formats"


def _page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", entries.KINDS.values(), ids=lambda kind: kind.KIND)
def test_entry_kinds_stand_with_their_keys_in_order(kind: type[entries.Entry]) -> None:
    (row,) = [line for line in _page("entries").splitlines() if line.startswith(f"| `{kind.KIND}` |")]
    shown = [cell.strip().split("`")[1] for cell in row.split("|")[2].split("·")]
    assert shown == [key for key, _ in kind.LINES]


def test_no_entry_kind_stands_there_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(scelle/[a-z]+/v1)`", _page("entries"), re.MULTILINE)) == set(entries.KINDS)


def test_entry_example_is_canonical() -> None:
    (example,) = re.findall(r"```text\n(scelle/gap/v1\n.*?)```", _page("entries"), re.DOTALL)
    assert entries.parse_entry(example.encode()).encode() == example.encode()


def test_built_in_schemas_stand_with_their_digests() -> None:
    page = _page("schema")
    for built_in in (schema.DOCUMENT_V1, schema.EVENT_V1):
        assert f"`{built_in.digest.hex()}`" in page
        assert (
            f"`{built_in.name}` version {built_in.version}, dimensions `{' '.join(built_in.dimensions)}`"
            in page
        )
    for field in schema.DOCUMENT_V1.fields:
        assert f"| `{field.name}` | {field.type} |" in page


def test_schema_example_is_canonical() -> None:
    (example,) = re.findall(r"```text\n(\{\"dimensions\".*?)\n```", _page("schema"), re.DOTALL)
    data = example.replace("\n", "").encode()
    assert schema.parse_schema(data).encode() == data


def test_value_letters_and_examples() -> None:
    page = _page("values")
    assert re.findall(r"^\| `(.)` \|", page, re.MULTILINE) == list(values.LETTERS)
    examples = [encode_value(*pair) for pair in (("n", None), ("b", True), ("i", -1), ("s", "é"))]
    assert all(f"`{example.hex()}`" in page for example in examples)


def test_key_types_stand_with_their_widths() -> None:
    page = _page("checkpoint")
    for type_, public_bytes in PUBLIC_BYTES.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{type_:02x}` |")]
        assert f"{public_bytes:,} bytes" in row
        signature_bytes = PAYLOAD_BYTES[type_] - (8 if "be64" in row else 0)
        assert row.endswith(f"{signature_bytes:,} bytes |")


def test_names_of_formats_stand_on_their_pages() -> None:
    for name, page in (
        (promises.FORMAT, "promise"),
        (audits.FORMAT, "promise"),
        (openings.OPENING_FORMAT, "promise"),
        (openings.TLOG_PROOF_FORMAT, "promise"),
        (packages.FORMAT, "package"),
        (trust.TRUST_FORMAT, "package"),
        (trust.QUERY_FORMAT, "package"),
        (schema.FORMAT, "schema"),
    ):
        assert name in _page(page)
    assert all(f"`{member}`" in _page("package") for member in packages.REQUIRED_MEMBERS)
    assert lines.LINE_MAX_BYTES == 64 * 2**20
    assert "at most 64 MiB" in _page("package")


def test_every_page_is_listed_and_every_link_leads_somewhere() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+)\.md\)", _page("README")))
    found = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert found <= listed
    for path in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([a-z-]+\.md|README\.md)", path.read_text(encoding="utf-8")):
            assert (PAGES / target).exists()
