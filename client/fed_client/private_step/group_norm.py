"""GroupNorm on the processor with channels last, where torch takes four times as long as with channels first.

An image is passed over while it is in the processor's cache, and what its backward pass adds up on the way
are the image's gradients of scale and shift, so that nobody computes them again.
"""

# Shape letters: N images, C channels in G groups, H rows, W columns, T = H W positions.

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common.compiled import compiled

Floats = NDArray[np.float32]

# Fewer numbers aren't worth waking a thread for.
_NUMBERS_PER_THREAD = 1 << 17

_compiled = compiled(fastmath={"contract"}, error_model="numpy")


class GroupNorms:
    """Computes a network's layers, on as many threads as torch may use."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(torch.get_num_threads())

    def __deepcopy__(self, memo: dict[int, object]) -> "GroupNorms":
        """Return what serves a copied network: threads can't be copied."""
        return GroupNorms()

    def forward(self, layer: nn.GroupNorm, inputs: torch.Tensor) -> torch.Tensor:
        """Return what `layer` gives, whose parameters need no gradient."""
        if inputs.dim() != 4 or inputs.dtype != torch.float32 or inputs.device.type != "cpu":
            return nn.GroupNorm.forward(layer, inputs)
        outputs: torch.Tensor = _Normalised.apply(inputs, layer, self)  # type: ignore[no-untyped-call]
        return outputs

    def over(self, numbers: int, images: int, compute: Callable[[slice], None]) -> None:
        """Have parts of the images computed at once, if there are numbers enough."""
        parts = max(1, min(torch.get_num_threads(), images, numbers // _NUMBERS_PER_THREAD))
        ends = [images * part // parts for part in range(parts + 1)]
        slices = [slice(*some) for some in pairwise(ends)]
        for _ in map(compute, slices) if parts == 1 else self._threads.map(compute, slices):
            pass


def parameter_gradients(outputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return each image's gradients (N, C) of scale and shift; nothing if `outputs` did not go back here."""
    return getattr(outputs.grad_fn, "parameter_gradients", ())


class _Normalised(torch.autograd.Function):
    """The layer's way there and back."""

    @staticmethod
    def forward(ctx: Any, inputs_NCHW: torch.Tensor, layer: nn.GroupNorm, norms: GroupNorms) -> torch.Tensor:  # noqa: ANN401
        """Return the outputs (N, C, H, W), channels last."""
        ctx.inputs_NTC, ctx.norms, ctx.scale_C = _positions(inputs_NCHW), norms, layer.weight.detach().numpy()
        ctx.moments_N2G = np.empty((len(inputs_NCHW), 2, layer.num_groups))
        outputs_NHWC = torch.empty(inputs_NCHW.movedim(1, 3).shape)
        outputs_NTC, shift_C = outputs_NHWC.flatten(1, 2).numpy(), layer.bias.detach().numpy()
        norms.over(
            inputs_NCHW.numel(),
            len(inputs_NCHW),
            lambda part: _normalise(
                ctx.inputs_NTC[part],
                ctx.scale_C,
                shift_C,
                layer.eps,
                ctx.moments_N2G[part],
                outputs_NTC[part],
            ),
        )
        return outputs_NHWC.movedim(3, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        """Return the gradient at the inputs, and keep those at scale and shift."""
        outputs_NTC = _positions(gradients[0])
        at_inputs_NHWC = torch.empty(gradients[0].movedim(1, 3).shape)
        at_inputs_NTC = at_inputs_NHWC.flatten(1, 2).numpy()
        at_parameters_N2C = np.empty((len(outputs_NTC), 2, outputs_NTC.shape[2]), dtype=np.float32)
        ctx.norms.over(
            outputs_NTC.size,
            len(outputs_NTC),
            lambda part: _go_back(
                outputs_NTC[part],
                ctx.inputs_NTC[part],
                ctx.scale_C,
                ctx.moments_N2G[part],
                at_parameters_N2C[part],
                at_inputs_NTC[part],
            ),
        )
        ctx.parameter_gradients = torch.from_numpy(at_parameters_N2C).unbind(1)
        return at_inputs_NHWC.movedim(3, 1), None, None


def _positions(some_NCHW: torch.Tensor) -> Floats:
    """Return (N, T, C), without a copy where channels are last."""
    positions_NTC: Floats = some_NCHW.detach().movedim(1, 3).contiguous().flatten(1, 2).numpy()
    return positions_NTC


@_compiled
def _normalise(
    inputs_NTC: Floats,
    scale_C: Floats,
    shift_C: Floats,
    eps: float,
    moments_N2G: NDArray[np.float64],
    outputs_NTC: Floats,
) -> None:
    """Write the outputs, and each group's mean and inverse width."""
    images, positions, channels = inputs_NTC.shape
    width = channels // moments_N2G.shape[2]
    sums_C = np.empty(channels)
    means_C, factors_C = np.empty((2, channels), dtype=np.float32)
    for image in range(images):
        inputs_TC, outputs_TC = inputs_NTC[image], outputs_NTC[image]
        sums_C[:] = 0
        for position in range(positions):
            for channel in range(channels):
                sums_C[channel] += np.float64(inputs_TC[position, channel])
        for first in range(0, channels, width):
            mean = sums_C[first : first + width].sum() / (positions * width)
            moments_N2G[image, 0, first // width] = mean
            means_C[first : first + width] = mean
        sums_C[:] = 0
        for position in range(positions):
            for channel in range(channels):
                distance = inputs_TC[position, channel] - means_C[channel]
                sums_C[channel] += np.float64(distance * distance)
        for first in range(0, channels, width):
            variance = sums_C[first : first + width].sum() / (positions * width)
            inverse = 1 / np.sqrt(variance + eps)
            moments_N2G[image, 1, first // width] = inverse
            for channel in range(first, first + width):
                factors_C[channel] = inverse * scale_C[channel]
        for position in range(positions):
            for channel in range(channels):
                distance = inputs_TC[position, channel] - means_C[channel]
                outputs_TC[position, channel] = distance * factors_C[channel] + shift_C[channel]


@_compiled
def _go_back(
    outputs_NTC: Floats,
    inputs_NTC: Floats,
    scale_C: Floats,
    moments_N2G: NDArray[np.float64],
    at_parameters_N2C: Floats,
    at_inputs_NTC: Floats,
) -> None:
    """Write the gradients at scale, shift and inputs, for those at the outputs.

    With normalised inputs x, width w, scale s and gradients g, they are sum(g x), sum(g), and
    (s g - mean(s g) - x mean(s g x)) / w, sums over an image's positions, means over a group's inputs.
    """
    images, positions, channels = inputs_NTC.shape
    width = channels // moments_N2G.shape[2]
    sums_C, products_C = np.empty((2, channels))
    means_C, of_output_C, of_input_C, constant_C = np.empty((4, channels), dtype=np.float32)
    for image in range(images):
        outputs_TC, inputs_TC, at_inputs_TC = outputs_NTC[image], inputs_NTC[image], at_inputs_NTC[image]
        sums_C[:] = 0
        products_C[:] = 0
        for channel in range(channels):
            means_C[channel] = moments_N2G[image, 0, channel // width]
        for position in range(positions):
            for channel in range(channels):
                gradient = outputs_TC[position, channel]
                distance = inputs_TC[position, channel] - means_C[channel]
                sums_C[channel] += np.float64(gradient)
                products_C[channel] += np.float64(gradient * distance)
        for first in range(0, channels, width):
            inverse = moments_N2G[image, 1, first // width]
            mean_gradient, mean_product = 0.0, 0.0
            for channel in range(first, first + width):
                products_C[channel] *= inverse
                mean_gradient += scale_C[channel] * sums_C[channel] / (positions * width)
                mean_product += scale_C[channel] * products_C[channel] / (positions * width)
                at_parameters_N2C[image, 0, channel] = products_C[channel]
                at_parameters_N2C[image, 1, channel] = sums_C[channel]
            for channel in range(first, first + width):
                of_output_C[channel] = inverse * scale_C[channel]
                of_input_C[channel] = -inverse * inverse * mean_product
                constant_C[channel] = -inverse * mean_gradient
        for position in range(positions):
            for channel in range(channels):
                at_inputs_TC[position, channel] = (
                    of_output_C[channel] * outputs_TC[position, channel]
                    + of_input_C[channel] * (inputs_TC[position, channel] - means_C[channel])
                    + constant_C[channel]
                )
