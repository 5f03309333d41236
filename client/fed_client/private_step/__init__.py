"""Bounds what one patient can move a model in one step: clipped gradients, patient by patient."""

import logging
from collections.abc import Callable
from contextlib import suppress

from torch import nn

from fed_client.private_step.bookkeeping_step import BookkeepingStep
from fed_client.private_step.compiled_step import CompiledStep
from fed_client.private_step.step import (
    PatientBatch,
    PrivateStep,
    UnsupportedLayerError,
    move_to_accelerator,
)

__all__ = ["BookkeepingStep", "MakeStep", "PatientBatch", "PrivateStep", "private_step"]

MakeStep = Callable[[nn.Module], PrivateStep]

logger = logging.getLogger(__name__)


def private_step(model: nn.Module) -> PrivateStep:
    """Return the fastest way to the clipped sums of `model`, which moves to a GPU if that is faster.

    Raises:
        PrivacyError: the model has a layer whose gradients can't be told apart by image.
    """
    with suppress(UnsupportedLayerError):
        return CompiledStep(model)
    move_to_accelerator(model)
    try:
        return BookkeepingStep(model)
    except UnsupportedLayerError as error:
        # Here, because Opacus takes 2 seconds and 150 MB to import, and most networks do without.
        from fed_client.private_step.opacus_step import OpacusStep  # noqa: PLC0415

        logger.warning("private training is several times slower, by Opacus' hooks: %s", error)
        return OpacusStep(model)
