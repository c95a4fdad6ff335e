"""Send canaries, once or every so often, seal how they were decided, and say which surfaces turned."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from scelle.bootstrap.recording import Say, canary_targets, seal_verdicts, surfaces
from scelle.bootstrap.session import Session
from scelle.errors import InputError, ScelleError
from scelle.safeguards.recorder.canary import Verdict, try_surface
from scelle.safeguards.recorder.surfaces import State, Surface
from scelle.sources.credentials import secret_from

Opening = Callable[[bool], AbstractContextManager[Session]]
"""Opens the vault, for writing or not."""
Waits = Callable[[float], bool]
"""Waits for so many seconds, or until told to end; says whether to end."""


@dataclass(frozen=True, slots=True)
class Round:
    """How the canaries of one round were decided, and what is to be said of surfaces that stand otherwise since."""

    verdicts: tuple[Verdict, ...]
    turned: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Tell whether every one came back as it must."""
        return all(each.is_well for each in self.verdicts)


def canary_round(opening: Opening, only: str | None, waits: Waits = lambda wait_s: False) -> Round:
    """Try each registered surface, or the one that is named, and seal the verdicts; raises ScelleError.

    The vault is not held meanwhile: the surface's own recorder seals into it. Where it is told to end between two
    surfaces, what was tried until then is sealed.
    """
    with opening(False) as session:
        targets = canary_targets(session, only)
        before = {each.name: _standing(each, session.now_us()) for each in targets}
    if not targets:  # a canary that nobody sends must not look like one that came back
        raise InputError(
            "no surface is registered that can be recorded, so none was tried: scelle surface add"
        )
    verdicts = []
    for each in targets:
        verdicts.append(_tried(each))
        if waits(0):
            break
    with opening(True) as session:
        seal_verdicts(session, verdicts)
        found, now_us = surfaces(session), session.now_us()
    turned = []
    for name, then in before.items():
        now = _standing(found[name], now_us)
        if now != then:
            words = found[name].words(now_us)
            why = "" if words is None else f": {words}"
            turned.append(f"surface {name} is {now[0]}{why}; it was {then[0]}")
    return Round(tuple(verdicts), tuple(turned))


def keep_trying(one: Callable[[], Round], every_s: float, waits: Waits, say: Say) -> Round | None:
    """Run a round at once and one every `every_s` seconds, never two at a time, until told to end; return the last.

    None where the last one could not be run, which is said; the next is tried all the same. What the first one raises
    is raised: it may be a slip of the pen.
    """
    last: Round | None
    began_s, last = time.monotonic(), one()
    while True:
        for each in () if last is None else last.turned:
            say(each)
        if waits(max(0.0, every_s - (time.monotonic() - began_s))):
            return last
        began_s, last = time.monotonic(), _round_or_none(one, say)


def _standing(surface: Surface, now_us: int) -> tuple[State, str | None]:
    return surface.state(now_us), surface.reason(now_us)


def _round_or_none(one: Callable[[], Round], say: Say) -> Round | None:
    try:
        return one()
    except ScelleError as error:
        say(f"no canaries were sent, or not all sealed: {error} [{error.code}]")
        return None


def _tried(surface: Surface) -> Verdict:
    """Send one canary; a key that cannot be had keeps no other surface from being tried."""
    try:
        key = None
        if surface.credential is not None:
            key = secret_from(surface.credential, f"surface {surface.name}: --credential")
    except InputError as error:
        return Verdict(surface, f"no-credential: {error}")
    return try_surface(surface, key)
