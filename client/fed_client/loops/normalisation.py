"""Compiled loops for GroupNorm with channels last, image by image while one is in the processor's cache.

Sums over positions are float64, of four positions at once. What each loop has for sums and lines of numbers,
`sums_BC` (2, C) and `lines_LC` (2, C; 4, C on the way back), is overwritten.
"""

# Shape letters: N images, C channels in G groups, T positions, B both sums of a channel, L lines of numbers.

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fed_common.compiled import compiled

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Fused multiply-add only: NaN and infinity must stay what they are.
_compiled = partial(compiled, fastmath={"contract"}, error_model="numpy")
_inlined = compiled(inline="always")


@_compiled("const f4[:,:,:], const f4[:], const f4[:], f8, f4, f8[:,:,:], f8[:,:], f4[:,:], f4[:,:,:]")
def normalise(  # noqa: PLR0913, PLR0917 (a compiled loop knows arrays and numbers only)
    inputs_NTC: Floats,
    scale_C: Floats,
    shift_C: Floats,
    eps: float,
    floor: float,
    moments_N2G: Doubles,
    sums_BC: Doubles,
    lines_LC: Floats,
    outputs_NTC: Floats,
) -> None:
    """Write the outputs, none below the `floor` (NaN for none), and each group's mean and inverse width."""
    images, positions, channels = inputs_NTC.shape
    groups = moments_N2G.shape[2]
    width = channels // groups
    sums_C, squares_C = sums_BC[0], sums_BC[1]
    means_C, factors_C = lines_LC[0], lines_LC[1]
    for image in range(images):
        inputs_TC, outputs_TC = inputs_NTC[image], outputs_NTC[image]
        for channel in range(channels):
            sums_C[channel] = 0.0
            squares_C[channel] = 0.0
        for position in range(0, positions - 3, 4):
            for channel in range(channels):
                a, b = np.float64(inputs_TC[position, channel]), np.float64(inputs_TC[position + 1, channel])
                c, d = (
                    np.float64(inputs_TC[position + 2, channel]),
                    np.float64(inputs_TC[position + 3, channel]),
                )
                sums_C[channel] += (a + b) + (c + d)
                squares_C[channel] += (a * a + b * b) + (c * c + d * d)
        for position in range(positions // 4 * 4, positions):
            for channel in range(channels):
                value = np.float64(inputs_TC[position, channel])
                sums_C[channel] += value
                squares_C[channel] += value * value
        for group in range(groups):
            total, squares = 0.0, 0.0
            for channel in range(group * width, (group + 1) * width):
                total += sums_C[channel]
                squares += squares_C[channel]
            mean = total / (positions * width)
            variance = max(squares / (positions * width) - mean * mean, 0.0)
            inverse = 1 / np.sqrt(variance + eps)
            moments_N2G[image, 0, group] = mean
            moments_N2G[image, 1, group] = inverse
            for channel in range(group * width, (group + 1) * width):
                means_C[channel] = np.float32(mean)
                factors_C[channel] = np.float32(inverse * scale_C[channel])
        for position in range(positions):
            for channel in range(channels):
                distance = inputs_TC[position, channel] - means_C[channel]
                output = distance * factors_C[channel] + shift_C[channel]
                outputs_TC[position, channel] = floor if output < floor else output


@_compiled(
    "const f4[:,:,:], const f4[:,:,:], const f4[:,:,:], f4, const f4[:], const f8[:,:,:], f8[:,:], f4[:,:], "
    "f4[:,:,:], f4[:,:,:]"
)
def go_back(  # noqa: PLR0913, PLR0917 (a compiled loop knows arrays and numbers only)
    at_outputs_NTC: Floats,
    outputs_NTC: Floats,
    inputs_NTC: Floats,
    floor: float,
    scale_C: Floats,
    moments_N2G: Doubles,
    sums_BC: Doubles,
    lines_LC: Floats,
    at_parameters_N2C: Floats,
    at_inputs_NTC: Floats,
) -> None:
    """Write the gradients at scale, shift and inputs, for those at the outputs that are above the floor.

    With normalised inputs x, width w, scale s and gradients g, they are sum(g x), sum(g), and
    (s g - mean(s g) - x mean(s g x)) / w, sums over an image's positions, means over a group's inputs.
    """
    images, positions, channels = inputs_NTC.shape
    groups = moments_N2G.shape[2]
    width = channels // groups
    sums_C, products_C = sums_BC[0], sums_BC[1]
    means_C, of_output_C, of_input_C, constant_C = lines_LC[0], lines_LC[1], lines_LC[2], lines_LC[3]
    for image in range(images):
        given_TC, outputs_TC = at_outputs_NTC[image], outputs_NTC[image]
        inputs_TC, written_TC = inputs_NTC[image], at_inputs_NTC[image]
        for channel in range(channels):
            sums_C[channel] = 0.0
            products_C[channel] = 0.0
            means_C[channel] = np.float32(moments_N2G[image, 0, channel // width])
        for position in range(0, positions - 3, 4):
            for channel in range(channels):
                mean = means_C[channel]
                a = _above(given_TC[position, channel], outputs_TC[position, channel], floor)
                b = _above(given_TC[position + 1, channel], outputs_TC[position + 1, channel], floor)
                c = _above(given_TC[position + 2, channel], outputs_TC[position + 2, channel], floor)
                d = _above(given_TC[position + 3, channel], outputs_TC[position + 3, channel], floor)
                x, y = inputs_TC[position, channel] - mean, inputs_TC[position + 1, channel] - mean
                z, w = inputs_TC[position + 2, channel] - mean, inputs_TC[position + 3, channel] - mean
                sums_C[channel] += np.float64((a + b) + (c + d))
                products_C[channel] += np.float64((a * x + b * y) + (c * z + d * w))
                written_TC[position, channel], written_TC[position + 1, channel] = a, b
                written_TC[position + 2, channel], written_TC[position + 3, channel] = c, d
        for position in range(positions // 4 * 4, positions):
            for channel in range(channels):
                gradient = _above(given_TC[position, channel], outputs_TC[position, channel], floor)
                distance = inputs_TC[position, channel] - means_C[channel]
                sums_C[channel] += np.float64(gradient)
                products_C[channel] += np.float64(gradient * distance)
                written_TC[position, channel] = gradient
        for group in range(groups):
            inverse = moments_N2G[image, 1, group]
            mean_gradient, mean_product = 0.0, 0.0
            for channel in range(group * width, (group + 1) * width):
                products_C[channel] *= inverse
                mean_gradient += scale_C[channel] * sums_C[channel] / (positions * width)
                mean_product += scale_C[channel] * products_C[channel] / (positions * width)
                at_parameters_N2C[image, 0, channel] = np.float32(products_C[channel])
                at_parameters_N2C[image, 1, channel] = np.float32(sums_C[channel])
            for channel in range(group * width, (group + 1) * width):
                of_output_C[channel] = np.float32(inverse * scale_C[channel])
                of_input_C[channel] = np.float32(-inverse * inverse * mean_product)
                constant_C[channel] = np.float32(-inverse * mean_gradient)
        for position in range(positions):
            for channel in range(channels):
                written_TC[position, channel] = (
                    of_output_C[channel] * written_TC[position, channel]
                    + of_input_C[channel] * (inputs_TC[position, channel] - means_C[channel])
                    + constant_C[channel]
                )


@_inlined
def _above(gradient: np.float32, output: np.float32, floor: float) -> np.float32:
    """Return the gradient at an output that isn't held by the floor; a NaN holds none."""
    return np.float32(0) if output <= floor else gradient
