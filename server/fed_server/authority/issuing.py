"""Writes the three kinds of certificate; every field comes from here, none from who asks for one."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fed_common.errors import ConfigError
from fed_common.names import SiteName
from fed_common.pki.certificates import federation_of, federation_uri, site_uri

VALIDITY = timedelta(days=90)
# All sites pin the CA: a new one means to enrol everybody anew.
CA_VALIDITY = timedelta(days=3650)
# Clocks differ: a certificate made a moment ago must not be from the future elsewhere.
BACKDATED = timedelta(minutes=5)


def ca_certificate(key: EllipticCurvePrivateKey, *, federation: str) -> x509.Certificate:
    """Return a federation's CA certificate, signed by itself."""
    name = _name(f"fed CA of {federation}")
    return (
        _certificate(name, issuer=name, key=key.public_key(), validity=CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_uri(federation_uri(federation)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def server_certificate(
    public_key: EllipticCurvePublicKey,
    *,
    hosts: Sequence[str],
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Return the certificate of the server that sites reach under `hosts`; see `server_names`."""
    names = server_names(hosts)
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return _leaf(_name(hosts[0]), names, usage, key=public_key, ca=ca).sign(ca_key, hashes.SHA256())


def server_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    """Return the names or addresses of a server as its certificate bears them.

    Raises:
        ConfigError: there is no host, or one that can't be certified.
    """
    if not hosts:
        raise ConfigError("at least one host name or address must be certified, got none")
    return x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])


def site_certificate(
    public_key: EllipticCurvePublicKey,
    *,
    site: SiteName,
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
    validity: timedelta = VALIDITY,
) -> x509.Certificate:
    """Return a site's certificate."""
    names = _uri(site_uri(federation_of(ca), site))
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return _leaf(_name(site), names, usage, key=public_key, ca=ca, validity=validity).sign(
        ca_key, hashes.SHA256()
    )


def _leaf(
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    usage: ObjectIdentifier,
    *,
    key: EllipticCurvePublicKey,
    ca: x509.Certificate,
    validity: timedelta = VALIDITY,
) -> x509.CertificateBuilder:
    authority = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _certificate(subject, issuer=ca.subject, key=key, validity=validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
        )
    )


def _certificate(
    subject: x509.Name, *, issuer: x509.Name, key: EllipticCurvePublicKey, validity: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + validity)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _uri(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigError(f"host must be a DNS name or an IP address, got {host!r}") from error
