"""What leaves the secret part of a step, as one compiled loop: it is passed over once, not five times."""

# Shape letters: P parameters of the flattened model, or a block of them.

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled
from fed_common.randomness import grid_spacing


def noised_mean(
    sum_P: NDArray[np.floating], drawn_P: NDArray[np.float64], *, std: float, divisor: float
) -> NDArray[np.float64]:
    """Return the sum with noise of `std`, on its grid (`fed_common.randomness.snap`), over the divisor."""
    mean_P = np.empty(sum_P.size)
    _write(sum_P, drawn_P, grid_spacing(std), divisor, mean_P)
    return mean_P


@compiled("const f8[:], const f8[:], f8, f8, f8[:]", error_model="numpy")
def _write(
    sum_P: NDArray[np.floating],
    drawn_P: NDArray[np.float64],
    spacing: float,
    divisor: float,
    mean_P: NDArray[np.float64],
) -> None:
    fineness = 1 / spacing
    for place in range(sum_P.size):
        mean_P[place] = np.rint((sum_P[place] + drawn_P[place]) * fineness) * spacing / divisor
