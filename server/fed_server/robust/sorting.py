"""Sorts each coordinate of all updates as one compiled loop, a block of coordinates at a time.

A block of all updates fits into the processor's cache, and its comparisons run in parallel lanes: several
times faster than sorting coordinate by coordinate, in memory that doesn't grow with the model.
"""

# Shape letters: P parameters, R rows of them, N rows that count, L = N + 2 lines, B coordinates of a block,
# K comparators.

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

_BLOCK = 512

_compiled = compiled(error_model="numpy")


@_compiled
def write_middle_means(
    rows_RP: NDArray[np.float32],
    counted_N: NDArray[np.int64],
    comparators_K2: NDArray[np.int64],
    middle: tuple[int, int],
    means_P: NDArray[np.float32],
) -> None:
    """Write each coordinate's mean over the places from `middle[0]` up to `middle[1]` of its sorted values.

    The comparators must put these places right (`network.comparators`).
    """
    if rows_RP.shape[1] != means_P.size:  # compiled code doesn't look where an array ends
        raise ValueError("rows and means must have the same length")
    first, end = middle
    num_lines = counted_N.size
    block_LB = np.zeros((num_lines + 2, _BLOCK), dtype=np.float32)
    sums_B = np.empty(_BLOCK)
    for start in range(0, means_P.size, _BLOCK):
        width = min(_BLOCK, means_P.size - start)
        for line in range(num_lines):
            _copy(rows_RP[counted_N[line]][start : start + width], block_LB[line])
        # Where each place's values are; the last two lines are free.
        line_of = np.arange(num_lines + 2)
        for pair in range(len(comparators_K2)):
            one, other = comparators_K2[pair]
            _compare(
                block_LB[line_of[one]],
                block_LB[line_of[other]],
                block_LB[line_of[-2]],
                block_LB[line_of[-1]],
            )
            line_of[one], line_of[-2] = line_of[-2], line_of[one]
            line_of[other], line_of[-1] = line_of[-1], line_of[other]
        sums_B[:] = 0
        for place in range(first, end):
            line_B = block_LB[line_of[place]]
            for column in range(width):
                sums_B[column] += line_B[column]
        means_B = means_P[start : start + width]
        for column in range(width):
            means_B[column] = sums_B[column] / (end - first)


@_compiled
def _copy(from_B: NDArray[np.float32], to_B: NDArray[np.float32]) -> None:
    """Copy; numba's own assignment of slices takes twice as long."""
    for column in range(from_B.size):
        to_B[column] = from_B[column]


@_compiled
def _compare(
    one_B: NDArray[np.float32],
    other_B: NDArray[np.float32],
    smaller_B: NDArray[np.float32],
    larger_B: NDArray[np.float32],
) -> None:
    """Write each pair in order, elsewhere: in place, compilers make slow stores under a mask of it."""
    for column in range(one_B.size):
        one, other = one_B[column], other_B[column]
        smaller_B[column] = one if one < other else other
        larger_B[column] = other if one < other else one
