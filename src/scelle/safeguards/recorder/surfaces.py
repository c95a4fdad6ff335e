"""Know every route to the generator, and how its canaries stand; sealed as events of the vault's own log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from scelle.errors import SurfaceWrong
from scelle.ledger.events import Event
from scelle.safeguards.gate.model import DOMAIN_OF
from scelle.safeguards.recorder.model import UNREGISTERED, check_surface

ADDED: Final = "surface.added"
CANARY: Final = "surface.canary"
RETIRED: Final = "surface.retired"
KINDS: Final = (ADDED, CANARY, RETIRED, UNREGISTERED)
"""The events of the vault's own log that say something of surfaces."""
STALE_US: Final = 2 * 3600 * 1_000_000
"""A canary goes every hour: a surface that had none for so long is not known to be well."""
_DIGEST_SHOWN: Final = 12


class State(StrEnum):
    """Say how a surface stands."""

    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Surface:
    """One route to the generator. Times in microseconds.

    `expects` is the decision that its canary must get, `bundle` the digest of the bundle that must have decided, where
    one is required; `credential` says where the canary's key is found, `factors` what the canary says of itself to the
    gate. `is_recorded` is False where it cannot be recorded: such a surface is red, not absent. A retired one is no
    longer registered; `stood` is how it stood until then, and since when. `since_us` is when it came to stand as it
    does, `verdict` what was sealed of its last canary.
    """

    name: str
    owner: str | None
    url: str | None
    expects: str = "allow"
    bundle: str | None = None
    build: str | None = None
    credential: str | None = None
    factors: tuple[tuple[str, str], ...] = ()
    is_registered: bool = True
    is_recorded: bool = True
    is_retired: bool = False
    is_well: bool | None = None
    why: str | None = None
    since_us: int = 0
    canary_us: int | None = None
    verdict: Mapping[str, Any] | None = None
    stood: tuple[State, int] | None = None

    def state(self, now_us: int) -> State:
        """Tell how it stands: red where it is not recorded or registered, or its last canary was not as it must be."""
        if self.is_retired:
            return State.RETIRED
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
        """Tell why it does not stand green, as a code; None where it does."""
        if self.state(now_us) is not State.UNKNOWN:
            return self.why
        return "no canary yet" if self.canary_us is None else "no canary for two hours"

    def words(self, now_us: int) -> str | None:
        """Tell the same for people."""
        is_judged = self.is_registered and self.is_recorded and self.is_well is False
        return cause_in_words(self, self.verdict) if is_judged and self.verdict else self.reason(now_us)

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
            "factors": dict(self.factors),
            "recorded": self.is_recorded,
        }


def surfaces_of(history: Iterable[Event]) -> dict[str, Surface]:
    """Fold events of the vault's own log: the surfaces by name, as they stand."""
    found: dict[str, Surface] = {}
    for event in history:
        name = str(event.body["name"])
        now = _now(found.get(name), event)
        if now is not None:
            found[name] = now
    return found


def _now(before: Surface | None, event: Event) -> Surface | None:
    """Return what one event makes of a surface; None where there is none."""
    if event.kind == ADDED:
        return _since(before, _added(event), event.time_us)
    if event.kind == UNREGISTERED and (before is None or before.is_retired):
        name = str(event.body["name"])
        return Surface(name, None, None, is_registered=False, why="not registered", since_us=event.time_us)
    if before is None or before.is_retired:
        return before
    if event.kind == RETIRED:
        return _retired(before, event)
    return _since(before, _judged(before, event), event.time_us) if event.kind == CANARY else before


def _since(before: Surface | None, after: Surface, at_us: int) -> Surface:
    """Say since when it stands so: another cause for the same state does not begin anew."""
    is_same = before is not None and before.state(at_us) is after.state(at_us)
    return replace(after, since_us=before.state_since_us(at_us) if before and is_same else at_us)


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
        tuple((body.get("factors") or {}).items()),  # those sealed at first have none
        is_recorded=body["recorded"],
        why=None if body["recorded"] else "not recorded",
    )


def _judged(surface: Surface, event: Event) -> Surface:
    is_judged = surface.is_registered and surface.is_recorded
    why = event.body["why"] if is_judged else surface.why
    return replace(
        surface, is_well=event.body["well"], why=why, canary_us=event.time_us, verdict=dict(event.body)
    )


def _retired(surface: Surface, event: Event) -> Surface:
    return replace(
        surface,
        is_registered=False,
        is_retired=True,
        why=event.body["reason"],
        since_us=event.time_us,
        stood=(surface.state(event.time_us), surface.state_since_us(event.time_us)),
    )


def known_surface(surfaces: Mapping[str, Surface], name: str) -> Surface:
    """Return the registered surface `name`; raises SurfaceWrong."""
    surface = surfaces.get(check_surface(name))
    if surface is None or not surface.is_registered:
        raise SurfaceWrong(f"no surface {name} is registered: `scelle surface list` shows those that are")
    return surface


def read_factors(text: str) -> tuple[tuple[str, str], ...]:
    """Read `NAME=VALUE, NAME=VALUE`, factors of the gate and values that they can have; raises SurfaceWrong."""
    found: dict[str, str] = {}
    for each in text.split(","):
        name, _, value = (part.strip() for part in each.partition("="))
        domain = DOMAIN_OF.get(name)
        if domain is None:
            raise SurfaceWrong(
                f"--factors {each.strip()!a}: write NAME=VALUE, with commas between; names are {', '.join(DOMAIN_OF)}"
            )
        if value not in domain.position:
            raise SurfaceWrong(f"--factors {each.strip()!a}: {name} is one of {', '.join(domain.values)}")
        if name in found:
            raise SurfaceWrong(f"--factors: {name} stands there twice: say it once")
        found[name] = value
    return tuple(found.items())


def cause_in_words(surface: Surface, verdict: Mapping[str, Any]) -> str | None:
    """Say why a canary (`verdict` as it is sealed) was not as it must be; None where it was."""
    if verdict["why"] is None:
        return None
    code, _, detail = str(verdict["why"]).partition(": ")
    bundle = f"expected bundle {(surface.bundle or '')[:_DIGEST_SHOWN]}"
    match code:
        case "other-decision":
            return f"expected {surface.expects}, got {_got(verdict)}"
        case "no-decision":
            return f"expected {surface.expects}, got neither a picture nor a refusal: {detail}"
        case "other-bundle":
            return f"{bundle}, got {str(verdict['bundle'])[:_DIGEST_SHOWN]}"
        case "no-bundle":
            return f"{bundle}, and none was named"
        case "not-recorded":
            return "no recorder said that it recorded it (X-Scelle-Record)"
        case "other-surface":
            return f"its URL leads to the recorder of surface {verdict.get('recorder')}"
        case "detectors-down":
            return f"detectors did not answer, so that {verdict['decision']} says nothing"
        case "unreachable":
            return f"unreachable: {detail.replace('-', ' ')}"
        case "no-credential":
            return detail
    return str(verdict["why"])


def _got(verdict: Mapping[str, Any]) -> str:
    """Say a decision, and where what was served speaks against it, that too."""
    decision, seen = str(verdict["decision"]), verdict.get("seen")
    if seen is None or (seen == "allow") == decision.startswith("allow"):
        return decision
    return f"{decision} by header, but {'a picture was served' if seen == 'allow' else 'it was refused'}"
