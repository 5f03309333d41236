"""Shows a run of virtual sites: a bar with the time left and a line per judged model, or JSON lines."""

import json
from dataclasses import asdict
from typing import Protocol, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fed_sim.engine.opening import OpenRun
from fed_sim.engine.running import RoundDone


class Display(Protocol):
    """Shows a run; entered before the first round, and left after the last or when one fails."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *error: object) -> None:
        """Leave the terminal as it was."""
        ...

    def show(self, done: RoundDone) -> None:
        """Show a round that counts now."""
        ...

    def finish(self, opened: OpenRun, model: str, epsilon: float | None) -> None:
        """Show where the model is, and what was spent at the site that has spent most."""
        ...


class ConsoleDisplay:
    """For people."""

    def __init__(self, opened: OpenRun) -> None:
        scenario = opened.run.scenario
        virtual, rounds = scenario.virtual, scenario.training.rounds
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} rounds"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task(
            f"{virtual.sites_per_round} of {virtual.sites} sites", total=rounds, completed=opened.state.round
        )
        begun = f", goes on after round {opened.state.round}" if opened.state.round else ""
        protected = "private" if scenario.privacy else "NOT private, drawn images only"
        self._console.print(
            f"{opened.state.run}  {virtual.sites} sites of {virtual.images} images  {protected}{begun}"
        )

    def __enter__(self) -> Self:
        """Show the bar, where there is a terminal."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away; the lines stay."""
        self._progress.stop()

    def show(self, done: RoundDone) -> None:
        """Move the bar; print a line about a judged model."""
        self._progress.update(self._bar, completed=done.round)
        if (figures := done.figures) is not None:
            auc = figures.auc
            self._console.print(
                f"round {done.round}/{done.rounds}  {done.seconds:.1f} s  {done.sites} sites  "
                f"test AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]  loss {figures.loss:.3f}"
            )

    def finish(self, opened: OpenRun, model: str, epsilon: float | None) -> None:
        """Print where the model is."""
        privacy = opened.run.scenario.privacy
        if epsilon is not None and privacy is not None:
            spent = f"epsilon up to {epsilon:.2f} at delta {privacy.delta:g} per patient of a site"
            self._console.print(f"{spent}; ledgers: {opened.run.state_file.parent / 'sites'}")
        self._console.print(f"model: {model}", soft_wrap=True)


class JsonDisplay:
    """For machines: one JSON object a line."""

    def __enter__(self) -> Self:
        """Return the display; there is nothing to open."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave standard output as it is."""

    def show(self, done: RoundDone) -> None:
        """Print the round."""
        typer.echo(json.dumps({"event": "round", **asdict(done)}))

    def finish(self, opened: OpenRun, model: str, epsilon: float | None) -> None:
        """Print where the model is."""
        typer.echo(
            json.dumps({"event": "finished", "run": opened.state.run, "model": model, "epsilon": epsilon})
        )
