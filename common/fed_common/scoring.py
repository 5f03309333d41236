"""From a model and images to scores per patient, the same at the site and at the coordinator.

Letters: N images, M patients.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_common.greys import model_input
from fed_common.metrics import Estimate, exact_auc
from fed_common.test_set import TestSet

_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class TestFigures:
    """Exact figures on public images; `auc` counts each patient once."""

    __test__: ClassVar[bool] = False  # tells pytest that the name is an accident

    loss: float
    accuracy: float
    auc: Estimate


@torch.no_grad()
def judge(model: nn.Module, test_set: TestSet, *, positive: int) -> TestFigures:
    """Return how well `model` does on images that are public, so that nothing needs noise."""
    logits_NK = logits(model, test_set.images_NCHW)
    scores_M, positive_M = by_patient(
        torch.softmax(logits_NK, dim=1)[:, positive].double().numpy(),
        test_set.labels_N.numpy() == positive,
        test_set.patients_N.numpy(),
    )
    return TestFigures(
        loss=float(nn.functional.cross_entropy(logits_NK, test_set.labels_N)),
        accuracy=float((logits_NK.argmax(dim=1) == test_set.labels_N).double().mean()),
        auc=exact_auc(scores_M, positive_M),
    )


@torch.no_grad()
def logits(model: nn.Module, images_NCHW: torch.Tensor) -> torch.Tensor:
    """Return the model's logits (N, K), a bounded number of images at a time; stored greys are fine."""
    # This order of a convolution's weights in memory is 2.6x faster on a CPU.
    model = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    starts = range(0, len(images_NCHW), _BATCH)
    return torch.cat([model(model_input(images_NCHW[start : start + _BATCH])) for start in starts])


@torch.no_grad()
def positive_scores(model: nn.Module, images_NCHW: torch.Tensor, *, positive: int) -> NDArray[np.float64]:
    """Return each image's probability of the positive class; a broken model's NaN counts as 0."""
    probabilities_NK = torch.softmax(logits(model, images_NCHW), dim=1)
    scores_N: NDArray[np.float64] = probabilities_NK[:, positive].double().numpy()
    return np.nan_to_num(scores_N, nan=0.0)


def by_patient(
    scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_], patients_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each patient's mean score, and whether any of the patient's images is positive."""
    num_images_M = np.bincount(patients_N)
    scores_M = np.bincount(patients_N, weights=scores_N) / num_images_M
    return scores_M, np.bincount(patients_N, weights=positive_N) > 0
