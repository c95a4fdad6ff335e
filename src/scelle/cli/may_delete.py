"""`scelle may-delete`: the guard's answer for application code."""

import sys
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.errors import InputError

if TYPE_CHECKING:
    from scelle.bootstrap.leasing import Permission

HELD: Final = 3
ID_MAX_BYTES: Final = 4096
_WHY_NOT: Final = {
    "held": "something is held",
    "late": "the token is over; ask again",
    "unknown": "the vault has no such token, or it is over; ask again",
    "other": "the token was given for something else; confirm it with the arguments that it was given for",
}
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
    token: Annotated[
        bool, typer.Option("--token", help="Where none is held, give a token to confirm before the deletion.")
    ] = False,
    life: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long the token lives: 1 to 300 (10).")
    ] = None,
    confirm: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help="Decide anew over the items of a token: exit code 0 only in its life."
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether items of a live source may be deleted: exit code 0 when none is held, 3 when one is.

    What is not told of an item may be a reason to hold it. An answer names no order and says not how many hold: a held
    item has a ref, which `why` explains to those who may see its orders. Delete on 0 only.

    An order may come between the answer and the deletion. So ask with --token, lock the item, --confirm the token with
    the same arguments, and delete before it expires: whoever widens what is held waits for that.

    Example: scelle may-delete posts 4711 4712 --account u1 --time 2026-01-08T14:00:00Z --json

    Example: scelle may-delete posts 4711 --account u1 --token --life 30

    Example: scelle may-delete posts 4711 --account u1 --confirm 5f0c3e7a91d24b6888d1e0a7c3b2f496
    """
    from scelle.bootstrap.leasing import ask_permission, confirm_permission, decide  # start-up time of --help
    from scelle.guard.leases import LIFE_S

    _check_phase(token=token, life=life, confirm=confirm)
    natives = _natives(ids or [], file)
    time_us = None if time is None else _time_us(time)
    if account is not None:
        _check_account(account)
    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        if confirm is not None:
            found = confirm_permission(session, source, natives, confirm, account=account, time_us=time_us)
        elif token:
            life_s = LIFE_S if life is None else life
            found = ask_permission(session, source, natives, account=account, time_us=time_us, life_s=life_s)
        else:
            found = decide(session, source, natives, account=account, time_us=time_us)
    document, lines = _document(source, found), _lines(found)
    if token:
        document |= {"token": found.token, "expires": _expires(found)}
        lines += [] if found.token is None else [f"token {found.token}, until {_expires(found)}"]
    if confirm is not None:
        document |= {"expires": _expires(found), "why": found.why}
        lines.append(_confirmed(found))
    emit(document, lines, as_json)
    if found.why is not None:
        raise typer.Exit(HELD)


def _check_phase(*, token: bool, life: int | None, confirm: str | None) -> None:
    if confirm is not None and (token or life is not None):
        raise InputError(
            "--confirm TOKEN takes neither --token nor --life: a token lives as long as it was given for"
        )
    if life is not None and not token:
        raise InputError("--life says how long a token lives: give --token, too")


def _document(source: str, found: "Permission") -> dict[str, Any]:
    """Return the answer as a document; no item is allowed by a token that is not confirmed."""
    refs = [each.ref for each in found.answers if each.held]
    is_refused = found.why is not None and not refs
    return {
        "source": source,
        "allowed": found.why is None,
        "ref": refs[0] if refs else None,
        "items": [each.to_json() | ({"allowed": False} if is_refused else {}) for each in found.answers],
        "held": len(refs),
    }


def _lines(found: "Permission") -> list[str]:
    return [
        f"{each.native}: held, ref {each.ref}" if each.held else f"{each.native}: not held"
        for each in found.answers
    ]


def _expires(found: "Permission") -> str | None:
    from scelle.orders.days import utc_text  # start-up time of --help

    return None if found.expires_us is None else utc_text(found.expires_us)


def _confirmed(found: "Permission") -> str:
    if found.why is None:
        return f"confirmed: delete now, until {_expires(found)}"
    return f"not confirmed, nothing may be deleted: {_WHY_NOT[found.why.value]}"


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
