"""Decide whether an item is held: by which orders and clauses, and with how much doubt."""

from scelle.guard.model import Facts, Hold, Verdict
from scelle.guard.service import Guard, ref_of

__all__ = ["Facts", "Guard", "Hold", "Verdict", "ref_of"]
