"""Adds weight x update in integers: exact in whatever order, and in however many parts, it is done."""

# Shape letters: P parameters of the flattened model.

import numpy as np
from numpy.typing import NDArray

from fed_common import fixedpoint
from fed_server.folding import add_weighted


class WeightedSum:
    """A running sum in the memory that it is given, which other processes may see, too."""

    def __init__(self, sum_P: NDArray[np.int64]) -> None:
        self._sum_P = sum_P
        self._total_weight = 0

    def add(self, values_P: NDArray[np.int64], weight: int) -> None:
        """Add one update, in fixed point, with its weight."""
        add_weighted(self._sum_P, values_P, weight)
        self._total_weight += weight

    def join(self, part_P: NDArray[np.int64], weight: int) -> None:
        """Add what somebody else has added up, with its total weight."""
        add_weighted(self._sum_P, part_P, 1)
        self._total_weight += weight

    def mean(self) -> NDArray[np.float64]:
        """Return the weighted mean of all updates."""
        # One division gives the bits of two: by a power of 2 it is exact.
        return self._sum_P / (fixedpoint.SCALE * self._total_weight)
