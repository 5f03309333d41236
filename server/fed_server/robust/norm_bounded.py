"""The norm-bounded mean: no site pulls harder than the site in the middle.

Sites keep their weights by patients; what is bounded is how far a weight can carry.

Source: the norm bound is that of Sun, Kairouz, Suresh and McMahan, "Can You Really Backdoor Federated
Learning?" (2019), taken from the round itself instead of being guessed beforehand.
"""

# Shape letters: P parameters, N sites.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.messages import RoundPlan
from fed_server.robust.blocks import blocks
from fed_server.robust.held import HeldUpdates, OpenHeldUpdates


@dataclass(frozen=True)
class NormBoundedMean:
    """The mean by patients of updates that are first shortened to the median of the round's norms."""

    num_parameters: int

    def open(self, plan: RoundPlan) -> OpenHeldUpdates:
        """Start a round."""
        return OpenHeldUpdates(plan, self.num_parameters, _combine)


def _combine(updates: HeldUpdates) -> NDArray[np.float32]:
    norms_N = _norms(updates)
    # The lower one of two in the middle: less than half the sites can't take it out of the honest range.
    bound = np.sort(norms_N)[(len(norms_N) - 1) // 2]
    shortened_N = bound / np.maximum(norms_N, max(bound, np.finfo(np.float64).tiny))
    weights_N = updates.patients_N / updates.patients_N.sum()
    return updates.weighted_sum(weights_N * shortened_N)


def _norms(updates: HeldUpdates) -> NDArray[np.float64]:
    squares_N = np.zeros(len(updates.counted_N))
    for block in blocks(updates.rows_RP.shape[1]):
        for site, row in enumerate(updates.counted_N):
            squares_N[site] += np.square(updates.rows_RP[row, block], dtype=np.float64).sum()
    return np.sqrt(squares_N)
