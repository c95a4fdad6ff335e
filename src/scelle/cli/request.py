"""`scelle request`: what takes two people: list, show, approve, withdraw, carry out."""

from typing import Annotated, Any

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, fact_lines
from scelle.operators.model import Power

app = typer.Typer(
    help="Approve or withdraw what takes two people.", no_args_is_help=True, rich_markup_mode=None
)

RequestArgument = Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]


@app.command("list")
def list_requests(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the requests that you may know of, the oldest first.

    Example: scelle --as bob request list
    """
    from scelle.bootstrap.requests import describe, visible_requests  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        found = [describe(session, each) for each in visible_requests(session)]
        solo = session.is_solo
    lines = [line for each in found for line in _line(each)] or ["no requests"]
    emit({"requests": found, "solo": solo}, [*_solo(solo), *lines], as_json)


@app.command("show")
def show(
    request_id: RequestArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a request: exactly what its two signatures are over.

    Example: scelle --as bob request show r3f0a9c2b17d4e655 --json
    """
    from scelle.bootstrap.requests import describe, find_request  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False) as session:
        document = describe(session, find_request(session, request_id))
    lines = [*_solo(document["solo"]), *_line(document)]
    lines += fact_lines(document["asked"])
    lines += [f"  outcome, {line.lstrip()}" for line in fact_lines(document["outcome"])]
    emit(document, lines, as_json)


@app.command("approve")
def approve(
    request_id: RequestArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what somebody else asked for: sign exactly that. It is carried out at once if it has cooled off.

    In solo mode this is the second confirmation, and is taken only after the cooling-off time.

    Example: scelle --as bob request approve r3f0a9c2b17d4e655
    """
    from scelle.bootstrap.requests import approve as approve_request  # start-up time of --help
    from scelle.bootstrap.requests import describe

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = describe(session, approve_request(session, request_id))
    lines = [f"  outcome, {line.lstrip()}" for line in fact_lines(document["outcome"])]
    emit(document, [*_solo(document["solo"]), *_line(document), *lines], as_json)


@app.command("withdraw")
def withdraw(
    request_id: RequestArgument,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a request that was not carried out yet.

    Example: scelle --as alice request withdraw r3f0a9c2b17d4e655
    """
    from scelle.bootstrap.requests import describe  # start-up time of --help
    from scelle.bootstrap.requests import withdraw as withdraw_request

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        document = describe(session, withdraw_request(session, request_id))
    emit(document, [*_solo(document["solo"]), *_line(document)], as_json)


@app.command("run")
def run(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out every request that is approved and has cooled off, then dispose of what is due. Harmless to run daily.

    Restricted reviewers carry out the opening and export of restricted items alone, and dispose of nothing.

    Exit code 1: one cannot be carried out, and a warning says why; or a disposal is not confirmed.

    Example: scelle --as alice request run
    """
    from scelle.bootstrap.releasing import dispose_due  # start-up time of --help
    from scelle.bootstrap.requests import describe, run_due
    from scelle.cli.releasing import certificate_lines

    with opened_vault(vault, key_file, passphrase, writing=True) as session:
        known = len(session.warnings)
        done = [describe(session, each) for each in run_due(session)]
        failed = session.warnings[known:]
        certificates = dispose_due(session) if session.may(Power.AMEND, Power.CAPTURE) else []
        solo = session.is_solo
    lines = [line for each in done for line in _line(each)] + certificate_lines(certificates)
    document = {"requests": done, "disposals": certificates, "failed": failed, "solo": solo}
    emit(document, [*_solo(solo), *(lines or ([] if failed else ["nothing is due"]))], as_json)
    if failed or not all(each["confirmed"] for each in certificates):
        raise typer.Exit(1)


def _solo(is_solo: bool) -> list[str]:
    return ["solo mode: one person asks, and confirms again after the cooling-off time"] if is_solo else []


def _line(request: dict[str, Any]) -> list[str]:
    about = "" if request["order"] is None else f" of order {request['order']}"
    by = "" if request["requester"] is None else f" by {request['requester']}"
    said = [f"{request['request']}: {request['act']}{about}, asked{by} {request['made']}: {request['state']}"]
    if request["state"] in ("waiting", "approved"):
        said.append(f"  may be carried out from {request['ready']}; expires {request['expires']}")
    return said
