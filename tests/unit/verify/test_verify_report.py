"""The whole report of one rich package, word for word: its JSON document and its text."""

from pathlib import Path
from typing import Any

from tests.unit.verify.builder import (
    AUTHORITY,
    HOUR,
    LOG1,
    LOG6,
    ORDER,
    T0,
    WITNESS,
    Draft,
    Log,
    b64,
    query_of,
    sha,
    world,
)
from tests.unit.verify.harness import files, run, run_text

from scelle.verify import scelle_verify

GAP = f"scelle/gap/v1\norder {ORDER}\nsource s0001\n"


def rich() -> Draft:
    def more(log: Log) -> None:
        log.add("gap2", GAP + f"interval {T0} {T0 + HOUR}\ncause lag\nlost-at-most 0\ncloses -\n")
        log.add("gap3", GAP + f"interval {T0 + 1} -\ncause cut\nlost-at-most -\ncloses -\n")
        log.add(
            "close", GAP + f"interval {T0} {T0 + 9}\ncause cut\nlost-at-most 2\ncloses {log.labels['gap3']}\n"
        )
        log.erase("e1", log.segments["chat0"], 3)
        log.erase("e2", log.segments["chat0"], 2, basis="order", document=b64(bytes(32)), signed=False)
        log.release("release")

    draft = Draft(
        world(more=more), query_of(dimension="model", value="m-1", until=T0 - HOUR, redact={"text": "x"})
    )
    draft.members |= {"loadfile/a.csv": b"", "tokens/t.tsr": b"token"}
    draft.checkpoint = draft.log.checkpoint(keys=[LOG1, LOG6, WITNESS, AUTHORITY])
    draft.trust |= {"cosigners": [WITNESS.vkey], "quorum": 1}
    return draft


def test_the_whole_document(tmp_path: Path) -> None:
    draft = rich()
    document = run(files(draft, tmp_path)).document
    running = document["verifier"].pop("running")
    assert running == sha(Path(scelle_verify.__file__).read_bytes()).hex()
    assert document.pop("limits") == scelle_verify.LIMITS
    assert document == EXPECTED | {"root": draft.log.root().hex()}


def test_the_whole_text(tmp_path: Path) -> None:
    draft = rich()
    code, text = run_text(files(draft, tmp_path))
    running = sha(Path(scelle_verify.__file__).read_bytes()).hex()
    limits = "\n".join("  " + limit for limit in scelle_verify.LIMITS)
    assert code == 0
    assert text == TEXT.format(running=running, root=draft.log.root().hex(), limits=limits)


EXPECTED: dict[str, Any] = {
    "valid": True,
    "findings": [],
    "findings_total": 0,
    "trusted": True,
    "strength": "C",
    "strength_meaning": "range: ranges are whole; segments left out by their time bounds rest on the "
    "manifest's word",
    "query": {
        "dimension": "model",
        "format": "scelle/query/v1",
        "from": None,
        "order": "o-1",
        "redact": {"text": "x"},
        "strength": "C",
        "until": 1767996400000000,
        "value": "m-1",
    },
    "query_by": "authority",
    "query_logged": False,
    "origin": "platform.example/po/o-1",
    "size": 18,
    "attested": "2026-01-09T23:06:40Z",
    "attestations": [
        {"by": "witness.example/w", "role": "cosigner", "size": 18, "time": "2026-01-09T23:06:40Z"},
        {"by": "authority.example/seal", "role": "authority", "size": 18, "time": "2026-01-09T23:06:40Z"},
    ],
    "cosigned": 1,
    "hits": {"all": 5, "produced": 3, "withheld": 0, "erased": 2, "erased_edge": 2},
    "fields": {"all": 21, "open": 15, "redacted": 6, "redacted_not_asked": 0},
    "contents": {"all": 1, "delivered": 1, "withheld": 0},
    "segments": {"all": 7, "searched": 1, "undated_only": 0, "left_out": 1, "not_searchable": 4, "empty": 1},
    "watermarks_ahead": [
        {"source": "s0001", "segments": 3, "until": "2026-01-10T05:06:40Z"},
        {"source": "s0002", "segments": 1, "until": "2026-01-10T01:06:40Z"},
        {"source": "s0004/1", "segments": 1, "until": "2026-01-10T01:06:40Z"},
        {"source": "s0004/2", "segments": 1, "until": "2026-01-10T01:06:40Z"},
    ],
    "clock": {"time": "2026-01-09T23:06:40Z", "by": "cosigner"},
    "gaps": [
        {
            "source": "s0001",
            "from": 1768000000000000,
            "to": None,
            "cause": "restart",
            "lost_at_most": 3,
            "closed_by": None,
            "entry": 6,
        },
        {
            "source": "s0001",
            "from": 1768000000000000,
            "to": 1768003600000000,
            "cause": "lag",
            "lost_at_most": 0,
            "closed_by": None,
            "entry": 12,
        },
        {
            "source": "s0001",
            "from": 1768000000000000,
            "to": 1768000000000009,
            "cause": "cut",
            "lost_at_most": 2,
            "closed_by": 14,
            "entry": 13,
        },
    ],
    "counts": [
        {
            "source": "s0001",
            "interval": [1768000000000000, 1768003600000000],
            "offered": 9,
            "sealed": 9,
            "failed": 0,
            "excluded": 0,
            "lost": 0,
            "system": "chat-db",
        }
    ],
    "tombstones": {"consent": 1, "letter": 0, "order": 1, "release": 0},
    "documents": ["entry 16: order, document AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    "released": {"entry": 17, "signed": True},
    "promises": [],
    "tokens": ["tokens/t.tsr"],
    "loadfile": ["loadfile/a.csv"],
    "verifier": {
        "trust_file": "0000000000000000000000000000000000000000000000000000000000000000",
        "in_package": "9e07c6334981530152327916e19e1ae14184535dfa444744a6e48487208c43e5",
    },
}
TEXT = """\
VALID, strength C: the answer to the authority's query is complete in the sense below

kind       production package (scelle/package/v1)
order      o-1
vault      platform.example
log        platform.example/po/o-1
checkpoint 18 entries, root {root}
query      model = "m-1", order o-1
           the authority's own; logged by the platform: no
period     until 2026-01-09T22:06:40Z (exclusive); undated records too
redact     text (x)
attested   2026-01-09T23:06:40Z, size 18, by witness.example/w (cosigner)
attested   2026-01-09T23:06:40Z, size 18, by authority.example/seal (authority)
strength   C (range: ranges are whole; segments left out by their time bounds rest on the manifest's word)

hits       5 = 3 produced + 0 withheld + 2 erased
           of the erased, 2 at the edge of a range: may or may not match
fields     21 of produced records = 15 open + 6 redacted
           of the redacted, 0 were not asked for by the query
contents   1 = 1 delivered + 0 withheld
redacted   raw: 3 fields of 3 records
           x: 3 fields of 3 records
withheld   nothing
segments   7 touched = 1 searched + 0 searched for undated records only + 1 left out + 4 not searchable + 1 empty
           left out on the manifest's word: 1 of 7
           not searchable by model: 4 of 7
tombstones 1 by consent (proof); on the platform's word: 0 by letter, 1 by another order, 0 after release
           entry 16: order, document AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
release    entry 17, signed by the authority
gap        s0001, 2026-01-09T23:06:40Z to now (open), cause restart, lost at most 3
gap        s0001, 2026-01-09T23:06:40Z to 2026-01-10T00:06:40Z (closed), cause lag, lost at most 0
gap        s0001, 2026-01-09T23:06:40Z to 2026-01-09T23:06:40.000009Z (closed), cause cut, lost at most 2
ahead      of the newest checkpoint, 2026-01-09T23:06:40Z, attested by a cosigner:
           s0001: 3 segment(s) claim to have watched until 2026-01-10T05:06:40Z
           s0002: 1 segment(s) claim to have watched until 2026-01-10T01:06:40Z
           s0004/1: 1 segment(s) claim to have watched until 2026-01-10T01:06:40Z
           s0004/2: 1 segment(s) claim to have watched until 2026-01-10T01:06:40Z
count      s0001 by chat-db: offered 9, sealed 9, failed 0, excluded 0, lost 0 (a claim)
token      tokens/t.tsr: not checked here: openssl ts -verify ..
load file  loadfile/a.csv: bound by MANIFEST and not by proof
verifier   running    {running}
verifier   trust_file 0000000000000000000000000000000000000000000000000000000000000000
verifier   in_package 9e07c6334981530152327916e19e1ae14184535dfa444744a6e48487208c43e5
           they differ; this proves nothing by itself

findings   0

not proven
{limits}

VALID, strength C: the answer to the authority's query is complete in the sense below
"""
