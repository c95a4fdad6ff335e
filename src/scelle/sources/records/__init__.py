"""Offer the rows of JSONL, CSV and Parquet files as records, by a schema file."""

from scelle.sources.records.builtin import builtin_names, load_schema, schema_text
from scelle.sources.records.sample import infer
from scelle.sources.records.source import RecordsSource

__all__ = ["RecordsSource", "builtin_names", "infer", "load_schema", "schema_text"]
