"""Show the figures of a watch over HTTP: `/metrics` in Prometheus' text format, and `/healthz`.

The server has threads of its own, which read what the meter published last: they hold no lock and wait for nothing, so
that nobody who asks can slow the watch. Nothing is written, and there is no secret to read; but how much is held, and
that something is, is not for everybody: it listens on this machine only, unless another address is given.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from scelle import __version__
from scelle.bootstrap.watch_meter import OUTCOMES, Figures, Meter, SourceFigures
from scelle.errors import InputError, MetricsUnavailable

if TYPE_CHECKING:  # the library is an extra
    from prometheus_client.core import Metric

LOOPBACK: Final = "127.0.0.1"
STUCK_S: Final = 300.0
"""A watch that has shown no sign of life for longer is not healthy."""
_TIMEOUT_S: Final = 5.0

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """Describe one metric: its type, labels beside `source`, and how its samples come from what was published."""

    name: str
    kind: str
    text: str
    samples: Callable[[SourceFigures, float, float], Iterable[Sample]]
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Return the name of its samples."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _one(value: float | None) -> list[Sample]:
    return [] if value is None else [((), float(value))]


def _read(value: Callable[[SourceFigures], float | None]) -> Callable[..., Iterable[Sample]]:
    """Return the samples of what only the reader of a stream knows."""
    return lambda each, now_s, at_s: _one(value(each)) if each.is_streamed and each.is_reading else []


def _known(value: Callable[[SourceFigures], float | None]) -> Callable[..., Iterable[Sample]]:
    return lambda each, now_s, at_s: _one(value(each))


def _by(value: Callable[[SourceFigures], Mapping[str, float]]) -> Callable[..., Iterable[Sample]]:
    return lambda each, now_s, at_s: [((name,), float(n)) for name, n in sorted(value(each).items())]


def _changes(each: SourceFigures) -> dict[str, float]:
    if not each.is_streamed:
        return {}
    return {name: each.changes.get(name, 0) + each.running.get(name, 0) for name in OUTCOMES}


FAMILIES: Final = (
    MetricFamily(
        "scelle_watch_reading",
        "gauge",
        "Whether this process reads the source's stream (1), or stands by (0).",
        lambda each, now_s, at_s: _one(each.is_reading) if each.is_streamed else [],
    ),
    MetricFamily(
        "scelle_watch_stream_up",
        "gauge",
        "Whether changes come from the source's stream now.",
        _read(lambda each: each.is_up),
    ),
    MetricFamily(
        "scelle_watch_pass_running",
        "gauge",
        "Whether the source is being read from end to end: a snapshot that a stream joins, or a pass.",
        _known(lambda each: each.is_passing),
    ),
    MetricFamily(
        "scelle_watch_lag_seconds",
        "gauge",
        "How far what is durable in the vault is behind the source: from a change's commit to its being durable, or "
        "since when nothing can be made durable.",
        lambda each, now_s, at_s: (
            _one(each.lag_at(now_s, at_s)) if each.is_streamed and each.is_reading else []
        ),
    ),
    MetricFamily(
        "scelle_watch_wal_unconfirmed_bytes",
        "gauge",
        "WAL of the server behind what was confirmed to it as durable.",
        _read(lambda each: each.unconfirmed_bytes),
    ),
    MetricFamily(
        "scelle_watch_slot_kept_bytes",
        "gauge",
        "WAL that the server keeps for the slot.",
        _read(lambda each: each.kept_bytes),
    ),
    MetricFamily(
        "scelle_watch_slot_cap_bytes",
        "gauge",
        "WAL that the server may keep for the slot (`scelle source set --wal-cap`); absent where no cap is set.",
        _read(lambda each: each.cap_bytes),
    ),
    MetricFamily(
        "scelle_watch_changes",
        "counter",
        "Changes of the stream by what became of them; summed over orders, so that one may count several times.",
        _by(_changes),
        ("outcome",),
    ),
    MetricFamily(
        "scelle_watch_pass_items",
        "counter",
        "Items and records of passes and snapshots by what became of them; summed over orders.",
        _by(lambda each: each.pass_items),
        ("outcome",),
    ),
    MetricFamily(
        "scelle_watch_open_gaps",
        "gauge",
        "Open gaps by cause, each cause once for a source, of the orders that whoever runs the watch may know of.",
        _by(lambda each: each.open_gaps),
        ("cause",),
    ),
    MetricFamily(
        "scelle_watch_gaps",
        "counter",
        "Gaps that were ever opened, by cause, as the log of the order says that has most of them.",
        _by(lambda each: each.gaps),
        ("cause",),
    ),
    MetricFamily(
        "scelle_watch_last_flush_timestamp_seconds",
        "gauge",
        "When all that came of the stream was durable last.",
        _known(lambda each: each.flushed_s),
    ),
    MetricFamily(
        "scelle_watch_last_seal_timestamp_seconds",
        "gauge",
        "When what was captured of the stream was sealed last.",
        _known(lambda each: each.sealed_s),
    ),
    MetricFamily(
        "scelle_watch_last_pass_timestamp_seconds",
        "gauge",
        "When a pass over the source ended last, and was sealed.",
        _known(lambda each: each.passed_s),
    ),
    MetricFamily(
        "scelle_guard_last_probe_timestamp_seconds",
        "gauge",
        "When the guard in the source's database was probed last.",
        _known(lambda each: each.probed_s),
    ),
    MetricFamily(
        "scelle_guard_paths",
        "gauge",
        "Delete paths of guarded tables by state: effective, red, not-probed, not-coverable.",
        _by(lambda each: each.paths),
        ("state",),
    ),
    MetricFamily(
        "scelle_guard_outbox_rows",
        "gauge",
        "Rows that wait in the guard's outbox to be sealed.",
        _known(lambda each: None if each.outbox is None else each.outbox.rows),
    ),
    MetricFamily(
        "scelle_guard_outbox_bytes",
        "gauge",
        "Size of the guard's outbox on the server's disk.",
        _known(lambda each: None if each.outbox is None else each.outbox.size_bytes),
    ),
    MetricFamily(
        "scelle_guard_outbox_oldest_seconds",
        "gauge",
        "Age of the oldest row that waits in the guard's outbox; 0 where none waits.",
        _known(lambda each: None if each.outbox is None else each.outbox.oldest_s),
    ),
    MetricFamily(
        "scelle_guard_diverted_rows",
        "counter",
        "Held rows that the guard kept and that are sealed: by what took them, and the application_name of the job.",
        lambda each, now_s, at_s: [(key, float(n)) for key, n in sorted(each.diverted.items())],
        ("operation", "application"),
    ),
    MetricFamily(
        "scelle_guard_let_go_rows",
        "counter",
        "Held rows that the guard let go: while it was suspended, beyond its cap, or for a migration.",
        _known(lambda each: None if each.outbox is None and not each.let_go else each.let_go),
    ),
    MetricFamily(
        "scelle_guard_refused_statements",
        "counter",
        "Statements that the guard refused since it was made, probes not counted. Of which job each was stands in the "
        "server's log alone.",
        _known(lambda each: each.refused),
    ),
)
"""Every metric that has the label `source`, in the order in which they are shown."""

BEAT: Final = "scelle_watch_last_beat_timestamp_seconds"
INFO: Final = "scelle_build_info"
OWN: Final = {
    BEAT: ("gauge", "When the watch gave a sign of life last."),
    INFO: ("gauge", "Which version this is; always 1."),
}
"""What is told of the process, beside the metrics by source."""


def metrics_table() -> str:
    """Return the table of all metrics for docs/metrics.md."""
    lines = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for each in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in ("source", *each.labels))
        lines.append(f"| `{each.full_name}` | {each.kind} | {labels} | {each.text} |")
    lines += [f"| `{name}` | {kind} | | {text} |" for name, (kind, text) in OWN.items()]
    return "\n".join(lines) + "\n"


class Exporter:
    """Make the metrics of what a meter published last; a collector as `prometheus_client` wants it."""

    def __init__(self, meter: Meter, now_s: Callable[[], float] = time.time) -> None:
        self._meter, self._now_s = meter, now_s

    def collect(self) -> "Iterator[Metric]":
        """Yield every metric."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # an extra

        published, now_s = self._meter.latest, self._now_s()
        yield GaugeMetricFamily(BEAT, OWN[BEAT][1], value=published.at_s)
        info = GaugeMetricFamily(INFO, OWN[INFO][1], labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for family in FAMILIES:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            made = kind(family.name, family.text, labels=["source", *family.labels])
            for name, each in sorted(published.sources.items()):
                for labels, value in family.samples(each, now_s, published.at_s):
                    made.add_metric([name, *labels], value)
            yield made


def health(figures: Figures, now_s: float) -> tuple[int, str]:
    """Return the HTTP status and the text that say whether the watch shows signs of life."""
    silent_s = now_s - figures.at_s
    if silent_s > STUCK_S:
        return 503, f"no sign of life for {silent_s:.0f} s\n"
    return 200, "ok\n"


def parse_address(text: str) -> tuple[str, int]:
    """Read `PORT` or `HOST:PORT` (IPv6 in brackets); raises InputError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (":" in text and not host):
        raise InputError(f"--metrics {text}: write PORT or HOST:PORT, as in 9187 or 127.0.0.1:9187")
    return host or LOOPBACK, int(port)


def check_library() -> None:
    """Raise MetricsUnavailable where `prometheus-client` is not installed."""
    try:
        import prometheus_client  # noqa: F401  an extra
    except ImportError as error:
        raise MetricsUnavailable(
            "metrics need prometheus-client: pip install 'scelle[metrics]', or leave --metrics out"
        ) from error


@contextmanager
def serving(address: tuple[str, int], meter: Meter) -> Iterator[tuple[str, int]]:
    """Serve the figures of `meter` for as long as the block lasts; gives the address, its port chosen where it was 0.

    Raises MetricsUnavailable where the library is missing or the address cannot be listened on.
    """
    check_library()
    from prometheus_client import CollectorRegistry  # an extra

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exporter(meter))
    try:
        server = _server_class(address[0])(address, _handler(registry, meter))
    except OSError as error:
        raise MetricsUnavailable(
            f"--metrics {address[0]}:{address[1]} cannot be listened on ({error.strerror or error}): choose another"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[0], server.server_address[1]  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False  # whoever holds a connection open does not hold the watch up
        address_family = socket.AF_INET6 if _is_ipv6(host) else socket.AF_INET

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that goes away is no business of the watch's log."""

    return Server


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _handler(registry: Any, meter: Meter) -> type[BaseHTTPRequestHandler]:
    from prometheus_client.exposition import choose_encoder  # an extra

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S
        server_version, sys_version = "scelle", ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, content_type, encode(registry))
            elif path == "/healthz":
                status, text = health(meter.latest, time.time())
                self._answer(status, "text/plain; charset=utf-8", text.encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"/metrics and /healthz are here\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    return Handler
