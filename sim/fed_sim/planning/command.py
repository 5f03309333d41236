"""`fed-sim plan` and `fed-sim forecast`: tables for people, JSON for machines."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fed_client.ledger_plan import cost_rows, outlook_rows
from fed_common.adversaries import Claim
from fed_common.config import ConfigTable
from fed_common.errors import ConfigError
from fed_common.proposal import Proposal, StatisticsTable, load_proposal
from fed_sim.phantoms import usual_sizes, write_phantoms
from fed_sim.planning.forecast import Cell, forecast_auc
from fed_sim.planning.plan import Plan, make_plan
from fed_sim.scenario import named_scenario, scenario_file

Changed = TypeVar("Changed", bound=ConfigTable)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def plan(
    source: Annotated[
        Path, typer.Argument(help="federation.toml, scenario.toml, or the name of one in the gallery.")
    ] = Path("phantoms"),
    patients: Annotated[
        list[int] | None, typer.Option(help="A site's number of patients; repeat it for each.", min=1)
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Of the whole run, per patient.")] = None,
    delta: Annotated[float | None, typer.Option(help="Of the run and of the budget.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="Private steps in a round.")] = None,
    sampling_rate: Annotated[float | None, typer.Option(help="A patient's chance to be in a step.")] = None,
    noise: Annotated[float | None, typer.Option(help="The noise multiplier, instead of by epsilon.")] = None,
    images: Annotated[int | None, typer.Option(help="Most images of a patient in a step.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Rounds between evaluations.")] = None,
    evaluation_noise: Annotated[float | None, typer.Option(help="Of the counts, in patients.")] = None,
    statistics_noise: Annotated[float | None, typer.Option(help="Of statistics before round 1.")] = None,
    budget: Annotated[float | None, typer.Option(help="A site's epsilon over all runs.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would cost, against whom it protects, and what it leaves of each site's budget."""
    proposed, sizes = load_proposal(scenario_file(source))
    statistics = proposed.statistics
    if statistics_noise is not None:
        statistics = _changed(statistics or StatisticsTable(), noise_multiplier=statistics_noise)
    proposal = Proposal(
        schedule=_changed(proposed.schedule, rounds=rounds, steps_per_round=steps),
        privacy=_changed(
            proposed.privacy,
            epsilon=epsilon,
            delta=delta,
            sampling_rate=sampling_rate,
            noise_multiplier=noise,
            max_images_per_patient=images,
        ),
        evaluation=_changed(proposed.evaluation, every=evaluate_every, noise_multiplier=evaluation_noise),
        statistics=statistics,
        personal=proposed.personal,
        algorithm=proposed.algorithm,
    )
    if patients or not sizes:
        sizes = {f"site-{n}": size for n, size in enumerate(patients or usual_sizes(3), start=1)}
    made = make_plan(proposal, sizes, budget=budget if budget is not None else proposal.privacy.epsilon)
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"fits": made.outlook.fits}, indent=1))
    else:
        Console().print(_table(made), _sites(made))


def forecast(
    scenario: Annotated[
        Path, typer.Argument(help="scenario.toml, or the name of one in the gallery.")
    ] = Path("phantoms"),
    hospitals: Annotated[
        Path | None, typer.Option(help="Hospitals made before; phantoms are drawn where none are named.")
    ] = None,
    epsilon: Annotated[list[float] | None, typer.Option(help="Of a run; repeat it for each row.")] = None,
    rounds: Annotated[list[int] | None, typer.Option(help="Of a run; repeat it for each column.")] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each kind.", min=2)] = 3,
    as_json: JsonOption = False,
) -> None:
    """Show the AUC to expect by epsilon and rounds, from whole simulated runs on public images."""
    terms = named_scenario(scenario)
    kinds = [(e, r) for e in epsilon or [1.0, 8.0] for r in rounds or [terms.training.rounds]]
    with TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("runs", total=len(kinds) * repeats)
        if hospitals is None:
            hospitals = Path(folder) / "hospitals"
            write_phantoms(hospitals, sites=3, seed=1)
        cells = forecast_auc(
            hospitals,
            terms,
            kinds=kinds,
            repeats=repeats,
            folder=Path(folder),
            on_run=lambda: progress.advance(bar),
        )
    if as_json:
        typer.echo(json.dumps([asdict(cell) for cell in cells], indent=1))
    else:
        Console().print(_forecast(cells, delta=terms.privacy.delta))


def _changed(table: Changed, **values: float | None) -> Changed:
    """Return the table with the values that aren't None, checked anew."""
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return type(table).model_validate(table.model_dump() | given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ConfigError(f"{problem['loc'][0]}: {problem['msg']}, got {problem['input']}") from error


def _table(made: Plan) -> Table:
    names = ", ".join(made.accountants)
    title = f"Epsilon at delta {made.cost.delta:g} per patient; max of {names}"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in (*cost_rows(made.cost), *outlook_rows(made.outlook)):
        table.add_row(*row)
    for claim in made.claims_if_masked:
        table.add_row(f"epsilon against {claim.adversary}", f"{claim.epsilon:.3f}{_condition(claim, made)}")
    if len(made.claims_if_masked) == 1:
        table.add_row(
            "epsilon against the coordinator alone",
            "the same: less only with masks, from three sites and with one step per round",
        )
    table.add_row(
        f"were images drawn singly: epsilon of a patient of {made.max_images_per_patient}",
        f"{made.drawn_singly:.3f}",
    )
    return table


def _condition(claim: Claim, made: Plan) -> str:
    return "" if claim is made.claims_if_masked[0] else ", with masked sums it would be"


def _sites(made: Plan) -> Table:
    table = Table(title="Sites", title_justify="left")
    for heading in ("site", "patients", "divisor of its sums", "delta at most"):
        table.add_column(heading, justify="left" if heading == "site" else "right")
    for site in made.sites:
        too_much = "" if made.cost.delta <= site.largest_delta else ": the run's is larger"
        delta = f"{site.largest_delta:.2g}{too_much}"
        table.add_row(site.name, str(site.patients), f"{site.divisor:g}", delta)
    return table


def _forecast(cells: list[Cell], *, delta: float) -> Table:
    title = (
        f"AUC on the public test set, mean of the runs with its 95 % interval, at delta {delta:g} per patient"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("epsilon at most", "rounds", "noise", "AUC", "95 % interval", "each run"):
        table.add_column(heading, justify="right", overflow="fold")
    for cell in cells:
        auc = cell.auc
        table.add_row(
            f"{cell.epsilon:g}",
            str(cell.rounds),
            f"{cell.noise_multiplier:.3f}",
            f"{auc.value:.3f}",
            f"{auc.low:.3f}-{auc.high:.3f}",
            ", ".join(f"{value:.3f}" for value in cell.runs),
        )
    return table
