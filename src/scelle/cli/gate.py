"""`scelle gate`: prove a policy for a generator's safeguards, and decide by it."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from scelle.cli.options import JsonOption
from scelle.cli.output import emit, warn
from scelle.errors import GateRequestWrong

if TYPE_CHECKING:
    from scelle.safeguards.gate import Bundle, Proof

_Parsed = TypeVar("_Parsed")

app = typer.Typer(
    no_args_is_help=True,
    help="Prove the policy of a generator's safeguards case by case, and decide by it.",
)

PolicyArgument = Annotated[
    Path | None, typer.Argument(metavar="POLICY.yaml", help="The policy. Default: the one that Scellé ships.")
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="POLICY.yaml", help="The policy. Default: the one that Scellé ships."),
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="BUNDLE.json",
        help="What the policy runs with: detectors, thresholds, normaliser, lexicons, hash_lists. Default: nothing.",
    ),
]


@app.command("check")
def check(policy: PolicyArgument = None, bundle: BundleOption = None, as_json: JsonOption = False) -> None:
    """Prove a policy over every combination of factor values, or show the case that it gets wrong.

    Proven: no id stands twice; every case has an outcome; a riskier or unknown factor never loosens one; no rule speaks
    of tier, country or surface; consent reaches none of R010 to R021, nor what they protect; every rule that holds
    back has a statement.

    Exit code 2 where one does not hold; with --json the document with the counter-examples is printed then, too.
    Says nothing about how well the detectors find what they look for.

    Example: scelle gate check policy.yaml --json
    """
    from scelle.safeguards.gate import prove  # start-up time of --help

    proof = prove(_bundle(policy, bundle))
    emit(proof.to_json(), _lines(proof), as_json)
    proof.require()


@app.command("decide")
def decide(
    request: Annotated[Path, typer.Argument(metavar="REQUEST.json", help="The factors of one request.")],
    policy: PolicyOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide one request from its factors, and print the decision record. Nothing is done, nothing is kept.

    The request: {"stage": "input", "factors": {"person": "yes", "level": {"value": "L1", "score": 0.8, ..}, ..}}. A
    factor that is missing is unknown, and unknown is never adult, safe or nobody. docs/gate.md lists them all.

    The policy is proven first; exit code 2 where it does not hold. Exit code 0 whatever the verdict.

    Example: scelle gate decide request.json --policy policy.yaml --json
    """
    from scelle.safeguards.gate import Gate, read_request  # start-up time of --help

    asked, decision_id, action = _read(request, read_request)
    gate = Gate(_bundle(policy, bundle))
    decision = gate.decide(asked, decision_id or f"d{secrets.token_hex(16)}")
    if action is not None:
        decision = decision.enforced(action)
    change = decision.counterfactual
    lines = [
        f"{decision.verdict.text} by {decision.deciding_rule}"
        + (f" as {decision.as_rule}" if decision.as_rule else ""),
        f"  policy {decision.policy}, bundle {decision.bundle_digest}",
        f"  rules that hold: {', '.join(decision.rules_fired)}",
        f"  would be otherwise: {'no change of one factor alone' if change is None else change.text()}",
    ]
    lines += [f"  {name} was taken as {value}" for name, value in decision.taken_as.items()]
    if decision.was_overridden:
        lines.append(
            f"  mind: what was done ({action.text if action else ''}) lets through more than the verdict"
        )
    emit(decision.to_json(), lines, as_json)


@app.command("bundle")
def bundle(
    guardrail: Annotated[
        Path, typer.Argument(metavar="GUARDRAIL.yaml", help="A policy with its detectors and their options.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Print what a guardrail consists of, and the digest by which decisions name it (the bundle).

    Each detector is built once, and the policy is proven; exit code 2 where either fails. `scelle surface add --bundle`
    takes the digest.

    Example: scelle gate bundle guardrail.yaml --json
    """
    from scelle.safeguards.gate import prove  # start-up time of --help
    from scelle.safeguards.guardrail import load_setup

    setup = load_setup(guardrail)
    prove(setup.bundle).require()
    document = setup.bundle.to_json()
    withdrawn = setup.consents.withdrawn
    if setup.consents.issuers and (withdrawn is None or not withdrawn.is_file()):
        warn(
            "consents have issuers and no list of withdrawn ones that can be read: every consent will be unknown"
        )
    lines = [f"bundle {setup.bundle.digest}", f"  policy {setup.bundle.policy.name}, proven"]
    lines += [
        f"  detector {each['id']} {each['version']} {each['weights_digest']}"
        for each in document["detectors"]
    ]
    lines += [f"  threshold {name}: {number}" for name, number in document["thresholds"].items()]
    lines += [f"  list of hashes {name}: {digest}" for name, digest in document["hash_lists"].items()]
    emit({"digest": setup.bundle.digest, "bundle": document}, lines, as_json)


def _bundle(policy: Path | None, bundle: Path | None) -> "Bundle":
    from scelle.safeguards.gate import default_policy, load_policy, read_bundle  # start-up time of --help

    rules = default_policy() if policy is None else load_policy(policy)
    if bundle is None:
        return read_bundle(b"{}", rules)
    return _read(bundle, lambda data: read_bundle(data, rules))


def _lines(proof: "Proof") -> list[str]:
    document = proof.to_json()
    lines = [
        f"policy {proof.policy}: {'proven' if proof.holds else 'refused'}",
        f"  digest {proof.policy_digest}",
    ]
    lines += [
        f"  {stage}: {count} combinations of factor values, in {proof.cells[stage]} cells"
        for stage, count in proof.combinations.items()
    ]
    lines += [
        f"  {name}: {'holds' if each['holds'] else 'DOES NOT HOLD'} ({each['checked']} checked)"
        for name, each in document["properties"].items()
    ]
    return [*lines, *(f"  {failure.line()}" for failure in proof.failures)]


def _read(path: Path, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    """Parse a file, and name it where something of it is wrong."""
    data = _bytes(path)
    try:
        return parse(data)
    except GateRequestWrong as error:
        raise GateRequestWrong(f"{path}: {error}") from error


def _bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise GateRequestWrong(f"{path} is no regular file: name one")
    try:
        return path.read_bytes()
    except OSError as error:
        raise GateRequestWrong(f"{path} cannot be read ({error.strerror}): correct its name") from error
