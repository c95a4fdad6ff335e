"""A real time-stamp authority for tests: `openssl ts`, certificates made on the fly, HTTP on 127.0.0.1.

Use it from any test::

    from tests.integration.tsa import serve_tsa

    @pytest.fixture(scope="module")
    def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimestampServer]:
        with serve_tsa(tmp_path_factory.mktemp("tsa")) as server:
            yield server

`tsa.url` is what `--tsa` takes, `tsa.authority.roots_pem` what its tokens are checked against; `tsa.fault`
makes it misbehave, `tsa.stop()` takes it off the network for good. Skips the test where there is no openssl.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
[web]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
[stamp]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
certs = ./chain.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
accuracy = secs:1
clock_precision_digits = 6
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[strict]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha512
"""
POLICY = "1.3.6.1.4.1.99999.1"
NAME = "CN=Test time-stamp authority"


class Fault(Enum):
    """What the server does instead of answering with the token that was asked for."""

    NONE = "none"
    REFUSE = "the authority accepts SHA-512 only, and says so in DER"
    OTHER_DIGEST = "a token over something else"
    REPLAY = "the first token again: its nonce is an old one"
    TRUNCATED = "the answer stops ten bytes early"
    HTML = "a page of a captive portal"
    STATUS_500 = "a fault of the server"
    REDIRECT = "sent on to another address"
    SILENCE = "no answer at all"
    DRIP = "one byte after the other, for ever"
    HUGE = "an answer that does not end"
    EMPTY = "an answer of no bytes"
    HANG_UP = "the connection is closed without an answer"


class OpensslAuthority:
    """A root, an intermediate and a time-stamping certificate in a folder, and `openssl ts` over them."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tsa.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        self._make_root()
        self._issue("intermediate", "CN=Test intermediate", "root", "ca")
        self._issue("tsa", NAME, "intermediate", "tsa")
        chain = (folder / "intermediate.pem").read_bytes() + self.roots_pem
        (folder / "chain.pem").write_bytes(chain)
        self._lock = threading.Lock()

    @property
    def roots_pem(self) -> bytes:
        return (self.folder / "root.pem").read_bytes()

    def stamp(self, query: bytes, section: str = "stamp") -> bytes:
        """Answer a DER request; one at a time, since the serial number is a file."""
        with self._lock:
            (self.folder / "query").write_bytes(query)
            self.openssl("ts", "-reply", "-section", section, "-queryfile", "query", "-out", "reply")
            return (self.folder / "reply").read_bytes()

    def stamp_digest(self, digest: bytes) -> bytes:
        """Stamp a SHA-256 digest without a request of ours: `openssl ts -query` makes it."""
        self.openssl("ts", "-query", "-digest", digest.hex(), "-sha256", "-cert", "-out", "own-query")
        return self.stamp((self.folder / "own-query").read_bytes())

    def certificate_der(self, name: str) -> bytes:
        """Give one certificate (`root`, `intermediate`, `tsa`) in DER."""
        return self.openssl("x509", "-in", f"{name}.pem", "-outform", "DER")

    def use_signer(self, extensions: str, not_after_days: int = 3650) -> None:
        """Put another signing certificate in place, made with a section of the configuration."""
        self._issue("tsa", NAME, "intermediate", extensions, not_after_days)

    def openssl(self, *arguments: str) -> bytes:
        configured = ["-config", "tsa.cnf"] if arguments[0] in ("req", "ts") else []
        command = ["openssl", *arguments, *configured]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def _new_key(self, name: str) -> None:
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _make_root(self) -> None:
        self._new_key("root")
        self.openssl(
            *("req", "-x509", "-new", "-key", "root.key", "-out", "root.pem", "-days", "3650"),
            *("-subj", "/CN=Test root", "-extensions", "ca"),
        )

    def _issue(self, name: str, subject: str, issuer: str, extensions: str, days: int = 3650) -> None:
        self._new_key(name)
        self.openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/{subject}")
        self.openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days)),
            *("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"),
            *("-extfile", "tsa.cnf", "-extensions", extensions),
        )


@dataclass(slots=True)
class TimestampServer:
    """The authority behind HTTP; set `fault` to make it misbehave. `queries` holds what was asked."""

    authority: OpensslAuthority
    url: str
    stop: "StopServer"
    fault: Fault = Fault.NONE
    queries: list[bytes] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    first_answer: bytes = b""


class StopServer:
    """Take the server off the network; harmless when it is gone already."""

    def __init__(self, http: ThreadingHTTPServer) -> None:
        self._http: ThreadingHTTPServer | None = http

    def __call__(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None


@contextmanager
def serve_tsa(folder: Path) -> Iterator[TimestampServer]:
    """Run an authority in `folder` until the block ends."""
    authority = OpensslAuthority(folder)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = TimestampServer(authority, f"http://127.0.0.1:{http.server_port}/tsr", StopServer(http))
    _Handler.servers[http.server_port] = server
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.stop()
        thread.join(timeout=10)
        del _Handler.servers[http.server_port]


class _Handler(BaseHTTPRequestHandler):
    """Answer one request, well or as `fault` says."""

    servers: dict[int, TimestampServer] = {}  # noqa: RUF012 - the servers of this process, by port
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        tsa = self.servers[self.server.server_address[1]]  # type: ignore[index]
        self.close_connection = True
        query = self.rfile.read(int(self.headers["Content-Length"]))
        tsa.queries.append(query)
        match tsa.fault:
            case Fault.NONE:
                answer = tsa.authority.stamp(query)
                tsa.first_answer = tsa.first_answer or answer
                self._send(answer)
            case Fault.REFUSE:
                self._send(tsa.authority.stamp(query, "strict"))
            case Fault.OTHER_DIGEST:
                self._send(tsa.authority.stamp_digest(bytes(32)))
            case Fault.REPLAY:
                self._send(tsa.first_answer)
            case Fault.TRUNCATED:
                self._send(tsa.authority.stamp(query)[:-10])
            case Fault.HTML:
                self._send(b"<html><body>Please log in</body></html>", kind="text/html")
            case Fault.STATUS_500:
                self._send(b"fault", status=500, kind="text/plain")
            case Fault.REDIRECT:
                self._send(b"", status=307, location="file:///etc/hostname")
            case Fault.SILENCE:
                tsa.closing.wait(30)
            case Fault.DRIP:
                self._drip(tsa)
            case Fault.HUGE:
                self._send(b"\x30" * (8 << 20))
            case Fault.EMPTY:
                self._send(b"")
            case Fault.HANG_UP:
                pass

    def _send(
        self, body: bytes, status: int = 200, kind: str = "application/timestamp-reply", location: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self._write(body)

    def _drip(self, tsa: TimestampServer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Connection", "close")
        self.end_headers()
        while not tsa.closing.wait(0.05) and self._write(b"\x30"):
            pass

    def _write(self, body: bytes) -> bool:
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:
            return False  # the client had enough
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
