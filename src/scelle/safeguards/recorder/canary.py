"""Ask a surface for something harmless, and see whether it is decided as it must be.

The test card is fictitious, and so is what is asked of it. Each time it is to stand before another scenery, drawn by
lot, which tells the answer apart from one that was kept for the occasion. All words are in the lexicon of the text
detector: an odd one would be refused for being unknown.
"""

import http.client
import json
import secrets
import socket
import ssl
import struct
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any, Final

from scelle.safeguards.recorder.model import error_code, outcome_of
from scelle.safeguards.recorder.surfaces import Surface, cause_in_words

PATH: Final = "/v1/images/edits"
_PHRASE: Final = "put the person in a winter coat"
_COLOURS: Final = (
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "grey",
    "brown",
    "orange",
    "purple",
    "golden",
)
_SCENES: Final = ("sky", "beach", "sea", "mountain", "city", "street", "forest", "garden", "park", "sunset")
_PLACES: Final = ("in", "by", "near", "behind")
_TIMEOUT_S: Final = 60.0
_NAME_MAX: Final = 64
_UNREACHED: Final[tuple[tuple[type[Exception], str], ...]] = (
    (socket.gaierror, "name-not-found"),
    (ConnectionRefusedError, "connection-refused"),
    (TimeoutError, "timed-out"),
    (ssl.SSLCertVerificationError, "certificate-not-trusted"),
    (ssl.SSLError, "tls-failed"),
    (ConnectionError, "connection-lost"),
)
_ANSWER_MAX_BYTES: Final = 64 << 20
_GRID: Final = 32
_SCALE: Final = 8
"""256 pixels a side: detectors do not look at less than 224, and what they do not look at is refused."""
_BARS: Final = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x000000)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a canary came back as it must, and where not, why (a code).

    `record` is the recorder's id of it, `recorder` the surface that this recorder stands for; `decision` is what a gate
    said, or else `seen`: what was served shows it.
    """

    surface: Surface
    why: str | None
    decision: str | None = None
    bundle: str | None = None
    record: str | None = None
    recorder: str | None = None
    seen: str | None = None

    @property
    def is_well(self) -> bool:
        """Tell whether it came back as it must."""
        return self.why is None

    @property
    def words(self) -> str | None:
        """Say for people why it did not; None where it did."""
        return cause_in_words(self.surface, self.to_event())

    def to_event(self) -> dict[str, Any]:
        """Return the verdict as it is sealed and printed."""
        return {
            "name": self.surface.name,
            "well": self.is_well,
            "why": self.why,
            "decision": self.decision,
            "bundle": self.bundle,
            "record": self.record,
            "recorder": self.recorder,
            "seen": self.seen,
        }


def card_picture() -> bytes:
    """Draw the picture that a canary sends: eight bars of colour with a round head and a body, as PNG."""
    rows = bytearray()
    for y in range(_GRID):
        row = b"\0"
        for x in range(_GRID):
            is_figure = (x - 16) ** 2 + (y - 9) ** 2 < 20 or (12 <= x < 20 and 14 <= y < 28)
            row += (0x808080 if is_figure else _BARS[x * 8 // _GRID]).to_bytes(3, "big") * _SCALE
        rows += row * _SCALE
    head = struct.pack(">IIBBBBB", _GRID * _SCALE, _GRID * _SCALE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def draw_prompt() -> str:
    """Return what is asked of the test card this time: one of 146 million harmless sentences."""
    scenery = (f"{place} a {secrets.choice(_COLOURS)} {secrets.choice(_SCENES)}" for place in _PLACES)
    return f"{_PHRASE} {' '.join(scenery)}"


def try_surface(surface: Surface, key: str | None, timeout_s: float = _TIMEOUT_S) -> Verdict:
    """Send one canary; never raises for what the surface does, which is what the verdict is about.

    It is well where the decision and, if one is required, the bundle are the expected ones, no detector was missing,
    and this surface's recorder said where it recorded it. Without a gate's word, an answer with a picture is taken for
    `allow`, a refusal for `block`.
    """
    nonce = secrets.token_hex(8)
    content_type, body = _form({"model": "canary", "prompt": draw_prompt()}, card_picture())
    headers = {"Content-Type": content_type, "X-Scelle-Account": f"canary-{nonce}"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if surface.factors:
        headers["X-Scelle-Factors"] = ", ".join(f"{name}={value}" for name, value in surface.factors)
    base = (surface.url or "").rstrip("/")
    try:
        status, answered, data = _send(f"{base}{PATH}", body, headers, timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Verdict(surface, f"unreachable: {_unreached(error)}")
    recorder = answered.get("x-scelle-receipt", "").partition("/")[0]
    if not recorder and "x-scelle-record" in answered:  # in observe mode nothing need be durable yet
        recorder = _asked_for_its_name(base, timeout_s)
    return judge(surface, status, answered, data, recorder[:_NAME_MAX] or None)


def judge(
    surface: Surface, status: int, headers: dict[str, str], data: bytes, recorder: str | None
) -> Verdict:
    """Compare an answer with what the surface must give; `headers` by lower-case name, `recorder` the surface's name.

    A recorder that says no name is not compared by it.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    kind, _ = outcome_of(status, content)
    has_picture = isinstance(content, dict) and bool(content.get("data"))
    seen = {"refused": "block"}.get(kind) or ("allow" if kind == "completed" and has_picture else None)
    decision, bundle = headers.get("x-scelle-decision", seen), headers.get("x-scelle-bundle")
    record = headers.get("x-scelle-record")
    why = None
    if recorder is not None and recorder != surface.name:
        why = "other-surface"
    elif decision is None:
        why = f"no-decision: {error_code(content) or f'status-{status}'}"
    elif (
        "x-scelle-degraded" in headers
    ):  # what is refused for want of a detector is refused for no other reason
        why = "detectors-down"
    elif decision != surface.expects or (seen is not None and seen != surface.expects):
        why = "other-decision"
    elif surface.bundle is not None and bundle != surface.bundle:
        why = "other-bundle" if bundle else "no-bundle"
    elif record is None:
        why = "not-recorded"
    return Verdict(surface, why, decision, bundle, record, recorder, seen)


def _unreached(error: Exception) -> str:
    """Return a code for why nobody answered."""
    cause = getattr(error, "reason", None) if isinstance(error, urllib.error.URLError) else None
    cause = cause if isinstance(cause, Exception) else error
    return next((code for kind, code in _UNREACHED if isinstance(cause, kind)), type(cause).__name__)


def _asked_for_its_name(base: str, timeout_s: float) -> str:
    """Ask a recorder which surface it stands for; nothing where it does not say."""
    try:
        _, _, data = _send(f"{base}/.scelle/status", None, {}, timeout_s)
        return str(json.loads(data)["surface"])
    except (OSError, ValueError, http.client.HTTPException, RecursionError, LookupError, TypeError):
        return ""


def _send(
    url: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, body, headers)  # noqa: S310  the registry takes http and https alone
    opener = urllib.request.build_opener(_NoRedirect())
    try:
        with opener.open(request, timeout=timeout_s) as found:
            named = {name.lower(): value for name, value in found.headers.items()}
            return found.status, named, found.read(_ANSWER_MAX_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            named = {name.lower(): value for name, value in error.headers.items()}
            return error.code, named, error.read(_ANSWER_MAX_BYTES)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow nothing: the surface itself is asked, with its key."""

    def redirect_request(self, *arguments: Any) -> None:
        """Decline."""
        return


def _form(fields: dict[str, str], picture: bytes) -> tuple[str, bytes]:
    """Write a form with one picture; return its content type and its bytes."""
    boundary = f"canary-{secrets.token_hex(12)}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="card.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    parts += [head.encode(), picture, f"\r\n--{boundary}--\r\n".encode()]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)
