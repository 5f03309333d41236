"""Features are computed once for each data set, and forgotten with it."""

import gc
import weakref

import torch
from torch import nn

from fed_common.greys import USUAL
from fed_common.layout import flatten
from fed_common.models.frozen import FrozenThenHead, frozen_features, trained_part
from fed_common.plans import Normalisation


class Counting(nn.Module):
    """Features that know how many pictures they were computed of; one of them is the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.seen += len(images_NCHW)
        return images_NCHW.flatten(1)[:, :1]


def network(features: nn.Module) -> FrozenThenHead:
    return FrozenThenHead(features, nn.Linear(1, 2))


def test_features_are_computed_once_for_each_data_set_normalisation_and_number_of_views() -> None:
    features, images_NCHW = Counting(), torch.rand(5, 1, 32, 32)
    for _ in range(3):
        frozen_features(network(features), images_NCHW, USUAL)
    assert features.seen == 5

    brighter = frozen_features(network(features), images_NCHW, Normalisation(mean=0.3))
    assert brighter is not None and torch.allclose(
        brighter[:, 0, 0].float(), images_NCHW[:, 0, 0, 0] + 0.2 / 0.25, atol=1e-3
    )
    mirrored = frozen_features(network(features), images_NCHW, USUAL, views=2)
    assert mirrored is not None and mirrored.shape == (5, 2, 1)
    assert torch.allclose(mirrored[:, 1, 0].float(), images_NCHW[:, 0, 0, -1], atol=1e-3)
    assert features.seen == 5 + 5 + 10

    frozen_features(network(features), images_NCHW.clone(), USUAL)
    assert features.seen == 25


def test_kept_features_go_with_their_pictures() -> None:
    images_NCHW = torch.rand(2, 1, 32, 32)
    kept = weakref.ref(frozen_features(network(Counting()), images_NCHW, USUAL))
    assert kept() is not None

    del images_NCHW
    gc.collect()

    assert kept() is None


def test_the_head_has_all_parameters_in_the_networks_order() -> None:
    whole = network(Counting())

    assert trained_part(whole) is whole.head
    assert flatten(whole).tolist() == flatten(trained_part(whole)).tolist()
    assert trained_part(whole.head) is whole.head
    assert frozen_features(whole.head, torch.rand(1, 1, 4, 4), USUAL) is None
