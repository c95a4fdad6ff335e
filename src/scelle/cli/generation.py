"""`scelle generation`: one recorded generation as it is sealed, and decided again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.bootstrap.generations import Generation

app = typer.Typer(
    help="See a recorded generation as it is sealed, and decide it again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("show")
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id that X-Scelle-Record gave (an attempt's).")],
    order: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="Look in this order only. Default: in all.")
    ] = None,
    guardrail: Annotated[
        Path | None,
        typer.Option(
            "--guardrail",
            metavar="GUARDRAIL.yaml",
            help="Find factors again by the detectors of this file. Default: those that ship, where they need no file.",
        ),
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild what ran from the sealed record alone, and replay the input stage to the same decision.

    Shown are the request, the model, the generator's configuration (with its prompt template, where the operator keeps
    one in it), policy, detectors, thresholds, decisions and what came of it. Replayed is the input stage: on the
    recorded factors, and on the sealed inputs where the detectors installed here are byte for byte those that ran.
    The output stage is shown, and not replayed: nobody can have the generator make the same picture again.

    Exit code 1 where a decision was recorded and is not come to again. That somebody looked is kept.

    Example: scelle generation show r0f6c5f2a9d7e4b1c8a3d5e7f9b1c3d5e --json
    """
    from scelle.bootstrap.generations import show_generation  # start-up time of --help
    from scelle.safeguards.guardrail import load_setup

    installed = () if guardrail is None else load_setup(guardrail).programs
    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.READ_CONTENT) as session:
        found = show_generation(session, id, order, installed)
    document = found.to_json()
    emit(document, _lines(found, document), as_json)
    if found.is_same is False:
        raise typer.Exit(1)


@app.command("take-down")
def take_down(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id that X-Scelle-Record gave (an attempt's).")],
    post: Annotated[
        str, typer.Option("--post", metavar="TEXT", help="What is to be removed: a post's id or its address.")
    ],
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="CODE", help="Why, as a code: report-1234, ncii, own-rules .."),
    ],
    order: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="Look in this order only. Default: in all.")
    ] = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Preserve, then remove: see that a generation and its outputs are sealed, and record that they are removed.

    Run it before the platform removes anything; exit code 1 means: not yet, something is not sealed (`scelle
    preserve`). With 0, the `removed` event is durable in the source's folder, and the next pass seals it. Nothing is
    removed here, and a post that an order holds elsewhere is still `scelle may-delete`'s question.

    Example: scelle generation take-down r0f6c5f2a9d7e4b1c8a3d5e7f9b1c3d5e --post p-77 --reason report-1234
    """
    from scelle.bootstrap.generations import take_down as taken_down  # start-up time of --help

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.CAPTURE) as session:
        found = taken_down(session, id, order, post, reason)
    if found.may_be_removed:
        next_step = f"recorded: {found.receipt}: remove it now"
    elif found.missing:
        next_step = "do not remove it yet: scelle preserve, unless what is missing lies in the compartment"
    else:
        next_step = "nothing came of it: there is nothing to remove"
    lines = [
        f"generation {found.id}: {len(found.preserved)} outputs are sealed openly, {len(found.missing)} are not",
        f"  {next_step}",
    ]
    emit(found.to_json(), lines, as_json)
    if not found.may_be_removed:
        raise typer.Exit(1)


def _lines(found: "Generation", document: dict[str, Any]) -> list[str]:
    configuration, bundle = document["configuration"], document["bundle"]
    lines = [
        f"generation {found.id}, order {found.order}, source {found.source}, surface {document['surface'] or '-'}",
        f"  asked: {document['request']['op'] or '-'} of model {document['model'] or '-'}, "
        f"{document['request']['ts'] or 'undated'}, account {document['request']['account'] or '-'}",
        f"  configuration: {configuration['digest'] or 'none is named'} ({configuration['state']})",
        f"  bundle: {bundle['digest'] or 'none is named'} ({bundle['state']}"
        f"{'' if document['decisions'] else ', as the generator says'})",
    ]
    lines += [f"  detector {each['id']} {each['version']}" for each in document["detectors"] or ()]
    lines += [f"  threshold {name}: {number}" for name, number in (document["thresholds"] or {}).items()]
    lines += [
        f"  {each['stage']}: {each['verdict']} by {each['deciding_rule']}, done: {each['action_enforced']}"
        for each in document["decisions"]
    ]
    lines.append(f"  outcome: {document['outcome'] or 'none'}; {document['delivered']} outputs delivered")
    for name, each in found.replays.items():
        words = {True: "the same decision", False: "ANOTHER decision", None: "not replayed"}
        if name == "record":
            words = {True: "nothing contradicts", False: "IT CONTRADICTS ITSELF", None: "not looked at"}
        lines.append(
            f"  replayed from the {name}: {words[each.is_same]}{'' if each.why is None else f' ({each.why})'}"
        )
        lines += [f"    {difference}" for difference in each.differences]
    return lines
