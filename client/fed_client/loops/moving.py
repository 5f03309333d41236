"""Compiled loops for what follows a step's clipped sum: each passes over its numbers once, not five times."""

# Shape letters: P parameters of the flattened model, or a block of them.

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled
from fed_common.randomness import grid_spacing

_compiled = partial(compiled, error_model="numpy")
_inlined = compiled(inline="always")
_LARGEST = np.finfo(np.float32).max


def noised_mean(
    sum_P: NDArray[np.floating], drawn_P: NDArray[np.float64], *, std: float, divisor: float
) -> NDArray[np.float64]:
    """Return the sum with noise of `std`, on its grid (`fed_common.randomness.snap`), over the divisor.

    It takes the place of the noise in `drawn_P`.
    """
    write: Any = _write_of_float32 if sum_P.dtype == np.float32 else _write_of_float64
    spacing = grid_spacing(std)
    write(sum_P, drawn_P, 1 / spacing, spacing / divisor)
    return drawn_P


def move(change_P: NDArray[np.float64], rate: float, weights_P: NDArray[np.float32]) -> bool:
    """Go `rate` times the change down from the weights, in their place, and tell whether all are finite."""
    beyond = np.zeros(1, dtype=np.int64)
    _go_down(change_P, rate, weights_P, beyond)
    return not beyond[0]


@_compiled("const f8[:], f8, f4[:], i8[:]")
def _go_down(
    change_P: NDArray[np.float64], rate: float, weights_P: NDArray[np.float32], beyond: NDArray[np.int64]
) -> None:
    found = 0
    for place in range(change_P.size):
        weight = np.float32(weights_P[place] - rate * change_P[place])
        weights_P[place] = weight
        found |= not abs(weight) <= _LARGEST  # which no NaN is
    beyond[0] = found


@_compiled("const f4[:], f8[:], f8, f8")
def _write_of_float32(
    sum_P: NDArray[np.float32], mean_P: NDArray[np.float64], fineness: float, of_grid: float
) -> None:
    _write(sum_P, mean_P, fineness, of_grid)


@_compiled("const f8[:], f8[:], f8, f8")
def _write_of_float64(
    sum_P: NDArray[np.float64], mean_P: NDArray[np.float64], fineness: float, of_grid: float
) -> None:
    _write(sum_P, mean_P, fineness, of_grid)


@_inlined
def _write(sum_P: NDArray[np.floating], mean_P: NDArray[np.float64], fineness: float, of_grid: float) -> None:
    for place in range(sum_P.size):
        mean_P[place] = np.rint((sum_P[place] + mean_P[place]) * fineness) * of_grid
