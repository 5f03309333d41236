"""The seam at which one patient's influence is bounded, whatever computes the gradients behind it."""

# Shape letters: N images, C channels, H rows, W columns, S patients, P parameters of the flattened model.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class PatientBatch:
    """Whole patients' images as the model's input, with labels (`fed_common.objective`).

    `owner_N` says which of the `num_patients` patients an image belongs to; it ascends, and none is without.
    """

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    owner_N: torch.Tensor
    num_patients: int


class PrivateStep(Protocol):
    """Computes gradients of the model it was made for, as the model's parameters are at each call."""

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        """Return the sum (P) over patients of their clipped mean gradients.

        One patient more or less changes it by at most `clip_norm`, whatever its pixels are; a patient whose
        gradient isn't finite adds nothing. The order is that of the flat vector (`fed_common.layout`).
        """
        ...
