"""`scelle guard`: refuse, or keep, what is deleted in the databases themselves."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.confirm import confirm_surely
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
from scelle.cli.output import emit
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap.guard_status import GuardedPath
    from scelle.guard.postgres import Mode, Plan, Step

app = typer.Typer(
    no_args_is_help=True,
    help="Guard what is held inside the databases: deletions are diverted into the vault, or refused.",
)

SourceOption = Annotated[str, typer.Option("--source", metavar="SOURCE", help="The source's name.")]
MaybeSourceOption = Annotated[
    str | None, typer.Option("--source", metavar="SOURCE", help="Only this source's guard. Default: all.")
]
ModeOption = Annotated[
    str, typer.Option(metavar="divert|refuse", help="What becomes of a statement that takes a held row away.")
]
TablesOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="Only these tables: schema.table, with * and ?. Default: the source's."
    ),
]
UpdatesOption = Annotated[
    bool, typer.Option("--updates", help="Keep, or refuse, what an UPDATE overwrites, too.")
]


@app.command("plan")
def plan(
    order: OrderArgument,
    mode: ModeOption = "divert",
    tables: TablesOption = None,
    updates: UpdatesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every statement of an installation, its lock, the rights that are missing, and the undo script.

    With divert, also how much could go through the outbox in a day, with what that rests on. Changes nothing. Exit
    code 1 where the role may not do it as it stands.

    Example: scelle guard plan ec-2026-0108 --mode refuse --tables 'public.*'
    """
    from scelle.bootstrap.outbox_growth import outbox_growth  # start-up time of --help
    from scelle.bootstrap.store_guards import guard_plan

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        plans = guard_plan(session, order, _mode(mode), tables=tables, updates=updates)
        is_diverted = mode == "divert"
        growth = outbox_growth(session, order, tables=tables, updates=updates) if is_diverted else {}
    lines, documents = [f"-- order {order}: what `scelle guard install` would run; nothing was changed"], {}
    for name, each in plans.items():
        counted, said = growth.get(name, ([], []))
        documents[name] = {**_plan_json(each), "outbox": counted}
        lines += [*_plan_lines(name, each), *(f"-- outbox: {line}" for line in said)]
    emit({"order": order, "sources": documents}, lines, as_json)
    if not all(each.is_possible for each in plans.values()):
        raise typer.Exit(1)


@app.command("install")
def install(
    order: OrderArgument,
    source: SourceOption,
    mode: ModeOption = "divert",
    tables: TablesOption = None,
    updates: UpdatesOption = False,
    outbox_rows: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="So many diverted rows may wait in the database (1000000)."),
    ] = None,
    outbox_bytes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many bytes may wait there (4 GiB).")
    ] = None,
    beyond: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|let-go", help="What happens beyond: the statement fails (refuse), or the rows go."
        ),
    ] = None,
    tell_database: Annotated[
        bool,
        typer.Option(
            "--tell-database",
            help="For a secret order: its accounts may be tested for by whoever runs the database.",
        ),
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Guard an order's tables in a database, table by table, and probe every path; run it again where it was stopped.

    With divert a deletion succeeds, and the old row waits in the database until `scelle watch` has sealed it; with
    refuse it fails with `held, ref ..`. No statement waits longer than 200 ms for it. Exit code 1 while the guard is
    partial, or where a path is red.

    Example: scelle guard install ec-2026-0108 --source app --mode divert
    """
    from scelle.bootstrap.store_guards import WantedCaps, install_guard  # start-up time of --help
    from scelle.guard.postgres import Beyond

    if beyond is not None and beyond not in [each.value for each in Beyond]:
        raise InputError(f"--beyond {beyond}: give refuse or let-go")
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        progress, paths = install_guard(
            session,
            order,
            source,
            _mode(mode),
            tables=tables,
            updates=updates,
            caps=WantedCaps(outbox_rows, outbox_bytes, beyond),
            tell_database=tell_database,
        )
    document = {
        "order": order,
        "source": source,
        "state": progress.state,
        "tables": list(progress.done),
        "left": dict(progress.left),
        **_paths_json(paths),
    }
    lines = [f"{source}: guard {progress.state}, {len(progress.done)} tables"]
    lines += [f"  left: {table}: {cause}" for table, cause in progress.left.items()]
    emit(document, [*lines, *_paths_lines(paths)], as_json)
    if progress.left or any(each.is_red for each in paths):
        raise typer.Exit(1)


@app.command("status")
def status(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of every delete path whether it is guarded now, by what that is known, and since when probes succeed.

    *probed*: a deletion was tried, and held. *inspected*: the database's catalogs say so. Exit code 1 where a path is
    red.

    Example: scelle guard status --json
    """
    from scelle.bootstrap.guard_breaks import suspensions  # start-up time of --help
    from scelle.bootstrap.guard_status import guard_status

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        paths, now_us = guard_status(session), session.now_us()
        unconfirmed = [each for each in suspensions(session) if each.confirmed_by is None]
    document = {**_paths_json(paths), "unconfirmed": [each.to_json(now_us) for each in unconfirmed]}
    lines = _paths_lines(paths) or ["no guard is installed"]
    emit(document, [*lines, *(each.line(now_us) for each in unconfirmed)], as_json)
    if any(each.is_red for each in paths) or any(each.is_overdue(now_us) for each in unconfirmed):
        raise typer.Exit(1)


@app.command("suspend")
def suspend(
    reason: Annotated[str, typer.Option(metavar="CODE", help="Why, as a code.")],
    minutes: Annotated[int, typer.Option(metavar="N", help="For so long; then the guard stands again.")] = 30,
    source: MaybeSourceOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Break the glass: let everything go for some minutes, at once, by one person.

    It re-arms itself by the database's clock. It is a gap of every order that is guarded there, held rows that go are
    counted, and a second person must give his word within a day (`scelle guard confirm`); `guard status` says who must.

    Example: scelle guard suspend --minutes 30 --reason stuck-migration
    """
    from scelle.bootstrap.guard_breaks import suspend_guard  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        found, now_us = suspend_guard(session, minutes, reason, source), session.now_us()
    emit(
        {"suspended": [each.to_json(now_us) for each in found]},
        [each.line(now_us) for each in found],
        as_json,
    )


@app.command("rearm")
def rearm(
    source: MaybeSourceOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a suspension before its time.

    Example: scelle guard rearm --source app
    """
    from scelle.bootstrap.guard_breaks import rearm_guard  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        found = rearm_guard(session, source)
    words = {True: "the guard stands again", False: "the guard was not suspended: it stands as before"}
    document = {
        key: [each for each, was_suspended in found.items() if was_suspended is state]
        for key, state in (("rearmed", True), ("stood", False))
    }
    emit(document, [f"{each}: {words[state]}" for each, state in found.items()], as_json)


@app.command("confirm")
def confirm_(
    suspension: Annotated[str, typer.Argument(metavar="ID", help="The suspension's id.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a second person's word over a suspension.

    Example: scelle --as bob guard confirm g0123456789abcdef
    """
    from scelle.bootstrap.guard_breaks import confirm_suspension  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        each, now_us = confirm_suspension(session, suspension), session.now_us()
    emit(each.to_json(now_us), [each.line(now_us)], as_json)


@app.command("allow-migration")
def allow_migration(
    order: OrderArgument,
    source: SourceOption,
    table: Annotated[str, typer.Option(metavar="SCHEMA.TABLE", help="The table, as SQL names it.")],
    column: Annotated[
        str | None, typer.Option(metavar="C", help="Only this column. Default: any change.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="CODE", help="Why, as a code.")] = "migration",
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that a guarded table, or a column of it, may be dropped, detached or rewritten for half an hour.

    Two people sign it (in solo mode one, twice), and it cools off. When it is carried out, by `scelle request approve`
    or later by `scelle request run`, the source is sealed first, for every order that is guarded there: the half hour
    begins then.

    Example: scelle guard allow-migration ec-2026-0108 --source app --table public.posts --column mood
    """
    from scelle.bootstrap.guard_breaks import ask_migration  # start-up time of --help
    from scelle.bootstrap.requests import waits_for

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request = ask_migration(session, order, source, table, column, reason)
        line = f"request {request.id} {waits_for(session, request)}"
    emit({"order": order, "source": source, "request": request.id}, [line], as_json)


@app.command("probe")
def probe(
    source: MaybeSourceOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try every delete path with rows that are made up and rolled back, and seal what was found.

    Each probe is one transaction that ends in ROLLBACK and waits for no lock longer than 50 ms. Exit code 1 where a
    path is red.

    Example: scelle guard probe --source app --json
    """
    from scelle.bootstrap.guard_claims import guarded_sources  # start-up time of --help
    from scelle.bootstrap.guard_status import probe_guard

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        names = guarded_sources(session)
        if source is not None and source not in names:
            raise InputError(
                f"no guard is installed in {source}: scelle guard install ORDER --source {source}"
            )
        paths = [path for name in names if source in (None, name) for path in probe_guard(session, name)]
    emit(_paths_json(paths), _paths_lines(paths) or ["no guard is installed"], as_json)
    if any(each.is_red for each in paths):
        raise typer.Exit(1)


@app.command("remove")
def remove(
    order: OrderArgument,
    source: SourceOption,
    reason: Annotated[
        str, typer.Option(metavar="CODE", help="Why, as a code; free text goes to `scelle note`.")
    ] = "guard-remove",
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take an order's claims out of a database's guard; with the last order's, the guard itself goes.

    Makes a request that two people must sign. In solo mode it is done at once, after a confirmation: without a
    terminal, or with --json, give --yes.

    Example: scelle guard remove ec-2026-0108 --source app --yes
    """
    from scelle.bootstrap.requests import waits_for  # start-up time of --help
    from scelle.bootstrap.store_guards import ask_removal, remove_guard

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        if not session.is_solo:
            request = ask_removal(session, order, source, reason)
            document: dict[str, Any] = {"request": request.id}
            lines = [f"request {request.id} {waits_for(session, request)}"]
        else:
            confirm_surely(
                f"Take the claims of {order} out of the guard in {source}?", yes=yes, as_json=as_json
            )
            document = remove_guard(session, session.check_order(order), source, None)
            lines = [
                f"{source}: {'the guard was removed' if document['removed'] else 'the claims were removed'}"
            ]
            lines += [f"  left: {table}: {cause}" for table, cause in document.get("left", {}).items()]
    emit({"order": order, "source": source, **document}, lines, as_json)
    if document.get("left"):
        raise typer.Exit(1)


def _mode(text: str) -> "Mode":
    from scelle.guard.postgres import Mode  # start-up time of --help

    if text not in [each.value for each in Mode]:
        raise InputError(f"--mode {text}: give divert or refuse")
    return Mode(text)


def _plan_json(plan: "Plan") -> dict[str, Any]:
    def steps(found: Any) -> list[dict[str, Any]]:
        return [
            {"table": each.table, "lock": each.lock, "statements": list(each.statements)} for each in found
        ]

    return {
        "role": plan.role,
        "possible": plan.is_possible,
        "needs": list(plan.needs),
        "notes": list(plan.notes),
        "steps": steps(plan.steps),
        "undo": steps(plan.undo),
    }


def _plan_lines(name: str, plan: "Plan") -> list[str]:
    lines = [f"-- {name}, as {plan.role}: one transaction for each table"]
    lines += [f"-- missing: {need}" for need in plan.needs]
    lines += [f"-- note: {note}" for note in plan.notes]
    for step in plan.steps:
        lines += [f"-- {step.table}; lock: {step.lock}", "BEGIN;", *_sql_lines(step), "COMMIT;"]
    lines.append("-- `scelle guard install` then guards the twins, holds the orders' accounts, and probes")
    lines.append("-- undo:")
    for step in plan.undo:
        lines += [f"--   {line}" for line in ("BEGIN;", *_sql_lines(step), "COMMIT;")]
    return lines


def _sql_lines(step: "Step") -> list[str]:
    """Return the statements of a step as psql runs them, line by line."""
    return [line for each in step.statements for line in f"{each.rstrip().rstrip(';')};".split("\n")]


def _paths_json(paths: "list[GuardedPath]") -> dict[str, Any]:
    return {"paths": [each.to_json() for each in paths], "red": sum(each.is_red for each in paths)}


def _paths_lines(paths: "list[GuardedPath]") -> list[str]:
    """Say first how many paths stand how, then each, the red ones first; what a suspension makes red is one line."""
    if not paths:
        return []
    numbers = Counter(each.state for each in paths)
    states = ("effective", "red", "not-probed", "not-coverable")
    counts = ", ".join(f"{numbers[each]} {each.replace('-', ' ')}" for each in states)
    suspended = {each.source: each for each in paths if each.path == "suspension"}
    let_go = {name: [path for path in paths if _is_let_go(path, each)] for name, each in suspended.items()}
    rest = [path for path in paths if not any(path in found for found in let_go.values())]
    lines = []
    for path in sorted(rest, key=lambda each: not each.is_red):
        more = f"; {len(let_go[path.source])} paths let go for it" if path.path == "suspension" else ""
        lines.append(f"{path.line()}{more}")
    return [f"{len(paths)} paths: {counts}", *lines]


def _is_let_go(path: "GuardedPath", suspension: "GuardedPath") -> bool:
    """Tell whether a path is red for the suspension of its guard: by its detail, or since a probe found so."""
    is_of_it = path.source == suspension.source and path != suspension
    return is_of_it and path.is_red and (path.how == "probed" or suspension.detail.startswith(path.detail))
