"""Read the tables of a PostgreSQL database as records, all of them in one snapshot."""

from scelle.sources.postgres.address import Address, parse_address, parse_shards
from scelle.sources.postgres.grants import grants_sql
from scelle.sources.postgres.settings import PostgresSettings, TableSchema
from scelle.sources.postgres.shards import ShardedSource
from scelle.sources.postgres.source import PostgresSource, TableCount

__all__ = [
    "Address",
    "PostgresSettings",
    "PostgresSource",
    "ShardedSource",
    "TableCount",
    "TableSchema",
    "grants_sql",
    "parse_address",
    "parse_shards",
]
