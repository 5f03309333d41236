"""The server's half of mutual TLS: version 1.3 only, and callers' certificates are the consortium's."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from fed_common.errors import ConfigError
from fed_common.pki.certificates import read_certificate
from fed_common.signing import refuse_shared_key_file


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """The server's certificate and key, and the CA that the sites have pinned."""

    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return a context that lets in callers with a certificate of the CA, or with none.

        With none only the enrolment desk answers; a certificate of anybody else ends the handshake.

        Raises:
            ConfigError: a file can't be used, or no site would accept the certificate.
            TrustError: others on this machine can read the key.
        """
        refuse_shared_key_file(self.key)
        self._check_chain()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # every connection shows its certificate anew
        context.load_verify_locations(self.ca)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.key}: not the private key of {self.certificate}") from error
        return context

    def _check_chain(self) -> None:
        ca, certificate = read_certificate(self.ca), read_certificate(self.certificate)
        try:
            certificate.verify_directly_issued_by(ca)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ConfigError(f"{self.certificate}: not signed by {self.ca}") from error
        if not datetime.now(UTC) < certificate.not_valid_after_utc:
            expired = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            raise ConfigError(
                f"{self.certificate}: expired on {expired}; `fed-server ca rotate` makes a new one"
            )
