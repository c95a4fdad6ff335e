"""Ask a time-stamp authority over HTTP (RFC 3161 §3.4).

Only a digest leaves the house. No redirect is followed: a POST that is sent on loses its body or its secrecy,
so the operator gives the new address.
"""

import time
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from scelle.errors import FormatError, TimestampAddressWrong, TimestampUnavailable
from scelle.timestamps.tokens import check_response, printable

ANSWER_MAX_BYTES: Final = 1 << 18
"""Tokens with their chains are 2 to 10 KB; those with post-quantum signatures will be some tens."""
TIMEOUT_S: Final = 20.0
DIGEST_BYTES: Final = 32
QUERY_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"

_STAND_IN: Final = b"scelle"


@dataclass(frozen=True, slots=True)
class Query:
    """Hold a request as it is sent, and the nonce that the answer must repeat."""

    der: bytes
    nonce: int | None


def build_query(digest: bytes) -> Query:
    """Build a request for a SHA-256 digest, with a nonce and a wish for the certificates."""
    if len(digest) != DIGEST_BYTES:
        raise FormatError(f"a digest of {len(digest)} bytes cannot be stamped: give SHA-256")
    builder = TimestampRequestBuilder(_STAND_IN, HashAlgorithm.SHA256, nonce=True, cert_req=True)
    built = builder.build()
    # The library takes the text and hashes it itself; we have the digest only, and it is as long.
    return Query(built.as_bytes().replace(sha256(_STAND_IN).digest(), digest, 1), built.nonce)


@dataclass(frozen=True, slots=True)
class Rfc3161Authority:
    """A time-stamp authority at an http or https address; implements TimestampAuthority.

    `timeout_s` bounds the exchange; connecting and each of the answer's header lines have it for themselves.
    Proxies are those of the environment (`https_proxy`, `no_proxy`).
    """

    url: str
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        checked_address(self.url)

    def request(self, digest: bytes) -> bytes:
        """Send the digest, check that the answer is for it, and return the answer as it was received."""
        query = build_query(digest)
        raw = self._exchange(query.der)
        check_response(raw, digest, query.nonce)
        return raw

    def _exchange(self, query: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout_s
        headers = {"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE, "User-Agent": "scelle"}
        request = Request(self.url, data=query, headers=headers, method="POST")  # noqa: S310 - scheme is checked
        try:
            with _opener().open(request, timeout=self.timeout_s) as response:
                return _read_answer(response, self._place, deadline)
        except HTTPError as error:
            with error:
                raise TimestampUnavailable(f"{self._place} {_status_words(error)}") from None
        except URLError as error:
            raise TimestampUnavailable(f"{self._place} was not reached: {_words(error.reason)}") from None
        except (OSError, HTTPException) as error:
            raise TimestampUnavailable(f"{self._place} broke off: {_words(error)}") from None

    @property
    def _place(self) -> str:
        """Name the authority in messages: without path and query, which may hold an account's key."""
        address = urlsplit(self.url)
        return f"time-stamp authority {address.scheme}://{address.netloc}"


def checked_address(url: str) -> SplitResult:
    """Split an authority's address; raises TimestampAddressWrong, never repeating what may be secret."""
    try:
        address = urlsplit(url)
        port_fits = address.port is None or address.port > 0
    except ValueError:
        raise TimestampAddressWrong("the time-stamp authority's address is no URL: correct it") from None
    if "@" in address.netloc:
        raise TimestampAddressWrong("the time-stamp authority's URL holds a name or password: remove it")
    if address.scheme not in ("http", "https") or not address.hostname or not port_fits:
        raise TimestampAddressWrong(
            "the time-stamp authority's address must be http://HOST.. or https://HOST.."
        )
    if not (url.isascii() and url.isprintable()) or " " in url or address.fragment:
        raise TimestampAddressWrong(
            "the time-stamp authority's URL has characters that no URL has: encode them"
        )
    return address


def _opener() -> OpenerDirector:
    """Make an opener that knows http and https, and neither redirects, files nor passwords."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _read_answer(response: HTTPResponse, place: str, deadline: float) -> bytes:
    answer = bytearray()
    while part := response.read1(1 << 16):
        answer += part
        if len(answer) > ANSWER_MAX_BYTES:
            raise TimestampUnavailable(f"{place} sent more than {ANSWER_MAX_BYTES} bytes: that is no token")
        if time.monotonic() > deadline:
            raise TimestampUnavailable(f"{place} took too long to answer: try again")
    kind = response.headers.get_content_type()
    if kind.startswith("text/"):
        raise TimestampUnavailable(
            f"{place} answered with {printable(kind)}, not with a token: check the address"
        )
    return bytes(answer)


def _status_words(error: HTTPError) -> str:
    where = error.headers.get("Location") if 300 <= error.code < 400 else None
    if where:
        return (
            f"sends us on to {printable(where)!a}: no redirect is followed, give that address if you trust it"
        )
    return f"answered with HTTP status {error.code}: try again later"


def _words(reason: object) -> str:
    return printable(str(reason)) or type(reason).__name__
