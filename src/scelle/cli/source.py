"""`scelle source`: name the live systems that orders reach."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.arguments import free_text, size
from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, human_bytes, read_text, write_new
from scelle.cli.trial import trial_lines
from scelle.errors import InputError
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap import Session
    from scelle.sources.model import StreamChoices

app = typer.Typer(
    help="Name the live systems that orders reach.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The source's name.")]


@app.command("add")
def add(
    name: NameArgument,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="files://, mbox://, maildir://, eml://, records://, generation:// or git:// and a path, or "
            "postgresql://user@host:port/db.",
        ),
    ],
    custodian: Annotated[str | None, typer.Option(help="Who holds these documents.")] = None,
    account: Annotated[str | None, typer.Option(help="The user of the service whose data this is.")] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Records and PostgreSQL: the schema file, or builtin:NAME (docs/records.md)."
        ),
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERNS",
            help="PostgreSQL: which tables, as in 'public.*,!public.tmp_*,app.posts' (default: public.*).",
        ),
    ] = None,
    credential: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="PostgreSQL: where the password is: env:NAME, file:PATH or exec:CMD."
        ),
    ] = None,
    shards: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PostgreSQL: further databases of the same shape, a URL a line."),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="PostgreSQL: at most so many connections (2); with more, tables are read ahead."
        ),
    ] = None,
    max_bytes_per_second: Annotated[
        int | None, typer.Option(metavar="N", help="PostgreSQL: read no faster than this.")
    ] = None,
    snapshot_max_age: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="PostgreSQL: hold a snapshot no longer (3600).")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="HH:MM-HH:MM", help="PostgreSQL: read only at this time of day (UTC)."),
    ] = None,
    restricted: Annotated[
        bool,
        typer.Option(
            "--restricted",
            help="Whatever a clause covers in it goes into the compartment, for ever; given again, an open one closes.",
        ),
    ] = False,
    print_grants: Annotated[
        bool,
        typer.Option(
            "--print-grants", help="PostgreSQL: print the SQL of a role that may just read, and end."
        ),
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name a source and check that it can be read.

    With --restricted everything that a clause covers in it is restricted material. That is never undone: not by
    adding it again, nor its place under another name. An open source becomes restricted when it is added again with
    --restricted and nothing else that differs.

    Example: scelle source add docs files:///srv/docs --custodian staff-017@example.org

    scelle source add posts records:///srv/export --schema posts.toml

    scelle source add code git:///srv/repo

    scelle source add case files:///srv/case-17 --restricted

    scelle source add db postgresql://reader@db.internal:5432/app --tables 'public.*' --credential env:DB_PASSWORD
    """
    from scelle.bootstrap.restricted import NO_COMPARTMENT, compartment
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.sources.model import LIMITS, SourceSpec
    from scelle.sources.places import Places
    from scelle.sources.registry import (
        add_source,
        check_identifier,
        check_name,
        refuse_own_folders,
    )
    from scelle.sources.urls import grants, inferred_schema, needs_schema, open_source, schema_text

    if custodian is not None and account is not None:
        raise InputError(f"source {name}: a custodian or an account, not both: name two sources")
    for what, identifier in (("custodian", custodian), ("account", account)):
        if identifier is not None:
            check_identifier(identifier, what)
    for what, text in (("URL", url), ("--tables", tables), ("--credential", credential)):
        free_text(text, what)
    spec = SourceSpec(
        check_name(name),
        url,
        custodian,
        account,
        schema=None if schema is None else schema_text(schema),
        tables=tuple(each for each in (tables or "").split(",") if each),
        credential=credential,
        shards=None if shards is None else read_text(shards),
        limits={
            name: limit
            for name, limit in zip(
                LIMITS, (max_connections, max_bytes_per_second, snapshot_max_age), strict=True
            )
            if limit is not None
        },
        window=window,
        restricted=restricted,
    )
    if print_grants:
        sql = grants(spec)
        emit({"sql": sql}, sql.splitlines(), as_json)
        return
    check = partial(inferred_schema, spec) if needs_schema(spec) else open_source(spec).test
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        refuse_own_folders(spec, session.path, session.key_folder)
        check()
        named = session.sources()
        was_there = name in named
        if not was_there and (others := Places(named).overlapping(spec)):
            beside = ", ".join(sorted(each.name for each in others))
            session.warnings.append(
                f"source {name} and {beside} lie in one another: what an order holds by one of them is held under each"
            )
        add_source(session.writer(RESERVED_ORDER_ID), spec, session.now_us(), session.actor)
        if restricted and compartment(session) is None:
            session.warnings.append(NO_COMPARTMENT.format(names=name))
    lines = [f"source {name} {'is restricted from now on' if was_there else 'added'}: {url}"]
    if restricted:
        lines.append(
            "  whatever a clause covers in it goes into the compartment; what was sealed openly stays as it is"
        )
    if needs_schema(spec):
        lines.append(f"it has no schema yet: scelle source schema {name} --infer --to {name}.toml")
    emit(spec.to_json(), lines, as_json)


@app.command("list")
def list_sources(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sources of the vault, and how the records of each would be sealed: which column is the account.

    Example: scelle source list --json
    """
    from scelle.sources.urls import shapes_of  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.SEE_COUNTS) as session:
        specs = [spec for _, spec in sorted(session.sources().items())]
    documents, lines = [], list[str]()
    for spec in specs:
        shapes = shapes_of(spec)
        documents.append(spec.to_json() | shapes.to_json())
        lines.append(f"{spec.name}  {spec.url}  {spec.custodian or spec.account or ''}".rstrip())
        lines += (
            ["  restricted: what a clause covers in it goes into the compartment"] if spec.restricted else []
        )
        lines += [f"  {line}" for line in (*_stream_lines(spec.stream), *shapes.lines())]
    emit({"sources": documents}, lines or ["no sources yet: scelle source add"], as_json)


@app.command("test")
def check(
    name: NameArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a sample of a source and say what was seen: how much fits, what fails and why. Keeps nothing.

    At most 1,000 records or 8 MiB, of up to 1,000 files or tables; of documents the first 16 are read. Exit code 1:
    part of the sample cannot be read or fits no schema, and the answer says what. Outside the source's window only
    the way to it is tried.

    Example: scelle source test docs
    """
    from scelle.sources.registry import known_source  # start-up time of --help
    from scelle.sources.trial import try_source
    from scelle.sources.urls import open_source
    from scelle.sources.windows import Window

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        spec, now_s = known_source(session.sources(), name), session.now_us() / 1e6
    source = open_source(spec)
    document: dict[str, Any] = {**spec.to_json(), "readable": True}
    window = None if spec.window is None else Window.parse(spec.window)
    if window is not None and not window.left_s(now_s):
        source.test()
        line = (
            f"source {name} can be reached; nothing was read outside its window {window.text} (UTC), which opens "
            f"{window.opens(now_s)}"
        )
        emit({**document, "sample": None}, [line], as_json)
        return
    trial = try_source(source, spec.holder)
    emit({**document, "sample": trial.to_json()}, trial_lines(name, trial), as_json)
    if trial.failed:
        raise typer.Exit(1)


@app.command("schema")
def schema_of(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The source's name, or a records:// URL.")],
    infer: Annotated[
        bool, typer.Option("--infer", help="Write a schema file from a sample of the source.")
    ] = False,
    use: Annotated[
        str | None, typer.Option(metavar="FILE", help="Use this schema file from the next pass on.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; never overwritten.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the schema file of a source of records, write one from a sample, or use another from now on.

    What the sample does not decide is marked `# unsure`: read those lines before the file is used. A changed
    schema seals what comes from now on under the next member of the source's family; what was sealed stays.

    Example: scelle source schema posts --infer --to posts.toml

    scelle source schema posts --use posts.toml
    """
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.sources.model import SourceSpec
    from scelle.sources.registry import known_source, set_schema
    from scelle.sources.urls import inferred_schema, needs_schema, schema_text

    sealed_in: list[str] = []
    if infer and use is not None:
        raise InputError("--infer writes a file and --use takes one: give one of them")
    if "://" in name:
        if not infer:
            raise InputError("a URL is only for --infer: name a source of the vault")
        called = (
            re.sub(r"[^a-z0-9._-]+", "-", name.rstrip("/").rpartition("/")[2].lower()).strip("-._") or "rows"
        )
        text: str | None = inferred_schema(SourceSpec(called, name))
    else:
        text = None if use is None else schema_text(use)
        power = Power.SEE_COUNTS if use is None and not infer else Power.CAPTURE
        with opened_vault(vault, key_file, passphrase, writing=use is not None, power=power) as session:
            spec = known_source(session.sources(), name)
            if text is not None:
                sealed_in = _orders_with_records(session, name) if spec.schema not in (None, text) else []
                set_schema(session.writer(RESERVED_ORDER_ID), name, text, session.now_us(), session.actor)
        if infer:
            text = inferred_schema(spec)
        elif text is None:
            text = spec.schema
    if text is None:
        if not needs_schema(spec):
            raise InputError(f"source {name}: only sources of rows (records://) have a schema file")
        raise InputError(f"source {name} has no schema yet: scelle source schema {name} --infer --to FILE")
    if to is not None:
        write_new(to, text)
    lines = _set_lines(name, use, sealed_in) if use is not None else text.splitlines()
    unsure = sum(line.lstrip().startswith("# unsure") for line in text.splitlines())
    if to is not None:
        then = (
            f"source add NAME {name} --schema {to}" if "://" in name else f"source schema {name} --use {to}"
        )
        lines = [] if use is None else lines
        lines += [f"{to} written; {unsure} lines are marked unsure: read them, then: scelle {then}"]
    emit(
        {"source": name, "schema": text, "unsure": unsure, "file": None if to is None else str(to)},
        lines,
        as_json,
    )


def _orders_with_records(session: "Session", name: str) -> list[str]:
    """Return the orders under which records of the source are sealed already."""
    from scelle.capture.families import is_of_family  # start-up time of --help
    from scelle.orders.service import sealed_order

    found = []
    for order in session.orders():
        ledger = session.ledger(order)
        alias = sealed_order(ledger).aliases.get(name)
        manifests = [] if alias is None else ledger.manifests()
        if any(is_of_family(each.source, str(alias)) and each.records for _, each in manifests):
            found.append(order)
    return found


def _set_lines(name: str, use: str, sealed_in: list[str]) -> list[str]:
    lines = [f"source {name} is read by the schema {use} from the next pass on"]
    if sealed_in:
        lines.append(
            f"records of it are sealed under another schema (orders {', '.join(sealed_in)}): they stay as they are"
        )
    return lines


@app.command("set")
def set_(
    name: NameArgument,
    wal_cap: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="PostgreSQL: so much WAL may be kept on the server for `scelle watch`, as in 50GB; none for no cap.",
        ),
    ] = None,
    beyond_wal_cap: Annotated[
        str | None,
        typer.Option(
            metavar="warn|drop-slot",
            help="PostgreSQL: what a watch does beyond: say so (warn), or drop the slot, with a gap.",
        ),
    ] = None,
    failover_slot: Annotated[
        bool | None,
        typer.Option(
            "--failover-slot/--no-failover-slot",
            help="PostgreSQL 17: a slot that is made from now on is taken along by a standby.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide beforehand what `scelle watch` does with the stream of a database; what is not named stays as it is.

    It is sealed, holds for every watch of the source, also after a restart, and is read anew by one that runs.

    Example: scelle source set app --wal-cap 50GB --beyond-wal-cap drop-slot
    """
    from dataclasses import replace

    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.sources.model import DROP_SLOT, WARN
    from scelle.sources.registry import known_source, set_stream

    if beyond_wal_cap not in (None, WARN, DROP_SLOT):
        raise InputError(f"--beyond-wal-cap {beyond_wal_cap}: give {WARN} or {DROP_SLOT}")
    if wal_cap is None and beyond_wal_cap is None and failover_slot is None:
        raise InputError("nothing is to be set: give --wal-cap, --beyond-wal-cap or --failover-slot")
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        choices = known_source(session.sources(), name).stream
        if wal_cap is not None:
            choices = replace(
                choices, wal_cap_bytes=None if wal_cap == "none" else size(wal_cap, "--wal-cap")
            )
        if beyond_wal_cap is not None:
            choices = replace(choices, drops_slot=beyond_wal_cap == DROP_SLOT)
        if failover_slot is not None:
            choices = replace(choices, failover=failover_slot)
        ledger = session.writer(RESERVED_ORDER_ID)
        spec = set_stream(ledger, name, choices, session.now_us(), session.actor)
    lines = _stream_lines(spec.stream) or ["no cap on the WAL that is kept for its stream"]
    emit(spec.to_json(), [f"source {name}: {line}" for line in lines], as_json)


def _stream_lines(choices: "StreamChoices") -> list[str]:
    """Say what was chosen for the stream of a database."""
    lines = []
    if choices.wal_cap_bytes is not None:
        then = "the slot is dropped, and capture has a gap" if choices.drops_slot else "that is said"
        lines.append(f"beyond {human_bytes(choices.wal_cap_bytes)} of WAL kept on its server {then}")
    if choices.failover:
        lines.append("its slot is made so that a standby takes it along")
    return lines


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
    from scelle.errors import SourceHeld
    from scelle.orders.model import RESERVED_ORDER_ID
    from scelle.orders.service import sealed_order
    from scelle.sources.registry import remove_source

    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        for order in sorted(session.all_orders(), key=lambda each: not session.sees(each)):
            life = sealed_order(session.ledger(order))
            if name in life.aliases and life.life.disposed_us is None:
                raise SourceHeld(
                    f"source {name} is held, {_by_whom(session, order, name)}: keep it until that is over; where the "
                    "documents moved, add them under another name"
                )
        remove_source(session.writer(RESERVED_ORDER_ID), name, session.now_us(), session.actor)
    emit({"removed": name}, [f"source {name} removed; what was sealed from it stays"], as_json)


def _by_whom(session: "Session", order: str, name: str) -> str:
    """Say by which order a source is held to those who may know of it, and to others only a reference."""
    from scelle.guard.service import ref_of  # start-up time of --help

    return (
        f"a clause of order {order} names it"
        if session.sees(order)
        else f"ref {ref_of(session.key, name, b'')}"
    )
