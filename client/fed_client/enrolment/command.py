"""`fed-client enroll`: makes the hospital's keys and brings home its certificate."""

from pathlib import Path
from typing import Annotated

import typer

from fed_client.enrolment.joining import Joining
from fed_common.errors import ConfigError
from fed_common.pki.invitation import Invitation
from fed_common.pki.key_folder import KeyFolder
from fed_common.signing import VerifyingKey


def enroll(
    line: Annotated[
        str, typer.Argument(help="The line from `fed-server invite`; asked for if missing.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The folder of the site's keys.")] = Path("keys"),
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase that protects the private keys.")
    ] = False,
    invitation: Annotated[
        Path | None, typer.Option(help="Offline: the file from `fed-server invite --out`.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Offline: the file from `fed-server approve --out`.")
    ] = None,
    patience_s: Annotated[float, typer.Option(help="How long to wait for the approval.")] = 3600.0,
) -> None:
    """Make this hospital's keys, which never leave it, and have them certified by the coordinator.

    Read the six words to the coordinator over the phone. Interrupted, the same command goes on.
    """
    if invitation is not None and certificate is not None:
        raise ConfigError("--invitation makes the request, --certificate takes the answer: one at a time")
    again = invitation is None and certificate is None
    secret = typer.prompt("passphrase", hide_input=True, confirmation_prompt=again) if passphrase else ""
    keys = KeyFolder(path=out, passphrase=secret.encode() or None)
    joining = Joining(keys=keys, tell=typer.echo)
    if invitation is not None:
        typer.echo(f"to bring to the coordinator: {joining.request_offline(invitation)}")
        return
    if certificate is not None:
        admitted = joining.accept_offline(certificate)
    else:
        invited = Invitation.parse(line or typer.prompt("invitation"))
        admitted = joining.online(invited, patience_s=patience_s)
    digits = VerifyingKey.load(out / "identity.pub").spoken
    typer.echo(f"for policy.peers of the other hospitals, over the phone: {digits}")
    typer.echo(f"{out}: enrolled; the certificate is valid until {admitted.not_valid_after_utc:%Y-%m-%d}")
