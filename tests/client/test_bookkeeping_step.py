"""The books of a network: whole, shaped as its parameters, and kept of nothing that isn't understood."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.contracts.private_networks import (
    CLIP,
    DEEP,
    NETWORKS,
    ONE_EACH,
    SEVERAL,
    batch_of,
    by_vmap,
    network,
)
from torch import nn

from fed_client.private_step import layer_gradients
from fed_client.private_step.bookkeeping_step import BookkeepingStep
from fed_client.private_step.step import UnsupportedLayerError
from fed_common.errors import PrivacyError


@pytest.mark.parametrize("owners", [ONE_EACH, SEVERAL])
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - DEEP))
def test_the_books_sums_are_shaped_as_the_parameters_however_many_patients_are_multiplied_at_once(
    name: str, owners: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = network(name), batch_of(owners, NETWORKS[name][1])
    at_once_P = BookkeepingStep(copy.deepcopy(model)).clipped_sum(batch, clip_norm=CLIP)
    monkeypatch.setattr(layer_gradients, "_NUMBERS_AT_ONCE", 1)

    sums = BookkeepingStep(model).clipped_sums(batch, clip_norm=CLIP)

    assert [one.shape for one in sums] == [parameter.shape for parameter in model.parameters()]
    np.testing.assert_allclose(torch.cat([one.flatten() for one in sums]), at_once_P, atol=1e-6)


def test_parameters_that_two_layers_share_are_not_taken_for_two() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight

    with pytest.raises(UnsupportedLayerError, match="share"):
        BookkeepingStep(model)


def test_a_layer_that_works_in_place_spoils_no_books() -> None:
    convolution, *rest = network("convolution").children()
    model = nn.Sequential(convolution, nn.ReLU(inplace=True), *rest)
    batch = batch_of([0, 1, 2], (2, 8, 8))

    total_P = BookkeepingStep(copy.deepcopy(model)).clipped_sum(batch, clip_norm=CLIP)

    np.testing.assert_allclose(total_P, by_vmap(model, batch, clip_norm=CLIP), atol=1e-5)


def test_a_network_whose_books_are_kept_can_be_copied() -> None:
    model, batch = network("residual"), batch_of([0, 1], (16, 8, 8))
    step = BookkeepingStep(model)

    copied = copy.deepcopy(model)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert not torch.equal(copied(batch.images_NCHW), model(batch.images_NCHW))
    assert step.clipped_sum(batch, clip_norm=CLIP).any()


def test_what_a_layer_gave_and_something_else_changes_in_place_is_refused() -> None:
    class Changing(nn.Module):
        def forward(self, some: torch.Tensor) -> torch.Tensor:
            return some.relu_()

    convolution, *rest = network("convolution").children()
    model = nn.Sequential(convolution, Changing(), *rest)

    with pytest.raises(PrivacyError, match="in place"):
        BookkeepingStep(model).clipped_sum(batch_of([0, 1], (2, 8, 8)), clip_norm=CLIP)


def test_a_layer_that_is_used_twice_is_refused_rather_than_counted_once() -> None:
    layer = nn.Linear(4, 4)

    with pytest.raises(PrivacyError, match="used twice"):
        BookkeepingStep(nn.Sequential(layer, layer)).clipped_sum(batch_of([0, 1], (4,)), clip_norm=CLIP)
