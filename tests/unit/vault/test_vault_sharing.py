"""Split a secret k of n (Shamir over GF(2^8))."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scelle.errors import SharesWrong
from scelle.vault.sharing import combine_shares, divide, multiply, split_secret


def test_the_field_is_that_of_aes() -> None:
    """FIPS 197 §4.2 and §4.2.1: {57} x {83} = {c1}, {57} x {13} = {fe}; {53} and {ca} are inverses."""
    assert (multiply(0x57, 0x83), multiply(0x57, 0x13), multiply(0x53, 0xCA)) == (0xC1, 0xFE, 1)
    assert all(divide(multiply(a, b), b) == a for a in range(256) for b in range(1, 256))


def test_known_answer() -> None:
    """f(x) = 0x2a + 0x37 x + 0x59 x^2, worked out by hand with the field's product."""
    drawn = iter([b"\x37", b"\x59"])
    shares = split_secret(b"\x2a", 3, 4, lambda size: next(drawn))
    by_hand = {x: bytes([0x2A ^ multiply(0x37, x) ^ multiply(0x59, multiply(x, x))]) for x in range(1, 5)}
    assert shares == by_hand
    assert shares[1] == b"\x44"  # 2a ^ 37 ^ 59
    assert combine_shares({x: shares[x] for x in (2, 3, 4)}) == b"\x2a"


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=80), st.integers(2, 5), st.integers(0, 3))
def test_any_k_shares_give_the_secret_and_fewer_do_not(secret: bytes, threshold: int, more: int) -> None:
    shares = split_secret(secret, threshold, threshold + more)
    for chosen in combinations(shares, threshold):
        assert combine_shares({x: shares[x] for x in chosen}) == secret
    assert combine_shares(shares) == secret
    if len(secret) >= 16 and threshold > 2:  # by chance one in 2^128
        assert combine_shares({x: shares[x] for x in list(shares)[: threshold - 1]}) != secret


def test_fewer_shares_than_needed_fit_every_secret() -> None:
    """For each byte there is a polynomial through one share of two: one share says nothing."""
    share = split_secret(b"\x2a", 2, 2)[1][0]
    slopes = {divide(share ^ secret, 1) for secret in range(256)}
    assert len(slopes) == 256


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (2, 256), (0, 0)])
def test_a_threshold_that_cannot_be_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(SharesWrong):
        split_secret(b"mild", threshold, count)


def test_shares_that_do_not_belong_together_are_refused() -> None:
    for wrong in ({1: b"ab"}, {1: b"ab", 2: b"abc"}, {0: b"ab", 1: b"cd"}, {1: b"ab", 256: b"cd"}):
        with pytest.raises(SharesWrong):
            combine_shares(wrong)
