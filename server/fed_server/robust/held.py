"""The updates of one round side by side, because a robust rule must see all of them before it decides.

They are held as float32, the precision of the model: so many updates take the memory of so many models.
"""

# Shape letters: P parameters, R sites of the cohort, N of them that count.

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common.fixedpoint import SCALE
from fed_common.messages import RoundPlan
from fed_server.folding import write_floats, write_weighted_sum
from fed_server.screening import Contribution


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldUpdates:
    """Rows for the whole cohort by the sites' names, of which the `counted_N` are filled.

    The order of the names makes the result the same to the last bit in whatever order the sites answered.
    """

    rows_RP: NDArray[np.float32]
    counted_N: NDArray[np.int64]
    patients_N: NDArray[np.int64]

    def weighted_sum(self, factors_N: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the sum of the updates times their factors."""
        counts = factors_N != 0
        sum_P = np.empty(self.rows_RP.shape[1], dtype=np.float32)
        write_weighted_sum(self.rows_RP, self.counted_N[counts], factors_N[counts].astype(np.float32), sum_P)
        return sum_P


Combine = Callable[[HeldUpdates], NDArray[np.float32]]


class OpenHeldUpdates:
    """One round of a robust rule: gathers the updates, then lets `combine` make one of them."""

    def __init__(self, plan: RoundPlan, num_parameters: int, combine: Combine) -> None:
        self._combine = combine
        self._sites = sorted(plan.cohort, key=lambda site: site.name)
        self._row_of = {site.name: row for row, site in enumerate(self._sites)}
        self._filled: set[int] = set()
        # Memory is taken by the rows that are filled, not by those of sites that never answer.
        self._rows_RP = np.empty((len(self._sites), num_parameters), dtype=np.float32)

    def fold(self, contribution: Contribution) -> None:
        """Keep what one site contributed."""
        row = self._row_of[contribution.site]
        write_floats(contribution.values, 1 / SCALE, self._rows_RP[row])
        self._filled.add(row)

    def close(self) -> NDArray[np.float32]:
        """Return the one update that the rule makes of all."""
        counted = sorted(self._filled)
        return self._combine(
            HeldUpdates(
                rows_RP=self._rows_RP,
                counted_N=np.array(counted),
                patients_N=np.array([self._sites[row].patients for row in counted]),
            )
        )
