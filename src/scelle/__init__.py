"""Obey a preservation order, and prove it."""

__version__ = "0.1.0"
