"""Makes a throw-away set of keys and certificates, so that nobody is tempted to develop without TLS.

Nothing here enrols a real hospital: there, a site makes its own keys and they never leave it.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fed_common.errors import ConfigError, MachineError
from fed_common.key_files import make_private_folder, pem, write_identity, write_private, write_site_keys
from fed_common.names import SiteName

VALIDITY = timedelta(days=90)
# Clocks differ: a certificate made a moment ago must not be from the future elsewhere.
BACKDATED = timedelta(minutes=5)


def write_dev_certificates(folder: Path, *, sites: Sequence[SiteName], hosts: Sequence[str]) -> None:
    """Write a CA certificate, the server's TLS files and every site's keys into `folder`.

    `hosts` are the names and addresses under which sites reach the server. The CA's private key signs
    once and is forgotten, so nothing can be added later: delete the folder and make a new one.

    Raises:
        ConfigError: the folder already holds keys, or there is no host to certify.
        MachineError: the folder can't be written.
    """
    if not hosts:
        raise ConfigError("at least one host name or address must be certified, got none")
    if folder.is_dir() and any(folder.rglob("*.key")):
        raise ConfigError(f"{folder}: already holds keys; delete it or choose another folder")
    try:
        _write_server(folder, hosts)
        for site in sites:
            write_site_keys(folder / site)
    except OSError as error:
        raise MachineError(f"{folder}: can't be written ({error.strerror})") from error


def _write_server(folder: Path, hosts: Sequence[str]) -> None:
    ca_key, tls_key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    ca = _ca_certificate(ca_key)
    certificate = _server_certificate(tls_key, hosts=hosts, ca=ca, ca_key=ca_key)
    make_private_folder(folder)
    (folder / "ca.crt").write_bytes(ca.public_bytes(Encoding.PEM))
    server = folder / "server"
    make_private_folder(server)
    (server / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    write_private(server / "tls.key", pem(tls_key))
    write_identity(server)


def _ca_certificate(key: EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("fed development CA")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _certificate(subject=name, issuer=name, public_key_of=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: EllipticCurvePrivateKey,
    *,
    hosts: Sequence[str],
    ca: x509.Certificate,
    ca_key: EllipticCurvePrivateKey,
) -> x509.Certificate:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _certificate(subject=_name(hosts[0]), issuer=ca.subject, public_key_of=key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([_alternative_name(host) for host in hosts]), critical=False
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _certificate(
    *, subject: x509.Name, issuer: x509.Name, public_key_of: EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key_of.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALIDITY)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigError(f"host must be a DNS name or an IP address, got {host!r}") from error
