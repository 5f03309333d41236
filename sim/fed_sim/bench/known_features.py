"""Spares the features of one public picture from being computed again for every way to deal it out."""

from hashlib import sha256

import torch

from fed_common.greys import USUAL
from fed_common.models import ModelSpec, build_model, frozen_features
from fed_common.models.frozen import FrozenThenHead, keep_features

# Shape letters: N images, C channels, H rows, W columns, V views, D features.


class KnownFeatures:
    """The features of all pictures seen so far, by their bytes."""

    def __init__(self) -> None:
        self._features_VD: dict[bytes, torch.Tensor] = {}

    def prepare(self, spec: ModelSpec, images_NCHW: torch.Tensor) -> None:
        """Make training and judging on `images_NCHW` find its features computed, one view of each picture."""
        model = build_model(spec)
        if not isinstance(model, FrozenThenHead):
            return
        keys = [
            spec.fingerprint.encode() + sha256(image_CHW.numpy().tobytes()).digest()
            for image_CHW in images_NCHW
        ]
        new = [row for row, key in enumerate(keys) if key not in self._features_VD]
        computed_NVD = frozen_features(model, images_NCHW[new], USUAL) if new else None
        if computed_NVD is not None:
            self._features_VD.update(zip((keys[row] for row in new), computed_NVD, strict=True))
        features_NVD = torch.stack([self._features_VD[key] for key in keys])
        keep_features(model, images_NCHW, USUAL, features_NVD)
