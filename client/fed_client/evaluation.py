"""Measures the shared model on a site's own patients and releases only noised counts of their scores."""

from torch import nn

from fed_client.dataset import LabelledImages
from fed_common.metrics import EvaluationCounts
from fed_common.objective import has_several_labels, shows
from fed_common.plans import EvaluationTerms
from fed_common.randomness import Randomness
from fed_common.scoring import by_patient, positive_scores


def release_counts(
    model: nn.Module,
    images: LabelledImages,
    terms: EvaluationTerms,
    *,
    positive: int,
    randomness: Randomness,
) -> EvaluationCounts:
    """Return the noised counts of patients by score, as the coordinator will read them.

    A patient's score is the mean over the patient's images and falls into one bin, which moves the released
    vector by 1 at most, so that the noise's standard deviation is the noise multiplier (privacy rule 16).
    """
    scores_N, positive_N = by_patient(
        positive_scores(
            model,
            images.images_NCHW,
            positive=positive,
            several_labels=has_several_labels(images.labels_N),
            normalisation=terms.normalisation,
        ),
        shows(images.labels_N, positive).numpy(),
        images.patients_N.numpy(),
    )
    exact = EvaluationCounts.of_scores(scores_N, positive_N, bins=terms.bins)
    std = terms.noise_multiplier
    released = exact.to_vector()
    randomness.add_noise(released, std=std)
    return EvaluationCounts.from_vector(released, noise_std=std)
