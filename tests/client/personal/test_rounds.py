"""A personal method trains what its paper says: held against torch's SGD and closed forms, without noise."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.client.test_training import LEARNING_RATE, images_of, seed_cnn, terms
from torch import nn
from torch.nn import functional

from fed_client.algorithms.correction import Correction
from fed_client.personal.rounds import ApflRound, DittoRound, SharedAlone, Weights, WithLocalLayers
from fed_client.training import train_privately
from fed_common.layout import flatten, load_flat
from fed_common.local_methods import Proximal
from fed_common.personal.local_layers import local_part
from fed_common.personal_methods import Apfl, Ditto, LocalLayers
from fed_common.plans import TrainTerms

IMAGES = images_of(list(range(10)))
RECEIVED_P = flatten(seed_cnn())
OWN_P = RECEIVED_P + np.random.default_rng(0).normal(scale=0.02, size=RECEIVED_P.size).astype(np.float32)
HEAD_P = local_part(seed_cnn(), LocalLayers(method="fedper"))
ALL_P = np.ones_like(HEAD_P)


def privately(weights_P: Weights, asked: TrainTerms, correction: Correction | None) -> NDArray[np.float64]:
    model = seed_cnn()
    load_flat(model, weights_P)
    return train_privately(
        model,
        IMAGES,
        asked,
        patients_public=10,
        randomness=FakeRandomness(),
        stop=lambda: False,
        correction=correction,
    )


def by_torch(
    start_P: Weights,
    *,
    steps: int,
    penalty: Callable[[torch.Tensor], torch.Tensor] = torch.zeros_like,
    moves: Callable[[int], NDArray[np.bool_]] = lambda step: ALL_P,
) -> NDArray[np.float64]:
    """Return the weights after gradient descent on the loss, plus what `penalty` adds to its gradient."""
    model = seed_cnn()
    load_flat(model, start_P)
    for step in range(steps):
        loss = functional.cross_entropy(model(IMAGES.images_NCHW), IMAGES.labels_N)
        parts = torch.autograd.grad(loss, list(model.parameters()))
        weights_P = torch.from_numpy(flatten(model))
        change_P = torch.cat([part.flatten() for part in parts]) + penalty(weights_P)
        moved_P = weights_P - LEARNING_RATE * change_P * torch.from_numpy(moves(step))
        load_flat(model, moved_P.numpy())
    return flatten(model).astype(np.float64)


def test_without_a_method_the_round_is_plain() -> None:
    trained = SharedAlone().train(RECEIVED_P, terms(steps=2), privately, None)
    np.testing.assert_allclose(trained.shared_P, by_torch(RECEIVED_P, steps=2) - RECEIVED_P, atol=1e-6)
    assert trained.own_P is None and SharedAlone().measured(RECEIVED_P) is RECEIVED_P


@pytest.mark.parametrize("own_P", [None, OWN_P])
def test_a_sites_own_head_goes_on_from_where_it_was_and_is_not_in_the_update(
    own_P: NDArray[np.float32] | None,
) -> None:
    method = WithLocalLayers(local_P=HEAD_P, head_steps=0, own_P=own_P)
    start_P = RECEIVED_P if own_P is None else np.where(HEAD_P, own_P, RECEIVED_P)

    trained = method.train(RECEIVED_P, terms(steps=3), privately, None)

    after_P = by_torch(start_P, steps=3)
    assert not trained.shared_P[HEAD_P].any() and trained.own_P is not None
    np.testing.assert_allclose(trained.shared_P[~HEAD_P], (after_P - start_P)[~HEAD_P], atol=1e-6)
    np.testing.assert_allclose(trained.own_P[HEAD_P], after_P[HEAD_P], atol=1e-6)
    assert np.array_equal(method.measured(RECEIVED_P), start_P)


def test_what_fedprox_adds_is_not_lost_where_fedrep_holds_layers() -> None:
    method = WithLocalLayers(local_P=HEAD_P, head_steps=1, own_P=None)
    drawn = replace(terms(steps=3), method=Proximal(mu=5.0))

    trained = method.train(RECEIVED_P, drawn, privately, None)

    after_P = by_torch(
        RECEIVED_P,
        steps=3,
        penalty=lambda weights_P: 5.0 * (weights_P - torch.from_numpy(RECEIVED_P)),
        moves=lambda step: HEAD_P if step < 1 else ~HEAD_P,
    )
    assert trained.own_P is not None
    np.testing.assert_allclose(trained.own_P, after_P, atol=1e-6)


def test_fedrep_trains_the_head_alone_first_and_then_the_body_alone() -> None:
    method = WithLocalLayers(local_P=HEAD_P, head_steps=2, own_P=OWN_P)
    start_P = np.where(HEAD_P, OWN_P, RECEIVED_P)

    trained = method.train(RECEIVED_P, terms(steps=5), privately, None)

    after_P = by_torch(start_P, steps=5, moves=lambda step: HEAD_P if step < 2 else ~HEAD_P)
    assert trained.own_P is not None and not np.allclose(after_P[HEAD_P], start_P[HEAD_P], atol=1e-5)
    np.testing.assert_allclose(trained.own_P, after_P, atol=1e-6)
    assert not trained.shared_P[HEAD_P].any()


def test_ditto_is_gradient_descent_near_the_shared_model_which_it_does_not_touch() -> None:
    mu, asked = 20.0, replace(terms(steps=2), method=Proximal(mu=3.0))
    shared = torch.from_numpy(RECEIVED_P)
    method = DittoRound(asked=Ditto(mu=mu, steps=4), own_P=OWN_P)

    trained = method.train(RECEIVED_P, asked, privately, None)

    own_P = by_torch(OWN_P, steps=4, penalty=lambda weights_P: mu * (weights_P - shared))
    assert trained.own_P is not None
    np.testing.assert_allclose(trained.own_P, own_P, atol=1e-6)
    assert np.array_equal(trained.shared_P, privately(RECEIVED_P, asked, None))
    assert np.array_equal(method.measured(RECEIVED_P), OWN_P)


def test_apfls_own_model_follows_the_gradient_of_the_mixture() -> None:
    """v moves by -rate * d/dv loss(alpha v + (1 - alpha) w), differentiated by torch through the mixture."""
    alpha, steps = 0.3, 3
    method = ApflRound(asked=Apfl(alpha=alpha), own_P=OWN_P)
    shared = torch.from_numpy(RECEIVED_P)
    own = torch.from_numpy(OWN_P.copy()).requires_grad_()
    model = seed_cnn()
    names, shapes = zip(*((name, part.shape) for name, part in model.named_parameters()), strict=True)
    for _ in range(steps):
        pieces = torch.split(alpha * own + (1 - alpha) * shared, [shape.numel() for shape in shapes])
        mixture = {
            name: piece.reshape(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)
        }
        logits_NK = torch.func.functional_call(model, mixture, (IMAGES.images_NCHW,))
        (slope,) = torch.autograd.grad(functional.cross_entropy(logits_NK, IMAGES.labels_N), [own])
        own = (own - LEARNING_RATE * slope).detach().requires_grad_()

    trained = method.train(RECEIVED_P, terms(steps=steps), privately, None)

    assert trained.own_P is not None
    np.testing.assert_allclose(trained.own_P, own.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(trained.shared_P, by_torch(RECEIVED_P, steps=steps) - RECEIVED_P, atol=1e-6)
    np.testing.assert_allclose(
        method.measured(RECEIVED_P), alpha * OWN_P + (1 - alpha) * RECEIVED_P, atol=1e-6
    )


def test_an_own_model_begins_as_the_shared_one() -> None:
    for method in (
        DittoRound(asked=Ditto(mu=0.0, steps=2), own_P=None),
        ApflRound(asked=Apfl(alpha=1.0), own_P=None),
    ):
        trained = method.train(RECEIVED_P, terms(steps=2), privately, None)
        assert trained.own_P is not None
        np.testing.assert_allclose(trained.own_P - RECEIVED_P, trained.shared_P, atol=1e-6)


def test_other_layers_than_a_networks_are_not_taken_for_its_own() -> None:
    weight, bias = list(seed_cnn().parameters())[-2:]
    assert HEAD_P.sum() == weight.numel() + bias.numel() and HEAD_P[-HEAD_P.sum() :].all()
    norms = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2))
    local_P = local_part(norms, LocalLayers(method="fedbn"))
    assert np.flatnonzero(local_P).tolist() == list(range(40, 48))
