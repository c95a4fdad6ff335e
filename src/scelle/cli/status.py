"""`scelle status`: orders, clocks, counts, custody."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scelle.cli.lives import life_lines, standing, undo_lines
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, shown_json, utc
from scelle.cli.problems import item_lines
from scelle.cli.surface import standing_json, standing_line
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scelle.bootstrap import Session
    from scelle.ledger.events import Event

_COUNTED = ("offered", "sealed", "failed", "excluded", "lost")


def status(
    order: Annotated[
        str | None, typer.Argument(metavar="ORDER", help="The order's id. Default: every order.")
    ] = None,
    items: Annotated[
        Literal["failed", "lost", "waiting"] | None,
        typer.Option(help="List every item of ORDER that was sealed as such, the newest pass first."),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show orders and clocks, the last pass of each source, and since when nobody else has seen a log.

    Routes to a generator that are not green are shown, too; those that are retired are not (scelle surface list).

    With --items: every item that a pass sealed as failed, lost or waiting, with cause, detail and the time of the pass.
    An item that did not change since is told by the pass that read it, and by no later one. Exit code 1 where a gap is
    open.

    Example: scelle status --json

    scelle status ec-2026-0108 --items failed
    """
    from scelle.bootstrap import was_drilled  # start-up time of --help

    if items is not None and order is None:
        raise InputError(f"--items {items} is of one order: scelle status ORDER --items {items}")
    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        if items is not None and order is not None:
            session.require(Power.CAPTURE, Power.READ_CONTENT)
            _list_items(session, order, items, as_json)
            return
        if order is not None:
            session.order_ledger(order)  # refuses one that is not there
        orders = [_order(session, each) for each in ([order] if order else session.orders())]
        document = {
            "solo": session.is_solo,
            "operator": None if session.operator is None else session.operator.name,
            "vault_id": session.config.vault_id.hex(),
            "recovery_recipients": len(session.config.recipients),
            "recovery_proven": was_drilled(session),
            "surfaces": _surfaces(session),
            "orders": orders,
        }
    emit(document, _lines(document), as_json)
    if any(gap["to"] is None for each in orders for gap in each["gaps"]):
        raise typer.Exit(1)


def _surfaces(session: "Session") -> list[dict[str, Any]]:
    """Return how the routes to a generator stand; of no order, so that the power alone decides who sees it."""
    from scelle.bootstrap.recording import surfaces  # start-up time of --help

    if not session.may(Power.SEE_COUNTS):
        return []
    found, now_us = surfaces(session), session.now_us()
    return [standing_json(each, now_us) for _, each in sorted(found.items()) if not each.is_retired]


def _list_items(session: "Session", order: str, bucket: str, as_json: bool) -> None:
    from scelle.bootstrap.reads import note_shown  # start-up time of --help
    from scelle.capture.problems import listed_items
    from scelle.orders.service import sealed_order

    ledger = session.order_ledger(order)
    found = listed_items(ledger, sealed_order(ledger).source_names, bucket)
    note_shown(session, order, "status --items", bucket=bucket, items=len(found))
    emit({"order": order, "bucket": bucket, "items": found}, item_lines(order, bucket, found), as_json)


def _order(session: "Session", order: str) -> dict[str, Any]:
    from scelle.bootstrap import witnesses  # start-up time of --help
    from scelle.capture.live import watched_sources
    from scelle.cli.lives import life_json
    from scelle.ledger.clock import clock_behind
    from scelle.ledger.events import events
    from scelle.orders.clocks import days_left, next_step
    from scelle.orders.service import sealed_order

    ledger = session.ledger(order)
    sealed = sealed_order(ledger)
    passes = list(events(ledger, "pass"))
    last = passes[-1] if passes else None
    shown = witnesses(ledger)
    return {
        "id": order,
        **life_json(sealed.life, session.now_us(), session.setting_us("decide-within")),
        "undo_until": utc(sealed.life.undo_until_us(session.setting_us("grace"))),
        "next": next_step(sealed.life.running_order, session.now_us()),
        "days_left": days_left(sealed.life.running_order, session.now_us()),
        "log_size": ledger.log.size,
        "clock": clock_behind(ledger.state, session.now_us()),
        "rewritable_unseen_since": utc(shown.rewritable_since(sealed.received.time_us)),
        "shown": shown_json(shown.newest_shown()),
        "tokens_pending": len(shown.pending()),
        "passes": len({event.body["pass"] for event in passes}),
        "last_pass": None if last is None else utc(last.time_us),
        "sources": {} if last is None else dict(last.body["sources"]),
        "watched": {
            sealed.source_names[alias]: {
                **{name: getattr(each, name) for name in _COUNTED},
                "until": utc(each.until_us),
                "position": each.position,
                "snapshot": _snapshot(passes, sealed.source_names[alias]),
            }
            for alias, each in watched_sources(ledger).items()
        },
        "gaps": [
            {
                "source": sealed.source_names.get(gap.source, gap.source),
                "cause": gap.cause,
                "from": utc(gap.interval[0]),
                "to": utc(gap.interval[1]),
            }
            for gap in ledger.gaps()
        ],
    }


def _snapshot(passes: "Sequence[Event]", name: str) -> dict[str, Any] | None:
    """Return when a source was read whole last, and what became of what it offered then; None where it never was."""
    for event in reversed(passes):
        counts = event.body["sources"].get(name)
        if counts is not None and counts["unreachable"] is None:
            return {"at": utc(event.time_us), **{each: counts[each] for each in _COUNTED}}
    return None


def _sum(counts: "Mapping[str, Any]") -> str:
    return (
        f"offered {counts['offered']} = sealed {counts['sealed']} + failed {counts['failed']} + "
        f"excluded {counts['excluded']} + lost {counts['lost']}"
    )


def _lines(document: dict[str, Any]) -> list[str]:
    proven = "proven" if document["recovery_proven"] else "NOT proven: scelle key drill"
    lines = [f"vault {document['vault_id']}; restoring its key is {proven}"]
    if document["solo"]:
        lines.append(
            "solo mode: no operators, no walls, no second person, no counsel compartment (scelle operator add)"
        )
    elif document["operator"] is None:
        lines.append("orders are shown to operators only: give --as NAME")
    lines += [f"surface {standing_line(each)}" for each in document["surfaces"] if each["state"] != "green"]
    for order in document["orders"]:
        lines += [f"order {order['id']}: {standing(order)}", *life_lines(order), *undo_lines(order)]
        seen = order["rewritable_unseen_since"]
        lines.append(
            f"  log of {order['log_size']} entries; "
            + (f"rewritable unseen since {seen}" if seen else "all of it was shown to somebody else")
        )
        lines += [
            f"  size {each['size']} of {order['log_size']} was shown {each['at']}: {each['how']}"
            for each in order["shown"]
        ]
        if order["clock"] is not None:
            lines.append(f"  clock: {order['clock']}")
        if order["tokens_pending"]:
            lines.append(f"  {order['tokens_pending']} time-stamps are queued")
        lines.append(f"  last pass: {order['last_pass'] or 'none yet: scelle preserve ' + order['id']}")
        for name, counts in order["sources"].items():
            lines.append(f"    {name}: {_sum(counts)}")
        for name, each in order["watched"].items():
            if each["snapshot"] is not None:
                lines.append(f"    {name}, snapshot of {each['snapshot']['at']}: {_sum(each['snapshot'])}")
            lines.append(f"    {name}, then watched until {each['until']}: changes {_sum(each)}")
        for gap in order["gaps"]:
            lines.append(f"    gap: {gap['source']} {gap['cause']} {gap['from']} to {gap['to'] or 'now'}")
    return lines
