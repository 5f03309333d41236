"""What a site must have in hand before it can call the server, checked before the first call."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fed_common.errors import ConfigError, MachineError
from fed_common.pki.certificates import read_certificate, verified_site
from fed_common.signing import refuse_shared_key_file


@dataclass(frozen=True, kw_only=True)
class FlowerLink:
    """Where the server is and how the two recognise each other; `state` remembers the last login.

    The site's certificate lies beside its node key.
    """

    address: str
    ca: Path
    node_key: Path
    state: Path
    passphrase: bytes | None = None

    def __post_init__(self) -> None:
        url = urlsplit(self.address)
        if url.scheme != "https" or not url.hostname:
            raise ConfigError(f"address must look like https://HOST:PORT, got {self.address!r}")

    def read_node_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key with which the site logs in; Flower knows NIST curves only.

        Raises:
            ConfigError: the file holds no such key, or wants another passphrase.
            TrustError: it is missing, or open to others.
        """
        refuse_shared_key_file(self.node_key)
        try:
            key = load_pem_private_key(self.node_key.read_bytes(), password=self.passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{self.node_key}: not a PEM private key, or another passphrase") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{self.node_key}: must be a NIST elliptic-curve key")
        return key

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that trusts the consortium's CA and nobody else, and shows the site's certificate.

        Raises:
            ConfigError: a file holds no certificate, or wants another passphrase.
            TrustError: the server would refuse the certificate; the site would only see a closed line.
        """
        self.check_certificate()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.ca}: not a PEM certificate") from error
        except OSError as error:
            raise ConfigError(f"{self.ca}: can't be read ({error.strerror})") from error
        try:
            context.load_cert_chain(self.credentials, password=self.passphrase or b"")
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"{self.credentials}: its key can't be used, or wants another passphrase"
            ) from error
        return context

    @property
    def credentials(self) -> Path:
        """Return the file with the site's certificate and its key."""
        return self.node_key.with_name("tls.pem")

    @property
    def certificate_version(self) -> int:
        """Return a number that is another one after each renewal; 0 where there is no certificate."""
        return self.credentials.stat().st_mtime_ns if self.credentials.exists() else 0

    def check_certificate(self) -> x509.Certificate:
        """Return the site's certificate if the server would accept it now.

        Raises:
            ConfigError: it or the CA's can't be read.
            TrustError: it wouldn't; the text says why.
        """
        refuse_shared_key_file(self.credentials)
        certificate = read_certificate(self.credentials)
        verified_site(certificate, ca=read_certificate(self.ca))
        return certificate

    def last_login(self) -> int | None:
        """Return the node id of the last login on this machine."""
        try:
            return int(self._login_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def remember_login(self, node_id: int) -> None:
        """Keep `node_id`, so that after a crash the next process can end this login.

        Raises:
            MachineError: the state folder can't be written.
        """
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._login_file.write_text(str(node_id))
        except OSError as error:
            raise MachineError(f"{self.state}: can't be written ({error.strerror})") from error

    @property
    def _login_file(self) -> Path:
        return self.state / "node-id"
