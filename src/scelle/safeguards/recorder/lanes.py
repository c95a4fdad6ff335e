"""Keep what users sent and what was made apart until it is decided: open, or in the folder of a restricted source.

Until then a content stands in `recorded/undecided/` of the restricted source, and the `requested` event of the open one
names it by its digest and says nothing else of it. What a crash leaves undecided is sealed as restricted, a while
later.
Both folders are on one file system: a content moves by its name, and nothing is copied.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from scelle.errors import RecorderUnavailable
from scelle.safeguards.gate.model import Lane
from scelle.safeguards.guardrail.model import Asked
from scelle.safeguards.recorder.contents import ContentStore, failure
from scelle.safeguards.recorder.events import BODY, Told
from scelle.safeguards.recorder.model import check_surface
from scelle.safeguards.recorder.spool import Spool
from scelle.sources.generation.model import UNDECIDED
from scelle.vault import durable

_OPEN: Final[tuple[str, ...]] = (
    "event", "attempt_id", "endpoint", "op", "prompt_sha256", "conversation", "parent", "tier", "country",
    "ui_language", "route", "surface_build", "config_digest",
)  # fmt: skip
"""Members of a `requested` event that hold no word of a user: the platform or the recorder made them."""
_NAMES: Final[tuple[str, ...]] = ("account", "model")
"""Members that hold none where they have the form of a name."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_PLAIN: Final = ("field", "sha256", "bytes", "media_type", "px", "partial", "index")
_PLAIN_OUTCOME: Final = ("decision", "bundle_digest", "safeguard_version")
HELD: Final = "undecided"
"""Stands in the open `requested` event in place of what was left out."""


def check_one_file_system(opened: Path, restricted: Path) -> None:
    """Raise RecorderUnavailable where a content could not move between two sources by its name."""
    if opened.stat().st_dev != restricted.stat().st_dev:
        raise RecorderUnavailable(
            f"{restricted}: the restricted source must lie on the file system of {opened}: contents move between them"
        )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be said openly of a restricted reference or output: no name, address or text of a user."""
    found = {name: entry[name] for name in _PLAIN if name in entry}
    return found if found.get("field", "image") in ("image", "mask") else {**found, "field": "other"}


def plain_outcome(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be said openly of an outcome that is restricted: what was decided, digests, sizes."""
    found = {name: event[name] for name in _PLAIN_OUTCOME if name in event}
    if str(event.get("reason", "")).startswith("gate-"):
        found["reason"] = event["reason"]
    response = event.get("response") or {}
    found["response"] = {
        name: response[name] for name in ("status", "sha256", "bytes", "events") if name in response
    }
    return {**found, "outputs": list(map(plain, event.get("outputs") or ()))}


class UndecidedStore(ContentStore):
    """Keep contents of a surface until they are decided. One that several attempts hold goes with the last of them."""

    def __init__(self, root: Path, surface: str) -> None:
        super().__init__(root.joinpath(*UNDECIDED, check_surface(surface)))
        self._lock = threading.Lock()
        self._holders: dict[str, int] = {}

    def named(self, digest: str, name: Callable[[], None]) -> None:
        """Have a content given its name, and count who holds it, in one step."""
        with self._lock:
            name()
            os.utime(self.folder / digest[:2] / digest)  # one that was left there is as young as this attempt
            self._holders[digest] = self._holders.get(digest, 0) + 1

    def move(self, digests: Sequence[str], to: ContentStore) -> None:
        """Give contents a name in another store, durably, and take one holder off each; raises StorageError."""
        folders = set()
        with self._lock:
            for digest in digests:
                source = self.folder / digest[:2] / digest
                target = to.folder / digest[:2] / digest
                try:
                    with suppress(FileExistsError):
                        os.link(source, target)
                    folders.add(target.parent)
                except OSError as error:
                    raise failure(target, error) from error
            for each in folders:  # before the other name goes: a crash leaves one of them, or both
                durable.sync_directory(each)
            for digest in digests:
                self._holders[digest] = self._holders.get(digest, 1) - 1
                if self._holders[digest] <= 0:
                    del self._holders[digest]
                    (self.folder / digest[:2] / digest).unlink(missing_ok=True)


class Lanes:
    """Move what is decided where it belongs: `opened` is the spool that says what happened, `restricted` the other.

    `opened` keeps its contents in an `UndecidedStore`; `open_contents` is where they go that stay open.
    """

    def __init__(self, opened: Spool, open_contents: ContentStore, restricted: Spool) -> None:
        undecided = opened.contents
        if not isinstance(undecided, UndecidedStore):
            raise AssertionError("with lanes, a spool keeps its contents undecided")
        self._undecided, self._open, self._restricted = undecided, open_contents, restricted

    def bare(self, told: Told) -> Told:
        """Return a `requested` event with digests, numbers and names, and no word of a user; its body is kept.

        Raises StorageError.
        """
        raw = told.event.get("request") or {}
        if isinstance(text := raw.get("text"), str):
            told.contents.append(self._undecided.keep(text.encode()))
        event = {name: told.event[name] for name in _OPEN if name in told.event}
        event |= {name: told.event[name] for name in _NAMES if _is_name(told.event.get(name))}
        if told.event.get("account_by") == BODY:
            event.pop("account", None)  # nobody but the user says so
        params = told.event.get("params") or {}
        event["params"] = {
            name: value for name, value in params.items() if not isinstance(value, str) or _is_name(value)
        }
        event["references"] = list(map(plain, told.event.get("references") or []))
        event["request"] = {name: raw[name] for name in ("sha256", "bytes") if name in raw}
        if not Asked.of(told.event).is_understood:
            event["problem"] = HELD  # that it could not be read is told, and not what of it
        return Told({**event, "content": HELD}, told.contents)

    def settle(self, lane: Lane, digests: Sequence[str], details: Iterable[Mapping[str, Any]]) -> None:
        """Move contents to where a lane leads, and say the details of restricted ones there; raises StorageError.

        Durable when this returns. A crash in between leaves contents undecided, or restricted ones without details.
        """
        is_open = lane is Lane.NONE
        self._undecided.move(digests, self._open if is_open else self._restricted.contents)
        if not is_open:
            waiting = [self._restricted.put(each) for each in details]
            for each in waiting:
                each.result()

    def find(self, digest: str) -> bytes:
        """Return a content, wherever it is by now; raises OSError."""
        for store in (self._undecided, self._open, self._restricted.contents):
            path = store.folder / digest[:2] / digest
            if path.is_file():
                return path.read_bytes()
        raise FileNotFoundError(digest)
