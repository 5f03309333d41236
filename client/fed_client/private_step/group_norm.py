"""GroupNorm on the processor with channels last, where torch takes four times as long as with channels first.

An image is passed over while it is in the processor's cache, and what its backward pass adds up on the way
are the image's gradients of scale and shift, so that nobody computes them again.
"""

# Shape letters: N images, C channels in G groups, H rows, W columns, T = H W positions.

import math
from collections.abc import Iterator
from itertools import islice, pairwise, zip_longest
from typing import Any

import numpy as np
import torch
from torch import nn

from fed_client.loops import normalisation
from fed_client.loops.normalisation import Floats
from fed_client.private_step.torch_threads import torch_threads

# As many are worth a thread to torch, too.
_NUMBERS_PER_THREAD = 1 << 15


def normalised(layer: nn.GroupNorm, inputs: torch.Tensor, *, rectify: bool = False) -> torch.Tensor:
    """Return what `layer` gives, whose parameters need no gradient; if told to, and able to, no negatives."""
    if inputs.dim() != 4 or inputs.dtype != torch.float32 or inputs.device.type != "cpu":
        return nn.GroupNorm.forward(layer, inputs)
    outputs: torch.Tensor = _Normalised.apply(inputs, layer, 0.0 if rectify else math.nan)  # type: ignore[no-untyped-call]
    return outputs


def in_sequence(layers: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Return what `layers` give, a ReLU behind a norm in the norm's own loop."""
    for layer, following in zip_longest(layers, islice(layers, 1, None)):
        if type(layer) is nn.GroupNorm and layer.affine and type(following) is nn.ReLU:
            inputs = layer(inputs, rectify=True)
        elif type(layer) is not nn.ReLU or getattr(inputs.grad_fn, "floor", None) != 0:
            inputs = layer(inputs)
    return inputs


def parameter_gradients(outputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return each image's gradients (N, C) of scale and shift; nothing if `outputs` did not go back here."""
    return getattr(outputs.grad_fn, "parameter_gradients", ())


class _Normalised(torch.autograd.Function):
    """The layer's way there and back."""

    @staticmethod
    def forward(ctx: Any, inputs_NCHW: torch.Tensor, layer: nn.GroupNorm, floor: float) -> torch.Tensor:  # noqa: ANN401
        """Return the outputs (N, C, H, W), channels last."""
        inputs_NTC, scale_C, shift_C = _positions(inputs_NCHW), _numbers(layer.weight), _numbers(layer.bias)
        outputs_NTC, moments_N2G = np.empty_like(inputs_NTC), np.empty((len(inputs_NTC), 2, layer.num_groups))
        channels = len(scale_C)
        normalisation.normalise.at_once(
            [
                (
                    inputs_NTC[part],
                    scale_C,
                    shift_C,
                    layer.eps,
                    np.float32(floor),
                    moments_N2G[part],
                    np.empty((2, channels)),
                    np.empty((2, channels), dtype=np.float32),
                    outputs_NTC[part],
                )
                for part in _parts(inputs_NTC)
            ],
            torch_threads(),
        )
        ctx.inputs_NTC, ctx.scale_C, ctx.moments_N2G = inputs_NTC, scale_C, moments_N2G
        ctx.outputs_NTC, ctx.floor = outputs_NTC, floor
        return _map(outputs_NTC, inputs_NCHW.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        """Return the gradient at the inputs, and keep those at scale and shift."""
        at_outputs_NTC = _positions(gradients[0])
        images, _, channels = at_outputs_NTC.shape
        at_inputs_NTC = np.empty_like(at_outputs_NTC)
        at_parameters_N2C = np.empty((images, 2, channels), dtype=np.float32)
        normalisation.go_back.at_once(
            [
                (
                    at_outputs_NTC[part],
                    # Without a floor nobody needs the outputs: what is read anyway costs nothing.
                    (at_outputs_NTC if math.isnan(ctx.floor) else ctx.outputs_NTC)[part],
                    ctx.inputs_NTC[part],
                    np.float32(ctx.floor),
                    ctx.scale_C,
                    ctx.moments_N2G[part],
                    np.empty((2, channels)),
                    np.empty((4, channels), dtype=np.float32),
                    at_parameters_N2C[part],
                    at_inputs_NTC[part],
                )
                for part in _parts(at_outputs_NTC)
            ],
            torch_threads(),
        )
        ctx.parameter_gradients = torch.from_numpy(at_parameters_N2C).unbind(1)
        return _map(at_inputs_NTC, gradients[0].shape), None, None


def _positions(some_NCHW: torch.Tensor) -> Floats:
    """Return (N, T, C), without a copy where channels are last."""
    some_NHWC = _numbers(some_NCHW.permute(0, 2, 3, 1))
    images, *_, channels = some_NHWC.shape
    return np.ascontiguousarray(some_NHWC).reshape(images, -1, channels)


def _map(some_NTC: Floats, shape: torch.Size) -> torch.Tensor:
    """Return (N, C, H, W) of that shape, channels last, uncopied."""
    images, channels, height, width = shape
    return torch.from_numpy(some_NTC.reshape(images, height, width, channels)).permute(0, 3, 1, 2)


def _numbers(some: torch.Tensor) -> Floats:
    numbers: Floats = some.detach().numpy()
    return numbers


def _parts(some_NTC: Floats) -> Iterator[slice]:
    """Yield parts of the images for as many threads as torch may use and the numbers are worth."""
    images = len(some_NTC)
    parts = max(1, min(torch.get_num_threads(), images, some_NTC.size // _NUMBERS_PER_THREAD))
    return (slice(*ends) for ends in pairwise(images * part // parts for part in range(parts + 1)))
