"""Name the members of a production package and write its MANIFEST (ledger.md §11).

The other parts have modules of their own, whose names can be taken from here too: `trust` has the JSON
documents, `lines` the jsonl members, `zips` the archive.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scelle.errors import FormatError
from scelle.formats.lines import (
    FarNeighbour,
    FieldsRecord,
    Hit,
    NearNeighbour,
    Neighbour,
    OpenField,
    ProofLine,
    RangeLine,
    RecordLine,
    WholeLine,
    WholeRecord,
    WithheldLine,
    parse_proof_line,
    parse_record_line,
    parse_withheld_line,
    read_lines,
)
from scelle.formats.tiles import parse_entries_path
from scelle.formats.tokens import DIGEST_BYTES, checked_width, parse_decimal, parse_hex, parse_origin, shown
from scelle.formats.trust import Held, Policy, Query, Trust, parse_policy, parse_query, parse_trust
from scelle.formats.zips import is_member_path

__all__ = [
    "REQUIRED_MEMBERS", "FarNeighbour", "FieldsRecord", "Held", "Hit", "Manifest", "ManifestFile",
    "NearNeighbour", "Neighbour", "OpenField", "Policy", "ProofLine", "Query", "RangeLine", "RecordLine",
    "Trust", "WholeLine", "WholeRecord", "WithheldLine", "entries_member", "is_item_extension",
    "is_item_prefix", "is_package_member", "item_name", "parse_item_name", "parse_manifest", "parse_policy",
    "parse_proof_line", "parse_query", "parse_record_line", "parse_trust", "parse_withheld_line",
    "read_lines", "schema_member", "unknown_members",
]  # fmt: skip

FORMAT: Final = "scelle/package/v1"
REQUIRED_MEMBERS: Final = frozenset((
    "MANIFEST",
    "README.txt",
    "checkpoint",
    "policy.json",
    "proofs.jsonl",
    "query.json",
    "records.jsonl",
    "scelle_verify.py",
    "withheld.jsonl",
))  # fmt: skip
"""Members that every package has."""
ITEM_NUMBER_DIGITS: Final = 7
_PREFIX: Final = re.compile(r"[A-Z0-9]{1,16}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,8}")
_ITEM: Final = re.compile(r"items/([A-Z0-9]{1,16})-([0-9]{7,19})\.([a-z0-9]{1,8})")
_OTHER_MEMBER: Final = re.compile(
    r"schemas/[0-9a-f]{64}\.json|checkpoint\.(?:0|[1-9][0-9]{0,18})|audit/verdict|(?:loadfile|tokens)/.+"
)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """Bind one member: its SHA-256, size and path."""

    sha256: bytes
    size_bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """List every other member of a package, under the size of the log it answers from; signed elsewhere."""

    origin: str
    size: int
    files: tuple[ManifestFile, ...]

    def text(self) -> bytes:
        """Write the text of the signed note MANIFEST, files sorted by path."""
        lines = [FORMAT, f"origin {self.origin}", f"size {self.size}"]
        for file in sorted(self.files, key=lambda file: file.path):
            checked_width(file.sha256, DIGEST_BYTES, "SHA-256")
            lines.append(f"file {file.sha256.hex()} {file.size_bytes} {file.path}")
        text = "\n".join([*lines, ""]).encode()
        parse_manifest(text)
        return text


def parse_manifest(text: bytes) -> Manifest:
    """Read the text of MANIFEST; whether members are as listed is not established here."""
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise FormatError("MANIFEST is not ASCII") from None
    if lines[0] != FORMAT or lines.pop() != "" or len(lines) < 3:
        raise FormatError(f"MANIFEST must be {FORMAT}, origin, size and files, each line with its end")
    origin = _after("origin", lines[1])
    parse_origin(origin)
    files = tuple(map(_parse_file, lines[3:]))
    paths = [file.path for file in files]
    if paths != sorted(set(paths)) or "MANIFEST" in paths:
        raise FormatError("MANIFEST: files are not sorted by path, or stand twice, or MANIFEST lists itself")
    return Manifest(origin, parse_decimal(_after("size", lines[2])), files)


def _parse_file(line: str) -> ManifestFile:
    words = _after("file", line).split(" ")
    if len(words) != 3 or not is_member_path(words[2]):
        raise FormatError(f"MANIFEST: line {shown(line)} is not `file <sha256> <bytes> <path>`")
    return ManifestFile(parse_hex(words[0], DIGEST_BYTES), parse_decimal(words[1]), words[2])


def _after(key: str, line: str) -> str:
    found, _, value = line.partition(" ")
    if found != key:
        raise FormatError(f"MANIFEST: line {shown(line)} where `{key} ..` must stand")
    return value


def entries_member(path: str) -> str:
    """Name the member that holds the entry bundle `path` (as `tiles.entries_path` gives it)."""
    return f"entries/{path}"


def schema_member(digest: bytes) -> str:
    """Name the member that holds a schema, by its SHA-256."""
    return f"schemas/{checked_width(digest, DIGEST_BYTES, 'schema digest').hex()}.json"


def item_name(prefix: str, number: int, extension: str) -> str:
    """Name the member of an item: `items/<PREFIX>-0000001.<ext>`, at least seven digits."""
    name = f"items/{prefix}-{number:0{ITEM_NUMBER_DIGITS}d}.{extension}"
    parse_item_name(name)
    return name


def parse_item_name(path: str) -> tuple[str, int, str]:
    """Read prefix, production number and extension from the path of an item; numbers start at 1."""
    match = _ITEM.fullmatch(path)
    if match is None or int(match[2]) == 0 or match[2] != f"{int(match[2]):0{ITEM_NUMBER_DIGITS}d}":
        raise FormatError(f"item {shown(path)} is not items/<PREFIX>-<number>.<ext> (ledger.md §11)")
    return match[1], int(match[2]), match[3]


def is_item_prefix(text: str) -> bool:
    """Say whether `text` may stand before production numbers."""
    return _PREFIX.fullmatch(text) is not None


def is_item_extension(text: str) -> bool:
    """Say whether `text` may be the extension of an item."""
    return _EXTENSION.fullmatch(text) is not None


def is_package_member(path: str) -> bool:
    """Say whether a package may have a member of this name; any other name is a finding."""
    if not is_member_path(path):
        return False
    if path in REQUIRED_MEMBERS or _OTHER_MEMBER.fullmatch(path) is not None:
        return True
    try:
        if path.startswith("entries/"):
            parse_entries_path(path.removeprefix("entries/"))
        else:
            parse_item_name(path)
    except FormatError:
        return False
    return True


def unknown_members(paths: Iterable[str]) -> list[str]:
    """List the member names that no package may have."""
    return [path for path in paths if not is_package_member(path)]
