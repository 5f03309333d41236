"""`fed-client policy`: the privacy officer's key, and the signature without which a site does not start."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fed_client import officer_succession
from fed_client.config import SiteConfig, read_site_config
from fed_client.officer_register import Place, enter, pass_on
from fed_client.signed_policy import sign_policy
from fed_common.errors import ConfigError, MachineError, PrivacyError
from fed_common.key_files import write_officer_keys
from fed_common.ledger_record import LedgerRecord
from fed_common.signing import SigningKey, VerifyingKey, is_encrypted_key

app = typer.Typer(
    name="policy",
    help="Make the privacy officer's key, and sign with it what site.toml allows.",
    no_args_is_help=True,
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")]
KeyOption = Annotated[Path, typer.Option(help="The privacy officer's private key.")]


@app.command()
def keys(
    out: Annotated[Path, typer.Option(help="Where the keys are written.")] = Path("officer"),
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase that protects the key.")
    ] = False,
) -> None:
    """Make the privacy officer's keys; officer.key belongs where the site's IT can't read it."""
    secret = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True) if passphrase else ""
    try:
        write_officer_keys(out, passphrase=secret.encode() or None)
    except FileExistsError as error:
        raise ConfigError(f"{out}: holds keys already; a key is never overwritten") from error
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error
    typer.echo(f"{out}: keys made; site.toml names officer.pub, and the coordinator gets a copy of it")


@app.command()
def sign(key: KeyOption, config: ConfigOption = Path("site.toml")) -> None:
    """Sign what site.toml allows and about which patients, after reading it; prints what was signed.

    Every change of it needs another signature; the budget stays that of the ledger.
    """
    settings = sign_site_file(config, key)
    typer.echo(json.dumps(asdict(settings.terms), indent=1))
    typer.echo(f"signed: {settings.signature}")


@app.command()
def hand_over(
    to: Annotated[Path, typer.Option(help="The new officer's public key, officer.pub.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger and its exports show it.")],
    key: Annotated[Path | None, typer.Option(help="The private key of the officer before.")] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="That key is lost: the ledger says so for ever.")
    ] = False,
    config: ConfigOption = Path("site.toml"),
) -> None:
    """Put another privacy officer in the place of this one; the daemon must be stopped.

    site.toml then names the new key, with which the new officer signs.
    """
    if (key is None) != lost:
        raise ConfigError("either --key, that of the officer before, or --lost")
    settings, successor = read_site_config(config), VerifyingKey.load(to)
    officer_succession.hand_over(settings, successor, by=officer_key(key) if key else None, reason=reason)
    if key is not None:
        pass_on(key.with_suffix(".register"), to.with_suffix(".register"))
        typer.echo(f"{to.with_suffix('.register')}: goes beside the new officer's key")
    typer.echo(
        f"the officer is {successor.fingerprint[:16]}: name {to} in site.toml, have it signed with "
        "`fed-client policy sign`, and give the coordinator a copy"
    )


def sign_site_file(config: Path, key: Path) -> SiteConfig:
    """Sign what a site.toml allows, unless its patients have their budget elsewhere.

    Raises:
        PrivacyError: they have, or the key isn't the officer's that site.toml names.
    """
    settings, officer = read_site_config(config), officer_key(key)
    if VerifyingKey.load(settings.officer).fingerprint != officer.verifying_key.fingerprint:
        raise PrivacyError(f"the key is not the one of {settings.officer}, which site.toml names")
    record = LedgerRecord.read(settings.ledger, settings.signing_key.verifying_key)
    place = Place(
        site=settings.name,
        images=str(settings.source.images.resolve()),
        ledger=str(settings.ledger.resolve()),
        head=record.head,
    )
    enter(key.with_suffix(".register"), place, record)
    sign_policy(settings.terms, officer, settings.signature)
    return settings


def officer_key(path: Path) -> SigningKey:
    """Return the officer's key, after asking for its passphrase if it has one.

    Raises:
        TrustError: it can't be used.
    """
    secret = typer.prompt("passphrase", hide_input=True) if is_encrypted_key(path) else ""
    return SigningKey.load(path, passphrase=secret.encode() or None)
