"""Enrols all sites of a federation at once, so that nobody is tempted to develop without certificates.

It is the offline enrolment with everybody's part played by one process. Nothing here enrols a real
hospital: there, a site makes its own keys and they never leave it.
"""

from collections.abc import Sequence
from pathlib import Path

from fed_common.errors import ConfigError, MachineError
from fed_common.key_files import write_identity
from fed_common.names import SiteName, run_id
from fed_common.pki.enrolment import Admission, verified_request
from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import SigningKey
from fed_server.authority.authority import Authority
from fed_server.authority.issuing import server_names
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry

FEDERATION = "development"


def write_dev_certificates(
    folder: Path, *, sites: Sequence[SiteName], hosts: Sequence[str], federation: str = FEDERATION
) -> None:
    """Write a CA, the server's files, every site's keys and the register of them into `folder`.

    `hosts` are the names and addresses under which sites reach the server.

    Raises:
        ConfigError: the folder already holds keys, or there is no host to certify.
        MachineError: the folder can't be written.
    """
    if folder.is_dir() and any(folder.rglob("*.key")):
        raise ConfigError(f"{folder}: already holds keys; delete it or choose another folder")
    server_names(hosts)  # refused before anything is written
    try:
        _enrol_all(folder, sites=sites, hosts=hosts, federation=run_id(federation))
    except OSError as error:
        raise MachineError(f"{folder}: can't be written ({error.strerror})") from error


def _enrol_all(folder: Path, *, sites: Sequence[SiteName], hosts: Sequence[str], federation: str) -> None:
    server = folder / "server"
    authority = Authority.found(folder / "ca.crt", folder / "ca.key", federation=federation)
    authority.certify_server(server / "tls.crt", server / "tls.key", hosts=hosts)
    write_identity(server)
    key = SigningKey.load(server / "identity.key")
    registry = Registry(folder=folder / "registry", key=key)
    admissions = Admissions(registry=registry, ca=authority.certificate)
    for site in sites:
        keys = KeyFolder(path=folder / site)
        keys.make()
        secret = admissions.invite(site, ttl_s=60.0)
        request = keys.request(site, authority.certificate, secret=secret)
        admissions.ask(request)
        words = verified_request(request).words
        (certificate,) = admissions.approve(site, authority, words=words).certificates
        coordinator = key.verifying_key.pem.decode("ascii")
        keys.accept(Admission(certificate=certificate, coordinator=coordinator), site, authority.certificate)
