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

from fed_common.greys import USUAL, model_input
from fed_common.metrics import Estimate, exact_auc
from fed_common.models import frozen_features, trained_part
from fed_common.objective import decisions_right, has_several_labels, image_losses, probabilities, shows
from fed_common.plans import Normalisation
from fed_common.test_set import TestSet

_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class TestFigures:
    """Exact figures on public images; `auc` is the positive class's and counts each patient once.

    `accuracy` is the share of right classes, with several labels that of right labels; `class_accuracy`
    has, for each class, the share of images in which it was rightly called present or absent.
    """

    __test__: ClassVar[bool] = False  # tells pytest that the name is an accident

    loss: float
    accuracy: float
    auc: Estimate
    class_accuracy: tuple[float, ...] = ()


@torch.no_grad()
def judge(
    model: nn.Module, test_set: TestSet, *, positive: int, normalisation: Normalisation = USUAL
) -> TestFigures:
    """Return how well `model` does on images that are public, so that nothing needs noise.

    The loss is without class weights, so that models trained with different ones can be compared.
    """
    labels_N = test_set.labels_N
    logits_NK = logits(model, test_set.images_NCHW, normalisation)
    probabilities_NK = probabilities(logits_NK, several_labels=has_several_labels(labels_N))
    scores_M, positive_M = by_patient(
        probabilities_NK[:, positive].double().numpy(),
        shows(labels_N, positive).numpy(),
        test_set.patients_N.numpy(),
    )
    return TestFigures(
        loss=float(image_losses(logits_NK, labels_N).mean()),
        accuracy=accuracy(logits_NK, labels_N),
        auc=exact_auc(scores_M, positive_M),
        class_accuracy=tuple(decisions_right(logits_NK, labels_N).double().mean(dim=0).tolist()),
    )


def accuracy(logits_NK: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Return the share of right classes, with several labels that of right labels."""
    right_NK = decisions_right(logits_NK, labels_N)
    # One class is right if all its decisions are: a wrong class is wrong in two.
    right = right_NK if has_several_labels(labels_N) else right_NK.all(dim=1)
    return float(right.double().mean())


@torch.no_grad()
def logits(model: nn.Module, images_NCHW: torch.Tensor, normalisation: Normalisation = USUAL) -> torch.Tensor:
    """Return the model's logits (N, K), a bounded number of images at a time; stored greys are fine."""
    if (features_NVD := frozen_features(model, images_NCHW, normalisation)) is not None:
        logits_NK: torch.Tensor = trained_part(model)(features_NVD[:, 0].float())
        return logits_NK
    # This order of a convolution's weights in memory is 2.6x faster on a CPU.
    model = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    starts = range(0, len(images_NCHW), _BATCH)
    return torch.cat(
        [model(model_input(images_NCHW[start : start + _BATCH], normalisation)) for start in starts]
    )


@torch.no_grad()
def positive_scores(
    model: nn.Module,
    images_NCHW: torch.Tensor,
    *,
    positive: int,
    several_labels: bool,
    normalisation: Normalisation,
) -> NDArray[np.float64]:
    """Return each image's probability of the positive class; a broken model's NaN counts as 0."""
    logits_NK = logits(model, images_NCHW, normalisation)
    probabilities_NK = probabilities(logits_NK, several_labels=several_labels)
    scores_N: NDArray[np.float64] = probabilities_NK[:, positive].double().numpy()
    return np.nan_to_num(scores_N, nan=0.0)


def by_patient(
    scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_], patients_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each patient's mean score, and whether any of the patient's images is positive."""
    num_images_M = np.bincount(patients_N)
    scores_M = np.bincount(patients_N, weights=scores_N) / num_images_M
    return scores_M, np.bincount(patients_N, weights=positive_N) > 0
