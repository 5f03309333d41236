import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_public_key,
)
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fed_common.errors import ConfigError
from fed_common.names import SiteName
from fed_common.pki.certificates import verified_site
from fed_common.signing import SigningKey
from fed_server.dev_certificates import write_dev_certificates
from fed_server.registry.registry import Registry

SITES = (SiteName("north"), SiteName("south"))
HOSTS = ("fed-server", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here") / "pki"
    write_dev_certificates(folder, sites=SITES, hosts=HOSTS)
    return folder


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_strict_verifier_accepts_the_server_under_each_of_its_names(pki: Path) -> None:
    policy = PolicyBuilder().store(Store([certificate(pki / "ca.crt")]))
    leaf = certificate(pki / "server/tls.crt")
    for subject in (
        x509.DNSName("fed-server"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ):
        assert policy.build_server_verifier(subject).verify(leaf, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("elsewhere")).verify(leaf, [])


def test_the_certificate_ends_after_90_days(pki: Path) -> None:
    left = certificate(pki / "server/tls.crt").not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)


def test_the_private_key_is_the_certificate_s(pki: Path) -> None:
    def spki(key: ec.EllipticCurvePublicKey) -> bytes:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    key = load_pem_private_key((pki / "server/tls.key").read_bytes(), None)
    leaf = certificate(pki / "server/tls.crt").public_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(leaf, ec.EllipticCurvePublicKey)
    assert spki(key.public_key()) == spki(leaf)


@pytest.mark.parametrize("site", SITES)
def test_every_site_is_enrolled_with_a_certificate_that_names_it(pki: Path, site: SiteName) -> None:
    registry = Registry(folder=pki / "registry", key=SigningKey.load(pki / "server/identity.key"))
    standing = registry.standing(site)
    assert standing.state == "enrolled"
    assert standing.certificates[0].encode() in (pki / site / "tls.pem").read_bytes()
    assert verified_site(certificate(pki / site / "tls.pem"), ca=certificate(pki / "ca.crt")) == site


@pytest.mark.parametrize("site", SITES)
def test_a_site_has_a_p256_node_key_and_an_ed25519_identity(pki: Path, site: SiteName) -> None:
    node = load_pem_private_key((pki / site / "node.key").read_bytes(), None)
    assert isinstance(node, ec.EllipticCurvePrivateKey) and isinstance(node.curve, ec.SECP256R1)
    assert load_ssh_public_key((pki / site / "node.pub").read_bytes()) == node.public_key()
    identity = load_pem_private_key((pki / site / "identity.key").read_bytes(), None)
    assert isinstance(identity, Ed25519PrivateKey)
    assert load_pem_public_key((pki / site / "identity.pub").read_bytes()) == identity.public_key()


def test_nobody_else_on_the_machine_can_read_a_key(pki: Path) -> None:
    for folder in (pki, pki / "server", pki / "registry", *(pki / site for site in SITES)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for key in (*pki.rglob("*.key"), *pki.rglob("tls.pem")):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_every_key_is_another(pki: Path) -> None:
    keys = [path.read_bytes() for path in pki.rglob("*.key")]
    assert len(keys) == len(set(keys)) == 3 + 2 * len(SITES)


def test_existing_keys_are_never_overwritten(pki: Path) -> None:
    before = {path: path.read_bytes() for path in pki.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="already holds keys"):
        write_dev_certificates(pki, sites=SITES, hosts=HOSTS)
    assert {path: path.read_bytes() for path in pki.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("hosts", "message"), [((), "at least one"), (("höst",), "DNS name or an IP")])
def test_a_host_that_can_not_be_certified_is_refused(
    tmp_path: Path, hosts: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_dev_certificates(tmp_path, sites=SITES, hosts=hosts)
    assert list(tmp_path.iterdir()) == []
