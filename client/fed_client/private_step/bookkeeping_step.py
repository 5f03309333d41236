"""The fast way for most networks: one backward pass without weight gradients, and books kept of it.

1. Hooks record each layer's input and output during the forward pass.
2. One backward pass gives the gradients at all outputs; the parameters themselves need none.
3. From each layer's input and output gradient follow its patients' gradients, or only their norms.
4. Patients whose gradient isn't finite are left out, and the others are done again: 0 * NaN is NaN.
5. The clipped sum is a weighted sum per layer.

Source: Bu et al., "Differentially Private Optimization on Large Model at Small Cost" (2023), section 2, whose
book-keeping this is.
"""

# Shape letters: N images, K classes, S patients, P parameters of the flattened model.

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.private_step.group_norm import in_sequence, normalised, parameter_gradients
from fed_client.private_step.layer_gradients import (
    LayerGradients,
    SideBySide,
    is_supported,
    layer_gradients,
)
from fed_client.private_step.small_maps import convolved
from fed_client.private_step.step import (
    ROUNDING,
    PatientBatch,
    Sums,
    UnsupportedLayerError,
    added,
    by_number_of_images,
)
from fed_common.errors import PrivacyError
from fed_common.layout import cut, joined
from fed_common.objective import image_losses


class _Record(NamedTuple):
    """What a layer got and gave in the forward pass, and how often that had been written to."""

    layer: nn.Module
    inputs: torch.Tensor
    output: torch.Tensor
    version: int


class BookkeepingStep:
    """Keeps books of one network's layers."""

    def __init__(self, model: nn.Module) -> None:
        """Hook into `model`.

        Raises:
            UnsupportedLayerError: a layer with parameters is unknown, or shares them with another.
        """
        self._model = model
        self.device = next(model.parameters()).device
        # On a CPU poolings and convolutions are faster with channels last, and less is copied to unfold.
        cpu = self.device.type == "cpu"
        self._order = torch.channels_last if cpu else torch.contiguous_format
        model.to(memory_format=self._order)  # type: ignore[call-overload]
        self._parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
        self._layers = _layers(model)
        self._size = sum(parameter.numel() for parameter in self._parameters.values())
        self._records: list[_Record] = []
        for layer in model.modules():
            if hasattr(layer, "inplace"):  # what a layer gave must stay what it was
                setattr(layer, "inplace", False)  # noqa: B010  # for mypy an attribute of a module is one too
            if type(layer) is nn.Sequential:
                layer.forward = partial(in_sequence, layer)  # type: ignore[method-assign]
        for layer in self._layers:
            if type(layer) is nn.Conv2d:
                layer.forward = partial(convolved, layer)  # type: ignore[method-assign]
            elif type(layer) is nn.GroupNorm:
                layer.forward = partial(normalised, layer)  # type: ignore[method-assign]
            layer.register_forward_hook(self._record)

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        """Return the sum (P) over patients of their clipped mean gradients."""
        sums = self.clipped_sums(batch, clip_norm=clip_norm, class_weights=class_weights)
        sum_P: NDArray[np.floating] = joined(sums, torch.empty(self._size, dtype=sums[0].dtype)).numpy()
        return sum_P

    def clipped_sums(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> Sums:
        """Return the sum for each parameter, on the processor, without a copy into one vector."""
        parts = (
            [piece.cpu() for piece in self._clipped_pieces(same, clip_norm, class_weights)]
            for same in by_number_of_images(batch)
        )
        return added(parts) or [nothing.cpu() for nothing in self._nothing()]

    def add_clipped_sum(
        self,
        batch: PatientBatch,
        total_P: torch.Tensor,
        *,
        clip_norm: float,
        class_weights: Sequence[float] = (),
    ) -> None:
        """Add the sum to `total_P`, on whatever device that is."""
        totals = cut(total_P, list(self._parameters.values()))
        for same in by_number_of_images(batch):
            for total, piece in zip(
                totals, self._clipped_pieces(same, clip_norm, class_weights), strict=True
            ):
                total.add_(piece.to(total.device))

    def _clipped_pieces(
        self, batch: PatientBatch, clip_norm: float, weights: Sequence[float]
    ) -> Iterator[torch.Tensor]:
        """Return each parameter's part of the sum; the patients have as many images."""
        if not batch.num_patients:
            return iter(self._nothing())
        gradients = self._gradients(batch, weights)
        squares = [one.squared_norms_S for layer in gradients.values() for one in layer]
        squared_S = torch.stack(squares).cpu().double().sum(0)  # one way from a GPU instead of many
        finite_S = squared_S.isfinite()
        if not finite_S.all():
            return self._clipped_pieces(batch.only(finite_S), clip_norm, weights)
        factors_S = (clip_norm * (1 - ROUNDING) / squared_S.sqrt()).clamp(max=1)
        return self._pieces(gradients, factors_S.to(self.device, batch.images_NCHW.dtype))

    def _pieces(
        self, gradients: dict[nn.Module, list[LayerGradients]], factors_S: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        for layer in self._layers:
            for part in gradients.pop(layer):  # its memory makes room for the sum
                yield part.weighted_sum(factors_S)

    def _nothing(self) -> Sums:
        return [torch.zeros_like(parameter) for parameter in self._parameters.values()]

    def _gradients(
        self, batch: PatientBatch, weights: Sequence[float]
    ) -> dict[nn.Module, list[LayerGradients]]:
        records, at_outputs = self._passes(batch, weights)
        gradients: dict[nn.Module, list[LayerGradients]] = {}
        while records:  # the maps of a layer that is done make room
            record = records.pop()
            gradients[record.layer] = _gradients_of(record, at_outputs.pop(), batch.num_patients)
        return gradients

    def _passes(
        self, batch: PatientBatch, weights: Sequence[float]
    ) -> tuple[list[_Record], list[torch.Tensor]]:
        """Return what passed through each layer, and the gradient at what it gave."""
        self._records.clear()
        # The pixels need a gradient so that the outputs have one; nobody asks for the pixels' own.
        images_NCHW = batch.images_NCHW.detach().to(self.device)
        if images_NCHW.dim() == 4:
            images_NCHW = images_NCHW.contiguous(memory_format=self._order)
        images_NCHW.requires_grad_()
        logits_NK = torch.func.functional_call(self._model, self._parameters, (images_NCHW,))
        # A patient's gradient is the mean over its images.
        losses_N = (
            image_losses(logits_NK, batch.labels_N.to(self.device), weights)
            * batch.num_patients
            / len(logits_NK)
        )
        records, self._records = self._records, []
        if sorted(id(record.layer) for record in records) != sorted(map(id, self._layers)):
            raise PrivacyError("the model can't be trained privately: a layer is used twice, or not at all")
        if any(record.version != record.output._version for record in records):
            raise PrivacyError("the model can't be trained privately: what a layer gave is changed in place")
        return records, list(torch.autograd.grad(losses_N.sum(), [record.output for record in records]))

    def _record(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self._records.append(_Record(layer, inputs[0].detach(), output, output._version))


def _gradients_of(record: _Record, at_output: torch.Tensor, num_patients: int) -> list[LayerGradients]:
    known = parameter_gradients(record.output)
    if known:
        return [SideBySide(gradients_NP, num_patients) for gradients_NP in known]
    return list(layer_gradients(record.layer, record.inputs, at_output, num_patients=num_patients))


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return those that have parameters, in the order of these."""
    layers: list[nn.Module] = []
    size = 0
    for name, layer in model.named_modules():
        own = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        if own and not is_supported(layer):
            raise UnsupportedLayerError(f"layer {name or 'itself'} is a {type(layer).__name__}")
        if own:
            layers.append(layer)
            size += own
    if size != sum(parameter.numel() for parameter in model.parameters()):
        raise UnsupportedLayerError("two layers share their parameters")
    return layers
