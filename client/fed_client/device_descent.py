"""The same way down for a sum that is on a GPU: noise is drawn there, nothing comes back before the end."""

# Shape letters: P parameters of the flattened model.

from collections.abc import Iterator
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.private_step import BookkeepingStep, PatientBatch, PrivateStep
from fed_common.device_noise import gaussian_on
from fed_common.errors import MalformedMessageError
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
    """Goes down in a GPU's memory, in float64."""

    def __init__(self, model: nn.Module, step: BookkeepingStep, terms: TrainTerms, *, divisor: float) -> None:
        self._step, self._terms, self._divisor = step, terms, divisor
        self._parameters = [parameter.detach() for parameter in model.parameters()]
        self._start_P = torch.cat([parameter.flatten() for parameter in self._parameters])
        self._moved_P = torch.zeros_like(self._start_P, dtype=torch.float64)
        self._velocity_P = torch.zeros_like(self._moved_P) if terms.momentum else None

    @property
    def numbers_at_once(self) -> int:
        """Return how many numbers of input a physical batch may have: in use, one takes up to 8 KB."""
        total: int = torch.cuda.get_device_properties(self._step.device).total_memory
        return total // 2 // 8192

    def take(self, batches: Iterator[PatientBatch]) -> None:
        """Take a step with those who were drawn: nothing of their sum is kept."""
        dp = self._terms.dp
        change_P = gaussian_on(self._step.device, len(self._start_P), std=dp.noise_std)
        for batch in batches:
            self._step.add_clipped_sum(
                batch, change_P, clip_norm=dp.clip_norm, class_weights=self._terms.class_weights
            )
        spacing = grid_spacing(dp.noise_std)
        change_P.mul_(1 / spacing).round_().mul_(spacing / self._divisor)
        if self._velocity_P is not None:
            change_P += self._velocity_P.mul_(self._terms.momentum)
            self._velocity_P.copy_(change_P)
        self._moved_P.sub_(change_P, alpha=self._terms.learning_rate)
        self._follow()

    def moved(self) -> NDArray[np.float64]:
        """Return how far the flat parameters are from where they began, as memory of the caller's."""
        moved_P: NDArray[np.float64] = self._moved_P.cpu().numpy()
        return moved_P

    def _follow(self) -> None:
        narrow_P = (self._start_P + self._moved_P).float()
        if not narrow_P.isfinite().all():
            raise MalformedMessageError("parameters must be finite float32 numbers")
        start = 0
        for parameter in self._parameters:
            end = start + parameter.numel()
            parameter.copy_(narrow_P[start:end].view(parameter.shape))
            start = end
