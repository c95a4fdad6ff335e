"""Write what the authority is given once for an order: trust.json, and a letter to compare it with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final

from scelle.errors import RequestWrong
from scelle.formats.notes import VerifierKey
from scelle.formats.packages import Held, Policy, Trust
from scelle.formats.tokens import base64_text
from scelle.ledger.service import OrderLedger
from scelle.ledger.signing import Signer
from scelle.productions.scratch import refuse_taken
from scelle.vault import durable

VERIFIER: Final = "scelle_verify.py"
_TYPES: Final = {0x01: "Ed25519", 0x04: "Ed25519 (cosignature/v1)", 0x06: "ML-DSA-44"}


@dataclass(frozen=True, slots=True)
class Cosigners:
    """Name the keys whose cosignatures the authority counts, and how many it asks for."""

    keys: tuple[VerifierKey, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.quorum <= len(self.keys):
            raise RequestWrong(f"a quorum of {self.quorum} among {len(self.keys)} cosigners cannot be met")


NO_COSIGNERS: Final = Cosigners()


@cache
def verifier_bytes() -> bytes:
    """Return the single-file verifier that this version ships, read as a file and never imported."""
    return files("scelle.verify").joinpath(VERIFIER).read_bytes()


def trust_for(ledger: OrderLedger, cosigners: Cosigners = NO_COSIGNERS) -> Trust:
    """Return what the authority must believe about an order's log, and the checkpoint of this moment."""
    genesis = ledger.state.genesis
    if genesis is None:
        raise RequestWrong(f"order {ledger.order} has no published log yet: take the order in first")
    signer = Signer(ledger.secrets)
    policy = Policy(
        authority=() if genesis.authority is None else (genesis.authority,),
        cosigners=cosigners.keys,
        genesis=ledger.state.genesis_leaf,
        log=(signer.ed25519_key, signer.mldsa44_key),
        order=ledger.order,
        origin=ledger.origin,
        quorum=cosigners.quorum,
        verifier_sha256=sha256(verifier_bytes()).digest(),
    )
    checkpoint = ledger.checkpoint
    return Trust(policy, ledger.secrets.tag_key, Held(checkpoint.size, checkpoint.root))


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of `data` as people read it to one another: sixteen groups of four digits."""
    return grouped(sha256(data).digest())


def grouped(digest: bytes) -> str:
    """Return a digest in groups of four digits."""
    digits = digest.hex()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def trust_letter(trust: Trust) -> str:
    """Return the letter that goes with trust.json, one page of plain text, for hand-over on paper."""
    policy = trust.policy
    held = "" if trust.held is None else _HELD.format(size=trust.held.size, root=base64_text(trust.held.root))
    return _LETTER.format(
        order=policy.order,
        origin=policy.origin,
        trust=fingerprint(trust.encode()),
        genesis=base64_text(policy.genesis),
        keys="\n".join(_key_lines(policy)),
        verifier=grouped(policy.verifier_sha256),
        held=held,
    )


def _key_lines(policy: Policy) -> list[str]:
    roles: list[tuple[str, Sequence[VerifierKey]]] = [
        ("log key", policy.log),
        ("your key", policy.authority),
        ("cosigner", policy.cosigners),
    ]
    return [
        f"   {role}, {_TYPES[key.type]}, id {key.key_id:08x}, {key.name}\n      {fingerprint(key.public)}"
        for role, keys in roles
        for key in keys
    ]


def write_trust(ledger: OrderLedger, to: Path, cosigners: Cosigners = NO_COSIGNERS) -> dict[str, str]:
    """Write trust.json to `to` and the letter beside it; return both names and what the letter says first.

    Raises `PackageNameRefused` where one of them is there already. Both are readable for this user only: the
    tag key in trust.json is for the authority alone.
    """
    letter_path = to.with_name(f"{to.stem}-letter.txt")
    for path in (to, letter_path):
        refuse_taken(path)
    trust = trust_for(ledger, cosigners)
    durable.write_file(to, trust.encode())
    durable.write_file(letter_path, trust_letter(trust).encode())
    return {
        "order": ledger.order,
        "trust": str(to),
        "letter": str(letter_path),
        "origin": ledger.origin,
        "genesis": base64_text(trust.policy.genesis),
        "trust_sha256": sha256(trust.encode()).hexdigest(),
        "verifier_sha256": trust.policy.verifier_sha256.hex(),
    }


_HELD: Final = """
6. The log as it stands today has {size} entries and the root
      {root}
   Every later package must contain it as its beginning. Keep it: what it covers cannot be
   rewritten behind your back.
"""

_LETTER: Final = """\
PRESERVATION ORDER {order}: WHAT TO TRUST, AND HOW TO COMPARE IT

You receive a file, trust.json, and this letter. With the file you check every package that
we hand over for this order, on a computer of your own, without a network and without us. It
is worth as much as the way by which it reached you: compare it with this letter, and the
letter with what we read to you over a line that you chose.

1. The file. Compute its SHA-256 (`sha256sum trust.json`). It must be
      {trust}
   Then everything below is right as well, for all of it stands in that file.

2. The log of the order is named
      {origin}
   and begins with the entry whose hash is
      {genesis}

3. Keys (the fingerprint is the SHA-256 of the public key):
{keys}

4. The program that checks packages, scelle_verify.py, is one readable file. Its SHA-256 is
      {verifier}
   Take it from a package or from us, compute its SHA-256, let an expert of yours read it.
   It needs Python 3.9 or later and nothing else:
      python3 -I scelle_verify.py PACKAGE --trust trust.json --query query.json
   The first and the last line of what it prints say whether the package answers it.

5. Your question, query.json, is one line of text that you write yourself and send us, so that
   nobody can answer a narrower one. It has no blanks and ends in one line feed; here it is
   broken into three, to fit the page:
      {{"dimension":"account","format":"scelle/query/v1","from":null,
      "order":"{order}","redact":{{}},
      "strength":"C","until":null,"value":"custodian:NAME"}}
   value      custodian:NAME or account:NAME. For all of one source: dimension source, the
              alias of the source (s0001), and strength A where from and until are null
   from       the first moment that belongs to the question, until the first that does not:
              microseconds since 1970 UTC (seconds, and 000000), or null
   redact     {{}}, or the fields whose omission you accept, each with the reason's code
{held}
Keep trust.json to yourself. It holds a key (`tagkey`) with which one can tell whether an
account stands in the index of a package; it signs nothing and opens nothing.
"""
