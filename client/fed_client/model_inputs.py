"""What the trained part of a network is fed with: the agreed views of images, or their frozen features."""

# Shape letters: N images, V views of an image, C channels, H rows, W columns, D features.

import math
from dataclasses import dataclass

import torch
from torch import nn

from fed_client.dataset import LabelledImages
from fed_common.greys import USUAL
from fed_common.models import frozen_features
from fed_common.plans import Normalisation, TrainTerms
from fed_common.views import views_of


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelInputs:
    """A data set as one network sees it; without `features_NVD` it learns from the images themselves."""

    images: LabelledImages
    normalisation: Normalisation = USUAL
    views: int = 1
    features_NVD: torch.Tensor | None = None

    @property
    def numbers(self) -> int:
        """Return how many numbers one view has."""
        some = self.images.images_NCHW if self.features_NVD is None else self.features_NVD[:, 0]
        return math.prod(some.shape[1:])

    def batch(self, index_N: torch.Tensor) -> torch.Tensor:
        """Return the input of the images at `index_N`, the views of each in a row, float32."""
        if self.features_NVD is not None:
            return self.features_NVD[index_N].flatten(0, 1).float()
        return views_of(self.images.batch(index_N, self.normalisation), self.views).flatten(0, 1)


def inputs_for(model: nn.Module, images: LabelledImages, terms: TrainTerms) -> ModelInputs:
    """Return what a round of training asks for; frozen features are computed in the first round only."""
    return ModelInputs(
        images=images,
        normalisation=terms.normalisation,
        views=terms.views,
        features_NVD=frozen_features(model, images.images_NCHW, terms.normalisation, views=terms.views),
    )
