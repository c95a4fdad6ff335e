"""The address of an authority and the request that is sent there."""

import pytest

from scelle.errors import FormatError, TimestampAddressWrong
from scelle.timestamps.rfc3161 import Rfc3161Authority, build_query, checked_address


@pytest.mark.parametrize(
    "url",
    [
        "http://tsa.example.org/tsr",
        "https://tsa.example.org",
        "https://[::1]:8080/a?b=c",
        "HTTPS://tsa.example.org",
    ],
)
def test_an_address_is_accepted(url: str) -> None:
    checked_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example.org",
        "ftp://tsa.example.org/tsr",
        "file:///etc/hostname",
        "data:,x",
        "http://",
        "http:///tsr",
        "https://tsa.example.org:port/",
        "https://tsa.example.org:99999/",
        "https://tsa.example.org:0/",
        "https://tsa.example.org/a b",
        "https://tsa.example.org/é",
        "https://tsa.example.org/\r\nX: y",
        "https://tsa.example.org/#part",
        "https://[::1/",
    ],
)
def test_an_address_is_refused(url: str) -> None:
    with pytest.raises(TimestampAddressWrong) as caught:
        Rfc3161Authority(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://anna:mild-secret@tsa.example.org/", "https://mild-secret@tsa.example.org/"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(TimestampAddressWrong, match="password") as caught:
        Rfc3161Authority(url)
    assert "mild-secret" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_a_digest_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="SHA-256"):
        build_query(bytes(size))


def test_a_request_holds_the_digest_once_and_a_nonce() -> None:
    digest = bytes(range(32))
    query = build_query(digest)
    assert query.der.count(digest) == 1
    assert query.nonce is not None
    assert query.nonce != build_query(digest).nonce
