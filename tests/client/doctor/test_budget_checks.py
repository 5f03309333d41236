"""How many rounds the budget affords is what the policy would really allow, round after round."""

from dataclasses import replace

import pytest
from tests.fakes import POLICY, StepCounter

from fed_client.doctor.budget import MOST_ROUNDS, rounds_afforded
from fed_client.opening import ACCOUNTANTS
from fed_client.policy import PolicyRefusal
from fed_common.accounting import Spend

ROUND = Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2)
SPENT = Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=1)


@pytest.mark.parametrize(
    ("budget", "spent", "rounds"), [(6.0, [], 3), (6.0, [SPENT], 2), (1.0, [], 0), (7.9, [], 3)]
)
def test_rounds_are_counted_to_the_edge_of_the_budget(budget: float, spent: list[Spend], rounds: int) -> None:
    policy = replace(POLICY, epsilon=budget)
    assert rounds_afforded(spent, ROUND, policy, [StepCounter()]) == rounds


def test_the_count_ends_somewhere() -> None:
    one_step = replace(ROUND, steps=1)
    assert rounds_afforded([], one_step, replace(POLICY, epsilon=1000.0), [Free()]) == MOST_ROUNDS


def test_the_policy_agrees_with_the_forecast() -> None:
    policy = replace(POLICY, epsilon=8.0)
    rounds = rounds_afforded([SPENT], ROUND, policy, ACCOUNTANTS)
    assert rounds >= 1
    policy.check_budget([SPENT, *[ROUND] * (rounds - 1)], ROUND, ACCOUNTANTS)
    with pytest.raises(PolicyRefusal, match="epsilon would be"):
        policy.check_budget([SPENT, *[ROUND] * rounds], ROUND, ACCOUNTANTS)


class Free(StepCounter):
    """An accountant for whom nothing costs anything."""

    def epsilon(self, spends: object, delta: float) -> float:
        return 0.0
