"""A platform's database goes on deleting: an order arrives, purged rows are in the vault, a TRUNCATE is refused."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from demo.orders import order_text

if TYPE_CHECKING:
    from demo.__main__ import Demo

ORDER = "demo-2026-0004"
CLAUSE = 'id = "one-account"\nsources = ["platform"]\naccounts = ["u7"]'
PASSWORD_IN = "DEMO_DATABASE_PASSWORD"  # noqa: S105  the name of a variable
PLATFORM = """
CREATE TABLE posts (id bigserial PRIMARY KEY, account_id text, body text, created_at timestamptz DEFAULT now());
CREATE TABLE messages (id bigserial PRIMARY KEY, account_id text, body text, created_at timestamptz DEFAULT now());
INSERT INTO posts (account_id, body, created_at)
  SELECT 'u' || i % 20, 'a walk by the river, no. ' || i, now() - i * interval '1 hour' FROM generate_series(1, 2000) i;
INSERT INTO messages (account_id, body) SELECT 'u' || i % 20, 'see you at noon' FROM generate_series(1, 200) i;
"""
PURGE = "DELETE FROM posts WHERE created_at < now() - interval '30 days'"


def run(demo: "Demo") -> None:
    """Show the life of rows that are created and deleted while an order holds them."""
    with platform_database() as found:
        if isinstance(found, str):
            demo.step("A live database", f"skipped: {found}")
            return
        server, db = found
        demo.environment[PASSWORD_IN] = server[1]
        show(demo, server[0], db)


@contextmanager
def platform_database() -> Iterator["str | tuple[tuple[str, str], Any]"]:
    """Start a PostgreSQL on 127.0.0.1 with a small platform's tables; give why it cannot, where it cannot."""
    try:
        from tests.integration.postgres import PASSWORD, serve_postgres

        serving = serve_postgres("18")
        server = serving.__enter__()
    except Exception as error:  # noqa: BLE001  whatever this machine lacks, the rest of the demo goes on
        yield f"no PostgreSQL could be started here ({type(error).__name__})"
        return
    try:
        with server.database("platform") as db:
            db.execute(PLATFORM.encode())
            try:
                yield (f"postgresql://postgres@127.0.0.1:{server.port}/platform", PASSWORD), db
            finally:
                for (name,) in db.execute("SELECT slot_name FROM pg_replication_slots").fetchall():
                    db.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    finally:
        serving.__exit__(*sys.exc_info())


def show(demo: "Demo", url: str, db: Any) -> None:
    """Run the act."""
    demo.step("A live database", "the order names an account; what it wrote is sealed in one snapshot")
    demo.scelle("source", "add", "platform", url, "--credential", f"env:{PASSWORD_IN}")
    toml = demo.work / "live.toml"
    toml.write_text(order_text(ORDER, "a-live-matter", "DEMO/4", CLAUSE), encoding="utf-8")
    demo.scelle("order", "add", str(toml))
    first = demo.scelle("watch", ORDER, "--until-caught-up")["snapshots"][0]
    print(f"   offered {first['offered']} = sealed {first['sealed']} + excluded {first['excluded']}")

    demo.step(
        "A guard inside the database",
        "purges go on, and nothing held goes before it is kept; every path is tried",
    )
    demo.scelle(
        "guard", "install", ORDER, "--source", "platform", "--mode", "divert", "--tables", "public.posts"
    )
    demo.scelle(
        "guard", "install", ORDER, "--source", "platform", "--mode", "refuse", "--tables", "public.messages"
    )

    demo.step(
        "The purge job runs, and somebody posts and deletes at once",
        "all of it is in the vault, with full content",
    )
    db.execute("INSERT INTO posts (account_id, body) VALUES ('u7', 'gone within a moment')")
    db.execute("DELETE FROM posts WHERE body = 'gone within a moment'")
    purged = db.execute(PURGE).rowcount
    counts = demo.scelle("watch", ORDER, "--until-caught-up")["sources"]["platform"]
    offered, sealed, excluded = (counts[name] for name in ("offered", "sealed", "excluded"))
    print(f"   purged {purged}; changes offered {offered} = sealed {sealed} + excluded {excluded}")
    found = demo.scelle("find", ORDER, 'body = "gone within a moment"')["count"]
    kept = demo.scelle("find", ORDER, 'source = "platform"', "--limit", "1")["count"]
    print(f"   rows of u7 in the vault: {kept}; the one that lived a moment: {found}")
    if not found:
        sys.exit("   a row that was created and deleted is not in the vault")

    demo.step("TRUNCATE messages", "refused by the database, with a ref that names no order")
    print(f"   REFUSED: {refusal(db, 'TRUNCATE messages')}")
    if db.execute("SELECT count(*) FROM messages").fetchone() != (200,):
        sys.exit("   messages are gone")

    demo.step(
        "The guard is probed", "each probe is rolled back; `effective since` is evidence, not a status field"
    )
    paths = demo.scelle("guard", "probe")["paths"]
    probed = [each for each in paths if (each["state"], each["how"]) == ("effective", "probed")]
    print(f"   {len(paths)} paths: {len(probed)} probed and effective since {probed[0]['effective_since']}")
    demo.scelle("verify")


def refusal(db: Any, statement: str) -> str:
    """Run what must be refused, and return the refusal."""
    import psycopg

    try:
        db.execute(statement.encode())
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    sys.exit(f"   {statement} was not refused")
