"""What a site must have in hand before it can call the server, checked before the first call."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fed_common.errors import ConfigError, MachineError


@dataclass(frozen=True, kw_only=True)
class FlowerLink:
    """Where the server is and how the two recognise each other; `state` remembers the last login."""

    address: str
    ca: Path
    node_key: Path
    state: Path

    def __post_init__(self) -> None:
        url = urlsplit(self.address)
        if url.scheme != "https" or not url.hostname:
            raise ConfigError(f"address must look like https://HOST:PORT, got {self.address!r}")

    def read_node_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key with which the site logs in; Flower knows NIST curves only.

        Raises:
            ConfigError: the file holds no such key, or hides it behind a passphrase.
        """
        try:
            key = load_pem_private_key(self.node_key.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError(f"{self.node_key}: can't be read ({error.strerror})") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{self.node_key}: not a PEM private key without passphrase") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{self.node_key}: must be a NIST elliptic-curve key")
        return key

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that trusts the consortium's CA and nobody else.

        Raises:
            ConfigError: the CA's file holds no certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.ca}: not a PEM certificate") from error
        except OSError as error:
            raise ConfigError(f"{self.ca}: can't be read ({error.strerror})") from error
        return context

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
