"""Krum and Multi-Krum: of all updates, only those that lie closest to their neighbours count.

Source: Blanchard, El Mhamdi, Guerraoui and Stainer, "Machine Learning with Adversaries: Byzantine Tolerant
Gradient Descent" (2017), section 4, for n >= 2 f + 3; Damaskinos et al., "AggregaThor" (2019), for the
m = n - f - 2 updates that Multi-Krum averages.
"""

# Shape letters: P parameters, N sites, B coordinates of a block.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.messages import RoundPlan
from fed_server.robust.blocks import blocks
from fed_server.robust.held import HeldUpdates, OpenHeldUpdates


@dataclass(frozen=True)
class Krum:
    """The update with the closest neighbours; with `several`, the mean of those n - f - 2 that have them.

    Each site counts once, whatever its size.
    """

    num_parameters: int
    dishonest: int
    several: bool

    def open(self, plan: RoundPlan) -> OpenHeldUpdates:
        """Start a round."""
        return OpenHeldUpdates(plan, self.num_parameters, self._combine)

    def _combine(self, updates: HeldUpdates) -> NDArray[np.float32]:
        num_sites = len(updates.counted_N)
        neighbours = num_sites - self.dishonest - 2
        distances_NN = np.sort(_squared_distances(updates), axis=1)
        scores_N = distances_NN[:, 1 : 1 + neighbours].sum(axis=1)  # the first is its own, 0
        chosen = np.argsort(scores_N, kind="stable")[: neighbours if self.several else 1]
        factors_N = np.zeros(num_sites)
        factors_N[chosen] = 1 / len(chosen)
        return updates.weighted_sum(factors_N)


def _squared_distances(updates: HeldUpdates) -> NDArray[np.float64]:
    products_NN = np.zeros((len(updates.counted_N),) * 2)
    for block in blocks(updates.rows_RP.shape[1]):
        rows_NB = updates.rows_RP[updates.counted_N, block].astype(np.float64)
        products_NN += rows_NB @ rows_NB.T
    squares_N = np.diag(products_NN)
    distances_NN: NDArray[np.float64] = squares_N[:, None] + squares_N - 2 * products_NN
    np.fill_diagonal(distances_NN, 0)
    return np.maximum(distances_NN, 0)  # equal updates may come out a rounding below
