"""A forecast of a budget is what charging would give, part by part and round by round."""

from pathlib import Path

import pytest
from tests.fakes import StepCounter

from fed_common.accounting import Spend
from fed_common.budget import Budget
from fed_common.errors import ConfigError
from fed_common.planning import cost_of, outlook
from fed_common.proposal import (
    EvaluationTable,
    PrivacyTable,
    Proposal,
    ScheduleTable,
    StatisticsTable,
    load_proposal,
)

# To the step counter a run costs 5 x 4 steps, and what samples nobody 1 in all: 21.
PROPOSAL = Proposal(
    schedule=ScheduleTable(rounds=5, steps_per_round=4),
    privacy=PrivacyTable(epsilon=6.0, sampling_rate=0.5),
    evaluation=EvaluationTable(every=2),
    statistics=StatisticsTable(),
)
SPENT = [Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=7)]


def budget_of(epsilon: float) -> Budget:
    return Budget(epsilon=epsilon, delta=1e-5, accountants=(StepCounter(),))


def test_every_part_of_a_run_is_named_with_its_own_cost() -> None:
    cost = cost_of(PROPOSAL, 1.0, budget_of(99.0))
    assert (cost.training_epsilon, cost.evaluations_epsilon, cost.statistics_epsilon) == (20, 1, 1)
    assert (cost.epsilon, cost.steps, cost.evaluations) == (21, 20, 3)


def test_what_is_left_is_counted_in_runs_and_rounds() -> None:
    left = outlook(PROPOSAL, 1.0, budget_of(60.0), SPENT)
    assert (left.spent, left.afterwards, left.fits) == (7, 28, True)
    assert (left.runs, left.rounds, left.rounds_afterwards) == (2, 13, 8)


def test_a_run_that_does_not_fit_is_said_not_to() -> None:
    left = outlook(PROPOSAL, 1.0, budget_of(27.0), SPENT)
    assert (left.afterwards, left.fits) == (28, False)
    assert (left.runs, left.rounds, left.rounds_afterwards) == (0, 5, 0)


def test_a_proposal_is_read_without_any_other_file(tmp_path: Path) -> None:
    file = tmp_path / "federation.toml"
    file.write_text(
        'keys = "nowhere"\n[training]\nrounds = 5\nsteps_per_round = 4\nlearning_rate = 1.0\n'
        "[privacy]\nepsilon = 6.0\nsampling_rate = 0.5\n[evaluation]\nevery = 2\n[statistics]\n"
        '[[sites]]\nname = "north"\npatients = 400\nidentity = "nowhere.pub"\n'
    )
    assert load_proposal(file) == (PROPOSAL, {"north": 400})
    file.write_text(file.read_text().replace("epsilon = 6.0", "epsilon = -6.0"))
    with pytest.raises(ConfigError, match=r"privacy\.epsilon"):
        load_proposal(file)
