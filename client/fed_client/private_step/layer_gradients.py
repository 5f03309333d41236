"""One layer's gradients, patient by patient, in the form that is cheapest for its shapes.

The gradient of a convolution's weights is the product of two matrices: the gradient at the layer's output
(O, T), T positions, and its unfolded input (K, T). Either the products (O, K) are put side by side, or only
their norms are computed: the squared norm of G X' is the sum over (G'G) * (X'X). The weighted sum over
patients is then the layer's ordinary gradient, of weighted outputs.

Sources: Lee and Kifer, "Scaling up Differentially Private Deep Learning with Fast Per-Example Gradient
Clipping" (2021), section 5; Bu et al., "Scalable and Efficient Training of Large Convolutional Neural
Networks with Differential Privacy" (2022), table 1, for the choice.
"""

# Shape letters: N images, S patients with M images each (N = S M), C channels, H rows, W columns, O outputs,
# K inputs of one output, T positions (of all images of a patient), P parameters.

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

# Rounding error of a Gram matrix's product, in parts of its terms' sizes: 16 units of float32's last place.
_GRAM_ERROR = 2.0**-20


class LayerGradients(Protocol):
    """The gradients of one of a layer's parameters; `squared_norms_S` is float64."""

    squared_norms_S: torch.Tensor

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors, flat (P)."""
        ...


def is_supported(layer: nn.Module) -> bool:
    """Tell whether `layer_gradients` knows the layer; a subclass may compute something else."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) in (nn.Linear, nn.GroupNorm, nn.LayerNorm)


def layer_gradients(
    layer: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor, *, num_patients: int
) -> Iterator[LayerGradients]:
    """Yield the gradients of each of the layer's parameters, in their order.

    `inputs` is what the layer got, `outputs` the gradient at what it gave; all patients have as many images.
    """
    match layer:
        case nn.Conv2d():
            yield from _of_convolution(layer, inputs, outputs, num_patients)
        case nn.Linear():
            yield from _of_linear(layer, inputs, outputs, num_patients)
        case nn.GroupNorm() | nn.LayerNorm():
            yield from _of_norm(layer, inputs, outputs, num_patients)


def _of_convolution(
    layer: nn.Conv2d, inputs_NCHW: torch.Tensor, outputs_NOHW: torch.Tensor, num_patients: int
) -> Iterator[LayerGradients]:
    def weight_gradient(weighted_NOHW: torch.Tensor) -> torch.Tensor:
        gradient: torch.Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            inputs_NCHW,
            layer.weight.shape,
            weighted_NOHW,
            layer.stride,
            padding,
            layer.dilation,
            layer.groups,
        )
        return gradient

    padding: tuple[int, ...] = layer.padding  # type: ignore[assignment]  # no word, says is_supported
    unfolded_NKT = functional.unfold(inputs_NCHW, layer.kernel_size, layer.dilation, padding, layer.stride)
    yield _of_product(unfolded_NKT, outputs_NOHW, num_patients, weight_gradient, groups=layer.groups)
    if layer.bias is not None:
        yield SideBySide(outputs_NOHW.sum((2, 3)), num_patients)


def _of_linear(
    layer: nn.Linear, inputs: torch.Tensor, outputs: torch.Tensor, num_patients: int
) -> Iterator[LayerGradients]:
    inputs_NTK, outputs_NTO = (some.reshape(len(some), -1, some.shape[-1]) for some in (inputs, outputs))

    def weight_gradient(weighted_NOT: torch.Tensor) -> torch.Tensor:
        return weighted_NOT.movedim(1, 0).flatten(1) @ inputs_NTK.flatten(0, 1)

    yield _of_product(inputs_NTK.mT, outputs_NTO.mT, num_patients, weight_gradient)
    if layer.bias is not None:
        yield SideBySide(outputs_NTO.sum(1), num_patients)


def _of_norm(
    layer: nn.GroupNorm | nn.LayerNorm, inputs: torch.Tensor, outputs: torch.Tensor, num_patients: int
) -> Iterator[LayerGradients]:
    if isinstance(layer, nn.GroupNorm):
        normalised = functional.group_norm(inputs, layer.num_groups, eps=layer.eps)
        over = tuple(range(2, inputs.dim()))
    else:
        normalised = functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
        over = tuple(range(1, inputs.dim() - len(layer.normalized_shape)))
    for gradients in (outputs * normalised, outputs):
        yield SideBySide((gradients.sum(over) if over else gradients).flatten(1), num_patients)


def _of_product(
    inputs_NKT: torch.Tensor,
    outputs: torch.Tensor,
    num_patients: int,
    weight_gradient: Callable[[torch.Tensor], torch.Tensor],
    *,
    groups: int = 1,
) -> LayerGradients:
    inputs_SKT, outputs_SOT = (_positions(some, num_patients) for some in (inputs_NKT, outputs.flatten(2)))
    (width, positions), height = inputs_SKT.shape[1:], outputs_SOT.shape[1]
    if groups == 1 and positions * (width + height) < width * height:
        return NormsOnly(inputs_SKT, outputs_SOT, outputs, weight_gradient)
    inputs_SGKT, outputs_SGOT = (
        some_SDT.reshape(num_patients, groups, -1, positions) for some_SDT in (inputs_SKT, outputs_SOT)
    )
    return SideBySide((outputs_SGOT @ inputs_SGKT.mT).flatten(1), num_patients)


class SideBySide:
    """Gradients that are all there; those of an image are added up to its patient's."""

    def __init__(self, gradients_NP: torch.Tensor, num_patients: int) -> None:
        self._gradients_SP = gradients_NP
        if len(gradients_NP) != num_patients:
            self._gradients_SP = gradients_NP.reshape(num_patients, -1, gradients_NP.shape[1]).sum(1)
        norms_S = torch.linalg.vector_norm(self._gradients_SP, dim=1, dtype=_wide(gradients_NP))
        self.squared_norms_S = norms_S.cpu().double().square()

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors, flat (P)."""
        return factors_S @ self._gradients_SP


class NormsOnly:
    """Gradients of which only norms are computed; `weight_gradient` is the layer's own, of any outputs."""

    def __init__(
        self,
        inputs_SKT: torch.Tensor,
        outputs_SOT: torch.Tensor,
        outputs: torch.Tensor,
        weight_gradient: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self._outputs = outputs
        self._weight_gradient = weight_gradient
        inputs_STT, outputs_STT = (some.mT @ some for some in (inputs_SKT, outputs_SOT))
        squared_S = (inputs_STT * outputs_STT).sum((1, 2), dtype=_wide(inputs_STT))
        # The terms may cancel and be larger than their sum. A norm that is rounded up clips no less.
        lengths_ST = (inputs_STT.diagonal(0, 1, 2) * outputs_STT.diagonal(0, 1, 2)).sqrt()
        squared_S += _GRAM_ERROR * lengths_ST.sum(1, dtype=_wide(lengths_ST)).square()
        self.squared_norms_S = squared_S.cpu().double()

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors, flat (P)."""
        factors_N = factors_S.repeat_interleave(len(self._outputs) // len(factors_S))
        weighted = self._outputs * factors_N.view(-1, *[1] * (self._outputs.dim() - 1))
        return self._weight_gradient(weighted).flatten()


def _positions(some_NDT: torch.Tensor, num_patients: int) -> torch.Tensor:
    """Return (S, D, T): the images of a patient in a row, as one long map."""
    depth, positions = some_NDT.shape[1:]
    return some_NDT.reshape(num_patients, -1, depth, positions).movedim(1, 2).flatten(2)


def _wide(some: torch.Tensor) -> torch.dtype:
    """Return the type that squares are added in; Apple's GPUs have no float64."""
    return torch.float32 if some.device.type == "mps" else torch.float64
