"""`scelle record`: record what a generator of pictures is asked, and what comes of it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scelle.cli.options import (
    HERE,
    JsonOption,
    KeyFileOption,
    OrderArgument,
    PassphraseOption,
    VaultOption,
    opened_vault,
)
from scelle.cli.output import emit, one_line, warn
from scelle.errors import InputError, RecorderUnavailable, StorageFailed
from scelle.operators.model import Power

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scelle.bootstrap import Session
    from scelle.bootstrap.recording import RecordingPlace
    from scelle.safeguards.gate import Proof
    from scelle.safeguards.recorder import Mode, Spool
    from scelle.safeguards.recorder.gating import GateRoom
    from scelle.safeguards.recorder.otlp import OtlpReceiver
    from scelle.safeguards.recorder.proxy import ProxySettings, RecordingProxy
    from scelle.safeguards.recorder.receipts import ReceiptSigner

_DECIDED_WITHIN_S = 600.0
app = typer.Typer(
    help="Record what a generator of pictures is asked, and what comes of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
ListenOption = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
]
OrderOption = Annotated[
    str, typer.Option("--order", metavar="ID", help="The order whose generation source is recorded into.")
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Which generation source, where it has several."),
]
EveryOption = Annotated[
    float, typer.Option("--every", min=1, metavar="SECONDS", help="How often what was recorded is sealed.")
]


@app.command("proxy")
def proxy(
    upstream: Annotated[
        str, typer.Option("--upstream", metavar="URL", help="The generator's address, without /v1.")
    ],
    listen: ListenOption,
    surface: Annotated[
        str, typer.Option("--surface", metavar="NAME", help="The route to the generator that this is.")
    ],
    order: OrderOption,
    source: SourceOption = None,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe", help="Nothing that is served waits for the record; what is lost is counted."
        ),
    ] = False,
    allow_with_gap: Annotated[
        bool,
        typer.Option(
            "--allow-with-gap", help="Serve, and count a gap, where the record cannot be written (else 503)."
        ),
    ] = False,
    output_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--output-origin",
            metavar="URL",
            help="An origin from which outputs that are only a URL may be fetched, beside the generator's.",
        ),
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            "--gate",
            metavar="GUARDRAIL.yaml",
            help="Decide each request and each output by this policy and these detectors (docs/guardrail.md).",
        ),
    ] = None,
    restricted_source: Annotated[
        str | None,
        typer.Option(
            "--restricted-source",
            metavar="NAME",
            help="The restricted generation source that takes what the gate's lanes keep from everybody's sight.",
        ),
    ] = None,
    receipt_keys: Annotated[
        Path | None,
        typer.Option(
            "--receipt-keys",
            metavar="DIR",
            help="Write the certificate of the key that signs this run's receipts to this folder, for who holds them.",
        ),
    ] = None,
    configuration: Annotated[
        Path | None,
        typer.Option(
            "--configuration",
            metavar="FILE",
            help="What the generator runs with (model, prompt template ..): kept, and named by each request.",
        ),
    ] = None,
    pass_others: Annotated[
        bool,
        typer.Option(
            "--pass-others", help="Pass requests that are not for pictures on, unrecorded (else 404)."
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="How long the generator may take.")
    ] = 600.0,
    every: EveryOption = 60.0,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stand before an OpenAI-compatible generator of pictures: no record, no image. Until SIGTERM or ^C.

    Clients change their base URL and nothing else. A request is durable before the generator is called, and an output
    before the client gets it; where that cannot be, the answer is 503. What was recorded is sealed from time to time
    and at the end; `scelle preserve` seals what a crash left. A surface that is not registered is served, recorded and
    a finding (`scelle surface list`). Exit code 1 where something was served that is not recorded, or the end could not
    be sealed.

    With --gate, what its policy does not allow is answered as a refusal, before the generator is called or before
    anybody gets what it made; both decisions are recorded. With --observe they are recorded and not enforced. With
    --restricted-source, what a rule with a lane holds back goes into the compartment and nowhere else, unseen.

    Example: scelle record proxy --upstream http://127.0.0.1:9000 --listen 127.0.0.1:8080 --surface web --order o-1
    """
    from scelle.safeguards.recorder import Mode  # start-up time of --help
    from scelle.safeguards.recorder.model import UNREGISTERED

    if observe and allow_with_gap:
        raise InputError(
            "--observe loses before it keeps anybody waiting: --allow-with-gap says nothing beside it"
        )
    if restricted_source is not None and restricted_source == source:
        raise InputError("--restricted-source must be another source than --source: what is open goes there")
    settings = _settings(upstream, timeout=timeout, origins=output_origin or [], passes_others=pass_others)
    host, port = _free_address(listen)
    mode = Mode.OBSERVE if observe else Mode.GAP if allow_with_gap else Mode.BLOCK

    def opening(*, yields: bool = True) -> Any:
        return opened_vault(
            vault, key_file, passphrase, writing=True, power=Power.CAPTURE, yields=yields, say_warning=_say
        )

    if restricted_source is not None and gate is None:
        raise InputError("--restricted-source keeps apart what a gate holds back: name the gate with --gate")
    if restricted_source is not None and observe:
        raise InputError(
            "--observe passes answers on before they are decided, so nothing can be kept apart: leave out "
            "--restricted-source"
        )
    if restricted_source is not None and timeout > _DECIDED_WITHIN_S:
        raise InputError(
            f"--timeout {timeout:.0f}: with --restricted-source at most {_DECIDED_WITHIN_S:.0f}: what is undecided "
            "for longer is sealed as restricted"
        )
    if receipt_keys is not None and not (receipt_keys.is_dir() and os.access(receipt_keys, os.W_OK)):
        raise InputError(
            f"--receipt-keys {receipt_keys}: no folder that can be written to: make it, or name another"
        )
    from scelle.bootstrap.gated_recording import configured, gate_room, proven, read_configuration

    setup, proof = (None, None) if gate is None else proven(gate)
    config = None if configuration is None else read_configuration(configuration)
    place, signer = _place(
        opening(yields=False), order, source, surface, proof, restricted_source, receipt_keys
    )
    from scelle.bootstrap.recording import Sealer

    with Sealer(opening, order, place.sources, every, _say) as sealer:
        with ExitStack() as stack:
            spool = stack.enter_context(_spool(place, surface, mode, upstream))
            if not place.is_registered:
                spool.put({"event": UNREGISTERED}).result()
            suffix = "" if configuration is None else configuration.suffix[:16]
            said = {} if config is None else configured(spool, place.root, config, suffix)
            room = None if setup is None else gate_room(stack, spool, place, setup, warn)
            document = asyncio.run(_serve(spool, settings, host, port, room, said, signer))
        document |= spool.counts()
        sealed = sealer.end()
    _ended({"order": order, "source": place.source, **document, "sealed": sealed}, as_json)


@app.command("otlp")
def otlp(
    listen: ListenOption,
    order: OrderOption,
    source: SourceOption = None,
    surface: Annotated[
        str, typer.Option("--surface", metavar="NAME", help="The name that what is received is kept under.")
    ] = "otlp",
    every: EveryOption = 60.0,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Receive OpenTelemetry's logs and traces (OTLP/HTTP, protobuf or JSON, gzip). Until SIGTERM or ^C.

    A request is answered once it is durable. Sampled spans are refused, as no evidence, and shown as a gap: the exit
    code is then 1. Send to http://HOST:PORT/v1/logs and /v1/traces.

    Example: scelle record otlp --listen 127.0.0.1:4318 --order o-1
    """
    host, port = _free_address(listen)

    def opening(*, yields: bool = True) -> Any:
        return opened_vault(
            vault, key_file, passphrase, writing=True, power=Power.CAPTURE, yields=yields, say_warning=_say
        )

    from scelle.bootstrap.recording import Sealer, recording_place
    from scelle.safeguards.recorder import Mode

    try:
        from scelle.safeguards.recorder.otlp import OtlpReceiver  # the libraries are an extra
    except ImportError as error:
        raise _extra_missing(error) from error
    with opening(yields=False) as session:
        place = recording_place(session, order, source, surface)
    with Sealer(opening, order, place.sources, every, _say) as sealer:
        with _spool(place, surface, Mode.BLOCK, "otlp") as spool:
            receiver = OtlpReceiver(spool)
            asyncio.run(_run(receiver, host, port, f"receiving OTLP ({surface})", ""))
        sealed = sealer.end()
    document = {"order": order, "source": place.source, **receiver.status(), "sealed": sealed}
    lines = [
        f"received {document['requests']} requests; {document['refused']} sampled spans refused, "
        f"{document['unreadable']} records not understood, {document['unserved']} requests not taken",
        _sealed_line(sealed),
    ]
    emit(document, lines, as_json)
    if document["refused"] or "error" in sealed or _failed(sealed):
        raise typer.Exit(1)


@app.command("reconcile")
def reconcile(
    order: OrderArgument,
    surface: Annotated[str, typer.Option("--surface", metavar="NAME", help="The surface that was recorded.")],
    generator_count: Annotated[
        int,
        typer.Option(
            "--generator-count", min=0, metavar="N", help="How many pictures the generator says that it made."
        ),
    ],
    from_: Annotated[str, typer.Option("--from", metavar="T", help="Requests from this time on, inclusive.")],
    until: Annotated[str, typer.Option("--to", metavar="T", help="Until this time, exclusive.")],
    source: SourceOption = None,
    vault: VaultOption = HERE,
    key_file: KeyFileOption = None,
    passphrase: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the generator's own count against what is recorded: generated = recorded + gap. Run it every hour.

    The comparison is an event of the source, sealed with the next pass. Attempts that failed or were abandoned may have
    been made all the same, and what the recorder counted as lost was: these explain a gap up to their number. Exit code
    1 where something is left unexplained, or more is recorded than was made.

    Example: scelle record reconcile o-1 --surface web --generator-count 1203 --from 2026-11-22 --to 2026-11-23
    """
    from scelle.bootstrap.recording import reconciliation_times, recording_place
    from scelle.safeguards.recorder.reconciling import check_recorded
    from scelle.safeguards.recorder.reconciling import reconcile as compared

    with opened_vault(vault, key_file, passphrase, writing=False, power=Power.CAPTURE) as session:
        place = recording_place(session, order, source, surface)
        since_us, until_us = reconciliation_times(session, order, from_, until)
    check_recorded(place.root, surface, is_registered=place.is_registered)
    found = compared(place.root, surface, generator_count, since_us, until_us)
    lines = [
        f"surface {surface}: generated {found.generated} = recorded {found.recorded} + gap {found.gap}",
        f"  requested {found.requested}: completed {found.recorded}, refused {found.refused}, failed {found.failed}, "
        f"abandoned {found.abandoned}, open {found.open}; lost {found.lost}; unexplained {found.unexplained}",
    ]
    emit({"order": order, **found.to_json()}, lines, as_json)
    if found.unexplained:
        raise typer.Exit(1)


def _settings(upstream: str, *, timeout: float, origins: list[str], passes_others: bool) -> "ProxySettings":
    try:
        from scelle.safeguards.recorder.proxy import ProxySettings  # aiohttp is an extra
    except ImportError as error:
        raise _extra_missing(error) from error
    for option, url in (("--upstream", upstream), *(("--output-origin", each) for each in origins)):
        _check_url(option, url)
    if upstream.rstrip("/").endswith("/v1"):
        raise InputError("--upstream is the generator's address without /v1: leave that out")
    return ProxySettings(
        upstream, timeout_s=timeout, output_origins=frozenset(origins), passes_others=passes_others
    )


def _extra_missing(error: ImportError) -> RecorderUnavailable:
    return RecorderUnavailable(
        f"recording needs a library that is not installed ({error.name}): pip install scelle[recorder]"
    )


def _check_url(option: str, url: str) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"{option}: write http:// or https://, a host and perhaps a port and a path (http://127.0.0.1:9000); never "
            "a user name or a password"
        )


def _free_address(text: str) -> tuple[str, int]:
    """Read where to listen, and see that it can be, before anything is sealed for it or a surface begun."""
    host, port = _address(text)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise _not_listening(host, port, error) from error
    return host, port


def _not_listening(host: str, port: int, error: OSError) -> StorageFailed:
    return StorageFailed(f"{host}:{port}: cannot be listened on: {error.strerror}: choose another")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InputError(f"--listen {text!a}: write HOST:PORT, as in 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _place(
    opening: "AbstractContextManager[Session]",
    order: str,
    source: str | None,
    surface: str,
    proof: "Proof | None",
    restricted_source: str | None,
    receipt_keys: Path | None,
) -> "tuple[RecordingPlace, ReceiptSigner]":
    """Find where to record, and certify the key of this run's receipts.

    Sealed are the proof of what decides, where something does, and that the surface is not registered, where it is not.
    """
    from scelle.bootstrap.receipts import receipt_signer, write_certificate
    from scelle.bootstrap.recording import note_proof, note_unregistered, recording_place

    with opening as session:
        place = recording_place(session, order, source, surface, restricted_source)
        if proof is not None:
            note_proof(session, order, proof)
        if not place.is_registered:
            note_unregistered(session, surface)
        signer, certificate = receipt_signer(session, place, surface)
        if receipt_keys is not None:
            write_certificate(receipt_keys, certificate)
    if not place.is_registered:
        warn(
            f"surface {surface} is not registered: it is served, recorded, and a finding (scelle surface add)"
        )
    return place, signer


def _spool(place: "RecordingPlace", surface: str, mode: "Mode", upstream: str) -> "Spool":
    from scelle import __version__
    from scelle.safeguards.recorder import Spool
    from scelle.safeguards.recorder.lanes import UndecidedStore

    about = {"version": __version__, "upstream": upstream, "registered": place.is_registered}
    apart = place.restricted_root
    contents = None if apart is None else UndecidedStore(apart, surface)
    return Spool(place.root, surface, mode, about, contents=contents)


async def _serve(
    spool: "Spool",
    settings: "ProxySettings",
    host: str,
    port: int,
    room: "GateRoom | None",
    said: Mapping[str, str],
    signer: "ReceiptSigner",
) -> dict[str, Any]:
    """Serve until a signal comes; return the counts."""
    from scelle.safeguards.recorder.proxy import RecordingProxy

    server = RecordingProxy(spool, settings, room, said, signer)
    gated = "" if room is None else f", gate {room.guardrail.bundle.digest[:12]}"
    await _run(server, host, port, f"recording surface {spool.surface} ({spool.mode}{gated})", "/v1")
    return server.status()


async def _run(server: "OtlpReceiver | RecordingProxy", host: str, port: int, what: str, path: str) -> None:
    """Listen until a signal comes, and say where."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)

    def started(host: str, port: int) -> None:
        at = f"[{host}]" if ":" in host else host
        _say(f"{what}: base URL http://{at}:{port}{path}")

    try:
        await server.run(host, port, stop, started)
    except OSError as error:
        raise _not_listening(host, port, error) from error


def _ended(document: dict[str, Any], as_json: bool) -> None:
    sealed = document["sealed"]
    lines = [
        f"surface {document['surface']}: {document['requests']} requests, {document['events']} events, "
        f"{document['lost']} served without a record, {document['unserved']} not served for want of one",
        _sealed_line(sealed),
    ]
    emit(document, lines, as_json)
    if document["lost"] or "error" in sealed or _failed(sealed):
        raise typer.Exit(1)


def _failed(sealed: Mapping[str, Any]) -> int:
    """Count what is recorded and could not be sealed."""
    return int(sealed.get("counts", {}).get("failed", 0))


def _sealed_line(sealed: Mapping[str, Any]) -> str:
    if "error" in sealed:
        return f"  not sealed: {sealed['error']}"
    failed = _failed(sealed)
    return (
        f"  not sealed: {failed} records (scelle status ORDER --items failed)"
        if failed
        else "  everything is sealed"
    )


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
