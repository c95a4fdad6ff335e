"""`scelle restricted`: material that Scellé can put in and cannot read out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scelle.cli.noting import NoteOption, keep_note, note_text
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, utc
from scelle.errors import InputError

app = typer.Typer(
    help="Keep restricted material in a compartment that only several people together open.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="The item's id, as `find` prints it.")]
GrantOption = Annotated[
    str, typer.Option("--grant", metavar="REQUEST", help="The request that two people signed.")
]
GrantArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="The request that two people signed.")]
PurposeOption = Annotated[
    str, typer.Option(metavar="CODE", help="What it is opened for: a code of a-z, 0-9 and -.")
]
CaseOption = Annotated[str, typer.Option(metavar="REF", help="The case's reference.")]
IdentityOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file with an age identity, instead of the key of --as NAME."),
]
SharesOption = Annotated[
    list[Path] | None,
    typer.Option("--share", metavar="FILE", help="A share that `restricted share` wrote; repeatable."),
]
ToOption = Annotated[
    Path, typer.Option("--to", metavar="FILE", help="Where to write it; not inside the vault.")
]


@app.command("init")
def init(
    threshold: Annotated[
        int, typer.Option(min=2, max=255, metavar="K", help="How many holders must come together.")
    ],
    reviewers: Annotated[
        list[str] | None,
        typer.Option(
            "--reviewers",
            metavar="NAME",
            help="An operator (restricted-reviewer) to hold a share; repeatable.",
        ),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            metavar="NAME=AGE",
            help="Another holder: a name and an age public key; repeatable.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the compartment: its key is split among the holders, and nobody has it whole, not even this vault.

    Only once: what goes into a compartment opens with no other. Whoever loses more than n - k shares loses everything
    in it.

    Example: scelle --as carla restricted init --reviewers rita --reviewers remy --reviewers rosa --threshold 2
    """
    from scelle.bootstrap.restricted import init_compartment  # start-up time of --help

    recipients: dict[str, str] = {}
    for each in recipient or []:
        name, separator, key = each.partition("=")
        if not separator or not name or name in recipients:
            raise InputError(f"--recipient {each!a}: write NAME=AGE, each name once")
        recipients[name] = key
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        made = init_compartment(session, reviewers or [], recipients, threshold)
    holders = [each.name for each in made.holders]
    document = {"recipient": made.recipient, "threshold": threshold, "holders": holders}
    lines = [
        f"compartment {made.recipient}",
        f"  opens with {threshold} of {len(holders)} shares, held by {', '.join(holders)}",
    ]
    emit(document, lines, as_json)


@app.command("status")
def status(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether the vault has a compartment, and who holds its shares.

    Example: scelle --as rita restricted status --json
    """
    from scelle.bootstrap.restricted import compartment  # start-up time of --help
    from scelle.operators.model import Power

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.SEE_COUNTS) as session:
        found = compartment(session)
    if found is None:
        emit({"compartment": None}, ["the vault has no compartment"], as_json)
        return
    holders = [{"name": each.name, "recipient": each.recipient} for each in found.holders]
    document = {"recipient": found.recipient, "threshold": found.threshold, "holders": holders}
    lines = [f"compartment {found.recipient}, opens with {found.threshold} of {len(holders)} shares"]
    lines += [f"  {each['name']}  {each['recipient']}" for each in holders]
    emit({"compartment": document}, lines, as_json)


@app.command("mark")
def mark(
    item: ItemArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an item that is sealed openly into the compartment, as a new record. It stays restricted in later passes.

    The open record is quarantined in the same step, in every order of yours that has it: nothing finds, reads or
    produces it any more. Its bytes stay in the vault, encrypted under the vault's key, until they are disposed of:
    with `erase-records`, or with the order. The answer says which record it is.

    Example: scelle --as carla restricted mark iq5y3k2wq6r7u4n5b2c3d4e5f6a
    """
    from scelle.bootstrap.marking import mark_item  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        done = mark_item(session, item)
    marked = [
        {
            "item": each.item,
            "order": each.order,
            "place": f"{each.alias}:{each.seq}",
            "open_copy": {
                "item": item,
                "places": [f"{each.alias}:{seq}" for seq in each.open_seqs],
                "kept": True,
                "quarantined": True,
            },
        }
        for each in done
    ]
    lines = []
    for each in done:
        places = ", ".join(f"{each.alias}:{seq}" for seq in each.open_seqs)
        lines += [
            f"{each.item} lies in the compartment ({each.alias}:{each.seq}), order {each.order}",
            f"  the open record {item} ({places}) is quarantined: nothing finds, reads or produces it any more",
            "  its bytes stay in the vault, encrypted under the vault's key, until they are disposed of: "
            f"scelle erase-records {each.order} {item} --ground restricted --basis .., or when the order is released",
        ]
    emit({**marked[0], "marked": marked}, lines, as_json)


@app.command("open")
def open_(
    item: ItemArgument,
    purpose: PurposeOption,
    case: CaseOption,
    reader: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Who reads: an age public key. Default: yours, with --as."),
    ] = None,
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that one item may be read, for a quarter of an hour from when the request is carried out (setting open-for).

    Two restricted reviewers sign it. Each holder then gives his share with `restricted share`.

    Example: scelle --as rita restricted open iq5y3k2wq6r7u4n5b2c3d4e5f6a --purpose court-order --case 2026-17
    """
    from scelle.bootstrap.restricted import ask_open  # start-up time of --help

    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request = ask_open(session, item, purpose, case, reader)
        number = keep_note(session, said, request.id)
    _emit_request(request.id, item, number, as_json)


@app.command("export")
def export(
    item: ItemArgument,
    authority: Annotated[str, typer.Option(metavar="AGE", help="The authority's age public key.")],
    purpose: PurposeOption,
    case: CaseOption,
    note: NoteOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask that one item be handed over: its ciphertext, and shares encrypted to an authority, who opens it elsewhere.

    Two restricted reviewers sign it. Then `restricted fetch` writes the ciphertext, and k holders give their shares
    with `restricted share`; the authority opens it with `restricted unlock`. Nobody here reads it.

    Example: scelle --as rita restricted export iq5y3k2wq6r7u4n5b2c3d4e5f6a --authority age1.. --purpose lent --case 1
    """
    from scelle.bootstrap.restricted import ask_export  # start-up time of --help

    said = None if note is None else note_text(note)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        request = ask_export(session, item, purpose, case, authority)
        number = keep_note(session, said, request.id)
    _emit_request(request.id, item, number, as_json)


def _emit_request(request: str, item: str, note: int | None, as_json: bool) -> None:
    lines = [
        f"request {request}: another restricted reviewer approves it with `scelle --as NAME request approve {request}`"
    ]
    emit({"request": request, "item": item, "note": note}, lines, as_json)


@app.command("share")
def share(
    request: GrantArgument,
    to: ToOption,
    identity: IdentityOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give your share to the reader of a grant, encrypted to the reader's key. Only while the grant lasts.

    Example: scelle --as remy restricted share r3f0a9c2b17d4e655 --to remy.share
    """
    from scelle.bootstrap.restricted import read_identity, share_for  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        grant = share_for(session, request, read_identity(identity), to)
    document = {
        "request": grant.request,
        "item": grant.item,
        "reader": grant.reader,
        "until": utc(grant.until_us),
    }
    emit(document, [f"{to}: a share for {grant.reader}, until {utc(grant.until_us)}"], as_json)


@app.command("read")
def read(
    item: ItemArgument,
    grant: GrantOption,
    to: ToOption,
    shares: SharesOption = None,
    identity: IdentityOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Combine the shares and write one item to a file (mode 0600), compared with what was sealed.

    Only while the grant lasts. Your own share, if you hold one, is taken by itself. The item's bytes are in this
    process's memory and in that file, and nowhere else.

    Example: scelle --as rita restricted read iq5y3k2wq6r7u4n5b2c3d4e5f6a --grant r3f0a9c2b17d4e655 --share a --to item
    """
    from scelle.bootstrap.restricted import read_identity, read_item  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        done = read_item(session, item, grant, shares or [], read_identity(identity), to)
    document = {
        "item": item,
        "size": done.size_bytes,
        "kept": done.keeps_content,
        "file": str(to),
        "until": utc(done.until_us),
    }
    said = (
        f"{done.size_bytes} bytes, as sealed"
        if done.keeps_content
        else "only its digest was kept: no content"
    )
    emit(document, [f"{to}: {said}; you may read it again until {utc(done.until_us)}"], as_json)


@app.command("fetch")
def fetch(
    item: ItemArgument,
    grant: GrantOption,
    to: ToOption,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the ciphertext of an item that is to be handed over. While the grant lasts.

    Example: scelle --as rita restricted fetch iq5y3k2wq6r7u4n5b2c3d4e5f6a --grant r3f0a9c2b17d4e655 --to item.age
    """
    from scelle.bootstrap.restricted import fetch_ciphertext  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        done = fetch_ciphertext(session, item, grant, to)
    document = {"item": item, "request": done.request, "file": str(to), "until": utc(done.until_us)}
    emit(document, [f"{to}: the ciphertext of {item}; nobody opened it"], as_json)


@app.command("unlock")
def unlock_(
    ciphertext: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `restricted fetch` wrote.", exists=True)
    ],
    identity: Annotated[
        Path, typer.Option(metavar="FILE", help="The age identity that the shares are encrypted to.")
    ],
    to: ToOption,
    shares: SharesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open an item that was handed over to you: needs no vault, and writes nothing but the file.

    Example: scelle restricted unlock item.age --identity own.txt --share rita.share --share remy.share --to item
    """
    from scelle.bootstrap.restricted import read_identity, unlock  # start-up time of --help

    key = read_identity(identity)
    if key is None:
        raise InputError("--identity FILE is missing")
    tail, head = unlock(ciphertext, shares or [], key, to)
    document: dict[str, Any] = {"file": str(to), "sha256": tail.digest.hex(), "size": tail.size_bytes}
    document |= {"native_id": head.native.decode("utf-8", "backslashreplace"), "media_type": head.media_type}
    lines = [f"{to}: {tail.size_bytes} bytes, SHA-256 {tail.digest.hex()}", f"  {document['native_id']}"]
    emit(document, lines, as_json)
