"""Offer every message of Maildirs, mbox files and trees of .eml, with its original bytes."""
