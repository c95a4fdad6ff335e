"""Ask the databases in which guards stand, each question on a connection of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from scelle.bootstrap.session import Session
from scelle.errors import InputError, SourceUnreadable
from scelle.sources.postgres import PostgresSource
from scelle.sources.urls import open_source

if TYPE_CHECKING:  # the driver is an extra: what needs it is imported when a database is guarded
    from psycopg import Connection

_Answer = TypeVar("_Answer")


def asked_of(session: Session, name: str, ask_: Callable[["Connection[Any]"], _Answer]) -> _Answer:
    """Ask the database of a source; raises a SourceError in Scellé's words."""
    return asked(open_database(session, name), ask_)


def databases(session: Session, names: Iterable[str]) -> Iterator[tuple[str, PostgresSource]]:
    """Yield those among named sources that are databases in which a guard can stand, by name."""
    for name in sorted(names):
        source = open_source(session.sources()[name])
        if isinstance(source, PostgresSource):
            yield name, source


def database_of(session: Session, aliases: Mapping[str, str], name: str, order: str) -> PostgresSource:
    """Return a database of an order; raises InputError where the name is none of its own."""
    found = dict(databases(session, [name] if name in aliases else []))
    if name not in found:
        others = ", ".join(each for each, _ in databases(session, aliases)) or "it has none"
        raise InputError(f"{name} is no database of order {order}: name one of its own ({others})")
    return found[name]


def open_database(session: Session, name: str) -> PostgresSource:
    """Return the database of a source in which a guard stands."""
    source = open_source(session.sources()[name])
    assert isinstance(source, PostgresSource)  # noqa: S101  only these are ever guarded
    return source


def asked(source: PostgresSource, ask_: Callable[["Connection[Any]"], _Answer]) -> _Answer:
    """Ask a database on a connection of its own; raises a SourceError in Scellé's words."""
    import psycopg  # the driver is an extra

    from scelle.sources.postgres.connecting import source_error_of

    with connected(source) as connection:
        try:
            return ask_(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            said = error.diag.message_primary or "a right is missing"
            raise SourceUnreadable(
                f"{source.settings.place} refuses: {said}: `scelle guard plan ORDER` names the right to ask for"
            ) from error
        except psycopg.Error as error:
            raise source_error_of(error, source.settings.place) from error


@contextmanager
def connected(source: PostgresSource) -> Iterator["Connection[Any]"]:
    """Open a connection to a source's database, of several hosts to the primary, where a guard stands; close it."""
    from scelle.sources.postgres.connecting import connect_to_change  # the driver is an extra

    connection = connect_to_change(replace(source.settings, only_primary=True))
    try:
        yield connection
    finally:
        connection.close()
