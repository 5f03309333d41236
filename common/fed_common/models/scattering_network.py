"""A linear head on scattering features: the most a federation can learn from few patients at a small epsilon.

Source: Tramer and Boneh, "Differentially Private Learning Needs Better Features (or Much More Data)" (2021).
"""

from functools import partial

from torch import nn

from fed_common.models.architecture import Architecture
from fed_common.models.frozen import FrozenThenHead
from fed_common.models.scattering_features import (
    RIDGE,
    RIDGE_FOR_FEW,
    ScatteringFeatures,
    constants,
    num_features,
)


def scattering_network(*, ridge: float, channels: int, size: int, classes: int) -> FrozenThenHead:
    """Return the network; its features are averaged over quarters, so that every `size` has the same head."""
    del size
    # One feature is the same for every picture, so a bias would be a second one.
    return FrozenThenHead(ScatteringFeatures(ridge), nn.Linear(num_features(channels), classes, bias=False))


def _architecture(ridge: float) -> Architecture:
    return Architecture(
        sizes=range(32, 257, 32),
        build=partial(scattering_network, ridge=ridge),
        constants=constants(ridge),
    )


SCATTERING = _architecture(RIDGE)
SCATTERING_FOR_FEW = _architecture(RIDGE_FOR_FEW)
