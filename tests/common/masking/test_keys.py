"""The primitives are those of the standards, and no two uses share a key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fed_common.errors import TrustError
from fed_common.masking.keys import (
    SessionSecrets,
    agree,
    derive,
    open_share,
    pair_mask,
    public_hex,
    seal_share,
)
from fed_common.names import SiteName, digest_of

A, B, C = SiteName("a"), SiteName("b"), SiteName("c")
_ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
_BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
ROSTER, OTHER_ROSTER = digest_of(b"roster"), digest_of(b"another roster")


def test_agreement_is_x25519() -> None:
    """RFC 7748, section 6.1."""
    alice = X25519PrivateKey.from_private_bytes(_ALICE)
    bob = X25519PrivateKey.from_private_bytes(_BOB)
    assert public_hex(alice) == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert public_hex(bob) == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert agree(alice, public_hex(bob)).hex() == agree(bob, public_hex(alice)).hex() == shared


def test_derivation_is_hkdf_sha256() -> None:
    """RFC 5869, appendix A.3: no salt, no info; the first 32 of 42 bytes."""
    found = derive(b"\x0b" * 22, b"")
    assert found.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",  # of order 8
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",  # of order 8
        "",
        "no",
    ],
)
def test_points_of_low_order_and_what_is_no_key_are_refused(point: str) -> None:
    """Fault 85; the points are those of https://cr.yp.to/ecdh.html#validate."""
    with pytest.raises(TrustError, match="guessable"):
        agree(X25519PrivateKey.generate(), point)


def test_both_sites_of_a_pair_derive_one_mask_and_nobody_else_the_same() -> None:
    a, b, c = SessionSecrets(), SessionSecrets(), SessionSecrets()
    pair = frozenset((A, B))
    mask = pair_mask(a.mask_key, public_hex(b.mask_key), roster=ROSTER, pair=pair)
    assert mask == pair_mask(b.mask_key, public_hex(a.mask_key), roster=ROSTER, pair=pair)
    others = {
        pair_mask(a.mask_key, public_hex(b.mask_key), roster=OTHER_ROSTER, pair=pair),
        pair_mask(a.mask_key, public_hex(b.mask_key), roster=ROSTER, pair=frozenset((A, C))),
        pair_mask(a.mask_key, public_hex(c.mask_key), roster=ROSTER, pair=pair),
    }
    assert len(others | {mask}) == 4


def test_a_share_is_opened_by_its_holder_alone_and_unaltered() -> None:
    a, b, c = (X25519PrivateKey.generate() for _ in range(3))
    to_b = agree(a, public_hex(b))
    sealed = seal_share(b"share", to_b, roster=ROSTER, dealer=A, holder=B)
    assert open_share(sealed, agree(b, public_hex(a)), roster=ROSTER, dealer=A, holder=B) == b"share"
    altered = f"{int(sealed[0], 16) ^ 1:x}{sealed[1:]}"
    wrong = [
        (altered, to_b, ROSTER, A, B),
        (sealed, agree(c, public_hex(a)), ROSTER, A, B),
        (sealed, to_b, OTHER_ROSTER, A, B),
        (sealed, to_b, ROSTER, B, A),
        ("", to_b, ROSTER, A, B),
    ]
    for text, secret, roster, dealer, holder in wrong:
        with pytest.raises(TrustError, match="altered"):
            open_share(text, secret, roster=roster, dealer=dealer, holder=holder)


def test_nothing_that_prints_a_sites_secrets_shows_them() -> None:
    secrets = SessionSecrets()
    assert repr(secrets) == "SessionSecrets()"
