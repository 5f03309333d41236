"""A site's folder of keys: made where they are used, and asked a certificate for.

    node.key, node.pub           logs in to Flower's fleet service (P-256)
    identity.key, identity.pub   signs answers, ledger and requests (Ed25519)
    tls.key, request.json        wait for their certificate (P-256)
    tls.pem                      certificate and key in one file: a renewal replaces both at once
    ca.crt, coordinator.pub      who the others are

The private keys never leave it.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fed_common.errors import MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.key_files import pem, write_private, write_site_keys
from fed_common.names import Digest, SiteName
from fed_common.pki.certificates import federation_of, fingerprint, verified_site
from fed_common.pki.enrolment import (
    Admission,
    EnrolmentRequest,
    proof_key,
    sign_request,
    verified_request,
)
from fed_common.signing import SigningKey, VerifyingKey, refuse_shared_key_file


@dataclass(frozen=True, kw_only=True)
class KeyFolder:
    """The files of one site; private keys are encrypted if there is a `passphrase`."""

    path: Path
    passphrase: bytes | None = None

    @property
    def identity(self) -> SigningKey:
        """Return the key with which the site signs.

        Raises:
            TrustError: it can't be used.
        """
        return SigningKey.load(self.path / "identity.key", passphrase=self.passphrase)

    @property
    def credentials(self) -> Path:
        """Return the file with the certificate and its key."""
        return self.path / "tls.pem"

    @property
    def ca(self) -> Path:
        """Return the pinned certificate of the CA."""
        return self.path / "ca.crt"

    @property
    def request_file(self) -> Path:
        """Return the file with the request that waits."""
        return self.path / "request.json"

    def make(self) -> None:
        """Make the keys that stay: the node's and the identity.

        Raises:
            OSError: the folder can't be written, or holds keys already.
        """
        write_site_keys(self.path, passphrase=self.passphrase)

    def request(self, site: SiteName, ca: x509.Certificate, *, secret: bytes | None = None) -> bytes:
        """Return the signed request to join the federation of `ca`, or without a `secret` to be renewed.

        It is the same until it is granted, because to ask again is how a site learns that it was.

        Raises:
            TrustError: a key can't be used, or the CA names no federation.
            OSError: the folder can't be written.
        """
        key = proof_key(secret) if secret is not None else None
        if (kept := self._kept_request(site, ca, key)) is not None:
            return kept
        request = EnrolmentRequest(
            federation=federation_of(ca),
            site=site,
            ca=fingerprint(ca),
            csr=self._certificate_request(site),
            identity=(self.path / "identity.pub").read_text(encoding="ascii"),
            node_key=(self.path / "node.pub").read_text(encoding="ascii").strip(),
        )
        signed = sign_request(request.proven_with(key) if key is not None else request, self.identity)
        write_atomically(self.request_file, signed)
        return signed

    def _kept_request(self, site: SiteName, ca: x509.Certificate, key: Digest | None) -> bytes | None:
        """Return the request that was made before, if it is the one that would be made now."""
        if not self.request_file.exists() or not self._waiting_key.exists():
            return None
        kept = self.request_file.read_bytes()
        request = verified_request(kept)
        proven = request.proof == "" if key is None else request.is_proven_with(key)
        return kept if proven and (request.site, request.ca) == (site, fingerprint(ca)) else None

    def _certificate_request(self, site: SiteName) -> str:
        if not self._waiting_key.exists():
            key = generate_private_key(SECP256R1())
            write_private(self._waiting_key, pem(key, passphrase=self.passphrase))
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, site[:64])])
        unsigned = x509.CertificateSigningRequestBuilder().subject_name(subject)
        signed = unsigned.sign(self._load_waiting_key(), hashes.SHA256())
        return signed.public_bytes(Encoding.PEM).decode("ascii")

    def accept(self, admission: Admission, site: SiteName, ca: x509.Certificate) -> x509.Certificate:
        """Keep the certificate, if it is for the key that waits, and whom it comes from; return it.

        Raises:
            TrustError: it is another site's, for another key, or not the CA's.
            MachineError: the folder can't be written.
        """
        try:
            certificate = x509.load_pem_x509_certificate(admission.certificate.encode())
            coordinator = VerifyingKey.from_pem(admission.coordinator.encode())
        except ValueError as error:
            raise MalformedMessageError("the answer holds no certificate") from error
        key = self._load_waiting_key()
        if verified_site(certificate, ca=ca) != site or certificate.public_key() != key.public_key():
            raise TrustError("the certificate is another site's, or for another key")
        write_atomically(self.path / "coordinator.pub", coordinator.pem)
        write_atomically(self.ca, ca.public_bytes(Encoding.PEM))
        both = certificate.public_bytes(Encoding.PEM) + pem(key, passphrase=self.passphrase)
        write_atomically(self.credentials, both, private=True)
        self.request_file.unlink()
        self._waiting_key.unlink()
        return certificate

    def _load_waiting_key(self) -> EllipticCurvePrivateKey:
        path = self._waiting_key
        refuse_shared_key_file(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=self.passphrase)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TrustError(f"{path}: not a readable private key, or another passphrase") from error
        if not isinstance(key, EllipticCurvePrivateKey):
            raise TrustError(f"{path}: must be a P-256 private key")
        return key

    @property
    def _waiting_key(self) -> Path:
        return self.path / "tls.key"
