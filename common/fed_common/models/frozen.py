"""Networks of which only the head is trained: what comes before it is computed once for each picture.

A feature is kept in half precision, as many as there are; for the scattering network that is 1.7 kB for each
view of a grey picture, about what the picture itself takes.
"""

# Shape letters: N images, V views of an image, C channels, H rows, W columns, D features, K classes.

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from fed_common.greys import model_input
from fed_common.plans import Normalisation
from fed_common.views import views_of

_AT_ONCE = 64


class FrozenThenHead(nn.Module):
    """A `features` part without parameters, told from others by its repr, and a `head` that has them all."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K)."""
        logits_NK: torch.Tensor = self.head(self.features(images_NCHW))
        return logits_NK


def trained_part(model: nn.Module) -> nn.Module:
    """Return the part that has the parameters; they are those of `model`, in the same order."""
    return model.head if isinstance(model, FrozenThenHead) else model


# By the pictures' tensor: gone when the data set is.
_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    made_by: tuple[str, Normalisation, int]
    features_NVD: torch.Tensor


def frozen_features(
    model: nn.Module, images_NCHW: torch.Tensor, normalisation: Normalisation, *, views: int = 1
) -> torch.Tensor | None:
    """Return what the head of `model` learns from (N, V, D), half precision; None if all of it is trained.

    They are computed when first asked for and kept as long as `images_NCHW`, which must not change.
    """
    if not isinstance(model, FrozenThenHead):
        return None
    made_by = (repr(model.features), normalisation, views)
    kept: _Kept | None = _kept.get(images_NCHW)  # type: ignore[no-untyped-call]
    if kept is None or kept.made_by != made_by:
        features_NVD = _computed(model.features, images_NCHW, normalisation, views)
        kept = _Kept(made_by=made_by, features_NVD=features_NVD)
        _kept[images_NCHW] = kept
    return kept.features_NVD


def keep_features(
    model: FrozenThenHead,
    images_NCHW: torch.Tensor,
    normalisation: Normalisation,
    features_NVD: torch.Tensor,
) -> None:
    """Keep what `frozen_features` would return, for a data set of pictures whose features are known."""
    made_by = (repr(model.features), normalisation, features_NVD.shape[1])
    _kept[images_NCHW] = _Kept(made_by=made_by, features_NVD=features_NVD)


@torch.no_grad()
def _computed(
    features: nn.Module, images_NCHW: torch.Tensor, normalisation: Normalisation, views: int
) -> torch.Tensor:
    parts = [
        features(views_of(model_input(part_NCHW, normalisation), views).flatten(0, 1)).half()
        for part_NCHW in torch.split(images_NCHW, _AT_ONCE)
    ]
    return torch.cat(parts).reshape(len(images_NCHW), views, -1)
