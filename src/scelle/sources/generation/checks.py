"""Look at all events together: one outcome an attempt, unbroken chains, digests that have their documents."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from scelle.errors import ItemError
from scelle.formats.canonical_json import canonical_json
from scelle.formats.values import NULL, UNDATED, integer_value, structure_value
from scelle.sources.generation.bundles import bundle_digests
from scelle.sources.generation.cap import Chains
from scelle.sources.generation.entries import CAP, Entry, identifier
from scelle.sources.generation.making import time_of
from scelle.sources.generation.model import AttemptClass, class_of
from scelle.sources.generation.reading import FileKind, kind_of_file, opened
from scelle.sources.generation.schemas import CHECK
from scelle.sources.generation.tally import Counted, Named, Tally
from scelle.sources.interfaces import BadRecord, Record, native_text
from scelle.sources.json_values import encode_text
from scelle.sources.tree import Tree
from scelle.sources.unfit import Unfit

FINDING: Final = "finding"
NOTE: Final = "note"

_WITHOUT: Final = "attempt-without-outcome"
_SEVERAL: Final = "attempt-with-several-outcomes"
_ORPHAN: Final = "outcome-without-attempt"
_MESSAGES: Final = {
    _WITHOUT: "the attempt has no outcome: look for its events, or record it as abandoned",
    _SEVERAL: "the attempt has several outcomes: one at most can be true",
    _ORPHAN: "the outcome's attempt is not among the events: look for files that are missing",
    "digest-unknown": "no document of the source has this digest: add the configuration or policy that it names",
    "bundle-missing": "events name a file that is not in the source: add it",
    "sampled": "not every span or log record was kept where this was written: counts are lower bounds",
}
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


class Checks:
    """Read every file of a source again and say what only all of them together show; memory is flat."""

    def __init__(
        self, tree: Tree, paths: Callable[[], Iterator[bytes]], holder: str | None, grace_us: int
    ) -> None:
        self._tree, self._paths, self._holder, self._grace_us = tree, paths, holder, grace_us
        self._numbers: Counter[str] = Counter()
        self._newest_us = UNDATED
        self._digests: set[str] = set()
        self._files: set[str] = set()

    def records(self) -> Iterator[Record]:
        """Yield what was found, and at last the counts, which add up."""
        tally, chains = Tally(), Chains()
        try:
            for path in self._paths():
                yield from self._scan(path, tally, chains)
            for chain, numbers in chains.ends():
                body = {"chain": chain, **numbers}
                yield self._record("cap-chain", chain, NOTE, "the chain was followed", body=body)
            for named in tally.named():
                yield from self._of_named(named)
            if self._classify(tally):
                yield from self._of_attempts(tally)
            yield self._record("attempts", "all", NOTE, "all attempts by how they ended", body=self._sums())
        finally:
            tally.close()

    # --- the first look

    def _scan(self, path: bytes, tally: Tally, chains: Chains) -> Iterator[Record]:
        sampled: Counter[str] = Counter()
        place = native_text(path)
        try:
            for entry in self._entries(path, is_first=True):
                if isinstance(entry, BadRecord):
                    self._numbers["unreadable"] += 1
                    continue
                time_us = _time_us(entry)
                self._newest_us = max(self._newest_us, time_us)
                self._numbers["events"] += 1
                _count(entry, time_us, tally)
                if entry.sampling:
                    sampled[entry.sampling.encode("utf-8", "backslashreplace").decode()] += 1
                if entry.said is not None and entry.form == CAP:
                    for fault in chains.take(entry):
                        yield self._record(
                            fault.kind, entry.spot.text, FINDING, fault.message, time_us=time_us, entry=entry,
                            body={"chain": fault.chain, "place": entry.spot.text},
                        )  # fmt: skip
        except ItemError as error:
            self._numbers["files_unreadable"] += 1
            body = {"cause": error.cause, "file": place}
            yield self._record("file-unreadable", place, FINDING, "a file could not be checked", body=body)
        for why, count in sorted(sampled.items()):
            body = {"file": place, "why": why}
            subject, message = f"{place} {why}", _MESSAGES["sampled"]
            yield self._record("sampled", subject, FINDING, message, count=count, body=body)

    def _entries(self, path: bytes, *, is_first: bool) -> Iterator[Entry | BadRecord]:
        """Yield a file's events; of one that holds none, take the digests the first time."""
        self._files.add(path.decode("utf-8", "surrogateescape"))
        if kind_of_file(path) is not FileKind.BUNDLE:
            with opened(self._tree, path) as file:
                if file.holds is not FileKind.BUNDLE:
                    yield from file.entries(_ignore)
                    return
        if is_first:
            self._digests.update(bundle_digests(self._tree, path))

    # --- what it says

    def _of_named(self, named: Named) -> Iterator[Record]:
        if named.role == "path":
            if named.name.removeprefix("./") in self._files:
                return
            kind, config = "bundle-missing", None
        else:
            found = _DIGEST.fullmatch(named.name)
            if found is not None and found[1].lower() in self._digests:
                return
            kind, config = "digest-unknown", named.name
        body = {"first": named.place, "name": named.name, "named_as": named.role}
        yield self._record(
            kind, f"{named.role} {named.name}", FINDING, _MESSAGES[kind], config=config, count=named.events,
            time_us=named.time_us, body=body,
        )  # fmt: skip

    def _classify(self, tally: Tally) -> bool:
        """Put every attempt in its class; say whether any is to be reported."""
        numbers = self._numbers
        wanted: list[tuple[Counted, str]] = []
        is_any = False
        for counted in tally.counted():
            if not counted.requests:
                numbers[_ORPHAN] += 1
                wanted.append((counted, _ORPHAN))
            else:
                numbers["attempts"] += 1
                found = class_of(counted.outcomes, counted.requested_us, self._newest_us, self._grace_us)
                numbers[found.value] += 1
                if found is AttemptClass.NONE or found is AttemptClass.SEVERAL:
                    wanted.append((counted, _WITHOUT if found is AttemptClass.NONE else _SEVERAL))
            if len(wanted) >= 10_000:
                is_any = _want(tally, wanted)
        return _want(tally, wanted) or is_any

    def _of_attempts(self, tally: Tally) -> Iterator[Record]:
        """Read once more, for what the findings are about."""
        for path in self._paths():
            try:
                for entry in self._entries(path, is_first=False):
                    if isinstance(entry, BadRecord) or not (entry.is_attempt or entry.is_outcome):
                        continue
                    attempt = _name(entry, "attempt_id") or ""
                    found = tally.take_wanted(_attempt_key(entry, attempt))
                    if found is not None:
                        kind, requests, outcomes = found
                        body = {"first": entry.spot.text, "outcomes": outcomes, "requests": requests}
                        yield self._record(
                            kind, f"{entry.form} {attempt}", FINDING, _MESSAGES[kind], attempt=attempt,
                            count=outcomes, time_us=_time_us(entry), entry=entry, body=body,
                        )  # fmt: skip
            except ItemError:  # said already
                continue

    def _sums(self) -> dict[str, Any]:
        classes = [each.value for each in AttemptClass]
        names = ("attempts", *classes, _ORPHAN, "events", "unreadable", "files_unreadable")
        return {**{name: self._numbers[name] for name in names}, "grace_us": str(self._grace_us)}

    def _record(
        self,
        kind: str,
        subject: str,
        severity: str,
        message: str,
        *,
        attempt: str | None = None,
        config: str | None = None,
        count: int | None = None,
        time_us: int | None = None,
        entry: Entry | None = None,
        body: dict[str, Any],
    ) -> Record:
        account = self._holder
        if entry is not None and (own := _name(entry, "account")) is not None:
            account = f"account:{own}"
        native = f"check:{kind}:{subject}"
        texts = (account, native, attempt, kind, config, severity, message)
        values = [NULL if text is None else encode_text(text) for text in texts]
        values += [NULL if count is None else integer_value(count), structure_value(canonical_json(body))]
        version = b"".join(values)
        time_us = self._newest_us if time_us is None else time_us
        return Record(CHECK, native.encode(), time_us, account, values, version, len(version))


def _ignore(_: str) -> None:
    """Leave out what waits for its end: it is no event yet."""


def _want(tally: Tally, wanted: list[tuple[Counted, str]]) -> bool:
    for counted, kind in wanted:
        tally.want(counted, kind)
    is_any = bool(wanted)
    wanted.clear()
    return is_any


def _time_us(entry: Entry) -> int:
    if entry.time_us is not None:
        return entry.time_us
    try:
        return time_of(entry.row)
    except Unfit:
        return UNDATED


def _attempt_key(entry: Entry, attempt: str) -> str:
    """Keep the ids of one format apart from those of another."""
    return f"{entry.form}:{attempt}"


def _count(entry: Entry, time_us: int, tally: Tally) -> None:
    row = entry.row
    if entry.is_attempt or entry.is_outcome:
        attempt, event = _name(entry, "attempt_id"), _name(entry, "event_id") or entry.spot.text
        if attempt is not None:
            count = tally.request if entry.is_attempt else tally.outcome
            count(_attempt_key(entry, attempt), event, time_us)
    for role in ("config_digest", "bundle_digest"):
        if (name := _name(entry, role)) is not None:
            tally.name(role, name, time_us, entry.spot.text)
    for role in ("bundle", "config"):
        name = _name(entry, role)
        if name is not None and type(row[role]) is str:
            tally.name("path", name, time_us, entry.spot.text)


def _name(entry: Entry, role: str) -> str | None:
    """Give an identifier that an event names; None where it has none, or one without a UTF-8 form."""
    text = identifier(entry.row.get(role))
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text
