"""Keep the set of held accounts in a source's database: keyed hashes, one set for all orders."""

from collections.abc import Iterable
from typing import Any, Final

from psycopg import Connection

from scelle.guard.postgres.objects import QUERIES
from scelle.guard.postgres.relations import registry_lock

_BITS_PER_ACCOUNT: Final = 16
_SMALLEST_FILTER: Final = 1 << 13
_LARGEST_FILTER: Final = 1 << 27

_MAKE: Final = """
CREATE TEMPORARY TABLE scelle_told (account text) ON COMMIT DROP
"""
_HASH: Final = """
CREATE TEMPORARY TABLE scelle_wanted ON COMMIT DROP AS
SELECT DISTINCT hashtextextended(t.account COLLATE "C", s.seed) AS hash,
  sha256(s.key || convert_to(t.account, getdatabaseencoding())) AS tag
FROM scelle_told t CROSS JOIN scelle_guard.secret s ORDER BY 1, 2
"""
_TAKE_OUT: Final = """
DELETE FROM scelle_guard.held h WHERE NOT EXISTS (SELECT FROM scelle_wanted w WHERE (w.hash, w.tag) = (h.hash, h.tag))
"""
_PUT_IN: Final = """
INSERT INTO scelle_guard.held (hash, tag) SELECT w.hash, w.tag FROM scelle_wanted w
WHERE NOT EXISTS (SELECT FROM scelle_guard.held h WHERE (w.hash, w.tag) = (h.hash, h.tag))
ORDER BY w.hash, w.tag
"""


def hold(connection: "Connection[Any]", accounts: Iterable[str]) -> int:
    """Hold exactly these accounts, each as its column prints it; gives their number.

    One transaction: they are held from its commit on, and until then the set is what it was. A crash leaves the old
    set. The texts pass through a temporary table, which the write-ahead log does not see.
    """
    with connection.transaction():
        registry_lock(connection)
        connection.execute("SET LOCAL work_mem = '128MB'")
        _tell(connection, accounts)
        connection.execute("ANALYZE scelle_told")
        connection.execute(_HASH.encode())
        connection.execute("ANALYZE scelle_wanted")
        connection.execute(_TAKE_OUT.encode())
        connection.execute(_PUT_IN.encode())
        connection.execute("ANALYZE scelle_guard.held")
        number = _write_filter(connection)
        connection.execute(
            "UPDATE scelle_guard.settings SET held_xid = pg_current_xact_id(), held_count = %s, hash_check = "
            "(SELECT hashtextextended('scellé' COLLATE \"C\", s.seed) FROM scelle_guard.secret s)",
            (number,),
        )
    return number


def is_settled(connection: "Connection[Any]") -> bool:
    """Say whether every transaction that could have begun before the last `hold` was over, is over.

    A statement looks at the set when it ends, so that an account is held from the commit on. What was deleted
    before it in a transaction that is still open may go all the same, and a transaction with an older snapshot does
    not see the set: until this is true.
    """
    row = connection.execute(
        """
        SELECT s.held_xid IS NULL OR (pg_visible_in_snapshot(s.held_xid, pg_current_snapshot())
          AND pg_snapshot_xmin(pg_current_snapshot()) > s.held_xid
          AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database()
            AND a.backend_type = 'client backend' AND a.backend_xmin IS NOT NULL
            AND age(a.backend_xmin) >= age((s.held_xid::text::bigint % 4294967296)::text::xid)))
        FROM scelle_guard.settings s
        """
    ).fetchone()
    return bool(row and row[0])


def ref_of(connection: "Connection[Any]", account: str) -> str:
    """Give the ref that a refusal shows for an account, for whoever may know which order holds it."""
    row = connection.execute("SELECT scelle_guard.ref(%s)", (account,)).fetchone()
    return "" if row is None else str(row[0])


def is_of_accounts(connection: "Connection[Any]", ref: str, accounts: Iterable[str]) -> bool:
    """Tell whether a refusal's ref is that of one of these accounts. The key does not leave the database."""
    with connection.transaction(force_rollback=True):
        _tell(connection, accounts)
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM scelle_told t CROSS JOIN scelle_guard.secret s WHERE "
            "left(encode(sha256(s.key || convert_to('ref:' || t.account, 'UTF8')), 'hex'), 8) = %s)",
            (ref,),
        ).fetchone()
    return bool(row and row[0])


def objects_of_ref(connection: "Connection[Any]", ref: str) -> list[str]:
    """Name the guarded tables, columns and triggers that have this ref: of rows that nobody owns, and of DDL."""
    return [row[0] for row in connection.execute(QUERIES["objects_of_ref"].encode(), (ref,)).fetchall()]


def _tell(connection: "Connection[Any]", accounts: Iterable[str]) -> None:
    """Put texts into the temporary table `scelle_told`, which ends with the transaction."""
    connection.execute(_MAKE.encode())
    with connection.cursor() as cursor, cursor.copy("COPY scelle_told FROM STDIN") as copy:
        for account in accounts:
            copy.write_row((account,))


def _write_filter(connection: "Connection[Any]") -> int:
    """Write the bits that a bulk statement looks at first: one per account, by the low bits of its hash."""
    hashes = connection.execute("SELECT h.hash FROM scelle_guard.held h", binary=True)
    size = max(
        _SMALLEST_FILTER, min(_LARGEST_FILTER, 1 << (hashes.rowcount * _BITS_PER_ACCOUNT).bit_length())
    )
    mask, bits = size - 1, bytearray(size // 8)
    for (value,) in hashes:
        place = value & mask
        bits[place >> 3] |= 1 << (place & 7)
    connection.execute("UPDATE scelle_guard.filter SET bits = %s", (bytes(bits),), binary=True)
    return hashes.rowcount
