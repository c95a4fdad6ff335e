"""Run passes: enumerate, match, seal, reconcile. Every item ends in exactly one bucket."""
