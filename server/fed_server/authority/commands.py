"""`fed-server ca`: founds the certificate authority, shows it, renews the server's certificate."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fed_common.errors import ConfigError, MachineError
from fed_common.key_files import write_identity
from fed_common.pki.certificates import federation_of, fingerprint, read_certificate
from fed_common.pki.words import six_words
from fed_common.signing import is_encrypted_key
from fed_server.authority.authority import Authority, server_hosts
from fed_server.authority.issuing import server_names
from fed_server.config import load_trust_files

app = typer.Typer(
    name="ca",
    help="Found the certificate authority, show it, renew the server's certificate.",
    no_args_is_help=True,
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The federation's configuration.")]
CaKeyOption = Annotated[Path | None, typer.Option(help="Where the CA's key is, if it was taken away.")]


@app.command()
def init(
    host: Annotated[list[str], typer.Option(help="How sites reach the server; may be repeated.")],
    config: ConfigOption = Path("federation.toml"),
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase that protects the CA's key.")
    ] = False,
) -> None:
    """Make the CA, the server's certificate and the coordinator's identity, where federation.toml names them.

    The CA's key lies beside its certificate, and may be taken to another machine: `approve` and `rotate`
    ask for it, and certificates are renewed by themselves only where it lies open.
    """
    trust = load_trust_files(config)
    server_names(host)  # refused before anything is written
    for path in (trust.tls.ca, trust.ca_key, trust.tls.key, trust.identity):
        if path.exists():
            raise ConfigError(f"{path}: is there already; a key is never overwritten")
    secret = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True) if passphrase else ""
    try:
        authority = Authority.found(
            trust.tls.ca, trust.ca_key, federation=trust.federation, passphrase=secret.encode() or None
        )
        authority.certify_server(trust.tls.certificate, trust.tls.key, hosts=host)
        write_identity(trust.identity.parent, name=trust.identity.stem)
    except OSError as error:
        raise MachineError(f"{error.filename}: can't be written ({error.strerror})") from error
    show(config)


@app.command()
def show(config: ConfigOption = Path("federation.toml")) -> None:
    """Show whose CA it is, its fingerprint, and until when the certificates are valid."""
    trust = load_trust_files(config)
    ca, server = read_certificate(trust.tls.ca), read_certificate(trust.tls.certificate)
    typer.echo(f"CA of {federation_of(ca)}, valid until {ca.not_valid_after_utc:%Y-%m-%d}")
    typer.echo(f"fingerprint {fingerprint(ca)}: {six_words(fingerprint(ca))}")
    left = (server.not_valid_after_utc - datetime.now(UTC)).days
    typer.echo(f"server {', '.join(server_hosts(trust.tls.certificate))}: valid for {left} more days")


@app.command()
def rotate(
    config: ConfigOption = Path("federation.toml"),
    host: Annotated[list[str], typer.Option(help="Other names than until now; may be repeated.")] = [],  # noqa: B006
    ca_key: CaKeyOption = None,
) -> None:
    """Give the server a new key and certificate; the next `start` uses them, and sites notice nothing."""
    trust = load_trust_files(config)
    hosts = host or server_hosts(trust.tls.certificate)
    authority = open_authority(trust.tls.ca, ca_key or trust.ca_key)
    authority.certify_server(trust.tls.certificate, trust.tls.key, hosts=hosts)
    show(config)


def open_authority(ca: Path, key: Path) -> Authority:
    """Return the CA, after asking for the passphrase of its key if it has one.

    Raises:
        TrustError: the key can't be used.
    """
    secret = typer.prompt("passphrase of the CA's key", hide_input=True) if is_encrypted_key(key) else ""
    return Authority.load(ca, key, passphrase=secret.encode() or None)
