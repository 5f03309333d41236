"""`fed-server withdraw` and `check-withdrawal`: a site leaves, and has it in writing."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fed_common import signed_fact
from fed_common.errors import ConfigError, MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.names import site_name
from fed_common.pki.certificates import read_certificate
from fed_common.signing import VerifyingKey
from fed_common.withdrawal import ModelUsed, PatientWithdrawal, SiteWithdrawal
from fed_server.config import load_trust_files, runs_folder
from fed_server.registry.admission import Admissions
from fed_server.withdrawal.certificate import withdraw_site
from fed_server.withdrawal.usage import Use


def withdraw(
    site: Annotated[str, typer.Argument(help="The site that leaves.")],
    reason: Annotated[str, typer.Option(help="Why; it is in the register and in the certificate.")],
    out: Annotated[Path, typer.Option(help="A new file for the signed certificate.")],
    config: Annotated[Path, typer.Option(help="The federation's configuration.")] = Path("federation.toml"),
) -> None:
    """Let a site leave: it is asked nothing from now on, and the models that it is part of are named.

    No new run begins with it. Models without it can begin where it wasn't part of them yet.
    """
    trust, name = load_trust_files(config), site_name(site)
    if out.exists():
        raise ConfigError(f"{out}: is there already")
    admissions = Admissions(registry=trust.open_registry(), ca=read_certificate(trust.tls.ca))
    certificate, uses = withdraw_site(
        name, reason[:300], admissions=admissions, federation=trust.federation, runs=runs_folder(config)
    )
    write_atomically(out, signed_fact.sign(certificate, admissions.registry.key) + b"\n")
    typer.echo(f"{name} has left; the certificate is {out}")
    for use in uses:
        typer.echo(_told(use.model))
        typer.echo(f"  without it: {_advice(use, config)}")
    if not uses:
        typer.echo("no model is made of it")
    if name in trust.sites:
        typer.echo(f"before a new run begins, take {name} out of [[sites]] in {config}")


def check_withdrawal(
    certificate: Annotated[Path, typer.Argument(help="As `withdraw` wrote it, here or at a hospital.")],
    key: Annotated[Path, typer.Option(help="The coordinator's public key; of patients, their hospital's.")],
) -> None:
    """Check a certificate of withdrawal, and print what it certifies."""
    try:
        line = certificate.read_bytes().removesuffix(b"\n")
    except OSError as error:
        raise ConfigError(f"{certificate}: can't be read ({error.strerror})") from error
    signer = VerifyingKey.load(key)
    with suppress(TrustError, MalformedMessageError):
        of_site = signed_fact.verify(line, SiteWithdrawal, signer)
        typer.echo(f"signed: {of_site.site} left {of_site.federation}: {of_site.reason}")
        for model in of_site.models:
            typer.echo(_told(model))
        return
    of_patients = signed_fact.verify(line, PatientWithdrawal, signer)
    typer.echo(f"signed: {of_patients.patients} patients left {of_patients.site}")
    for run in of_patients.runs:
        typer.echo(f"{run} has learnt from them")


def _told(model: ModelUsed) -> str:
    how = (
        f"in {model.rounds} rounds, {model.first} to {model.last}"
        if model.rounds
        else "by its first parameters"
    )
    releases = ", ".join(map(str, model.releases))
    return f"{model.run} is made of it {how}; {f'released as {releases}' if releases else 'never released'}"


def _advice(use: Use, config: Path) -> str:
    if use.begun_from is not None:
        return f"see {use.begun_from}, with whose parameters it began"
    words = ["fed-server", "start", "--new-run", "--config", str(config)]
    return shlex.join([*words, "--from", str(use.before)] if use.before else words)
