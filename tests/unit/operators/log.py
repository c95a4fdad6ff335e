"""A vault's log in memory: people with keys, and the events that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scelle.ledger.events import Event
from scelle.operators.keys import OperatorKey
from scelle.operators.model import Role
from scelle.operators.registry import ADDED, REMOVED, People, people_of, public_body
from scelle.operators.requests import APPROVED, EXECUTED, MADE, WITHDRAWN, Act, Request

ORIGIN = "platform.example/po/vault"
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


@dataclass
class Log:
    """Events of the log `vault`; `now_us` is the time of the next one."""

    now_us: int = DAY_US
    events: list[Event] = field(default_factory=list)
    keys: dict[str, OperatorKey] = field(default_factory=dict)

    def note(self, actor: str, kind: str, body: Mapping[str, Any]) -> None:
        self.events.append(Event(len(self.events), self.now_us, f"operator:{actor}", kind, body))

    def add(
        self, name: str, role: Role = Role.COUNSEL, *, by: str = "root", orders: list[str] | None = None,
        request: str | None = None, added_by: str | None = None,
    ) -> OperatorKey:  # fmt: skip
        key = self.keys.setdefault(name, OperatorKey.generate(name))
        self.note(
            by, ADDED, {**public_body(key.vkey, key.recipient, role, orders, added_by), "request": request}
        )
        return key

    def remove(self, name: str, by: str) -> None:
        self.note(by, REMOVED, {"name": name, "by": by})

    def ask(
        self, by: str | None, act: Act = Act.RELEASE, order: str | None = "o1", *, id: str = "r1",
        body: Mapping[str, Any] | None = None, signer: OperatorKey | None = None,
    ) -> Request:  # fmt: skip
        ready_us = self.now_us + DAY_US
        expires_us = ready_us + 14 * DAY_US
        request = Request(id, act, order, body or {}, by, "asked", self.now_us, ready_us, expires_us)
        self.put(request, by, signer)
        return request

    def put(self, request: Request, by: str | None, signer: OperatorKey | None = None) -> None:
        key = signer or (None if by is None else self.keys[by])
        signature = b"" if key is None else key.sign(request.signed_text(ORIGIN))
        self.note(by or "root", MADE, {"asked": request.to_json(), "signature": signature.hex()})

    def approve(
        self, request: Request, by: str | None, *, signed: Request | None = None, origin: str = ORIGIN
    ) -> None:
        key = None if by is None else self.keys[by]
        text = b"" if key is None else (signed or request).approval_text(origin, key.vkey)
        signature = b"" if key is None else key.sign(text)
        body = {"request": request.id, "operator": by, "signature": signature.hex()}
        self.note(by or "root", APPROVED, body)

    def withdraw(self, request: Request, by: str) -> None:
        self.note(by, WITHDRAWN, {"request": request.id, "by": by})

    def execute(self, request: Request, by: str) -> None:
        self.note(by, EXECUTED, {"request": request.id, "outcome": {}})

    @property
    def people(self) -> People:
        return people_of(self.events, ORIGIN)

    def state(self, request: Request) -> str:
        people = self.people
        return people.requests[request.id].state(ORIGIN, people.operators, self.now_us).value


def staffed(*names: str) -> Log:
    """Make the log of a vault with counsel of these names, of whom the first has acted: the setup is over."""
    log = Log()
    for name in names:
        log.add(name)
    log.note(names[0], "setting", {"name": "grace", "value_us": str(31 * DAY_US), "request": None})
    return log
