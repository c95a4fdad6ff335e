"""Measure Scellé beside restic, borg and bagit on corpora that anyone can make again."""
