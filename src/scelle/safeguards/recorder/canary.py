"""Ask a surface for something harmless, and see whether it is decided as it must be.

The test card is fictitious, and so is what is asked of it. Each time it is to stand before another scenery, drawn by
lot, which tells the answer apart from one that was kept for the occasion. All words are in the lexicon of the text
detector: an odd one would be refused for being unknown.
"""

import json
import secrets
import struct
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any, Final

from scelle.safeguards.recorder.model import error_code, outcome_of
from scelle.safeguards.recorder.surfaces import Surface

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
_ANSWER_MAX_BYTES: Final = 64 << 20
_SIZE: Final = 32
_BARS: Final = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x000000)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a canary came back as it must, and where not, why (a code). `record` is the recorder's id of it."""

    surface: str
    is_well: bool
    why: str | None
    decision: str | None
    bundle: str | None
    record: str | None

    def to_event(self) -> dict[str, Any]:
        """Return the verdict as it is sealed and printed."""
        return {
            "name": self.surface,
            "well": self.is_well,
            "why": self.why,
            "decision": self.decision,
            "bundle": self.bundle,
            "record": self.record,
        }


def card_picture() -> bytes:
    """Draw the picture that a canary sends: eight bars of colour with a round head and a body, as PNG."""
    rows = bytearray()
    for y in range(_SIZE):
        rows += b"\0"
        for x in range(_SIZE):
            is_figure = (x - 16) ** 2 + (y - 9) ** 2 < 20 or (12 <= x < 20 and 14 <= y < 28)
            rows += (0x808080 if is_figure else _BARS[x * 8 // _SIZE]).to_bytes(3, "big")
    head = struct.pack(">IIBBBBB", _SIZE, _SIZE, 8, 2, 0, 0, 0)
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

    It is well where the decision and, if one is required, the bundle are the expected ones, and a recorder said where
    it recorded it. Without a gate's word, an answer with a picture is taken for `allow`, a refusal for `block`.
    """
    nonce = secrets.token_hex(8)
    content_type, body = _form({"model": "canary", "prompt": draw_prompt()}, card_picture())
    headers = {"Content-Type": content_type, "X-Scelle-Account": f"canary-{nonce}"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    url = f"{(surface.url or '').rstrip('/')}{PATH}"
    try:
        status, answered, data = _send(url, body, headers, timeout_s)
    except (OSError, ValueError) as error:
        return Verdict(surface.name, False, f"unreachable: {type(error).__name__}", None, None, None)
    return judge(surface, status, answered, data)


def judge(surface: Surface, status: int, headers: dict[str, str], data: bytes) -> Verdict:
    """Compare an answer with what the surface must give; `headers` by lower-case name."""
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
    if decision is None:
        why = f"no-decision: {error_code(content) or f'status-{status}'}"
    elif decision != surface.expects or (seen is not None and seen != surface.expects):
        why = "other-decision"
    elif surface.bundle is not None and bundle != surface.bundle:
        why = "other-bundle" if bundle else "no-bundle"
    elif record is None:
        why = "not-recorded"
    return Verdict(surface.name, why is None, why, decision, bundle, record)


def _send(
    url: str, body: bytes, headers: dict[str, str], timeout_s: float
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
