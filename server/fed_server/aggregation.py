"""Folds the sites' answers into one result while they come, in the memory of one model.

A rule is settings; what it has gathered lives in an `OpenRound` and ends with the round.

FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fed_common import fixedpoint
from fed_common.messages import RoundPlan
from fed_common.names import SiteName
from fed_common.plans import TrainTerms
from fed_server.screening import Contribution
from fed_server.weighted_sum import WeightedSum

ResultT_co = TypeVar("ResultT_co", covariant=True)
CountsT = TypeVar("CountsT")


class OpenRound(Protocol[ResultT_co]):
    """One round's running result."""

    def fold(self, contribution: Contribution) -> None:
        """Add what a site contributed and screening let through; each site once."""
        ...

    def close(self) -> ResultT_co:
        """Return the result of all that was folded."""
        ...


class AggregationRule(Protocol[ResultT_co]):
    """How contributions become one result."""

    def open(self, plan: RoundPlan) -> OpenRound[ResultT_co]:
        """Start a round with nothing in it."""
        ...


@dataclass(frozen=True)
class WeightedMean:
    """FedAvg: the mean of the updates, weighted by the sites' public size classes."""

    num_parameters: int

    def open(self, plan: RoundPlan) -> "OpenWeightedMean":
        """Start a round.

        Raises:
            ConfigError: the plan's clip and weights could overflow the sum.
        """
        weights = {site.name: site.patients for site in plan.cohort}
        if isinstance(plan.terms, TrainTerms):
            fixedpoint.refuse_overflow(
                largest_value=plan.terms.update_clip * 1.01, total_weight=sum(weights.values())
            )
        return OpenWeightedMean(weights, self.num_parameters)


class OpenWeightedMean:
    """The running sum of weight x update, exact in whatever order the sites answer."""

    def __init__(self, weights: dict[SiteName, int], num_parameters: int) -> None:
        self._weights = weights
        self._sum = WeightedSum(np.zeros(num_parameters, dtype=np.int64))

    def fold(self, contribution: Contribution) -> None:
        """Add one site's update with its enrolled weight."""
        self._sum.add(contribution.values, self._weights[contribution.site])

    def close(self) -> NDArray[np.float64]:
        """Return the weighted mean update."""
        return self._sum.mean()


@dataclass(frozen=True)
class CountsBySite(Generic[CountsT]):
    """Evaluation and statistics: each site's noised counts, made by `read` of its vector and its noise."""

    read: Callable[[NDArray[np.float64], float], CountsT]

    def open(self, plan: RoundPlan) -> "OpenCounts[CountsT]":
        """Start a round."""
        return OpenCounts(self.read)


class OpenCounts(Generic[CountsT]):
    """The counts gathered so far."""

    def __init__(self, read: Callable[[NDArray[np.float64], float], CountsT]) -> None:
        self._read = read
        self._counts: dict[SiteName, CountsT] = {}

    def fold(self, contribution: Contribution) -> None:
        """Add one site's counts."""
        self._counts[contribution.site] = self._read(
            fixedpoint.from_fixed(contribution.values), contribution.noise_multiplier
        )

    def close(self) -> dict[SiteName, CountsT]:
        """Return each site's counts."""
        return self._counts
