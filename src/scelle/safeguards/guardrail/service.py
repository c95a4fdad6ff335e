"""Decide a request before the generator is called, and what it made before anybody gets it; fail closed.

What is not found out is unknown: a detector that is down, an input that is not here, a form that cannot be read, a
queue that is too long. Nothing is done here about a verdict: that is the recorder's, which records both.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from scelle.errors import ConsentWrong, GateRequestWrong
from scelle.safeguards.detectors.interface import Input, Inputs, Note, Role, merge
from scelle.safeguards.detectors.workers import START_MAX_S, Findings, Pool
from scelle.safeguards.gate.consent import Finding, Reference, Withdrawn, check_all, minor, read_withdrawn
from scelle.safeguards.gate.decide import Gate
from scelle.safeguards.gate.model import CUMULATIVE, DOMAIN_OF, UNKNOWN, Factor, Request, Stage, riskier
from scelle.safeguards.guardrail.lineage import Lineage, Past
from scelle.safeguards.guardrail.model import PLATFORM, RECORDER, Asked, Judged, unknown
from scelle.safeguards.guardrail.setup import Consents, Setup

Contents = Callable[[str], bytes]
"""Returns a content by its SHA-256; raises OSError where it is not here."""

_WITHDRAWN_READ_S = 5.0
_OF_REFERENCES = ("person", "hash_hit")


class Guardrail:
    """A policy in force with its detectors. A context manager; may be shared by threads.

    Raises PolicyRefused where the policy's proof fails: there is no guardrail around it.
    """

    def __init__(self, setup: Setup, lineage: Lineage, contents: Contents) -> None:
        self._setup, self._lineage, self._contents = setup, lineage, contents
        self.gate = Gate(setup.bundle)
        self.bundle = setup.bundle
        self._withdrawals = Withdrawals(setup.consents)
        self._pools: SimpleQueue[Pool] = SimpleQueue()
        self._all = [Pool(setup.programs) for _ in range(setup.at_once)]
        for each in self._all:
            self._pools.put(each)

    def warm(self, within_s: float = START_MAX_S) -> Mapping[str, str]:
        """Wait until each detector has answered once; return why one does not, by its id."""
        why_down: dict[str, str] = {}
        for each in self._all:
            deadline = time.monotonic() + within_s
            each.inspect(Inputs((Input(Role.PROMPT, b"a tree"),)), deadline)
            why_down |= each.why_down()
        return why_down

    def asked(self, asked: Asked) -> Judged:
        """Decide a request before the generator is called."""
        past = self._lineage.past(asked.conversation, asked.references)
        findings, given, why_down = self._look(asked.references, (), asked.prompt, past.root)
        consent = self._consent(asked)
        factors = input_factors(asked, findings.factors, past, consent, self._setup.platform_says)
        request = Request(Stage.INPUT, factors, consent.up_to, consent.all_adults)
        return self._judged(request, given, past.root, findings.notes, why_down)

    def made(self, asked: Asked, before: Judged, outputs: Sequence[str | None]) -> Judged:
        """Decide what came of a request that was let in; `outputs` are digests, None for one that is not here."""
        held = tuple(each for each in outputs if each is not None)
        findings, given, why_down = self._look(asked.references, held, None, before.root)
        factors = output_factors(before, findings.factors, all_here=len(held) == len(outputs) > 0)
        request = replace(before.request, stage=Stage.OUTPUT, factors=factors)
        return self._judged(request, given, before.root, findings.notes, why_down)

    def close(self) -> None:
        """End the detectors' processes."""
        for each in self._all:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judged(
        self,
        request: Request,
        given: Sequence[Input],
        root: str | None,
        notes: tuple[Note, ...],
        why_down: Mapping[str, str],
    ) -> Judged:
        decision = self.gate.decide(request, f"d{secrets.token_hex(16)}")
        return Judged(decision, request, tuple(each.digest for each in given), root, notes, why_down)

    def _look(
        self, references: Sequence[str], outputs: Sequence[str], prompt: str | None, root: str | None
    ) -> tuple[Findings, Sequence[Input], Mapping[str, str]]:
        """Ask the detectors; what they are given is read once it is its turn, so that memory stays flat."""
        many = max(1, len(references) + len(outputs))
        try:
            pool = self._pools.get(timeout=self._setup.deadline_s)
        except Empty:
            return _down(), (), {"all": "busy"}
        try:
            given = tuple(self._inputs(references, outputs, prompt, root))
            # from now on: neither a long wait for a turn nor a slow disk makes a detector late
            deadline = time.monotonic() + self._setup.deadline_s * many
            findings = pool.inspect(Inputs(given), deadline)
            return findings, given, pool.why_down()
        except OSError:
            return _down(), (), {"all": "input-missing"}
        finally:
            self._pools.put(pool)

    def _inputs(
        self, references: Sequence[str], outputs: Sequence[str], prompt: str | None, root: str | None
    ) -> list[Input]:
        """Return prompt, references from the root on, and outputs."""
        first = [] if root is None or root in references else [root]
        ordered = [*first, *sorted(references, key=lambda each: each != root)]
        given = [] if prompt is None else [Input(Role.PROMPT, prompt.encode("utf-8", "surrogatepass"))]
        given += [Input(Role.REFERENCE, self._contents(each)) for each in ordered]
        return given + [Input(Role.OUTPUT, self._contents(each)) for each in outputs]

    def _consent(self, asked: Asked) -> Finding:
        references = [Reference(each) for each in asked.references]
        now = datetime.now(UTC)
        return check_all(
            asked.consents,
            references,
            asked.account or "",
            now,
            self._setup.consents.issuers,
            self._withdrawals.known(now),
        )


class Withdrawals:
    """Read the list of withdrawn consents again from time to time; one that cannot be read says nothing."""

    def __init__(self, consents: Consents) -> None:
        self._consents = consents
        self._known: Withdrawn | None = None
        self._read_at = -_WITHDRAWN_READ_S
        self._lock = threading.Lock()

    def known(self, now: datetime) -> Withdrawn | None:
        """Return the list as it is now."""
        path = self._consents.withdrawn
        if path is None:
            return None
        with self._lock:
            if time.monotonic() - self._read_at >= _WITHDRAWN_READ_S:
                self._read_at = time.monotonic()
                try:
                    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    until = min(written, now) + timedelta(seconds=self._consents.withdrawn_max_age_s)
                    self._known = read_withdrawn(path.read_bytes(), until)
                except (OSError, ConsentWrong):
                    pass  # what was read before stays, until it is too old
            return self._known


def input_factors(
    asked: Asked,
    found: Mapping[str, Factor],
    past: Past,
    consent: Finding,
    platform_says: frozenset[str],
) -> dict[str, Factor]:
    """Join what detectors, the platform and the request itself say; of two words for one factor the riskier counts."""
    of_inputs = [each for name, each in found.items() if not DOMAIN_OF[name].is_output]
    reported = [*of_inputs, *_said(asked, platform_says), *_shown(asked, found)]
    if not asked.is_understood:
        reported += unknown(("person", "minor", "level", "hash_hit")).values()
    factors = merge(reported)
    estimate = factors.get("minor", Factor("minor"))
    person = "no" if estimate.value == "n/a" and not asked.references else "yes"
    factors["minor"] = replace(estimate, value=minor(estimate.value, consent, person=person)[0])
    factors["consent"] = consent.factor()
    level = factors["level"].value if "level" in factors else UNKNOWN
    factors[CUMULATIVE.name] = Factor(CUMULATIVE.name, riskier(level, past.level), detector_id=RECORDER)
    return factors


def output_factors(before: Judged, found: Mapping[str, Factor], *, all_here: bool) -> dict[str, Factor]:
    """Join what was found before and after; the detectors' health is that of now.

    That there was no reference says nothing of an output: what the recorder took from it does not count here, so that
    without a detector that looks at outputs nobody is excluded from them, and no list was looked up.
    """
    carried = [
        each
        for each in before.request.factors.values()
        if each.name != "detectors" and not (each.name in _OF_REFERENCES and each.detector_id == RECORDER)
    ]
    factors = merge([*carried, *found.values()])
    if not all_here:
        factors |= unknown(("exposure", "delta", "hash_hit"))
    return factors


def _said(asked: Asked, platform_says: frozenset[str]) -> list[Factor]:
    said = []
    for name in sorted(platform_says):
        try:
            said.append(Factor(name, asked.said.get(name, UNKNOWN), detector_id=PLATFORM))
        except GateRequestWrong:
            said.append(Factor(name, UNKNOWN, detector_id=PLATFORM))
    return said


def _shown(asked: Asked, found: Mapping[str, Factor]) -> list[Factor]:
    """Return what the request itself shows: what is to be done, and without a reference that there is none."""
    op = "edit" if asked.op == "t2i" and asked.references else asked.op
    shown = [Factor("op", op, detector_id=RECORDER)]
    if not asked.references and asked.is_understood:
        shown.append(Factor("person", "no", detector_id=RECORDER))
        if "hash_hit" not in found:
            shown.append(Factor("hash_hit", "none", detector_id=RECORDER))
    return shown


def _down() -> Findings:
    return Findings({"detectors": Factor("detectors", "down", detector_id=RECORDER)})
