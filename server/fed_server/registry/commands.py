"""`fed-server invite`, `approve`, `revoke`, `sites`, `desk`: who takes part, decided by a person."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fed_common import canonical
from fed_common.errors import ConfigError
from fed_common.files import write_atomically
from fed_common.names import SiteName, site_name
from fed_common.pki.certificates import fingerprint, read_certificate
from fed_common.pki.enrolment import Admission
from fed_common.pki.invitation import Invitation
from fed_server.authority.authority import server_hosts
from fed_server.authority.commands import CaKeyOption, ConfigOption, open_authority
from fed_server.config import TrustFiles, load_trust_files
from fed_server.registry.admission import Admissions
from fed_server.registry.duration import seconds_of
from fed_server.registry.sites_table import sites_table

SiteArgument = Annotated[str, typer.Argument(help="The site's name, as in federation.toml.")]


def invite(
    site: SiteArgument,
    ttl: Annotated[str, typer.Option(help="How long it counts: 30m, 24h or 7d.")] = "24h",
    address: Annotated[str, typer.Option(help="Another address than https://HOST:PORT of the server.")] = "",
    out: Annotated[Path | None, typer.Option(help="A file for a site that enrolls offline.")] = None,
    config: ConfigOption = Path("federation.toml"),
) -> None:
    """Print the line with which a hospital enrolls, once; send it by a way that both sides trust."""
    trust = load_trust_files(config)
    name = _site_of(trust, site)
    admissions = _admissions(trust)
    invitation = Invitation(
        address=address or f"https://{server_hosts(trust.tls.certificate)[0]}:{trust.address[1]}",
        federation=trust.federation,
        site=name,
        ca=fingerprint(admissions.ca),
        secret=admissions.invite(name, ttl_s=seconds_of(ttl)),
    )
    if out is None:
        typer.echo(invitation.line)
        return
    write_atomically(out, f"{invitation.line}\n".encode() + trust.tls.ca.read_bytes(), private=True)
    typer.echo(f"{out}: for `fed-client enroll --invitation` at {name}")


def approve(
    site: SiteArgument,
    words: Annotated[str, typer.Option(help="The six words that the hospital reads; asked for.")] = "",
    request: Annotated[Path | None, typer.Option(help="Offline: the file from the site.")] = None,
    out: Annotated[Path | None, typer.Option(help="Offline: a file for the site.")] = None,
    ca_key: CaKeyOption = None,
    config: ConfigOption = Path("federation.toml"),
) -> None:
    """Certify the site whose six words the hospital reads over the phone; a renewal has been read before."""
    trust, name = load_trust_files(config), site_name(site)
    admissions = _admissions(trust)
    if request is not None:
        admissions.ask(request.read_bytes())
    standing = admissions.registry.standing(name)
    if standing.request is not None and standing.keys is None and not words:
        words = typer.prompt(f"the six words that {name} reads")
    granted = admissions.approve(name, open_authority(trust.tls.ca, ca_key or trust.ca_key), words=words)
    if out is not None:
        coordinator = admissions.registry.key.verifying_key.pem.decode("ascii")
        admission = Admission(certificate=granted.certificates[-1], coordinator=coordinator)
        write_atomically(out, canonical.encode(admission))
    typer.echo(f"{name} is enrolled")


def revoke(
    site: SiteArgument,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the register.")],
    config: ConfigOption = Path("federation.toml"),
) -> None:
    """Shut a site out: its next request is refused, and its open connections are cut within seconds."""
    name = site_name(site)
    _admissions(load_trust_files(config)).revoke(name, reason[:300])
    typer.echo(f"{name} is revoked")


def sites(config: ConfigOption = Path("federation.toml")) -> None:
    """Show who is invited, waits for approval, is enrolled or revoked."""
    trust = load_trust_files(config)
    registry = trust.open_registry()
    names = sorted({*trust.sites, *registry.sites()})
    Console().print(sites_table([registry.standing(name) for name in names]))


def desk(config: ConfigOption = Path("federation.toml")) -> None:
    """Take in invited sites and renewals without a run, until Ctrl-C; `start` has the desk open, too."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with load_trust_files(config).door().opened(None) as port:
        logging.getLogger(__name__).info("the enrolment desk is open on port %d", port)
        stop.wait()


def _admissions(trust: TrustFiles) -> Admissions:
    return Admissions(registry=trust.open_registry(), ca=read_certificate(trust.tls.ca))


def _site_of(trust: TrustFiles, site: str) -> SiteName:
    if site not in trust.sites:
        raise ConfigError(f"{site!r} is not in federation.toml; its sites are {', '.join(trust.sites)}")
    return site_name(site)
