"""Runs a tiny comparison in a process of its own, which tells of every model and then waits to be killed."""

import sys
from pathlib import Path

from tests.client.dataset.folders import direct_reading

from fed_sim.data_table import DataTable
from fed_sim.experiments.cell import Cell, Measured
from fed_sim.experiments.grid import Study
from fed_sim.experiments.running import Source, run_studies
from fed_sim.experiments.tables import Changes, ComparisonTable
from fed_sim.partition.table import PartitionTable
from fed_sim.scenario import gallery

NOWHERE = Source(collections=Path(), open_reader=direct_reading)


def tiny_study() -> Study:
    """Return two phantom hospitals that train without privacy for one round, by two methods."""
    scenario = gallery("phantoms")
    tables = {
        "name": "tiny",
        "data": DataTable(sizes=(40, 40), test_patients=20),
        "partition": PartitionTable(sites=2),
        "comparison": ComparisonTable(epsilons=(), seeds=1),
        "training": scenario.training.model_copy(update={"rounds": 1, "steps_per_round": 1}),
    }
    methods: dict[str, Changes] = {"fast": {}, "slow": {"training": {"learning_rate": 1.0}}}
    return Study.of(scenario.model_copy(update=tables), methods)


class Lines:
    """Says which cell is done, and waits after each that was trained."""

    def expect(self, cells: int) -> None:
        print(f"cells {cells}", flush=True)

    def done(self, cell: Cell, measured: Measured | None) -> None:
        print(f"{'kept' if measured is None else 'trained'} {cell}", flush=True)
        sys.stdin.readline()  # which never comes


if __name__ == "__main__":
    run_studies([tiny_study()], Path(sys.argv[1]), source=NOWHERE, watch=Lines())
