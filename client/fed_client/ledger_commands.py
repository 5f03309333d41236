"""`fed-client ledger`: what the budget went to, whether the record of it holds, and a copy for auditors."""

import json
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fed_client.config import SiteConfig, load_site_config, read_site_config
from fed_client.countersignature import countersignature_of
from fed_client.ledger_export import export_ledger, verify_export
from fed_client.ledger_plan import plan
from fed_client.officer_succession import told
from fed_client.opening import ACCOUNTANTS
from fed_client.policy_commands import officer_key
from fed_client.privacy_statement import state_privacy
from fed_client.spending import RunSpending, spending_by_run
from fed_client.withdrawal.withdrawn import sign_anew
from fed_common.accounting import Spend
from fed_common.errors import ConfigError, LedgerError, PrivacyError
from fed_common.files import write_atomically
from fed_common.ledger import read_witness, refuse_older_than_witness
from fed_common.ledger_record import LedgerHead, LedgerOpening, LedgerRecord, read_lines
from fed_common.ledger_reset import reset_ledger, sign_reset
from fed_common.messages import PrivacyStatement
from fed_common.names import Digest
from fed_common.signing import VerifyingKey

app = typer.Typer(
    name="ledger",
    help="Show what the privacy budget went to, check the record of it, and hand a copy to auditors.",
    no_args_is_help=True,
)

app.command()(plan)

ConfigOption = Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def show(config: ConfigOption = Path("site.toml"), as_json: JsonOption = False) -> None:
    """Show what the budget went to: every run over every version of the data, and what is left."""
    settings = read_site_config(config)
    record = _record(settings)
    runs = list(spending_by_run(record.events, settings.policy.delta, ACCOUNTANTS))
    stated = state_privacy(record, settings.policy, ACCOUNTANTS)
    if as_json:
        found = {"site": settings.name, "budget": settings.policy.epsilon, "privacy": asdict(stated)}
        opening = asdict(record.opening) if record.opening else None
        changes = list(map(asdict, record.changes))
        found |= {"opening": opening, "officers": changes, "runs": list(map(asdict, runs))}
        typer.echo(json.dumps(found, indent=1))
        return
    _tell_officers_words(record)
    Console().print(_table(runs, title=f"Privacy ledger of {settings.name}: {len(record.events)} releases"))
    typer.echo(_total(stated, settings.policy.epsilon))


@app.command()
def verify(
    exported: Annotated[
        Path | None, typer.Argument(help="A file of `ledger export`; without it, this site's own ledger.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The site's public key, identity.pub; needed for an export only.")
    ] = None,
    config: ConfigOption = Path("site.toml"),
) -> None:
    """Check every line, the chain, the signatures and what was witnessed; ends with 4 if one doesn't hold."""
    if exported is not None:
        if key is None:
            raise ConfigError("an export is verified with --key, the site's public key")
        _verify_exported(exported, VerifyingKey.load(key))
        return
    settings = read_site_config(config)
    record = _record(settings)
    refuse_older_than_witness(record, settings.witness)
    countersignature = countersignature_of(settings)
    countersignature.refuse_older(record)
    typer.echo(f"{record.head.events} lines: signatures and chain are right; head {record.head.digest}")
    typer.echo(f"witness {settings.witness}: nothing that it has seen is missing")
    if (head := countersignature.head()) is not None:
        typer.echo(f"countersigned by the coordinator: {head.events} lines, head {head.digest[:12]}")
    if record.fragment:
        typer.echo("the last line is torn; at the next start it counts as the costliest round")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("ledger-export.json"),
    config: ConfigOption = Path("site.toml"),
) -> None:
    """Write a copy that an auditor can verify with the site's public key alone; it names no patient."""
    settings = read_site_config(config)
    lines, _ = read_lines(settings.ledger)
    raw = export_ledger(
        lines,
        site=settings.name,
        key=settings.signing_key,
        policy=settings.policy,
        accountants=ACCOUNTANTS,
    )
    write_atomically(out, raw)
    typer.echo(
        f"{out}: {len(lines)} lines; check it with `fed-client ledger verify {out} --key identity.pub`"
    )


@app.command()
def reset(
    key: Annotated[Path, typer.Option(help="The privacy officer's private key.")],
    reason: Annotated[str, typer.Option(help="Why a new budget begins; the whole consortium reads it.")],
    head: Annotated[
        str,
        typer.Option(
            help="LINES:DIGEST of the ledger that is replaced, as `fed-server status` shows it; "
            "needed if its witness is gone."
        ),
    ] = "",
    former_identity: Annotated[
        Path | None,
        typer.Option(help="If the site has a new key: its public key before, which signed who withdrew."),
    ] = None,
    config: ConfigOption = Path("site.toml"),
) -> None:
    """Begin a new budget in place of a ledger that was lost or is used up; only the privacy officer can.

    The coordinator accepts it if it names the head that it has seen last; every answer then tells of it.
    """
    settings = load_site_config(config)
    officer = officer_key(key)
    if VerifyingKey.load(settings.officer).fingerprint != officer.verifying_key.fingerprint:
        raise PrivacyError(f"the key is not the one of {settings.officer}, which site.toml names")
    replaces = _head(head) if head else _last_known(settings)
    former = VerifyingKey.load(former_identity) if former_identity else None
    opening = sign_reset(officer, site=settings.name, replaces=replaces, reason=reason)
    key_of_site = settings.signing_key
    if former is not None:  # first: with the wrong one, no budget must have begun
        withdrawn = sign_anew(settings.state, former=former, key=key_of_site)
        typer.echo(f"the list of the {withdrawn} patients who withdrew is signed with the new key")
    countersignature_of(settings).forget()  # before the ledger: kept, it would refuse it after a crash
    reset_ledger(settings.ledger, opening, witness=settings.witness, key=key_of_site)
    typer.echo(_reset(opening))


def _head(text: str) -> LedgerHead:
    if not (match := re.fullmatch(r"([0-9]{1,9}):([0-9a-f]{64})", text)):
        raise ConfigError(f"--head is LINES:DIGEST with 64 hexadecimal digits, got {text[:80]!r}")
    return LedgerHead(events=int(match[1]), digest=Digest(match[2]))


def _last_known(settings: SiteConfig) -> LedgerHead:
    """Return the newer one of the heads that witness and coordinator have seen."""
    seen = [read_witness(settings.witness), countersignature_of(settings).head()]
    known = [head for head in seen if head is not None]
    if not known:
        raise LedgerError(f"{settings.witness}: no witness is left; name the --head that the coordinator saw")
    return max(known, key=lambda head: head.events)


def _verify_exported(path: Path, key: VerifyingKey) -> None:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    verified = verify_export(raw, key, ACCOUNTANTS)
    export = verified.export
    written = time.strftime("%Y-%m-%d", time.gmtime(export.exported))
    typer.echo(
        f"{export.site}, exported {written}: {len(export.lines)} lines, signatures and chain are right"
    )
    _tell_officers_words(verified.record)
    typer.echo(_total(export.privacy, export.budget))


def _tell_officers_words(record: LedgerRecord) -> None:
    if record.opening is not None:
        typer.echo(_reset(record.opening))
    for change in record.changes:
        typer.echo(told(change))


def _record(settings: SiteConfig) -> LedgerRecord:
    return LedgerRecord.read(settings.ledger, settings.signing_key.verifying_key)


def _table(runs: list[RunSpending], *, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("data set", "run", "release", "rounds", "releases", "mechanism", "epsilon after"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "release")
    for spent in runs:
        for place, made in enumerate(spent.releases):
            first, last = made.rounds
            table.add_row(
                *((spent.dataset[:8], escape(spent.run)) if place == 0 else ("", "")),
                made.kind,
                f"{first}-{last}" if last > first else str(first),
                str(made.releases),
                "\n".join(map(_mechanism, made.mechanisms)),
                f"{spent.epsilon_after:.3f}" if place == len(spent.releases) - 1 else "",
            )
    return table


def _mechanism(spend: Spend) -> str:
    told = f"noise {spend.noise_multiplier:g}, rate {spend.sampling_rate:g}, {spend.steps} steps"
    return told if spend.draws_per_patient == 1 else f"{told}, {spend.draws_per_patient} draws per patient"


def _reset(opening: LedgerOpening) -> str:
    reset = opening.opened.reset
    day = time.strftime("%Y-%m-%d", time.gmtime(reset.time))
    return (
        f"Reset on {day} by the privacy officer {opening.officer[:16]}, in place of a ledger of "
        f"{reset.replaces.events} lines ({reset.replaces.digest[:12]}): {reset.reason}"
    )


def _total(stated: PrivacyStatement, budget: float) -> str:
    return (
        f"Spent: epsilon {stated.epsilon:.3f} of {budget:g} at delta {stated.delta:g} "
        f"after {stated.releases} releases. Unit: {stated.unit}. Adversary: {stated.adversary}. "
        f"Sampling: {stated.sampling}. Accountant: {stated.accountant}. Ledger: {stated.ledger.digest[:12]}."
    )
