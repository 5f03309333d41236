"""`fed-sim compare`, `sweep` and `report`: whole grids of federations, a bar with the time left, one page."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fed_common.config import checked
from fed_common.errors import ConfigError
from fed_sim.experiments.cell import PUBLIC, Cell, Measured
from fed_sim.experiments.changes import swept
from fed_sim.experiments.grid import Study
from fed_sim.experiments.report import write_comparison
from fed_sim.experiments.running import Source, run_studies
from fed_sim.experiments.tables import Changes, ComparisonTable
from fed_sim.scenario import Scenario, named_scenario

ScenariosArgument = Annotated[
    list[Path], typer.Argument(help="scenario.toml files, or names of the gallery.")
]
OutOption = Annotated[Path, typer.Option(help="A folder for the results; named again, it goes on.")]
DataOption = Annotated[Path, typer.Option(help="The folder of the public collections.")]
HospitalsOption = Annotated[
    Path | None, typer.Option(help="Hospitals made before, instead of the scenario's data and partition.")
]
EpsilonOption = Annotated[
    list[float] | None, typer.Option(help="A budget instead of the scenario's; may be repeated.")
]
SeedsOption = Annotated[int | None, typer.Option(min=1, help="How often patients are dealt out.")]


def compare(
    scenarios: ScenariosArgument,
    out: OutOption = Path("comparison"),
    data: DataOption = Path("data"),
    hospitals: HospitalsOption = None,
    epsilon: EpsilonOption = None,
    seeds: SeedsOption = None,
) -> None:
    """Train alone, together by each method, and pooled, at each budget; ends with a report.

    What is compared is in the scenario's table `comparison`.
    """
    studies = [Study.of(_scenario(name, epsilon=epsilon, seeds=seeds)) for name in scenarios]
    _run(studies, out, source=Source(collections=data, hospitals=hospitals))


def sweep(
    scenario: Annotated[Path, typer.Argument(help="scenario.toml, or the name of one in the gallery.")],
    settings: Annotated[
        list[str], typer.Option("--set", help="key=value,value... of the scenario; all combinations are run.")
    ],
    out: OutOption = Path("sweep"),
    data: DataOption = Path("data"),
    hospitals: HospitalsOption = None,
    epsilon: EpsilonOption = None,
    seeds: SeedsOption = None,
) -> None:
    """Train together with every combination of some settings, beside alone and pooled; ends with a report."""
    methods: Mapping[str, Changes] = swept(settings)
    study = Study.of(_scenario(scenario, epsilon=epsilon, seeds=seeds), methods)
    _run([study], out, source=Source(collections=data, hospitals=hospitals))


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a comparison or sweep, finished or not.")],
) -> None:
    """Write the report of a comparison or sweep anew, of what was trained so far."""
    typer.echo(f"report: {write_comparison(folder)}")


def _scenario(name: Path, *, epsilon: Sequence[float] | None, seeds: int | None) -> Scenario:
    scenario = named_scenario(name)
    given: dict[str, object] = {}
    if epsilon:
        given |= {"epsilons": list(epsilon)}
    if seeds is not None:
        given |= {"seeds": seeds}
    table = scenario.comparison.model_dump() | given
    comparison = checked(table, ComparisonTable, source="comparison")
    return scenario.model_copy(update={"comparison": comparison})


def _run(studies: Sequence[Study], out: Path, *, source: Source) -> None:
    names = [study.scenario.name for study in studies]
    if len(set(names)) != len(names):
        raise ConfigError(f"scenarios must have different names, got {', '.join(names)}")
    for package in ("fed_client", "fed_server"):
        logging.getLogger(package).setLevel(logging.WARNING)  # hundreds of runs tell what one tells
    with _Bar() as bar:
        run_studies(studies, out, source=source, watch=bar)
    typer.echo(f"report: {write_comparison(out)}")


class _Bar:
    """A line for each trained model, and below them how far it is and how long it takes."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("models", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, cells: int) -> None:
        """Make the bar so long."""
        self._progress.update(self._task, total=cells)

    def done(self, cell: Cell, measured: Measured | None) -> None:
        """Move the bar, and tell of what was trained now."""
        self._progress.advance(self._task)
        if measured is not None and (scores := measured.at(PUBLIC)) is not None:
            right = scores.right_M.mean()
            self._progress.console.print(f"{cell}: accuracy {right:.3f} in {measured.seconds:.0f} s")
