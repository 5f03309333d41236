"""Compiled loops for a block of 3x3 convolution, ReLU and 2x2 pooling, which torch computes one by one.

Fused, they save what is thrown away: outputs that pooling drops are never computed, and backwards only the
winners of each 2x2 square are followed, a quarter of the outputs at most. Images have their channels last, so
that three pixels of a row are one run of memory. Sums over channels run in parallel lanes of the processor.

Rows of images come as runs of numbers (X), and memory from outside: numba compiles for 0.4 s less that way.
"""

# Shape letters: N images, H rows, W columns, C channels, X = W C numbers of a row, E = 2 rows, O outputs,
# Q = 3 C inputs of a kernel row, T = 3 kernel rows, P parameters, S patients; of the pooled map: R rows,
# L columns.

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

Floats = NDArray[np.float32]
# For each pooled output which of its square won: 0 to 3, row by row, or nobody was above 0.
Winners = NDArray[np.int32]
NOBODY = 4

# Fused multiply-add only: NaN and infinity must stay what they are.
_compiled = partial(compiled, fastmath={"contract"}, error_model="numpy")
# Where it is called, not also for itself: that is compiled in half the time.
_inlined = compiled(inline="always")


@_compiled("const f4[:,:,:], const f4[:,:,:], const f4[:], f4[:,:,:], f4[:,:,:,:], i4[:,:,:,:]")
def convolve_and_pool(
    images_NHX: Floats,
    weights_TQO: Floats,
    bias_O: Floats,
    pair_EWO: Floats,
    pooled_NRLO: Floats,
    winners_NRLO: Winners,
) -> None:
    """Write the pooled outputs and the winners; a NaN wins wherever it is. `pair_EWO` is overwritten."""
    num_images, rows, columns, outputs = pooled_NRLO.shape
    channels = weights_TQO.shape[1] // 3
    for image in range(num_images):
        image_HX = images_NHX[image]
        for row in range(rows):
            for half in range(2):
                _convolve_row(image_HX, 2 * row + half, channels, weights_TQO, bias_O, pair_EWO[half])
            for column in range(columns):
                for output in range(outputs):
                    best, winner = np.float32(0), np.int32(NOBODY)
                    for place in range(4):
                        value = pair_EWO[place // 2, 2 * column + place % 2, output]
                        wins = (value > best) | (value != value)  # noqa: PLR0124  # NaN
                        best = value if wins else best
                        winner = np.int32(place) if wins else winner
                    pooled_NRLO[image, row, column, output] = best
                    winners_NRLO[image, row, column, output] = winner


@_inlined
def _convolve_row(
    image_HX: Floats, row: int, channels: int, weights_TQO: Floats, bias_O: Floats, sums_WO: Floats
) -> None:
    """Write one row of outputs; three inputs and two columns at once keep the multipliers busy."""
    columns, outputs = sums_WO.shape
    # Written out: for an assignment as a whole, numba compiles the words of a wrong shape's error, for 3 s.
    for column in range(columns):
        for output in range(outputs):
            sums_WO[column, output] = bias_O[output]
    for kernel_row in range(3):
        image_X, weights_QO = image_HX[row + kernel_row], weights_TQO[kernel_row]
        for q in range(0, weights_QO.shape[0], 3):
            first_O, second_O, third_O = weights_QO[q], weights_QO[q + 1], weights_QO[q + 2]
            for column in range(0, columns, 2):
                a, b = column * channels + q, (column + 1) * channels + q
                a0, a1, a2 = image_X[a], image_X[a + 1], image_X[a + 2]
                b0, b1, b2 = image_X[b], image_X[b + 1], image_X[b + 2]
                left_O, right_O = sums_WO[column], sums_WO[column + 1]
                for output in range(outputs):
                    x, y, z = first_O[output], second_O[output], third_O[output]
                    left_O[output] += a0 * x + a1 * y + a2 * z
                    right_O[output] += b0 * x + b1 * y + b2 * z


@_compiled("const f4[:,:,:], i8, const i8[:], const f4[:,:,:,:], const i4[:,:,:,:], f4[:,:], i8")
def weight_gradients(  # noqa: PLR0913, PLR0917 (a compiled loop knows arrays and numbers only)
    images_NHX: Floats,
    channels: int,
    owner_N: NDArray[np.int64],
    pooled_gradients_NRLO: Floats,
    winners_NRLO: Winners,
    gradients_SP: Floats,
    start_P: int,
) -> None:
    """Add each image's gradients of weights (O 3 Q) and bias (O) to its patient's, from `start_P` on."""
    num_images, rows, columns, outputs = pooled_gradients_NRLO.shape
    run = 3 * channels
    size = outputs * 3 * run
    for image in range(num_images):
        gradients_P = gradients_SP[owner_N[image], start_P : start_P + size + outputs]
        if channels == 1:
            _weight_gradients_of_greys(
                images_NHX[image],
                pooled_gradients_NRLO[image],
                winners_NRLO[image],
                gradients_P,
            )
            continue
        for output in range(outputs):
            total = np.float32(0)
            for row in range(rows):
                for column in range(columns):
                    winner = winners_NRLO[image, row, column, output]
                    if winner == NOBODY:
                        continue
                    gradient = pooled_gradients_NRLO[image, row, column, output]
                    total += gradient
                    start = (2 * column + winner % 2) * channels
                    for kernel_row in range(3):
                        first = (3 * output + kernel_row) * run
                        weights_Q = gradients_P[first : first + run]
                        image_Q = images_NHX[image, 2 * row + winner // 2 + kernel_row, start : start + run]
                        for q in range(run):
                            weights_Q[q] += gradient * image_Q[q]
            gradients_P[size + output] += total


@_inlined
def _weight_gradients_of_greys(
    image_HW: Floats, pooled_gradients_RLO: Floats, winners_RLO: Winners, gradients_P: Floats
) -> None:
    """Add an image's gradients of the weights for its single channel, nine sums in registers."""
    rows, columns, outputs = pooled_gradients_RLO.shape
    zero = np.float32(0)
    one, two = np.uintp(1), np.uintp(2)  # indices that can't be negative needn't be looked at
    for output in range(outputs):
        a, b, c, d, e, f, g, h, i = zero, zero, zero, zero, zero, zero, zero, zero, zero
        total = zero
        for row in range(rows):
            for column in range(columns):
                winner = winners_RLO[row, column, output]
                if winner == NOBODY:
                    continue
                gradient = pooled_gradients_RLO[row, column, output]
                y, x = np.uintp(2 * row + winner // 2), np.uintp(2 * column + winner % 2)
                total += gradient
                a += gradient * image_HW[y, x]
                b += gradient * image_HW[y, x + one]
                c += gradient * image_HW[y, x + two]
                d += gradient * image_HW[y + one, x]
                e += gradient * image_HW[y + one, x + one]
                f += gradient * image_HW[y + one, x + two]
                g += gradient * image_HW[y + two, x]
                h += gradient * image_HW[y + two, x + one]
                i += gradient * image_HW[y + two, x + two]
        for place, value in enumerate((a, b, c, d, e, f, g, h, i)):
            gradients_P[9 * output + place] += value
        gradients_P[9 * outputs + output] += total


@_compiled("const f4[:,:,:,:], const i4[:,:,:,:], const f4[:,:,:], f4[:,:,:]")
def image_gradients(
    pooled_gradients_NRLO: Floats, winners_NRLO: Winners, weights_OTQ: Floats, gradients_NHX: Floats
) -> None:
    """Add to the gradients at the block's input."""
    num_images, rows, columns, outputs = pooled_gradients_NRLO.shape
    channels = weights_OTQ.shape[2] // 3
    for image in range(num_images):
        gradients_HX = gradients_NHX[image]
        for output in range(outputs):
            for row in range(rows):
                for column in range(columns):
                    winner = winners_NRLO[image, row, column, output]
                    if winner == NOBODY:
                        continue
                    gradient = pooled_gradients_NRLO[image, row, column, output]
                    start = (2 * column + winner % 2) * channels
                    for kernel_row in range(3):
                        weights_Q = weights_OTQ[output, kernel_row]
                        gradients_Q = gradients_HX[
                            2 * row + winner // 2 + kernel_row, start : start + 3 * channels
                        ]
                        for q in range(3 * channels):
                            gradients_Q[q] += gradient * weights_Q[q]


# Squares are added in any order, so that several lanes can add.
@compiled("const f4[:,:], f8, f8[:]", fastmath={"contract", "reassoc"}, error_model="numpy")
def add_clipped(gradients_SP: Floats, clip_norm: float, total_P: NDArray[np.float64]) -> None:
    """Add each patient's gradient, clipped; one that isn't finite adds nothing."""
    for patient in range(gradients_SP.shape[0]):
        gradient_P = gradients_SP[patient]
        squared = 0.0
        for place in range(gradient_P.size):
            squared += np.float64(gradient_P[place]) * np.float64(gradient_P[place])
        if not squared < math.inf:
            continue
        factor = min(1.0, clip_norm / math.sqrt(squared)) if squared > 0 else 0.0
        for place in range(gradient_P.size):
            total_P[place] += factor * gradient_P[place]
