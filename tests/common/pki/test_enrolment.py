"""A request is believed only from who holds its keys, and proves the invitation only to who made it."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tests.authority_samples import Leaf, authority

from fed_common import canonical
from fed_common.errors import FedError, MalformedMessageError, TrustError
from fed_common.names import SiteName
from fed_common.pki.certificates import fingerprint
from fed_common.pki.enrolment import (
    MAX_REQUEST_BYTES,
    Admission,
    SignedRequest,
    proof_key,
    sign_request,
    verified_request,
)
from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import SigningKey

CA = authority()
NORTH, SOUTH = SiteName("north"), SiteName("south")
SECRET = b"secret of the invitation"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(path=tmp_path / "keys")
    folder.make()
    return folder


def test_a_request_names_the_site_its_keys_and_the_ca_it_trusts(keys: KeyFolder) -> None:
    request = verified_request(keys.request(NORTH, CA.certificate, secret=SECRET))
    assert (request.federation, request.site, request.ca) == (
        "consortium",
        "north",
        fingerprint(CA.certificate),
    )
    assert request.identity.encode() == (keys.path / "identity.pub").read_bytes()
    assert request.is_proven_with(proof_key(SECRET))
    assert not request.is_proven_with(proof_key(b"another"))
    assert SECRET not in canonical.encode(request)


def test_who_changes_anything_breaks_the_proof_and_the_words(keys: KeyFolder) -> None:
    request = verified_request(keys.request(NORTH, CA.certificate, secret=SECRET))
    for changes in ({"site": SOUTH}, {"ca": "0" * 64}, {"csr": "x"}, {"identity": "x"}, {"node_key": "x"}):
        changed = replace(request, **changes)
        assert not changed.is_proven_with(proof_key(SECRET))
        assert changed.words != request.words


def test_a_request_signed_by_another_key_is_refused(keys: KeyFolder) -> None:
    request = verified_request(keys.request(NORTH, CA.certificate))
    with pytest.raises(TrustError, match="signature doesn't fit"):
        verified_request(sign_request(request, SigningKey(Ed25519PrivateKey.generate())))


def test_a_certificate_request_that_another_key_signed_is_refused(keys: KeyFolder) -> None:
    request = verified_request(keys.request(NORTH, CA.certificate))
    stolen = bytearray(x509.load_pem_x509_csr(request.csr.encode()).public_bytes(Encoding.DER))
    stolen[-1] ^= 1
    csr = x509.load_der_x509_csr(bytes(stolen)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(TrustError, match=r"P-256|not a certificate request"):
        verified_request(sign_request(replace(request, csr=csr), keys.identity))


@pytest.mark.parametrize("field", ["csr", "identity", "node_key"])
def test_a_key_of_the_wrong_kind_is_refused(keys: KeyFolder, field: str) -> None:
    ed25519 = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "north")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(ed25519, None)
    request = verified_request(keys.request(NORTH, CA.certificate))
    wrong = {
        "csr": csr.public_bytes(Encoding.PEM).decode(),
        "identity": request.csr,
        "node_key": "ssh-ed25519 AAAA",
    }
    with pytest.raises(TrustError):
        verified_request(sign_request(replace(request, **{field: wrong[field]}), keys.identity))  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff" * 100, bytes(MAX_REQUEST_BYTES + 1)])
def test_what_is_no_request_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        verified_request(raw)


def test_to_ask_again_is_to_send_the_same_bytes_until_it_is_granted(keys: KeyFolder) -> None:
    first = keys.request(NORTH, CA.certificate, secret=SECRET)
    assert keys.request(NORTH, CA.certificate, secret=SECRET) == first
    assert keys.request(NORTH, CA.certificate, secret=b"of the next invitation") != first


def granted(keys: KeyFolder, site: SiteName = NORTH) -> Admission:
    request = verified_request(keys.request(NORTH, CA.certificate))
    certificate = CA.certify_site(site, request.csr).public_bytes(Encoding.PEM).decode()
    return Admission(certificate=certificate, coordinator=keys.identity.verifying_key.pem.decode())


def test_what_is_granted_is_kept_private_with_its_key(keys: KeyFolder) -> None:
    keys.accept(granted(keys), NORTH, CA.certificate)
    assert keys.credentials.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in keys.path.iterdir()) == [
        "ca.crt", "coordinator.pub", "identity.key", "identity.pub", "node.key", "node.pub", "tls.pem",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["site", "key", "ca", "text"])
def test_a_certificate_that_is_not_ours_is_not_kept(keys: KeyFolder, wrong: str) -> None:
    admission = granted(keys, SOUTH if wrong == "site" else NORTH)
    if wrong == "key":
        other = Leaf().issued_by(CA).public_bytes(Encoding.PEM).decode()
        admission = replace(admission, certificate=other)
    if wrong == "text":
        admission = replace(admission, certificate="-----BEGIN CERTIFICATE-----")
    with pytest.raises(FedError):
        keys.accept(admission, NORTH, authority().certificate if wrong == "ca" else CA.certificate)
    assert not keys.credentials.exists()


def test_private_keys_are_encrypted_where_a_passphrase_is_given(tmp_path: Path) -> None:
    keys = KeyFolder(path=tmp_path / "keys", passphrase=b"correct horse")
    keys.make()
    request = keys.request(NORTH, CA.certificate)
    for name in ("identity.key", "node.key", "tls.key"):
        assert b"ENCRYPTED" in (keys.path / name).read_bytes()
    with pytest.raises(TrustError, match="another passphrase"):
        KeyFolder(path=keys.path).request(NORTH, CA.certificate, secret=SECRET)
    assert canonical.decode(request, SignedRequest).request.proof == ""
