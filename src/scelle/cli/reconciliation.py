"""Write for people what differs between a pass and its preview."""

from typing import TYPE_CHECKING, Any

from scelle.cli.output import human_bytes, utc

if TYPE_CHECKING:
    from scelle.capture.differences import Difference
    from scelle.capture.reconcile import Reconciliation

_LABELS = {
    "covered": "covered then, sealed now",
    "unreachable": "cannot be read",
}


def reconciliation_lines(found: "Reconciliation") -> list[str]:
    """Return one line for each difference, or one that says that there is none; growth stands beside them."""
    from scelle.capture.differences import many  # start-up time of --help

    growth = found.growth
    said = many(found.count, "difference") if found.count else "no difference in counts, bytes and times"
    lines = [f"compared with the preview of {utc(found.preview_us)}: {said}"]
    lines += [f"  {_line(each)}" for each in found.differences]
    if found.count > len(found.differences):
        lines.append(f"  and {found.count - len(found.differences)} more")
    why = f"; {growth.why}" if growth.why else ""
    lines.append(
        f"  growth of the vault: estimated {human_bytes(growth.estimated_bytes)}, "
        f"measured {human_bytes(growth.measured_bytes)}{why}"
    )
    return lines


def _line(each: "Difference") -> str:
    place = each.source if each.unit is None else f"{each.source}, {each.unit}"
    why = f" ({'; '.join(each.why)})" if each.why else ""
    if each.what == "unit":
        return f"{place}: {_counts(each.preview, each.measured)}{why}"
    kind = f" ({each.kind})" if each.kind else ""
    then, now = _shown(each.what, each.preview), _shown(each.what, each.measured)
    return f"{place}: {_LABELS.get(each.what, each.what)}{kind}: preview {then}, pass {now}{why}"


def _counts(then: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
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
