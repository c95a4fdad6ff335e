"""Write what an authority is shown before it consents to tombstones, and read what it signed (ledger.md §8).

The request holds the exact bytes to be signed (`scelle/consent/v1`), and for each record salt, time, sequence number,
commitment, tags and all paths, so that the authority's own tool refuses positions that do not open to this record.
docs/erasing.md has both files.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scelle.errors import EraseWrong, FormatError
from scelle.formats.canonical_json import canonical_json_int, parse_json_strict
from scelle.formats.entries import AUTHORITY_SIG_BYTES, Erase, Segment, consent_message, parse_entry
from scelle.formats.tokens import base64_text
from scelle.ledger.erasing import Doomed, Target
from scelle.ledger.service import OrderLedger
from scelle.merkle.proofs import Tree

REQUEST_FORMAT: Final = "scelle/consent-request/v1"
ANSWER_FORMAT: Final = "scelle/consent-answer/v1"
_MAX_BYTES: Final = 64 << 20


def consent_request(ledger: OrderLedger, doomed: Sequence[Doomed]) -> bytes:
    """Return the file that the authority's tool is shown: canonical JSON and LF."""
    by_segment: dict[int, list[Doomed]] = {}
    for each in doomed:
        by_segment.setdefault(each.target.log_index, []).append(each)
    document = {
        "entries": [
            shown for at, own in sorted(by_segment.items()) for shown in _of_segment(ledger, at, own)
        ],
        "format": REQUEST_FORMAT,
        "genesis": base64_text(ledger.state.genesis_leaf),
        "order": ledger.order,
        "origin": ledger.origin,
    }
    return canonical_json_int(document) + b"\n"


def _of_segment(ledger: OrderLedger, at: int, doomed: Sequence[Doomed]) -> list[dict[str, Any]]:
    manifest = ledger.entries[at]
    if not isinstance(manifest, Segment):
        raise EraseWrong(f"entry {at} of order {ledger.order} is no segment")
    with closing(ledger.segment(manifest)) as reader:
        records, index = Tree(reader.record_hashes()), Tree(reader.index_hashes())
    return [_shown(ledger, manifest, each, records, index) for each in doomed]


def _shown(
    ledger: OrderLedger, manifest: Segment, doomed: Doomed, records: Tree, index: Tree
) -> dict[str, Any]:
    entry = doomed.entry
    position, rc = entry.record
    return {
        "dimensions": list(ledger.schema(manifest.schema).dimensions),
        "entry": entry.encode().decode("ascii"),
        "index": [
            {
                "path": [each.hex() for each in index.inclusion_path(place)],
                "position": place,
                "tag": own.hex(),
            }
            for place, own in zip(entry.index, doomed.tags, strict=True)
        ],
        "message": base64_text(consent_message(ledger.origin, ledger.state.genesis_leaf, entry.encode())),
        "path": [each.hex() for each in records.inclusion_path(position)],
        "position": position,
        "rc": rc.hex(),
        "salt": doomed.index_salt.hex(),
        "seq": doomed.target.seq,
        "source": manifest.source,
        "time": doomed.time_us,
    }


def read_consent_answer(path: Path) -> list[tuple[Erase, bytes]]:
    """Read the tombstones that the authority signed, each with its signature; raise `EraseWrong` naming the file."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise EraseWrong(f"{path}: no such file, or larger than 64 MiB: give the authority's answer")
        document = parse_json_strict(path.read_bytes().removesuffix(b"\n"))
        if not isinstance(document, dict) or document.get("format") != ANSWER_FORMAT:
            raise EraseWrong(f"{path}: it is no {ANSWER_FORMAT}")
        return [_signed(each) for each in document["signatures"]]
    except OSError as error:
        raise EraseWrong(f"{path}: cannot be read: {error.strerror}") from error
    except (FormatError, ValueError, KeyError, TypeError) as error:
        raise EraseWrong(f"{path}: it is no answer to a request for consent ({error})") from error


def _signed(each: Mapping[str, Any]) -> tuple[Erase, bytes]:
    entry, signature = (
        parse_entry(each["entry"].encode("ascii")),
        b64decode(each["authority-sig"], validate=True),
    )
    if not isinstance(entry, Erase) or len(signature) != AUTHORITY_SIG_BYTES:
        raise FormatError("an entry in it is no tombstone, or a signature is not of 68 bytes")
    return entry, signature


def match_consents(doomed: Sequence[Doomed], signed: Sequence[tuple[Erase, bytes]]) -> dict[Target, bytes]:
    """Return the signature for each record; raise `EraseWrong` where one was not signed exactly so.

    `doomed` carry the time that the authority signed.
    """
    by_entry = {replace(entry, authority_sig=None): signature for entry, signature in signed}
    missing = [each.target.seq for each in doomed if each.entry not in by_entry]
    if missing:
        raise EraseWrong(
            f"the authority signed no such tombstone for record {missing[0]}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: other items, another ground, or the log "
            "moved; write the request again with `scelle consent-request`"
        )
    return {each.target: by_entry[each.entry] for each in doomed}
