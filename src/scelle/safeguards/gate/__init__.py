"""Decide, from factors alone and by a policy that was proven, what a generator may do, and say why."""

from scelle.safeguards.gate.bundle import Bundle, Detector
from scelle.safeguards.gate.decide import Counterfactual, Decision, Gate
from scelle.safeguards.gate.model import Factor, Lane, Outcome, Request, Stage
from scelle.safeguards.gate.policy import Policy, default_policy, load_policy, read_policy
from scelle.safeguards.gate.proofs import Failure, Proof, prove
from scelle.safeguards.gate.requests import read_bundle, read_request

__all__ = [
    "Bundle",
    "Counterfactual",
    "Decision",
    "Detector",
    "Factor",
    "Failure",
    "Gate",
    "Lane",
    "Outcome",
    "Policy",
    "Proof",
    "Request",
    "Stage",
    "default_policy",
    "load_policy",
    "prove",
    "read_bundle",
    "read_policy",
    "read_request",
]
