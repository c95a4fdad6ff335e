"""`scelle order extend`, `narrow`, `lift` ..: what happens to an order after it was taken in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.arguments import code as checked_code
from scelle.cli.arguments import free_text
from scelle.cli.confirm import confirm
from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    YesOption,
    opened_vault,
)
from scelle.cli.output import emit, human_bytes, utc, warn
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from collections.abc import Callable

    from scelle.bootstrap import Session
    from scelle.orders.amendments import Amendment
    from scelle.orders.lifecycle import Life

DocumentOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The letter; it is sealed with the order's papers.")
]
FileOption = Annotated[Path, typer.Option(metavar="FILE", help="TOML (docs/orders.md).")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change; seal nothing.")]
ReasonOption = Annotated[
    str, typer.Option(metavar="CODE", help="Why, as a code; free text goes to `scelle note`.")
]


def extend(
    order: OrderArgument,
    until: Annotated[
        str, typer.Option(metavar="DATE", help="The new end; a day is inclusive, in the order's zone.")
    ],
    document: DocumentOption = None,
    reference: Annotated[
        str | None, typer.Option(help="The authority's file number of the extension.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an order a later end. One that has lapsed is in force again from now on; the time between is shown.

    An extension changes no clause, so that nothing joins and nothing stops; clauses whose period has no end go on
    growing until the new one. What is odd about it is warned of and sealed, and never refused.

    Example: scelle order extend ec-2026-0108 --until 2027-12-31 --document extension.pdf
    """
    from scelle.bootstrap.amending import extend as extend_order  # start-up time of --help
    from scelle.bootstrap.amending import plan_extension, sealed_so_far

    free_text(reference, "--reference")
    with opened_vault(vault, key_file, passphrase, writing=not dry_run, power=Power.AMEND) as session:
        moment, warnings = plan_extension(session, order, until)
        counts, growing = sealed_so_far(session, order)
        none = {"items": 0, "bytes": 0}
        found: dict[str, Any] = {
            "order": order,
            "act": "extend",
            "until": utc(moment.at_us),
            "join": none,
            "stay": counts,
            "stop": none,
            "sealed": none,
            "grows_on": growing,
            "warnings": list(warnings),
            "dry_run": dry_run,
        }
        for warning in warnings:
            warn(warning)
        if not dry_run:
            confirm(f"Extend order {order} until {moment.text}?", yes=yes, as_json=as_json)
            life = extend_order(session, order, until, document, reference)
            found |= _life_json(session, life)
    emit(found, _extension_lines(found), as_json)


def narrow(
    order: OrderArgument,
    file: FileOption,
    reason: ReasonOption = "narrow",
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that clauses stop growing, or that narrower ones take their place. It takes two people.

    FILE has a table [amendment] (reference, document, stop = ["clause-id"]), and [[clause]] tables that take the place
    of clauses of the same id. What was sealed under them stays, and grows no longer, until the order is released.

    Example: scelle order narrow ec-2026-0108 --file amendment.toml --dry-run --json
    """
    from scelle.bootstrap.amending import read_narrowing  # start-up time of --help

    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=not dry_run, power=Power.AMEND) as session:
        document = _loosen(session, order, read_narrowing(session, order, file), reason, said, dry_run)
    emit(document, _diff_lines(document), as_json)


def carve_out(
    order: OrderArgument,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is carved out: TOML (docs/orders.md).")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="CLAUSE", help="End this carve-out; one person may.")
    ] = None,
    document: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The letter, with --end; it is sealed.")
    ] = None,
    reason: ReasonOption = "carve-out",
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that what a clause describes be taken out of the order's other clauses. It takes two people.

    What a carve-out covers only in doubt stays in. What was sealed stays until the order is released.

    --end ends one: what it took out is covered again, and the next pass seals it. That is sealed at once, and shows
    first what joins.

    Example: scelle order carve-out us-2025-17 --file health-chats.toml

    Example: scelle order carve-out us-2025-17 --end health-chats --document order-of-3-march.pdf
    """
    from scelle.bootstrap.amending import read_carve_outs, read_end_of_carve_out  # start-up time of --help

    if (file is None) == (end is None):
        raise InputError("give --file FILE to carve out, or --end CLAUSE to end a carve-out: one of them")
    if document is not None and end is None:
        raise InputError("--document goes with --end: beside --file the table [amendment] names the letter")
    if note is not None and file is None:
        raise InputError(
            "--note goes with --file: what takes one person needs no reason; use `scelle note add`"
        )
    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=not dry_run, power=Power.AMEND) as session:
        if file is not None:
            found = _loosen(session, order, read_carve_outs(session, order, file), reason, said, dry_run)
            lines = _diff_lines(found)
        else:
            amendment = read_end_of_carve_out(session, order, end or "", document)
            found, lines = _tighten(session, order, amendment, dry_run, yes, as_json)
    emit(found, lines, as_json)


def add_clause(
    order: OrderArgument,
    file: FileOption,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add clauses to an order: a wider subject. Shows first what joins.

    Example: scelle order add-clause ec-2025-0117 --file grok.toml --dry-run --json
    """
    from scelle.bootstrap.amending import read_new_clauses  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=not dry_run, power=Power.AMEND) as session:
        amendment = read_new_clauses(session, order, file)
        document, lines = _tighten(session, order, amendment, dry_run, yes, as_json)
    emit(document, lines, as_json)


def add_accounts(
    order: OrderArgument,
    clause: Annotated[str, typer.Option(metavar="C", help="The clause that the accounts join.")],
    file: Annotated[Path, typer.Option(metavar="ACCOUNTS", help="One identifier a line.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add accounts to a clause, as one sealed file with those that it names. Shows first what joins.

    Example: scelle order add-accounts us-2025-17 --clause logs --file more.txt
    """
    from scelle.bootstrap.amending import read_more_accounts  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=not dry_run, power=Power.AMEND) as session:
        amendment = read_more_accounts(session, order, clause, file)
        document, lines = _tighten(session, order, amendment, dry_run, yes, as_json)
    emit(document, lines, as_json)


def lift(
    order: OrderArgument,
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that the authority lifted an order. Nothing is let go of: that takes a release, and two people.

    Example: scelle order lift ec-2026-0108 --document closing-letter.pdf
    """
    from scelle.bootstrap.amending import lift as lift_order  # start-up time of --help

    _step(order, lambda session: lift_order(session, order, document), (vault, key_file, passphrase), as_json)


def annul(
    order: OrderArgument,
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a court annulled an order. Nothing is let go of: that takes a release, and two people.

    Example: scelle order annul ec-2026-0108 --document judgment.pdf
    """
    from scelle.bootstrap.amending import annul as annul_order  # start-up time of --help

    _step(
        order, lambda session: annul_order(session, order, document), (vault, key_file, passphrase), as_json
    )


def authenticate(
    order: OrderArgument,
    how: Annotated[
        str, typer.Option(metavar="CODE", help="How, as a code: callback, seal, portal, signature ..")
    ] = "unstated",
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that an order was found to be the authority's own. It is kept from its receipt on in any case.

    Example: scelle order authenticate ec-2026-0108 --how callback
    """
    from scelle.bootstrap.amending import authenticate as authenticate_order  # start-up time of --help

    code = checked_code(how, "--how")
    _step(
        order,
        lambda session: authenticate_order(session, order, code, document),
        (vault, key_file, passphrase),
        as_json,
    )


def review(
    order: OrderArgument,
    ground: Annotated[str, typer.Option(metavar="CODE", help="Why the hold is still necessary, as a code.")],
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that the necessity of a hold was reviewed; due every 90 days.

    Example: scelle order review ec-2026-0108 --ground investigation-open
    """
    from scelle.bootstrap.amending import review as review_order  # start-up time of --help

    code = checked_code(ground, "--ground")
    _step(
        order,
        lambda session: review_order(session, order, code, document),
        (vault, key_file, passphrase),
        as_json,
    )


def mark(
    order: OrderArgument,
    which: Annotated[
        str,
        typer.Argument(
            metavar="MARK",
            help="clarification-requested, challenged, production-announced, impossible or in-conflict.",
        ),
    ],
    clear: Annotated[bool, typer.Option("--clear", help="Take the mark away again.")] = False,
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a mark beside an order's state. `production-announced` leaves some clocks without an end.

    Example: scelle order mark epoc-7 production-announced --document annex-v.pdf
    """
    from scelle.bootstrap.amending import set_mark  # start-up time of --help
    from scelle.orders.lifecycle import Mark

    try:
        found = Mark(which.replace("-", " "))
    except ValueError:
        known = ", ".join(mark.value.replace(" ", "-") for mark in Mark)
        raise InputError(f"no mark {which!a}: there are {known}") from None
    _step(
        order,
        lambda session: set_mark(session, order, found, is_set=not clear, letter=document),
        (vault, key_file, passphrase),
        as_json,
    )


def replace(
    order: OrderArgument,
    by: Annotated[str, typer.Option(metavar="ID", help="The order that takes its place.")],
    document: DocumentOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that another order, mostly an internal hold with its own ground, takes this one's place.

    Example: scelle order replace ec-2025-0117 --by hold-2026-1
    """
    from scelle.bootstrap.amending import replace_order  # start-up time of --help

    _step(
        order,
        lambda session: replace_order(session, order, by, document),
        (vault, key_file, passphrase),
        as_json,
    )


def lapses(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the orders that have lapsed, and the erasure requests that have no ground any more since. Run it daily.

    A clock never releases: everything stays held. Whichever command writes first after an end seals that, once.

    Example: scelle order lapses --json
    """
    from scelle.bootstrap.amending import lapse_alarms, note_lapses  # start-up time of --help
    from scelle.bootstrap.lapses import affected_by_lapses, affected_line

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.SEE_ORDERS) as session:
        noted = note_lapses(session)
        alarms, affected = lapse_alarms(session), affected_by_lapses(session)
    lines = [f"order {order}: {alarm}" for order, alarm in alarms.items()]
    lines += [affected_line(order, each) for order, requests in affected.items() for each in requests]
    emit({"noted": noted, "alarms": alarms, "affected": affected}, lines or ["no order has lapsed"], as_json)


def deadlines(
    ics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write them as an iCalendar file, too.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is due, of the orders that you may know of: ends (both readings), answers, decisions, reviews, and
    until when a release can be undone.

    Example: scelle order deadlines --ics deadlines.ics
    """
    from scelle.cli.output import write_new  # start-up time of --help
    from scelle.orders.deadlines import deadlines_of
    from scelle.orders.ics import calendar
    from scelle.orders.service import sealed_order

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.SEE_ORDERS) as session:
        now_us, host = session.now_us(), session.host
        limits = {
            "decide_within_us": session.setting_us("decide-within"),
            "review_every_us": session.setting_us("review-every"),
            "undo_within_us": session.setting_us("grace"),
        }
        lives = [sealed_order(session.ledger(order)).life for order in session.orders()]
    found = [due for life in lives for due in deadlines_of(life, now_us, **limits)]
    found.sort(key=lambda due: (due.at_us, due.order, due.key))
    if ics is not None:
        write_new(ics, calendar(found, host, now_us).decode())
    listed = [each.to_json(now_us) for each in found]
    lines = [
        f"{each['at']}  {'LATE ' if each['is_late'] else 'past ' if each['is_past'] else ''}{each['order']}: "
        f"{each['what']} ({each['label']}; {each['basis']})"
        for each in listed
    ]
    document = {"deadlines": listed, "ics": None if ics is None else str(ics)}
    emit(document, lines or ["nothing is due"], as_json)


def register(app: typer.Typer) -> None:
    """Give these commands their names below `order`."""
    for name, command in (
        ("extend", extend),
        ("narrow", narrow),
        ("add-clause", add_clause),
        ("carve-out", carve_out),
        ("add-accounts", add_accounts),
        ("lift", lift),
        ("annul", annul),
        ("authenticate", authenticate),
        ("review", review),
        ("mark", mark),
        ("replace", replace),
        ("lapses", lapses),
        ("deadlines", deadlines),
    ):
        app.command(name)(command)


# --- inside --------------------------------------------------------------------------------------------------


def _step(
    order: str,
    record: "Callable[[Session], Life]",
    place: tuple[Path, Path | None, str | None],
    as_json: bool,
) -> None:
    with opened_vault(*place, writing=True, power=Power.AMEND) as session:
        found = {"order": order, **_life_json(session, record(session))}
    emit(found, _life_lines(found), as_json)


def _tighten(
    session: "Session", order: str, amendment: "Amendment", dry_run: bool, yes: bool, as_json: bool
) -> tuple[dict[str, Any], list[str]]:
    """Seal what tightens; return it, and the lines for people: what changes, unless it was shown, and the end."""
    from scelle.bootstrap.amending import difference, seal_amendment  # start-up time of --help

    diff = difference(session, order, amendment).to_json()
    document = {"order": order, "act": amendment.act, **diff, "dry_run": dry_run, "request": None}
    lines = _diff_lines(document)
    if not dry_run:
        if confirm(f"Seal this change of order {order}?", yes=yes, as_json=as_json, shown=lines):
            lines = []
        seal_amendment(session, order, amendment, diff)
        lines.append(f"order {order} was changed: {amendment.act} is sealed")
    return document, lines


def _loosen(
    session: "Session", order: str, amendment: "Amendment", reason: str, note: str | None, dry_run: bool
) -> dict[str, Any]:
    from scelle.bootstrap.amending import ask_amendment, difference  # start-up time of --help

    code = checked_code(reason, "--reason")
    diff = difference(session, order, amendment).to_json()
    document = {
        "order": order,
        "act": amendment.act,
        **diff,
        "dry_run": dry_run,
        "request": None,
        "note": None,
    }
    if not dry_run:
        document["request"] = ask_amendment(session, order, amendment, diff, code).id
        document["note"] = keep_note(session, note, document["request"])
    return document


def _life_json(session: "Session", life: "Life") -> dict[str, Any]:
    from scelle.cli.lives import life_json  # start-up time of --help

    return life_json(life, session.now_us(), session.setting_us("decide-within"))


def _life_lines(document: dict[str, Any]) -> list[str]:
    from scelle.cli.lives import life_lines  # start-up time of --help

    return [f"order {document['order']} is {document['state']}", *life_lines(document)]


def _extension_lines(document: dict[str, Any]) -> list[str]:
    would = "would end" if document["dry_run"] else "ends"
    lines = [f"order {document['order']} {would} {document['until']}; nothing joins and nothing stops"]
    if document["grows_on"]:
        lines.append(f"  go on growing until then: {', '.join(document['grows_on'])}")
    return lines if document["dry_run"] else [*lines, *_life_lines(document)]


def _diff_lines(document: dict[str, Any]) -> list[str]:
    words = (
        ("join", "joins"),
        ("stay", "stays"),
        ("stop", "stops growing"),
        ("sealed", "sealed already, and kept until the release"),
    )
    lines = [
        f"{word}: {document[key]['items']} items, {human_bytes(document[key]['bytes'])}"
        for key, word in words
    ]
    lines += [f"not read: {each}" for each in document["unread"]]
    if document["dry_run"]:
        lines.append(f"nothing was changed in order {document['order']}: --dry-run")
    if document["request"] is not None:
        lines.append(f"it takes another person: scelle request approve {document['request']}")
    return lines
