"""Write the SQL that makes a role which may read what is named, and nothing else."""

from scelle.errors import InputError
from scelle.formats.tokens import shown
from scelle.sources.clause_sql import quoted
from scelle.sources.postgres.names import Pattern, literal, parse_patterns
from scelle.sources.postgres.settings import PostgresSettings

_HEAD = """\
-- What Scellé needs to read these tables, for a superuser or the tables' owner to run in database {database}.
-- It reads in REPEATABLE READ, READ ONLY transactions. It needs no REPLICATION, no BYPASSRLS, no right to write.
-- To watch these tables, or to guard them, it needs more: `scelle watch plan` and `scelle guard plan` say what.
CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {limit};
-- Give it a password yourself, so that none stands here or in a history: \\password {role}
ALTER ROLE {role} SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE {database} TO {role};
"""
_LOOP = """\
-- The tables and partitioned tables that are there now; run it again for those that come later.
DO {tag}
DECLARE
  each record;
BEGIN
  FOR each IN
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND ({included}){excluded}
  LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', each.schema, {role});
    EXECUTE format('GRANT SELECT ON TABLE %I.%I TO %I', each.schema, each.name, {role});
  END LOOP;
END
{tag};
"""
_TAIL = """\
-- Large objects belong to no table. Where rows name some, grant each:
--   GRANT SELECT ON LARGE OBJECT 12345 TO {role};
-- Tables under row-level security are refused as long as a policy could hide rows from this role. Either grant a
-- policy that shows it every row, or, where the order demands it:  ALTER ROLE {role} BYPASSRLS;
"""

_BESIDES = 8
"""Connections besides those that read tables: a snapshot's, and of a watch and its guard, some for a moment."""


def grants_sql(settings: PostgresSettings) -> str:
    """Write SQL of least privilege for the settings' user, database and tables; it holds no secret.

    Raises InputError for names that no SQL text can carry.
    """
    for name in (settings.user, settings.database):
        if "\0" in name or "\n" in name or "\r" in name:
            raise InputError(f"name {shown(name)} has a line end or a NUL: write the grants by hand")
    patterns = parse_patterns(settings.tables)
    role, database = quoted(settings.user), quoted(settings.database)
    text = _HEAD.format(role=role, database=database, limit=settings.max_connections + _BESIDES)
    return text + _loop(patterns, settings.user) + _TAIL.format(role=role)


def _loop(patterns: tuple[Pattern, ...], user: str) -> str:
    included = "\n        OR ".join(_condition(each) for each in patterns if not each.excludes)
    excluded = "".join(f"\n      AND NOT ({_condition(each)})" for each in patterns if each.excludes)
    texts, tag = included + excluded + user, "$scelle$"
    while tag in texts:
        tag = tag[:-1] + "_$"
    return _LOOP.format(tag=tag, included=included, excluded=excluded, role=literal(user))


def _condition(pattern: Pattern) -> str:
    schema, name = (literal(f"^(?:{each})$") for each in (pattern.schema.pattern, pattern.name.pattern))
    return f"n.nspname ~ {schema} AND c.relname ~ {name}"
