"""Small runs of virtual sites, to be compared, interrupted and killed."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fed_common.names import RunId
from fed_sim.engine.engine import Engine
from fed_sim.engine.opening import opened_run
from fed_sim.engine.running import Charge, RoundDone
from fed_sim.engine.scenario import VirtualScenario
from fed_sim.engine.state import RunState

VIRTUAL = {"sites": 6, "images": 5, "fraction": 0.5, "judge_every": 2, "test_images": 20}
TRAINING = {"rounds": 3, "steps_per_round": 2, "learning_rate": 0.1}
UNPROTECTED = VirtualScenario.model_validate(
    {"name": "plain", "virtual": VIRTUAL, "training": TRAINING, "unprotected": {"batch_size": 3}}
)
PRIVATE = VirtualScenario.model_validate(
    {
        "name": "private",
        "virtual": VIRTUAL,
        "training": TRAINING,
        "privacy": {"epsilon": 8.0, "sampling_rate": 0.5, "clip_norm": 0.15},
    }
)

Moment = Literal["charged", "trained", "counted"]


def whole_run(scenario: VirtualScenario, folder: Path, *, workers: int = 0) -> RunState:
    """Run or go on until the last round."""
    with opened_run(scenario, folder, workers=workers) as opened:
        return opened.run.go_on(opened.state, tell=lambda done: None)


def killed_run(scenario: VirtualScenario, folder: Path, *, number: int, moment: Moment) -> None:
    """Run in another process that is killed with SIGKILL at that moment of round `number`."""
    process = get_context("fork").Process(target=_run_until, args=(scenario, folder, number, moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _run_until(scenario: VirtualScenario, folder: Path, number: int, moment: Moment) -> None:
    with opened_run(scenario, folder, workers=2) as opened:
        run = opened.run
        if moment == "charged":
            run = replace(run, charge=_KilledAfterCharge(run.charge, number))
        if moment == "trained":
            run = replace(run, engine=_KilledAfterTraining(run.engine, number))

        def tell(done: RoundDone) -> None:
            if (moment, done.round) == ("counted", number):
                _kill()

        run.go_on(opened.state, tell=tell)


@dataclass(frozen=True)
class _KilledAfterCharge:
    charge: Charge
    number: int

    def __call__(self, run: RunId, number: int, sites: Sequence[int]) -> None:
        self.charge(run, number, sites)
        if number == self.number:
            _kill()


@dataclass(frozen=True)
class _KilledAfterTraining:
    engine: Engine
    number: int

    def mean_update(
        self, number: int, sites: Sequence[int], weights_P: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        mean_P = self.engine.mean_update(number, sites, weights_P)
        if number == self.number:
            _kill()
        return mean_P


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
