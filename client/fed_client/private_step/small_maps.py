"""Convolutions on maps of few pixels, where most of a kernel lies beyond the edge.

torch multiplies the zeros there as it does pixels, in the last stage of a ResNet-18 for 64 pixels five times
in nine. Here each tap of the kernel is one product of the pixels that it meets.
"""

# Shape letters: N images, C channels (L parts of D), H x W pixels, P pixels of all images, O outputs, R x S
# taps of a kernel.

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

# With more of the taps on pixels, or on a larger map, torch's own way is faster.
_MOST_ON_PIXELS = 0.7
_MOST_OUTPUTS = 9
# For so few a product takes half the time with the weights on the left.
_FEW_PIXELS = 32

Part = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One weight of a kernel, and the parts (N, H, W) of outputs and inputs that it connects."""

    row: int
    column: int
    outputs: Part
    inputs: Part


def taps_of(layer: nn.Conv2d, inputs: torch.Size, outputs: torch.Size) -> tuple[Tap, ...]:
    """Return the taps of a convolution between maps (H, W) of these sizes; some may connect nothing."""
    padding = tuple(map(int, layer.padding))
    return _taps(layer.kernel_size, layer.stride, padding, layer.dilation, inputs, outputs)


@cache  # they are the same in each step of a network
def _taps(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    inputs: torch.Size,
    outputs: torch.Size,
) -> tuple[Tap, ...]:
    rows, columns = (
        [
            _connected(tap * dilation[axis] - padding[axis], stride[axis], inputs[axis], outputs[axis])
            for tap in range(kernel[axis])
        ]
        for axis in (0, 1)
    )
    everybody = slice(None)
    return tuple(
        Tap(
            row=row,
            column=column,
            outputs=(everybody, rows[row][0], columns[column][0]),
            inputs=(everybody, rows[row][1], columns[column][1]),
        )
        for row, column in itertools.product(range(len(rows)), range(len(columns)))
    )


def is_small(layer: nn.Conv2d, inputs: torch.Size, outputs: torch.Size) -> bool:
    """Tell whether taps one by one are faster: on a CPU, without groups, and if many would meet no pixel."""
    if layer.groups != 1 or layer.weight.device.type != "cpu":
        return False
    on_pixels = 0
    for tap in taps_of(layer, inputs, outputs):
        _, rows, columns = tap.outputs
        on_pixels += (rows.stop - rows.start) * (columns.stop - columns.start)
    return on_pixels <= _MOST_ON_PIXELS * outputs.numel() * layer.weight[0, 0].numel()


def convolved(layer: nn.Conv2d, inputs_NCHW: torch.Tensor) -> torch.Tensor:
    """Return what `layer` gives, whose parameters need no gradient, tap by tap if that is faster."""
    inputs, outputs = inputs_NCHW.shape[2:], _output_size(layer, inputs_NCHW.shape[2:])
    if outputs.numel() > _MOST_OUTPUTS or not is_small(layer, inputs, outputs):
        return nn.Conv2d.forward(layer, inputs_NCHW)
    outputs_NOHW: torch.Tensor = _ByTaps.apply(inputs_NCHW, layer, outputs)  # type: ignore[no-untyped-call]
    return outputs_NOHW if layer.bias is None else outputs_NOHW + layer.bias[:, None, None]


def weight_sum(layer: nn.Conv2d, inputs_NCHW: torch.Tensor, outputs_NHWO: torch.Tensor) -> torch.Tensor:
    """Return the gradient (O, R, S, C) of the weights for gradients at the outputs."""
    inputs_NHWC = inputs_NCHW.movedim(1, 3)
    sum_ORSC = inputs_NCHW.new_empty(layer.out_channels, *layer.kernel_size, layer.in_channels)
    for tap in taps_of(layer, inputs_NHWC.shape[1:3], outputs_NHWO.shape[1:3]):
        torch.mm(
            outputs_NHWO[tap.outputs].flatten(0, 2).T,
            inputs_NHWC[tap.inputs].flatten(0, 2),
            out=sum_ORSC[:, tap.row, tap.column],
        )
    return sum_ORSC


class _ByTaps(torch.autograd.Function):
    """The map's way there and back."""

    @staticmethod
    def forward(ctx: Any, inputs_NCHW: torch.Tensor, layer: nn.Conv2d, size: torch.Size) -> torch.Tensor:  # noqa: ANN401
        """Return the outputs (N, O, H, W), channels last."""
        ctx.taps = taps_of(layer, inputs_NCHW.shape[2:], size)
        ctx.weight_RSOC, ctx.size = layer.weight.permute(2, 3, 0, 1), inputs_NCHW.shape[2:]
        inputs_NHWC = inputs_NCHW.movedim(1, 3)
        outputs_NHWO = inputs_NCHW.new_zeros(len(inputs_NCHW), *size, layer.out_channels)
        for tap in ctx.taps:
            part_NHWC, weight_OC = inputs_NHWC[tap.inputs], ctx.weight_RSOC[tap.row, tap.column]
            outputs_NHWO[tap.outputs].add_(_outputs(part_NHWC, weight_OC))
        return outputs_NHWO.movedim(3, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        """Return the gradient at the inputs."""
        outputs_NHWO = gradients[0].movedim(1, 3)
        channels = ctx.weight_RSOC.shape[3]
        inputs_NHWC = outputs_NHWO.new_zeros(len(outputs_NHWO), *ctx.size, channels)
        # A product of few rows is shared out badly, products for parts of the channels aren't.
        parts = math.gcd(channels, torch.get_num_threads())
        shape_LD = (parts, channels // parts)
        inputs_LNHWD = inputs_NHWC.view(*inputs_NHWC.shape[:3], *shape_LD).movedim(3, 0)
        weight_RSLOD = ctx.weight_RSOC.reshape(*ctx.weight_RSOC.shape[:3], *shape_LD).movedim(3, 2)
        for tap in ctx.taps:
            part_NHWO, weight_LOD = outputs_NHWO[tap.outputs], weight_RSLOD[tap.row, tap.column]
            product_LPD = torch.bmm(part_NHWO.flatten(0, 2).expand(parts, -1, -1), weight_LOD)
            part_LNHWD = product_LPD.view(parts, *part_NHWO.shape[:3], channels // parts)
            inputs_LNHWD[:, *tap.inputs].add_(part_LNHWD)
        return inputs_NHWC.movedim(3, 1), None, None


def _outputs(inputs_NHWC: torch.Tensor, weight_OC: torch.Tensor) -> torch.Tensor:
    """Return a tap's outputs (N, H, W, O); left to itself torch would make many small products of the map."""
    inputs_PC = inputs_NHWC.flatten(0, 2)
    few = len(inputs_PC) <= _FEW_PIXELS
    outputs_PO = (weight_OC @ inputs_PC.T).T if few else inputs_PC @ weight_OC.T
    return outputs_PO.view(*inputs_NHWC.shape[:3], len(weight_OC))


def _output_size(layer: nn.Conv2d, inputs: torch.Size) -> torch.Size:
    """Return the size of the map that the layer makes, as torch's documentation of Conv2d gives it."""
    return torch.Size(
        (
            inputs[axis]
            + 2 * int(layer.padding[axis])
            - layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            - 1
        )
        // layer.stride[axis]
        + 1
        for axis in (0, 1)
    )


def _connected(first: int, stride: int, inputs: int, outputs: int) -> tuple[slice, slice]:
    """Return which outputs along an axis a tap makes of which inputs, of which output 0 has the `first`."""
    low = max(0, -(first // stride))
    high = max(low, min(outputs, (inputs - 1 - first) // stride + 1))
    start = low * stride + first
    return slice(low, high), slice(start, start + (high - low) * stride, stride)
