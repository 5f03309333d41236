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


def noised_mean(
    sum_P: NDArray[np.floating], drawn_P: NDArray[np.float64], *, std: float, divisor: float
) -> NDArray[np.float64]:
    """Return the sum with noise of `std`, on its grid (`fed_common.randomness.snap`), over the divisor.

    It takes the place of the noise in `drawn_P`.
    """
    write: Any = _write_of_float32 if sum_P.dtype == np.float32 else _write_of_float64
    write(sum_P, drawn_P, grid_spacing(std), divisor)
    return drawn_P


@_compiled("const f8[:], f8, const f4[:], f8[:], f4[:]")
def move(
    change_P: NDArray[np.float64],
    rate: float,
    start_P: NDArray[np.float32],
    moved_P: NDArray[np.float64],
    weights_P: NDArray[np.float32],
) -> None:
    """Go `rate` times the change down: write how far it is from the start then, and where that is."""
    for place in range(change_P.size):
        moved = moved_P[place] - rate * change_P[place]
        moved_P[place] = moved
        weights_P[place] = np.float32(start_P[place] + moved)


@_compiled("const f4[:], f8[:], f8, f8")
def _write_of_float32(
    sum_P: NDArray[np.float32], mean_P: NDArray[np.float64], spacing: float, divisor: float
) -> None:
    _write(sum_P, mean_P, spacing, divisor)


@_compiled("const f8[:], f8[:], f8, f8")
def _write_of_float64(
    sum_P: NDArray[np.float64], mean_P: NDArray[np.float64], spacing: float, divisor: float
) -> None:
    _write(sum_P, mean_P, spacing, divisor)


@_inlined
def _write(sum_P: NDArray[np.floating], mean_P: NDArray[np.float64], spacing: float, divisor: float) -> None:
    fineness = 1 / spacing
    for place in range(sum_P.size):
        mean_P[place] = np.rint((sum_P[place] + mean_P[place]) * fineness) * spacing / divisor
