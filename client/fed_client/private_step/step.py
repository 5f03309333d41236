"""The seam at which one patient's influence is bounded, whatever computes the gradients behind it."""

# Shape letters: N images, C channels, H rows, W columns, S patients, P parameters of the flattened model.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common.errors import PrivacyError

# A gradient in float32 depends on who else is in the batch, in the last places. Clipped shorter by so much, a
# patient moves the sum by less than the clip norm all the same.
ROUNDING = 2.0**-16

# A sum over patients of what each parameter gets, in its shape and order.
Sums = list[torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # a repr ends in a log
class PatientBatch:
    """Whole patients' images as the model's input, with labels (`fed_common.objective`).

    `owner_N` says which of the `num_patients` patients an image belongs to; it ascends, and none is without.
    """

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    owner_N: torch.Tensor
    num_patients: int

    def only(self, patients_S: torch.Tensor) -> "PatientBatch":
        """Return the batch of those patients for which `patients_S` is true."""
        kept_N = patients_S[self.owner_N]
        return PatientBatch(
            images_NCHW=self.images_NCHW[kept_N],
            labels_N=self.labels_N[kept_N],
            owner_N=(patients_S.cumsum(0) - 1)[self.owner_N[kept_N]],
            num_patients=int(patients_S.sum()),
        )


def move_to_accelerator(model: nn.Module) -> None:
    """Move the model to this machine's GPU, if it has one, whose products are then exact to float32.

    TensorFloat-32, in which PyTorch convolves otherwise, rounds to 11 bits: `ROUNDING` would not cover it.
    """
    if torch.accelerator.is_available():
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        model.to(torch.accelerator.current_accelerator())


def by_number_of_images(batch: PatientBatch) -> Iterator[PatientBatch]:
    """Yield the batch in parts in which all patients have as many images, for an axis of patients."""
    counts_S = torch.bincount(batch.owner_N, minlength=batch.num_patients)
    numbers = counts_S.unique().tolist()  # type: ignore[no-untyped-call]
    for number in numbers:
        yield batch if len(numbers) == 1 else batch.only(counts_S == number)


def added(parts: Iterable[Sums]) -> Sums:
    """Return the sum of the parts, in float64 if there are several; nothing of none."""
    parts = iter(parts)
    total = next(parts, [])
    for part in parts:
        total = [one.double().add_(other) for one, other in zip(total, part, strict=True)]
    return total


class UnsupportedLayerError(PrivacyError):
    """The network has a layer that this way doesn't know; another may."""


class PrivateStep(Protocol):
    """Computes gradients of the model it was made for, as the model's parameters are at each call."""

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.floating]:
        """Return the sum (P) over patients of their clipped mean gradients.

        One patient more or less changes it by at most `clip_norm`, whatever its pixels are; a patient whose
        gradient isn't finite adds nothing. The order is that of the flat vector (`fed_common.layout`). It is
        float32 or float64, and what adds several up is float64. The caller may write to it.
        """
        ...
