"""A million events of an invented AI service: sealed, one account produced with redactions, verified, forged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo import forge
from demo.forge_records import FORGERIES
from scelle.vault.service import open_vault

if TYPE_CHECKING:
    from demo.__main__ import Demo

ORDER: Final = "demo-2026-0002"
ACCOUNT: Final = "u000042"
EVENTS: Final = 1_000_000
_ACCOUNTS: Final = 5_000
_FILES: Final = 4
_JANUARY_US: Final = 1_767_225_600_000_000
_MODELS: Final = ("imagine-1", "imagine-2")
_DECISIONS: Final = ("allow", "allow", "allow", "refuse")
_SCHEMA: Final = """\
[schema]
name = "ai-service"
version = 1
time = "ts"
time_unit = "us"
id = "id"
account = "user"
dimensions = ["model"]

[fields]
ts = "i"
prompt = "s"
decision = "s"
"""
_ORDER: Final = """\
[order]
id = "{order}"
matter = "demo-matter"
type = "dsa-retention"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "DEMO/2"
issued = 2026-01-08
received = 2026-01-08T14:00:00Z
until = 2026-12-31
zone = "Europe/Brussels"
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "ai-service"
sources = ["ai"]
"""


def write_events(folder: Path, count: int) -> None:
    """Write `count` invented events over January and February 2026 as JSONL, the same ones every time."""
    folder.mkdir()
    step_us = 59 * 86_400_000_000 // count
    each = count // _FILES
    for number in range(_FILES):
        with (folder / f"part-{number}.jsonl").open("w", encoding="utf-8") as file:
            for n in range(number * each, (number + 1) * each):
                mixed = n * 2_654_435_761 % (1 << 32)  # Knuth's multiplier: spread out, and no random numbers
                file.write(
                    f'{{"id":"e{n:07d}","ts":{_JANUARY_US + n * step_us},"user":"u{mixed % _ACCOUNTS:06d}",'
                    f'"model":"{_MODELS[mixed >> 20 & 1]}","decision":"{_DECISIONS[mixed >> 8 & 3]}",'
                    f'"prompt":"put the person in a winter coat, take {mixed % 977}"}}\n'
                )


def run(demo: Demo, count: int = EVENTS) -> None:
    """Show what an answer over records proves."""
    work = demo.work
    events = work / "events"
    write_events(events, count)
    schema, toml = work / "ai.toml", work / "order-2.toml"
    schema.write_text(_SCHEMA, encoding="utf-8")
    toml.write_text(_ORDER.format(order=ORDER), encoding="utf-8")

    demo.step(
        f"{count:,} events of an AI service", "rows are sealed as fast as they are read, field by field"
    )
    demo.scelle("source", "add", "ai", f"records://{events}", "--schema", str(schema))
    demo.scelle("order", "add", str(toml))
    early = hold_back_the_last_file(demo, events)
    report = demo.scelle("preserve", ORDER)
    print(f"   offered {report['offered']:,} = sealed {report['sealed']:,} + failed {report['failed']}")
    trust, held = work / "trust-2.json", work / "held"
    demo.scelle("order", "trust", ORDER, "--to", str(trust))
    held.write_bytes((demo.vault / "po" / ORDER / "log" / "checkpoint").read_bytes())

    demo.step(
        f"Everything of account {ACCOUNT} in January, prompts redacted",
        "one file that proves, off-line, that no sealed hit was left out",
    )
    package, query = work / "account.scelle", work / "query-2.json"
    period = ("--from", "2026-01-01", "--until", "2026-02-01")
    asked = ("produce", ORDER, "--account", ACCOUNT, *period, "--redact", "prompt:privacy")
    made = demo.scelle(*asked, "--to", str(package))
    query.write_bytes(forge.unpack(package)["query.json"])
    print(f"   {made['hits']} hits, {made['fields_redacted']} fields redacted, {made['bytes']:,} bytes")
    verdict = demo.scelle_verify(package, trust, query, expect=0)
    print(f"   valid: {verdict['valid']}, strength {verdict['strength']}")

    demo.step("The platform cheats over records", "each forgery is rebuilt and re-signed, and refused")
    signer = forge.log_signer(open_vault(demo.vault, key_file=work / "keys"), ORDER)
    for number, (what, change) in enumerate(FORGERIES):
        forged = work / f"forged-records-{number}.scelle"
        forge.forge(package, forged, signer, change)
        demo.refused(what, forged, trust, query)
    narrow = work / "narrow-2.scelle"
    demo.scelle("produce", ORDER, "--account", ACCOUNT, "--from", "2026-01-20", "--to", str(narrow))
    demo.refused("the query is narrowed", narrow, trust, query)
    demo.refused("an older checkpoint answers", early, trust, query, held=held)


def hold_back_the_last_file(demo: Demo, events: Path) -> Path:
    """Seal all files but the last and make the same package from that state; then give the file back."""
    last, aside = events / f"part-{_FILES - 1}.jsonl", demo.work / "aside"
    os.replace(last, aside)  # noqa: PTH105 - one word for both
    demo.scelle("preserve", ORDER)
    early = demo.work / "early.scelle"
    period = ("--from", "2026-01-01", "--until", "2026-02-01")
    demo.scelle(
        "produce", ORDER, "--account", ACCOUNT, *period, "--redact", "prompt:privacy", "--to", str(early)
    )
    os.replace(aside, last)  # noqa: PTH105
    return early
