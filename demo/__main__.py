"""Show, step by step, what Scellé does with an order, and what each step proves."""

import argparse
import datetime as dt
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo import forge, generator, life, live, records
from scelle.vault.service import open_vault

ORDER = "demo-2026-0001"
MAIL_PLACES = ("/usr/lib/python3.11/test/test_email/data", "fixtures/mail")
SOURCE_PLACES = ("/usr/share/doc", "docs")


class Demo:
    """Run the commands a platform engineer would run, and stop at the first that does not do as it says."""

    def __init__(self, work: Path, source: Path, mail: Path, events: int) -> None:
        self.work, self.source, self.mail, self.events = work, source, mail, events
        self.vault = work / "vault"
        self.environment = {
            **os.environ,
            "SCELLE_VAULT": str(self.vault),
            "SCELLE_KEY_FILE": str(work / "keys"),
        }
        self.number = 0

    def step(self, title: str, proves: str) -> None:
        """Announce a step and what it proves."""
        self.number += 1
        print(f"\n{self.number}. {title}\n   {proves}")

    def scelle(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Run one command with --json and return its document; stop when its exit code is another."""
        command = ["scelle", *arguments, "--json"]
        print("   $ " + shlex.join(command).replace(str(self.work), "DEMO"))
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            sys.exit(f"   exit code {done.returncode} instead of {expect}:\n{done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout)) if done.stdout else {}

    def scelle_verify(
        self, package: Path, trust: Path, query: Path, *, expect: int, held: Path | None = None
    ) -> dict[str, Any]:
        """Run the single file as an authority would: isolated, with an empty environment, from its own folder."""
        desk = self.work / "authority"
        desk.mkdir(exist_ok=True)
        verifier = desk / "scelle_verify.py"
        if not verifier.exists():
            verifier.write_bytes(forge.unpack(package)["scelle_verify.py"])
        command = [
            sys.executable,
            "-I",
            str(verifier),
            str(package),
            "--trust",
            str(trust),
            "--query",
            str(query),
            *(() if held is None else ("--held", str(held))),
        ]
        done = subprocess.run(
            [*command, "--json"], env={}, cwd=desk, capture_output=True, text=True, check=False
        )
        if done.returncode != expect:
            sys.exit(
                f"   the verifier said {done.returncode}, not {expect}:\n{done.stdout[:4000]}{done.stderr}"
            )
        return dict(json.loads(done.stdout))

    def refused(self, what: str, package: Path, trust: Path, query: Path, held: Path | None = None) -> None:
        """Show that a forged package is refused, and why."""
        verdict = self.scelle_verify(package, trust, query, expect=1, held=held)
        finding = verdict["findings"][0]
        print(f"   forged: {what}\n     REFUSED: {finding['code']}: {finding['detail'][:150]}")


def order_toml(demo: Demo) -> str:
    """Write an invented order over the two sources."""
    today = dt.date.today()
    return f"""\
[order]
id = "{ORDER}"
matter = "demo-matter"
type = "dsa-retention"
authority = "An Invented Authority"
addressee = "Example Platform International"
legal_basis = "Regulation (EU) 2022/2065, Article 72"
reference = "DEMO/1"
issued = {today}
received = {today}T00:00:01Z
until = {today + dt.timedelta(days=365)}
zone = "Europe/Brussels"
temporal = "snapshot"
notify = "permitted"

[[clause]]
id = "internal-documents"
sources = ["docs", "mail"]
paths = ["**/*"]
"""


def run(demo: Demo) -> None:
    """Run the whole life."""
    work = demo.work
    (work / "keys").mkdir()
    demo.step("A vault", "its key lies outside; what a copy of the folder shows is said at once")
    made = demo.scelle(
        "init",
        str(demo.vault),
        "--host",
        "platform.example",
        "--key-file",
        str(work / "keys"),
        "--cooling-off",
        "0s",  # a demo does not wait a day
        "--grace",
        "0s",
    )
    for line in made["a_copy_contains"].splitlines():
        print(f"   {line}")

    demo.step("Sources and the order", "the order's text is item zero of a log that only grows")
    demo.scelle("source", "add", "docs", f"files://{demo.source}")
    demo.scelle("source", "add", "mail", f"eml://{demo.mail}", "--custodian", "staff-017@example.org")
    toml = work / "order.toml"
    toml.write_text(order_toml(demo), encoding="utf-8")
    print(f"   {demo.scelle('order', 'add', str(toml))['next']}")

    demo.step("Preview", "counsel sees what the clauses cover before anything is kept")
    seen = demo.scelle("preview", ORDER)
    print(f"   {seen['covered']} of {seen['offered']} items, {seen['bytes']:,} bytes")

    demo.step("Preserve", "every item offered ends in exactly one bucket, and the sum is shown")
    report = demo.scelle("preserve", ORDER)
    names = ("sealed", "failed", "excluded", "lost")
    print(f"   offered {report['offered']} = " + " + ".join(f"{name} {report[name]}" for name in names))
    if report["offered"] != sum(report[name] for name in names):
        sys.exit("   the counts do not add up")

    if not report["sealed"] or not report["sources"]["mail"]["sealed"]:
        sys.exit("   nothing to show: SOURCE and MAIL need a document each")

    demo.step("Verify", "every byte of evidence is read again; the catalog is trusted for nothing")
    print(f"   valid: {demo.scelle('verify')['valid']}")

    demo.step("One bit of one pack is flipped", "the fault is found and named; then the bit is put back")
    flip_and_restore(demo)

    demo.step("Trust", "the authority is given this once, on paper: keys, tag key, the verifier's digest")
    trust = work / "trust.json"
    demo.scelle("order", "trust", ORDER, "--to", str(trust))

    demo.step("Produce", "one file that answers one query and proves that nothing sealed was left out")
    package, query = work / "mail.scelle", work / "query.json"
    made = demo.scelle("produce", ORDER, "--source", "mail", "--to", str(package))
    print(
        f"   {made['hits']} hits = produced {made['produced']} + withheld {made['withheld']} + erased {made['erased']}"
    )
    query.write_bytes(forge.unpack(package)["query.json"])

    demo.step("The authority verifies", "one Python file, no network, no account, an empty environment")
    verdict = demo.scelle_verify(package, trust, query, expect=0)
    print(f"   valid: {verdict['valid']}, strength {verdict['strength']}")

    demo.step(
        "The platform cheats, with the vault's own keys", "each forgery is rebuilt and re-signed, and refused"
    )
    cheat(demo, package, trust, query)
    records.run(demo, demo.events)
    live.run(demo)
    generator.run(demo)
    life.run(demo, ORDER, package, trust, query)
    print("\nAll steps did as they said.")


def flip_and_restore(demo: Demo) -> None:
    """Flip one bit in the middle of the largest pack; expect the finding; put the bit back; expect none."""
    pack = max((demo.vault / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    finding = demo.scelle("verify", expect=1)["findings"][0]
    print(f"   FOUND: {finding['code']}: {finding['subject']}: {finding['detail'][:120]}")
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        file.write(bytes([byte]))
    demo.scelle("verify")


def cheat(demo: Demo, package: Path, trust: Path, query: Path) -> None:
    """Forge four packages and expect each to be refused."""
    vault = open_vault(demo.vault, key_file=demo.work / "keys")
    signer = forge.log_signer(vault, ORDER)
    forgeries = (
        ("a record is dropped", forge.drop_a_record),
        ("a value is changed", forge.change_a_value),
        ("a document is replaced, MANIFEST rewritten and re-signed", forge.replace_an_item),
    )
    for number, (what, change) in enumerate(forgeries):
        to = demo.work / f"forged-{number}.scelle"
        forge.forge(package, to, signer, change)
        demo.refused(what, to, trust, query)
    narrow = demo.work / "narrow.scelle"
    demo.scelle("produce", ORDER, "--source", "mail", "--until", "2001-01-01", "--to", str(narrow))
    demo.refused("the query is narrowed: an honest package for a shorter period", narrow, trust, query)


def first_there(places: Sequence[str]) -> Path:
    """Return the first folder of `places` that this machine has."""
    return next(path for path in map(Path, places) if path.is_dir()).resolve()


def main() -> None:
    """Read the arguments, run, and clean up."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--source", type=Path, help="a folder of documents (SOURCE=)")
    parser.add_argument("--mail", type=Path, help="a folder of .eml files (MAIL=)")
    parser.add_argument("--events", type=int, default=records.EVENTS, help="how many events of an AI service")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="scelle-demo-"))
    try:
        run(
            Demo(
                work,
                (given.source or first_there(SOURCE_PLACES)).resolve(),
                (given.mail or first_there(MAIL_PLACES)).resolve(),
                given.events,
            )
        )
    finally:
        if given.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
