"""A certificate stands for a site only if all of it is right; what is wrong is said in words (fault 72)."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.authority_samples import Leaf, authority

from fed_common.errors import TrustError
from fed_common.pki.certificates import federation_of, verified_site

CA = authority()


def test_a_certificate_of_the_ca_stands_for_its_site() -> None:
    assert verified_site(Leaf().issued_by(CA), ca=CA.certificate) == "north"
    assert federation_of(CA.certificate) == "consortium"


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (Leaf(ends=timedelta(hours=-1)), "expired on"),
        (Leaf(starts=timedelta(hours=1)), "is not valid before .*clock"),
        (Leaf(usage=ExtendedKeyUsageOID.SERVER_AUTH), "not for client authentication"),
        (Leaf(is_ca=True), "basicConstraints"),
        (Leaf(uris=()), "refused|must name a site"),
        (Leaf(uris=("spiffe://consortium",)), "must name a site"),
        (Leaf(uris=("spiffe://consortium/site/north", "spiffe://consortium/site/south")), "in one URI"),
        (Leaf(uris=("spiffe://consortium/site/../north",)), "must name a site"),
        (Leaf(uris=("spiffe://elsewhere/site/north",)), "of federation elsewhere, not consortium"),
    ],
)
def test_one_wrong_thing_is_enough(leaf: Leaf, reason: str) -> None:
    with pytest.raises(TrustError, match=reason):
        verified_site(leaf.issued_by(CA), ca=CA.certificate)


def test_another_ca_of_the_same_name_is_not_the_consortium_s() -> None:
    with pytest.raises(TrustError, match="not issued by the consortium's CA"):
        verified_site(Leaf().issued_by(authority()), ca=CA.certificate)


@pytest.mark.parametrize("key", [Ed25519PrivateKey.generate(), generate_private_key(SECP384R1())])
def test_only_p256_keys_are_certified(key: Ed25519PrivateKey) -> None:
    with pytest.raises(TrustError, match="must have a P-256 key"):
        verified_site(Leaf().issued_by(CA, key), ca=CA.certificate)


def test_the_ca_s_own_certificate_stands_for_no_site() -> None:
    with pytest.raises(TrustError, match="not for client authentication"):
        verified_site(CA.certificate, ca=CA.certificate)


def test_a_certificate_is_judged_at_the_time_that_is_asked_for() -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(TrustError, match="expired"):
        verified_site(Leaf().issued_by(CA), ca=CA.certificate, at=later)
