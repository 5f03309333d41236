"""The fast steps for those who train with Opacus: its own optimizer, with patients for samples.

model = build()
optimizer = PatientOptimizer(
    torch.optim.SGD(model.parameters(), lr=0.1),
    private_step=private_step(model),
    noise_multiplier=1.0,
    max_grad_norm=1.0,
    expected_batch_size=64,
)
optimizer.attach_step_hook(accountant.get_optimizer_hook_fn(sample_rate=0.05))
for batches in steps:          # physical batches, of one Poisson sample of patients each step; or none
    for batch in batches:
        optimizer.accumulate(batch)      # in the place of `loss.backward()`
    optimizer.step()
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer

from fed_client.private_step.step import PatientBatch, PrivateStep
from fed_common.randomness import Randomness, SystemRandomness


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Clips and adds by a private step, takes its noise from the system, and is otherwise Opacus'.

    A step without a batch is noised and counted, too; each step begins at zero.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        private_step: PrivateStep,
        randomness: Randomness | None = None,
        **terms: Any,  # noqa: ANN401  # Opacus' own: noise_multiplier, max_grad_norm, expected_batch_size
    ) -> None:
        super().__init__(optimizer, **terms)
        self._private_step = private_step
        self._randomness = randomness or SystemRandomness()
        self._sum_P = np.zeros(sum(parameter.numel() for parameter in self.params))

    def accumulate(self, batch: PatientBatch, *, class_weights: Sequence[float] = ()) -> None:
        """Add the clipped gradients of whole patients to the step's sum."""
        self._sum_P += self._private_step.clipped_sum(
            batch, clip_norm=self.max_grad_norm, class_weights=class_weights
        )

    @property
    def grad_samples(self) -> list[torch.Tensor]:
        """Return the parameters: nothing is kept for each sample, and Opacus asks only for their number."""
        return list(self.params)

    @property
    def accumulated_iterations(self) -> int:
        """Return 1: physical batches make one step."""
        return 1

    def clip_and_accumulate(self) -> None:
        """Do nothing: `accumulate` has clipped."""

    def add_noise(self) -> None:
        """Write the noised sum to the gradients, and begin the next one."""
        self._randomness.add_noise(self._sum_P, std=self.noise_multiplier * self.max_grad_norm)
        start = 0
        for parameter in self.params:
            piece_P = torch.from_numpy(self._sum_P[start : start + parameter.numel()])
            parameter.grad = piece_P.view(parameter.shape).to(parameter, copy=True)
            start += parameter.numel()
        self._sum_P[:] = 0
