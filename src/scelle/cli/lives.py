"""Print an order's life: state, marks, intervals in force and without an order, clauses."""

from typing import TYPE_CHECKING, Any

from scelle.cli.output import fact_lines, utc

if TYPE_CHECKING:
    from scelle.orders.lifecycle import Life, Term, Without

_OVER = ("lifted", "annulled", "released", "disposed")
"""What people decided; the clock has nothing to add."""


def life_json(life: "Life", now_us: int, decide_within_us: int) -> dict[str, Any]:
    """Return an order's life as commands print it; `clauses` are all that it has and had.

    `decide_within_us` is the vault's setting `decide-within`, in microseconds.
    """
    from scelle.orders.alarms import lapse_alarm  # start-up time of --help
    from scelle.scope.sealed import clause_to_json

    return {
        "state": life.state(now_us).value,
        "marks": sorted(life.marks),
        "intervals": [{"from": utc(start), "until": utc(end)} for start, end in life.intervals_in_force()],
        "without_order": [_without_json(each) for each in life.without_order(now_us)],
        "terms": [{"since": utc(term.since_us), "until": _end(term)} for term in life.terms],
        "decide_by": utc(life.decide_by_us(now_us, decide_within_us)),
        "is_decision_late": life.is_decision_late(now_us, decide_within_us),
        "alarm": lapse_alarm(life, now_us, decide_within_us),
        "replaced_by": life.replaced_by,
        "clauses": [
            {
                **clause_to_json(each.clause),
                "carve_out": each.clause.carve_out,
                "since": utc(each.since_us),
                "stopped": utc(each.stopped_us),
            }
            for each in life.clauses
        ],
    }


def _end(term: "Term") -> str | None:
    from scelle.orders.clocks import hold_end  # start-up time of --help

    return utc(hold_end(term.order).keep_until_us)


def _without_json(without: "Without") -> dict[str, Any]:
    """Say of an interval without an order what was kept in it, and on which ground."""
    by = without.replaced_by
    return {
        "from": utc(without.from_us),
        "until": utc(without.until_us),
        "kept": "everything that was held: a clock never releases",
        "ground": "no order in force" if by is None else f"the hold {by}, on its own ground",
        "replaced_by": by,
    }


def life_lines(document: dict[str, Any]) -> list[str]:
    """Return the lines for people that say what `life_json` says."""
    lines = [f"  mark: {each}" for each in document["marks"]]
    lines += [f"  in force {each['from']} to {each['until'] or 'no end'}" for each in document["intervals"]]
    lines += [
        f"  no order in force {each['from']} to {each['until'] or 'now'}: kept {each['kept']}; ground: {each['ground']}"
        for each in document["without_order"]
    ]
    if document["alarm"] is not None:
        lines.append(f"  {document['alarm']}")
    grows = {each["id"] for each in document["clauses"] if each["stopped"] is None}
    for each in document["clauses"]:
        if each["stopped"] is not None:
            amended = each["id"] in grows
            over = "ended at" if each["carve_out"] else "kept, no longer growing since"
            said = "amended at" if amended else over
            lines.append(f"  {_named(each)}: {said} {each['stopped']}")
    return lines


def undo_lines(document: dict[str, Any]) -> list[str]:
    """Return the line that says until when a release can be undone (`undo_until`); none where there is no such day."""
    until = document["undo_until"]
    return [f"  `order undo-release` takes it back until {until}; then `dispose` destroys"] if until else []


_ON_THE_LINE = ("id", "sources", "keep", "carve_out", "restricted", "since", "stopped")
"""What of a clause its first line says; everything else that limits it stands below."""


def clause_lines(document: dict[str, Any]) -> list[str]:
    """Return the lines of each clause that grows, and each carve-out that stands, with all that limits it."""
    lines: list[str] = []
    for each in document["clauses"]:
        if each["stopped"] is None:
            does = f"taken out since {each['since']}" if each["carve_out"] else f"keep {each['keep']}"
            shut = "; restricted" if each["restricted"] else ""
            lines.append(f"  {_named(each)}: sources {', '.join(each['sources'])}; {does}{shut}")
            limits = {name: value for name, value in each.items() if name not in _ON_THE_LINE and value}
            lines += [f"  {line}" for line in fact_lines(limits)]
    return lines


def _named(clause: dict[str, Any]) -> str:
    return f"{'carve-out' if clause['carve_out'] else 'clause'} {clause['id']}"


def standing(document: dict[str, Any]) -> str:
    """Say where an order stands and what its clock says next; only once where both say the same."""
    state, said = str(document["state"]), str(document["next"])
    if state in _OVER:
        return state
    return said if said.startswith(state) else f"{state}; by its clock: {said}"
