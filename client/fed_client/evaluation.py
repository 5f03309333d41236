"""Measures the shared model on a site's own patients and releases only a noised histogram of their scores."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.dataset import LabelledImages
from fed_common.metrics import EvaluationCounts
from fed_common.plans import EvaluationTerms
from fed_common.randomness import Randomness, snap

_BATCH = 512


def release_counts(
    model: nn.Module,
    images: LabelledImages,
    terms: EvaluationTerms,
    *,
    positive: int,
    randomness: Randomness,
) -> EvaluationCounts:
    """Return the noised histogram of patients' scores.

    A patient's score is the mean over the patient's images and adds 1 to one bin, so that the noise's
    standard deviation in patients is the noise multiplier (privacy rule 16).
    """
    scores_N = positive_scores(model, images.images_NCHW, positive=positive)
    patients_N = images.patients_N.numpy()
    num_images = np.bincount(patients_N, minlength=images.num_patients)
    mean_scores = np.bincount(patients_N, weights=scores_N, minlength=images.num_patients) / num_images
    is_positive = np.zeros(images.num_patients, dtype=np.bool_)
    is_positive[patients_N[images.labels_N.numpy() == positive]] = True
    exact = EvaluationCounts.of_scores(mean_scores, is_positive, bins=terms.bins)
    std = terms.noise_multiplier
    noise = randomness.gaussian(2 * terms.bins, std=std)
    return EvaluationCounts(
        negatives_B=snap(exact.negatives_B + noise[: terms.bins], std=std),
        positives_B=snap(exact.positives_B + noise[terms.bins :], std=std),
        noise_std=std,
    )


@torch.no_grad()
def positive_scores(model: nn.Module, images_NCHW: torch.Tensor, *, positive: int) -> NDArray[np.float64]:
    """Return each image's probability of the positive class; a broken model's NaN counts as 0."""
    model.eval()
    parts = [torch.softmax(model(batch), dim=1)[:, positive] for batch in images_NCHW.split(_BATCH)]
    return np.nan_to_num(torch.cat(parts).double().numpy(), nan=0.0)
