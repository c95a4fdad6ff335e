"""Open the source that a spec describes, and say what is needed for it: a schema, a role."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from scelle.errors import InputError, SourceError
from scelle.formats.tokens import shown
from scelle.sources.addresses import is_database, parse_url
from scelle.sources.databases import database_settings, open_database
from scelle.sources.files.source import FilesSource
from scelle.sources.interfaces import Member, RecordSource, Source
from scelle.sources.mail.eml import EmlSource
from scelle.sources.mail.maildir import MaildirSource
from scelle.sources.mail.mbox import MboxSource
from scelle.sources.model import SourceSpec

__all__ = [
    "Shapes",
    "grants",
    "inferred_schema",
    "needs_schema",
    "open_source",
    "schema_text",
    "shapes_of",
]


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
            known = " and ".join(f"{each}://" for each in takers)
            raise InputError(f"source {shown(spec.name)}: {option} is for {known}: leave it out")


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
