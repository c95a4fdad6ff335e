"""`scelle surface`: the routes to the generator, and how each of them stands."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.arguments import code
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
        str,
        typer.Option(
            metavar="allow|block",
            help="The decision that its canary must get. With the policy that ships, allow needs --factors.",
        ),
    ] = "allow",
    factors: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE,..",
            help="What its canary says of itself to the gate (X-Scelle-Factors), as the platform does.",
        ),
    ] = None,
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

    scelle surface add web --owner team-web --url https://images.internal:8080 --expect allow
    --factors "third_party_post=no, owner_control=allow, named=no"
    """
    from scelle.bootstrap.recording import register_surface  # start-up time of --help
    from scelle.safeguards.recorder.surfaces import Surface, read_factors

    said = () if factors is None else read_factors(factors)
    is_recorded = not not_recorded
    surface = Surface(name, owner, url, expect, bundle, build, credential, said, is_recorded=is_recorded)
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        before = register_surface(session, surface)
    replaced = None if before is None else before.to_event()
    then = f"scelle canary run --surface {name}" if is_recorded else "it is red as long as it is not recorded"
    lines = [f"surface {name} is registered{'' if before is None else ' anew'}: {then}"]
    emit(
        {**surface.to_event(), "replaced": replaced}, lines + _changes(replaced, surface.to_event()), as_json
    )


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """Say what of a registration is no longer as it was: whatever is not said again is not required any more."""
    if before is None:
        return []
    named = {"expects": "expect"}
    return [
        f"  {named.get(name, name)}: {_shown(after[name]) or 'none any more'}; it was {_shown(was) or 'none'}"
        for name, was in before.items()
        if was != after[name]
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return str(value or "")


@app.command("retire")
def retire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The surface that is no more.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="CODE", help="Why, as a code: shut-down, moved-to-web2 ..")
    ],
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a surface out of use: no canary goes to it, and it is not red any more.

    It stays in `surface list --all` and in reports, with how it stood before. Stop its recorder first: one that begins
    under its name again is a finding, until it is added again.

    Example: scelle surface retire bot --reason shut-down
    """
    from scelle.bootstrap.recording import retire_surface  # start-up time of --help

    code(reason, "--reason")
    with opened_vault(vault, key_file, passphrase, writing=True, power=Power.CAPTURE) as session:
        surface, now_us = retire_surface(session, name, reason), session.now_us()
    stood = standing_json(surface, now_us)
    emit(
        {"name": name, "state": "retired", "reason": reason, "stood": stood},
        [f"surface {name} is retired; it was {stood['state']} since {stood['since']}"],
        as_json,
    )


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those that are retired.")] = False,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every surface: green, red or unknown, and since when. Exit code 1 where one is red.

    Green: its last canary, at most two hours ago, got the expected decision from the expected bundle, and was recorded.
    Red: it did not; or the surface cannot be recorded, or serves without being registered. Retired: `surface retire`.

    Example: scelle surface list --json

    scelle surface list --all
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
            "factors": dict(each.factors),
            "canary": utc(each.canary_us),
        }
        for each in sorted(found.values(), key=lambda each: each.name)
        if every or not each.is_retired
    ]
    lines = [standing_line(each) for each in shown]
    emit({"surfaces": shown}, lines or ["no surface is registered"], as_json)
    if any(each["state"] == State.RED for each in shown):
        raise typer.Exit(1)


def standing_json(surface: "Surface", now_us: int) -> dict[str, Any]:
    """Return how a surface stands, since when, and why it is not green, as a code and in words."""
    return {
        "name": surface.name,
        "state": surface.state(now_us).value,
        "since": utc(surface.state_since_us(now_us)),
        "why": surface.reason(now_us),
        "words": surface.words(now_us),
    }


def standing_line(shown: Mapping[str, Any]) -> str:
    """Return it for people."""
    why = "" if shown["words"] is None else f": {shown['words']}"
    return f"{shown['name']}: {shown['state']} since {shown['since']}{why}"
