"""Read time-stamp tokens and check them against a text and against certificates (RFC 3161, RFC 5816).

Established by `verify_token` where it names a checker and no problem: the holder of a certificate that leads
to one of the given roots, and that is meant for time-stamping, signed this text's digest together with this
time. Not established: that the authority's clock was right, and that none of the certificates was revoked.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from scelle.errors import FormatError, TimestampAnswerWrong, TimestampRefused, TimestampRootsWrong
from scelle.timestamps.der import (
    granted_response,
    response_of,
    stamped_time_us,
    status_of,
    token_of,
    with_sorted_certificates,
)
from scelle.timestamps.openssl import find_openssl, refusal

Checker: TypeAlias = Literal["library", "openssl", "not checked"]

SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
_DIGESTS: Final = {
    SHA256_OID: "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_GRANTED: Final = (0, 1)  # granted, granted with modifications: RFC 3161 §2.4.2
_STATUS_NAMES: Final = {2: "rejection", 3: "waiting", 4: "revocation warning", 5: "revocation notification"}
_MESSAGE_CHARACTERS: Final = 200
_UNREADABLE: Final = (
    ValueError,
    KeyError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What the libraries raise for bytes that are no token or certificate; only the first is documented."""


@dataclass(frozen=True, slots=True)
class TokenContent:
    """Hold what a token says, believed by nobody yet."""

    time_us: int
    serial: int
    policy: str
    tsa_name: str
    algorithm: str
    imprint: bytes
    nonce: int | None


@dataclass(frozen=True, slots=True)
class TokenProblem:
    """Name one thing that is wrong with a token: a stable code and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Hold what was found out about a token.

    `checked` names what verified, or refused, signature and chain. The first four are what the token claims,
    None or empty where it cannot be read; believe them only where `is_valid`.
    """

    time_us: int | None
    serial: int | None
    policy: str
    tsa_name: str
    checked: Checker
    problems: tuple[TokenProblem, ...]

    @property
    def is_valid(self) -> bool:
        """Say whether somebody verified the token and nothing is wrong with it."""
        return self.checked != "not checked" and not self.problems


@dataclass(frozen=True, slots=True)
class _Roots:
    """Hold the certificates we trust, as text for OpenSSL and read for the library."""

    pem: bytes
    certificates: tuple[x509.Certificate, ...]


def read_token(raw: bytes) -> TokenContent:
    """Read what a response or a bare token says; nothing is verified, nor its status looked at.

    Raises FormatError.
    """
    token = with_sorted_certificates(token_of(raw))
    return _content(token, _decoded(granted_response(token)))


def check_over(raw: bytes, digest: bytes) -> TokenContent:
    """Check that a response grants a token over this SHA-256 digest, and give what the token says.

    Raises TimestampRefused where it grants none, TimestampAnswerWrong where it is unreadable or over another
    digest. The signature is not checked.
    """
    try:
        content = _granted_content(raw)
    except FormatError as error:
        raise TimestampAnswerWrong(f"the answer is no time-stamp: {error}") from None
    if content.algorithm != SHA256_OID or content.imprint != digest:
        raise TimestampAnswerWrong(
            "the token is over another digest than the one sent: ask another authority"
        )
    return content


def check_response(raw: bytes, digest: bytes, nonce: int | None) -> None:
    """Check as `check_over` does, and that the token repeats the nonce of this request."""
    if check_over(raw, digest).nonce != nonce:
        raise TimestampAnswerWrong("the token's nonce is not the one sent: it is an old answer, ask again")


def verify_token(raw: bytes, message: bytes, roots_pem: bytes | None) -> TokenReport:
    """Check a stored response or bare token against the text it should be over and the roots we trust.

    With `roots_pem` None only the digest is compared. The library judges the bytes as they are; what it does
    not read goes to OpenSSL; where there is none, the library judges a copy with sorted certificates. The
    chain is judged at the stamped time. Raises TimestampRootsWrong; all else is reported.
    """
    roots = None if roots_pem is None else _load_roots(roots_pem)
    problems: list[TokenProblem] = []
    content = _readable_content(raw, problems)
    if content is not None:
        problems += _imprint_problems(content, message)
    time_us = content.time_us if content else None
    checked = "not checked" if roots is None else _check_chain(raw, message, roots, time_us, problems)
    if content is None:
        return TokenReport(None, None, "", "", checked, tuple(problems))
    return TokenReport(
        content.time_us, content.serial, content.policy, content.tsa_name, checked, tuple(problems)
    )


def printable(text: str) -> str:
    """Give `text` from outside without characters that could steer a terminal, cut to one short line."""
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return safe[:_MESSAGE_CHARACTERS]


def _granted_content(raw: bytes) -> TokenContent:
    status = status_of(raw)
    if status not in _GRANTED:
        raise TimestampRefused(_refusal_text(raw, status))
    return read_token(raw)


def _refusal_text(raw: bytes, status: int) -> str:
    name = _STATUS_NAMES.get(status, f"status {status}")
    try:
        words = printable("; ".join(_decoded(raw).status_string))
    except FormatError:
        words = ""
    return f"the time-stamp authority refused ({name}): {words or 'no reason given'}"


def _decoded(response: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(response)
    except _UNREADABLE as error:
        raise FormatError(f"not a time-stamp response: {printable(str(error))}") from None


def _content(token: bytes, response: TimeStampResponse) -> TokenContent:
    try:
        info = response.tst_info
        return TokenContent(
            time_us=stamped_time_us(token),
            serial=info.serial_number,
            policy=info.policy.dotted_string,
            tsa_name=printable(_authority_name(response)),
            algorithm=info.message_imprint.hash_algorithm.dotted_string,
            imprint=info.message_imprint.message,
            nonce=info.nonce,
        )
    except _UNREADABLE as error:
        raise FormatError(f"not a time-stamp token: {printable(str(error))}") from None


def _authority_name(response: TimeStampResponse) -> str:
    """Give the subject of the signer's certificate, else what the token itself says of its author."""
    for signer in response.signed_data.signer_infos:
        for der in response.signed_data.certificates:
            certificate = x509.load_der_x509_certificate(der)
            if (certificate.serial_number, certificate.issuer) == (signer.serial_number, signer.issuer):
                return certificate.subject.rfc4514_string()
    name = response.tst_info.name
    return name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else ""


def _readable_content(raw: bytes, problems: list[TokenProblem]) -> TokenContent | None:
    try:
        return _granted_content(raw)
    except FormatError as error:
        problems.append(TokenProblem("timestamps.unreadable", str(error)))
    except TimestampRefused as error:
        problems.append(TokenProblem("timestamps.not_granted", str(error)))
    return None


def _imprint_problems(content: TokenContent, message: bytes) -> list[TokenProblem]:
    name = _DIGESTS.get(content.algorithm)
    if name is None:
        return [
            TokenProblem("timestamps.digest_unknown", f"digest algorithm {content.algorithm} is not checked")
        ]
    if hashlib.new(name, message).digest() != content.imprint:
        return [TokenProblem("timestamps.another_text", "the token is over another text")]
    return []


def _load_roots(roots_pem: bytes) -> _Roots:
    try:
        return _Roots(roots_pem, tuple(dict.fromkeys(x509.load_pem_x509_certificates(roots_pem))))
    except ValueError:
        raise TimestampRootsWrong("the trusted certificates are not PEM: give one or more of them") from None


def _check_chain(
    raw: bytes, message: bytes, roots: _Roots, time_us: int | None, problems: list[TokenProblem]
) -> Checker:
    """Have signature and chain judged by the first who can read the token; say who it was."""
    try:
        checked, reason = _judge(raw, message, roots, time_us)
    except FormatError:
        return "not checked"  # nobody here reads it; the problem is named already
    if reason is not None:
        problems.append(TokenProblem("timestamps.not_verified", f"{checked}: {reason}"))
    return checked


def _judge(raw: bytes, message: bytes, roots: _Roots, time_us: int | None) -> tuple[Checker, str | None]:
    try:
        return "library", _library_refusal(token_of(raw), roots)
    except FormatError:
        program = find_openssl()
    if program is not None:
        return "openssl", refusal(program, _as_response(raw), message, roots.pem, time_us)
    return "library", _library_refusal(with_sorted_certificates(token_of(raw)), roots)


def _as_response(raw: bytes) -> bytes:
    try:
        return response_of(raw)
    except FormatError:
        return raw  # OpenSSL reads encodings that we do not


def _library_refusal(token: bytes, roots: _Roots) -> str | None:
    """Give None if signature and chain are good, else why not; raises FormatError for what it cannot read.

    The text is compared elsewhere, so that a good token over another text is told from a forged one.
    """
    response = _decoded(granted_response(token))
    builder = VerifierBuilder(roots=list(roots.certificates))
    try:
        builder.build().verify(response, response.tst_info.message_imprint.message)
    except (VerificationError, *_UNREADABLE) as error:
        return printable(str(error))
    return None
