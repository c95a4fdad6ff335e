"""Write for people what differs between a pass and its preview."""

from typing import TYPE_CHECKING, Any

from scelle.cli.output import human_bytes, utc

if TYPE_CHECKING:
    from scelle.capture.differences import Difference, Why
    from scelle.capture.reconcile import Reconciliation

_REASONS = {
    "not-comparable": "not comparable",
    "clause-gone": "clause {names} went",
    "clause-new": "clause {names} came",
    "clause-changed": "clause {names} changed",
    "schema-changed-or-gone": "schema or profile of {names} changed, or it went",
    "schemas-new": "{count} schema(s) came",
    "unit-not-reached": "the pass did not come so far",
    "unit-gone": "it is no longer there",
    "unit-new": "it is new since the preview",
    "unit-unreadable-now": "it could not be read on now: {names}",
    "unit-unreadable-then": "it could not be read on then: {names}",
    "records-more": "{count} more in it than in the preview",
    "records-fewer": "{count} fewer in it",
    "records-others": "as many records, and not the same ones or not read alike: it was rewritten, or contents failed",
    "source-not-read-whole": "it could not be read to its end",
    "units-new": "new units: {count}",
    "units-gone": "units not there any more: {count}",
    "units-differ": "units with other counts: {count}",
    "units-not-named": "which units is not said: they are too many, or restricted",
    "vanished": "{count} sealed before are no longer there",
    "in-doubt-then": "{count} were in doubt until they were read",
    "media-type-excluded-now": "{count} are excluded by media-type now",
    "failed-more": "{count} more failed",
    "failed-fewer": "{count} fewer failed",
    "failed-now": "failed now: {names}",
    "failed-then": "failed then: {names}",
    "lost-now": "lost: {names}",
    "not-previewed": "it was not previewed",
    "log-names-hours": "the log names whole hours",
    "time-sealed-as-undated": "no record can hold such a time: it is sealed as undated",
}
_LABELS = {
    "covered": "covered then, sealed now",
    "unreachable": "cannot be read",
}


def reconciliation_lines(found: "Reconciliation") -> list[str]:
    """Return one line for each difference, or one that says that there is none; growth stands beside them."""
    growth = found.growth
    said = (
        f"{found.count} difference{'s' * (found.count > 1)}"
        if found.count
        else "no difference in counts, bytes and times"
    )
    lines = [f"compared with the preview of {utc(found.preview_us)}: {said}"]
    lines += [f"  {_line(each)}" for each in found.differences]
    if found.count > len(found.differences):
        lines.append(f"  and {found.count - len(found.differences)} more")
    why = ""
    if not growth.is_comparable:
        why = f"; the estimate is for all {growth.covered} that were covered, and this run added {growth.added} records"
    lines.append(
        f"  growth of the vault: estimated {human_bytes(growth.estimated_bytes)}, "
        f"measured {human_bytes(growth.measured_bytes)}{why}"
    )
    return lines


def _line(each: "Difference") -> str:
    place = each.source if each.unit is None else f"{each.source}, {each.unit}"
    why = f" ({'; '.join(map(_reason, each.why))})" if each.why else ""
    if each.what == "unit":
        then_counts = each.preview if isinstance(each.preview, dict) else None
        now_counts = each.measured if isinstance(each.measured, dict) else None
        return f"{place}: {_counts(then_counts, now_counts)}{why}"
    kind = f" ({each.kind})" if each.kind else ""
    then, now = _shown(each.what, each.preview), _shown(each.what, each.measured)
    return f"{place}: {_LABELS.get(each.what, each.what)}{kind}: preview {then}, pass {now}{why}"


def _reason(why: "Why") -> str:
    return _REASONS[why.code].format(count=why.count, names=", ".join(why.names))


def _counts(then: dict[str, int | str] | None, now: dict[str, int | str] | None) -> str:
    """Write the counts of a unit that are not the same, or all of one that was there on one side only."""
    if then is None or now is None:
        side = "pass" if then is None else "preview"
        shown = [f"{name} {_shown(name, count)}" for name, count in (then or now or {}).items() if count]
        return f"only in the {side}: {', '.join(shown) or 'nothing offered'}"
    changed = [name for name in then if then[name] != now[name] and name != "cause"]
    shown = [f"{name} preview {_shown(name, then[name])}, pass {_shown(name, now[name])}" for name in changed]
    return ", ".join(shown) or "as many records"


def _shown(what: str, value: Any) -> str:
    if value is None:
        return "none"
    if what == "bytes":
        return f"{human_bytes(value)} ({value})" if value >= 1024 else human_bytes(value)
    if what in ("earliest", "latest"):
        return utc(int(value)) or "none"
    return ", ".join(value) if isinstance(value, list) else str(value)
