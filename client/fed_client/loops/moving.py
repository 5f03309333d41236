"""A compiled loop for a step's move, which passes over its numbers once, not five times."""

# Shape letters: P parameters of the flattened model, or a block of them.

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

_compiled = partial(compiled, error_model="numpy")
_inlined = compiled(inline="always")
_LARGEST = np.finfo(np.float32).max


def move(change_P: NDArray[np.floating], rate: float, weights_P: NDArray[np.float32]) -> bool:
    """Go `rate` times the change down from the weights, in their place, and tell whether all are finite."""
    beyond = np.zeros(1, dtype=np.int64)
    go_down: Any = go_down_float32 if change_P.dtype == np.float32 else go_down_float64
    go_down(change_P, rate, weights_P, beyond)
    return not beyond[0]


@_compiled("const f4[:], f8, f4[:], i8[:]")
def go_down_float32(
    change_P: NDArray[np.float32], rate: float, weights_P: NDArray[np.float32], beyond: NDArray[np.int64]
) -> None:
    """Move the weights, computing in float64, and write to `beyond` whether any isn't finite then."""
    _go_down(change_P, rate, weights_P, beyond)


@_compiled("const f8[:], f8, f4[:], i8[:]")
def go_down_float64(
    change_P: NDArray[np.float64], rate: float, weights_P: NDArray[np.float32], beyond: NDArray[np.int64]
) -> None:
    """Move the weights, and write to `beyond` whether any isn't finite then."""
    _go_down(change_P, rate, weights_P, beyond)


@_inlined
def _go_down(
    change_P: NDArray[np.floating], rate: float, weights_P: NDArray[np.float32], beyond: NDArray[np.int64]
) -> None:
    found = 0
    for place in range(change_P.size):
        weight = np.float32(weights_P[place] - rate * change_P[place])
        weights_P[place] = weight
        found |= not abs(weight) <= _LARGEST  # which no NaN is
    beyond[0] = found
