"""`fed-sim bench simulate`: many sites on one machine, against other simulators and plain loops."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fed_common.files import write_atomically
from fed_sim.bench.simulate.measure import CASES, WAYS, Measured, measure
from fed_sim.bench.simulate.verdicts import Verdict, verdicts


def simulate(
    most_sites: Annotated[int, typer.Option(min=10, help="Leaves out the cases of more sites.")] = 1000,
    peer_python: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="An interpreter with peers that this one can't have."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures there, as JSON.")
    ] = None,
) -> None:
    """Train 10, 100 and 1,000 virtual sites, against Flower, BlazeFL, pfl, Opacus and plain loops."""
    cases = [case for case in CASES if case.sites <= most_sites]
    pythons = [sys.executable, *map(str, peer_python or ())]
    rows = []
    for row in measure(cases, WAYS, pythons=pythons):
        rows.append(row)
        typer.echo(_line(row), err=True)
    found = list(verdicts(rows))
    Console().print(_table(rows, found))
    if json_file is not None:
        figures = {
            "rows": [asdict(row) for row in rows],
            "verdicts": [asdict(verdict) | {"met": verdict.met} for verdict in found],
        }
        write_atomically(json_file, json.dumps(figures, indent=1).encode() + b"\n")


def _line(row: Measured) -> str:
    figures = row.absent or f"{row.site_ms:.1f} ms, start {row.start_s:.1f} s, {row.peak_mb:.0f} MB"
    return f"{row.way}, {row.training} of {row.sites}: {figures}"


def _table(rows: list[Measured], found: list[Verdict]) -> Table:
    table = Table(title="64 images a site, batches of 32, one pass: ms of a site and round on this machine")
    for heading in ("", "training", "ms", "CPU ms", "start and round 1, s", "MB at most"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        figures = (f"{figure:.1f}" for figure in (row.site_ms, row.site_cpu_ms, row.start_s))
        cells = [row.absent] if row.absent else [*figures, f"{row.peak_mb:.0f}"]
        table.add_row(row.way, f"{row.training} of {row.sites}", *cells)
    table.add_section()
    for verdict in found:
        bound = f">= {verdict.at_least:g}" if verdict.at_least is not None else f"<= {verdict.at_most:g}"
        table.add_row(
            verdict.promise, bound, f"{verdict.found:.2f}", "", "", "met" if verdict.met else "missed"
        )
    return table
