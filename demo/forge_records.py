"""Forge an answer over records: each change is what somebody with the vault, its key and all log keys might try.

Every function changes the members of an honest package; `forge.forge` then rebuilds MANIFEST and signs it.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from demo.forge import Members

Line = dict[str, Any]


def _lines(members: Members, name: str) -> list[Line]:
    return [json.loads(line) for line in members[name].splitlines()]


def _put(members: Members, name: str, lines: list[Line]) -> None:
    texts = (json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for line in lines)
    members[name] = b"".join(text.encode() + b"\n" for text in texts)


def _fullest(proofs: list[Line]) -> int:
    """Return the number of the line with the most hits."""
    return max(range(len(proofs)), key=lambda number: len(proofs[number].get("hits", ())))


def _without_record(members: Members, at: int, pos: int) -> None:
    """Drop what the package shows of one hit beside its proof."""
    for name in ("records.jsonl", "withheld.jsonl"):
        lines = _lines(members, name)
        _put(members, name, [line for line in lines if (line["at"], line["pos"]) != (at, pos)])


def _first_hit(line: Line) -> int:
    """Return the position in X of the first hit."""
    return int(line["lo"]) + (line["left"] is not None)


def drop_a_hit(members: Members) -> None:
    """Leave out one hit in the middle of a range, and its record."""
    proofs = _lines(members, "proofs.jsonl")
    line = proofs[_fullest(proofs)]
    middle = len(line["hits"]) // 2
    _without_record(members, line["at"], _first_hit(line) + middle)
    del line["hits"][middle]
    _put(members, "proofs.jsonl", proofs)


def shift_a_hit(members: Members) -> None:
    """Give a record to another account."""
    records = _lines(members, "records.jsonl")
    salt, _ = records[0]["v"][2]
    records[0]["v"][2] = [salt, _value("s", "account:somebody-else")]
    _put(members, "records.jsonl", records)


def skip_a_segment(members: Members) -> None:
    """Answer as if one segment had never been searched."""
    proofs = _lines(members, "proofs.jsonl")
    at = proofs[_fullest(proofs)]["at"]
    for name in ("proofs.jsonl", "records.jsonl", "withheld.jsonl"):
        _put(members, name, [line for line in _lines(members, name) if line["at"] != at])


def neighbour_inside(members: Members) -> None:
    """Show the last hit as the right neighbour, so that the range seems to end before it."""
    proofs = _lines(members, "proofs.jsonl")
    line = proofs[_fullest(proofs)]
    salt, time, seq, rc, path = line["hits"].pop()
    _without_record(members, line["at"], _first_hit(line) + len(line["hits"]))
    tag = line["right"][0] if line["right"] and len(line["right"][0]) == 32 else "00" * 16
    line["right"] = [tag, [salt, time, seq, rc, path]]
    _put(members, "proofs.jsonl", proofs)


def hide_behind_a_hash(members: Members) -> None:
    """Show a hit by its leaf hash alone, as if it had been erased; no tombstone says so."""
    proofs = _lines(members, "proofs.jsonl")
    line = proofs[_fullest(proofs)]
    middle = len(line["hits"]) // 2
    _without_record(members, line["at"], _first_hit(line) + middle)
    line["hits"][middle] = "ab" * 32
    _put(members, "proofs.jsonl", proofs)


def redact_a_key_field(members: Members) -> None:
    """Close the time of a record, which says whether it is a hit."""
    records = _lines(members, "records.jsonl")
    salt, value = records[0]["v"][0]
    leaf = hashlib.sha256(b"\0F" + bytes.fromhex(salt) + base64.b64decode(value))
    records[0]["v"][0] = leaf.hexdigest()
    _put(members, "records.jsonl", records)


def exchange_two_records(members: Members) -> None:
    """Let the index name one record, and show another in its place."""
    proofs = _lines(members, "proofs.jsonl")
    hits = proofs[_fullest(proofs)]["hits"]
    hits[0][3], hits[1][3] = hits[1][3], hits[0][3]
    _put(members, "proofs.jsonl", proofs)


def cut_the_block(members: Members) -> None:
    """Claim that nothing of the dimension stands before the first hit."""
    proofs = _lines(members, "proofs.jsonl")
    line = proofs[_fullest(proofs)]
    if line["left"] is not None:
        line["left"], line["lo"] = None, line["lo"] + 1
    else:
        line["right"] = None
    _put(members, "proofs.jsonl", proofs)


def double_a_key(members: Members) -> None:
    """Say one key twice: some readers take the first, some the last."""
    first, _, rest = members["records.jsonl"].partition(b"\n")
    members["records.jsonl"] = first.replace(b'{"at":', b'{"at":0,"at":', 1) + b"\n" + rest


def null_with_text(members: Members) -> None:
    """Hide text in a null: its type says that there is nothing."""
    records = _lines(members, "records.jsonl")
    number = next(j for j, shown in enumerate(records[0]["v"]) if j > 2 and isinstance(shown, list))
    salt, _ = records[0]["v"][number]
    records[0]["v"][number] = [salt, _value("n", "a note that no one sees")]
    _put(members, "records.jsonl", records)


def _value(letter: str, text: str) -> str:
    data = text.encode()
    return base64.b64encode(letter.encode() + len(data).to_bytes(4, "big") + data).decode()


FORGERIES: Final[tuple[tuple[str, Callable[[Members], None]], ...]] = (
    ("a hit is dropped", drop_a_hit),
    ("a hit is shifted to another account", shift_a_hit),
    ("a segment is not searched", skip_a_segment),
    ("a hit is shown as the neighbour outside", neighbour_inside),
    ("an entry is hidden behind its hash, without a tombstone", hide_behind_a_hash),
    ("a key field is redacted", redact_a_key_field),
    ("index and records disagree", exchange_two_records),
    ("the dimension's block is cut short", cut_the_block),
    ("a JSON key is doubled", double_a_key),
    ("a null carries text", null_with_text),
)
