"""Say why no source could be reached: one line, one code, and for a window when it opens."""

from scelle.errors import SourceError, SourceMissing, SourceUnreadable


def unreachable_error(name: str, said: str, window: str | None, now_us: int, then: str = "") -> SourceError:
    """Return the error of a source of which a report says `said`, which is `code: text`; `then` is what came of it."""
    from scelle.sources.windows import is_open_at  # start-up time of --help

    then = f"; {then}" if then else ""
    if window is not None and not is_open_at(window, now_us):
        opens = window.partition("-")[0]
        return SourceUnreadable(
            f"source {name} is outside its window {window} (UTC): it opens at {opens} UTC, run the command then{then}"
        )
    code, _, text = said.partition(": ")
    kinds = {kind.code: kind for kind in SourceError.__subclasses__()}
    if code not in kinds:
        return SourceMissing(f"{name}: {said}{then}: try again")
    return kinds[code](f"{name}: {text}{then}: try again")
