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
from torch import nn

from fed_client.loops import normalisation
from fed_client.loops.normalisation import Floats

# Fewer numbers aren't worth waking a thread for, while torch's own still look for work.
_NUMBERS_PER_THREAD = 1 << 21


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
            lambda part: normalisation.normalise(
                ctx.inputs_NTC[part],
                ctx.scale_C,
                shift_C,
                layer.eps,
                ctx.moments_N2G[part],
                np.empty((2, len(shift_C))),
                np.empty((2, len(shift_C)), dtype=np.float32),
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
            lambda part: normalisation.go_back(
                outputs_NTC[part],
                ctx.inputs_NTC[part],
                ctx.scale_C,
                ctx.moments_N2G[part],
                np.empty((2, len(ctx.scale_C))),
                np.empty((4, len(ctx.scale_C)), dtype=np.float32),
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
