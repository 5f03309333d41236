"""How often something more fits into a budget is what the policy would really allow, charge after charge."""

from dataclasses import replace

import pytest
from tests.fakes import POLICY, StepCounter

from fed_client.opening import ACCOUNTANTS
from fed_client.policy import PolicyRefusal
from fed_common.accounting import Spend
from fed_common.budget import MANY, Budget

ROUND = Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2)
SPENT = Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=1)
COUNT = Spend(noise_multiplier=4.0, sampling_rate=1.0, steps=1)


def budget_of(epsilon: float) -> Budget:
    return Budget(epsilon=epsilon, delta=1e-5, accountants=(StepCounter(),))


@pytest.mark.parametrize(
    ("budget", "spent", "rounds"), [(6.0, [], 3), (6.0, [SPENT], 2), (1.0, [], 0), (7.9, [], 3)]
)
def test_rounds_are_counted_to_the_edge_of_the_budget(budget: float, spent: list[Spend], rounds: int) -> None:
    assert budget_of(budget).times(spent, [ROUND]) == rounds


def test_a_whole_run_is_counted_with_all_its_releases() -> None:
    # What samples nobody is one step to the step counter, however often.
    assert budget_of(9.0).times([], [ROUND, COUNT]) == 4


def test_the_count_ends_somewhere() -> None:
    assert Budget(epsilon=1.0, delta=1e-5, accountants=(Free(),)).times([], [COUNT]) == MANY


def test_the_policy_agrees_with_the_forecast() -> None:
    policy = replace(POLICY, epsilon=8.0)
    rounds = policy.budget(ACCOUNTANTS).times([SPENT], [ROUND])
    assert rounds >= 1
    policy.check_budget([SPENT, *[ROUND] * (rounds - 1)], [ROUND], ACCOUNTANTS, unit="patient")
    with pytest.raises(PolicyRefusal, match="epsilon would be"):
        policy.check_budget([SPENT, *[ROUND] * rounds], [ROUND], ACCOUNTANTS, unit="patient")


class Free(StepCounter):
    """An accountant for whom nothing costs anything."""

    def epsilon(self, spends: object, delta: float) -> float:
        return 0.0
