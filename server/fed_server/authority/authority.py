"""The CA as two files: the certificate that all sites pin, and the key, which can stay elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fed_common.errors import ConfigError, TrustError
from fed_common.files import write_atomically
from fed_common.key_files import make_private_folder, pem, write_private
from fed_common.names import SiteName
from fed_common.pki.certificates import read_certificate
from fed_common.pki.enrolment import requested_key
from fed_common.signing import refuse_shared_key_file
from fed_server.authority.issuing import VALIDITY, ca_certificate, server_certificate, site_certificate


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Who can issue certificates, for as long as the key is in this process."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def found(cls, ca: Path, key: Path, *, federation: str, passphrase: bytes | None = None) -> Self:
        """Make a federation's CA: certificate in `ca`, key in `key`, encrypted if there is a `passphrase`.

        Raises:
            OSError: the files can't be written, or are there already.
        """
        private = generate_private_key(SECP256R1())
        certificate = ca_certificate(private, federation=federation)
        for folder in {ca.parent, key.parent}:
            make_private_folder(folder)
        write_private(key, pem(private, passphrase=passphrase))
        ca.write_bytes(certificate.public_bytes(Encoding.PEM))
        return cls(certificate=certificate, key=private)

    @classmethod
    def load(cls, ca: Path, key: Path, *, passphrase: bytes | None = None) -> Self:
        """Read the CA's certificate and key.

        Raises:
            ConfigError: the certificate can't be read.
            TrustError: the key is missing, open to others, another CA's, or wants another passphrase.
        """
        certificate = read_certificate(ca)
        refuse_shared_key_file(key)
        try:
            private = load_pem_private_key(key.read_bytes(), password=passphrase)
        except (OSError, ValueError, TypeError) as error:
            raise TrustError(f"{key}: not a readable private key, or another passphrase") from error
        if (
            not isinstance(private, EllipticCurvePrivateKey)
            or private.public_key() != certificate.public_key()
        ):
            raise TrustError(f"{key}: not the private key of {ca}")
        return cls(certificate=certificate, key=private)

    def certify_server(self, certificate: Path, key: Path, *, hosts: Sequence[str]) -> None:
        """Make a new key for the server and a certificate for it, replacing what is there.

        Raises:
            ConfigError: a host can't be certified.
            MachineError: the files can't be written.
        """
        private = generate_private_key(SECP256R1())
        issued = server_certificate(private.public_key(), hosts=hosts, ca=self.certificate, ca_key=self.key)
        for folder in {certificate.parent, key.parent}:
            make_private_folder(folder)
        write_atomically(key, pem(private), private=True)
        write_atomically(certificate, issued.public_bytes(Encoding.PEM))

    def certify_site(self, site: SiteName, csr: str, *, validity: timedelta = VALIDITY) -> x509.Certificate:
        """Return the site's certificate for the key in `csr`, a PEM request; its other wishes are ignored.

        Raises:
            TrustError: the request isn't signed with its own P-256 key.
        """
        return site_certificate(
            requested_key(csr), site=site, ca=self.certificate, ca_key=self.key, validity=validity
        )


def server_hosts(certificate: Path) -> list[str]:
    """Return the names and addresses that the server's certificate is for.

    Raises:
        ConfigError: it can't be read, or names none.
    """
    try:
        names = (
            read_certificate(certificate)
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value
        )
    except x509.ExtensionNotFound as error:
        raise ConfigError(f"{certificate}: names no host") from error
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]
