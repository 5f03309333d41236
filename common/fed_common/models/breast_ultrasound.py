"""A linear head on scattering features and on the score of a network that has seen drawn breast ultrasounds.

The score alone tells malignant lesions from others; the head learns in private what to make of it at these
hospitals, and what else counts. One number costs little under noise, however much went into it.
"""

# Shape letters: N images, C channels, H rows, W columns, D features.

import torch
from torch import nn

from fed_common.greys import USUAL
from fed_common.models import scattering_features
from fed_common.models.architecture import Architecture
from fed_common.models.frozen import FrozenThenHead
from fed_common.models.malignancy_score import malignancy_score, weights_digest
from fed_common.models.scattering_features import CONSTANT, RIDGE_FOR_FEW, ScatteringFeatures, beside

SCORE_LENGTH = 0.4  # the most of a feature vector's length 1 that the score takes
SCORE_SCALE = 4.0  # of log odds; what is far surer than this counts no more


class BreastUltrasoundFeatures(nn.Module):
    """Turns images (N, C, H, W) into features (N, D) of length 1; nothing of it is trained or travels."""

    def __init__(self) -> None:
        super().__init__()
        self.scattering = ScatteringFeatures(RIDGE_FOR_FEW)

    def extra_repr(self) -> str:
        """Return what the features depend on besides the images."""
        return _constants()

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the features; an image depends on no other."""
        greys_NCHW = images_NCHW * USUAL.spread + USUAL.mean
        score_N1 = malignancy_score(greys_NCHW.mean(dim=1))[:, None]
        limited_N1 = SCORE_LENGTH * torch.tanh(score_N1 / SCORE_SCALE)
        constant_N1 = torch.full_like(limited_N1, CONSTANT)
        return beside(torch.cat([constant_N1, limited_N1], dim=1), self.scattering.unit(greys_NCHW))


def _constants() -> str:
    scattering = scattering_features.constants(RIDGE_FOR_FEW)
    return f"{scattering}; score {SCORE_LENGTH} {SCORE_SCALE}, weights {weights_digest()}"


def breast_ultrasound_network(*, channels: int, size: int, classes: int) -> FrozenThenHead:
    """Return the network; every `size` has the same head."""
    del size
    num_features = scattering_features.num_features(channels) + 1
    return FrozenThenHead(BreastUltrasoundFeatures(), nn.Linear(num_features, classes, bias=False))


BREAST_ULTRASOUND = Architecture(
    sizes=range(32, 257, 32), build=breast_ultrasound_network, constants=_constants()
)
