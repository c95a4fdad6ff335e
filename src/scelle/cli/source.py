"""`scelle source`: name the live systems that orders reach."""

from typing import Annotated

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.errors import InputError

app = typer.Typer(
    help="Name the live systems that orders reach.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The source's name.")]


@app.command("add")
def add(
    name: NameArgument,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="files://, mbox://, maildir:// or eml:// and a path.")
    ],
    custodian: Annotated[str | None, typer.Option(help="Who holds these documents.")] = None,
    account: Annotated[str | None, typer.Option(help="The user of the service whose data this is.")] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name a source and check that it can be read.

    Example: scelle source add docs files:///srv/docs --custodian staff-017@example.org
    """
    from scelle.bootstrap import actor, now_us  # start-up time of --help
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.sources.registry import (
        SourceSpec,
        add_source,
        check_identifier,
        check_name,
        refuse_own_folders,
    )
    from scelle.sources.urls import open_source

    if custodian is not None and account is not None:
        raise InputError(f"source {name}: a custodian or an account, not both: name two sources")
    for what, identifier in (("custodian", custodian), ("account", account)):
        if identifier is not None:
            check_identifier(identifier, what)
    spec = SourceSpec(check_name(name), url, custodian, account)
    source = open_source(name, url, custodian, account)
    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        refuse_own_folders(spec, session.path, session.key_folder)
        source.test()
        add_source(session.writer(RESERVED_ORDER_ID), spec, now_us(), actor())
    emit(spec.to_json(), [f"source {name} added: {url}"], as_json)


@app.command("list")
def list_sources(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sources of the vault.

    Example: scelle source list --json
    """

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        specs = [spec for _, spec in sorted(session.sources().items())]
    lines = [f"{spec.name}  {spec.url}  {spec.custodian or spec.account or ''}".rstrip() for spec in specs]
    emit(
        {"sources": [spec.to_json() for spec in specs]},
        lines or ["no sources yet: scelle source add"],
        as_json,
    )


@app.command("test")
def check(
    name: NameArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a source can be read now.

    Example: scelle source test docs
    """
    from scelle.sources.registry import known_source
    from scelle.sources.urls import open_source

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        spec = known_source(session.sources(), name)
        open_source(spec.name, spec.url, spec.custodian, spec.account).test()
    emit({**spec.to_json(), "readable": True}, [f"source {name} can be read"], as_json)


@app.command("remove")
def remove(
    name: NameArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a source's name; refused while an order's clause names it. What was sealed stays.

    Example: scelle source remove docs
    """
    from scelle.bootstrap import actor, now_us  # start-up time of --help
    from scelle.errors import SourceHeld
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.orders.service import order_ids, sealed_order
    from scelle.sources.registry import remove_source

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        for order in order_ids(vault):
            if name in sealed_order(session.ledger(order)).aliases:
                raise SourceHeld(
                    f"source {name} is held: a clause of order {order} names it: keep it until that order is over; "
                    "where the documents moved, add them under another name"
                )
        remove_source(session.writer(RESERVED_ORDER_ID), name, now_us(), actor())
    emit({"removed": name}, [f"source {name} removed; what was sealed from it stays"], as_json)
