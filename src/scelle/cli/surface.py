"""`scelle surface`: the routes to the generator, and how each of them stands."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import HERE, JsonOption, KeyFileOption, PassphraseOption, VaultOption, opened_vault
from scelle.cli.output import emit, utc
from scelle.operators.model import Power

if TYPE_CHECKING:
    from scelle.safeguards.recorder.surfaces import Surface

app = typer.Typer(
    help="Register the routes to the generator, and see how each of them stands.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The surface's name, as recorders give it.")],
    owner: Annotated[str, typer.Option(metavar="WHO", help="Who answers for it: a team, or a person's id.")],
    url: Annotated[str, typer.Option(metavar="URL", help="Where its canaries go, without /v1.")],
    expect: Annotated[
        str, typer.Option(metavar="allow|block", help="The decision that its canary must get.")
    ] = "allow",
    bundle: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="The bundle that must have decided (X-Scelle-Bundle)."),
    ] = None,
    build: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The build of the code that serves it.")
    ] = None,
    credential: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Where its canary's key is: env:NAME, file:PATH or exec:CMD."),
    ] = None,
    not_recorded: Annotated[
        bool,
        typer.Option(
            "--not-recorded", help="It cannot be recorded yet (video, say): it is red, and not absent."
        ),
    ] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a surface, or what is required of it anew; its canaries begin again.

    Example: scelle surface add web --owner team-web --url https://images.internal:8080 --credential env:CANARY_KEY
    """
    from scelle.bootstrap.recording import register_surface  # start-up time of --help
    from scelle.safeguards.recorder.surfaces import Surface

    surface = Surface(name, owner, url, expect, bundle, build, credential, is_recorded=not not_recorded)
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        register_surface(session, surface)
    emit(surface.to_event(), [f"surface {name} is registered: scelle canary run --surface {name}"], as_json)


@app.command("list")
def list_(
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every surface: green, red or unknown, and since when. Exit code 1 where one is red.

    Green: its last canary, at most two hours ago, got the expected decision from the expected bundle, and was recorded.
    Red: it did not; or the surface cannot be recorded, or serves without being registered.

    Example: scelle surface list --json
    """
    from scelle.bootstrap.recording import surfaces  # start-up time of --help
    from scelle.safeguards.recorder.surfaces import State

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.SEE_COUNTS) as session:
        found, now_us = surfaces(session), session.now_us()
    shown: list[dict[str, Any]] = [
        {
            **standing_json(each, now_us),
            "registered": each.is_registered,
            "recorded": each.is_recorded,
            "owner": each.owner,
            "url": each.url,
            "expects": each.expects,
            "bundle": each.bundle,
            "build": each.build,
            "canary": utc(each.canary_us),
        }
        for each in sorted(found.values(), key=lambda each: each.name)
    ]
    lines = [standing_line(each) for each in shown]
    emit({"surfaces": shown}, lines or ["no surface is registered"], as_json)
    if any(each["state"] == State.RED for each in shown):
        raise typer.Exit(1)


def standing_json(surface: "Surface", now_us: int) -> dict[str, Any]:
    """Return how a surface stands, since when, and why it is not green."""
    return {
        "name": surface.name,
        "state": surface.state(now_us).value,
        "since": utc(surface.state_since_us(now_us)),
        "why": surface.reason(now_us),
    }


def standing_line(shown: Mapping[str, Any]) -> str:
    """Return it for people."""
    why = "" if shown["why"] is None else f": {shown['why']}"
    return f"{shown['name']}: {shown['state']} since {shown['since']}{why}"
