"""The same way down for a sum that is on a GPU: noise is drawn there, nothing comes back before the end."""

# Shape letters: P parameters of the flattened model.

from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import nn

from fed_client.private_step import BookkeepingStep, PatientBatch, PrivateStep
from fed_common.device_noise import gaussian_on
from fed_common.errors import MalformedMessageError
from fed_common.layout import cut
from fed_common.plans import TrainTerms
from fed_common.randomness import Randomness, SystemRandomness, grid_spacing


def stays_on_device(step: PrivateStep, randomness: Randomness) -> TypeGuard[BookkeepingStep]:
    """Tell whether steps can be taken where `step` has its sums.

    Only the operating system's randomness is drawn on a device, no double of it; and float64 is a matter of
    CUDA (and of ROCm, which has the same name).
    """
    return (
        isinstance(step, BookkeepingStep)
        and step.device.type == "cuda"
        and type(randomness) is SystemRandomness
    )


class DeviceDescent:
    """Goes down in a GPU's memory."""

    def __init__(self, model: nn.Module, step: BookkeepingStep, terms: TrainTerms, *, divisor: float) -> None:
        self._step, self._terms, self._divisor = step, terms, divisor
        self._parameters = [parameter.detach() for parameter in model.parameters()]
        self._weights_P = torch.cat([parameter.flatten() for parameter in self._parameters])
        self._velocity_P = torch.zeros_like(self._weights_P, dtype=torch.float64) if terms.momentum else None

    @property
    def numbers_at_once(self) -> int:
        """Return how many numbers of input a physical batch may have: in use, one takes up to 8 KB."""
        total: int = torch.cuda.get_device_properties(self._step.device).total_memory
        return total // 2 // 8192

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        dp = self._terms.dp
        change_P = gaussian_on(self._step.device, len(self._weights_P), std=dp.noise_std)
        for batch in batches:
            self._step.add_clipped_sum(
                batch, change_P, clip_norm=dp.clip_norm, class_weights=self._terms.class_weights
            )
        spacing = grid_spacing(dp.noise_std)
        change_P.mul_(1 / spacing).round_().mul_(spacing / self._divisor)
        if self._velocity_P is not None:
            change_P += self._velocity_P.mul_(self._terms.momentum)
            self._velocity_P.copy_(change_P)
        self._weights_P.sub_(change_P, alpha=self._terms.learning_rate)  # in float64, then narrowed
        self._follow()

    def _follow(self) -> None:
        if not self._weights_P.isfinite().all():
            raise MalformedMessageError("parameters must be finite float32 numbers")
        for parameter, piece in zip(self._parameters, cut(self._weights_P, self._parameters), strict=True):
            parameter.copy_(piece)
