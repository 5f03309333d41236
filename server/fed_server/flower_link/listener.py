"""The public port: TLS 1.3 only, and nobody who isn't enrolled gets past its door."""

import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fed_common.errors import ConfigError, MachineError

logger = logging.getLogger(__name__)

PUBLIC_PREFIX = "/v1/fleet/"


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """The server's certificate and key, and the CA that the sites have pinned."""

    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return a context that speaks TLS 1.3 only.

        Raises:
            ConfigError: a file can't be used, or no site would accept the certificate.
        """
        self._check_chain()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.key}: not the private key of {self.certificate}") from error
        except OSError as error:
            raise ConfigError(f"{self.key}: can't be read ({error.strerror})") from error
        return context

    def _check_chain(self) -> None:
        ca, certificate = _read_certificate(self.ca), _read_certificate(self.certificate)
        try:
            certificate.verify_directly_issued_by(ca)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ConfigError(f"{self.certificate}: not signed by {self.ca}") from error
        if not datetime.now(UTC) < certificate.not_valid_after_utc:
            raise ConfigError(f"{self.certificate}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}")


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a PEM certificate") from error


def read_node_key(path: Path) -> bytes:
    """Return a site's public node key as PEM; Flower knows NIST curves only.

    Raises:
        ConfigError: the file holds no such key.
    """
    try:
        key = load_ssh_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not an OpenSSH public key") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigError(f"{path}: must be a NIST elliptic-curve key (ecdsa-sha2-nistp256)")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Refuses a request by its headers, so that a stranger's body is never read, let alone parsed.

    A header proves nothing yet: that the caller holds the key it names is checked behind the gate.
    """

    app: ASGIApp
    key_header: str
    enrolled: frozenset[str]
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a bare status."""
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send)
            return
        logger.debug("refused a request to %.40r with %d", scope["path"], refusal)
        await Response(status_code=refusal)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> int | None:
        if not path.startswith(PUBLIC_PREFIX):
            return 404
        if headers.get(self.key_header) not in self.enrolled:
            return 403
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411
        return 413 if int(length) > self.max_body_bytes else None


@contextmanager
def listening(app: ASGIApp, *, address: tuple[str, int], tls: TlsFiles) -> Iterator[int]:
    """Serve `app` from a thread until the context ends; yields the port, which `address` may leave 0.

    Raises:
        ConfigError: a TLS file can't be used.
        MachineError: the address can't be bound.
    """
    context = tls.context()
    with _bound(address) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ssl_context_factory=lambda _config, _default: context,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level=logging.ERROR,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="fleet", daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        # Python's own text repeats the address; a name that doesn't resolve has a number of its own.
        unresolved = isinstance(error, socket.gaierror)
        reason = "unknown host" if unresolved else os.strerror(error.errno or 0).lower()
        raise MachineError(f"{host}:{port}: {reason}; choose another address or stop its user") from error
