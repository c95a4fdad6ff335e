"""Run one command and map what it raised to an exit code and one line (product.md)."""

import gc
import io
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from scelle import __version__
from scelle.cli import (
    amend,
    audit,
    canary,
    catalog,
    disclose,
    erasing_records,
    erasure,
    find,
    gap,
    gate,
    generation,
    git,
    guard,
    initialise,
    key,
    may_delete,
    note,
    operator,
    order,
    preserve,
    preview,
    produce,
    promise,
    quarantine,
    record,
    recover,
    releasing,
    report,
    request,
    restricted,
    settings,
    source,
    status,
    surface,
    verify,
    wall,
    watch,
    why,
)
from scelle.cli.acting import take_acting
from scelle.cli.once import refuse_repeated
from scelle.cli.output import emit, nobody_reads_on, one_line
from scelle.errors import (
    AuthorityError,
    HeldError,
    InputError,
    IntegrityError,
    ScelleError,
    SourceError,
    StorageError,
)

DONE, WRONG, BAD_INPUT, HELD, UNREACHABLE, FAULT = 0, 1, 2, 3, 4, 70
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended, and what typer returns
_CODES: tuple[tuple[type[ScelleError], int], ...] = (
    (InputError, BAD_INPUT),
    (AuthorityError, BAD_INPUT),
    (HeldError, HELD),
    (IntegrityError, WRONG),
    (SourceError, UNREACHABLE),
    (StorageError, UNREACHABLE),
)

app = typer.Typer(
    name="scelle",
    help="Obey a preservation order, and prove it.\n\n"
    "Example: scelle init /srv/vault --host platform.example; "
    "scelle source add docs files:///srv/docs; scelle order add order.toml; "
    "scelle preserve ID; scelle verify",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    operator_name: str = typer.Option(
        "",
        "--as",
        metavar="NAME",
        help="Act as this operator, anywhere on the line (or SCELLE_OPERATOR_KEY=FILE).",
    ),
    operator_passphrase: str = typer.Option(
        "", "--operator-passphrase", metavar="env:NAME|file:PATH|exec:CMD", help="Of the operator's key file."
    ),
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Take the options that stand before the command."""
    context.obj = {"debug": debug}
    if version:
        print(f"scelle {__version__}")
        raise typer.Exit


app.command("init")(initialise.init)
app.add_typer(source.app, name="source")
app.add_typer(order.app, name="order")
app.add_typer(operator.app, name="operator")
app.add_typer(request.app, name="request")
app.add_typer(restricted.app, name="restricted")
app.add_typer(settings.app, name="settings")
app.add_typer(note.app, name="note")
amend.register(order.app)
order.app.command("release")(releasing.release)
order.app.command("undo-release")(releasing.undo_release)
app.command("dispose")(releasing.dispose)
order.app.command("wall")(wall.wall)
order.app.command("admit")(wall.admit)
app.add_typer(key.app, name="key")
app.add_typer(git.app, name="git")
app.add_typer(erasure.app, name="erasure")
app.command("quarantine")(quarantine.quarantine)
app.command("erase-records")(erasing_records.erase_records)
app.command("consent-request")(erasing_records.consent_request)
app.command("preview")(preview.preview)
app.command("preserve")(preserve.preserve)
app.command("watch")(watch.watch)
app.add_typer(gap.app, name="gap")
app.add_typer(promise.app, name="promise")
app.add_typer(guard.app, name="guard")
app.add_typer(record.app, name="record")
app.add_typer(surface.app, name="surface")
app.add_typer(canary.app, name="canary")
app.add_typer(gate.app, name="gate")
app.add_typer(generation.app, name="generation")
app.command("status")(status.status)
app.command("verify")(verify.verify)
app.command("find")(find.find)
app.command("why")(why.why)
app.command("may-delete")(may_delete.may_delete)
app.command("rebuild-catalog")(catalog.rebuild_catalog)
app.command("recover")(recover.recover)
app.command("report")(report.report)
app.command("produce")(produce.produce)
app.command("disclose")(disclose.disclose)
app.command("audit-stream")(audit.audit_stream)
app.command("audit-index")(audit.audit_index)
app.command("audit-key")(audit.audit_key)
refuse_repeated(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    gc.freeze()  # what was imported stays, and next to nothing else of ours is a cycle: at the default
    gc.set_threshold(100_000, 20, 50)  # a first pass spends a twelfth of its time looking for them
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # nobody reads on (`| head -1`), or the file that it goes to has no room
        nobody_reads_on()
        if not isinstance(error, BrokenPipeError):
            code = _say(
                f"standard output: {error.strerror}: the answer is cut",
                "system",
                UNREACHABLE,
                error=error,
                debug=False,
            )
    sys.exit(code)


@cache
def _commands() -> Callable[..., object]:
    """Build all commands once: a process that runs many, as tests do, would keep some 10 MB of each run's."""
    return get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. Standard output has the answer, standard error the rest."""
    debug = "--debug" in arguments
    as_json = "--json" in arguments
    say = partial(_say, debug=debug, as_json=_logs_json(arguments))
    given = [argument for argument in arguments if argument != "--debug"]
    if not given:
        _commands()(["--help"], prog_name="scelle", standalone_mode=False)
        return BAD_INPUT
    try:
        _refuse_empty(given)
        given = take_acting(given)
        code = _commands()(given, prog_name="scelle", standalone_mode=False)
        if code == INTERRUPTED:
            raise typer.Abort
        return int(code) if isinstance(code, int) else DONE
    except TyperException as error:
        return say(f"{_usage(error)}; see `{_command(given)} --help`", "usage", BAD_INPUT, error=error)
    except (typer.Abort, KeyboardInterrupt) as error:
        return say(
            "stopped; what was confirmed so far is kept, run the command again",
            "stopped",
            INTERRUPTED,
            error=error,
        )
    except ScelleError as error:
        code = next((number for family, number in _CODES if isinstance(error, family)), FAULT)
        if as_json and code in (WRONG, HELD):
            emit({"error": {"code": error.code, "detail": str(error)}}, [], as_json)
        return say(str(error), error.code, code, error=error)
    except (BrokenPipeError, SystemExit):  # nobody reads on; typer makes the latter of the former
        return DONE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}: check that it is there and may be used, then run again"
        return say(text, "system", UNREACHABLE, error=error)
    except Exception as error:  # noqa: BLE001 - the edge: whatever else happens is a fault of Scellé
        text = f"a fault of Scellé ({type(error).__name__}: {error}); run again with --debug and report it"
        return say(text, "fault", FAULT, error=error)


def _refuse_empty(given: list[str]) -> None:
    """Refuse an empty argument: a path that is empty would mean the current directory."""
    for before, argument in zip(["", *given], given, strict=False):
        is_bare = argument.startswith("--") and argument.endswith("=")
        if argument == "" or is_bare:
            name = argument if is_bare else before
            where = name.rstrip("=") if name.startswith("-") else "an argument"
            raise InputError(f"{where} is empty: give a value, or leave it out")


def _usage(error: TyperException) -> str:
    """Say what is wrong with the command line, with each parameter as it is typed."""
    parameter, said = (
        getattr(error, "param", None),
        str(error).removesuffix(".").removeprefix("Value error, "),
    )
    if said.startswith("Usage:"):
        return "a command is missing"
    possible = getattr(error, "possibilities", None)
    if possible:
        said += f", did you mean {' or '.join(possible)}?"
    if parameter is None:
        return said
    is_option = parameter.param_type_name == "option"
    name = max(parameter.opts, key=len) if is_option else parameter.metavar or parameter.name.upper()
    return f"{name} is missing" if said.startswith("Missing parameter") else f"{name}: {said}"


def _command(given: list[str]) -> str:
    """Return the command that was meant, as far as it is one: its help is the place to look."""
    words = [word for word in given if not word.startswith("-")]
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    if not words or words[0] not in {*groups, *(command.name for command in app.registered_commands)}:
        return "scelle"
    group = groups.get(words[0])
    members = [] if group is None else [command.name for command in group.registered_commands]
    return " ".join(["scelle", *words[: 2 if len(words) > 1 and words[1] in members else 1]])


def _say(
    text: str, code: str, exit_code: int, *, error: BaseException, debug: bool, as_json: bool = False
) -> int:
    if debug:
        traceback.print_exception(error)
    if as_json:
        from scelle.bootstrap.watch_log import Level, Said  # start-up time of --help

        said = Said(text, "ended", level=Level.ERROR, error=code, numbers={"exit": exit_code})
        print(said.line(time.time_ns() // 1000, as_json=True), file=sys.stderr)
    else:
        print(f"scelle: {one_line(text)} [{code}]", file=sys.stderr)
    return exit_code


def _logs_json(arguments: list[str]) -> bool:
    """Tell whether standard error is for machines: no text goes there, for it may name an order."""
    return "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)
