"""Checks a certificate as both sides must: the consortium's CA issued it, it is in force, it names a site.

A site's name stands in the certificate as the URI spiffe://FEDERATION/site/NAME; the CA's own certificate
bears spiffe://FEDERATION, so that the name of a federation has one source.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fed_common.errors import ConfigError, TrustError
from fed_common.names import Digest, SiteName, digest_of

_FEDERATION_URI = re.compile(r"spiffe://([a-z0-9][a-z0-9-]{0,62})")
_SITE_URI = re.compile(r"spiffe://([a-z0-9][a-z0-9-]{0,62})/site/([a-z0-9][a-z0-9-]{0,62})")


def federation_uri(federation: str) -> str:
    """Return the name that a federation's CA bears."""
    return f"spiffe://{federation}"


def site_uri(federation: str, site: SiteName) -> str:
    """Return the name that a site's certificate bears."""
    return f"{federation_uri(federation)}/site/{site}"


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        ConfigError: the file can't be read or holds none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a PEM certificate") from error


def fingerprint(certificate: x509.Certificate) -> Digest:
    """Identify a certificate: SHA-256 of its DER encoding."""
    return digest_of(certificate.public_bytes(Encoding.DER))


def federation_of(ca: x509.Certificate) -> str:
    """Return the federation whose CA this is.

    Raises:
        TrustError: the certificate doesn't name one.
    """
    return _named(ca, _FEDERATION_URI, "a federation's CA")[1]


def verified_site(
    certificate: x509.Certificate, *, ca: x509.Certificate, at: datetime | None = None
) -> SiteName:
    """Return the site that `certificate` stands for, now or `at` another time.

    Raises:
        TrustError: it stands for none; the text says why in words for an operator.
    """
    moment = at or datetime.now(UTC)
    if reason := _why_not(certificate, ca, moment):
        raise TrustError(f"the site's certificate {reason}")
    try:
        PolicyBuilder().store(Store([ca])).time(moment).build_client_verifier().verify(certificate, [])
    except VerificationError as error:
        raise TrustError(f"the site's certificate is refused: {str(error).split(' (enc')[0]}") from error
    name = _named(certificate, _SITE_URI, "a site")
    if name[1] != federation_of(ca):
        raise TrustError(f"the site's certificate is of federation {name[1]}, not {federation_of(ca)}")
    return SiteName(name[2])


def is_p256(key: object) -> bool:
    """Tell whether a public key is one that every TLS stack in use accepts; several refuse Ed25519."""
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)


def _why_not(certificate: x509.Certificate, ca: x509.Certificate, moment: datetime) -> str | None:
    """Return what the library would say less plainly, or not at all."""
    if moment < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc
        return f"is not valid before {start:%Y-%m-%d %H:%M} UTC; see this machine's clock"
    if moment > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return "was not issued by the consortium's CA"
    if not is_p256(certificate.public_key()):
        return "must have a P-256 key"
    if not _is_for_clients(certificate):
        return "is not for client authentication (extended key usage)"
    return None


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _named(certificate: x509.Certificate, form: re.Pattern[str], kind: str) -> re.Match[str]:
    """Return the one URI in the certificate if it has the `form`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if len(uris) == 1 and (name := form.fullmatch(uris[0])):
        return name
    raise TrustError(f"the certificate must name {kind} in one URI, got {', '.join(uris)[:200] or 'none'}")
