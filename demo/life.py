"""What happens to an order later: overlap, amendments, an erasure that must wait, a lift, a release by two people."""

import datetime as dt
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from demo.__main__ import Demo

OTHER = "demo-2026-0003"


def run(demo: "Demo", order: str, package: "Path", trust: "Path", query: "Path") -> None:
    """Go on with the order of documents to its end; the package that was made before must still verify."""
    work, mails = demo.work, sorted(demo.mail.rglob("*"))
    demo.step("A second order over the same mail", "an item may go only when no order claims it any more")
    toml = work / "other.toml"
    toml.write_text(other_toml(), encoding="utf-8")
    demo.scelle("order", "add", str(toml))
    demo.scelle("preserve", OTHER)

    demo.step(
        "People", "who loosens needs somebody else's signature; without a name nothing of an order shows"
    )
    for name, role in (("alice", "counsel"), ("bob", "counsel"), ("eve", "engineer")):
        demo.scelle("operator", "add", name, "--role", role)
    print(f"   orders that nobody in particular sees: {len(demo.scelle('order', 'list')['orders'])}")
    print(f"   orders that alice sees: {len(demo.scelle('--as', 'alice', 'order', 'list')['orders'])}")

    demo.step("The order is extended, and a part is to be carved out", "each change shows first what it does")
    until = dt.date.today() + dt.timedelta(days=730)
    demo.scelle("--as", "alice", "order", "extend", order, "--until", str(until))
    carve = work / "carve.toml"
    carve.write_text(
        '[[clause]]\nid = "no-readme"\nsources = ["docs"]\npaths = ["**/README*"]\n', encoding="utf-8"
    )
    diff = demo.scelle("--as", "alice", "order", "carve-out", order, "--file", str(carve), "--dry-run")
    print("   " + ", ".join(f"{name} {diff[name]['items']}" for name in ("join", "stay", "stop")))

    demo.step(
        "May it be deleted?", "application code asks; the answer names no order, and not how many there are"
    )
    native = next(path for path in mails if path.is_file()).relative_to(demo.mail)
    answer = demo.scelle("may-delete", "mail", str(native), expect=3)["items"][0]
    print(f"   {answer['id']}: held, ref {answer['ref']}")

    demo.step(
        "Lifted, released, disposed of", "one asks, another approves; what the other order claims stays"
    )
    demo.scelle("--as", "alice", "order", "lift", order)
    request = demo.scelle("--as", "alice", "order", "release", order)["request"]
    demo.scelle("--as", "alice", "request", "approve", request, expect=2)
    print("   REFUSED: she asked for it; another person approves it")
    demo.scelle("--as", "bob", "request", "approve", request)
    certificate = demo.scelle("--as", "alice", "dispose", order)["certificates"][0]
    done, planned = certificate["destroyed"], certificate["planned"]
    print(
        f"   {done['records']} of {planned['records']} records destroyed, confirmed: {certificate['confirmed']}"
    )
    if not certificate["confirmed"] or done["records"] != planned["records"]:
        sys.exit("   the disposal is not confirmed")

    demo.step(
        "What is left", "the other order has everything; the package that was made before still verifies"
    )
    report = demo.scelle("--as", "alice", "verify")
    print(f"   vault valid: {report['valid']}")
    found = demo.scelle("--as", "alice", "find", OTHER, 'source = "mail"', "--limit", "1")
    print(f"   {found['count']} mails under the other order")
    print(f"   package valid: {demo.scelle_verify(package, trust, query, expect=0)['valid']}")


def other_toml() -> str:
    """Write a second invented order over the mail alone."""
    today = dt.date.today()
    return f"""\
[order]
id = "{OTHER}"
matter = "another-matter"
type = "us-civil-hold"
authority = "An Invented Court"
legal_basis = "Federal Rules of Civil Procedure, Rule 37(e)"
reference = "DEMO/3"
issued = {today}
received = {today}T00:00:01Z
zone = "UTC"

[[clause]]
id = "mail"
sources = ["mail"]
"""
