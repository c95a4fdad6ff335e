"""Read live systems: one package per kind, independent of each other, behind one port (interfaces.py)."""
