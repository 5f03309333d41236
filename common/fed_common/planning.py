"""What a proposed run would do to a budget: what it costs, what is left, and how often it could be had.

Nothing here is charged, and epsilons of parts don't add up to that of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fed_common.accounting import Spend
from fed_common.budget import Budget
from fed_common.proposal import Proposal


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run's parts and the whole of it would cost a patient at `delta`, each as if it were alone."""

    noise_multiplier: float
    sampling_rate: float
    steps: int
    evaluations: int
    training_epsilon: float
    evaluations_epsilon: float
    statistics_epsilon: float | None
    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A site's budget before and after a run; `rounds` of training, or whole `runs`, would fit in instead.

    `rounds_afterwards` is how many rounds more fit in once the run is over, 0 if even the run doesn't.
    """

    budget: float
    delta: float
    spent: float
    afterwards: float
    runs: int
    rounds: int
    rounds_afterwards: int

    @property
    def fits(self) -> bool:
        """Tell whether the site would take part to the end."""
        return self.afterwards <= self.budget


def cost_of(proposal: Proposal, noise_multiplier: float, budget: Budget) -> Cost:
    """Return what the run costs, judged by the accountants of `budget` at its delta."""
    training = proposal.training(noise_multiplier)
    evaluations, gathering = proposal.evaluations(), proposal.gathering()
    return Cost(
        noise_multiplier=noise_multiplier,
        sampling_rate=training.sampling_rate,
        steps=training.steps,
        evaluations=evaluations.steps,
        training_epsilon=budget.spent([training]),
        evaluations_epsilon=budget.spent([evaluations]),
        statistics_epsilon=None if gathering is None else budget.spent([gathering]),
        epsilon=budget.spent(proposal.spends(noise_multiplier)),
        delta=budget.delta,
    )


def outlook(proposal: Proposal, noise_multiplier: float, budget: Budget, spent: Sequence[Spend]) -> Outlook:
    """Return what the run would leave of a budget of which `spent` is gone."""
    run, one_round = proposal.spends(noise_multiplier), [proposal.training(noise_multiplier, rounds=1)]
    runs = budget.times(spent, run)
    return Outlook(
        budget=budget.epsilon,
        delta=budget.delta,
        spent=budget.spent(spent),
        afterwards=budget.spent([*spent, *run]),
        runs=runs,
        rounds=budget.times(spent, one_round),
        rounds_afterwards=budget.times([*spent, *run], one_round) if runs else 0,
    )
