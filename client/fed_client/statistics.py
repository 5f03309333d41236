"""Releases, once and with noise, which classes and which greys a site's patients have."""

# Shape letters: N images, M patients, K classes, B equal steps of grey.

import numpy as np
import torch
from numpy.typing import NDArray

from fed_client.dataset import LabelledImages
from fed_common.greys import grey_bins
from fed_common.objective import shows
from fed_common.plans import StatisticsTerms
from fed_common.randomness import Randomness
from fed_common.statistics import PART, class_unit

_IMAGES_AT_ONCE = 1024


def release_statistics(
    images: LabelledImages, terms: StatisticsTerms, *, positive: int, randomness: Randomness
) -> NDArray[np.float64]:
    """Return the noised sum of all patients' vectors, classes first, as `fed_common.statistics` lays it out.

    Of a patient whose images show different classes the positive one counts, otherwise the most frequent.
    """
    released = patient_sum(images, terms, positive=positive)
    randomness.add_noise(released, std=terms.noise_multiplier)
    return released


def patient_sum(images: LabelledImages, terms: StatisticsTerms, *, positive: int) -> NDArray[np.float64]:
    """Return the sum without noise, which never leaves; one patient more or less moves it by 1 at most."""
    images_MK = _images_of_each_class(images, terms.classes)
    if terms.several_labels:
        classes_K = _several_classes(images_MK, class_unit(terms))
    else:
        class_M = np.where(images_MK[:, positive] > 0, positive, images_MK.argmax(axis=1))
        classes_K = np.bincount(class_M, minlength=terms.classes).astype(np.float64) * class_unit(terms)
    return np.concatenate((classes_K, PART * _mean_histograms(images, terms.bins)))


def _images_of_each_class(images: LabelledImages, num_classes: int) -> NDArray[np.float64]:
    patients_N = images.patients_N.numpy()
    images_MK = np.empty((images.num_patients, num_classes))
    for number in range(num_classes):
        shown_N = shows(images.labels_N, number).numpy()
        images_MK[:, number] = np.bincount(patients_N, weights=shown_N, minlength=images.num_patients)
    return images_MK


def _several_classes(images_MK: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return the sum over patients of `unit` in each class they show, shortened to the length `PART`."""
    vectors_MK: NDArray[np.float64] = np.where(images_MK > 0, unit, 0.0)
    factors_M = PART / np.maximum(np.linalg.norm(vectors_MK, axis=1), PART)
    sum_K: NDArray[np.float64] = factors_M @ vectors_MK
    return sum_K


def _mean_histograms(images: LabelledImages, bins: int) -> NDArray[np.float64]:
    """Return the sum over patients of the mean histogram of their images; each adds 1 in all."""
    patients_N = images.patients_N.numpy()
    weights_N = 1 / np.bincount(patients_N, minlength=images.num_patients)[patients_N]
    sum_B = np.zeros(bins)
    for start in range(0, len(patients_N), _IMAGES_AT_ONCE):
        chunk = slice(start, start + _IMAGES_AT_ONCE)
        shares_NB = _histograms(images.images_NCHW[chunk], bins)
        sum_B += weights_N[chunk] @ shares_NB
    return sum_B


def _histograms(images_NCHW: torch.Tensor, bins: int) -> NDArray[np.float64]:
    count = len(images_NCHW)
    places_NP = grey_bins(images_NCHW, bins=bins).reshape(count, -1) + bins * np.arange(count)[:, None]
    pixels_NB = np.bincount(places_NP.reshape(-1), minlength=count * bins).reshape(count, bins)
    shares_NB: NDArray[np.float64] = pixels_NB / places_NP.shape[1]
    return shares_NB
