"""Any threshold of shares restores the secret, and fewer say nothing about it."""

import secrets
from contextlib import suppress
from itertools import combinations

import pytest

from fed_common.errors import MalformedMessageError, TrustError
from fed_common.masking.shamir import PRIME, SECRET_BYTES, restore, split


def test_the_prime_is_the_first_above_all_secrets() -> None:
    """By Fermat's test, to fifty bases."""
    assert all(pow(base, PRIME - 1, PRIME) == 1 for base in range(2, 52))
    assert not any(pow(3, number - 1, number) == 1 for number in range(2**256, PRIME))


@pytest.mark.parametrize(("threshold", "holders"), [(2, 3), (3, 3), (3, 4), (4, 5), (7, 10)])
def test_every_threshold_of_holders_restores_the_secret(threshold: int, holders: int) -> None:
    for secret in (secrets.token_bytes(32), bytes(32), b"\xff" * 32):
        shares = dict(enumerate(split(secret, threshold=threshold, holders=holders), start=1))
        for chosen in combinations(shares, threshold):
            assert restore({x: shares[x] for x in chosen}) == secret
        assert restore(shares) == secret


def test_one_share_too_few_fits_every_secret() -> None:
    """With the shares of holders 1 and 2 of 3, some third share leads to any secret one likes."""
    shares = split(b"\x01" * 32, threshold=3, holders=3)
    known = {1: shares[0], 2: shares[1]}
    for wished in (b"\x02" * 32, bytes(32)):
        # The polynomial through (0, wished), (1, .), (2, .), evaluated at 3: 3 s2 - 3 s1 + s0.
        third = (
            3 * int.from_bytes(shares[1]) - 3 * int.from_bytes(shares[0]) + int.from_bytes(wished)
        ) % PRIME
        assert restore(known | {3: third.to_bytes(33)}) == wished


def test_a_wrong_share_restores_another_secret_or_none() -> None:
    secret = secrets.token_bytes(SECRET_BYTES)
    shares = dict(enumerate(split(secret, threshold=3, holders=3), start=1))
    wrong = (int.from_bytes(shares[2]) + 1) % PRIME
    with suppress(TrustError):
        assert restore(shares | {2: wrong.to_bytes(33)}) != secret


@pytest.mark.parametrize("share", [b"", b"\x00" * 32, PRIME.to_bytes(33), b"\xff" * 33])
def test_what_is_no_share_is_refused(share: bytes) -> None:
    shares = dict(enumerate(split(bytes(32), threshold=2, holders=2), start=1))
    with pytest.raises(MalformedMessageError):
        restore(shares | {2: share})
