"""A comparison that was killed goes on: what was trained stays to the bit, and is never trained again."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.sim.experiments.comparing import NOWHERE, tiny_study

from fed_common.errors import ConfigError, MachineError
from fed_common.files import exclusive
from fed_sim.experiments.cell import Cell, Measured
from fed_sim.experiments.running import STORE_FILE, run_studies
from fed_sim.experiments.store import Store


class Told:
    """Remembers which cells were trained, and which had been before."""

    def __init__(self) -> None:
        self.expected = 0
        self.trained: list[Cell] = []
        self.kept: list[Cell] = []

    def expect(self, cells: int) -> None:
        self.expected = cells

    def done(self, cell: Cell, measured: Measured | None) -> None:
        (self.kept if measured is None else self.trained).append(cell)


def rows(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / STORE_FILE)) as connection:
        return connection.execute("SELECT * FROM cells ORDER BY rowid").fetchall()


def test_it_goes_on_after_a_kill_and_trains_nothing_twice(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sim.experiments.comparing", tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGKILL)
    assert lines[0] == "cells 5\n"
    assert lines[1].startswith("trained tiny, seed 1: pooled")
    before = rows(tmp_path)
    (tmp_path / "tiny/seed-1/training/runs").mkdir(parents=True)  # as a kill in the middle of one leaves it

    told = Told()
    run_studies([tiny_study()], tmp_path, source=NOWHERE, watch=told)

    assert (told.expected, len(told.kept), len(told.trained)) == (5, 1, 4)
    assert len(before) == 1 and rows(tmp_path)[:1] == before
    with Store.opened(tmp_path / STORE_FILE) as store:
        places = {one.cell.method: {scores.where for scores in one.scores} for one in store}
    assert places["fast"] == places["slow"] == {"public test", "hospital-1", "hospital-2"}


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path, owner="fed-sim"), pytest.raises(MachineError, match="another fed-sim"):
        run_studies([tiny_study()], tmp_path, source=NOWHERE, watch=Told())


class Interrupted(Told):
    """Ends the comparison when its hospitals are made, and nothing is founded on them."""

    def expect(self, cells: int) -> None:
        raise KeyboardInterrupt


def test_hospitals_on_which_nothing_was_founded_serve_only_what_they_were_made_for(tmp_path: Path) -> None:
    study = tiny_study()
    data = study.scenario.data.model_copy(update={"sizes": (50, 50)})
    other = replace(study, scenario=study.scenario.model_copy(update={"data": data}))
    with pytest.raises(KeyboardInterrupt):
        run_studies([study], tmp_path, source=NOWHERE, watch=Interrupted())

    with pytest.raises(ConfigError, match="hospitals of other data"):
        run_studies([other], tmp_path, source=NOWHERE, watch=Told())
    with pytest.raises(KeyboardInterrupt):
        run_studies([study], tmp_path, source=NOWHERE, watch=Interrupted())
