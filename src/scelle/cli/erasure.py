"""`scelle erasure`: requests to erase a person's data, remembered while orders hold."""

import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, printable, write_new
from scelle.errors import ErasureWrong

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN: int = 20

app = typer.Typer(
    name="erasure",
    help="Take a person's request for erasure in, defer what orders hold, and execute it when the last one lets go.\n\n"
    "Example: scelle erasure request --account 4711 --reference DSR-2026-044",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RequestArgument = Annotated[str, typer.Argument(metavar="R", help="The request's reference, or its id.")]


@app.command("request")
def request(
    account: Annotated[
        list[str],
        typer.Option(
            metavar="A",
            help="An account, with its kind (account:4711, handle:@a) or without. Repeat for more.",
        ),
    ],
    reference: Annotated[str, typer.Option(metavar="R", help="Your own reference of the request.")],
    alias: Annotated[
        list[str] | None, typer.Option(metavar="B", help="Another name of the same person. Repeat for more.")
    ] = None,
    received: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The day on which the request came. Default: today (UTC)."),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="sealed|all",
            help="sealed: the vault, and whether sources are held (default); all: also read every source.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Go on where more than 1,000 accounts or 100,000 items are meant.")
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Match a request against every order, and seal what becomes of each item: executed, or deferred on which ground.

    Check who asks first. The same reference with the same accounts shows what was recorded.

    Example: scelle erasure request --account 4711 --alias handle:@ada --reference DSR-2026-044 --json
    """
    from scelle.bootstrap.erasing import request_erasure  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = request_erasure(
            session,
            accounts=account,
            aliases=alias or [],
            reference=reference,
            received=None if received is None else _day(received),
            scope=None if scope is None else _scope(scope),
            confirm=_confirm(yes, as_json),
        )
    emit(document, _lines(document), as_json)


@app.command("list")
def list_all(
    affected: Annotated[
        bool,
        typer.Option(
            "--affected", help="Only requests with items that wait although no order in force holds them."
        ),
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests, with the day by which each must be answered and what is still deferred.

    Example: scelle erasure list --affected --json
    """
    from scelle.bootstrap.erasure_list import list_requests  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = list_requests(session, only_affected=affected)
    lines = [_summary_line(each) for each in found]
    none = "no request waits without a ground" if affected else "no request was taken in"
    emit({"requests": found}, lines or [none], as_json)


@app.command("show")
def show(
    name: RequestArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a request with the ground of each item as it is now.

    Example: scelle erasure show DSR-2026-044 --json
    """
    from scelle.bootstrap.erasure_list import show_request  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        document = show_request(session, name)
    emit(document, _lines(document), as_json)


@app.command("extend")
def extend(
    name: RequestArgument,
    reason: Annotated[
        str, typer.Option(metavar="CODE", help="Why: complexity, number-of-requests, or another code.")
    ],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Extend the time to answer by two months, once, within the first; tell the person by a letter.

    Example: scelle erasure extend DSR-2026-044 --reason complexity
    """
    from scelle.bootstrap.erasure_list import extend_request  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = extend_request(session, name, reason)
    emit(document, [_summary_line(document)], as_json)


@app.command("letter")
def letter(
    name: RequestArgument,
    lang: Annotated[str, typer.Option(metavar="fr|en", help="The language of the letter.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The letter; must not exist.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the text for the person: what is erased, what waits, complaint and remedy; neutral where it must be.

    Example: scelle erasure letter DSR-2026-044 --lang fr --to reponse.txt
    """
    from scelle.bootstrap.erasure_list import write_letter  # start-up time of --help
    from scelle.release.letters import Language

    if lang not in list(Language):
        raise ErasureWrong(f"--lang {printable(lang)}: give fr or en")
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = write_letter(session, name, Language(lang), to, write_new)
    lines = [
        f"{to}: the {document['variant']} text, {document['language']}",
        "send it only once the platform itself has erased what it may, and shows the rest to nobody: the text says so",
    ]
    emit(document, lines, as_json)


@app.command("certificate")
def certificate(
    name: RequestArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The certificate; must not exist.")],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the certificate of a request of which nothing is deferred any more.

    Example: scelle erasure certificate DSR-2026-044 --to attestation.txt
    """
    from scelle.bootstrap.erasure_list import certificate as certified  # start-up time of --help
    from scelle.release.letters import certificate_text

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        document = certified(session, name)
    write_new(to, certificate_text(document))
    emit(document, [f"{to}: {document['executed']} items erased, none deferred"], as_json)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ErasureWrong(f"--received {printable(text)!r} is no date: write 2026-01-08") from None


def _scope(text: str) -> Any:
    from scelle.release.erasure import Scope  # start-up time of --help

    if text not in list(Scope):
        raise ErasureWrong(f"--scope {printable(text)}: give sealed or all")
    return Scope(text)


def _confirm(yes: bool, as_json: bool) -> "Callable[[str], bool]":
    """Return what answers whether so much is meant: --yes, or a person at a terminal."""
    if yes:
        return lambda question: True
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return lambda question: False
    return lambda question: typer.confirm(question, err=True)


def _summary_line(each: Mapping[str, Any]) -> str:
    counts = f"{each['executed']} executed, {each['deferred']} deferred, {each['pending']} pending"
    due = "answered" if each["answered"] else f"due {each['due']} ({each['days_left']} days left)"
    line = f"{each['reference']}  {each['id']}  received {each['received']}, {due}; {counts}; {each['state']}"
    if "affected" in each:
        line += f"; {each['affected']} items wait without a ground ({each['ground']}): decide over the order"
    return line


def _lines(document: Mapping[str, Any]) -> list[str]:
    items, sources = document["items"], document["sources"]
    lines = [f"  {each['item']}  {each['outcome']}: {each['ground']}" for each in items[:_SHOWN]]
    if len(items) > _SHOWN:
        lines.append(f"  and {len(items) - _SHOWN} more: give --json for all")
    lines += [f"  source {each['source']}  {each['outcome']}: {each['ground']}" for each in sources]
    return [_summary_line(document), *lines]
