"""Open the PostgreSQL databases that a source names."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scelle.sources.credentials import check_credential, secret_from
from scelle.sources.interfaces import RecordSource
from scelle.sources.model import SourceSpec
from scelle.sources.windows import Window

if TYPE_CHECKING:
    from scelle.sources.postgres.settings import PostgresSettings


def open_database(spec: SourceSpec) -> RecordSource:
    """Open a PostgreSQL database, or its shards; the password is fetched for each connection and kept nowhere."""
    from scelle.sources.postgres.shards import ShardedSource  # start-up time of every other command
    from scelle.sources.postgres.source import PostgresSource

    databases = [PostgresSource(settings) for settings in database_settings(spec)]
    return databases[0] if spec.shards is None else ShardedSource(databases)


def database_settings(spec: SourceSpec) -> "list[PostgresSettings]":
    """Return what a spec tells the source of each database it names; raises InputError."""
    from scelle.sources.postgres.address import (  # start-up time of every other command
        parse_address,
        parse_shards,
    )
    from scelle.sources.postgres.settings import settings_of
    from scelle.sources.schema_file import parse_schema_file

    file = None if spec.schema is None else parse_schema_file(spec.schema)
    first = parse_address(spec.url, spec.name)
    addresses = (first,) if spec.shards is None else parse_shards(spec.shards, spec.name)
    found = []
    for address in addresses:
        settings = settings_of(address, spec.tables or ("public.*",))
        limits: dict[str, Any] = dict(spec.limits)
        if file is not None:
            limits["schemas"] = {file.name: file}
        window = None if spec.window is None else Window.parse(spec.window)
        settings = replace(settings, holder=spec.holder, window=window, **limits)
        if spec.shards is not None:
            settings = replace(settings, shard=f"{address.host}:{address.port}:{address.database}")
        if spec.credential is not None:
            where = check_credential(spec.credential, "--credential")
            settings = replace(settings, password=partial(secret_from, where, "--credential"))
        found.append(settings)
    return found
