"""FedProx moves a site as gradient descent on its loss plus the proximal term would, behind the noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.client.fake_randomness import FakeRandomness
from tests.client.test_training import LEARNING_RATE, images_of, seed_cnn, terms, train
from torch.nn import functional

from fed_common.errors import ConfigError
from fed_common.layout import flatten
from fed_common.local_methods import Proximal


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_steps_equal_torchs_sgd_on_the_penalised_loss(momentum: float) -> None:
    images, mu = images_of(list(range(10))), 20.0
    model, shared = seed_cnn(), list(seed_cnn().parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=momentum)
    for _ in range(4):
        optimizer.zero_grad()
        distance = sum(
            ((mine - theirs.detach()) ** 2).sum()
            for mine, theirs in zip(model.parameters(), shared, strict=True)
        )
        loss = functional.cross_entropy(model(images.images_NCHW), images.labels_N)
        torch.autograd.backward(loss + mu / 2 * distance)
        optimizer.step()

    asked = replace(terms(steps=4, momentum=momentum), method=Proximal(mu=mu))

    np.testing.assert_allclose(
        train(images, asked, FakeRandomness()), flatten(model) - flatten(seed_cnn()), atol=1e-6
    )


def test_the_draw_acts_on_noised_weights_and_is_not_clipped() -> None:
    """With nobody drawn, every step adds the same noise n: a geometric sum."""
    mu, steps, noise = 30.0, 5, 1.5 * 2.0 / 5
    asked = replace(terms(steps=steps, clip_norm=2.0, rate=0.5, noise=1.5), method=Proximal(mu=mu))

    delta_P = train(images_of([0, 1]), asked, FakeRandomness(everybody=False, noise_in_std=1.0))

    kept = 1 - LEARNING_RATE * mu
    expected = -LEARNING_RATE * noise * (1 - kept**steps) / (1 - kept)
    np.testing.assert_allclose(delta_P, np.full(delta_P.size, expected), rtol=1e-5)


@pytest.mark.parametrize("mu", [0.0, -1.0, float("nan"), float("inf")])
def test_a_draw_of_no_number_is_refused(mu: float) -> None:
    with pytest.raises(ConfigError, match="mu must be above 0"):
        Proximal(mu=mu)
