"""Bounds what one patient can move a model in one step: clipped gradients, patient by patient."""

from collections.abc import Callable

from torch import nn

from fed_client.private_step.opacus_step import OpacusStep
from fed_client.private_step.step import PatientBatch, PrivateStep

__all__ = ["MakeStep", "OpacusStep", "PatientBatch", "PrivateStep", "private_step"]

MakeStep = Callable[[nn.Module], PrivateStep]


def private_step(model: nn.Module) -> PrivateStep:
    """Return what computes the clipped sums of `model`, whose parameters it may rearrange in memory.

    Raises:
        PrivacyError: the model has a layer whose gradients can't be told apart by image.
    """
    return OpacusStep(model)
