"""One layer's gradients, patient by patient, in the form that is cheapest for its shapes.

The gradient of a convolution's weights is the product of two matrices: the gradient at the layer's output
(O, T), T positions, and its unfolded input (K, T). Either the products (O, K) are put side by side, or only
their norms are computed: the squared norm of G X' is the sum over (G'G) * (X'X). The weighted sum over
patients is then one product, in which each patient's outputs carry its weight.

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

from fed_client.private_step.layer_inputs import ConvolutionInputs, LayerInputs, LinearInputs
from fed_client.private_step.standardised_weights import StandardisedWeights
from fed_common.models.weight_standardisation import WeightStandardisedConvolution

# Rounding error of a Gram matrix's product, in parts of its terms' sizes: 16 units of float32's last place.
_GRAM_ERROR = 2.0**-20
# A product below this may be nothing in float32, where who chooses the weights could hide a gradient.
_UNDERFLOW = 2.0**-126
# Of 64 squares that are added in float32 at most 4 units of its last place are lost.
_RUN, _MOST_IN_DOUBLE = 64, 1 << 12
# Unfolded inputs that are multiplied while they are in the processor's cache.
_NUMBERS_AT_ONCE = 5 << 18

# Gives a sum of gradients (O, K) the order of its parameter.
InOrder = Callable[[torch.Tensor], torch.Tensor]


def _as_it_is(some: torch.Tensor) -> torch.Tensor:
    return some


class LayerGradients(Protocol):
    """The gradients of one of a layer's parameters; `squared_norms_S` is float64."""

    squared_norms_S: torch.Tensor

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors, shaped as the parameter."""
        ...


def is_supported(layer: nn.Module) -> bool:
    """Tell whether `layer_gradients` knows the layer; a subclass may compute something else."""
    if type(layer) in (nn.Conv2d, WeightStandardisedConvolution):
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
    height, width = layer.kernel_size
    standardised = None
    if isinstance(layer, WeightStandardisedConvolution):
        weights, widths = layer.standardised()
        standardised = StandardisedWeights(
            weights_OK=weights.detach().movedim(1, 3).flatten(1), widths_O=widths.detach().flatten()
        )
    outputs_NTGO = outputs_NOHW.movedim(1, 3).reshape(
        len(outputs_NOHW), -1, layer.groups, layer.out_channels // layer.groups
    )
    yield _of_product(
        ConvolutionInputs(layer=layer, inputs_NCHW=inputs_NCHW, size=outputs_NOHW.shape[2:]),
        outputs_NTGO.movedim(2, 1),
        num_patients,
        lambda sum_OK: sum_OK.view(len(sum_OK), height, width, -1).permute(0, 3, 1, 2),
        standardised,
    )
    if layer.bias is not None:
        yield SideBySide(outputs_NOHW.sum((2, 3)), num_patients)


def _of_linear(
    layer: nn.Linear, inputs: torch.Tensor, outputs: torch.Tensor, num_patients: int
) -> Iterator[LayerGradients]:
    inputs_NTK, outputs_NTO = (some.reshape(len(some), -1, some.shape[-1]) for some in (inputs, outputs))
    yield _of_product(LinearInputs(inputs_NTK=inputs_NTK), outputs_NTO[:, None], num_patients, _as_it_is)
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
        yield SideBySide(
            (gradients.sum(over) if over else gradients).flatten(1),
            num_patients,
            lambda sum_P: sum_P.view(layer.weight.shape),
        )


def _of_product(
    inputs: LayerInputs,
    outputs_NGTO: torch.Tensor,
    num_patients: int,
    in_order: InOrder,
    standardised: StandardisedWeights | None = None,
) -> LayerGradients:
    """Return the gradients of weights (O, K) for each of G groups, from its inputs."""
    outputs_SGTO = _in_a_row(outputs_NGTO, num_patients)
    groups, positions, height = outputs_SGTO.shape[1:]
    width = inputs.width
    if groups == 1 and positions * (width + height) < width * height:
        return NormsOnly(inputs, outputs_SGTO[:, 0], in_order, standardised)
    gradients_SGOK = outputs_SGTO.new_empty(num_patients, groups, height, width)
    at_once = num_patients
    if outputs_NGTO.device.type == "cpu":
        at_once = max(1, _NUMBERS_AT_ONCE // (positions * groups * width))
    images_each = len(outputs_NGTO) // num_patients
    for first in range(0, num_patients, at_once):
        end = min(first + at_once, num_patients)
        inputs_NGTK = inputs.unfolded(slice(first * images_each, end * images_each))
        torch.matmul(
            outputs_SGTO[first:end].mT,
            _in_a_row(inputs_NGTK, end - first),
            out=gradients_SGOK[first:end],
        )
    gradients_SOK = gradients_SGOK.flatten(1, 2)
    if standardised:
        gradients_SOK = standardised.behind(gradients_SOK)
    return SideBySide(gradients_SOK.flatten(1), num_patients, lambda sum_P: in_order(sum_P.view(-1, width)))


def _in_a_row(some_NGT: torch.Tensor, num_patients: int) -> torch.Tensor:
    """Return (S, G, T, ...) of (N, G, T, ...): a patient's images behind each other."""
    return _by_patient(some_NGT, num_patients).movedim(1, 2).flatten(2, 3)


def _by_patient(some: torch.Tensor, num_patients: int) -> torch.Tensor:
    """Return (S, M, ...) of (N, ...)."""
    return some.reshape(num_patients, -1, *some.shape[1:])


class SideBySide:
    """Gradients that are all there; those of an image are added up to its patient's."""

    def __init__(self, gradients_NP: torch.Tensor, num_patients: int, in_order: InOrder = _as_it_is) -> None:
        self._gradients_SP = gradients_NP
        self._in_order = in_order
        if len(gradients_NP) != num_patients:
            self._gradients_SP = _by_patient(gradients_NP, num_patients).sum(1)
        self.squared_norms_S = _squared_norms(self._gradients_SP)

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors."""
        return self._in_order(factors_S @ self._gradients_SP)


class NormsOnly:
    """Gradients of which only norms are computed; their weighted sum is one product for all patients."""

    def __init__(
        self,
        inputs: LayerInputs,
        outputs_STO: torch.Tensor,
        in_order: InOrder,
        standardised: StandardisedWeights | None = None,
    ) -> None:
        # Unfolded once more for the sum, for all layers together would take much memory.
        self._inputs, self._outputs_STO, self._in_order = inputs, outputs_STO, in_order
        self._standardised = standardised
        if standardised:
            outputs_STO = outputs_STO / standardised.widths_O
        wide = _wide(outputs_STO)
        inputs_STT, outputs_STT = (
            products.to(wide)
            for products in (inputs.products(len(outputs_STO)), outputs_STO @ outputs_STO.mT)
        )
        squared_S = (inputs_STT * outputs_STT).sum((1, 2))
        if standardised:
            inputs_STK = _in_a_row(inputs.unfolded(), len(outputs_STO))[:, 0]
            squared_S -= standardised.lost_squares_S(inputs_STK, outputs_STO.mT)
        # The terms may cancel and be larger than their sum. A norm that is rounded up clips no less.
        of_inputs_ST, of_outputs_ST = (some.diagonal(0, 1, 2).sqrt() for some in (inputs_STT, outputs_STT))
        squared_S += _GRAM_ERROR * (of_inputs_ST * of_outputs_ST).sum(1).square()
        squared_S += _UNDERFLOW * inputs.width * of_outputs_ST.sum(1).square()
        squared_S += _UNDERFLOW * outputs_STO.shape[2] * of_inputs_ST.sum(1).square()
        self.squared_norms_S = squared_S

    def weighted_sum(self, factors_S: torch.Tensor) -> torch.Tensor:
        """Return the sum over patients of their gradients times their factors."""
        weighted_STO = self._outputs_STO * factors_S[:, None, None]
        # The images of a patient are in a row, so that the rows are those of the outputs.
        sum_OK = self._inputs.sum_with(weighted_STO.flatten(0, 1))
        return self._in_order(self._standardised.behind(sum_OK) if self._standardised else sum_OK)


def _squared_norms(some_SP: torch.Tensor) -> torch.Tensor:
    """Return the sums of squares (S), of many numbers in float32 first, run by run, which is faster."""
    numbers = some_SP.shape[1]
    if numbers > _MOST_IN_DOUBLE and not numbers % _RUN:
        some_SP = torch.linalg.vector_norm(some_SP.view(len(some_SP), -1, _RUN), dim=2)
    norms_S: torch.Tensor = torch.linalg.vector_norm(some_SP, dim=1, dtype=_wide(some_SP))
    return norms_S.square() + numbers * _UNDERFLOW


def _wide(some: torch.Tensor) -> torch.dtype:
    """Return the type that squares are added in; Apple's GPUs have no float64."""
    return torch.float32 if some.device.type == "mps" else torch.float64
