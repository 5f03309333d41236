"""Secrets shared so that any `threshold` holders can restore one, and fewer learn nothing about it.

Shamir, "How to Share a Secret" (1979), over the integers modulo the first prime above 2^256.
"""

import secrets
from collections.abc import Mapping

from fed_common.errors import MalformedMessageError, TrustError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def split(secret: bytes, *, threshold: int, holders: int) -> tuple[bytes, ...]:
    """Return the shares of holders 1, 2, ...: values of a random polynomial whose constant is the secret."""
    coefficients = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return tuple(_value(coefficients, x).to_bytes(SHARE_BYTES) for x in range(1, holders + 1))


def restore(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of which `shares` are those of the numbered holders, at least `threshold` of them.

    Raises:
        MalformedMessageError: something is no share.
        TrustError: the shares are of no secret; a wrong one often goes unnoticed here.
    """
    values = {x: int.from_bytes(share) for x, share in shares.items()}
    if any(len(share) != SHARE_BYTES for share in shares.values()) or max(values.values()) >= PRIME:
        raise MalformedMessageError(f"a share must be {SHARE_BYTES} bytes below the prime")
    constant = 0
    for x, value in values.items():
        weight = value
        for other in values:
            if other != x:  # Lagrange's polynomial at zero
                weight = weight * other * pow(other - x, -1, PRIME) % PRIME
        constant = (constant + weight) % PRIME
    if constant >= 2 ** (8 * SECRET_BYTES):
        raise TrustError("the shares restore no secret: one of them is wrong")
    return constant.to_bytes(SECRET_BYTES)


def _value(coefficients: list[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value
