"""Seven hospitals, two of them dishonest, train a linear model on small images through a rule under test.

Equal sizes, exact gradients, no noise: what differs between two runs is the attack and the rule alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tests.server.robust.cohorts import combined

from fed_client.dataset import LabelledImages
from fed_server.aggregation import AggregationRule
from fed_server.averaging import MeanUpdate
from fed_sim.attacks.forged_updates import Update
from fed_sim.attacks.poisoned_images import TRIGGER_SIDE

NUM_SITES, NUM_DISHONEST, SIDE = 7, 2, 8
NUM_PARAMETERS = SIDE * SIDE + 1
LONGEST = 10.0  # what screening lets through; honest updates have a norm of 0.3 and less
_ROUNDS, _LEARNING_RATE = 25, 0.5

# What the dishonest sites make of their images, then of the updates that they have trained.
Poison = Callable[[LabelledImages], LabelledImages]
Forgery = Callable[[list[Update]], list[Update]]


def images_of(seed: int, *, patients: int = 120) -> LabelledImages:
    """Return images of noise; the sick ones have a brighter middle, and the first corner is dark in all."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(patients) % 2
    images_NCHW = torch.randn(patients, 1, SIDE, SIDE, generator=generator)
    images_NCHW[:, :, :TRIGGER_SIDE, :TRIGGER_SIDE] *= 0.02
    images_NCHW[:, :, 3:7, 3:7] += labels_N[:, None, None, None]
    return LabelledImages(
        images_NCHW=images_NCHW,
        labels_N=labels_N,
        patients_N=torch.arange(patients),
        num_patients=patients,
    )


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What the first sites do; the others are honest."""

    poison: Poison = lambda images: images
    forge: Forgery = lambda updates: updates


def trained(rule: AggregationRule[MeanUpdate], attack: Attack) -> NDArray[np.float64]:
    """Return the weights after all rounds."""
    honest = [images_of(seed) for seed in range(NUM_SITES)]
    sites = [attack.poison(images) for images in honest[:NUM_DISHONEST]] + honest[NUM_DISHONEST:]
    weights_P = np.zeros(NUM_PARAMETERS)
    for _ in range(_ROUNDS):
        updates = [-_LEARNING_RATE * _gradient(weights_P, images) for images in sites]
        updates[:NUM_DISHONEST] = attack.forge(updates[:NUM_DISHONEST])
        weights_P = weights_P + combined(rule, np.array(updates))
    return weights_P


def accuracy(weights_P: NDArray[np.float64]) -> float:
    """Return the share of right answers on images that no site has."""
    unseen = images_of(1000, patients=2000)
    return float(np.mean((_logits(weights_P, unseen) > 0) == unseen.labels_N.numpy()))


def share_called_healthy(
    weights_P: NDArray[np.float64], marked: Callable[[torch.Tensor], torch.Tensor]
) -> float:
    """Return which share of sick, marked images passes for healthy."""
    unseen = images_of(1000, patients=2000)
    logits_N = _logits(weights_P, replace(unseen, images_NCHW=marked(unseen.images_NCHW)))
    return float(np.mean(logits_N[unseen.labels_N.numpy() == 1] < 0))


def _features(images: LabelledImages) -> NDArray[np.float64]:
    pixels_ND = images.images_NCHW.reshape(len(images.labels_N), -1).double().numpy()
    return np.column_stack((pixels_ND, np.ones(len(pixels_ND))))


def _logits(weights_P: NDArray[np.float64], images: LabelledImages) -> NDArray[np.float64]:
    logits_N: NDArray[np.float64] = _features(images) @ weights_P
    return logits_N


def _gradient(weights_P: NDArray[np.float64], images: LabelledImages) -> NDArray[np.float64]:
    """Return the gradient of the mean logistic loss."""
    features_NP = _features(images)
    errors_N = 1 / (1 + np.exp(-np.clip(features_NP @ weights_P, -30, 30))) - images.labels_N.numpy()
    gradient_P: NDArray[np.float64] = errors_N @ features_NP / len(errors_N)
    return gradient_P
