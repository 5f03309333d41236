"""`fed-client ledger plan`: what a proposed run would cost this site, on top of what its ledger has spent."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fed_client.config import read_site_config
from fed_client.opening import ACCOUNTANTS
from fed_client.privacy_statement import state_privacy
from fed_common.budget import MANY
from fed_common.ledger_record import LedgerRecord, weakest
from fed_common.planning import Cost, Outlook, cost_of, outlook
from fed_common.proposal import load_proposal


def plan(
    federation: Annotated[Path, typer.Argument(help="The federation.toml that the coordinator proposes.")],
    config: Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")] = Path(
        "site.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show what a proposed run would cost and leave of the budget; nothing is charged."""
    settings = read_site_config(config)
    record = LedgerRecord.read(settings.ledger, settings.signing_key.verifying_key)
    proposal, _ = load_proposal(federation)
    noise = proposal.noise_multiplier()
    budget = settings.policy.budget(ACCOUNTANTS)
    cost = cost_of(proposal, noise, budget)
    left = outlook(proposal, noise, budget, record.spends)
    if as_json:
        stated = asdict(state_privacy(record, settings.policy, ACCOUNTANTS))
        found = {"cost": asdict(cost), "outlook": asdict(left) | {"fits": left.fits}, "privacy": stated}
        typer.echo(json.dumps(found, indent=1))
        return
    names = ", ".join(accountant.name for accountant in ACCOUNTANTS)
    unit = weakest((record.unit, settings.terms.unit))
    title = f"Epsilon at delta {cost.delta:g} per {unit}, against everybody; max of {names}"
    table = Table(title=title, title_justify="left", show_header=False)
    for row in (*cost_rows(cost), *outlook_rows(left)):
        table.add_row(*row)
    Console().print(table)


def cost_rows(cost: Cost) -> list[tuple[str, str]]:
    """Return the lines about a run by itself."""
    statistics = cost.statistics_epsilon
    return [
        ("noise multiplier, the same in every step", f"{cost.noise_multiplier:.3f}"),
        ("steps, each with this share of the patients", f"{cost.steps}, {cost.sampling_rate:g}"),
        ("epsilon of the training alone", f"{cost.training_epsilon:.3f}"),
        (f"epsilon of {cost.evaluations} evaluations alone", f"{cost.evaluations_epsilon:.3f}"),
        *([] if statistics is None else [("epsilon of the statistics alone", f"{statistics:.3f}")]),
        ("epsilon of the whole run", f"{cost.epsilon:.3f}"),
    ]


def outlook_rows(left: Outlook) -> list[tuple[str, str]]:
    """Return the lines about a budget before and after a run."""
    verdict = "fits" if left.fits else "does not fit: rounds beyond the budget would be refused"
    return [
        ("budget, and epsilon spent of it before", f"{left.budget:g}, {left.spent:.3f}"),
        ("epsilon after the run", f"{left.afterwards:.3f}: {verdict}"),
        ("such runs that the budget affords from now", _many(left.runs)),
        ("such rounds that it affords from now; after the run", _both(left.rounds, left.rounds_afterwards)),
    ]


def _both(now: int, afterwards: int) -> str:
    return f"{_many(now)}; {_many(afterwards)}"


def _many(times: int) -> str:
    return f"at least {times}" if times == MANY else str(times)
