"""Scores a trained model on public images and on a hospital's own test patients, patient by patient."""

# Shape letters: N images, C channels, H rows, W columns, M patients, P parameters.

from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fed_client.dataset import LabelledImages
from fed_common.objective import decisions_right, has_several_labels, probabilities, shows
from fed_common.plans import Normalisation
from fed_common.scoring import by_patient, logits
from fed_common.test_set import TestSet
from fed_sim.experiments.cell import PatientScores


@torch.no_grad()
def score_patients(
    model: nn.Module,
    images: LabelledImages | TestSet,
    *,
    where: str,
    positive: int,
    normalisation: Normalisation,
) -> PatientScores | None:
    """Return the scores of the patients `where`, None if there are none."""
    labels_N, patients_N = images.labels_N, images.patients_N.numpy()
    if len(labels_N) == 0:
        return None
    logits_NK = logits(model, images.images_NCHW, normalisation)
    several_labels = has_several_labels(labels_N)
    scores_N = probabilities(logits_NK, several_labels=several_labels)[:, positive].double().numpy()
    scores_M, positive_M = by_patient(np.nan_to_num(scores_N), shows(labels_N, positive).numpy(), patients_N)
    right_NK = decisions_right(logits_NK, labels_N)
    # One class is right if all its decisions are: a wrong class is wrong in two.
    right_N = (right_NK.double().mean(dim=1) if several_labels else right_NK.all(dim=1).double()).numpy()
    right_M, _ = by_patient(right_N, right_N > 0, patients_N)
    return PatientScores(
        where=where,
        patients=_identity(images.images_NCHW, patients_N),
        scores_M=scores_M,
        positive_M=positive_M,
        right_M=right_M,
    )


def _identity(images_NCHW: torch.Tensor, patients_N: NDArray[np.int64]) -> str:
    return sha256(images_NCHW.numpy().tobytes() + patients_N.tobytes()).hexdigest()[:16]
