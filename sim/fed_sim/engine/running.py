"""Runs a federation of virtual sites, and goes on where it was killed.

A round goes through these steps:

1. public chance says who trains (`participation`);
2. privately, each of them is charged, in a ledger of its own, before its data are touched (`ledgers`);
3. the engine has them train and gives the mean update (`engine`);
4. the weights move as the service moves them (`averaging`); now and then public test images judge them;
5. the state is written (`state`); only now does the round count.

A kill at any moment repeats at most this round. Without privacy it then gives the same bytes; with privacy it
gives another draw of the noise, under the charge that was paid.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fed_common.layout import load_flat
from fed_common.models import ModelSpec, build_model
from fed_common.names import RunId
from fed_common.scoring import TestFigures, judge
from fed_common.test_set import TestSet
from fed_sim.engine.engine import Engine
from fed_sim.engine.participation import sites_of_round
from fed_sim.engine.scenario import VirtualScenario
from fed_sim.engine.state import Judged, RunState

# Pays for a round of a run at the sites that train in it.
Charge = Callable[[RunId, int, Sequence[int]], None]


@dataclass(frozen=True, kw_only=True)
class RoundDone:
    """What a round came to."""

    round: int
    rounds: int
    sites: int
    seconds: float
    figures: TestFigures | None


@dataclass(frozen=True, kw_only=True)
class VirtualRun:
    """One run; `charge` does nothing where training isn't private. `test_set` is asked for when it judges."""

    scenario: VirtualScenario
    spec: ModelSpec
    state_file: Path
    engine: Engine
    charge: Charge
    test_set: Callable[[], TestSet]

    def go_on(self, state: RunState, *, tell: Callable[[RoundDone], None]) -> RunState:
        """Do all rounds that are still to do after `state`; `tell` hears of each when it counts.

        Raises:
            MachineError: the disk refuses, or a worker was ended.
            PolicyRefusal: a budget is exhausted.
        """
        virtual, training = self.scenario.virtual, self.scenario.training
        for number in range(state.round + 1, training.rounds + 1):
            began = time.monotonic()
            sites = sites_of_round(virtual, number)
            self.charge(state.run, number, sites)
            mean_P = self.engine.mean_update(number, sites, state.weights.iterate_P)
            weights = state.weights.moved(mean_P, number=number, averaging=training.averaging)
            state = replace(state, round=number, weights=weights)
            figures = None
            if number % virtual.judge_every == 0 or number == training.rounds:
                figures = self._judge(state)
                state = replace(state, judged=(*state.judged, Judged(round=number, figures=figures)))
            state.keep(self.state_file)
            done = RoundDone(
                round=number,
                rounds=training.rounds,
                sites=len(sites),
                seconds=time.monotonic() - began,
                figures=figures,
            )
            tell(done)
        return state

    def _judge(self, state: RunState) -> TestFigures:
        model = build_model(self.spec)
        load_flat(model, state.weights.model_P)
        return judge(model, self.test_set(), positive=1)
