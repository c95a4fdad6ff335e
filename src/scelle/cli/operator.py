"""`scelle operator`: the people who act on a vault, each with a key of their own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.acting import new_passphrase as asked_passphrase
from scelle.cli.confirm import warned_of
from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    PassphraseOption,
    VaultOption,
    YesOption,
    opened_vault,
)
from scelle.cli.output import emit, refuse_in_any_vault, utc, warn
from scelle.operators.model import Role

if TYPE_CHECKING:
    from scelle.operators.model import Operator

app = typer.Typer(help="Add, list and remove operators.", no_args_is_help=True, rich_markup_mode=None)

NewPassphraseOption = Annotated[
    str | None,
    typer.Option(
        metavar="env:NAME|file:PATH|exec:CMD",
        help="Where the new key file's passphrase is. Default: asked for on a terminal, else none.",
    ),
]
_TOLD = ("name", "role", "request", "order", "only", "what", "why", "value_us")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")]


@app.command("add")
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="What the operator is to the vault.")],
    order: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Clear for this order only. Repeat for more. Default: all without a wall."
        ),
    ] = None,
    public: Annotated[
        str | None,
        typer.Option(metavar="KEYS", help="What `operator key` printed for them: no key file is written."),
    ] = None,
    new_passphrase: NewPassphraseOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make somebody an operator: write a key file of their own, and print its path. Give it to that person alone.

    In the setup nobody's leave is needed. Once an operator has acted and there are two counsel, it takes --as NAME of
    one of them, and becomes a request that another approves. Better then: the person runs `operator key` and hands
    over what it prints, so that nobody else ever had the key.

    Example: scelle operator add alice --role counsel

    Example: scelle --as alice operator add carol --role reviewer --public "carol+1c2f..+A.. age1.."
    """
    from scelle.bootstrap.operators import add_operator, parse_public_half  # start-up time of --help

    half = None if public is None else parse_public_half(public)
    secret = None if half else asked_passphrase(name, new_passphrase, may_ask=not as_json)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        path, request = add_operator(session, name, role, order or None, secret, half)
    _warn_of_open_key(path, secret, name)
    document: dict[str, Any] = {"name": name, "role": role.value}
    document |= {"key_file": None if path is None else str(path)}
    document["request"] = None if request is None else request.id
    lines = [f"{name} is an operator now"] if path is None and request is None else []
    lines = lines if path is None else [str(path)]
    if request is not None:
        lines.append(f"{name} becomes an operator when another approves: scelle request approve {request.id}")
    emit(document, lines, as_json)


@app.command("key")
def key(
    name: NameArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The key file; must not exist.")],
    new_passphrase: NewPassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key file of your own, and print its public keys, with which counsel adds you. Needs no vault.

    Use it with SCELLE_OPERATOR_KEY=FILE. Nobody but you ever has it.

    Example: scelle operator key carol --to ~/carol.key
    """
    from scelle.bootstrap.operators import make_key  # start-up time of --help
    from scelle.operators.registry import check_operator_name

    refuse_in_any_vault(to)
    secret = asked_passphrase(check_operator_name(name), new_passphrase, may_ask=not as_json)
    public = make_key(name, to, secret)
    _warn_of_open_key(to, secret, name)
    emit({"name": name, "key_file": str(to), "public": public.text()}, [public.text()], as_json)


def _warn_of_open_key(path: Path | None, secret: str | None, name: str) -> None:
    if path is not None and secret is None:
        warn(
            f"{path} has no passphrase: whoever copies it is {name}; give --new-passphrase env:NAME or file:PATH"
        )


@app.command("list")
def list_operators(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the vault's operators, or say that it is in solo mode.

    Example: scelle operator list --json
    """
    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        seen = session.orders()
        found = [_described(each, seen) for each in session.people.operators.values()]
        solo, removed = session.is_solo, sorted(session.people.gone)
    lines = [f"{each['name']}  {each['role']}  since {each['since']}" for each in found]
    lines += [f"{name}  removed" for name in removed]
    if solo:
        lines = [
            "solo mode: no operators, no walls, no second person: scelle operator add NAME --role counsel"
        ]
    emit({"operators": found, "removed": removed, "solo": solo}, lines, as_json)


@app.command("remove")
def remove(
    name: NameArgument,
    note: NoteOption = None,
    yes: YesOption = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove an operator: from now on no signature of theirs counts, not even on what still waits.

    Where only one counsel would be left, in the vault or inside the wall of an order, that is said first, and asked
    about on a terminal: there is no way back. The last counsel stays.

    Example: scelle --as alice operator remove bob
    """
    from scelle.bootstrap.operators import remove_operator  # start-up time of --help

    said, told = None if note is None else note_text(note), warned_of(yes=yes, as_json=as_json)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        operator = remove_operator(session, name, told)
        number = keep_note(session, said, name)
    emit({"removed": operator.name, "note": number}, [f"{name} is no operator any more"], as_json)


@app.command("log")
def log(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what operators did, what they were refused, and what they read, as the vault's own log has it.

    What concerns an order that you may not know of is not in it. Of notes only who wrote one, and when.

    Example: scelle --as ada operator log --json
    """
    from scelle.bootstrap.operators import history  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = [{"time": utc(each.pop("time_us")), **each} for each in history(session)]
    lines = [f"{each['time']}  {each['by']}  {each['kind']}{_said(each['body'])}" for each in found]
    emit({"events": found}, lines or ["nobody did anything yet"], as_json)


def _said(body: dict[str, Any]) -> str:
    """Return the words of an event that tell what it is about."""
    asked = body.get("asked", {})
    told = [asked.get("act"), asked.get("id"), *(body.get(key) for key in _TOLD)]
    words = [str(each) for each in told if each]
    return f": {' '.join(words)}" if words else ""


def _described(operator: "Operator", seen: list[str]) -> dict[str, Any]:
    """Describe an operator; of the orders that he is cleared for, only those that who asks may know of."""
    return {
        "name": operator.name,
        "role": operator.role.value,
        "key": operator.vkey.text(),
        "recipient": operator.recipient,
        "orders": [order for order in seen if operator.is_cleared_for(order)],
        "since": utc(operator.added_us),
    }
