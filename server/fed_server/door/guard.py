"""Says whose certificate a connection has, anew at every request: a revocation counts from the next on."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fed_common.audit_log.entry import Actor
from fed_common.errors import FedError, TrustError
from fed_common.pki.certificates import verified_site
from fed_server.registry.registry import Registry
from fed_server.registry.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Knows the CA, and which of its certificates the register has in force."""

    registry: Registry
    ca: x509.Certificate

    def caller(self, certificate: bytes) -> Standing:
        """Return where the site stands that showed `certificate` (DER).

        Raises:
            TrustError: it stands for no enrolled site; the text may be told to the caller.
            MachineError: the register can't be read.
        """
        try:
            shown = x509.load_der_x509_certificate(certificate)
            site = verified_site(shown, ca=self.ca)
        except ValueError as error:
            raise TrustError("the certificate can't be read") from error
        standing = self.registry.standing(site)
        if shown.public_bytes(Encoding.PEM).decode("ascii") not in standing.certificates:
            why = {"revoked": "was revoked", "withdrawn": "ended when it withdrew"}.get(
                standing.state, "is no longer in force"
            )
            raise TrustError(f"the certificate of {site} {why}; see the coordinator")
        return standing

    def name(self, certificate: bytes | None) -> Actor:
        """Return who showed the certificate, in force or not; a stranger, where the CA never certified it."""
        if certificate is None:
            return "stranger"
        try:
            return verified_site(x509.load_der_x509_certificate(certificate), ca=self.ca)
        except (ValueError, FedError):
            return "stranger"

    def refuses(self, certificate: bytes) -> bool:
        """Tell whether `caller` would, for whatever reason."""
        try:
            self.caller(certificate)
        except FedError:
            return True
        return False
