"""Median and trimmed mean: in each coordinate the extreme values don't count, whoever sent them.

Each site counts once, whatever its size: by patients, one large hospital could be the majority.

Source: Yin, Chen, Ramchandran and Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates" (2018), definitions 1 and 2.
"""

# Shape letters: P parameters, N sites.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.messages import RoundPlan
from fed_server.robust.held import HeldUpdates, OpenHeldUpdates
from fed_server.robust.network import comparators
from fed_server.robust.sorting import write_middle_means


@dataclass(frozen=True)
class Median:
    """Each coordinate's median; of an even number of sites, the mean of the two in the middle."""

    num_parameters: int

    def open(self, plan: RoundPlan) -> OpenHeldUpdates:
        """Start a round."""
        return OpenHeldUpdates(plan, self.num_parameters, self._combine)

    def _combine(self, updates: HeldUpdates) -> NDArray[np.float32]:
        return _without_extremes(updates, trim=(len(updates.counted_N) - 1) // 2)


@dataclass(frozen=True)
class TrimmedMean:
    """Each coordinate's mean without its `dishonest` smallest and as many largest values."""

    num_parameters: int
    dishonest: int

    def open(self, plan: RoundPlan) -> OpenHeldUpdates:
        """Start a round."""
        return OpenHeldUpdates(plan, self.num_parameters, self._combine)

    def _combine(self, updates: HeldUpdates) -> NDArray[np.float32]:
        return _without_extremes(updates, trim=self.dishonest)


def _without_extremes(updates: HeldUpdates, *, trim: int) -> NDArray[np.float32]:
    num_sites = len(updates.counted_N)
    middle = (trim, num_sites - trim)
    means_P = np.empty(updates.rows_RP.shape[1], dtype=np.float32)
    network_K2 = comparators(num_sites, range(*middle))
    write_middle_means(updates.rows_RP, updates.counted_N, network_K2, middle, means_P)
    return means_P
