"""Split a secret among n people so that any k of them have it and fewer know nothing (Shamir 1979, over GF(2^8)).

Each byte of the secret is the value at 0 of a random polynomial of degree k - 1; share x is what all polynomials give
at x. The field is that of AES: x^8 + x^4 + x^3 + x + 1. Nothing tells a wrong share from a right one: whoever combines
compares what comes out with something that is known.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from scelle.errors import SharesWrong

SHARES_MAX: Final = 255
_MODULUS: Final = 0x11B


def _tables() -> tuple[bytes, bytes]:
    """Make powers of the generator 3 (twice over, so that sums of logarithms need no modulus), and logarithms."""
    powers, logarithms, value = bytearray(510), bytearray(256), 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value ^= value << 1
        if value & 0x100:
            value ^= _MODULUS
    return bytes(powers), bytes(logarithms)


_POWERS, _LOGARITHMS = _tables()


def multiply(left: int, right: int) -> int:
    """Multiply in GF(2^8)."""
    return 0 if left == 0 or right == 0 else _POWERS[_LOGARITHMS[left] + _LOGARITHMS[right]]


def divide(left: int, right: int) -> int:
    """Divide in GF(2^8); `right` is not 0."""
    if right == 0:
        raise ZeroDivisionError("division by 0 in GF(2^8)")
    return 0 if left == 0 else _POWERS[_LOGARITHMS[left] - _LOGARITHMS[right] + 255]


def split_secret(
    secret: bytes, threshold: int, count: int, draw: Callable[[int], bytes] = secrets.token_bytes
) -> dict[int, bytes]:
    """Return shares by number, 1 to `count`; any `threshold` of them give the secret back.

    `draw` gives random bytes. Raises `SharesWrong` unless 2 <= threshold <= count <= 255.
    """
    if not 2 <= threshold <= count <= SHARES_MAX or not secret:
        raise SharesWrong(
            f"{threshold} of {count} shares: give a threshold of at least 2 and at most the number of holders (255)"
        )
    coefficients = [secret, *(draw(len(secret)) for _ in range(threshold - 1))]
    return {x: _values_at(coefficients, x) for x in range(1, count + 1)}


def combine_shares(shares: Mapping[int, bytes]) -> bytes:
    """Return what the shares, by their numbers, have in common: the secret, if there are enough and all are right.

    Raises `SharesWrong` where they cannot belong together.
    """
    lengths = {len(share) for share in shares.values()}
    if len(shares) < 2 or len(lengths) != 1 or not all(1 <= x <= SHARES_MAX for x in shares):
        raise SharesWrong("the shares do not belong together: give at least two of one split, each once")
    weights = {x: _weight_at_zero(x, shares) for x in shares}
    secret = bytearray(lengths.pop())
    for x, share in shares.items():
        for place, value in enumerate(share):
            secret[place] ^= multiply(weights[x], value)
    return bytes(secret)


def _values_at(coefficients: list[bytes], x: int) -> bytes:
    """Evaluate the polynomials, one for each byte, at x (Horner)."""
    values = bytearray(len(coefficients[0]))
    for row in reversed(coefficients):
        for place, coefficient in enumerate(row):
            values[place] = multiply(values[place], x) ^ coefficient
    return bytes(values)


def _weight_at_zero(x: int, numbers: Mapping[int, object]) -> int:
    """Return Lagrange's weight of share x at 0: the product of other / (other - x)."""
    weight = 1
    for other in numbers:
        if other != x:
            weight = multiply(weight, divide(other, other ^ x))
    return weight
