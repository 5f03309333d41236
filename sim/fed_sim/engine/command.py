"""`fed-sim virtual`: thousands of virtual sites, from a scenario to a model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from fed_common.checkpoint import encode_model
from fed_common.files import write_atomically
from fed_sim.engine.opening import SPEC, opened_run
from fed_sim.engine.participation import rounds_of_sites
from fed_sim.engine.progress import ConsoleDisplay, JsonDisplay
from fed_sim.engine.scenario import load_virtual


def virtual(
    scenario: Annotated[Path, typer.Argument(help="scenario.toml, or the name of one in the gallery.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("virtual"),
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that train; as many as cores. 0: this process.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for machines.")] = False,
) -> None:
    """Run thousands of virtual sites with drawn images; called again, it goes on where it was killed."""
    terms = load_virtual(scenario)
    cores = len(os.sched_getaffinity(0))
    with opened_run(terms, out, workers=cores if workers is None else workers) as opened:
        with JsonDisplay() if json else ConsoleDisplay(opened) as display:
            state = opened.run.go_on(opened.state, tell=display.show)
        model = out / "model.safetensors"
        write_atomically(model, encode_model(state.weights.model_P, SPEC))
        trained = rounds_of_sites(terms.virtual, rounds=terms.training.rounds)
        epsilon = opened.ledgers.largest_epsilon(trained) if opened.ledgers else None
        display.finish(opened, str(model), epsilon)
