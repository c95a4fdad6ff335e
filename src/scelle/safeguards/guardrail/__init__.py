"""Put a proven policy and its detectors between a request and a generator, and decide again by what is sealed."""

from scelle.safeguards.guardrail.lineage import Lineage
from scelle.safeguards.guardrail.model import Asked, Judged
from scelle.safeguards.guardrail.service import Guardrail
from scelle.safeguards.guardrail.setup import Setup, load_setup

__all__ = ["Asked", "Guardrail", "Judged", "Lineage", "Setup", "load_setup"]
