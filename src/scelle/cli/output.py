"""Print what a command found: one JSON document, or lines for people; errors are one line."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scelle.errors import InputError
from scelle.vault.service import CONFIG_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scelle.ledger.witness import Shown

_SHOWN_EVERY_S = 0.1
_SEARCHED_EVERY_S = 0.2
_SEARCHED_AFTER_S = 1.0
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


_SPANS: Final = ("grace_us", "value_us")
"""What of a request is a span of time in microseconds; everything else that ends in `_us` is a moment."""


def emit(document: Mapping[str, Any], lines: list[str], as_json: bool) -> None:
    """Print `document` with --json, else `lines`; nothing else ever goes to standard output.

    A reader that goes away (`| head -1`) ends the printing and nothing else: the exit code still says what was found.
    """
    try:
        _print(document, lines, as_json)
    except BrokenPipeError:
        nobody_reads_on()


def nobody_reads_on() -> None:
    """Let standard output lead nowhere: what is still to be written to it cannot fail any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _print(document: Mapping[str, Any], lines: list[str], as_json: bool) -> None:
    if as_json:
        is_utf8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        print(json.dumps(document, indent=2, ensure_ascii=not is_utf8, default=str))
    else:
        for line in lines:
            print(printable(line))


def write_new(path: Path, text: str) -> None:
    """Write a file for people; raise InputError where one is there already, none can be made, or in a vault."""
    refuse_in_any_vault(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} is there already: choose another name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def refuse_in_any_vault(path: Path) -> None:
    """Raise InputError where a file for people would lie inside a vault, whichever."""
    for folder in path.absolute().resolve().parents:
        if (folder / CONFIG_NAME).is_file():
            raise InputError(f"{path} lies inside the vault {folder}: what people are to have goes elsewhere")


def read_text(path: Path) -> str:
    """Read a file that somebody wrote; raise InputError where it cannot be read, or is not UTF-8."""
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise InputError(f"{path} is no regular file: name one")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error


def warn(text: str) -> None:
    """Print a warning on standard error, one line."""
    print(f"warning: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    """Return `text` on one line, with what a terminal could obey shown as escapes."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def human_bytes(size: int) -> str:
    """Return a size in bytes for people."""
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes every size")


def progress_line(as_json: bool) -> Callable[[str, int, int], None]:
    """Return a progress line for a terminal: what stage, how much of it is done."""
    if as_json or not sys.stderr.isatty():
        return lambda stage, done, total: None

    shown_at = 0.0

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown_at
        if done != total and time.monotonic() - shown_at < _SHOWN_EVERY_S:
            return
        shown_at = time.monotonic()
        amount = (
            f"{human_bytes(done)} of {human_bytes(total)}" if stage == "package" else f"{done} of {total}"
        )
        print(f"\r\x1b[K{stage}: {amount}", end="\n" if done == total else "", file=sys.stderr)

    return show


def search_progress() -> Callable[[int, int], None]:
    """Return a progress line for a terminal, of a search that takes more than a moment: how much, how fast."""
    if not sys.stderr.isatty():
        return lambda done, total: None
    started = shown_at = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - started < _SEARCHED_AFTER_S or (done != total and now - shown_at < _SEARCHED_EVERY_S):
            return
        shown_at = now
        line = f"searched {done} of {total} records, {done / (now - started):.0f}/s"
        print(f"\r\x1b[K{line}" if done != total else "\r\x1b[K", end="", flush=True, file=sys.stderr)

    return show


def shown_json(shown: "Iterable[Shown]") -> list[dict[str, Any]]:
    """Return checkpoints that somebody else holds, as commands print them."""
    return [{"size": each.size, "at": utc(each.at_us), "how": each.how} for each in shown]


def fact_lines(facts: Mapping[str, Any], within: str = "") -> list[str]:
    """Return nested facts for people, a line each: names joined by dots, times and spans as people write them."""
    lines: list[str] = []
    for name, value in facts.items():
        path = f"{within}{name}"
        if isinstance(value, Mapping) and value:
            lines += fact_lines(value, f"{path}.")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for number, each in enumerate(value, 1):
                lines += fact_lines(each, f"{path}[{number}].")
        else:
            lines.append(f"  {path}: {_shown(name, value)}")
    return lines


def _shown(name: str, value: Any) -> str:
    """Write a value: nothing as a dash, a list with commas, microseconds as a time or as a span of time."""
    from scelle.operators.settings import duration_text  # start-up time of --help

    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown("", each) for each in value)
    if name.endswith("_us") and str(value).lstrip("-").isdigit():
        return duration_text(int(value)) if name in _SPANS else str(utc(int(value)))
    return str(value)


def utc(time_us: int | None) -> str | None:
    """Return a time in microseconds as RFC 3339 in UTC, to the second; outside years 1 to 9999 as its number."""
    from scelle.orders.days import utc_text  # start-up time of --help

    if time_us is None:
        return None
    return utc_text(time_us // 1_000_000 * 1_000_000, "seconds")
