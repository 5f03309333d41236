"""What a layer multiplies with its weights at each position, unfolded only while it is needed."""

# Shape letters: N images, C channels, H rows, W columns, G groups, T positions, P positions of all images,
# O outputs, K inputs of one output, S patients.

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from fed_client.private_step.small_maps import is_small, taps_of, weight_sum

# On smaller maps the sums take longer than what they spare.
_FEWEST_OUTPUTS = 16
# On smaller maps, or with narrower registers, torch's gradient of weights takes longer than a product.
_FEWEST_FOR_TORCH = 64 if torch.backends.cpu.get_cpu_capability() == "AVX512" else math.inf


EVERYTHING = slice(None)


class LayerInputs(Protocol):
    """The inputs of one layer for a batch."""

    @property
    def width(self) -> int:
        """Return K."""
        ...

    def unfolded(self, images: slice = EVERYTHING) -> torch.Tensor:
        """Return the inputs of each output (N, G, T, K) of some images."""
        ...

    def products(self, num_patients: int) -> torch.Tensor:
        """Return the products (S, T, T) of the inputs of any two outputs of a patient's images, ungrouped."""
        ...

    def sum_with(self, outputs_PO: torch.Tensor) -> torch.Tensor:
        """Return the gradient (O, K) of ungrouped weights for those at all images' positions in a row."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearInputs:
    """Each position's own."""

    inputs_NTK: torch.Tensor

    @property
    def width(self) -> int:
        """Return K."""
        return self.inputs_NTK.shape[2]

    def unfolded(self, images: slice = EVERYTHING) -> torch.Tensor:
        """Return them as they are."""
        return self.inputs_NTK[images, None]

    def products(self, num_patients: int) -> torch.Tensor:
        """Return one product for each patient."""
        return _products(self.inputs_NTK, num_patients)

    def sum_with(self, outputs_PO: torch.Tensor) -> torch.Tensor:
        """Return one product."""
        return outputs_PO.T @ self.inputs_NTK.flatten(0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvolutionInputs:
    """The pixels under the kernel: kernel row, kernel column, channel; `size` is that of the outputs' map."""

    layer: nn.Conv2d
    inputs_NCHW: torch.Tensor
    size: torch.Size

    @property
    def width(self) -> int:
        """Return K."""
        return self.layer.weight[0].numel()

    def unfolded(self, images: slice = EVERYTHING) -> torch.Tensor:
        """Return a copy of the pixels for each output.

        Channels come last, so that whole runs of memory are copied, faster than `functional.unfold` does it.
        """
        layer = self.layer
        (down, right), (below, beside) = layer.stride, layer.dilation
        rows, columns = map(int, layer.padding)  # numbers, says is_supported
        around = (0, 0, columns, columns, rows, rows)
        padded_NHWC = functional.pad(self.inputs_NCHW[images].movedim(1, 3), around).contiguous()
        image, row, column, _ = padded_NHWC.stride()
        channels = layer.in_channels // layer.groups
        return padded_NHWC.as_strided(
            (len(padded_NHWC), layer.groups, *self.size, *layer.kernel_size, channels),
            (image, channels, row * down, column * right, row * below, column * beside, 1),
        ).reshape(len(padded_NHWC), layer.groups, self.size.numel(), -1)

    def products(self, num_patients: int) -> torch.Tensor:
        """Return sums of the products of pixels, each made once, not once for every tap of the kernel."""
        pixels, outputs = self.inputs_NCHW.shape[2:], self.size
        if not _FEWEST_OUTPUTS <= outputs.numel() == pixels.numel():
            return _products(self.unfolded().flatten(1, 2), num_patients)
        images = len(self.inputs_NCHW) // num_patients
        of_pixels = _products(self.inputs_NCHW.movedim(1, 3).flatten(1, 2), num_patients)
        of_pixels = of_pixels.view(num_patients, *(images, *pixels) * 2)
        of_outputs = of_pixels.new_zeros(num_patients, *(images, *outputs) * 2)
        for tap in taps_of(self.layer, pixels, outputs):
            # Not `+=`, which would copy the sum to where it is.
            of_outputs[:, *tap.outputs, *tap.outputs].add_(of_pixels[:, *tap.inputs, *tap.inputs])
        return of_outputs.view(num_patients, images * outputs.numel(), -1)

    def sum_with(self, outputs_PO: torch.Tensor) -> torch.Tensor:
        """Return torch's gradient on a large map, a product for each tap on a small one, else one product."""
        layer = self.layer
        outputs_NHWO = outputs_PO.view(-1, *self.size, outputs_PO.shape[1])
        if is_small(layer, self.inputs_NCHW.shape[2:], self.size):
            return weight_sum(layer, self.inputs_NCHW, outputs_NHWO).flatten(1)
        if outputs_PO.device.type == "cpu" and self.size.numel() >= _FEWEST_FOR_TORCH:
            sum_OCRS: torch.Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
                self.inputs_NCHW,
                layer.weight.shape,
                outputs_NHWO.movedim(3, 1),
                layer.stride,
                layer.padding,
                layer.dilation,
            )
            return sum_OCRS.movedim(1, 3).flatten(1)
        return outputs_PO.T @ self.unfolded().flatten(0, 2)


def _products(inputs_NTK: torch.Tensor, num_patients: int) -> torch.Tensor:
    """Return the products (S, T, T) of the positions of all images of a patient."""
    inputs_STK = inputs_NTK.reshape(num_patients, -1, inputs_NTK.shape[-1])
    return inputs_STK @ inputs_STK.mT
