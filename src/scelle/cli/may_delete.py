"""`scelle may-delete`: the guard's answer for application code."""

import sys
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.errors import InputError

if TYPE_CHECKING:
    from scelle.bootstrap.guarding import Answer

HELD: Final = 3
ID_MAX_BYTES: Final = 4096
_DAY_CHARACTERS: Final = len("2026-01-08")


def may_delete(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The source's own ids; - reads standard input.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(metavar="A", help="Whose the items are, with a kind (account:u1) or without."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="T", help="The items' own time, RFC 3339 with its offset.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read ids from a file, one a line; - is standard input."),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether items of a live source may be deleted: exit code 0 when none is held, 3 when one is.

    What is not told of an item may be a reason to hold it. An answer names no order and says not how many hold: a held
    item has a ref, which `why` explains to those who may see its orders. Delete on 0 only.

    Example: scelle may-delete posts 4711 4712 --account u1 --time 2026-01-08T14:00:00Z --json
    """
    from scelle.bootstrap.guarding import may_delete as ask  # start-up time of --help

    natives = _natives(ids or [], file)
    time_us = None if time is None else _time_us(time)
    if account is not None:
        _check_account(account)
    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        answers = ask(session, source, natives, account=account, time_us=time_us)
    held = sum(each.held for each in answers)
    refs = [each.ref for each in answers if each.held]
    document = {
        "source": source,
        "allowed": not held,
        "ref": refs[0] if refs else None,
        "items": [each.to_json() for each in answers],
        "held": held,
    }
    emit(document, [_line(each) for each in answers], as_json)
    if held:
        raise typer.Exit(HELD)


def _line(answer: "Answer") -> str:
    return f"{answer.native}: held, ref {answer.ref}" if answer.held else f"{answer.native}: not held"


def _natives(ids: list[str], file: Path | None) -> list[bytes]:
    """Return the native ids that were given; raise InputError where there are none, or one cannot be one."""
    places = [each for each in ids if each == "-"] + ([] if file is None else [str(file)])
    if len(places) > 1:
        raise InputError("ids are to be read from several places: give one of --file FILE and -")
    natives = [each.encode("utf-8", "surrogateescape") for each in ids if each != "-"]
    for place in places:
        natives += _lines_of(place)
    if not natives:
        raise InputError("no id is given: give ids, --file FILE, or - for standard input")
    for native in natives:
        if len(native) > ID_MAX_BYTES or b"\0" in native:
            raise InputError(
                f"an id has {len(native)} bytes, or a NUL: an id has 1 to {ID_MAX_BYTES}, one a line"
            )
    return natives


def _lines_of(place: str) -> list[bytes]:
    """Return the lines of a file of ids that are not blank."""
    if place == "-":
        return _ids_in(sys.stdin.buffer)
    path = Path(place)
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise InputError(f"{path} is no regular file: name one, or give - for standard input")
    try:
        with path.open("rb") as file:
            return _ids_in(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error


def _ids_in(lines: Iterable[bytes]) -> list[bytes]:
    found = (line.removesuffix(b"\n").removesuffix(b"\r") for line in lines)
    return [each for each in found if each]


def _time_us(text: str) -> int:
    from scelle.orders.days import moment_us  # start-up time of --help

    if len(text) == _DAY_CHARACTERS:
        raise InputError(f"--time {text}: a day is no time of an item: write 2026-01-08T14:00:00Z")
    return moment_us(text, UTC)


def _check_account(account: str) -> None:
    try:
        account.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("--account: not UTF-8: give the identifier as the source has it") from None
