"""Read the events, configurations and policies of a service that generates text or pictures."""

from scelle.sources.generation.source import GenerationSource

__all__ = ["GenerationSource"]
