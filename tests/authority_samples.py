"""A CA and certificates for tests: good ones, and each way in which one can be wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fed_server.authority.authority import Authority
from fed_server.authority.issuing import ca_certificate


def authority(federation: str = "consortium") -> Authority:
    key = generate_private_key(SECP256R1())
    return Authority(certificate=ca_certificate(key, federation=federation), key=key)


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate with one thing at a time other than it should be."""

    uris: tuple[str, ...] = ("spiffe://consortium/site/north",)
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH
    starts: timedelta = timedelta(days=-1)
    ends: timedelta = timedelta(days=1)
    is_ca: bool = False

    def issued_by(
        self, ca: Authority, key: EllipticCurvePrivateKey | Ed25519PrivateKey | None = None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
        public_key = (key or generate_private_key(SECP256R1())).public_key()
        uris = [x509.UniformResourceIdentifier(uri) for uri in self.uris]
        ca_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self.starts)
            .not_valid_after(now + self.ends)
            .add_extension(x509.BasicConstraints(ca=self.is_ca, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([self.usage]), critical=False)
            .add_extension(ca_id, critical=False)
        )
        if uris:
            builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
        return builder.sign(ca.key, hashes.SHA256())
