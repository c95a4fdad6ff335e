"""Read a source's URL and open the source behind it."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from scelle.errors import InputError, SourceAddressError, SourceError, SourceSecretError
from scelle.formats.tokens import shown
from scelle.sources.credentials import check_credential, secret_from
from scelle.sources.files.source import FilesSource
from scelle.sources.interfaces import Member, RecordSource, Source
from scelle.sources.mail.eml import EmlSource
from scelle.sources.mail.maildir import MaildirSource
from scelle.sources.mail.mbox import MboxSource
from scelle.sources.model import SourceSpec

if TYPE_CHECKING:
    from scelle.sources.postgres.settings import PostgresSettings

_WINDOW: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def open_source(spec: SourceSpec) -> Source | RecordSource:
    """Open the source that a spec describes; nothing is read before its methods are called.

    Raises SourceAddressError, SourceSecretError, SchemaWrong, or InputError for a source of a custodian and an
    account at once, or an option that this kind of source does not have.
    """
    if spec.custodian is not None and spec.account is not None:
        raise InputError(
            f"source {shown(spec.name)} has a custodian and an account: the two never meet, so add it twice, "
            "once for each"
        )
    if is_database(spec.url):
        _refuse_options(spec, "postgresql")
        return open_database(spec)
    scheme, root = parse_url(spec.name, spec.url)
    _refuse_options(spec, scheme)
    if scheme in _DOCUMENTS:
        return _DOCUMENTS[scheme](root, spec.name)
    return _RECORDS[scheme](root, spec)


def _refuse_options(spec: SourceSpec, scheme: str) -> None:
    for option, value, takers in (
        ("--schema", spec.schema, ("records", "postgresql")),
        ("--tables", spec.tables, ("postgresql",)),
        ("--credential", spec.credential, ("postgresql",)),
        ("--shards", spec.shards, ("postgresql",)),
        ("--window", spec.window, ("postgresql",)),
        ("a limit", spec.limits, ("postgresql",)),
    ):
        if value and scheme not in takers:
            raise InputError(f"source {shown(spec.name)}: {option} is for {takers[0]}://: leave it out")


def _open_records(root: bytes, spec: SourceSpec) -> RecordSource:
    from scelle.sources.records.source import RecordsSource  # start-up time of every other command
    from scelle.sources.schema_file import parse_schema_file

    if spec.schema is None:
        raise InputError(
            f"source {shown(spec.name)}: records need a schema: give --schema FILE; `scelle source schema {spec.url} "
            "--infer --to FILE` writes one from a sample"
        )
    return RecordsSource(root, spec.name, parse_schema_file(spec.schema), spec.holder)


def grants(spec: SourceSpec) -> str:
    """Return the SQL that makes a role which may read what a spec names, and nothing else; raises InputError."""
    from scelle.sources.postgres.grants import grants_sql  # start-up time of every other command

    if not is_database(spec.url):
        raise InputError(f"source {shown(spec.name)}: --print-grants is for postgresql://")
    return "\n".join(grants_sql(settings) for settings in database_settings(spec))


def parse_window(text: str) -> tuple[int, int]:
    """Read `HH:MM-HH:MM` (UTC): the minutes of the day from which, and before which, a source may be read."""
    match = _WINDOW.fullmatch(text)
    if match is None or match[1] == match[2]:
        raise InputError(f"window {shown(text)}: write two times of day in UTC, as in 22:00-06:00")
    start, end = (int(each[:2]) * 60 + int(each[3:]) for each in match.groups())
    return start, end


def is_open_at(window: str | None, time_us: int) -> bool:
    """Tell whether a source may be read at this time; one without a window always."""
    if window is None:
        return True
    start, end = parse_window(window)
    minute = time_us // 60_000_000 % 1440
    return start <= minute < end if start < end else minute >= start or minute < end


def needs_schema(spec: SourceSpec) -> bool:
    """Tell whether a source cannot be read before it has a schema."""
    return spec.scheme == "records" and spec.schema is None


def schema_text(reference: str) -> str:
    """Return the text of a schema file, or of a shipped one (`builtin:debezium`); raises SchemaWrong."""
    from scelle.sources.records.builtin import schema_text as read  # start-up time of every other command

    return read(reference)


def inferred_schema(spec: SourceSpec) -> str:
    """Return the text of a schema file made from a sample of a source of records; raises InputError, SourceError."""
    from scelle.sources.records.sample import infer  # start-up time of every other command

    scheme, root = parse_url(spec.name, spec.url)
    if scheme != "records":
        raise InputError(f"source {shown(spec.name)}: a schema is inferred for records:// only")
    return infer(root, spec.name)


def _open_generation(root: bytes, spec: SourceSpec) -> RecordSource:
    from scelle.sources.generation.source import GenerationSource  # start-up time of every other command

    return GenerationSource(root, spec.name, spec.holder)


def _open_git(root: bytes, spec: SourceSpec) -> RecordSource:
    from scelle.sources.git.source import GitSource  # start-up time of every other command

    return GitSource(root, spec.name, spec.holder)


def open_database(spec: SourceSpec) -> RecordSource:
    """Open a PostgreSQL database, or its shards; the password is fetched for each connection and kept nowhere."""
    from scelle.sources.postgres.shards import ShardedSource  # start-up time of every other command
    from scelle.sources.postgres.source import PostgresSource

    if spec.window is not None:
        parse_window(spec.window)
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
        settings = replace(settings, holder=spec.holder, **limits)
        if spec.shards is not None:
            settings = replace(settings, shard=f"{address.host}:{address.port}:{address.database}")
        if spec.credential is not None:
            where = check_credential(spec.credential, "--credential")
            settings = replace(settings, password=partial(secret_from, where, "--credential"))
        found.append(settings)
    return found


_DOCUMENTS: Final[dict[str, Callable[[bytes, str], Source]]] = {
    "files": FilesSource,
    "mbox": MboxSource,
    "maildir": MaildirSource,
    "eml": EmlSource,
}
_RECORDS: Final[dict[str, Callable[[bytes, SourceSpec], RecordSource]]] = {
    "records": _open_records,
    "generation": _open_generation,
    "git": _open_git,
}
SCHEMES: Final = (*_DOCUMENTS, *_RECORDS)
DATABASES: Final = ("postgresql", "postgres")


def local_root(spec: SourceSpec) -> bytes | None:
    """Return the path that a source reads on this machine; None where it reads a server."""
    return None if is_database(spec.url) else parse_url(spec.name, spec.url)[1]


@dataclass(frozen=True, slots=True)
class Shapes:
    """How the records of a source would be sealed, or why that is not known now; a source of documents has none."""

    members: tuple[Member, ...] = ()
    trouble: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is printed beside the source; nothing for a source of documents."""
        if self.trouble is not None:
            return {"unreachable": self.trouble}
        if not self.members:
            return {}
        return {
            "members": [
                {
                    "name": each.name,
                    "schema": each.schema.name,
                    "version": each.schema.version,
                    "profile": each.profile,
                    "dimensions": list(each.schema.dimensions),
                    "fields": {field.name: field.type for field in each.schema.fields},
                    "notes": list(each.notes),
                }
                for each in self.members
            ]
        }

    def lines(self) -> list[str]:
        """Return one line for each shape."""
        if self.trouble is not None:
            return [f"cannot be read now: {self.trouble}"]
        return [f"{each.name}: {'; '.join(each.notes) or 'as its schema says'}" for each in self.members]


def shapes_of(spec: SourceSpec) -> Shapes:
    """Ask a source of records for its shapes; a source that cannot be read now is no error here."""
    try:
        source = open_source(spec)
        if not isinstance(source, RecordSource):
            return Shapes()
        try:
            return Shapes(tuple(source.members()))
        finally:
            source.close()
    except (InputError, SourceError) as error:
        return Shapes(trouble=str(error))


def is_database(url: str) -> bool:
    """Tell whether a URL is of a PostgreSQL database."""
    return url.partition("://")[0] in DATABASES


def parse_url(name: str, url: str) -> tuple[str, bytes]:
    """Read `scheme:///absolute/path`, percent-decoded to bytes; give the scheme and the path.

    No message repeats any part of the URL: whatever stands in a refused one may be a secret.
    """
    scheme, separator, rest = url.partition("://")
    if "@" in (rest.partition("/")[0] if separator else url):
        raise SourceSecretError(
            f"the URL of source {shown(name)} carries a user name or a password: take it out, a secret never "
            "stands in a URL"
        )
    if not separator or scheme not in SCHEMES:
        schemes = ", ".join(f"{each}://" for each in (*SCHEMES, "postgresql"))
        raise _wrong(name, f"has none of the schemes {schemes}; write for example files:///srv/documents")
    if "?" in rest or "#" in rest:
        raise _wrong(
            name, "has a query or a fragment: write ? as %3F and # as %23 where they belong to the path"
        )
    if not rest.startswith("/"):
        raise _wrong(
            name, "names a host, or a path that is not absolute: write three slashes, as in files:///srv"
        )
    path = os.fsencode(rest)
    if _BAD_ESCAPE.search(path):
        raise _wrong(name, "has a % that escapes nothing: write it as %25")
    path = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), path)
    if b"\0" in path:
        raise _wrong(name, "has a NUL byte: no path has one")
    if any(part in (b".", b"..") for part in path.split(b"/")):
        raise _wrong(name, "has . or .. in its path: write where it leads")
    return scheme, path.rstrip(b"/") or b"/"


def _wrong(name: str, why: str) -> SourceAddressError:
    return SourceAddressError(f"the URL of source {shown(name)} {why}")
