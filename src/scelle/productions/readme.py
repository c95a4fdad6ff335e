"""Write README.txt, the first thing that the receiver of a package reads: plain ASCII."""

from collections.abc import Mapping, Sequence
from typing import Final

from scelle.formats.checkpoints import Checkpoint
from scelle.formats.packages import Query
from scelle.formats.tokens import base64_text
from scelle.orders.days import utc_text
from scelle.productions.loadfile import LOAD_FILE
from scelle.productions.model import ACCOUNT, Delta, SegmentCounts
from scelle.productions.pages import Tally
from scelle.productions.trust import grouped

_STRENGTHS: Final = {
    "A": """A, whole window: all records of the source are here or accounted for. No index and no
  stated bound is relied on.""",
    "B": """B, range and audit: the ranges shown have no gap, and an auditor recomputed index and
  bounds of these segments (audit/verdict).""",
    "C": """C, range: the ranges shown have no gap. Segments left out by their time bounds rest on
  what the log states of them.""",
}


def readme(
    query: Query,
    checkpoint: Checkpoint,
    tally: Tally,
    segments: SegmentCounts,
    verifier_sha256: bytes,
    *,
    names: Mapping[str, str],
    not_searchable: Sequence[str] = (),
    delta: Delta | None = None,
    quarantined: int = 0,
) -> bytes:
    """Return the bytes of README.txt; the same for the same package.

    `names` are the log sources of which records are produced, each with what people call it, or with nothing;
    `not_searchable` are those that lack the queried dimension.
    """
    text = _TEXT.format(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=base64_text(checkpoint.root),
        dimension=ascii(query.dimension)[1:-1],
        value=ascii(query.value)[1:-1] or "(none)",
        since=_end(query.from_us, "the beginning"),
        until=_end(query.until_us, "the end"),
        redact=", ".join(f"{ascii(name)[1:-1]} ({code})" for name, code in sorted(query.redact.items()))
        or "nothing",
        strength=_STRENGTHS[query.strength],
        hits=tally.hits,
        produced=tally.produced,
        withheld=tally.withheld,
        erased=tally.erased,
        delivered=tally.contents - tally.contents_withheld,
        contents=tally.contents,
        left_out=tally.contents_withheld,
        fields=tally.fields_redacted,
        segments=segments,
        verifier=grouped(verifier_sha256),
        loadfile=LOAD_FILE,
        sources=_kept_back(quarantined) + _sources(names),
        holders=_holders(query, tally),
        lacking=_lacking(query, not_searchable),
        since_then=_since_then(delta),
    )
    return text.encode("ascii")


def _sources(names: Mapping[str, str]) -> str:
    """List what the platform calls the sources; the log knows them by aliases only."""
    called = [f"{alias} is {name!a}" for alias, name in sorted(names.items()) if name]
    return f"  sources   {', '.join(called)}, as the platform calls them\n" if called else ""


def _holders(query: Query, tally: Tally) -> str:
    if query.dimension != ACCOUNT or not query.value:
        return ""
    return (
        f"  no holder {tally.without_holder} records of the segments searched, at the same times, have neither "
        "custodian nor\n            account: they are in no answer by one of them\n"
    )


def _kept_back(count: int) -> str:
    if not count:
        return ""
    return (
        f"  kept back {count} of the withheld records are quarantined: shown to nobody; the code says why\n"
    )


def _lacking(query: Query, aliases: Sequence[str]) -> str:
    if not aliases:
        return ""
    listed = ", ".join([*aliases[:_LISTED], *([".."] if len(aliases) > _LISTED else [])])
    return (
        f"  no answer about {listed}: what they hold cannot be searched by\n            "
        f"{ascii(query.dimension)[1:-1]}\n"
    )


def _since_then(delta: Delta | None) -> str:
    if delta is None:
        return ""
    return _SINCE_THEN.format(
        size=delta.size,
        root=base64_text(bytes.fromhex(delta.root)),
        question="the same question" if delta.same_query else "another question",
        count=len(delta.new_segments),
        which="" if not delta.new_segments else f" (log index {_indices(delta.new_segments)})",
        hits=delta.new_hits,
        below=_BELOW_SAME if delta.same_query else _BELOW_OTHER,
        erased=delta.erased_since,
    )


def _indices(numbers: Sequence[int]) -> str:
    shown = [*map(str, numbers[:_LISTED]), *([".."] if len(numbers) > _LISTED else [])]
    return ", ".join(shown)


def _end(time_us: int | None, otherwise: str) -> str:
    return otherwise if time_us is None else f"{utc_text(time_us)} ({time_us} us)"


_LISTED: Final = 20
_BELOW_SAME: Final = "Hits with a log index below that size are those of the earlier package"
_BELOW_OTHER: Final = "What was asked differs, so hits below that size may differ as well"
_SINCE_THEN: Final = """\

SINCE AN EARLIER PACKAGE
  The producer had an earlier package before it, which answers {question}
  as the log stood with {size} entries and root {root}.
  That log is the beginning of this one. Since then came {count} segments with
  records that the question touches{which},
  with {hits} hits.
  {below}; {erased} records of that time were erased since, under tombstones.
  Do not take this on trust: take the checkpoint out of the package that YOU hold, and give it to the program.
     unzip -p EARLIER checkpoint > held
     python3 -I scelle_verify.py PACKAGE --trust trust.json --query query.json --held held
"""

_TEXT: Final = """\
PRODUCTION PACKAGE

This file is an ordinary zip archive. It answers one question about what was preserved under one order, and
it carries the proof that the answer is complete. You can check that proof yourself, offline, with one
readable program and without trusting those who made the package.

THE QUESTION
  all records with {dimension} = {value}
  from  {since} (inclusive)
  until {until} (exclusive)
  redacted: {redact}
  query.json has it byte for byte. Compare it with what you asked.

THE ANSWER
  hits      {hits} = {produced} produced + {withheld} withheld + {erased} erased
  contents  {contents} = {delivered} delivered + {left_out} left out
  redacted  {fields} fields of produced records
  segments  {segments.touched} touched
            = {segments.searched} searched + {segments.undated_only} searched for undated records only
            + {segments.left_out} left out by their bounds + {segments.not_searchable} not searchable by {dimension}
            + {segments.empty} empty
{sources}{holders}{lacking}  These numbers are a courtesy: the program below counts them anew from the proofs.
{since_then}
HOW TO CHECK IT, IN THREE STEPS
  You need Python 3.9 or later, and trust.json, which you were given when the order was received.
  1. Take the program out of this archive:     unzip PACKAGE scelle_verify.py
     and compare its SHA-256 with the one in the letter that came with trust.json. Here it is
     {verifier}
  2. Run it, with no network:
     python3 -I scelle_verify.py PACKAGE --trust trust.json --query query.json
     where query.json is your own copy of the question, written by you and not taken from here: the letter
     says how. (Without --query the program judges the question that stands in the package, and says so.)
  3. Read its first or last line. VALID means what the next section says. Otherwise every fault is listed
     with its place. If you keep older checkpoints of this log, add each with --held FILE.

WHAT A VALID ANSWER PROVES
  - The records come from the log {origin},
    as it stood with {size} entries and root {root}.
  - Nothing that was sealed and belongs to the answer was left out: each hit is produced, withheld with a
    reason (withheld.jsonl), or erased under a tombstone that you can see.
  - Not one byte of what is shown was changed since it was sealed.
  Strength {strength}

WHAT IT DOES NOT PROVE
  - That something which never reached the recorder did not exist.
  - That a record was filed under the right account or time when it was sealed, unless it is shown.
  - That the reasons given for withholding or redacting are good ones.
  - Anything about time-stamp tokens (tokens/): check them with `openssl ts -verify`.
  - Anything about {loadfile}: it is a convenience for review tools, bound to this package by
    MANIFEST but not proven. The program writes one from the proven bytes: --write-loadfile FILE.

LIMITS
  Items are as they were preserved: open them with the care that unknown files need. Item numbers run through
  the whole affair, so a package need not begin at 1. Times are UTC.

WHAT IS IN IT
  MANIFEST          SHA-256 and size of every other file, signed with the log's key
  query.json        the question                  policy.json      the log's public keys
  checkpoint        the signed state of the log   entries/         all entries of the log
  schemas/          what the fields are called    proofs.jsonl     the proof of completeness
  records.jsonl     the records                   items/           their contents, as they were, numbered
  withheld.jsonl    what is not shown, and why    loadfile/        a table for review tools
  scelle_verify.py  the program
"""
