"""Compiled loops that go through whole updates once, at the speed of the memory they are read from.

Compiled code doesn't look where an array ends: each function first holds the lengths against each other.
"""

# Shape letters: P parameters, R rows of them, N rows that count, B coordinates of a block.

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

_BLOCK = 4096

_compiled = partial(compiled, error_model="numpy")


def add_weighted(sum_P: NDArray[np.int64], values_P: NDArray[np.int64], weight: int) -> None:
    """Add `weight` times the values to the sum."""
    _refuse_other_length(sum_P.size, values_P.size)
    _add_weighted(sum_P, values_P, weight)


def write_floats(values_P: NDArray[np.int64], step: float, floats_P: NDArray[np.float32]) -> None:
    """Write what integers in multiples of `step` stand for."""
    _refuse_other_length(floats_P.size, values_P.size)
    _write_floats(values_P, step, floats_P)


def write_weighted_sum(
    rows_RP: NDArray[np.float32],
    counted_N: NDArray[np.int64],
    factors_N: NDArray[np.float32],
    sum_P: NDArray[np.float32],
) -> None:
    """Write the sum of the counted rows times their factors; a block of it stays in the cache.

    Rows are taken in pairs, so that the block is gone through half as often.
    """
    _refuse_other_length(sum_P.size, rows_RP.shape[1])
    _refuse_other_length(counted_N.size, factors_N.size)
    _write_weighted_sum(rows_RP, counted_N, factors_N, sum_P)


def _refuse_other_length(expected: int, found: int) -> None:
    if expected != found:
        raise ValueError("vectors of different lengths can't be folded")


@_compiled("i8[:], const i8[:], i8")
def _add_weighted(sum_P: NDArray[np.int64], values_P: NDArray[np.int64], weight: int) -> None:
    for place in range(sum_P.size):
        sum_P[place] += weight * values_P[place]


@_compiled("const i8[:], f8, f4[:]")
def _write_floats(values_P: NDArray[np.int64], step: float, floats_P: NDArray[np.float32]) -> None:
    for place in range(values_P.size):
        floats_P[place] = values_P[place] * step


@_compiled("const f4[:,:], const i8[:], const f4[:], f4[:]")
def _write_weighted_sum(
    rows_RP: NDArray[np.float32],
    counted_N: NDArray[np.int64],
    factors_N: NDArray[np.float32],
    sum_P: NDArray[np.float32],
) -> None:
    pairs = counted_N.size // 2
    for start in range(0, sum_P.size, _BLOCK):
        sum_B = sum_P[start : start + _BLOCK]
        sum_B[:] = 0
        for place in range(0, 2 * pairs, 2):
            one_B = rows_RP[counted_N[place]][start : start + _BLOCK]
            other_B = rows_RP[counted_N[place + 1]][start : start + _BLOCK]
            one, other = factors_N[place], factors_N[place + 1]
            for column in range(sum_B.size):
                sum_B[column] += one * one_B[column] + other * other_B[column]
        for place in range(2 * pairs, counted_N.size):
            row_B = rows_RP[counted_N[place]][start : start + _BLOCK]
            for column in range(sum_B.size):
                sum_B[column] += factors_N[place] * row_B[column]
