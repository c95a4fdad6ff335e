"""Know every route to the generator, and how its canaries stand; sealed as events of the vault's own log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from scelle.errors import SurfaceWrong
from scelle.ledger.events import Event
from scelle.safeguards.recorder.model import UNREGISTERED, check_surface

ADDED: Final = "surface.added"
CANARY: Final = "surface.canary"
KINDS: Final = (ADDED, CANARY, UNREGISTERED)
"""The events of the vault's own log that say something of surfaces."""
STALE_US: Final = 2 * 3600 * 1_000_000
"""A canary goes every hour: a surface that had none for so long is not known to be well."""


class State(StrEnum):
    """Say how a surface stands."""

    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Surface:
    """One route to the generator. Times in microseconds.

    `expects` is the decision that its canary must get, `bundle` the digest of the bundle that must have decided, where
    one is required; `credential` says where the canary's key is found. `held` is False where it cannot be recorded:
    such a surface is red, not absent. `since_us` is when it came to stand as it does.
    """

    name: str
    owner: str | None
    url: str | None
    expects: str = "allow"
    bundle: str | None = None
    build: str | None = None
    credential: str | None = None
    is_registered: bool = True
    is_recorded: bool = True
    is_well: bool | None = None
    why: str | None = None
    since_us: int = 0
    canary_us: int | None = None

    def state(self, now_us: int) -> State:
        """Tell how it stands: red where it is not recorded or registered, or its last canary was not as it must be."""
        if not (self.is_registered and self.is_recorded) or self.is_well is False:
            return State.RED
        if self.is_well is None or self.canary_us is None or now_us - self.canary_us > STALE_US:
            return State.UNKNOWN
        return State.GREEN

    def state_since_us(self, now_us: int) -> int:
        """Tell since when it stands so."""
        is_stale = self.state(now_us) is State.UNKNOWN and self.canary_us is not None
        return (self.canary_us or 0) + STALE_US if is_stale else self.since_us

    def reason(self, now_us: int) -> str | None:
        """Tell why it does not stand green; None where it does."""
        if self.state(now_us) is not State.UNKNOWN:
            return self.why
        return "no canary yet" if self.canary_us is None else "no canary for two hours"

    def to_event(self) -> dict[str, Any]:
        """Return the surface as it is sealed."""
        return {
            "name": self.name,
            "owner": self.owner,
            "url": self.url,
            "expects": self.expects,
            "bundle": self.bundle,
            "build": self.build,
            "credential": self.credential,
            "recorded": self.is_recorded,
        }


def surfaces_of(history: Iterable[Event]) -> dict[str, Surface]:
    """Fold events of the vault's own log: the surfaces by name, as they stand."""
    found: dict[str, Surface] = {}
    for event in history:
        name = str(event.body["name"])
        if event.kind == ADDED:
            found[name] = _added(event)
        elif event.kind == UNREGISTERED:
            found.setdefault(
                name,
                Surface(name, None, None, is_registered=False, why="not registered", since_us=event.time_us),
            )
        elif name in found:
            found[name] = _judged(found[name], event)
    return found


def _added(event: Event) -> Surface:
    body = event.body
    return Surface(
        str(body["name"]),
        body["owner"],
        body["url"],
        body["expects"],
        body["bundle"],
        body["build"],
        body["credential"],
        is_recorded=body["recorded"],
        why=None if body["recorded"] else "not recorded",
        since_us=event.time_us,
    )


def _judged(surface: Surface, event: Event) -> Surface:
    is_well = event.body["well"]
    why = event.body["why"] if surface.is_recorded else surface.why
    is_stale = surface.canary_us is not None and event.time_us - surface.canary_us > STALE_US
    same = surface.is_well is is_well and not (is_stale and is_well)
    since_us = surface.since_us if same else event.time_us
    return replace(surface, is_well=is_well, why=why, since_us=since_us, canary_us=event.time_us)


def known_surface(surfaces: Mapping[str, Surface], name: str) -> Surface:
    """Return the registered surface `name`; raises SurfaceWrong."""
    surface = surfaces.get(check_surface(name))
    if surface is None or not surface.is_registered:
        raise SurfaceWrong(f"no surface {name} is registered: `scelle surface list` shows those that are")
    return surface
