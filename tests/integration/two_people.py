"""Seal what two people stood behind, without the command that does it: asked for two days before, and approved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Platform

from scelle.bootstrap import KeyChoice, Session, now_us, opened
from scelle.bootstrap.acting import ActingAs
from scelle.bootstrap.operators import make_key
from scelle.bootstrap.requests import ask
from scelle.ledger.events import record_event
from scelle.operators.model import Role
from scelle.operators.registry import ADDED, public_body
from scelle.operators.requests import APPROVED, Act

TWO_DAYS_US = 2 * 86_400_000_000


def let_go(platform: Platform, order: str, at_us: int | None = None) -> str:
    """Seal the release of an order; return its request."""
    return carried_out(
        platform, order, Act.RELEASE, {"ground": "lifted"}, [("released", {"ground": "lifted"})], at_us
    )


def stop_clause(platform: Platform, order: str, clause: str) -> str:
    """Seal that a clause grows no longer; return its request."""
    amended: dict[str, Any] = {
        "act": "narrow",
        "clauses": [],
        "stopped": [clause],
        "reference": None,
        "document": None,
        "diff": {},
    }
    acts: list[tuple[str, dict[str, Any]]] = [("clause.stopped", {"id": clause}), ("amended", amended)]
    return carried_out(platform, order, Act.NARROW, {"clauses": [], "stop": [clause]}, acts)


def carried_out(
    platform: Platform,
    order: str,
    act: Act,
    asked: Mapping[str, Any],
    acts: list[tuple[str, dict[str, Any]]],
    at_us: int | None = None,
) -> str:
    """Have something asked for and approved, and seal these events of the order under its request; return that."""
    time_us = now_us() if at_us is None else at_us
    first, second = _people(platform)
    with _acting(platform, time_us - TWO_DAYS_US, first) as session:
        request = ask(session, act, order, asked, "test").id
    with _acting(platform, time_us, second) as session:
        key = session.operator_key
        text = b"" if key is None else session.people.requests[request].approval_text(
            f"{session.host}/po/vault", key.vkey
        )  # fmt: skip
        session.record(
            APPROVED,
            {
                "request": request,
                "operator": None if key is None else key.name,
                "signature": b"".hex() if key is None else key.sign(text).hex(),
            },
        )
        writer = session.writer(order)
        for kind, body in acts:
            record_event(writer, time_us, session.actor, kind, {**body, "request": request})
        writer.seal(time_us)
    return request


@contextmanager
def _acting(platform: Platform, time_us: int, key_file: Path | None) -> Iterator[Session]:
    keys, who = KeyChoice(key_file=platform.root / "keys"), ActingAs(key_file=key_file)
    with opened(platform.vault, keys, writing=True, acting_as=who, clock=lambda: time_us) as session:
        yield session


def _people(platform: Platform) -> tuple[Path | None, Path | None]:
    """Return the key files of two counsel, who are brought in where the vault has operators: nobody in solo mode."""
    files = [platform.root / f"{name}.two.key" for name in ("asker", "seconder")]
    with opened(platform.vault, KeyChoice(key_file=platform.root / "keys"), writing=True) as session:
        if session.is_solo:
            return None, None
        for path in files:
            if not path.exists():
                public = make_key(path.name.partition(".")[0], path, None)
                body = public_body(public.vkey, public.recipient, Role.COUNSEL, None, None)
                session.record(ADDED, {**body, "request": None})
    return files[0], files[1]
